// Which lines there are: one for each score under each combination of choices, over all the seeds that it has.
const SCORE = DATA.keys.length; // the dimension after those of the choices
const LABELS = [...DATA.labels, "Score"];
const MOST_LINES = 24; // at the start; any number can be switched on
const naturally = (a, b) => compared(a, b, false);
const VALUES = [
  ...DATA.keys.map((_, place) => [...new Set(RUNS.map((run) => run.values[place]))].sort(naturally)),
  DATA.scores.map((_, score) => score),
];
const wordsOf = (dimension, value) => (dimension === SCORE ? DATA.scores[value].label : value);
const lineState = { metric: 0, colour: SCORE, off: VALUES.map(() => new Set()), against: false };

// Runs of one combination, which differ only in their seeds.
function combinations(runs) {
  const groups = new Map();
  runs.forEach((run) => {
    const { place } = RUNS[run];
    groups.set(place, [...(groups.get(place) ?? []), run]);
  });
  return [...groups.values()];
}

// The values of a dimension that the runs have in the chosen metric.
function valuesIn(runs, dimension) {
  const { name } = DATA.metrics[lineState.metric];
  const found = dimension === SCORE ? VALUES[SCORE].filter((score) => runs.some((run) => RUNS[run].curves[score]?.[name])) : runs.map((run) => RUNS[run].values[dimension]);
  const present = new Set(found);
  return VALUES[dimension].filter((value) => present.has(value));
}

const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null);
const least = (values) => (values.length ? Math.min(...values) : null);
const most = (values) => (values.length ? Math.max(...values) : null);

// Mean of several curves at each fraction, from the lowest to the highest of them; of one, its interval.
function pooled(curves) {
  const across = (place, of) => curves[0][0].map((_, i) => of(curves.map((curve) => curve[place]?.[i]).filter(isNumber)));
  if (curves.length > 1) return { value: across(0, mean), low: across(0, least), high: across(0, most) };
  return { value: across(0, mean), low: across(1, mean), high: across(2, mean) };
}

const less = (curve, chance) => curve.map((row) => row.map((value, i) => (isNumber(value) && isNumber(chance?.[0]?.[i]) ? value - chance[0][i] : null)));

function lineOf(runs, score, metric) {
  const having = runs.filter((run) => RUNS[run].curves[score]?.[metric]);
  const members = having.filter((run) => RUNS[run].fractions === RUNS[having[0]].fractions);
  if (!members.length) return null;
  const curves = members.map((run) => (lineState.against ? less(RUNS[run].curves[score][metric], RUNS[run].random[metric]) : RUNS[run].curves[score][metric]));
  const line = { runs: members, score, values: [...RUNS[members[0]].values, score], x: DATA.fractions[RUNS[members[0]].fractions], ...pooled(curves) };
  return line.value.some(isNumber) ? line : null;
}

function linesOf(runs) {
  const metric = DATA.metrics[lineState.metric].name;
  const on = (dimension, value) => !lineState.off[dimension].has(value);
  const wanted = combinations(runs).filter(([run]) => RUNS[run].values.every((value, dimension) => on(dimension, value)));
  const scores = VALUES[SCORE].filter((score) => on(SCORE, score));
  const lines = wanted.flatMap((group) => scores.map((score) => lineOf(group, score, metric))).filter(Boolean);
  const [varying, dashed] = [varyingIn(lines), dashedIn(lines)];
  return lines.map((line) => ({ ...line, ...styleOf(line.values, dashed), label: labelOf(line, varying), own: line.runs.some((run) => RUNS[run].score === line.score) }));
}

// Dimensions in which the lines differ; and the one that dashes tell: the first of them that colours do not.
const varyingIn = (lines) => LABELS.map((_, dimension) => dimension).filter((dimension) => new Set(lines.map((line) => line.values[dimension])).size > 1);
const dashedIn = (lines) => varyingIn(lines).find((dimension) => dimension !== lineState.colour);

function labelOf(line, varying) {
  const parts = varying.map((dimension) => wordsOf(dimension, line.values[dimension]));
  return parts.join(" · ") || wordsOf(SCORE, line.score);
}

// Colour by the chosen dimension, with dashes where a hue comes twice; scores as in the report of a run.
function hueOf(value) {
  const place = VALUES[lineState.colour].indexOf(value);
  if (lineState.colour === SCORE) return DATA.scores[place];
  return { colour: DATA.hues[place % DATA.hues.length], dash: DATA.dashes[Math.floor(place / DATA.hues.length) % DATA.dashes.length] };
}

const dashOf = (dimension, value) => DATA.dashes[VALUES[dimension].indexOf(value) % DATA.dashes.length];

function styleOf(values, dashed) {
  const { colour, dash } = hueOf(values[lineState.colour]);
  return { colour, dash: dashed === undefined ? dash : dashOf(dashed, values[dashed]) };
}

// Random removal from the same runs, with the mean of their intervals; each different curve of it once.
function chancesOf(lines) {
  const metric = DATA.metrics[lineState.metric].name;
  const groups = combinations([...new Set(lines.flatMap((line) => line.runs))]);
  const found = new Map();
  groups.forEach((runs) => {
    const members = runs.filter((run) => RUNS[run].random[metric]);
    if (!members.length) return;
    const [value, low, high] = [0, 1, 2].map((end) => RUNS[members[0]].random[metric][0].map((_, i) => mean(members.map((run) => RUNS[run].random[metric][end]?.[i]).filter(isNumber))));
    const curve = { value, low, high };
    found.set(JSON.stringify(curve.value), { x: DATA.fractions[RUNS[members[0]].fractions], ...curve });
  });
  return [...found.values()];
}

// At the start all lines, if a plot can hold them; else every run's own score.
function chooseLines() {
  const places = new Set(RUNS.map((run) => run.place)).size;
  const sizes = DATA.keys.map((_, place) => (VALUES[place].length <= DATA.hues.length ? VALUES[place].length : 1));
  lineState.colour = places > 1 ? sizes.indexOf(Math.max(...sizes)) : SCORE;
  const own = new Set(RUNS.map((run) => run.score));
  const count = (scores) => scores.length * places;
  const kinds = [() => true, ({ kind }) => kind === "score" || kind === "baseline"].map((keeps) => VALUES[SCORE].filter((score) => keeps(DATA.scores[score]) || own.has(score)));
  const kept = kinds.find((scores) => count(scores) <= MOST_LINES) ?? [...own];
  VALUES[SCORE].filter((score) => !kept.includes(score)).forEach((score) => lineState.off[SCORE].add(score));
}
