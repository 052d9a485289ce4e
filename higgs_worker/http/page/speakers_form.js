import { giveVoices, speakersIn } from "./dialogue.js";
import { byId, element } from "./dom.js";
import { strings } from "./strings.js";
import { chooseVoice, fillVoices } from "./voice_picker.js";

/** The speakers that the text names, each with a voice. Tells "change" when one was chosen. */
export class SpeakersForm extends EventTarget {
  #voices;
  #names = [];
  /** By name, of everybody who was in the text: who comes back has the voice of before. */
  #chosen = {};

  constructor(voices) {
    super();
    this.#voices = voices;
    voices.addEventListener("change", () => {
      for (const each of byId("speaker-rows").querySelectorAll("select")) {
        fillVoices(each, voices.usable);
      }
    });
    byId("give-voices").addEventListener("click", () => {
      const names = this.#voices.usable.map((each) => each.name);
      this.#chosen = { ...this.#chosen, ...giveVoices(this.#names, names, this.value ?? {}) };
      this.#show();
      this.dispatchEvent(new Event("change"));
    });
  }

  /** The voice by speaker, null where the model chooses; undefined where nobody is named. */
  get value() {
    if (this.#names.length === 0) return undefined;
    return Object.fromEntries(this.#names.map((each) => [each, this.#chosen[each] || null]));
  }

  set value(speakers) {
    this.#chosen = { ...speakers };
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
        fillVoices(select, this.#voices.usable);
        chooseVoice(select, this.#chosen[name] ?? "");
        select.addEventListener("change", () => {
          this.#chosen[name] = select.value;
          this.dispatchEvent(new Event("change"));
        });
        const label = element("label", { htmlFor: id, textContent: name });
        return element("div", { className: "field" }, label, select);
      }),
    );
  }
}
