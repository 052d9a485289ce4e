import { GrowingSamples } from "./growing_samples.js";
import { Unreachable } from "./server.js";
import { strings } from "./strings.js";
import { Pcm16Reader } from "./wav.js";

/** Of the samples that are asked for, in hertz: the model's own. */
export const SAMPLE_RATE = 24_000;

/**
 * One request as it was spoken: its samples, its sentences and their times, and how it went.
 *
 * `state` is "waiting" before the first sound, "speaking", then "done", "stopped" or "failed".
 */
export class Take {
  state = "waiting";
  /** Of the form, to be used again; and the seed, which the form may have left open. */
  request;
  seed;
  /** {text, speaker, start_s, end_s, spoken?, estimated?} in order, as far as they are known. */
  segments = [];
  warnings = [];
  firstSoundS = null;
  rtf = null;
  isCut = false;
  #sound = new GrowingSamples();

  constructor(request) {
    this.request = request;
    // Drawn here: the server's own seeds are longer than JavaScript's whole numbers.
    this.seed = request.seed ?? drawSeed();
  }

  /** Seconds of sound so far. */
  get lengthS() {
    return this.#sound.length / SAMPLE_RATE;
  }

  /** All samples so far, a Float32Array; a view, so do not change it. */
  get samples() {
    return this.#sound.all;
  }

  /** What stands for it in a list: the beginning of its text. */
  get name() {
    const text = this.request.text.replaceAll(/\s+/g, " ").trim();
    return text.length > 60 ? `${text.slice(0, 59)}…` : text;
  }

  /**
   * Speak it, and pass on what comes.
   *
   * `onSamples` gets the samples of each piece, `onChange` is called when anything else is known.
   * Ends with an error, or with `state` "done" or, after the signal, "stopped".
   */
  async speak(server, signal, { onSamples, onChange }) {
    const began = performance.now();
    const pcm = new Pcm16Reader();
    try {
      for await (const event of server.events("v1/audio/speech", this.#body(), { signal })) {
        if (event.type === "speech.audio.done") {
          this.#finish(event);
        } else {
          const samples = pcm.read(fromBase64(event.audio));
          this.firstSoundS ??= (performance.now() - began) / 1000;
          this.state = "speaking";
          for (const { index, ...segment } of event.segments ?? []) this.segments[index] = segment;
          this.#sound.append(samples);
          onSamples(samples);
        }
        onChange();
      }
      if (this.state !== "done") throw new Unreachable();
    } catch (error) {
      this.state = signal.aborted ? "stopped" : "failed";
      if (signal.aborted) return;
      if (error instanceof Unreachable && this.#sound.length > 0) {
        error.message = strings.server.brokeOff;
      }
      throw error;
    }
  }

  #body() {
    const { text, format: _, ...others } = this.request;
    return {
      input: text,
      response_format: "pcm",
      stream_format: "sse",
      sample_rate: SAMPLE_RATE,
      strict_tags: true, // as the server's own routes, unless the form says otherwise
      ...others,
      seed: this.seed,
    };
  }

  #finish(event) {
    this.state = "done";
    this.segments = event.segments;
    this.warnings = event.warnings;
    this.rtf = event.timing.rtf;
    this.isCut = event.finish_reason === "length";
  }
}

function drawSeed() {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 11) * 2 ** 32 + low;
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
}
