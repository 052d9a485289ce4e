import { byId, eventWith } from "./dom.js";
import { showProblem } from "./problem.js";
import { strings } from "./strings.js";
import { nameProblem, namesake } from "./voice_name.js";

const FIELDS = ["name", "text", "description", "licence"];

/** Changes what is written about a voice. Tells "saved" with its `name` before and after. */
export class EditDialog extends EventTarget {
  #voices;
  #voice = null;
  #isSaving = false;

  constructor(voices) {
    super();
    this.#voices = voices;
    byId("edit-cancel").addEventListener("click", () => byId("edit-dialog").close());
    byId("edit-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
  }

  /** Show a voice's fields to be changed. */
  edit(voice) {
    this.#voice = voice;
    for (const each of FIELDS) field(each).value = voice[each] ?? "";
    byId("edit-title").textContent = strings.voices.labels.edit(voice.name);
    this.#tellProblem(null);
    byId("edit-dialog").showModal();
  }

  async #save() {
    if (this.#isSaving) return;
    const voice = this.#voice;
    const written = FIELDS.map((each) => [each, field(each).value.trim()]);
    const changes = Object.fromEntries(
      written.filter(([each, value]) => value !== (voice[each] ?? "")),
    );
    const problem = this.#findProblem(changes);
    this.#tellProblem(problem);
    if (problem) return;
    this.#showSaving(true);
    try {
      if (Object.keys(changes).length > 0) await this.#voices.update(voice.name, changes);
      byId("edit-dialog").close();
      const name = changes.name ?? voice.name;
      this.dispatchEvent(eventWith("saved", { name, before: voice.name }));
    } catch (error) {
      this.#tellProblem(error);
    } finally {
      this.#showSaving(false);
    }
  }

  #findProblem({ name, text }) {
    if (text === "") return this.#at("text", strings.newVoice.noTranscript);
    if (name === undefined) return null;
    const other = namesake(name, this.#voices);
    // Its own name in other letters is no other voice's.
    if (other?.name === this.#voice.name) return null;
    const problem = nameProblem(name, this.#voices) || (other ? strings.voiceName.taken(name) : "");
    return problem ? this.#at("name", problem) : null;
  }

  #at(name, sentence) {
    field(name).focus();
    return new Error(sentence);
  }

  #tellProblem(error) {
    showProblem(byId("edit-problem"), error);
  }

  #showSaving(isSaving) {
    this.#isSaving = isSaving;
    byId("edit-form").setAttribute("aria-busy", String(isSaving));
    byId("edit-save").textContent = isSaving ? strings.newVoice.saving : strings.newVoice.save;
  }
}

function field(name) {
  return byId(`edit-${name}`);
}
