/** What silence is called, in decibels: less than a 16-bit sample can hold. */
export const SILENCE_DB = -100;

/** Returns an amplitude in decibels; 1, full scale, is 0. */
export function decibels(amplitude) {
  return Math.max(20 * Math.log10(amplitude), SILENCE_DB);
}

/** Returns the largest amplitude of a Float32Array. */
export function peakOf(samples) {
  return samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
}

/** Returns the mean square of a Float32Array that is not empty. */
export function powerOf(samples) {
  return samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
}
