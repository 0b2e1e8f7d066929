"use strict";
// The run's numbers, and how they are read and written. A missing number is null and shows as a dash.
const DATA = JSON.parse(document.getElementById("data").textContent);
const DASH = "–";
const byId = (id) => document.getElementById(id);

const columnOf = (name) => DATA.columns.indexOf(name);
const at = (sample, name) => {
  const value = DATA.rows[sample][columnOf(name)];
  return value === undefined ? null : value;
};
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

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children); // text only ever arrives as text nodes: no name can become markup
  return made;
}

// Everything by which samples can be sorted: the scores first, then what the judge sees.
const SORTS = [
  ...DATA.series.map((score) => ({ column: `score_${score.name}`, label: score.label, group: DATA.kinds[score.kind] ?? score.kind, score: true })),
  ...["confidence", "realism", "complexity"].map((name) => ({ column: name, label: name[0].toUpperCase() + name.slice(1), group: "What the judge sees", score: false })),
].filter((sort) => columnOf(sort.column) >= 0 && DATA.rows.some((row) => isNumber(row[columnOf(sort.column)])));
if (!SORTS.length) SORTS.push({ column: "index", label: "Index", group: "Samples", score: false });

const className = (sample) => {
  const name = at(sample, "class_name");
  return name === null ? DATA.classes[at(sample, "class")] ?? null : name;
};
const sampleName = (sample) => `Sample ${at(sample, "index") ?? sample}` + (className(sample) === null ? "" : ` · ${className(sample)}`);
const isOutside = (sample) => at(sample, "member") === false || at(sample, "member") === 0;
const isOther = (sample) => {
  const [asked, seen] = [at(sample, "class"), at(sample, "predicted")];
  return asked !== null && seen !== null && asked !== seen;
};

// Samples of one class that have the value, from the lowest to the highest.
function ranking(column, chosen) {
  const known = DATA.rows.map((_, sample) => sample).filter((sample) => isNumber(at(sample, column)));
  return known.filter((sample) => chosen === "" || String(at(sample, "class")) === chosen).sort((a, b) => at(a, column) - at(b, column));
}
