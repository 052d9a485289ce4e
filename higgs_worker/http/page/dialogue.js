/**
 * The tags that can be put into a text, by the names that they have in `strings.tags`. `start`
 * alone is a sound or a silence; `start` and `end` stand around words.
 */
export const EVENT_TAGS = [
  { name: "pause", start: "[pause 500ms]" },
  { name: "laugh", start: "[laugh]" },
  { name: "cough", start: "[cough]" },
  { name: "applause", start: "[applause]" },
  { name: "cheering", start: "[cheering]" },
  { name: "music", start: "[music]" },
  { name: "music_around", start: "[music start]", end: "[music end]" },
  { name: "sing", start: "[sing start]", end: "[sing end]" },
  { name: "humming", start: "[humming start]", end: "[humming end]" },
];

// How brackets are read is the server's business: its text/tags.py, text/markup.py and
// text/link_references.py. What follows is the same, and a test compares the two.

/** A bracket, or a sound in the model's own form, which has brackets and is none. */
const BRACKET = new RegExp(
  String.raw`<SE>\[(?:Laughter|Cough|Applause|Cheering|Music)\]</SE>` +
    String.raw`|<SE_([se])>\[(?:Music|Humming|Singing)\]</SE_\1>` +
    String.raw`|\[(?<inner>[^\[\]\r\n]*)\]`,
  "gu",
);
const EVENT =
  /^(?:laugh|cough|applause|cheering|music|(?:music|sing|humming) (?:start|end))$/;
const EDITORIAL = /^(?:sic|citation needed|emphasis added|redacted)$/;
/** A pause, or one that the server asks to write as it should be. */
const PAUSE = /^pause(?!\p{L})/u;
const SPEAKER = /^speaker[0-9]{1,9}$/;
const NAME = /^\p{L}[\p{L}\p{M} \-_'’]+(?<! )(?: ?[0-9]+)?$/u;
const MAX_NAME_CHARS = 32;
const MAX_NAME_WORDS = 3;
/** As Python's `split` knows them. */
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;
const LINK_DEFINITION =
  /(?<!\S)\[([^[\]\r\n]{1,100})\]:[ \t]+<?(?:https?:\/\/|mailto:|www\.|\.{0,2}\/|#)\S/gu;
const LINK = /(\[(?![0-9, ]{1,500}\])[^[\]\r\n]{1,500}\])\[([^[\]\r\n]{0,100})\]/gu;
const LINK_NUMBER = /^[0-9]{0,4}$/;

/** The middle of a sentence, before a bracket: a letter, a digit or a comma. */
const MIDWAY = /[\p{L}\p{M}\p{N},，、][^\S\r\n]*$/u;

/**
 * Return who speaks in a text, in order of appearance, as `speakers` of a request takes the names.
 *
 * A name is what the server would refuse as an unknown tag, unless it begins with a small letter:
 * [lagh] is rather a mistake. A text has names only if one of them begins a line or a turn; where
 * all stand within sentences, as in "he met [Anna] there", they are remarks.
 */
export function speakersIn(text) {
  const links = linkBrackets(text);
  const names = new Map();
  let isDialogue = false;
  let end = 0;
  for (const { 0: bracket, index, groups } of text.matchAll(BRACKET)) {
    const before = text.slice(end, index);
    end = index + bracket.length;
    if (groups.inner === undefined) continue;
    const name = words(groups.inner).join(" ");
    const key = folded(name);
    const isNumbered = SPEAKER.test(key);
    const isText = /[\p{L}\p{N}]$/u.test(before) || text[end] === "(" || links.has(index);
    if (!isNumbered && (isText || !mayName(name, key))) continue;
    isDialogue ||= !MIDWAY.test(before);
    if (!names.has(key)) names.set(key, isNumbered ? key.toUpperCase() : name);
  }
  return [...names].filter(([key]) => isDialogue || SPEAKER.test(key)).map(([, name]) => name);
}

/**
 * Return a voice for each name: the one that was chosen, or else the first that nobody has. Once
 * all have been given, they are given again; without any, the model chooses (null).
 */
export function giveVoices(names, voices, chosen) {
  const given = new Map(names.map((name) => [name, Object.hasOwn(chosen, name) && chosen[name]]));
  const taken = new Set(given.values());
  const free = voices.filter((voice) => !taken.has(voice));
  let again = 0;
  const next = () => free.shift() ?? voices[again++ % voices.length] ?? null;
  for (const [name, voice] of given) {
    if (!voice) given.set(name, next());
  }
  return Object.fromEntries(given);
}

/**
 * Put a tag before the selection, or both of a pair around it. Returns the text and what is
 * selected then: nothing, behind the tag, or the words within the pair.
 */
export function insertTag(text, start, end, tag) {
  const selected = text.slice(start, end);
  const from = start + selected.length - selected.trimStart().length;
  const within = selected.trim();
  const before = text.slice(0, from);
  const after = text.slice(from + within.length);
  const first = gapBehind(before) + tag.start;
  if (!tag.end) {
    const rest = within + after;
    const told = before + first + gapBefore(rest);
    const cursor = told.length + (rest.startsWith(" ") ? 1 : 0);
    return { text: told + rest, start: cursor, end: cursor };
  }
  const opened = `${before}${first} `;
  const wrapped = opened + within;
  const closed = `${wrapped} ${tag.end}${after && gapBefore(after)}`;
  return { text: closed + after, start: opened.length, end: wrapped.length };
}

function mayName(name, key) {
  return (
    NAME.test(key) &&
    !/^\p{Ll}/u.test(name) &&
    [...key].length <= MAX_NAME_CHARS &&
    words(key).length <= MAX_NAME_WORDS &&
    !EVENT.test(key) &&
    !PAUSE.test(key) &&
    !EDITORIAL.test(key)
  );
}

/** Where the brackets of links by reference begin; those name nobody. */
function linkBrackets(text) {
  const ids = new Set([...text.matchAll(LINK_DEFINITION)].map(([, id]) => folded(id)));
  const starts = new Set();
  for (const { index, 1: label, 2: id } of text.matchAll(LINK)) {
    if (LINK_NUMBER.test(id) || ids.has(folded(id))) {
      starts.add(index).add(index + label.length);
    }
  }
  for (const { index, groups } of text.matchAll(BRACKET)) {
    if (ids.size > 0 && groups.inner && ids.has(folded(groups.inner))) starts.add(index);
  }
  return starts;
}

function words(text) {
  return text.split(SPACES).filter(Boolean);
}

/** Fold spaces and case, as Python's `casefold` does: ß is ss, and ı is not i. */
function folded(text) {
  const fold = (each) => (each === "ı" ? each : each.toLowerCase().toUpperCase().toLowerCase());
  return [...words(text).join(" ").normalize("NFC")].map(fold).join("");
}

function gapBehind(text) {
  return text === "" || /[\s([{"“‘«„¿¡]$/u.test(text) ? "" : " ";
}

function gapBefore(text) {
  return /^[\s.,;:!?…)\]}"”’»。，、！？]/u.test(text) ? "" : " ";
}
