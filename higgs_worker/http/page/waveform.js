import { Peaks } from "./peaks.js";

/** In CSS pixels: a bar and the space after it. */
const BAR_PX = 2;
const GAP_PX = 1;
/** A take that grows is drawn to this scale, in seconds, and to twice, four times … as much. */
const FIRST_SPAN_S = 5;
/** Louder takes are scaled to fit; fainter ones look as faint as they are. */
const FULL_PEAK = 0.5;

/**
 * Draws a take into a canvas as it grows, for the eye alone: it is hidden from screen readers.
 *
 * The canvas's size is the style sheet's, and the colours are --wave and --wave-played in it. Bars
 * appear and change colour; nothing slides or fades, so there is nothing to leave out for those who
 * want less motion.
 */
export class Waveform {
  #canvas;
  #peaks = new Peaks();
  #loudest = FULL_PEAK;
  #sampleRate = 0;
  #isFinished = false;
  #positionS = 0;
  #playedBars = 0;
  #colors = null;
  #frameRequest = 0;
  #resizes;
  #darkness = matchMedia("(prefers-color-scheme: dark)");
  #onColors = () => {
    this.#colors = null;
    this.#request();
  };

  constructor(canvas) {
    this.#canvas = canvas;
    canvas.setAttribute("aria-hidden", "true");
    this.#resizes = new ResizeObserver(() => this.#request());
    this.#resizes.observe(canvas);
    this.#darkness.addEventListener("change", this.#onColors);
  }

  /** Starts a new take at a sample rate in hertz. */
  begin(sampleRate) {
    this.#peaks = new Peaks();
    this.#loudest = FULL_PEAK;
    this.#sampleRate = sampleRate;
    this.#isFinished = false;
    this.#positionS = 0;
    this.#request();
  }

  /** Adds samples, a Float32Array. */
  append(samples) {
    const start = this.#peaks.length;
    this.#peaks.append(samples);
    this.#loudest = Math.max(this.#loudest, this.#peaks.between(start, this.#peaks.length));
    this.#request();
  }

  /** Says that no more comes: the take fills the width from now on. */
  finish() {
    this.#isFinished = true;
    this.#request();
  }

  /** Shows nothing. */
  clear() {
    this.begin(0);
  }

  /** Stops to follow the size and the colours of the page. */
  close() {
    this.#resizes.disconnect();
    this.#darkness.removeEventListener("change", this.#onColors);
    cancelAnimationFrame(this.#frameRequest);
  }

  /** How far it is played, in seconds. */
  get positionS() {
    return this.#positionS;
  }

  set positionS(seconds) {
    this.#positionS = seconds;
    if (this.#barsAt(seconds) !== this.#playedBars) {
      this.#request();
    }
  }

  /** Returns the second of the take that lies at a horizontal place of the window, in pixels. */
  secondsAt(clientX) {
    const { left, width } = this.#canvas.getBoundingClientRect();
    const seconds = (Math.max(clientX - left, 0) / Math.max(width, 1)) * this.spanS;
    return Math.min(seconds, this.#durationS());
  }

  #durationS() {
    return this.#sampleRate ? this.#peaks.length / this.#sampleRate : 0;
  }

  /** What the whole width stands for, in seconds: more than there is until the take is whole. */
  get spanS() {
    const durationS = this.#durationS();
    if (this.#isFinished) {
      return durationS;
    }
    return FIRST_SPAN_S * 2 ** Math.ceil(Math.max(Math.log2(durationS / FIRST_SPAN_S), 0));
  }

  #numBars() {
    return Math.max(Math.floor(this.#canvas.clientWidth / (BAR_PX + GAP_PX)), 1);
  }

  #barsAt(seconds) {
    const spanS = this.spanS;
    return spanS ? Math.round((seconds / spanS) * this.#numBars()) : 0;
  }

  #request() {
    if (!this.#frameRequest) {
      this.#frameRequest = requestAnimationFrame(() => {
        this.#frameRequest = 0;
        this.#draw();
      });
    }
  }

  #draw() {
    const { clientWidth, clientHeight } = this.#canvas;
    this.#canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.#canvas.height = Math.round(clientHeight * devicePixelRatio);
    this.#playedBars = this.#barsAt(this.#positionS);
    if (!this.#peaks.length) {
      return;
    }
    const [ahead, played] = (this.#colors ??= [
      this.#color("var(--wave)"),
      this.#color("var(--wave-played)"),
    ]);
    const context = this.#canvas.getContext("2d");
    context.scale(devicePixelRatio, devicePixelRatio);
    const numBars = this.#numBars();
    const barFrames = (this.spanS * this.#sampleRate) / numBars;
    for (let bar = 0; bar < numBars && bar * barFrames < this.#peaks.length; bar += 1) {
      const peak = this.#peaks.between(bar * barFrames, (bar + 1) * barFrames) / this.#loudest;
      const height = Math.max(peak * clientHeight, 1); // silence is a line
      context.fillStyle = bar < this.#playedBars ? played : ahead;
      context.fillRect(bar * (BAR_PX + GAP_PX), (clientHeight - height) / 2, BAR_PX, height);
    }
  }

  /** Returns a colour of the style sheet as a canvas takes it: without variables and conditions. */
  #color(value) {
    this.#canvas.style.color = value;
    const { color } = getComputedStyle(this.#canvas);
    this.#canvas.style.color = "";
    return color;
  }
}
