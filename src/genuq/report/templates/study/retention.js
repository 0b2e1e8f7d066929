// The retention curves: the plot, what is read off it by pointer or keys, and the same in numbers.
const curves = { lines: [], frame: null, marked: null };
const [LETTER, LONGEST] = [6.4, 44]; // mean width of a letter in pixels, and letters of a line's label
const kept = (fraction) => `${Math.round(100 * fraction)}\u00a0%`;
const ended = (line, i) => (isNumber(line.low[i]) && isNumber(line.high[i]) ? `[${written(line.low[i])}, ${written(line.high[i])}]` : "");

function metricName() {
  const { label } = DATA.metrics[lineState.metric];
  return lineState.against ? `${label} less that of random removal` : label;
}

function drawCurves() {
  const svg = byId("curves");
  if (!DATA.metrics.length) return;
  curves.lines = linesOf(plotted());
  curves.marked = null;
  const chances = lineState.against ? [] : chancesOf(curves.lines);
  const banded = curves.lines.length <= 6;
  const within = (lines, bands) => lines.flatMap((line) => [...line.value, ...(bands ? [...line.low, ...line.high] : [])]);
  const heights = [...within(curves.lines, banded), ...within(chances, chances.length === 1)].filter(isNumber);
  const across = curves.lines.flatMap((line) => line.x);
  const y = extent(heights.length ? [...heights, ...(lineState.against ? [0] : [])] : [0, 1]);
  const x = across.length ? [Math.max(...across) + 0.01, Math.min(...across) - 0.01] : [1, 0.5];
  const labelled = curves.lines.length <= 16 && svg.parentElement.clientWidth > 720;
  curves.frame = axes(svg, {
    title: metricName(),
    note: DATA.metrics[lineState.metric].direction,
    right: labelled ? 40 + LETTER * Math.min(LONGEST, most(curves.lines.map((line) => line.label.length)) ?? 0) : 16,
    height: svg.parentElement.clientWidth > 720 ? 460 : 340,
    x: { ends: x, ticks: ticks(Math.min(...x), Math.max(...x), 6).map((value) => [value, kept(value)]), name: "Fraction of samples kept" },
    y: { ends: y, ticks: scaleOf(...y), name: "" },
  });
  if (lineState.against && y[0] < 0 && y[1] > 0) svg.append(drawn("line", { class: "chance", x1: curves.frame.box.left, x2: curves.frame.box.right, y1: curves.frame.y(0), y2: curves.frame.y(0) }));
  chances.forEach((line) => svg.append(drawn("g", { class: "random" }, ...(chances.length === 1 ? [band(line)] : []), drawn("path", { class: "chance", d: pathOf(line) }))));
  curves.lines.forEach((line, i) => svg.append(drawnLine(line, i, banded)));
  if (labelled) labels(svg, chances);
  svg.append(drawn("g", { class: "marks" }));
  markLegend(curves.lines);
  caption();
  showCurveTable();
}

const pointsOf = (line, end = "value") => line.x.map((x, i) => [x, line[end][i]]).filter(([, y]) => isNumber(y)).map(([x, y]) => [curves.frame.x(x), curves.frame.y(y)]);
const pathOf = (line) => path(pointsOf(line));

function band(line) {
  const outline = [...pointsOf(line, "low"), ...pointsOf(line, "high").reverse()];
  return drawn("path", { class: "band", d: outline.length > 2 ? `${path(outline)}Z` : "" });
}

function drawnLine(line, i, banded) {
  const group = drawn("g", { class: "line", "data-line": i, style: `--hue: var(--${line.colour})` }, band(line), drawn("path", { class: "stroke-of", d: pathOf(line), "stroke-width": line.own ? 2.4 : 1.5, "stroke-dasharray": line.dash }));
  group.classList.toggle("banded", banded);
  return group;
}

