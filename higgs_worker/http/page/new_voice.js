import { DescribePane } from "./describe_pane.js";
import { byId, eventWith } from "./dom.js";
import { showProblem } from "./problem.js";
import { RecordPane } from "./record_pane.js";
import { RecordingPreview } from "./recording_preview.js";
import { strings } from "./strings.js";
import { UploadPane } from "./upload_pane.js";
import { nameProblem, namesake } from "./voice_name.js";

/**
 * The form of a new voice: its recording, which is uploaded, recorded or spoken from a description,
 * its name and notes. Tells "saved" with the `name` and the server's `warnings`. Whatever goes
 * wrong, everything in it stays.
 */
export class NewVoice extends EventTarget {
  #voices;
  #panes;
  #preview;
  #way = "upload";
  #isSaving = false;

  constructor(server, voices, player) {
    super();
    this.#voices = voices;
    this.#preview = new RecordingPreview(player);
    const upload = new UploadPane();
    this.#panes = {
      upload,
      record: new RecordPane(player),
      describe: new DescribePane(server, player),
    };
    for (const pane of Object.values(this.#panes)) {
      pane.addEventListener("change", () => this.#show());
      pane.addEventListener("problem", ({ error }) => this.#tellProblem(error));
    }
    upload.addEventListener("drop", () => {
      byId("new-voice").open = true;
      this.#choose("upload");
    });
    byId("new-voice-ways").addEventListener("change", ({ target }) => this.#choose(target.value));
    byId("new-voice").addEventListener("toggle", ({ target }) => {
      if (!target.open) this.leave();
    });
    byId("new-voice-name").addEventListener("input", () => this.#showName());
    voices.addEventListener("change", () => this.#showName());
    byId("new-voice-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    this.#choose("upload");
  }

  /** End what runs, a recording say, and keep what came of it. */
  leave() {
    this.#pane.leave();
  }

  get #pane() {
    return this.#panes[this.#way];
  }

  get #name() {
    return byId("new-voice-name").value.trim();
  }

  /** The saved voice that has the name already and may be replaced, or undefined. */
  get #replaced() {
    const other = namesake(this.#name, this.#voices);
    return other && !nameProblem(this.#name, this.#voices) ? other : undefined;
  }

  #choose(way) {
    this.leave();
    this.#way = way;
    byId(`way-${way}`).checked = true;
    this.#tellProblem(null);
    for (const each of byId("new-voice-form").querySelectorAll("[data-ways]")) {
      each.hidden = !each.dataset.ways.split(" ").includes(way);
    }
    this.#show();
  }

  #show() {
    this.#preview.show(this.#pane.recording);
  }

  #showName() {
    const name = this.#name;
    const problem = name ? nameProblem(name, this.#voices) : "";
    const place = byId("new-voice-name-problem");
    place.hidden = !problem;
    if (place.textContent !== problem) place.textContent = problem;
    byId("replace-field").hidden = !this.#replaced;
    if (!this.#replaced) byId("replace").checked = false;
    else byId("replace-label").textContent = strings.newVoice.replace(this.#replaced.name);
  }

  async #save() {
    if (this.#isSaving) return;
    this.leave();
    const missing = this.#pane.missing ?? this.#missingName();
    if (missing) {
      this.#tellProblem(new Error(missing.sentence));
      missing.control.focus();
      return;
    }
    this.#tellProblem(null);
    this.#showSaving(true);
    const name = this.#name;
    try {
      const { warnings } = await this.#voices.save({
        name,
        audio: this.#pane.recording.file,
        text: this.#pane.text,
        description: this.#pane.description ?? byId("new-voice-description").value.trim(),
        licence: byId("new-voice-licence").value.trim(),
        replace: byId("replace").checked,
      });
      this.#clear();
      this.dispatchEvent(eventWith("saved", { name, warnings }));
    } catch (error) {
      this.#tellProblem(error);
    } finally {
      this.#showSaving(false);
    }
  }

  #missingName() {
    const control = byId("new-voice-name");
    if (!this.#name) return { control, sentence: strings.newVoice.noName };
    const problem = nameProblem(this.#name, this.#voices);
    if (problem) return { control, sentence: problem };
    if (!this.#replaced || byId("replace").checked) return null;
    return { control: byId("replace"), sentence: strings.newVoice.taken(this.#replaced.name) };
  }

  #clear() {
    this.#pane.clear();
    byId("new-voice-name").value = "";
    byId("new-voice-description").value = "";
    byId("new-voice-licence").value = "";
    this.#showName();
  }

  #tellProblem(error) {
    showProblem(byId("new-voice-problem"), error);
  }

  /** The button stays where the focus is; a second press does nothing. */
  #showSaving(isSaving) {
    this.#isSaving = isSaving;
    byId("new-voice-form").setAttribute("aria-busy", String(isSaving));
    byId("save-voice").textContent = isSaving ? strings.newVoice.saving : strings.newVoice.save;
  }
}
