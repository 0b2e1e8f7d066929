"use strict";
// What every page shares: its data, how numbers are written, and elements. A missing number is null and shows as a dash.
const DATA = JSON.parse(document.getElementById("data").textContent);
const DASH = "–";
const byId = (id) => document.getElementById(id);

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function written(value, digits = 3) {
  if (value === true || value === false) return value ? "yes" : "no";
  if (!isNumber(value)) return value === null || value === "" ? DASH : String(value);
  const size = Math.abs(value);
  if (Number.isInteger(value)) return value.toLocaleString("en").replace("-", "−");
  if (size < 1e-4) return value.toExponential(digits - 1).replace("-", "−");
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return value.toLocaleString("en", { minimumFractionDigits: Math.min(places, 6), maximumFractionDigits: Math.min(places, 6) }).replace("-", "−");
}

const share = (part, whole) => `${Math.round((100 * part) / whole)}\u00a0%`;

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children); // text only ever arrives as text nodes: no name can become markup
  return made;
}
