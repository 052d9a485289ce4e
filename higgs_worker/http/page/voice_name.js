import { strings } from "./strings.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;
/** No file of Windows may have these names. */
const RESERVED = /^(con|prn|aux|nul|(com|lpt)[0-9])$/i;

/** Return the voice that has a name already; names that differ in case alone are the same. */
export function namesake(name, voices) {
  return voices.all.find((each) => each.name.toLowerCase() === name.toLowerCase());
}

/**
 * Return what keeps a voice from having a name, as a sentence; "" where nothing does. Whether a
 * saved voice of exactly this name may be replaced is another question.
 */
export function nameProblem(name, voices) {
  if (!NAME.test(name)) return strings.voiceName.rule;
  if (RESERVED.test(name)) return strings.voiceName.reserved(name);
  const other = namesake(name, voices);
  if (other?.preset) return strings.voiceName.builtIn(other.name);
  if (other && !other.problem && other.name !== name) return strings.voiceName.near(other.name);
  return "";
}
