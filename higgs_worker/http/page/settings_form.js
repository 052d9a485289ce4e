import { element } from "./dom.js";
import { FIELDS } from "./fields.js";
import { strings } from "./strings.js";

/** The controls for the settings of a request. Tells "change" when a person changed one. */
export class SettingsForm extends EventTarget {
  #controls = new Map();

  /** Make the controls: the main ones in one element, the others in another. */
  constructor(main, others) {
    super();
    for (const field of FIELDS) {
      const control = makeControl(field);
      control.id = `field-${field.name}`;
      control.addEventListener("input", () => this.dispatchEvent(new Event("change")));
      this.#controls.set(field.name, control);
      (field.isMain ? main : others).append(makeRow(field, control));
    }
  }

  /** Return the settings that differ from the server's defaults. */
  get values() {
    const values = {};
    for (const field of FIELDS) {
      const value = valueOf(field, this.#controls.get(field.name));
      if (value !== field.default) values[field.name] = value;
    }
    return values;
  }

  /** Show settings; those that are missing become the defaults. */
  set values(values) {
    for (const field of FIELDS) {
      const control = this.#controls.get(field.name);
      const value = values[field.name] ?? field.default;
      if (field.kind === "switch") control.checked = value;
      else control.value = value ?? "";
    }
  }

  /** The first control whose value is out of bounds, or null. */
  get wrongControl() {
    return [...this.#controls.values()].find((each) => !each.checkValidity()) ?? null;
  }
}

function makeControl(field) {
  if (field.kind === "choice") {
    const names = strings.choices[field.name] ?? {};
    const options = field.choices.map((each) =>
      element("option", { value: each, textContent: names[each] ?? each }),
    );
    const control = element("select", {}, ...options);
    control.value = field.default;
    return control;
  }
  if (field.kind === "switch") {
    return element("input", { type: "checkbox", checked: field.default });
  }
  if (field.kind === "text") {
    return element("textarea", { rows: 2, value: field.default });
  }
  return element("input", {
    type: "number",
    min: field.min,
    max: field.max,
    step: field.step ?? 1,
    value: field.default ?? "",
    placeholder: strings.unset[field.name] ?? "",
    inputMode: field.min < 0 ? "text" : "decimal",
  });
}

function makeRow(field, control) {
  const { label, hint } = strings.fields[field.name];
  const row = element("div", { className: `field field-${field.kind}` });
  const name = element("label", { htmlFor: control.id, textContent: label });
  row.append(...(field.kind === "switch" ? [control, name] : [name, control]));
  if (hint) {
    const id = `hint-${field.name}`;
    control.setAttribute("aria-describedby", id);
    row.append(element("p", { id, className: "hint", textContent: hint }));
  }
  return row;
}

function valueOf(field, control) {
  if (field.kind === "switch") return control.checked;
  if (field.kind === "choice" || field.kind === "text") return control.value;
  return control.value === "" || Number.isNaN(control.valueAsNumber)
    ? field.default
    : control.valueAsNumber;
}
