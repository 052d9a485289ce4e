import { byId, element, eventWith } from "./dom.js";
import { EditDialog } from "./edit_dialog.js";
import { showProblem } from "./problem.js";
import { RemoveDialog } from "./remove_dialog.js";
import { strings } from "./strings.js";
import { VoiceCard } from "./voice_card.js";

/** With so many, a person looks for a name rather than reads them all. */
const MIN_TO_FILTER = 13;

/**
 * The list of voices: heard, chosen, changed, deleted. Tells "use" with a `name`, and "renamed"
 * with the `name` of now and the one `before`.
 */
export class VoicesView extends EventTarget {
  #voices;
  #player;
  #cards = [];
  #edit;
  #remove = new RemoveDialog();

  constructor(voices, player) {
    super();
    this.#voices = voices;
    this.#player = player;
    this.#edit = new EditDialog(voices);
    this.#edit.addEventListener("saved", ({ name, before }) => {
      if (name !== before)
        this.dispatchEvent(eventWith("renamed", { name, before }));
      this.showSaved(name, []);
    });
    voices.addEventListener("change", () => this.#show());
    byId("voices-filter").addEventListener("input", () => this.#filter());
  }

  /** Go to a voice that was saved, and tell so, with the server's warnings. */
  showSaved(name, warnings) {
    byId("voices-filter").value = "";
    this.#filter();
    byId("voices-told").textContent = strings.voices.isSaved(name);
    byId("voices-warnings").hidden = warnings.length === 0;
    byId("voices-warnings").replaceChildren(
      ...warnings.map((each) => element("li", { textContent: each })),
    );
    this.#cards.find((each) => each.voice.name === name)?.element.focus();
  }

  #show() {
    // What has not changed stays: it may have the focus, or sound.
    const before = new Map(this.#cards.map((each) => [JSON.stringify(each.voice), each]));
    const cards = this.#voices.all.map(
      (each) => before.get(JSON.stringify(each)) ?? this.#makeCard(each),
    );
    const isSame =
      cards.length === this.#cards.length && cards.every((c, i) => c === this.#cards[i]);
    this.#cards = cards;
    if (!isSame) {
      this.#player.stop(); // its button may be gone
      byId("voices-list").replaceChildren(...cards.map((each) => each.element));
    }
    byId("voices-empty").hidden = cards.some((each) => !each.voice.preset);
    byId("voices-filter-field").hidden = cards.length < MIN_TO_FILTER;
    if (cards.length < MIN_TO_FILTER) byId("voices-filter").value = "";
    this.#filter();
  }

  #filter() {
    const wanted = byId("voices-filter").value.trim().toLowerCase();
    for (const { voice, element } of this.#cards) {
      const words = [voice.name, voice.text, voice.description, voice.licence].join("\n");
      element.hidden = !words.toLowerCase().includes(wanted);
    }
    const number = this.#cards.filter((each) => !each.element.hidden).length;
    byId("voices-found").textContent = wanted
      ? strings.voices.found(number, this.#cards.length)
      : "";
  }

  #makeCard(voice) {
    const card = new VoiceCard(voice, this.#voices.sampleOf(voice.name), this.#player);
    card.addEventListener("use", () => {
      this.#player.stop();
      this.dispatchEvent(eventWith("use", { name: voice.name }));
    });
    card.addEventListener("edit", () => {
      this.#tellProblem(null);
      this.#edit.edit(voice);
    });
    card.addEventListener("remove", () => this.#askToRemove(card));
    card.addEventListener("problem", ({ error }) => this.#tellProblem(error));
    return card;
  }

  async #askToRemove(card) {
    const { name } = card.voice;
    this.#tellProblem(null);
    if (!(await this.#remove.ask(name))) return;
    const shown = this.#cards.filter((each) => !each.element.hidden);
    const index = shown.indexOf(card);
    const neighbour = shown[index + 1] ?? shown[index - 1];
    try {
      await this.#voices.remove(name);
    } catch (error) {
      this.#tellProblem(error);
      return;
    }
    byId("voices-told").textContent = strings.voices.isRemoved(name);
    // Whoever goes through the list by keyboard goes on where they are.
    (neighbour?.element ?? byId("new-voice-summary")).focus();
  }

  #tellProblem(error) {
    byId("voices-told").textContent = "";
    byId("voices-warnings").hidden = true;
    showProblem(byId("voices-problem"), error);
  }
}
