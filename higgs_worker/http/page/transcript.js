import { element, eventWith } from "./dom.js";

/**
 * The sentences of a take as running text. The one that is heard is marked; a click on one goes to
 * where it begins. Tells "seek" with `seconds`. By keyboard, the slider does that.
 */
export class Transcript extends EventTarget {
  #place;
  #segments = [];
  #heard = -1;

  constructor(place) {
    super();
    this.#place = place;
    place.addEventListener("click", (event) => {
      const index = [...place.children].indexOf(event.target.closest(".sentence"));
      if (index < 0) return;
      this.dispatchEvent(eventWith("seek", { seconds: this.#segments[index].start_s }));
    });
  }

  /** Show sentences; those that are there already stay as they are. */
  show(segments) {
    this.#segments = segments.filter(Boolean);
    this.#segments.forEach((segment, index) => {
      const shown = this.#place.children[index];
      if (shown?.dataset.text === segment.text) return;
      const made = makeSentence(segment, this.#segments[index - 1]);
      if (shown) shown.replaceWith(made);
      else this.#place.append(made);
    });
    while (this.#place.children.length > this.#segments.length) this.#place.lastChild.remove();
    this.#heard = -1;
  }

  /** Mark the sentence that is heard at a time, in seconds; null: none is. */
  mark(seconds) {
    const heard =
      seconds === null ? -1 : this.#segments.findLastIndex((each) => each.start_s <= seconds);
    if (heard === this.#heard) return;
    this.#heard = heard;
    for (const each of this.#place.querySelectorAll("[aria-current]")) {
      each.removeAttribute("aria-current");
    }
    const sentence = this.#place.children[heard];
    if (!sentence) return;
    sentence.setAttribute("aria-current", "true");
    // Within its own frame alone: the page itself stays where the person put it.
    const { offsetTop, offsetHeight } = sentence;
    const { scrollTop, clientHeight } = this.#place;
    if (offsetTop < scrollTop || offsetTop + offsetHeight > scrollTop + clientHeight) {
      this.#place.scrollTop = offsetTop - clientHeight / 3;
    }
  }
}

function makeSentence(segment, previous) {
  const made = element("span", { className: "sentence", "data-text": segment.text });
  if (segment.speaker && segment.speaker !== previous?.speaker) {
    made.append(element("b", { className: "speaker", textContent: segment.speaker }));
  }
  made.append(element("span", { textContent: segment.text }), " ");
  if (segment.spoken) made.title = segment.spoken;
  return made;
}
