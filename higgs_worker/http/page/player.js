import { GrowingSamples } from "./growing_samples.js";
import { Stretch } from "./stretch.js";

/** Sound is handed over in pieces of this length, so a long take makes no more than a few. */
const PIECE_S = 1;
/** This much is handed over ahead: a page is busy, and a hidden tab asleep, for less. */
const AHEAD_S = 3;
/** Besides two buffers of the device (one is heard, one is being made), for this thread. */
const LEAD_S = 0.03;
/** What has to be there before a take goes on that ran dry: each time twice as much. */
const MIN_REFILL_S = 0.25;
const MAX_REFILL_S = 4;
/** A device is open after less, unless the browser waits for a click. */
const OPENING_S = 0.7;
/** An idle context is put to rest after this: an open device keeps some machines awake. */
const REST_S = 2;
/** While nothing is painted, time is told so often at the least. */
const HIDDEN_TICK_MS = 250;
/** Changes of the volume take about this, so that they do not crackle. */
const VOLUME_S = 0.01;

/**
 * Plays a take while it comes.
 *
 * Events: "state" when a boolean of it has changed, "time" while it plays, once a frame at most.
 */
export class Player extends EventTarget {
  #context = null;
  #output = null;
  #volume = 1;
  #take = new GrowingSamples();
  #isPlaying = false;
  #isFinished = false;
  #hasFailed = false;
  #isBlocked = false;
  /** What is not yet heard to its end, in order. */
  #stretches = [];
  /** The last of them, as long as more can join it in time. */
  #growing = null;
  /** The frame of the take that is handed over next. */
  #next = 0;
  #refillS = 0;
  #told = "";
  #frameRequest = 0;
  #tickTimer = 0;
  #blockTimer = 0;
  #restTimer = 0;

  /** In hertz; 0 before the first take. */
  get sampleRate() {
    return this.#context?.sampleRate ?? 0;
  }

  /** All samples so far, a Float32Array; a view, so do not change it. */
  get samples() {
    return this.#take.all;
  }

  /** How much of the take is there, in seconds. */
  get receivedS() {
    return this.#seconds(this.#take.length);
  }

  /** What is heard at this moment, in seconds from the start of the take. */
  get positionS() {
    return this.#seconds(this.#heardFrame());
  }

  /** Whether it is meant to sound: between `play` and `pause` or the end. */
  get isPlaying() {
    return this.#isPlaying;
  }

  /** Whether it is meant to sound and has to wait until more comes. */
  get isWaiting() {
    return this.#isPlaying && this.#stretches.length === 0;
  }

  /** Whether it is meant to sound and the browser wants a click first: call `play` in one. */
  get isBlocked() {
    return this.#isBlocked;
  }

  /** Whether no more comes. */
  get isFinished() {
    return this.#isFinished;
  }

  /** Whether the take broke off; what is there can be played. */
  get hasFailed() {
    return this.#hasFailed;
  }

  /** Whether it stands at the end; `play` starts over then. */
  get hasEnded() {
    return this.#isFinished && !this.#isPlaying && this.#next >= this.#take.length;
  }

  /** From 0 to 1. */
  get volume() {
    return this.#volume;
  }

  set volume(volume) {
    this.#volume = Math.min(Math.max(volume, 0), 1);
    this.#output?.gain.setTargetAtTime(this.#volume, this.#context.currentTime, VOLUME_S);
  }

  /** The AudioNode that all sound goes through; null before the first take. */
  get output() {
    return this.#output;
  }

  /** Starts a new take that plays as soon as it comes; call it while a click is handled. */
  begin(sampleRate) {
    this.#drop();
    if (this.sampleRate !== sampleRate) {
      this.#open(sampleRate);
    }
    this.#isPlaying = true;
    this.#wake();
    this.#settle();
  }

  /** Adds samples, a Float32Array, to the take. */
  append(samples) {
    this.#take.append(samples);
    this.#fill();
    this.#settle();
  }

  /** Says that the take is whole. */
  finish() {
    this.#isFinished = true;
    this.#fill();
    this.#settle();
  }

  /** Says that no more comes although the take is not whole. */
  fail() {
    this.#hasFailed = true;
    this.finish();
  }

  /** Plays from where it stands; from the start if that is the end. */
  play() {
    if (!this.#context) {
      return;
    }
    if (this.hasEnded) {
      this.#next = 0;
    }
    this.#isPlaying = true;
    this.#wake();
    this.#fill();
    this.#settle();
  }

  /** Stops where it is. */
  pause() {
    this.#moveTo(this.#heardFrame());
    this.#isPlaying = false;
    this.#settle();
  }

  /** Goes to a time of the take, in seconds; no further than what is there. */
  seek(seconds) {
    this.#moveTo(seconds * this.sampleRate);
    this.#fill();
    this.#settle();
    this.dispatchEvent(new Event("time"));
  }

  /** Stops and forgets the take. */
  clear() {
    this.#drop();
    this.#settle();
    this.dispatchEvent(new Event("time"));
  }

