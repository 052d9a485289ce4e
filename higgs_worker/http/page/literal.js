const JSON_WORDS = { null: "null", true: "true", false: "false" };

/** How values are written in Python. JSON's strings are Python's as well. */
export const PYTHON = {
  indent: "    ",
  words: { null: "None", true: "True", false: "False" },
  trailing: ",",
  name: JSON.stringify,
  string: JSON.stringify,
};

/** How values are written in JavaScript, also within a script element. */
export const JAVASCRIPT = {
  indent: "  ",
  words: JSON_WORDS,
  trailing: ",",
  name: javaScriptName,
  string: javaScriptString,
};

/** How values are written in JSON. */
export const JSON_TEXT = {
  indent: "  ",
  words: JSON_WORDS,
  trailing: "",
  name: JSON.stringify,
  string: JSON.stringify,
};

/** Write a value as code, one field a line; the first line is not indented. */
export function literal(value, language, margin = "") {
  if (typeof value === "string") return language.string(value);
  if (typeof value !== "object" || value === null) return language.words[value] ?? String(value);
  const fields = Object.entries(value);
  if (fields.length === 0) return "{}";
  const inner = margin + language.indent;
  const lines = fields.map(
    ([name, each]) => `${inner}${language.name(name)}: ${literal(each, language, inner)}`,
  );
  return `{\n${lines.join(",\n")}${language.trailing}\n${margin}}`;
}

function javaScriptString(text) {
  // In a page, the end of a script element would end the code even within a string.
  return JSON.stringify(text).replaceAll("</", "<\\/").replaceAll("<!--", "<\\!--");
}

function javaScriptName(name) {
  // Without the brackets it would set the object's prototype.
  if (name === "__proto__") return `["__proto__"]`;
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : javaScriptString(name);
}
