import { byId, element } from "./dom.js";
import { lengthText } from "./length_text.js";
import { ListenButton } from "./listen_button.js";
import { BEST_MAX_S, BEST_MIN_S, judge } from "./recording.js";
import { strings } from "./strings.js";
import { Waveform } from "./waveform.js";

/**
 * Shows the recording of a new voice: to be looked at, heard, and judged before it is sent.
 *
 * A recording has `file`, which is sent, `samples` at `sampleRate`, in hertz, and `notes`,
 * sentences about it; `samples` is null where this browser cannot decode the file.
 */
export class RecordingPreview {
  #wave = new Waveform(byId("recording-wave"));
  #button;
  #shown = null;

  constructor(player) {
    this.#button = new ListenButton(byId("hear-recording"), player);
  }

  /** Show a recording; null: none. */
  show(recording) {
    if (recording === this.#shown) return;
    this.#shown = recording;
    byId("recording").hidden = !recording;
    this.#button.offer({ label: strings.recording.listen, ...sampleOf(recording) });
    byId("recording-sound").hidden = !recording?.samples;
    this.#wave.clear();
    if (!recording) return;
    let notes = recording.notes;
    if (recording.samples) {
      const { samples, sampleRate } = recording;
      const { durationS, problems } = judge(samples, sampleRate);
      this.#wave.begin(sampleRate);
      this.#wave.append(samples);
      this.#wave.finish();
      byId("recording-length").textContent = lengthText(durationS);
      notes = [...notes, ...problems.map((each) => strings.recording.problems[each])];
      if (!problems.includes("short") && !problems.includes("long")) {
        if (durationS < BEST_MIN_S || durationS > BEST_MAX_S) notes.push(strings.recording.best);
      }
    }
    byId("recording-notes").hidden = notes.length === 0;
    byId("recording-notes").replaceChildren(
      ...notes.map((each) => element("li", { textContent: each })),
    );
  }
}

function sampleOf(recording) {
  if (!recording?.samples) return {};
  const { samples, sampleRate } = recording;
  return { sampleRate, load: async (append) => append(samples) };
}
