import { readEvents } from "./event_stream.js";
import { strings } from "./strings.js";
import { recall, remember } from "./tab_memory.js";

/** What the server said instead of doing what it was asked. */
export class ServerError extends Error {
  constructor(status, { message, code, details } = {}) {
    super(message || strings.server.refused(status));
    this.status = status;
    this.code = code;
    this.details = details ?? {};
  }
}

/** The server cannot be reached, or the reply broke off. */
export class Unreachable extends Error {
  constructor() {
    super(strings.server.unreachable);
  }
}

/**
 * The worker that this page came from. Tells "unreachable" when a request did not reach it, and
 * "key" when it wants another key.
 */
export class Server extends EventTarget {
  #key = recall("key");

  /** Whether a key is sent. */
  get hasKey() {
    return this.#key !== null;
  }

  /** Send a key from now on, in this tab alone; null: none. */
  setKey(key) {
    this.#key = key || null;
    remember("key", this.#key);
  }

  /** Ask for JSON. */
  async json(method, path, body, { signal } = {}) {
    const reply = await this.send(method, path, { body, signal });
    return this.#reading(reply.json(), signal);
  }

  /** Ask for bytes. */
  async bytes(method, path, body, { signal } = {}) {
    const reply = await this.send(method, path, { body, signal });
    return this.#reading(reply.arrayBuffer(), signal);
  }

  /** Ask for server-sent events and yield them as they come; a failure among them is thrown. */
  async *events(path, body, { signal } = {}) {
    const reply = await this.send("POST", path, { body, signal });
    const events = readEvents(reply.body);
    try {
      for (;;) {
        const { value, done } = await this.#reading(events.next(), signal);
        if (done) return;
        if (value.name === "error") throw new ServerError(reply.status, value.data.error);
        yield value.data;
      }
    } finally {
      events.return();
    }
  }

  /**
   * Send a request and return the reply once its head is there. A body that is no form, blob or
   * bytes is sent as JSON.
   */
  async send(method, path, { body, signal } = {}) {
    const headers = {};
    if (this.#key !== null) headers.authorization = `Bearer ${this.#key}`;
    const isRaw = body instanceof FormData || body instanceof Blob || ArrayBuffer.isView(body);
    if (body !== undefined && !isRaw) {
      headers["content-type"] = "application/json";
      body = JSON.stringify(body);
    }
    const reply = await this.#reading(fetch(path, { method, headers, body, signal }), signal);
    if (!reply.ok) throw await this.#refusal(reply);
    return reply;
  }

  async #refusal(reply) {
    const told = await reply.json().catch(() => ({})); // a proxy's own page is no JSON
    if (reply.status === 401) this.dispatchEvent(new Event("key"));
    return new ServerError(reply.status, told.error);
  }

  async #reading(promise, signal) {
    try {
      return await promise;
    } catch (error) {
      if (signal?.aborted || !(error instanceof TypeError || error instanceof DOMException)) {
        throw error;
      }
      this.dispatchEvent(new Event("unreachable"));
      throw new Unreachable();
    }
  }
}
