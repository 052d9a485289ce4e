/**
 * The tags that can be put into a text, by name: `start` alone is a sound or a silence, `start` and
 * `end` stand around words.
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

// From here to `speakersIn`, this is how the server reads brackets: text/tags.py, markup.py and
// link_references.py. A test compares the two.

const EVENTS = new Set(
  EVENT_TAGS.filter(({ name }) => name !== "pause")
    .flatMap(({ start, end = start }) => [start, end])
    .map((tag) => tag.slice(1, -1)),
);
const EDITORIAL = new Set(["sic", "citation needed", "emphasis added", "redacted"]);
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;
const SPEAKER = /^speaker[0-9]{1,9}$/;
const PAUSE_LIKE = /^pause[^\p{L}\p{N}_]*([0-9.+-].*)?$/su;
const NAME_LIKE = /^\p{L}[\p{L}\p{M} \-_'’]+$/u;
const MAX_NAME_CHARS = 32;
const MAX_NAME_WORDS = 3;
/** An event as the model knows it, which is no bracket, or a bracket and what is around it. */
const BRACKET = new RegExp(
  String.raw`<SE>\[(?:Laughter|Cough|Applause|Cheering|Music)\]</SE>` +
    String.raw`|<SE_([se])>\[(?:Music|Humming|Singing)\]</SE_\1>` +
    String.raw`|(?<inner>(?<=\[)[^\[\]\r\n]*(?=\]))`,
  "gu",
);
const LINK_DEFINITION =
  /(?<!\S)\[([^[\]\r\n]{1,100})\]:[ \t]+<?(?:https?:\/\/|mailto:|www\.|\.{0,2}\/|#)\S/gu;
const LINK =
  /(?<label>\[(?![0-9, ]{1,500}\])[^[\]\r\n]{1,500}\])\[(?<id>[^[\]\r\n]{0,100})\]/gu;

function folded(text) {
  return [...text.split(SPACES).filter(Boolean).join(" ").normalize("NFC")].map(foldedChar).join("");
}

function foldedChar(char) {
  // As Python's casefold has it, where ß is ss; its one exception is Turkish.
  return char === "ı" ? char : char.toLowerCase().toUpperCase().toLowerCase();
}
export function speakersIn(text) { return [...new Set([...text.matchAll(/^\[([A-Z][a-z]+)\]/gm)].map((m) => m[1]))]; }
export function giveVoices(names, voices, chosen) { return Object.fromEntries(names.map((n, i) => [n, chosen[n] ?? voices[i].name ?? voices[i]])); }
export function insertTag(text, start, end, tag) { return { text: text.slice(0, start) + tag.start + text.slice(end), start, end }; }
