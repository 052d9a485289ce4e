import { byId } from "./dom.js";

/** Asks for the server's key when it wants another one. Tells "change" when one was given. */
export class KeyDialog extends EventTarget {
  #server;
  #dialog = byId("key-dialog");

  constructor(server) {
    super();
    this.#server = server;
    byId("change-key").hidden = !server.hasKey; // of before a reload
    server.addEventListener("key", () => this.ask());
    byId("change-key").addEventListener("click", () => {
      server.setKey(null);
      this.ask();
    });
    byId("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      server.setKey(byId("key").value.trim());
      byId("key").value = "";
      this.#dialog.close();
      this.dispatchEvent(new Event("change"));
    });
  }

  /** Ask for a key; one that is there was wrong. */
  ask() {
    byId("key-wrong").hidden = !this.#server.hasKey;
    byId("change-key").hidden = false;
    if (!this.#dialog.open) this.#dialog.showModal();
  }
}
