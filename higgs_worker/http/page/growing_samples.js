/** The room of a new one, in samples: a few seconds at any usual rate. */
const FIRST_ROOM = 1 << 17;

/** Samples that become more, kept in one piece; what is there is copied seldom. */
export class GrowingSamples {
  #room = new Float32Array(FIRST_ROOM);
  #length = 0;

  get length() {
    return this.#length;
  }

  /** A view of all samples so far; later ones are not in it. */
  get all() {
    return this.#room.subarray(0, this.#length);
  }

  /** Adds a copy of a Float32Array. */
  append(samples) {
    const length = this.#length + samples.length;
    if (length > this.#room.length) {
      // By half at the least, so that each sample is copied about three times, however many come.
      const larger = new Float32Array(Math.max(length, Math.ceil(1.5 * this.#room.length)));
      larger.set(this.all);
      this.#room = larger;
    }
    this.#room.set(samples, this.#length);
    this.#length = length;
  }
}
