/**
 * Makes an element. `class` and attributes by their names, `on…` as listeners, everything else that
 * is passed becomes text or a child; text is never read as HTML.
 *
 * @param {string} name
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string | null)} children
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, String(value));
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Tells people who do not see the page what has just changed on it. */
export function announce(text) {
  document.querySelector("#news").textContent = text;
}
