import { byId } from "./dom.js";
import { Player } from "./player.js";
import { readFile } from "./recording.js";
import { strings } from "./strings.js";

/** The button beside the voice: plays its recording, and stops it. */
export class VoiceSample {
  #voices;
  #form;
  #main;
  #player = new Player();
  #name = null;

  constructor(voices, form, main) {
    this.#voices = voices;
    this.#form = form;
    this.#main = main;
    form.addEventListener("change", () => this.#show());
    this.#player.addEventListener("state", () => this.#show());
    // One sound at a time.
    main.addEventListener("state", () => {
      if (main.isPlaying) this.#player.pause();
    });
    byId("hear-voice").addEventListener("click", () => this.#toggle());
    this.#show();
  }

  async #toggle() {
    const player = this.#player;
    if (player.isPlaying) {
      player.pause();
      return;
    }
    this.#main.pause();
    const name = this.#form.voice;
    this.#name = name;
    player.begin(24_000);
    const wav = await this.#voices.recording(name);
    const { samples } = await readFile(new Blob([wav]));
    if (this.#name !== name) return;
    player.append(samples);
    player.finish();
  }

  #show() {
    const name = this.#form.voice;
    const button = byId("hear-voice");
    const isPlaying = this.#player.isPlaying;
    button.disabled = typeof name !== "string" && !isPlaying;
    button.dataset.icon = isPlaying ? "stop" : "play";
    const label = typeof name === "string" ? strings.speak.hearVoice(name) : strings.speak.hear;
    button.setAttribute("aria-label", isPlaying ? strings.speak.stopSample : label);
  }
}
