import { peakOf } from "./level.js";

/** Samples of the first bins: 10 ms at 24 kHz, finer than a column of any canvas. */
const FIRST_BIN = 256;
/** Half of them are in use at the least: more than a wide screen has columns. */
const MAX_BINS = 2048;

/** The largest amplitudes of a sound that grows, in bins that widen so that they stay few. */
export class Peaks {
  #bins = new Float32Array(MAX_BINS);
  #binSize = FIRST_BIN;
  #length = 0;

  /** How many samples there were. */
  get length() {
    return this.#length;
  }

  /** Takes the next samples, a Float32Array. */
  append(samples) {
    let rest = samples;
    while (rest.length) {
      if (this.#length === MAX_BINS * this.#binSize) {
        this.#widen();
      }
      const bin = Math.floor(this.#length / this.#binSize);
      const part = rest.subarray(0, (bin + 1) * this.#binSize - this.#length);
      this.#bins[bin] = Math.max(this.#bins[bin], peakOf(part));
      this.#length += part.length;
      rest = rest.subarray(part.length);
    }
  }

  /** Returns the peak between two samples, at the resolution that there is. */
  between(start, end) {
    const first = Math.floor(start / this.#binSize);
    const last = Math.max(Math.ceil(end / this.#binSize), first + 1);
    return peakOf(this.#bins.subarray(first, last));
  }

  #widen() {
    for (let i = 0; i < MAX_BINS / 2; i += 1) {
      this.#bins[i] = Math.max(this.#bins[2 * i], this.#bins[2 * i + 1]);
    }
    this.#bins.fill(0, MAX_BINS / 2);
    this.#binSize *= 2;
  }
}
