import { GrowingSamples } from "./growing_samples.js";
import { decibels, peakOf, powerOf } from "./level.js";
import { MAX_S } from "./recording.js";

/** Raw: what makes calls clear cuts out parts of a voice and moves its level. */
const MICROPHONE = {
  channelCount: 1,
  echoCancellation: false,
  noiseSuppression: false,
  autoGainControl: false,
};
const REASONS = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "none",
  OverconstrainedError: "none",
  NotReadableError: "busy",
  AbortError: "busy",
};

/** Says why nothing is recorded: "insecure", "denied", "none", "busy" or "other". */
export class RecorderError extends Error {
  constructor(reason, cause) {
    super(`no microphone: ${reason}`, { cause });
    this.name = "RecorderError";
    this.reason = reason;
  }
}

/**
 * Records from the microphone, for a minute at the most.
 *
 * Events, about 20 times a second: "level" (`detail: {rmsDb, peakDb}`, 0 is full scale) and "time".
 * "end" comes if it ends by itself: after a minute, or because the microphone is gone.
 */
export class Recorder extends EventTarget {
  #stream = null;
  #context = null;
  #samples = new GrowingSamples();
  #sampleRate = 0;
  /** Changes with each start and end, so that a start that was waiting knows it is too late. */
  #turn = 0;

  /** Whether the microphone is open. */
  get isRecording() {
    return this.#context !== null;
  }

  /** What is recorded, in seconds. */
  get durationS() {
    return this.#sampleRate ? this.#samples.length / this.#sampleRate : 0;
  }

  /** Asks for the microphone and records; rejects with a RecorderError. */
  async start() {
    this.cancel();
    const turn = this.#turn;
    // Plain http from another machine: browsers have neither of the two there.
    if (!navigator.mediaDevices?.getUserMedia || !globalThis.AudioWorkletNode) {
      throw new RecorderError("insecure");
    }
    if (navigator.audioSession) {
      navigator.audioSession.type = "play-and-record";
    }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: MICROPHONE });
      if (turn !== this.#turn) {
        stop(stream);
        return;
      }
      this.#stream = stream;
      await this.#connect(turn);
    } catch (error) {
      if (turn === this.#turn) {
        this.#release();
        throw new RecorderError(REASONS[error.name] ?? "other", error);
      }
    }
  }

  /** Ends and returns `{samples, sampleRate}`: a Float32Array in [-1, 1], and hertz. */
  stop() {
    const recording = { samples: this.#samples.all, sampleRate: this.#sampleRate };
    this.cancel();
    return recording;
  }

  /** Ends and forgets what was recorded. */
  cancel() {
    this.#release();
    this.#samples = new GrowingSamples();
    this.#sampleRate = 0;
  }

  async #connect(turn) {
    const context = new AudioContext();
    this.#context = context;
    this.#sampleRate = context.sampleRate;
    const worklet = new URL("recorder_worklet.js", import.meta.url);
    await Promise.all([context.audioWorklet.addModule(worklet), context.resume()]);
    if (turn !== this.#turn) {
      return;
    }
    const tap = new AudioWorkletNode(context, "tap", {
      channelCount: 1,
      channelCountMode: "explicit",
    });
    tap.port.onmessage = ({ data }) => this.#take(turn, data);
    context.createMediaStreamSource(this.#stream).connect(tap);
    tap.connect(context.destination); // It is silent; some browsers run only what leads there.
    this.#stream.getTracks()[0].onended = () => this.#end(turn);
  }

  #take(turn, block) {
    if (turn !== this.#turn) {
      return;
    }
    const rest = Math.floor(MAX_S * this.#sampleRate) - this.#samples.length;
    this.#samples.append(block.subarray(0, rest));
    const rmsDb = decibels(Math.sqrt(powerOf(block)));
    const detail = { rmsDb, peakDb: decibels(peakOf(block)) };
    this.dispatchEvent(new CustomEvent("level", { detail }));
    this.dispatchEvent(new Event("time"));
    if (block.length >= rest) {
      this.#end(turn);
    }
  }

  #end(turn) {
    if (turn === this.#turn) {
      this.#release();
      this.dispatchEvent(new Event("end"));
    }
  }

  #release() {
    this.#turn += 1;
    if (this.#stream) {
      stop(this.#stream);
    }
    this.#stream = null;
    this.#context?.close();
    this.#context = null;
    if (navigator.audioSession) {
      navigator.audioSession.type = "auto";
    }
  }
}

function stop(stream) {
  stream.getTracks().forEach((track) => track.stop());
}