function labels(svg, chances) {
  const ends = curves.lines.map((line, i) => ({ at: pointsOf(line).at(-1), text: line.label, i, colour: line.colour }));
  if (chances.length === 1) ends.push({ at: pointsOf(chances[0]).at(-1), text: "Random, equal N", i: null, colour: "plot-muted" });
  const { box } = curves.frame;
  const placed = spread(ends.map(({ at }) => at[1]), 14, [box.top, box.bottom]);
  ends.forEach(({ at, text, i, colour }, rank) => {
    const holder = i === null ? svg : svg.querySelector(`[data-line="${i}"]`);
    const name = drawn("text", { class: "label", x: box.right + 14, y: placed[rank] + 4, fill: `var(--${colour})` }, document.createTextNode(text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text));
    holder.append(drawn("path", { class: "leader", d: path([[at[0] + 2, at[1]], [box.right + 11, placed[rank]]]), stroke: `var(--${colour})` }), name);
  });
}

function caption() {
  const runs = new Set(curves.lines.flatMap((line) => line.runs)).size;
  const seeds = curves.lines.some((line) => line.runs.length > 1);
  const bands = curves.lines.length > 6 ? " Bands appear with the line that is pointed at." : "";
  byId("curves-caption").textContent = curves.lines.length
    ? `${written(curves.lines.length)} ${curves.lines.length === 1 ? "line" : "lines"} from ${runsInWords(runs)}.${seeds ? " Lines over several seeds are their means." : ""}${bands}`
    : "No line to show: every one is switched off, or the runs have no curves in this metric.";
}

function bringLines(wanted) {
  const svg = byId("curves");
  svg.classList.toggle("focused", wanted !== null);
  svg.querySelectorAll(".line").forEach((group) => group.classList.toggle("forward", wanted !== null && wanted(curves.lines[group.dataset.line])));
}

// One line at one fraction, with the lines nearest to it beside it.
function markLine(which, i, near) {
  const line = curves.lines[which];
  curves.marked = { which, i };
  bringLines((other) => other === line);
  const [x, y] = [curves.frame.x(line.x[i]), curves.frame.y(line.value[i])];
  const { box } = curves.frame;
  byId("curves").querySelector(".marks").replaceChildren(
    drawn("line", { class: "cursor-line", x1: x, x2: x, y1: box.top, y2: box.bottom }),
    drawn("circle", { cx: x, cy: y, r: 4.5, fill: `var(--${line.colour})` }),
  );
  const others = curves.lines.filter((other) => isNumber(other.value[i])).sort((a, b) => Math.abs(a.value[i] - line.value[i]) - Math.abs(b.value[i] - line.value[i])).slice(0, 9);
  const shown = others.sort((a, b) => b.value[i] - a.value[i]);
  const heading = element("tr", {}, element("th", { colSpan: 3, textContent: `${kept(line.x[i])} kept${curves.lines.length > 9 ? ", nearest lines" : ""}` }));
  byId("readout").replaceChildren(element("table", {}, element("tbody", {}, heading, ...shown.map((other) => readingOf(other, i, other === line)))));
  const frame = byId("curves").getBoundingClientRect();
  const at = near ?? { left: frame.left + x + 16, bottom: frame.top + y, top: frame.top + y };
  place(byId("readout"), at);
}

function readingOf(line, i, strong) {
  const swatch = element("i", { className: "swatch" });
  swatch.style.setProperty("--swatch", `var(--${line.colour})`);
  return element("tr", { className: strong ? "strong" : "" }, element("th", {}, swatch, line.label), element("td", { textContent: written(line.value[i]) }), element("td", { className: "interval", textContent: ended(line, i) }));
}

function unmarkLine() {
  curves.marked = null;
  bringLines(null);
  byId("curves").querySelector(".marks")?.replaceChildren();
  byId("readout").hidden = true;
}

