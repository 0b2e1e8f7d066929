// Score against realism of one run's samples, and the sample itself under the pointer or the focus.
const dots = { run: null, score: null, ranked: true, order: [], frame: null, marked: null };
const HELD = RUNS.map((_, run) => run).filter((run) => DATA.samples[run]);
const REACH = 40; // pixels from the pointer within which a dot is meant

const column = (name) => DATA.samples[dots.run].columns[name] ?? [];
const scoreColumn = () => column(`score_${DATA.scores[dots.score].name}`);
const isBad = (sample) => column("bad")[sample] === 1 || column("bad")[sample] === true;
const classOf = (value) => (value === null || value === undefined ? null : DATA.samples[dots.run].classes[value] ?? String(value));

// Scores that the run's samples have and that are not the realism itself.
const scoresOf = (run) => DATA.scores.map((_, score) => score).filter((score) => DATA.samples[run].columns[`score_${DATA.scores[score].name}`]?.some(isNumber));

function chooseRun(run) {
  dots.run = run;
  byId("scatter-run").value = run;
  const known = scoresOf(run);
  byId("scatter-score").replaceChildren(...scoreOptions(known));
  dots.score = known.includes(dots.score) ? dots.score : known.includes(RUNS[run].score) ? RUNS[run].score : known[0];
  byId("scatter-score").value = dots.score;
  drawDots();
}

function drawDots() {
  const svg = byId("dots");
  forget();
  if (dots.run === null || dots.score === undefined) return;
  const [scores, realism] = [scoreColumn(), column("realism")];
  dots.order = scores.map((_, sample) => sample).filter((sample) => isNumber(scores[sample]) && isNumber(realism[sample])).sort((a, b) => scores[a] - scores[b]);
  const across = (sample, rank) => (dots.ranked ? rank + 1 : scores[sample]);
  const y = extent([1, ...dots.order.map((sample) => realism[sample])]);
  const x = dots.ranked ? [1 - 0.015 * dots.order.length, 1.015 * dots.order.length] : extent(dots.order.map(across), 0.02);
  const { label } = DATA.scores[dots.score];
  dots.frame = axes(svg, {
    title: label,
    height: svg.parentElement.clientWidth > 720 ? 460 : 340,
    x: { ends: x, ticks: scaleOf(...x, svg.parentElement.clientWidth > 720 ? 8 : 4).filter(([value]) => !dots.ranked || value >= 1), name: dots.ranked ? "Rank of the score, certain → uncertain" : "Score, certain → uncertain" },
    y: { ends: y, ticks: scaleOf(...y), name: "Realism" },
  });
  const { box } = dots.frame;
  svg.append(drawn("line", { class: "edge", x1: box.left, x2: box.right, y1: dots.frame.y(1), y2: dots.frame.y(1) }));
  const at = dots.order.map((sample, rank) => [dots.frame.x(across(sample, rank)), dots.frame.y(realism[sample])]);
  dots.at = at;
  svg.append(...dots.order.map((sample, rank) => dotOf(at[rank], isBad(sample), sample)));
  const trend = tenths(at);
  if (trend.length > 2) svg.append(drawn("path", { class: "trend", d: path(trend) }));
  svg.append(drawn("g", { class: "marks" }));
  const [value, low, high] = (RUNS[dots.run].numbers[dots.score] ?? []).slice(NUMBERS.spearman);
  const { target } = RUNS[dots.run];
  const known = isNumber(value) && target ? ` Spearman correlation with ${target}, of all samples of the run: ${fixed(value)}${isNumber(low) && isNumber(high) ? ` [${fixed(low)}, ${fixed(high)}]` : ""}.` : "";
  byId("dots-caption").textContent = `${RUNS[dots.run].name}: ${written(dots.order.length)} samples.${known}`;
}

function dotOf([x, y], bad, sample) {
  if (!bad) return drawn("circle", { class: "dot", cx: x.toFixed(1), cy: y.toFixed(1), r: 3.2, "data-sample": sample });
  return drawn("path", { class: "dot bad", d: `M${x.toFixed(1)} ${(y - 5).toFixed(1)}l5 5l-5 5l-5 -5Z`, "data-sample": sample });
}

// Medians of both coordinates in each tenth of the ranking.
function tenths(at) {
  const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const parts = Array.from({ length: 10 }, (_, i) => at.slice(Math.round((i * at.length) / 10), Math.round(((i + 1) * at.length) / 10))).filter((part) => part.length);
  return parts.map((part) => [median(part.map(([x]) => x)), median(part.map(([, y]) => y))]);
}

