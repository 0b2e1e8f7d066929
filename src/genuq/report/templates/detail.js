// One sample in full: what it becomes under each draw, where the draws disagree, and all its numbers.
let opened = null;

function version(canvas, caption, kind = "") {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", caption);
  return element("figure", { className: kind }, canvas, element("figcaption", { textContent: caption }));
}

// A point and its draws: where they lie among all samples, and close up.
function showMaps(sample) {
  const [whole, near] = [element("canvas"), element("canvas")];
  paintPlane(whole, sample, DATA.points.draws[sample], 0, 640);
  paintPlane(near, sample, DATA.points.draws[sample], 6, 640);
  byId("versions").classList.add("maps");
  byId("versions").replaceChildren(version(whole, `The sample (dot) and its ${DATA.draws} draws (rings)`), version(near, "The same, 6 times closer"));
}

function showVersions(sample) {
  const canvases = [element("canvas")];
  paintSample(canvases[0], sample);
  const figures = [version(canvases[0], DATA.draws ? "Trained weights" : "The image", "original")];
  for (let draw = 0; draw < DATA.draws; draw++) {
    const canvas = element("canvas");
    paintDraw(canvas, sample, draw);
    canvases.push(canvas);
    figures.push(version(canvas, `Draw ${draw + 1}`));
  }
  if (DATA.draws) {
    const canvas = element("canvas");
    paintSpread(canvas, canvases);
    figures.push(version(canvas, "Where they differ", "spread"));
  }
  if (DATA.heat) {
    const canvas = element("canvas");
    paintHeat(canvas, sample);
    figures.push(version(canvas, "By the map", "by-map"));
    canvas.setAttribute("aria-label", heatWords(sample));
  }
  byId("versions").replaceChildren(...figures);
}

const fact = (name, value) => element("div", {}, element("dt", { textContent: name }), element("dd", { textContent: written(value) }));

// Each score with the share of all samples that have a lower one.
function scoreRow(score, sample) {
  const column = `score_${score.name}`;
  const value = at(sample, column);
  const all = DATA.rows.map((row) => row[columnOf(column)]).filter(isNumber);
  const below = all.filter((other) => other < value).length;
  const standing = Math.floor((100 * below) / Math.max(1, all.length - 1));
  const fillBar = element("b");
  fillBar.style.width = isNumber(value) ? `${standing}%` : "0";
  fillBar.style.setProperty("--swatch", `var(--${score.colour})`);
  return element("tr", {}, element("th", { scope: "row", textContent: score.label }), element("td", { textContent: written(value, 4) }), element("td", { className: "bar-cell" }, element("i", {}, fillBar)), element("td", { textContent: isNumber(value) ? `above ${standing} %` : DASH }));
}

function facts(sample) {
  if (DATA.facts) return DATA.facts.map(([name, column]) => fact(name, at(sample, column)));
  const seen = at(sample, "predicted");
  const entries = [
    [PROMPTED ? "Prompt" : "Class asked for", className(sample)],
    ["Recognised as", seen === null ? null : DATA.classes[seen] ?? seen],
    ["Confidence", at(sample, "confidence")],
    ["Realism", at(sample, "realism")],
    ["Inside the manifold", at(sample, "member") === null ? null : !isOutside(sample)],
    ...(columnOf("clip_score") < 0 ? [] : [["CLIP score", at(sample, "clip_score")]]),
    ["Complexity", at(sample, "complexity")],
    ...(columnOf("fault") < 0 ? [] : [["Truth", at(sample, "fault").replace("_", " ")], ["Size of the defect", at(sample, "defect_size")]]),
  ];
  return entries.map(([name, value]) => fact(name, value));
}

function showSample(sample) {
  opened = sample;
  const rank = state.order.indexOf(sample);
  byId("detail-title").textContent = cut(sampleName(sample), 120);
  byId("detail-title").title = PROMPTED ? className(sample) : "";
  byId("detail-rank").textContent = `${written(rank + 1)} of ${written(state.order.length)} by ${state.sort.label}, from the ${DATA.descending ? "highest" : "lowest"}`;
  (DATA.points ? showMaps : showVersions)(sample);
  byId("detail-scores").replaceChildren(element("tbody", {}, ...DATA.series.filter((score) => columnOf(`score_${score.name}`) >= 0).map((score) => scoreRow(score, sample))));
  byId("detail-facts").replaceChildren(...facts(sample));
  byId("previous").disabled = rank <= 0;
  byId("next").disabled = rank >= state.order.length - 1;
}

function openSample(sample) {
  showSample(sample);
  if (!byId("detail").open) byId("detail").showModal();
}

function step(by) {
  const next = state.order[state.order.indexOf(opened) + by];
  if (next !== undefined) showSample(next);
}

function startDetail() {
  const dialog = byId("detail");
  byId("close").addEventListener("click", () => dialog.close());
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) { event.preventDefault(); step(by); }
  });
}
