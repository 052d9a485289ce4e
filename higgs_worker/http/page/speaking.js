import { byId } from "./dom.js";
import { lengthText } from "./length_text.js";
import { showProblem } from "./problem.js";
import { strings } from "./strings.js";
import { Take } from "./take.js";
import { tell } from "./told.js";

/** Speaks what the form says when a person asks for it, one request at a time, and stops. */
export class Speaking {
  #server;
  #form;
  #sound;
  #history;
  #running = null;

  constructor(server, form, sound, history) {
    this.#server = server;
    this.#form = form;
    this.#sound = sound;
    this.#history = history;
    byId("speak").addEventListener("click", () => this.speak());
    byId("stop").addEventListener("click", () => this.stop());
    addEventListener("keydown", (event) => {
      if (byId("panel-speak").hidden || document.querySelector("dialog[open]")) return;
      if (event.key === "Escape") this.stop();
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault(); // of the button that has the focus
      if (!event.repeat) this.speak();
    });
    sound.addEventListener("problem", ({ error }) => this.tellProblem(error));
  }

  /** Speak; what is still being spoken is stopped. Call it while a click or a key is handled. */
  async speak() {
    const request = this.#form.request;
    const wrong = this.#findWrong(request);
    this.tellProblem(wrong);
    if (wrong) return;
    this.stop();
    const running = (this.#running = new AbortController());
    const take = new Take(request);
    const before = this.#sound.take;
    this.#sound.begin(take);
    this.#showRunning(true);
    tell(strings.take.waiting);
    try {
      await take.speak(this.#server, running.signal, {
        onSamples: (samples) => {
          if (this.#sound.take === take) this.#sound.append(samples);
          if (running === this.#running) tell(strings.take.speaking);
        },
        onChange: () => {
          if (this.#sound.take === take) this.#sound.show();
        },
      });
    } catch (error) {
      this.tellProblem(error);
    }
    if (this.#sound.take === take) {
      if (take.lengthS > 0) this.#sound.finish();
      else this.#sound.goBackTo(before);
    }
    if (take.lengthS > 0) this.#history.add(take);
    if (running !== this.#running) return; // the next one runs already
    this.#running = null;
    this.#showRunning(false);
    tell(endSentence(take));
  }

  /** Stop what is being spoken; the server stops with it, and so does the sound. */
  stop() {
    this.#running?.abort();
    this.#sound.pause();
  }

  #showRunning(isRunning) {
    // A button that is disabled loses the focus, and the keyboard would start at the top again.
    if (!isRunning && document.activeElement === byId("stop")) byId("speak").focus();
    byId("stop").disabled = !isRunning;
    byId("sound").setAttribute("aria-busy", String(isRunning));
  }

  #findWrong(request) {
    const control = this.#form.wrongControl;
    if (control) {
      control.closest("details")?.setAttribute("open", "");
      control.focus();
      const label = control.labels[0].textContent;
      return new Error(strings.speak.wrongSetting(label, control.validationMessage));
    }
    if (request.text.trim()) return null;
    byId("text").focus();
    return new Error(strings.speak.nothing);
  }

  /** Tell what went wrong beside the form; null: nothing any more. */
  tellProblem(error) {
    showProblem(byId("problem"), error);
  }
}

function endSentence(take) {
  if (take.state === "failed") return ""; // the alert tells it
  if (take.state === "done") return strings.take.done(lengthText(take.lengthS));
  return take.lengthS > 0
    ? strings.take.stopped(lengthText(take.lengthS))
    : strings.take.stoppedEarly;
}
