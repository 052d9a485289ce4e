import { byId, element } from "./dom.js";
import { lengthText } from "./length_text.js";
import { ServerError } from "./server.js";
import { strings } from "./strings.js";

/** What the server would read: how long it takes, what is read differently, what is wrong. */
export class ReadingView {
  #server;
  #form;
  #asking = null;

  constructor(server, form) {
    this.#server = server;
    this.#form = form;
    form.addEventListener("change", () => this.#count());
    form.addEventListener("settled", () => this.ask());
  }

  /** Ask the server about the text. It costs no GPU time. */
  async ask() {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const request = this.#form.request;
    if (!request.text.trim() || this.#form.wrongControl) {
      this.#show(null);
      return;
    }
    try {
      const body = { action: "read", ...request };
      const reading = await this.#server.json("POST", "v1/speech", body, asking);
      this.#show(reading, { warning: reading.warnings.join(" ") });
    } catch (error) {
      if (asking.signal.aborted) return;
      // What is wrong with the text is told here; the rest is told where it is asked for speech.
      const isWrong = error instanceof ServerError && error.status === 400;
      this.#show(null, { problem: isWrong ? error.message : "" });
    }
  }

  #count() {
    const text = this.#form.request.text;
    byId("count").textContent = strings.speak.count(numWords(text), [...text].length);
    if (!text.trim()) this.#show(null);
  }

  #show(reading, { problem = "", warning = "" } = {}) {
    byId("expected").textContent = reading
      ? strings.speak.expected(lengthText(reading.expected_s))
      : "";
    const place = byId("text-problem");
    place.textContent = problem || warning;
    place.className = problem ? "problem" : "warnings";
    place.hidden = !place.textContent;
    const different = reading?.sentences.filter((each) => each.spoken) ?? [];
    byId("reading").hidden = different.length === 0;
    byId("reading-summary").textContent = strings.speak.differs(different.length);
    byId("reading-list").replaceChildren(
      ...different.map(({ text, spoken }) =>
        element(
          "div",
          {},
          element("dt", { textContent: text }),
          element("dd", { textContent: spoken }),
        ),
      ),
    );
  }
}

/** Words as the language of the text divides them: Chinese has no spaces. */
function numWords(text) {
  if (!Intl.Segmenter) return text.split(/\s+/).filter(Boolean).length;
  const words = new Intl.Segmenter(undefined, { granularity: "word" }).segment(text);
  let num = 0;
  for (const each of words) num += each.isWordLike ? 1 : 0;
  return num;
}
