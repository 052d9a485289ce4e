/** Fades of what would begin or break off within a sound, in seconds: no click, no sound lost. */
const FADE_S = 0.004;

/**
 * A part of a take that sounds without a gap, from an instant of the context's clock on.
 *
 * The take has the context's sample rate. Its pieces start at whole frames of the context, one
 * where the other ends, so they join sample by sample and nothing is interpolated.
 */
export class Stretch {
  #context;
  #gain;
  #sources = new Set();
  #startTick;
  #startFrame;
  #endFrame;
  #fadeOutS = null;

  /** Starts with a frame of the take at a time of the context, in seconds; sounds in `output`. */
  constructor(output, startS, frame) {
    this.#context = output.context;
    this.#startTick = Math.ceil(startS * this.#context.sampleRate);
    this.#startFrame = frame;
    this.#endFrame = frame;
    this.#gain = this.#context.createGain();
    this.#gain.connect(output);
    if (frame > 0) {
      this.#gain.gain.setValueAtTime(0, this.startS);
      this.#gain.gain.linearRampToValueAtTime(1, this.startS + FADE_S);
    }
  }

  /** When it starts, in seconds of the context. */
  get startS() {
    return this.#startTick / this.#context.sampleRate;
  }

  /** When what it has so far ends, in seconds of the context. */
  get endS() {
    const numFrames = this.#endFrame - this.#startFrame;
    return (this.#startTick + numFrames) / this.#context.sampleRate;
  }

  /** The frame of the take that comes after it. */
  get endFrame() {
    return this.#endFrame;
  }

  /** Returns the frame that sounds at a time of the context, in seconds; the nearest it has. */
  frameAt(timeS) {
    const frame = this.#startFrame + timeS * this.#context.sampleRate - this.#startTick;
    return Math.min(Math.max(frame, this.#startFrame), this.#endFrame);
  }

  /** Adds the take's next samples, in time; calls back when they are over. */
  add(samples, onEnded) {
    const buffer = this.#context.createBuffer(1, samples.length, this.#context.sampleRate);
    buffer.copyToChannel(samples, 0);
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#gain);
    source.onended = () => {
      this.#sources.delete(source);
      onEnded();
    };
    source.start(this.endS);
    this.#sources.add(source);
    this.#endFrame += samples.length;
  }

  /** Says whether it breaks off within the take where it ends now; it is faded out there then. */
  setBreaksOff(breaksOff) {
    const { gain } = this.#gain;
    if (this.#fadeOutS !== null) {
      gain.cancelScheduledValues(this.#fadeOutS);
      this.#fadeOutS = null;
    }
    if (breaksOff) {
      this.#fadeOutS = Math.max(this.endS - FADE_S, this.startS + FADE_S);
      gain.setValueAtTime(1, this.#fadeOutS);
      gain.linearRampToValueAtTime(0, this.#fadeOutS + FADE_S);
    }
  }

  /** Ends it now. */
  stop() {
    const nowS = this.#context.currentTime;
    this.#gain.gain.cancelScheduledValues(nowS);
    this.#gain.gain.setTargetAtTime(0, nowS, FADE_S / 2);
    for (const source of this.#sources) {
      source.onended = () => this.#gain.disconnect();
      source.stop(nowS + 4 * FADE_S); // 70 dB down
    }
  }
}
