// The run's samples: their columns, names and rankings.
const columnOf = (name) => DATA.columns.indexOf(name);
const at = (sample, name) => {
  const value = DATA.rows[sample][columnOf(name)];
  return value === undefined ? null : value;
};

// Everything by which samples can be sorted: the scores first, then what the judge sees.
const SORTS = [
  ...DATA.series.map((score) => ({ column: `score_${score.name}`, label: score.label, group: DATA.kinds[score.kind] ?? score.kind, score: true })),
  ...["confidence", "realism", "clip_score", "complexity", "defect_size"].map((name) => ({ column: name, label: name === "clip_score" ? "CLIP score" : (name[0].toUpperCase() + name.slice(1)).replace("_", " "), group: "What the judge sees", score: false })),
].filter((sort) => columnOf(sort.column) >= 0 && DATA.rows.some((row) => isNumber(row[columnOf(sort.column)])));
if (!SORTS.length) SORTS.push({ column: "index", label: "Index", group: "Samples", score: false });

// Prompts stand in place of the names of classes.
const PROMPTED = columnOf("prompt") >= 0;
const className = (sample) => {
  const name = at(sample, PROMPTED ? "prompt" : "class_name");
  return name === null ? DATA.classes[at(sample, "class")] ?? null : name;
};
const sampleName = (sample) => (at(sample, "file") ?? `Sample ${at(sample, "index") ?? sample}`) + (className(sample) === null ? "" : ` · ${className(sample)}`);
const isOutside = (sample) => at(sample, "member") === false || at(sample, "member") === 0;
// Where rules say what is wrong with a sample, that is shown in place of what the judge sees.
const TRUE = columnOf("fault") >= 0;
const isFaulty = (sample) => TRUE && at(sample, "fault") !== "valid";
const isOther = (sample) => {
  if (DATA.beyond) return false; // prompts that are no classes of the data: the judge cannot tell
  const [asked, seen] = [at(sample, "class"), at(sample, "predicted")];
  return asked !== null && seen !== null && asked !== seen;
};

// Samples of one class that have the value, from the lowest to the highest, or the other way.
function ranking(column, chosen) {
  const known = DATA.rows.map((_, sample) => sample).filter((sample) => isNumber(at(sample, column)));
  return known.filter((sample) => chosen === "" || String(at(sample, "class")) === chosen).sort((a, b) => (DATA.descending ? at(b, column) - at(a, column) : at(a, column) - at(b, column)));
}
