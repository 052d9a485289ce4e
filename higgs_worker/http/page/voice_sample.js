import { byId } from "./dom.js";
import { ListenButton } from "./listen_button.js";
import { strings } from "./strings.js";

/** The button beside the voice of the form: plays the recording of the one that is chosen. */
export class VoiceSample extends ListenButton {
  #name = "";

  constructor(voices, form, player) {
    super(byId("hear-voice"), player);
    const follow = () => {
      const name = typeof form.voice === "string" ? form.voice : null;
      if (name === this.#name) return;
      this.#name = name;
      if (name === null) this.offer({ label: strings.speak.hear });
      else this.offer({ label: strings.speak.hearVoice(name), load: voices.sampleOf(name) });
    };
    form.addEventListener("change", follow);
    follow();
  }
}
