import { eventWith } from "./dom.js";
import { strings } from "./strings.js";
import { SAMPLE_RATE } from "./take.js";

/** A button that plays a sample, and stops it. Tells "problem" with an `error`. */
export class ListenButton extends EventTarget {
  sampleRate = SAMPLE_RATE;
  load = null;
  #button;
  #player;
  #label = "";
  #isSounding = false;

  constructor(button, player) {
    super();
    this.#button = button;
    this.#player = player;
    button.addEventListener("click", () => this.#toggle());
    this.#show();
  }

  /** Offer a sample (see SamplePlayer) under a label from now on; without `load`, none. */
  offer({ label, load = null, sampleRate = SAMPLE_RATE }) {
    if (this.#isSounding) this.#player.stop();
    this.#label = label;
    this.load = load;
    this.sampleRate = sampleRate;
    this.#show();
  }

  /** Show whether it sounds. */
  showSounding(isSounding) {
    this.#isSounding = isSounding;
    this.#show();
  }

  async #toggle() {
    if (this.#isSounding) {
      this.#player.stop();
      return;
    }
    try {
      await this.#player.play(this);
    } catch (error) {
      this.dispatchEvent(eventWith("problem", { error }));
    }
  }

  #show() {
    const button = this.#button;
    button.disabled = !this.load;
    button.dataset.icon = this.#isSounding ? "stop" : "play";
    button.setAttribute("aria-label", this.#isSounding ? strings.speak.stopSample : this.#label);
  }
}
