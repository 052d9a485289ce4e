import { element } from "./dom.js";
import { strings } from "./strings.js";

/** Fill a select with texts of 10 to 20 seconds; the chosen one is written into a text field. */
export function offerReadingTexts(select, field) {
  const options = strings.readingTexts.map(({ name }) => element("option", { textContent: name }));
  select.replaceChildren(...options);
  const write = () => {
    const { text, lang } = strings.readingTexts[select.selectedIndex];
    field.value = text;
    field.lang = lang;
  };
  select.addEventListener("change", write);
  write();
}
