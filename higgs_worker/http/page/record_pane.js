import { byId, eventWith } from "./dom.js";
import { clockText } from "./length_text.js";
import { offerReadingTexts } from "./reading_texts.js";
import { Recorder } from "./recorder.js";
import { BEST_MAX_S, BEST_MIN_S, trim } from "./recording.js";
import { strings } from "./strings.js";
import { wavFile } from "./wav.js";

/** Above, in decibels of full scale, a louder syllable is cut off. */
const LOUD_DB = -1;
/** Speech with its loudest peak below is at the border of what makes a voice. */
const FAINT_DB = -30;
/** Peaks are compared over this many messages of the recorder: two seconds. */
const NUM_PEAKS = 40;
/** A screen reader is given time for a sentence before the next one. */
const MIN_SENTENCE_MS = 3000;

/** A recording that is made here. Tells "change", and "problem" with an `error`. */
export class RecordPane extends EventTarget {
  #player;
  #recorder = new Recorder();
  #recording = null;
  /** Between the press of the button and the end, so also while the browser asks for leave. */
  #isOn = false;
  #peaks = [];
  #toldAt = 0;

  constructor(player) {
    super();
    this.#player = player;
    offerReadingTexts(byId("record-texts"), byId("record-text"));
    byId("record").addEventListener("click", () => (this.#isOn ? this.leave() : this.#start()));
    byId("discard").addEventListener("click", () => {
      this.#recording = null;
      this.#show();
      byId("record").focus();
    });
    this.#recorder.addEventListener("level", ({ detail }) => this.#follow(detail));
    this.#recorder.addEventListener("end", () => this.leave());
    // A page that is kept for the way back keeps no microphone.
    addEventListener("pagehide", () => this.leave());
    this.#show();
  }

  /** See RecordingPreview; null: there is none, or another one is being made. */
  get recording() {
    return this.#isOn ? null : this.#recording;
  }

  /** What is said in it. */
  get text() {
    return byId("record-text").value.trim();
  }

  /** What keeps it from being saved: {control, sentence}; null: nothing. */
  get missing() {
    if (!this.recording) return { control: byId("record"), sentence: strings.newVoice.notRecorded };
    if (this.text) return null;
    return { control: byId("record-text"), sentence: strings.newVoice.noTranscript };
  }

  /** End the recording that runs, and keep it. */
  leave() {
    if (!this.#isOn) return;
    this.#isOn = false;
    const { samples, sampleRate } = this.#recorder.stop();
    if (samples.length > 0) {
      const kept = trim(samples, sampleRate);
      const file = wavFile(kept, sampleRate);
      this.#recording = { file, samples: kept, sampleRate, notes: [] };
    }
    this.#show();
  }

  /** Forget the recording. */
  clear() {
    this.#recording = null;
    this.#show();
  }

  async #start() {
    this.#player.silence();
    this.#isOn = true;
    this.#peaks = [];
    this.#toldAt = 0;
    this.#show();
    this.#tell(strings.record.asking);
    this.#tellProblem(null);
    try {
      await this.#recorder.start();
      if (this.#isOn) this.#tell(strings.record.goOn);
    } catch (error) {
      this.#isOn = false;
      this.#show();
      this.#tellProblem(new Error(strings.record.refused[error.reason]));
    }
  }

  #follow({ rmsDb, peakDb }) {
    this.#peaks = [...this.#peaks, peakDb].slice(-NUM_PEAKS);
    byId("record-level").value = rmsDb;
    byId("record-time").textContent = clockText(this.#recorder.durationS);
    if (performance.now() - this.#toldAt < MIN_SENTENCE_MS) return;
    this.#tell(this.#sentence());
  }

  #sentence() {
    const { durationS } = this.#recorder;
    const peakDb = Math.max(...this.#peaks);
    if (peakDb > LOUD_DB) return strings.record.loud;
    if (this.#peaks.length === NUM_PEAKS && peakDb < FAINT_DB) return strings.record.faint;
    if (durationS < BEST_MIN_S) return strings.record.goOn;
    return durationS < BEST_MAX_S ? strings.record.enough : strings.record.over;
  }

  #tell(sentence) {
    const place = byId("record-told");
    if (place.textContent === sentence) return;
    place.textContent = sentence;
    this.#toldAt = performance.now();
  }

  #tellProblem(error) {
    this.dispatchEvent(eventWith("problem", { error }));
  }

  #show() {
    const button = byId("record");
    const { again, start, stop } = strings.record;
    button.textContent = this.#isOn ? stop : this.#recording ? again : start;
    button.classList.toggle("is-recording", this.#isOn);
    byId("record-meter").hidden = !this.#isOn;
    if (!this.#isOn) {
      byId("record-told").textContent = "";
      byId("record-time").textContent = clockText(0);
      byId("record-level").value = byId("record-level").min;
    }
    // The text that was read stays with the recording.
    byId("record-choice").hidden = this.#isOn || this.#recording !== null;
    byId("discard").hidden = this.#isOn || this.#recording === null;
    this.dispatchEvent(new Event("change"));
  }
}
