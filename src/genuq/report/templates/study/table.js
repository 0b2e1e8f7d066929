// The table of runs: sorting, filters that must all be passed, and the selection that drives the plots.
const RUNS = DATA.runs;
const OWN = ""; // each run's own score
const NUMBERS = { auroc: 0, spearman: 3, fid_gain: 6, adds: 9, evaluations: 12 }; // where the numbers of a score begin
const HIGHEST_FIRST = ["auroc", "fid_gain", "adds"];
const table = { score: OWN, sort: "number", descending: false, passing: RUNS.map((_, run) => run), selected: new Set(), last: null };
const rowOf = RUNS.map((_, run) => document.querySelector(`#table tr[data-run="${run}"]`));
const listeners = [];

const numbersOf = (run) => RUNS[run].numbers[table.score === OWN ? RUNS[run].score : Number(table.score)] ?? [];

function valueOf(run, column) {
  if (column in NUMBERS) return numbersOf(run)[NUMBERS[column]] ?? null;
  if (column.startsWith("key-")) return RUNS[run].values[Number(column.slice(4))];
  return column === "number" ? run : RUNS[run][column];
}

// Numbers by size and words by letters; a number in words counts as a number, and what is missing comes last.
function compared(a, b, descending) {
  const [left, right] = [a, b].map((value) => (value === null || value === undefined || value === DASH ? null : value));
  if (left === null || right === null) return (left === null) - (right === null);
  const sign = descending ? -1 : 1;
  if (isNumber(left) && isNumber(right)) return sign * (left - right);
  return sign * String(left).localeCompare(String(right), "en", { numeric: true });
}

// The runs that the plots show: the selected ones, else all that pass.
const plotted = () => (table.selected.size ? RUNS.map((_, run) => run).filter((run) => table.selected.has(run)) : table.passing);

function sortBy(column, descending) {
  Object.assign(table, { sort: column, descending });
  document.querySelectorAll("#table th[data-column]").forEach((heading) => heading.setAttribute("aria-sort", heading.dataset.column !== column ? "none" : descending ? "descending" : "ascending"));
  const order = RUNS.map((_, run) => run).sort((a, b) => compared(valueOf(a, column), valueOf(b, column), descending) || a - b);
  document.querySelector("#table tbody").append(...order.map((run) => rowOf[run]));
}

const textOf = RUNS.map((run, number) => [number + 1, run.name, run.verdict, ...run.values].join(" ").toLowerCase());

function filtersOf(column) {
  if (column === "verdict") return (run) => RUNS[run].verdict;
  if (column === "seed") return (run) => written(RUNS[run].seed);
  return (run) => RUNS[run].values[Number(column)];
}

function filter() {
  const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = [...document.querySelectorAll(".filter")].filter((select) => select.selectedIndex > 0).map((select) => [filtersOf(select.dataset.column), select.value]);
  const passes = (run) => words.every((word) => textOf[run].includes(word)) && chosen.every(([of, value]) => of(run) === value);
  table.passing = RUNS.map((_, run) => run).filter(passes);
  const shown = new Set(table.passing);
  rowOf.forEach((row, run) => { row.hidden = !shown.has(run); });
  byId("unfilter").hidden = !words.length && !chosen.length;
  changed();
}

const runsInWords = (count) => `${written(count)} ${count === 1 ? "run" : "runs"}`;

function changed() {
  const shown = new Set(table.passing);
  const hidden = [...table.selected].filter((run) => !shown.has(run)).length;
  const of = table.passing.length === RUNS.length ? runsInWords(RUNS.length) : `${written(table.passing.length)} of ${runsInWords(RUNS.length)}`;
  const selected = table.selected.size ? `, ${written(table.selected.size)} selected${hidden ? ` (${written(hidden)} hidden by the filters)` : ""}` : "";
  byId("count").textContent = of + selected;
  byId("nothing").hidden = table.passing.length > 0;
  byId("unselect").hidden = table.selected.size === 0;
  listeners.forEach((listener) => listener());
}

