import { byId, element, eventWith } from "./dom.js";
import { lengthText } from "./length_text.js";
import { strings } from "./strings.js";

const MAX_TAKES = 50;
/** Seconds of sound of all takes: 170 MB of samples. */
const MAX_SOUND_S = 1800;

/** The takes of this tab, newest first. Tells "listen" and "restore" with a `take`. */
export class History extends EventTarget {
  /** Takes and what shows them, in the order of the list. */
  #entries = [];

  /** Add a take that has sound; the oldest ones make room. */
  add(take) {
    const item = this.#item(take);
    this.#entries.unshift({ take, item });
    byId("history-list").prepend(item);
    let soundS = 0;
    this.#entries.forEach((each, index) => {
      soundS += each.take.lengthS;
      if (index > 0 && (index >= MAX_TAKES || soundS > MAX_SOUND_S)) each.item.remove();
    });
    this.#keepShown();
  }

  #remove(item) {
    // Whoever goes through the list by keyboard goes on where they are.
    const next = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    this.#keepShown();
    (next?.querySelector("button") ?? byId("text")).focus();
  }

  #keepShown() {
    this.#entries = this.#entries.filter((each) => each.item.isConnected);
    byId("history").hidden = this.#entries.length === 0;
  }

  #item(take) {
    const { listen, restore, remove } = strings.history;
    const button = (properties, onClick) => {
      const made = element("button", { type: "button", ...properties });
      made.addEventListener("click", onClick);
      return made;
    };
    const item = element(
      "li",
      {},
      button(
        { className: "round small", "data-icon": "play", "aria-label": listen(take.name) },
        () => this.#tell("listen", take),
      ),
      element("span", { className: "name", textContent: take.name }),
      element("span", { className: "hint", textContent: lengthText(take.lengthS) }),
      button({ className: "quiet", textContent: restore }, () => this.#tell("restore", take)),
      button({ className: "quiet", textContent: remove }, () => this.#remove(item)),
    );
    return item;
  }

  #tell(what, take) {
    this.dispatchEvent(eventWith(what, { take }));
  }
}
