import { byId } from "./dom.js";
import { readFile } from "./recording.js";
import { strings } from "./strings.js";

/** A recording that a person has as a file. Tells "change", and "drop" when one was dropped. */
export class UploadPane extends EventTarget {
  /** See RecordingPreview; null: there is none. */
  recording = null;
  #input = byId("upload-file");

  constructor() {
    super();
    this.#input.addEventListener("change", () => this.#take(this.#input.files[0]));
    const panel = byId("panel-voices");
    const zone = byId("upload-zone");
    // Anywhere on the panel: beside the zone a browser would leave the page for the file.
    panel.addEventListener("dragover", (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      zone.classList.add("is-over");
    });
    panel.addEventListener("dragleave", () => zone.classList.remove("is-over"));
    panel.addEventListener("drop", (event) => {
      zone.classList.remove("is-over");
      if (event.dataTransfer.files.length === 0) return;
      event.preventDefault();
      this.#input.files = event.dataTransfer.files;
      this.dispatchEvent(new Event("drop"));
      this.#take(this.#input.files[0]);
    });
  }

  /** What is said in it. */
  get text() {
    return byId("upload-text").value.trim();
  }

  /** What keeps it from being saved: {control, sentence}; null: nothing. */
  get missing() {
    if (!this.recording) return { control: this.#input, sentence: strings.newVoice.noFile };
    if (this.text) return null;
    return { control: byId("upload-text"), sentence: strings.newVoice.noTranscript };
  }

  /** There is nothing to stop. */
  leave() {}

  /** Forget the recording and its transcript. */
  clear() {
    this.recording = null;
    this.#input.value = "";
    byId("upload-text").value = "";
    this.dispatchEvent(new Event("change"));
  }

  async #take(file) {
    if (!file) return; // a person may close the dialog without a choice; the file before stays
    const bare = { file, samples: null, notes: [] };
    this.recording = bare;
    this.dispatchEvent(new Event("change"));
    let read;
    try {
      read = { ...bare, ...(await readFile(file)) };
    } catch {
      // The server reads more kinds of files, and has the last word about this one.
      read = { ...bare, notes: [strings.recording.unreadable] };
    }
    if (this.recording !== bare) return;
    this.recording = read;
    this.dispatchEvent(new Event("change"));
  }
}
