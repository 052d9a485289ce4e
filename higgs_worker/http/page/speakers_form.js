import { giveVoices, speakersIn } from "./dialogue.js";
import { byId, element } from "./dom.js";
import { strings } from "./strings.js";
import { tell } from "./told.js";
import { chooseVoice, fillVoices } from "./voice_picker.js";

/** The speakers that the text names, each with a voice. Tells "change" when one was chosen. */
export class SpeakersForm extends EventTarget {
  #voices;
  #names = [];
  /** By name, of everybody who was in the text: who comes back has the voice of before. */
  #chosen = new Map();

  constructor(voices) {
    super();
    this.#voices = voices;
    voices.addEventListener("change", () => {
      byId("speaker-rows")
        .querySelectorAll("select")
        .forEach((select, index) => this.#fill(select, this.#names[index]));
    });
    byId("give-voices").addEventListener("click", () => {
      const names = this.#voices.usable.map((each) => each.name);
      const given = giveVoices(this.#names, names, this.value ?? {});
      for (const [name, voice] of Object.entries(given)) this.#chosen.set(name, voice);
      this.#show();
      tell(strings.speak.gaveVoices);
      this.dispatchEvent(new Event("change"));
    });
  }

  /** The voice by speaker, null where the model chooses; undefined where nobody is named. */
  get value() {
    if (this.#names.length === 0) return undefined;
    const voiceOf = (name) => {
      const voice = this.#chosen.get(name);
      return voice && this.#voices.mayUse(voice) ? voice : null;
    };
    return Object.fromEntries(this.#names.map((name) => [name, voiceOf(name)]));
  }

  set value(speakers) {
    this.#chosen = new Map(Object.entries(speakers));
    this.#show();
  }

  /** A voice has another name from now on. */
  followRename(before, name) {
    for (const [who, voice] of this.#chosen) {
      if (voice === before) this.#chosen.set(who, name);
    }
    this.#show();
  }

  /** Follow a text that was changed. */
  read(text) {
    const names = speakersIn(text);
    if (names.join("\n") === this.#names.join("\n")) return;
    this.#names = names;
    this.#show();
  }

  #show() {
    byId("speakers").hidden = this.#names.length === 0;
    byId("speaker-rows").replaceChildren(
      ...this.#names.map((name, index) => {
        const id = `speaker-${index}`;
        const select = element("select", { id, "aria-label": strings.speak.speakerVoice(name) });
        this.#fill(select, name);
        select.addEventListener("change", () => {
          this.#chosen.set(name, select.value);
          this.dispatchEvent(new Event("change"));
        });
        const label = element("label", { htmlFor: id, textContent: name });
        return element("div", { className: "field" }, label, select);
      }),
    );
  }

  #fill(select, name) {
    fillVoices(select, this.#voices.usable);
    chooseVoice(select, this.#chosen.get(name) ?? "");
  }
}
