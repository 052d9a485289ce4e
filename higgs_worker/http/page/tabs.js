import { byId } from "./dom.js";

/** The parts of the page: one is shown. By keyboard, arrows go from tab to tab. */
export class Tabs extends EventTarget {
  #tabs = [...byId("tabs").querySelectorAll('[role="tab"]')];

  constructor() {
    super();
    byId("tabs").addEventListener("click", ({ target }) => {
      if (this.#tabs.includes(target)) this.show(nameOf(target));
    });
    byId("tabs").addEventListener("keydown", (event) => {
      const index = this.#tabs.indexOf(document.activeElement);
      const last = this.#tabs.length - 1;
      const next = {
        ArrowRight: index === last ? 0 : index + 1,
        ArrowLeft: index === 0 ? last : index - 1,
        Home: 0,
        End: last,
      }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      this.show(nameOf(this.#tabs[next]));
      this.#tabs[next].focus();
    });
    addEventListener("hashchange", () => this.#followAddress());
    this.#followAddress();
  }

  /** Show a part: "speak", "voices" or "code". */
  show(name) {
    for (const each of this.#tabs) {
      const isShown = nameOf(each) === name;
      each.setAttribute("aria-selected", String(isShown));
      each.tabIndex = isShown ? 0 : -1;
      byId(`panel-${nameOf(each)}`).hidden = !isShown;
    }
    // With a slash no element has this id, so the browser does not jump anywhere.
    history.replaceState(null, "", `#/${name}`);
    this.dispatchEvent(new Event("change"));
  }

  #followAddress() {
    const name = location.hash.slice(2);
    this.show(this.#tabs.some((each) => nameOf(each) === name) ? name : "speak");
  }
}

function nameOf(tab) {
  return tab.id.replace("tab-", "");
}
