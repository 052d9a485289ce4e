import { ServerError } from "./server.js";
import { strings } from "./strings.js";

/** Show in an element what an error says; null: there is none any more. */
export function showProblem(place, error) {
  place.hidden = !error;
  place.textContent = error ? sentenceOf(error) : "";
}

function sentenceOf(error) {
  const problems = error instanceof ServerError ? error.details.errors : null;
  const message = error.message.replace(/[^.!?]$/, "$&.");
  if (!Array.isArray(problems) || problems.length < 2) return message;
  return `${message} ${strings.server.details(problems)}.`;
}
