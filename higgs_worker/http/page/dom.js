import { strings } from "./strings.js";

/** Return the element with an id; a missing one is a mistake in this page. */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element ${id}`);
  return found;
}

/**
 * Make an element. Names with a dash become attributes, all others are set as properties; children
 * are elements or texts.
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Return an event that has values beside its name. */
export function eventWith(name, values) {
  return Object.assign(new Event(name), values);
}

/** Return the string at a path such as "speak.button". */
export function stringAt(path) {
  return path.split(".").reduce((group, name) => group?.[name], strings);
}

/**
 * Fill in the strings that the markup names: `data-text="speak.button"` becomes the text,
 * `data-label` the accessible name, `data-placeholder` and `data-title` what they say.
 */
export function fillStrings(root) {
  const places = {
    text: (each, string) => (each.textContent = string),
    label: (each, string) => each.setAttribute("aria-label", string),
    placeholder: (each, string) => each.setAttribute("placeholder", string),
    title: (each, string) => each.setAttribute("title", string),
  };
  for (const [name, put] of Object.entries(places)) {
    for (const each of root.querySelectorAll(`[data-${name}]`)) {
      const string = stringAt(each.dataset[name]);
      if (typeof string !== "string") throw new Error(`there is no string ${each.dataset[name]}`);
      put(each, string);
    }
  }
}

/** Call a function once, `ms` milliseconds after the last call of what is returned. */
export function afterPause(ms, call) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(call, ms, ...given);
  };
}

/** Offer bytes to the person as a file of their own. */
export function saveFile(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name });
  link.click();
  // Browsers have begun to read it by then; some have not when click() returns.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
