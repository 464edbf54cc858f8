// The API docs page: Swagger UI on the description that this very api gives.

import { BASE, explain, getJson } from "./api.js";
import { byId } from "./dom.js";
import { token } from "./token.js";

function withToken(request) {
  if (token()) request.headers.Authorization = `Bearer ${token()}`;
  return request;
}

try {
  const spec = await getJson("openapi.json");
  // Requests from the page go where the page came from, whatever path a proxy has put in front.
  spec.servers = [{ url: BASE.href.replace(/\/$/, "") }];
  if (!window.SwaggerUIBundle) throw new Error("This page needs swagger-ui-dist, which is not here. To get it: make assets, then reload this page.");
  window.SwaggerUIBundle({ spec, domNode: byId("docs"), requestInterceptor: withToken, validatorUrl: null, tryItOutEnabled: true });
} catch (error) {
  byId("docs").textContent = window.SwaggerUIBundle ? explain(error) : error.message;
}
