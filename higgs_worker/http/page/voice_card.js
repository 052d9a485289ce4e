import { element, eventWith } from "./dom.js";
import { lengthText } from "./length_text.js";
import { ListenButton } from "./listen_button.js";
import { strings } from "./strings.js";

/** A voice in the list. Tells "use", "edit", "remove", and "problem" with an `error`. */
export class VoiceCard extends EventTarget {
  /** What is shown. */
  voice;
  /** An item of the list, which can have the focus. */
  element;

  constructor(voice, load, player) {
    super();
    this.voice = voice;
    const { name, problem } = voice;
    const title = element("h2", { id: `voice-${name}`, textContent: name });
    this.element = element(
      "li",
      { className: "card voice-card", tabIndex: -1, "aria-labelledby": title.id },
      element("div", { className: "label-row" }, title, ...facts(voice)),
      ...(problem ? [element("p", { className: "problem", textContent: problem })] : notes(voice)),
      element("div", { className: "actions" }, ...this.#buttons(load, player)),
    );
  }

  #buttons(load, player) {
    const { name, preset: isPreset, problem } = this.voice;
    const asked = (what, className = "") => {
      const text = strings.voices[what];
      const label = strings.voices.labels[what](name);
      const made = element("button", { type: "button", className, "aria-label": label }, text);
      made.addEventListener("click", () => this.dispatchEvent(new Event(what)));
      return made;
    };
    const buttons = [];
    if (!problem) {
      const listen = element("button", { type: "button", className: "round small" });
      const button = new ListenButton(listen, player);
      button.offer({ label: strings.speak.hearVoice(name), load });
      button.addEventListener("problem", ({ error }) =>
        this.dispatchEvent(eventWith("problem", { error })),
      );
      buttons.push(listen, asked("use"));
      if (!isPreset) buttons.push(asked("edit", "quiet"));
    }
    if (!isPreset) buttons.push(asked("remove", "quiet"));
    return buttons;
  }
}

function facts({ preset: isPreset, problem, duration_s: durationS }) {
  const texts = [isPreset ? strings.speak.builtIn : strings.speak.saved];
  if (!problem) texts.push(lengthText(durationS));
  return texts.map((textContent) => element("span", { className: "hint", textContent }));
}

function notes({ text, description, licence }) {
  const made = [element("blockquote", { textContent: text })];
  if (description) made.push(element("p", { textContent: description }));
  if (licence)
    made.push(element("p", { className: "hint", textContent: strings.voices.licence(licence) }));
  return made;
}
