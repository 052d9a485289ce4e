import { decibels, peakOf, powerOf, SILENCE_DB } from "./level.js";

/** The server refuses recordings outside of these, in seconds. */
export const MIN_S = 1;
export const MAX_S = 60;
/** What makes the best voices, in seconds. */
export const BEST_MIN_S = 10;
export const BEST_MAX_S = 20;

// What follows is told from levels as the server tells it (audio/recording.py, which has the
// reasons), with a simpler filter; so what is cut or refused here is there as well.
const HOP_S = 0.01;
const MIN_SPEECH_S = 0.3;
const FLOOR_S = 0.3;
const CONTRAST_DB = 3;
const CLEAR_DB = 10;
const VOICED_DB = 20;
const ABOVE_FLOOR_DB = 4;
const BELOW_SPEECH_DB = 30;
/** Levels are of what is above, in hertz: hum and rumble are below, which the server takes out. */
const HUM_HZ = 200;

/** What stays of the silence at each end, in seconds. */
const KEEP_S = 0.15;
/** Speech into a microphone that is set right is 20 dB louder, and 16 bits are few below. */
const QUIET_DB = -45;
/** Noise that is this near to the speech is heard as a part of the voice. */
const NOISY_DB = 15;
/** Amplitude of what may be cut off at full scale. */
const CLIP_LEVEL = 0.95;
/** So many samples in a row within a 16-bit step are a top that was cut off; a voice's is round. */
const FLAT_SAMPLES = 4;
/** One may be chance. */
const MIN_FLAT_TOPS = 3;
/** The server takes 10 MB; decoding a longer file could take all memory of a phone. */
const MAX_FILE_BYTES = 20e6;
/** Decoded at the rate of the model, in hertz. */
const FILE_RATE = 24000;

/** Cuts silence off both ends of a sound, as far as it can be told from speech. */
export function trim(samples, sampleRate) {
  const { levels, hop, floorDb, speechDb } = measure(samples, sampleRate);
  if (!(speechDb > floorDb + CLEAR_DB)) {
    return samples;
  }
  const bound = Math.max(floorDb + ABOVE_FLOOR_DB, speechDb - BELOW_SPEECH_DB);
  const keep = Math.round(KEEP_S * sampleRate);
  const first = levels.findIndex((level) => level > bound);
  const last = levels.findLastIndex((level) => level > bound);
  return samples.slice(Math.max(0, hop * first - keep), hop * (last + 2) + keep);
}

/**
 * Says what of a recording may be wrong before it is sent: `{durationS, peakDb, speechDb, noiseDb,
 * problems}`, levels in decibels of full scale, `problems` of "short", "long", "silent", "quiet",
 * "noisy" and "clipped". The server refuses what is short, long or silent.
 */
export function judge(samples, sampleRate) {
  const durationS = samples.length / sampleRate;
  const peakDb = decibels(peakOf(samples));
  const { floorDb: noiseDb, speechDb } = measure(samples, sampleRate);
  const isSilent = speechDb === SILENCE_DB;
  const found = {
    short: durationS < MIN_S,
    long: durationS > MAX_S,
    silent: isSilent,
    quiet: !isSilent && speechDb < QUIET_DB,
    noisy: !isSilent && speechDb < noiseDb + NOISY_DB,
    clipped: countFlatTops(samples) >= MIN_FLAT_TOPS,
  };
  const problems = Object.keys(found).filter((problem) => found[problem]);
  return { durationS, peakDb, speechDb, noiseDb, problems };
}

/**
 * Decodes a sound file for a preview: `{samples, sampleRate}`, mono. Rejects for a format that this
 * browser does not know, which the server may well know, and for a file that is too large.
 */
export async function readFile(file) {
  if (file.size > MAX_FILE_BYTES) {
    throw new RangeError(`a file of ${file.size} bytes is too large for a preview`);
  }
  const context = new OfflineAudioContext(1, 1, FILE_RATE);
  const buffer = await context.decodeAudioData(await file.arrayBuffer());
  const samples = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel += 1) {
    buffer.getChannelData(channel).forEach((sample, i) => {
      samples[i] += sample / buffer.numberOfChannels;
    });
  }
  return { samples, sampleRate: buffer.sampleRate };
}

/** Returns the levels of all frames, and those of the background and of the speech, in decibels. */
function measure(samples, sampleRate) {
  const hop = Math.round(HOP_S * sampleRate);
  const levels = levelsOf(highPass(samples, sampleRate), hop);
  const sorted = levels.toSorted((a, b) => a - b);
  const floorDb = sorted[Math.min(Math.round(FLOOR_S / HOP_S), sorted.length >> 2)] ?? SILENCE_DB;
  const active = sorted.filter((level) => level > floorDb + CONTRAST_DB);
  if (active.length < MIN_SPEECH_S / HOP_S) {
    return { levels, hop, floorDb, speechDb: SILENCE_DB };
  }
  const loud = active[Math.floor(0.9 * (active.length - 1))];
  const voiced = active.filter((level) => level > loud - VOICED_DB);
  return { levels, hop, floorDb, speechDb: voiced[voiced.length >> 1] };
}

/** Returns the level of each frame of two hops, one for each hop but the last. */
function levelsOf(samples, hop) {
  const powers = [];
  for (let end = hop; end <= samples.length; end += hop) {
    powers.push(powerOf(samples.subarray(end - hop, end)));
  }
  return powers.slice(1).map((power, i) => decibels(Math.sqrt((powers[i] + power) / 2)));
}

/** A Butterworth filter of the second order. */
function highPass(samples, sampleRate) {
  const w = Math.tan((Math.PI * HUM_HZ) / sampleRate);
  const scale = 1 / (1 + Math.SQRT2 * w + w * w);
  const a1 = 2 * (w * w - 1) * scale;
  const a2 = (1 - Math.SQRT2 * w + w * w) * scale;
  // As if the first sample had always been there: an offset makes no jump.
  let [x1, x2, y1, y2] = [samples[0], samples[0], 0, 0];
  return samples.map((x) => {
    const y = scale * (x - 2 * x1 + x2) - a1 * y1 - a2 * y2;
    [x2, x1, y2, y1] = [x1, x, y1, y];
    return y;
  });
}

function countFlatTops(samples) {
  let [tops, run] = [0, 0];
  for (let i = 1; i < samples.length; i += 1) {
    const isFlat =
      Math.abs(samples[i]) >= CLIP_LEVEL && Math.abs(samples[i] - samples[i - 1]) < 1 / 32768;
    run = isFlat ? run + 1 : 0;
    tops += run === FLAT_SAMPLES - 1;
  }
  return tops;
}
