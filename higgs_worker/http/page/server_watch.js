const CALM_MS = 10_000;
const EAGER_MS = 1_000;
const PATIENCE_MS = 8_000;

/**
 * Watches whether the server can speak, and tells "change". `state` is "unknown", "loading",
 * "ready", "broken", "stopping" or "gone"; `reason` is the server's own sentence.
 */
export class ServerWatch extends EventTarget {
  state = "unknown";
  reason = "";
  #timer = 0;
  #round = 0;

  /** Look now, and again from time to time: often while something is wrong. */
  async look() {
    clearTimeout(this.#timer);
    const round = ++this.#round;
    const [state, reason] = await this.#ask();
    if (round !== this.#round) return; // a later look has begun
    if (state !== this.state || reason !== this.reason) {
      [this.state, this.reason] = [state, reason];
      this.dispatchEvent(new Event("change"));
    }
    this.#timer = setTimeout(() => this.look(), state === "ready" ? CALM_MS : EAGER_MS);
  }

  async #ask() {
    try {
      const reply = await fetch("health/ready", { signal: AbortSignal.timeout(PATIENCE_MS) });
      const told = await reply.json();
      return [told.status, told.reason];
    } catch {
      return ["gone", ""]; // whatever answers is not the worker
    }
  }
}