  #seconds(frame) {
    return this.#context ? frame / this.#context.sampleRate : 0;
  }

  /** The time of the context that is heard now: its clock is ahead by what is on its way. */
  #heardS() {
    const { currentTime, baseLatency = 0, outputLatency = 0 } = this.#context;
    return currentTime - baseLatency - outputLatency;
  }

  #heardFrame() {
    if (this.#stretches.length === 0) {
      return this.#next;
    }
    const heardS = this.#heardS();
    const heard = this.#stretches.findLast((each) => each.startS <= heardS);
    return (heard ?? this.#stretches[0]).frameAt(heardS);
  }

  #drop() {
    this.#moveTo(0);
    this.#take = new GrowingSamples();
    this.#isPlaying = false;
    this.#isFinished = false;
    this.#hasFailed = false;
    this.#refillS = 0;
  }

  #moveTo(frame) {
    this.#stretches.forEach((each) => each.stop());
    this.#stretches = [];
    this.#growing = null;
    this.#next = Math.min(Math.max(Math.round(frame), 0), this.#take.length);
  }

  #open(sampleRate) {
    if (this.#context) {
      this.#context.onstatechange = null;
      this.#context.close();
    }
    // At the take's rate: the browser converts the whole, so joins stay exact.
    this.#context = new AudioContext({ sampleRate });
    this.#context.onstatechange = () => {
      // A call or a change of the device ended: it may go on, or a click is needed.
      if (this.#isPlaying && this.#context.state !== "running") {
        this.#wake();
      }
      this.#settle();
    };
    this.#output = this.#context.createGain();
    this.#output.gain.value = this.#volume;
    this.#output.connect(this.#context.destination);
  }

  /** Has the context run; it may have to wait for a click, and its clock stands still till then. */
  #wake() {
    if (navigator.audioSession) {
      // Else the silent switch of a phone would silence it.
      navigator.audioSession.type = "playback";
    }
    // What comes of it is in the context's state, also if it is refused.
    this.#context.resume().catch(() => this.#settle());
  }

  /** Hands over what is there and can be heard soon, `spareS` later than it has to be. */
  #fill(spareS = 0) {
    if (!this.#isPlaying) {
      return;
    }
    const { currentTime: nowS, baseLatency: bufferS = 0 } = this.#context;
    const leadS = LEAD_S + 2 * bufferS + spareS;
    if (this.#growing?.endS < nowS + leadS) {
      this.#runDry();
    }
    if (!this.#growing) {
      const num = this.#take.length - this.#next;
      if (num === 0 || (!this.#isFinished && this.#seconds(num) < this.#refillS)) {
        return;
      }
      this.#growing = new Stretch(this.#output, nowS + leadS, this.#next);
      this.#stretches.push(this.#growing);
    }
    const [joinS, joinFrame] = [this.#growing.endS, this.#next];
    const pieceFrames = PIECE_S * this.sampleRate;
    while (this.#next < this.#take.length && this.#growing.endS < nowS + AHEAD_S) {
      const piece = this.#take.all.subarray(this.#next, this.#next + pieceFrames);
      this.#growing.add(piece, () => {
        this.#fill();
        this.#settle();
      });
      this.#next = this.#growing.endFrame;
    }
    if (this.#next > joinFrame && this.#context.currentTime + bufferS > joinS) {
      // This thread was held up: a piece that starts late would sound together with the next.
      this.#moveTo(joinFrame);
      this.#fill(2 * leadS);
      return;
    }
    const isAtEnd = this.#isFinished && !this.#hasFailed && this.#next === this.#take.length;
    this.#growing.setBreaksOff(!isAtEnd);
  }

  /** Nothing can join in time any more, whoever notices first. */
  #runDry() {
    if (this.#growing) {
      this.#growing = null;
      this.#refillS = Math.min(Math.max(2 * this.#refillS, MIN_REFILL_S), MAX_REFILL_S);
    }
  }

  /** Draws the conclusions of what has happened and of the time that has passed. */
  #settle() {
    const heardS = this.#context ? this.#heardS() : 0;
    while (this.#stretches.length && this.#stretches[0].endS <= heardS) {
      this.#stretches.shift();
    }
    if (this.isWaiting) {
      this.#runDry();
      this.#isPlaying = !(this.#isFinished && this.#next >= this.#take.length);
    }
    this.#watchContext();
    this.#arm();
    const { isPlaying, isWaiting, isBlocked, isFinished, hasFailed, hasEnded } = this;
    const state = [isPlaying, isWaiting, isBlocked, isFinished, hasFailed, hasEnded].join();
    if (state !== this.#told) {
      this.#told = state;
      this.dispatchEvent(new Event("state"));
    }
  }

  /** Notices that the browser lets nothing sound, and lets the context rest where nothing does. */
  #watchContext() {
    const isHindered = this.#isPlaying && this.#context.state !== "running";
    if (!isHindered) {
      this.#isBlocked = false;
      clearTimeout(this.#blockTimer);
      this.#blockTimer = 0;
    } else if (!this.#blockTimer) {
      this.#blockTimer = setTimeout(() => {
        this.#isBlocked = true;
        this.#settle();
      }, 1000 * OPENING_S);
    }
    if (this.#isPlaying) {
      clearTimeout(this.#restTimer);
      this.#restTimer = 0;
    } else if (!this.#restTimer && this.#context?.state === "running") {
      this.#restTimer = setTimeout(() => this.#context.suspend(), 1000 * REST_S);
    }
  }

  /** Arranges that time is told: with the next frame, or by a timer where none is painted. */
  #arm() {
    if (this.#stretches.length && !this.#tickTimer) {
      this.#frameRequest = requestAnimationFrame(() => this.#tick());
      this.#tickTimer = setTimeout(() => this.#tick(), HIDDEN_TICK_MS);
    }
  }

  #tick() {
    cancelAnimationFrame(this.#frameRequest);
    clearTimeout(this.#tickTimer);
    this.#tickTimer = 0;
    this.#settle();
    this.dispatchEvent(new Event("time"));
  }
}
