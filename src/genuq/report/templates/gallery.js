// The gallery: both ends of the ranking, and a window that slides through all of it.
const ENDS = 24;
const WINDOW = 24;
const state = { sort: SORTS[0], chosen: "", order: [], start: 0 };

// What is wrong with a sample: the kind of its mark, and words.
function verdicts(sample) {
  if (TRUE) return isFaulty(sample) ? [["outside", at(sample, "fault").replace("_", " ")]] : [];
  return [...(isOutside(sample) ? [["outside", "outside the manifold"]] : []), ...(isOther(sample) ? [["other", "recognised as another class"]] : [])];
}

function tile(sample) {
  const canvas = element("canvas");
  paintSample(canvas, sample);
  const marks = element("span", { ariaHidden: "true" }, element("span", { textContent: written(at(sample, state.sort.column)) }));
  const flags = element("span");
  const said = verdicts(sample);
  flags.append(...said.map(([kind]) => element("i", { className: `mark ${kind}` })));
  marks.append(flags);
  const spoken = `${sampleName(sample)}, ${state.sort.label} ${written(at(sample, state.sort.column))}` + said.map(([, words]) => `, ${words}`).join("");
  const button = element("button", { type: "button", className: "tile", ariaLabel: spoken, tabIndex: -1 }, canvas, marks);
  if (PROMPTED) button.append(element("small", { className: "prompt", title: className(sample), textContent: className(sample), ariaHidden: "true" }));
  button.dataset.sample = sample;
  button.addEventListener("click", () => openSample(sample));
  return button;
}

function fill(holder, samples, make = tile) {
  holder.replaceChildren(...samples.map((sample) => make(sample)));
  if (holder.firstChild) holder.firstChild.tabIndex = 0;
}

// What can be said of the samples shown, when the truth is known or the judge has looked at them.
function tally(samples) {
  if (TRUE && samples.length) return `Of these ${samples.length}: ${share(samples.filter((sample) => !isFaulty(sample)).length, samples.length)} valid by the rules of the data`;
  const judged = samples.filter((sample) => at(sample, "member") !== null);
  const seen = samples.filter((sample) => !DATA.beyond && at(sample, "predicted") !== null && at(sample, "class") !== null);
  const parts = [];
  if (judged.length) parts.push(`${share(judged.filter((sample) => !isOutside(sample)).length, judged.length)} inside the real manifold`);
  if (seen.length) parts.push(`${share(seen.filter((sample) => !isOther(sample)).length, seen.length)} recognised as their class`);
  return samples.length && parts.length ? `Of these ${samples.length}: ${parts.join(", ")}` : "";
}

function showEnds() {
  const low = state.order.slice(0, ENDS);
  const high = state.order.slice(-ENDS).reverse();
  const label = state.sort.label.startsWith("CLIP") ? state.sort.label : state.sort.label.toLowerCase();
  const words = state.sort.score ? ["Most certain", "Most uncertain"] : [`Lowest ${label}`, `Highest ${label}`];
  if (DATA.descending) words.reverse();
  [["low", low], ["high", high]].forEach(([id, samples], side) => {
    byId(`${id}-title`).textContent = words[side];
    byId(`${id}-tally`).textContent = tally(samples);
    fill(byId(id), samples);
  });
}

function showWindow(start) {
  const last = Math.max(0, state.order.length - WINDOW);
  state.start = Math.min(Math.max(0, start), last);
  const samples = state.order.slice(state.start, state.start + WINDOW);
  fill(byId("strip"), samples);
  byId("position").value = state.start;
  const marker = document.querySelector("#profile .window");
  const many = Math.max(1, state.order.length);
  marker.setAttribute("x", (1000 * state.start) / many);
  marker.setAttribute("width", (1000 * samples.length) / many);
  const ends = [samples[0], samples[samples.length - 1]].map((sample) => (sample === undefined ? DASH : written(at(sample, state.sort.column))));
  byId("where").textContent = samples.length ? `${written(state.start + 1)} to ${written(state.start + samples.length)} of ${written(many)} (${ends[0]} to ${ends[1]})` : "no sample";
  byId("position").setAttribute("aria-valuetext", byId("where").textContent);
}

// The sorted values as an area over the slider, so that one sees where the ranking turns steep.
function showProfile() {
  const seen = state.order.map((sample) => at(sample, state.sort.column));
  const ends = [seen[0], seen[seen.length - 1]];
  const [low, high] = DATA.descending ? [...ends].reverse() : ends;
  const height = (value) => 57 - (52 * (value - low)) / (high - low || 1);
  const path = seen.map((value, rank) => `L${((1000 * (rank + 0.5)) / seen.length).toFixed(1)} ${height(value).toFixed(1)}`).join("");
  document.querySelector("#profile .area").setAttribute("d", seen.length ? `M0 60L0 ${height(ends[0])}${path}L1000 ${height(ends[1])}L1000 60Z` : "");
  const named = DATA.descending ? ["highest", "lowest"] : ["lowest", "highest"];
  byId("end-low").textContent = `${named[0]} ${written(ends[0] ?? null)}`;
  byId("end-high").textContent = `${named[1]} ${written(ends[1] ?? null)}`;
}

