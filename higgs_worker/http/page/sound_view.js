import { byId, element, eventWith, saveFile } from "./dom.js";
import { clockText, lengthText } from "./length_text.js";
import { strings } from "./strings.js";
import { SAMPLE_RATE } from "./take.js";
import { tell } from "./told.js";
import { Transcript } from "./transcript.js";
import { toPcm16, wavFile } from "./wav.js";
import { Waveform } from "./waveform.js";

/** What an arrow key goes forth or back: a word or two. */
const KEY_STEP_S = 1;

/**
 * The sound that was spoken last, or chosen from the history: played, shown, saved. Tells "seed"
 * when its seed is to be kept, and "problem" with an `error`.
 */
export class SoundView extends EventTarget {
  #server;
  #player;
  #wave = new Waveform(byId("wave"));
  #transcript = new Transcript(byId("transcript"));
  #take = null;
  #isSeeking = false;

  constructor(server, player) {
    super();
    this.#server = server;
    this.#player = player;
    player.addEventListener("state", () => this.#showState());
    player.addEventListener("time", () => this.#showTime());
    byId("play").addEventListener("click", () => this.toggle());
    byId("volume").addEventListener("input", ({ target }) => {
      player.volume = target.valueAsNumber;
    });
    const seek = byId("seek");
    seek.addEventListener("input", () => {
      this.#isSeeking = true;
      player.seek(seek.valueAsNumber);
    });
    // Who drags it back to where it was makes no change.
    for (const each of ["change", "pointerup", "pointercancel"]) {
      seek.addEventListener(each, () => (this.#isSeeking = false));
    }
    seek.addEventListener("keydown", (event) => this.#step(event));
    this.#transcript.addEventListener("seek", ({ seconds }) => {
      player.seek(seconds);
      player.play();
    });
    byId("download").addEventListener("click", () => this.#download());
    byId("keep-seed").addEventListener("click", () => {
      this.dispatchEvent(eventWith("seed", { seed: this.#take.seed }));
    });
  }

  /** The take that is shown, or null. */
  get take() {
    return this.#take;
  }

  /** Show a take and play it, from now on; call it while a click is handled. */
  begin(take) {
    this.#take = take;
    showCard(true);
    this.#player.begin(SAMPLE_RATE);
    this.#wave.begin(SAMPLE_RATE);
    this.#transcript.show([]);
    this.append(take.samples);
    this.show();
  }

  /** Show what was there before a take that came to nothing: another one, if it has sound. */
  goBackTo(take) {
    if (take?.lengthS > 0) {
      this.begin(take);
      this.finish();
      this.pause();
    } else {
      this.#take = null;
      this.#player.clear();
      showCard(false);
    }
  }

  /** Play samples as well. */
  append(samples) {
    this.#player.append(samples);
    this.#wave.append(samples);
  }

  /** Say that the take ended. */
  finish() {
    if (this.#take.state === "failed") this.#player.fail();
    else this.#player.finish();
    this.#wave.finish();
    this.show();
  }

  /** Show what is known of the take by now. */
  show() {
    const take = this.#take;
    this.#transcript.show(take.segments);
    showFacts(take);
    byId("warnings").replaceChildren(
      ...[...take.warnings, ...(take.isCut ? [strings.take.cut] : [])].map((each) =>
        element("li", { textContent: each }),
      ),
    );
    byId("warnings").hidden = !byId("warnings").hasChildNodes();
    const isOver = ["done", "stopped", "failed"].includes(take.state);
    byId("download").disabled = !isOver || take.lengthS === 0;
    this.#showState();
    this.#showTime();
  }

  /** Play, or pause. */
  toggle() {
    if (this.#player.isPlaying && !this.#player.isBlocked) this.#player.pause();
    else this.#player.play();
  }

  /** Pause. */
  pause() {
    this.#player.pause();
  }

  /** By keyboard: the slider's own steps are those of a pointer, too small to get anywhere. */
  #step(event) {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!steps || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.#player.seek(this.#player.positionS + steps * KEY_STEP_S);
  }

  #showState() {
    const player = this.#player;
    const play = byId("play");
    const isSounding = player.isPlaying && !player.isBlocked;
    const kind = isSounding ? "pause" : player.hasEnded ? "replay" : "play";
    play.dataset.icon = kind;
    play.setAttribute("aria-label", strings.player[kind]);
    play.disabled = !this.#take || (player.receivedS === 0 && player.isFinished);
    byId("sound").classList.toggle("is-waiting", player.isWaiting);
    byId("sound-blocked").hidden = !player.isBlocked;
  }

  #showTime() {
    const { positionS, receivedS } = this.#player;
    const seek = byId("seek");
    seek.max = this.#wave.spanS;
    if (!this.#isSeeking) seek.value = positionS;
    seek.setAttribute(
      "aria-valuetext",
      strings.player.at(lengthText(positionS), lengthText(receivedS)),
    );
    byId("time").textContent = `${clockText(positionS)} / ${clockText(receivedS)}`;
    this.#wave.positionS = positionS;
    this.#transcript.mark(receivedS > 0 ? positionS : null);
  }

  async #download() {
    const take = this.#take;
    const button = byId("download");
    const format = take.request.format ?? "wav";
    button.disabled = true;
    button.textContent = strings.player.downloading;
    try {
      const name = `speech-${take.seed}.${format}`;
      saveFile(await this.#file(take, format), name);
      tell(strings.player.downloaded(name));
    } catch (error) {
      this.dispatchEvent(eventWith("problem", { error }));
    } finally {
      button.textContent = strings.player.download;
      button.disabled = false;
    }
  }

  /** Other formats are encoded by the server, which does not speak the text again. */
  async #file(take, format) {
    if (format === "wav") return wavFile(take.samples, SAMPLE_RATE);
    if (format === "pcm") return new Blob([toPcm16(take.samples)]);
    const path = `v1/audio/encode?format=${format}&sample_rate=${SAMPLE_RATE}`;
    return new Blob([await this.#server.bytes("POST", path, toPcm16(take.samples))]);
  }
}

function showCard(isFull) {
  byId("sound-empty").hidden = isFull;
  byId("sound-full").hidden = !isFull;
}

function showFacts(take) {
  const { voice, speakers } = take.request;
  const facts = [
    [strings.take.first, take.firstSoundS === null ? null : lengthText(take.firstSoundS)],
    [strings.take.length, take.lengthS ? lengthText(take.lengthS) : null],
    [strings.take.rtf, take.rtf?.toFixed(2) ?? null, strings.take.rtfHelp],
    [strings.take.seed, String(take.seed)],
    speakers
      ? [strings.speak.speakers, Object.keys(speakers).join(", ")]
      : [strings.take.voice, voiceName(voice)],
  ];
  byId("facts").replaceChildren(
    ...facts.map(([name, value, title = ""]) =>
      element(
        "div",
        { title },
        element("dt", { textContent: name }),
        element("dd", { textContent: value ?? strings.take.unknown }),
      ),
    ),
  );
}

function voiceName(voice) {
  if (!voice) return strings.speak.modelChooses;
  return typeof voice === "string" ? voice : strings.speak.inWords;
}