function paintPoint(canvas, sample) {
  const { points } = DATA.samples[dots.run];
  const size = (canvas.width = canvas.height = 240);
  const reach = Math.max(...points.flat().map(Math.abs)) * 1.08 || 1;
  const at = ([x, y]) => [((x / reach + 1) / 2) * size, ((1 - y / reach) / 2) * size];
  const [pale, ink] = [css("soft"), css("accent")];
  points.forEach((point) => dot(canvas.getContext("2d"), at(point), 1.5, pale));
  dot(canvas.getContext("2d"), at(points[sample]), 7, ink);
}

function factsOf(sample, rank) {
  const { points } = DATA.samples[dots.run];
  const [asked, seen] = [classOf(column("class")[sample]), classOf(column("predicted")[sample])];
  const entries = [
    ["Rank", `${written(rank + 1)} of ${written(dots.order.length)}`],
    [DATA.scores[dots.score].label, written(scoreColumn()[sample], 4)],
    ["Realism", written(column("realism")[sample])],
    ...(points ? [["x₁, x₂", points[sample].map((value) => written(value)).join(", ")]] : []),
    ...(asked === null ? [] : [["Class", asked]]),
    ...(seen === null ? [] : [["Recognised as", seen]]),
    ...(isNumber(column("bad")[sample]) || typeof column("bad")[sample] === "boolean" ? [["Bad", isBad(sample) ? "yes" : "no"]] : []),
  ];
  return [[`Sample ${column("index")[sample] ?? sample}`, ""], ...entries];
}

function lookAt(rank, aloud) {
  const sample = dots.order[rank];
  if (sample === undefined) return;
  dots.marked = rank;
  const { sheet, points } = DATA.samples[dots.run];
  if (points) paintPoint(byId("look-image"), sample);
  else paintTile(byId("look-image"), sheet, sample);
  const [[name], ...facts] = factsOf(sample, rank);
  byId("look-facts").replaceChildren(element("strong", { textContent: name }), element("dl", {}, ...facts.map(([word, value]) => element("div", {}, element("dt", { textContent: word }), element("dd", { textContent: value })))));
  const [x, y] = dots.at[rank];
  const frame = byId("dots").getBoundingClientRect();
  byId("dots").querySelector(".marks").replaceChildren(drawn("circle", { class: "ring", cx: x, cy: y, r: 8 }));
  place(byId("look"), { left: frame.left + x + 14, bottom: frame.top + y + 8, top: frame.top + y - 8 });
  if (aloud) byId("dots-said").textContent = [name, ...facts.map(([word, value]) => `${word} ${value}`)].join(", ");
}

function forget() {
  dots.marked = null;
  byId("look").hidden = true;
  byId("dots").querySelector(".marks")?.replaceChildren();
}

function pointAtDot(event) {
  const frame = byId("dots").getBoundingClientRect();
  const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
  const gaps = dots.at?.map(([px, py]) => Math.hypot(px - x, py - y)) ?? [];
  const nearest = gaps.reduce((best, gap, rank) => (best < 0 || gap < gaps[best] ? rank : best), -1);
  if (nearest < 0 || gaps[nearest] > REACH) forget();
  else if (nearest !== dots.marked) lookAt(nearest, false);
}

function walkDots(event) {
  if (event.key === "Escape") return forget();
  const last = dots.order.length - 1;
  const from = dots.marked ?? -1;
  const to = { ArrowRight: from + 1, ArrowUp: from + 1, ArrowLeft: dots.marked === null ? 0 : from - 1, ArrowDown: dots.marked === null ? 0 : from - 1, PageUp: from + 16, PageDown: from - 16, Home: 0, End: last }[event.key];
  if (to === undefined) return undefined;
  event.preventDefault();
  return lookAt(Math.min(Math.max(0, to), last), true);
}

// A run that is selected in the table comes before the one that was shown.
function followSelection() {
  const wanted = HELD.filter((run) => table.selected.has(run));
  if (wanted.length && !wanted.includes(dots.run)) chooseRun(wanted[0]);
}

function startScatter() {
  if (!HELD.length) return;
  byId("scatter-run").append(...HELD.map((run) => element("option", { value: run, textContent: `${run + 1}: ${RUNS[run].name}` })));
  byId("scatter-tools").addEventListener("submit", (event) => event.preventDefault());
  byId("scatter-run").addEventListener("change", (event) => chooseRun(Number(event.target.value)));
  byId("scatter-score").addEventListener("change", (event) => { dots.score = Number(event.target.value); drawDots(); });
  byId("ranked").addEventListener("change", (event) => { dots.ranked = event.target.checked; drawDots(); });
  const svg = byId("dots");
  svg.addEventListener("pointermove", pointAtDot);
  svg.addEventListener("pointerdown", pointAtDot);
  svg.addEventListener("pointerleave", forget);
  svg.addEventListener("blur", forget);
  svg.addEventListener("keydown", walkDots);
  listeners.push(followSelection);
  chooseRun(HELD[0]);
  redrawnWith(svg, drawDots);
}
