import { element } from "./dom.js";
import { strings } from "./strings.js";

/** The choice for a voice in words. No voice has this name: it has a space. */
export const IN_WORDS = "in words";

/**
 * Fill a select with voices and keep what was chosen: none (the model chooses), those that are
 * built in, those that were saved, and perhaps a voice in words.
 */
export function fillVoices(select, voices, { withWords = false } = {}) {
  const chosen = select.value;
  const option = (value, text) => element("option", { value, textContent: text });
  const group = (label, members) =>
    members.length === 0
      ? []
      : [element("optgroup", { label }, ...members.map(({ name }) => option(name, name)))];
  select.replaceChildren(
    option("", strings.speak.modelChooses),
    ...group(
      strings.speak.builtIn,
      voices.filter((each) => each.preset),
    ),
    ...group(
      strings.speak.saved,
      voices.filter((each) => !each.preset),
    ),
    ...(withWords ? [option(IN_WORDS, strings.speak.described)] : []),
  );
  chooseVoice(select, chosen);
}

/** Choose a voice in a select, or none where there is no such voice any more. */
export function chooseVoice(select, name) {
  select.value = name;
  if (select.selectedIndex < 0) select.value = "";
}
