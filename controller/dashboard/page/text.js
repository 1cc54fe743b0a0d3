// Numbers and elements. Text is only ever set as text, never as markup.

const WHOLE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
export const count = (value) => WHOLE.format(value);
export const percent = (share) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–");
export const seconds = (value) => `${value.toFixed(1)} s`;
export const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "–");

/** A fidelity with its interval, "0.912 [0.85, 0.95]"; a dash without tests. */
export function interval([low, best, high, shots]) {
  return shots ? `${best.toFixed(3)} [${low.toFixed(2)}, ${high.toFixed(2)}]` : "no tests yet";
}

/** Make an element: attributes that are null are left out, children are elements or text. */
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

export function draw(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