function show() {
  const along = state.order.length ? (state.start + WINDOW / 2) / state.order.length : 0.5; // the ends have their own tiles
  state.order = ranking(state.sort.column, state.chosen);
  const asked = DATA.rows.filter((row) => state.chosen === "" || String(row[columnOf("class")]) === state.chosen).length;
  const without = asked - state.order.length;
  byId("count").textContent = `${written(state.order.length)} ${DATA.unit ?? "samples"}` + (without ? `, ${written(without)} without this value left out` : "");
  byId("position").max = Math.max(0, state.order.length - WINDOW);
  if (DATA.points) showPlane();
  else showEnds();
  showProfile();
  showWindow(Math.round(along * state.order.length - WINDOW / 2));
}

function fillChoices() {
  const groups = new Map();
  SORTS.forEach((sort, index) => {
    if (!groups.has(sort.group)) groups.set(sort.group, element("optgroup", { label: sort.group }));
    groups.get(sort.group).append(element("option", { value: index, textContent: sort.label }));
  });
  byId("sort").append(...groups.values());
  const present = [...new Set(DATA.rows.map((row) => row[columnOf("class")]))].filter((value) => value !== null && value !== undefined).sort((a, b) => a - b);
  byId("class").append(element("option", { value: "", textContent: "all" }));
  present.forEach((value) => {
    const example = DATA.rows.findIndex((row) => row[columnOf("class")] === value);
    byId("class").append(element("option", { value, textContent: cut(className(example) ?? String(value), 80), title: className(example) ?? "" }));
  });
  byId("class-label").hidden = present.length < 2;
}

// Arrow keys move the focus inside a grid of tiles; at the ends of the window they slide it.
function moveFocus(event) {
  const tiles = [...event.currentTarget.children];
  const here = tiles.indexOf(event.target.closest(".tile"));
  const columns = getComputedStyle(event.currentTarget).gridTemplateColumns.split(" ").length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -here, End: tiles.length - 1 - here }[event.key];
  if (step === undefined || here < 0) return;
  event.preventDefault();
  const before = state.start;
  if (event.currentTarget.id === "strip" && !tiles[here + step]) showWindow(state.start + step);
  const fresh = [...event.currentTarget.children];
  const target = fresh[Math.min(Math.max(0, here + step - (state.start - before)), fresh.length - 1)];
  fresh.forEach((button) => (button.tabIndex = button === target ? 0 : -1));
  target.focus();
}

// Samples in the plane, coloured by rank from sure to doubtful; the ones in doubt are painted last.
function showPlane(marked = state.order[state.start]) {
  const canvas = byId("plane");
  const [size, context] = [canvas.width, canvas.getContext("2d")];
  const stops = ["sure", "middling", "doubt"].map((name) => css(name).match(/[\d.]+/g).map(Number));
  context.clearRect(0, 0, size, size);
  state.order.forEach((sample, rank) => {
    const along = (2 * rank) / Math.max(1, state.order.length - 1);
    const [from, to, part] = along < 1 ? [stops[0], stops[1], along] : [stops[1], stops[2], along - 1];
    const mixed = from.slice(0, 3).map((value, i) => Math.round(value + part * (to[i] - value)));
    dot(context, EXTENT.map(DATA.points.samples[sample], size), 6, `rgb(${mixed.join(" ")})`);
  });
  if (marked !== undefined) dot(context, EXTENT.map(DATA.points.samples[marked], size), 13, null, css("ink"));
  byId("ramp-low").textContent = state.sort.score ? "certain" : "low";
  byId("ramp-high").textContent = state.sort.score ? "uncertain" : "high";
}

function nearestPoint(event) {
  const frame = event.currentTarget.getBoundingClientRect();
  const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
  const distance = (sample) => {
    const [px, py] = EXTENT.map(DATA.points.samples[sample], frame.width);
    return Math.hypot(px - x, py - y);
  };
  return state.order.reduce((best, sample) => (best === undefined || distance(sample) < distance(best) ? sample : best), undefined);
}

function startPlane() {
  byId("plane").addEventListener("click", (event) => {
    const sample = nearestPoint(event);
    if (sample !== undefined) openSample(sample);
  });
  byId("plane").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (step) {
      state.marked = Math.min(Math.max(0, (state.marked ?? -step) + step), state.order.length - 1);
      showPlane(state.order[state.marked]);
    } else if (event.key === "Enter" && state.order.length) openSample(state.order[state.marked ?? 0]);
    else return;
    event.preventDefault();
  });
}

function startGallery() {
  fillChoices();
  byId("sort").addEventListener("change", (event) => { state.sort = SORTS[event.target.value]; show(); });
  byId("class").addEventListener("change", (event) => { state.chosen = event.target.value; show(); });
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  byId("position").addEventListener("input", (event) => showWindow(Number(event.target.value)));
  document.querySelectorAll(".tiles").forEach((grid) => grid.addEventListener("keydown", moveFocus));
  if (DATA.points) startPlane();
  show();
}
