import { calls } from "./calls.js";
import { byId, element } from "./dom.js";
import { strings } from "./strings.js";

/** The code that makes the form's request, in the language that was chosen. */
export class CodeView {
  #server;
  #form;
  #kind = "curl";

  constructor(server, form) {
    this.#server = server;
    this.#form = form;
    for (const [kind, name] of Object.entries(strings.code.kinds)) {
      const input = element("input", {
        type: "radio",
        name: "code-kind",
        value: kind,
        checked: kind === this.#kind,
      });
      input.addEventListener("change", () => {
        this.#kind = kind;
        this.show();
      });
      byId("code-kinds").append(element("label", {}, input, name));
    }
    byId("copy-code").addEventListener("click", () => this.#copy());
    form.addEventListener("change", () => this.show());
  }

  /** Show the code of the request as it is now. */
  show() {
    const origin = new URL(".", location.href).href.replace(/\/$/, "");
    const all = calls(this.#form.request, { origin, hasKey: this.#server.hasKey });
    byId("code").querySelector("code").textContent = all[this.#kind];
    byId("code-told").textContent = "";
  }

  async #copy() {
    const code = byId("code").querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      byId("code-told").textContent = strings.code.copied;
    } catch {
      // Without https there is no clipboard, and elsewhere a person may refuse it.
      getSelection().selectAllChildren(code);
      byId("code-told").textContent = strings.code.select;
    }
  }
}
