// Server-sent events out of a stream of bytes, after the HTML standard's "Server-sent events". Not EventSource, because
// that can send no Authorization header.

/** @typedef {{type: string, data: string, id: string}} Message */

/**
 * Yield each message of a response's body. Comments keep the connection alive and yield nothing.
 *
 * @param {ReadableStream<Uint8Array<ArrayBuffer>>} body
 * @returns {AsyncGenerator<Message, void>}
 */
export async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new Parser();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield* parser.feed(value);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Takes text as it comes, cut anywhere, and gives the messages that are complete. */
export class Parser {
  #rest = "";
  #type = "";
  /** @type {string[]} */
  #data = [];
  #id = "";

  /** @param {string} text */
  feed(text) {
    // A carriage return at the end may be half of a line end, so it waits for what follows.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    /** @type {Message[]} */
    const found = [];
    for (const line of lines) {
      if (line === "") this.#dispatch(found);
      else this.#field(line);
    }
    return found;
  }

  /** @param {string} line */
  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#type = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
  }

  /** @param {Message[]} found */
  #dispatch(found) {
    if (this.#data.length) found.push({ type: this.#type || "message", data: this.#data.join("\n"), id: this.#id });
    this.#type = "";
    this.#data = [];
  }
}
