/** Messages of a recording per second; a level meter looks smooth with so many. */
const MESSAGES_PER_S = 20;

/** Sends what it hears, on the thread of the sound: blocks of mono samples, Float32Arrays. */
class Tap extends AudioWorkletProcessor {
  #block = new Float32Array(Math.round(sampleRate / MESSAGES_PER_S));
  #length = 0;

  process([[channel]]) {
    // There is no channel until the microphone delivers.
    let rest = channel ?? new Float32Array(0);
    while (rest.length) {
      const part = rest.subarray(0, this.#block.length - this.#length);
      this.#block.set(part, this.#length);
      this.#length += part.length;
      rest = rest.subarray(part.length);
      if (this.#length === this.#block.length) {
        this.port.postMessage(this.#block.slice());
        this.#length = 0;
      }
    }
    return true;
  }
}

registerProcessor("tap", Tap);
