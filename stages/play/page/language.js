// The page's words, in English and Chinese.

const LANGUAGES = ["en", "zh"];
let WORDS = {};
let language = "en";

/** The text of a key in the chosen language, with {names} replaced by values. */
function say(key, values = {}) {
  return WORDS[key][language].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** A number for reading: a real minus sign, and `digits` after the point. */
const shown = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
const grouped = (value) => value.toLocaleString(language);

/** Show every text of the page in a language. */
function speak(chosen) {
  language = chosen;
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  document.querySelectorAll("[data-w]").forEach((element) => (element.textContent = say(element.dataset.w)));
  document.querySelectorAll("[data-w-label]").forEach((element) =>
    element.setAttribute("aria-label", say(element.dataset.wLabel)));
}

const byId = (id) => document.getElementById(id);

/** A new element: tag, properties, children (elements or text). Text is never read as HTML. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Exchange a button's icon and words. */
function dress(button, icon, key) {
  button.querySelector("use").setAttribute("href", `#icon-${icon}`);
  const text = button.querySelector("[data-w]");
  text.dataset.w = key;
  text.textContent = say(key);
}
