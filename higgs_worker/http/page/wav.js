/** A power of two, so every 16-bit value is exact as a float and comes back as it was. */
const FULL_SCALE = 32768;
const HEADER_BYTES = 44;

/** Reads 16-bit little-endian samples; a last odd byte is left out. Returns a Float32Array. */
export function fromPcm16(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples = new Float32Array(bytes.byteLength >> 1);
  for (let i = 0; i < samples.length; i += 1) {
    samples[i] = view.getInt16(2 * i, true) / FULL_SCALE;
  }
  return samples;
}

/** Writes samples as 16-bit little-endian, clipped to full scale. Returns a Uint8Array. */
export function toPcm16(samples) {
  const bytes = new Uint8Array(2 * samples.length);
  const view = new DataView(bytes.buffer);
  samples.forEach((sample, i) => {
    const value = Math.round(sample * FULL_SCALE);
    view.setInt16(2 * i, Math.max(-FULL_SCALE, Math.min(FULL_SCALE - 1, value)), true);
  });
  return bytes;
}

/** Reads a stream of 16-bit samples whose parts may end in the middle of one. */
export class Pcm16Reader {
  #rest = new Uint8Array(0);

  /** Returns the samples that a part, a Uint8Array, completes. */
  read(part) {
    let bytes = part;
    if (this.#rest.length) {
      bytes = new Uint8Array(this.#rest.length + part.length);
      bytes.set(this.#rest);
      bytes.set(part, this.#rest.length);
    }
    this.#rest = bytes.slice(bytes.length & ~1);
    return fromPcm16(bytes);
  }
}

/** Returns a WAV file, a Blob: mono, 16 bits, at a sample rate in hertz. */
export function wavFile(samples, sampleRate) {
  const pcm = toPcm16(samples);
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  const letters = (offset, text) =>
    [...text].forEach((letter, i) => header.setUint8(offset + i, letter.charCodeAt(0)));
  letters(0, "RIFF");
  header.setUint32(4, HEADER_BYTES - 8 + pcm.length, true);
  letters(8, "WAVEfmt ");
  header.setUint32(16, 16, true); // bytes of the format that follows
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // channels
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, 2 * sampleRate, true); // bytes per second
  header.setUint16(32, 2, true); // bytes per frame
  header.setUint16(34, 16, true); // bits
  letters(36, "data");
  header.setUint32(40, pcm.length, true);
  return new Blob([header, pcm], { type: "audio/wav" });
}
