import { byId } from "./dom.js";

/** Tell whoever does not see the page what has happened; once, however often it is called. */
export function tell(sentence) {
  const place = byId("told");
  if (place.textContent !== sentence) place.textContent = sentence;
}
