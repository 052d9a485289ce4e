import { EVENT_TAGS, insertTag } from "./dialogue.js";
import { afterPause, byId, element } from "./dom.js";
import { SettingsForm } from "./settings_form.js";
import { SpeakersForm } from "./speakers_form.js";
import { strings } from "./strings.js";
import { recall, remember } from "./tab_memory.js";
import { tell } from "./told.js";
import { IN_WORDS, chooseVoice, fillVoices } from "./voice_picker.js";

/** How long a person may pause while typing, in milliseconds. */
const PAUSE_MS = 400;

/**
 * The form of a request: text, voices, settings. Tells "change" at once, and "settled" when a
 * person has paused. What was typed survives a reload of the page.
 */
export class RequestForm extends EventTarget {
  #text = byId("text");
  #voice = byId("voice");
  #description = byId("description");
  #voices;
  #settings = new SettingsForm(byId("settings-main"), byId("settings-more"));
  #speakers;
  #settle = afterPause(PAUSE_MS, () => {
    remember("form", JSON.stringify(this.request));
    this.dispatchEvent(new Event("settled"));
  });

  constructor(voices) {
    super();
    this.#voices = voices;
    this.#speakers = new SpeakersForm(voices);
    fillVoices(this.#voice, [], { withWords: true });
    const examples = strings.examplesList.map((each) => each.name);
    fillMenu(byId("examples"), strings.speak.examples, examples);
    const tags = EVENT_TAGS.map((each) => strings.tags[each.name]);
    fillMenu(byId("tags"), strings.speak.insert, tags);
    const [first] = strings.examplesList;
    this.request = JSON.parse(recall("form")) ?? { text: first.text };
    voices.addEventListener("change", () => {
      const wanted = this.#voice.dataset.wanted;
      fillVoices(this.#voice, voices.usable, { withWords: true });
      if (wanted) chooseVoice(this.#voice, wanted);
      this.#changed();
    });
    for (const each of [this.#settings, this.#speakers]) {
      each.addEventListener("change", () => this.#changed());
    }
    this.#text.addEventListener("input", () => this.#changed());
    this.#description.addEventListener("input", () => this.#changed());
    this.#voice.addEventListener("change", () => {
      this.#voice.dataset.wanted = this.#voice.value;
      this.#changed();
    });
    byId("examples").addEventListener("change", ({ target }) => {
      this.#write(strings.examplesList[target.selectedIndex - 1].text);
      target.selectedIndex = 0;
    });
    byId("tags").addEventListener("change", ({ target }) => {
      const { selectionStart, selectionEnd } = this.#text;
      const tag = EVENT_TAGS[target.selectedIndex - 1];
      const { text, start, end } = insertTag(this.#text.value, selectionStart, selectionEnd, tag);
      this.#write(text);
      this.#text.focus();
      this.#text.setSelectionRange(start, end);
      target.selectedIndex = 0;
    });
    byId("reset").addEventListener("click", () => {
      this.#settings.values = {};
      tell(strings.speak.isReset);
      this.#changed();
    });
  }

  /** The request, with those fields alone that differ from the server's defaults. */
  get request() {
    const { strict_tags: isStrict, ...settings } = this.#settings.values;
    const text = this.#text.value;
    const request = { text };
    const voice = this.voice;
    if (voice) request.voice = voice;
    const speakers = this.#speakers.value;
    if (speakers) request.speakers = speakers;
    Object.assign(request, settings);
    // The server's default is true; it matters where there are brackets.
    if (!isStrict && text.includes("[")) request.strict_tags = false;
    return request;
  }

  set request({ text, voice, speakers, strict_tags: isStrict, ...settings }) {
    this.#text.value = text;
    const isInWords = typeof voice === "object";
    this.#voice.dataset.wanted = isInWords ? IN_WORDS : (voice ?? "");
    chooseVoice(this.#voice, this.#voice.dataset.wanted);
    this.#description.value = isInWords ? voice.description : "";
    this.#settings.values = {
      ...settings,
      strict_tags: isStrict === undefined ? text.includes("[") : isStrict,
    };
    this.#speakers.value = speakers ?? {};
    this.#changed();
  }

  /** The voice of what no speaker says: a name, {description}, or null. */
  get voice() {
    // What was chosen before a reload holds until the list is there.
    const name = this.#voices.isLoaded ? this.#voice.value : this.#voice.dataset.wanted;
    if (name !== IN_WORDS) return name || null;
    const description = this.#description.value.trim();
    return description ? { description } : null;
  }

  /** The first control that cannot be sent as it is, or null. */
  get wrongControl() {
    return this.#settings.wrongControl;
  }

  /** Speak with a voice from now on. */
  chooseVoice(name) {
    this.#voice.dataset.wanted = name;
    chooseVoice(this.#voice, name);
    this.#changed();
  }

  /** Follow a voice that has another name now. */
  followRename(before, name) {
    this.#speakers.followRename(before, name);
    if (this.#voice.dataset.wanted === before) this.chooseVoice(name);
    else this.#changed();
  }

  /** Speak with a seed from now on. */
  keepSeed(seed) {
    this.#settings.values = { ...this.#settings.values, seed };
    this.#changed();
  }

  /** Put a text in place of what is there, as if it had been typed: the browser can undo it. */
  #write(text) {
    this.#text.focus();
    this.#text.select();
    if (!document.execCommand("insertText", false, text)) {
      this.#text.value = text;
      this.#changed();
    }
  }

  #changed() {
    byId("description-field").hidden = this.#voice.value !== IN_WORDS;
    this.#speakers.read(this.#text.value);
    byId("voice-label").textContent = this.#speakers.value
      ? strings.speak.otherVoice
      : strings.speak.voice;
    this.dispatchEvent(new Event("change"));
    this.#settle();
  }
}

function fillMenu(select, title, names) {
  const options = [title, ...names].map((textContent) => element("option", { textContent }));
  select.replaceChildren(...options);
}
