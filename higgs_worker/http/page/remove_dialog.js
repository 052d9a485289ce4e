import { byId } from "./dom.js";
import { strings } from "./strings.js";

/** Asks before a voice is deleted. */
export class RemoveDialog {
  #dialog = byId("remove-dialog");
  #answer = () => {};

  constructor() {
    const answer = (isYes) => {
      this.#dialog.close();
      this.#answer(isYes);
    };
    byId("remove-yes").addEventListener("click", () => answer(true));
    byId("remove-no").addEventListener("click", () => answer(false));
    this.#dialog.addEventListener("cancel", () => this.#answer(false));
  }

  /** Return whether a voice is to be deleted, once the person has said so. */
  ask(name) {
    byId("remove-title").textContent = strings.voices.removeTitle(name);
    this.#dialog.showModal();
    return new Promise((resolve) => (this.#answer = resolve));
  }
}
