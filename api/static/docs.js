// The API docs page: Swagger UI on the OpenAPI document of the very api that serves it.

import { BASE, explain, request } from "./api.js";
import { byId } from "./dom.js";
import { isDark, onColors } from "./preferences.js";
import { token } from "./token.js";

const MISSING = "This page needs swagger-ui-dist, which is not here. To get it: make assets, then reload this page.";

dye();
onColors(dye);

try {
  const spec = await (await request("openapi.json")).json();
  // Requests from the page go where the page came from, whatever path a proxy has put in front.
  spec.servers = [{ url: BASE.href.replace(/\/$/, "") }];
  show(spec);
} catch (error) {
  byId("docs").textContent = explain(error);
}

/** Have Swagger UI be as dark as the page is. */
function dye() {
  document.documentElement.classList.toggle("dark-mode", isDark());
}

/** @param {object} spec */
function show(spec) {
  if (window.SwaggerUIBundle) {
    window.SwaggerUIBundle({ spec, domNode: byId("docs"), requestInterceptor: withToken, validatorUrl: null, tryItOutEnabled: true });
  } else {
    byId("docs").textContent = MISSING;
  }
}

/** @param {{headers: Record<string, string>}} request */
function withToken(request) {
  const kept = token();
  if (kept) request.headers.Authorization = `Bearer ${kept}`;
  return request;
}
