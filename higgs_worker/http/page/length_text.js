import { strings } from "./strings.js";

/** Seconds as a person reads them: "3.25 s", "42.1 s", "2:05". */
export function lengthText(seconds) {
  return seconds < 60 ? strings.take.seconds(seconds) : clockText(seconds);
}

/** Seconds as a player shows them: "0:03", "12:45". */
export function clockText(seconds) {
  const whole = Math.floor(seconds);
  return strings.take.minutes(Math.floor(whole / 60), whole % 60);
}
