import { byId, eventWith } from "./dom.js";
import { offerReadingTexts } from "./reading_texts.js";
import { strings } from "./strings.js";
import { SAMPLE_RATE, Take } from "./take.js";
import { wavFile } from "./wav.js";

/** A voice in words: the model speaks a sample of it. Tells "change", and "problem". */
export class DescribePane extends EventTarget {
  #server;
  #player;
  #recording = null;
  /** What the sample says, which a person may have changed in the field since. */
  #spoken = "";
  #running = null;

  constructor(server, player) {
    super();
    this.#server = server;
    this.#player = player;
    offerReadingTexts(byId("describe-texts"), byId("describe-text"));
    byId("speak-sample").addEventListener("click", () =>
      this.#running ? this.leave() : this.#speak(),
    );
    this.#show();
  }

  /** See RecordingPreview; null: there is none, or another one is being spoken. */
  get recording() {
    return this.#running ? null : this.#recording;
  }

  get text() {
    return byId("describe-text").value.trim();
  }

  get description() {
    return byId("describe-words").value.trim();
  }

  /** What keeps it from being saved: {control, sentence}; null: nothing. */
  get missing() {
    const control = byId("speak-sample");
    if (!this.recording) return { control, sentence: strings.newVoice.notSpoken };
    if (this.text === this.#spoken) return null;
    return { control, sentence: strings.newVoice.otherWords };
  }

  /** Stop the sample that is being spoken. */
  leave() {
    this.#running?.abort();
    this.#player.stop();
  }

  /** Forget the sample and the description. */
  clear() {
    this.leave();
    this.#recording = null;
    byId("describe-words").value = "";
    this.#show();
  }

  async #speak() {
    const empty = [byId("describe-words"), byId("describe-text")].find(
      (each) => !each.value.trim(),
    );
    if (empty) {
      const { noDescription, noSample } = strings.newVoice;
      this.#tellProblem(new Error(this.description ? noSample : noDescription));
      empty.focus();
      return;
    }
    this.#tellProblem(null);
    const running = (this.#running = new AbortController());
    const take = new Take({ text: this.text, voice: { description: this.description } });
    this.#show();
    byId("describe-told").textContent = strings.describe.waiting;
    try {
      await this.#player.play({
        sampleRate: SAMPLE_RATE,
        load: (append) =>
          take.speak(this.#server, running.signal, { onSamples: append, onChange: () => {} }),
        showSounding: () => {},
      });
    } catch (error) {
      this.#tellProblem(error);
    }
    this.#running = null;
    if (take.state === "done") this.#keep(take);
    byId("describe-told").textContent = strings.describe[take.state] ?? "";
    this.#show();
  }

  #keep(take) {
    this.#spoken = take.request.text;
    this.#recording = {
      file: wavFile(take.samples, SAMPLE_RATE),
      samples: take.samples,
      sampleRate: SAMPLE_RATE,
      notes: [...take.warnings, ...(take.isCut ? [strings.take.cut] : [])],
    };
  }

  #tellProblem(error) {
    this.dispatchEvent(eventWith("problem", { error }));
  }

  #show() {
    const { speak, another, stop } = strings.describe;
    byId("speak-sample").textContent = this.#running ? stop : this.#recording ? another : speak;
    this.dispatchEvent(new Event("change"));
  }
}
