import { Player } from "./player.js";

/**
 * Plays samples of voices, one at a time and never beside the main sound.
 *
 * A sample has `sampleRate`, in hertz, `load(append)`, which gives its samples to `append` as they
 * come, and `showSounding(isSounding)`.
 */
export class SamplePlayer {
  #main;
  #player = new Player();
  /** A new object for each play, so that one which was stopped adds nothing to the next. */
  #turn = null;

  constructor(main) {
    this.#main = main;
    main.addEventListener("state", () => {
      if (main.isPlaying) this.stop();
    });
    this.#player.addEventListener("state", () => {
      if (!this.#player.isPlaying) this.stop();
    });
  }

  /** Play a sample, and whatever sounds stops; call it while a click is handled. */
  async play(sample) {
    this.silence();
    const turn = (this.#turn = { sample });
    sample.showSounding(true);
    this.#player.begin(sample.sampleRate);
    try {
      await sample.load((samples) => {
        if (turn === this.#turn) this.#player.append(samples);
      });
      if (turn === this.#turn) this.#player.finish();
    } catch (error) {
      if (turn === this.#turn) this.stop();
      throw error;
    }
  }

  /** Stop the sample that sounds. */
  stop() {
    const turn = this.#turn;
    if (!turn) return;
    this.#turn = null;
    this.#player.clear();
    turn.sample.showSounding(false);
  }

  /** Stop every sound of the page: a microphone would hear it. */
  silence() {
    this.stop();
    this.#main.pause();
  }
}