// With shift, all runs between the last one and this, in the order of the table.
function select(run, on, range) {
  const order = [...document.querySelectorAll("#table tbody tr:not([hidden])")].map((row) => Number(row.dataset.run));
  const [from, to] = [order.indexOf(range ? table.last ?? run : run), order.indexOf(run)].sort((a, b) => a - b);
  order.slice(Math.max(0, from), to + 1).forEach((one) => {
    if (on) table.selected.add(one);
    else table.selected.delete(one);
    mark(one);
  });
  table.last = run;
  changed();
}

function mark(run) {
  rowOf[run].querySelector(".pick").checked = table.selected.has(run);
  rowOf[run].classList.toggle("selected", table.selected.has(run));
}

// The numbers of another score in the place of each run's own.
function showScore() {
  RUNS.forEach((_, run) => {
    const numbers = numbersOf(run);
    ["auroc", "spearman", "fid_gain", "adds"].forEach((column) => {
      const places = column === "adds" ? 3 : 2;
      const [value, low, high] = numbers.slice(NUMBERS[column], NUMBERS[column] + 3);
      const cell = rowOf[run].querySelector(`.${column}`);
      const parts = [element("span", { className: "number", textContent: fixed(value, places) })];
      if (isNumber(value) && isNumber(low) && isNumber(high)) parts.push(" ", element("span", { className: "interval", textContent: `[${fixed(low, places)}, ${fixed(high, places)}]` }));
      if (column === "auroc" && isNumber(value)) parts.push(whisker(value, low ?? value, high ?? value));
      cell.replaceChildren(...parts);
    });
    rowOf[run].querySelector(".evaluations").textContent = written(numbers[NUMBERS.evaluations] ?? null);
  });
  if (table.sort in NUMBERS) sortBy(table.sort, table.descending);
}

const fixed = (value, places = 2) => (isNumber(value) ? value.toFixed(places).replace(/^-(?=[0.]*$)/, "").replace("-", "−") : DASH);

function whisker(value, low, high) {
  const place = (number) => (100 * (number - DATA.scale[0])) / (DATA.scale[1] - DATA.scale[0]);
  const line = (name, from, to, y) => drawn("line", { class: name, x1: from, x2: to, y1: y[0], y2: y[1] });
  return drawn(
    "svg",
    { class: "whisker", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
    line("track", 0, 100, [4, 4]), line("zero", place(0.5), place(0.5), [0, 8]), line("reach", place(low), place(high), [4, 4]), line("dot", place(value), place(value), [0.4, 7.6]),
  );
}

// A list to choose from, in groups by kind.
function scoreOptions(scores) {
  const groups = new Map();
  scores.forEach((score) => {
    const { label, kind } = DATA.scores[score];
    if (!groups.has(kind)) groups.set(kind, element("optgroup", { label: DATA.kinds[kind] ?? kind }));
    groups.get(kind).append(element("option", { value: score, textContent: label }));
  });
  return [...groups.values()];
}

function startTable() {
  byId("score").append(element("option", { value: OWN, textContent: "each run's own score" }), ...scoreOptions(DATA.scores.map((_, score) => score)));
  byId("score").addEventListener("change", (event) => { table.score = event.target.value; showScore(); });
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  byId("find").addEventListener("input", filter);
  document.querySelectorAll(".filter").forEach((select) => select.addEventListener("change", filter));
  document.querySelectorAll("#table .sort").forEach((button) => {
    const { column } = button.closest("th").dataset;
    button.addEventListener("click", () => sortBy(column, table.sort === column ? !table.descending : HIGHEST_FIRST.includes(column)));
  });
  rowOf.forEach((row, run) => row.querySelector(".pick").addEventListener("click", (event) => select(run, event.target.checked, event.shiftKey)));
  byId("unselect").addEventListener("click", () => {
    const before = [...table.selected];
    table.selected.clear();
    before.forEach(mark);
    byId("find").focus(); // the button that had the focus is gone
    changed();
  });
  byId("unfilter").addEventListener("click", () => {
    byId("tools").reset();
    byId("score").value = table.score;
    byId("find").focus();
    filter();
  });
  rowOf.forEach((_, run) => mark(run));
  document.querySelector("#table th[data-column=number]").setAttribute("aria-sort", "ascending");
}
