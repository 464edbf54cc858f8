// Requests to the api that serves this page. Every address is made from this module’s own, so that the page works under
// any path of a proxy, however the page itself was reached.

import { askForToken, token } from "./token.js";

export const BASE = new URL("../", import.meta.url);

/** An answer that is not what was asked for; the message says what is wrong. */
export class Problem extends Error {
  constructor(status, { title = `status ${status}`, detail } = {}) {
    super(title);
    this.status = status;
    this.detail = detail;
  }
}

function address(path, parameters) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of [value].flat()) url.searchParams.append(name, each);
  }
  return url;
}

/** A response with status 200. Asks for the token when the api wants one. Throws Problem, or TypeError without an api. */
export async function request(path, parameters = {}, { headers = {}, ...options } = {}) {
  for (;;) {
    const used = token();
    const authorization = used ? { Authorization: `Bearer ${used}` } : {};
    const response = await fetch(address(path, parameters), { ...options, headers: { ...headers, ...authorization } });
    if (response.ok) return response;
    if (response.status !== 401) throw new Problem(response.status, await response.json().catch(() => ({})));
    await askForToken(used);
  }
}

/** The JSON of an answer. */
export async function getJson(path, parameters, signal) {
  const response = await request(path, parameters, { signal });
  return response.json();
}

/** Have the browser save an answer as a file. A plain link could not carry the token. */
export async function download(path, parameters, name) {
  const response = await request(path, parameters);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** What went wrong, for people. */
export function explain(error) {
  if (error instanceof Problem) return error.detail ? `${error.message} (${error.detail})` : error.message;
  return "the api does not answer";
}
