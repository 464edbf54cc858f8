// Requests to the api that serves this page. Every address is made from this module’s own, so that the page works under
// any path of a proxy, however the page itself was reached.

import { askForToken, token } from "./token.js";

export const BASE = new URL("../", import.meta.url);

/** An answer that is not what was asked for; the message says what is wrong. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{type?: string, title?: string, detail?: string}} [body] the problem details that the api sent, if it sent any
   */
  constructor(status, { type = "", title = `status ${status}`, detail = "" } = {}) {
    super(title);
    this.status = status;
    this.detail = detail;
    this.#type = type;
  }

  #type;

  /**
   * Return whether it is of this type, such as "never-counted".
   *
   * @param {string} name
   */
  is(name) {
    return this.#type.endsWith(`/${name}`);
  }

  /** Whether the question cannot be answered, as opposed to an api that cannot answer now. */
  get lasting() {
    return this.status >= 400 && this.status < 500 && this.status !== 401 && this.status !== 429;
  }
}

/**
 * Return the JSON of an answer.
 *
 * @template {Api.Path} P
 * @param {P} path
 * @param {Api.Parameters<P>} [parameters]
 * @param {AbortSignal} [signal]
 * @returns {Promise<Api.Answer<P>>}
 */
export async function getJson(path, parameters, signal) {
  const response = await request(path, parameters, signal && { signal });
  return response.json();
}

/**
 * Have the browser save an answer as a file, under the name that the api gives it. A plain link could not carry the token.
 *
 * @template {Api.Path} P
 * @param {P} path
 * @param {Api.Parameters<P>} parameters
 */
export async function download(path, parameters) {
  const response = await request(path, parameters);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1] ?? "tally";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/**
 * Return a response with status 200. Asks for the token when the api wants one. Throws Problem, or TypeError without an api.
 *
 * @param {string} path
 * @param {object} [parameters]
 * @param {RequestInit & {headers?: Record<string, string>}} [options]
 */
export async function request(path, parameters = {}, { headers = {}, ...options } = {}) {
  for (;;) {
    const used = token();
    /** @type {Record<string, string>} */
    const authorization = used ? { Authorization: `Bearer ${used}` } : {};
    const response = await fetch(address(path, parameters), { ...options, headers: { ...headers, ...authorization } });
    if (response.ok) return response;
    if (response.status !== 401) throw new Problem(response.status, await response.json().catch(() => ({})));
    await askForToken(used);
  }
}

/**
 * @param {string} path
 * @param {object} parameters a list stands for a parameter that is given several times
 */
function address(path, parameters) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(parameters)) {
    for (const each of [value].flat()) url.searchParams.append(name, each);
  }
  return url;
}

/**
 * Return what went wrong, for people. That Redis is unavailable is told once, above all panels, and not by each of them.
 *
 * @param {unknown} error
 */
export function explain(error) {
  if (error instanceof Problem && error.is("redis-unavailable")) return "Waiting for Redis.";
  if (error instanceof Problem) return error.detail ? `${error.message} (${error.detail})` : error.message;
  return "the api does not answer";
}