function pointAtLine(event) {
  const frame = byId("curves").getBoundingClientRect();
  const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
  const { box } = curves.frame;
  if (!curves.lines.length || x < box.left - 12 || x > box.right + 12 || y < box.top - 12 || y > box.bottom + 12) return unmarkLine();
  let best = null;
  curves.lines.forEach((line, at) => {
    const i = line.x.map((fraction) => Math.abs(curves.frame.x(fraction) - x)).reduce((found, gap, index, all) => (gap < all[found] ? index : found), 0);
    const gap = isNumber(line.value[i]) ? Math.abs(curves.frame.y(line.value[i]) - y) : Infinity;
    if (best === null || gap < best.gap) best = { at, i, gap };
  });
  return markLine(best.at, best.i, { left: event.clientX + 16, bottom: event.clientY, top: event.clientY });
}

// Left and right along the fraction, up and down to the line above and below at that fraction.
function walkLines(event) {
  if (event.key === "Escape") return unmarkLine();
  const [along, up] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
  if ((!along && !up) || !curves.lines.length) return undefined;
  event.preventDefault();
  const { which: from, i } = curves.marked ?? { which: 0, i: along < 0 ? 1 : along ? -1 : 0 };
  const at = Math.min(Math.max(0, i + along), curves.lines[from].x.length - 1);
  const order = curves.lines.map((_, one) => one).filter((one) => isNumber(curves.lines[one].value[at])).sort((a, b) => curves.lines[a].value[at] - curves.lines[b].value[at]);
  const next = order[Math.min(Math.max(0, order.indexOf(from) + (curves.marked ? up : 0)), order.length - 1)];
  if (next === undefined) return undefined;
  markLine(next, at);
  const line = curves.lines[next];
  byId("curves-said").textContent = `${line.label}, ${kept(line.x[at])} kept: ${metricName()} ${written(line.value[at])} ${ended(line, at)}`;
  return undefined;
}

function showCurveTable() {
  const details = byId("curve-table");
  if (!details.open) return;
  const fractions = [...new Set(curves.lines.flatMap((line) => line.x))].sort((a, b) => b - a);
  const heading = (text) => element("th", { scope: "col", textContent: text });
  const cell = (line, fraction) => {
    const i = line.x.indexOf(fraction);
    return element("td", {}, element("span", { className: "number", textContent: written(line.value[i] ?? null) }), " ", element("span", { className: "interval", textContent: ended(line, i) }));
  };
  const head = element("thead", {}, element("tr", {}, heading("Line"), heading("Runs"), ...fractions.map((fraction) => heading(`${kept(fraction)} kept`))));
  const body = curves.lines.map((line) => element("tr", {}, element("th", { scope: "row", textContent: line.label }), element("td", { textContent: line.runs.length }), ...fractions.map((fraction) => cell(line, fraction))));
  details.querySelector("table").replaceChildren(element("caption", { textContent: metricName() }), head, element("tbody", {}, ...body));
}

function showCurves() {
  if (DATA.metrics.length) showLegend(plotted(), drawCurves, bringLines);
  drawCurves();
}

function startRetention() {
  chooseLines();
  DATA.metrics.forEach(({ label }, metric) => byId("metric").append(element("option", { value: metric, textContent: label })));
  LABELS.forEach((label, dimension) => { if (VALUES[dimension].length > 1) byId("colour").append(element("option", { value: dimension, textContent: label })); });
  byId("colour").value = lineState.colour;
  byId("colour").parentElement.hidden = byId("colour").options.length < 2;
  byId("curve-tools").addEventListener("submit", (event) => event.preventDefault());
  byId("metric").addEventListener("change", (event) => { lineState.metric = Number(event.target.value); showCurves(); });
  byId("colour").addEventListener("change", (event) => { lineState.colour = Number(event.target.value); showCurves(); });
  byId("against").addEventListener("change", (event) => { lineState.against = event.target.checked; showCurves(); });
  byId("curve-table").addEventListener("toggle", showCurveTable);
  const svg = byId("curves");
  svg.addEventListener("pointermove", pointAtLine);
  svg.addEventListener("pointerleave", unmarkLine);
  svg.addEventListener("blur", unmarkLine);
  svg.addEventListener("keydown", walkLines);
  listeners.push(showCurves);
  showCurves();
  redrawnWith(svg, drawCurves);
}
