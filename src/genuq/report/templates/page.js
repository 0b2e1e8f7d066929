// The rest of the run's page: one score brought forward, and values under the pointer.
function startChips() {
  let held = null;
  const bring = (series) => {
    document.body.classList.toggle("focused", series !== null);
    document.querySelectorAll(".plot [data-series]").forEach((part) => part.classList.toggle("forward", part.dataset.series === series));
  };
  const chips = [...document.querySelectorAll(".chip")];
  chips.forEach((chip) => {
    chip.addEventListener("pointerenter", () => bring(chip.dataset.series));
    chip.addEventListener("pointerleave", () => bring(held));
    chip.addEventListener("click", () => {
      held = held === chip.dataset.series ? null : chip.dataset.series;
      chips.forEach((other) => other.setAttribute("aria-pressed", other.dataset.series === held));
      bring(held);
    });
  });
}

// One line of the read-out for each score that has the metric, and one for chance.
function readings(metric, index) {
  const lines = DATA.series.map((score, place) => ({ score, curve: DATA.curves[place][metric] })).filter(({ score, curve }) => curve && score.name !== "random");
  const found = lines.map(({ score, curve }) => ({ label: score.label, colour: score.colour, value: curve.value[index], low: curve.low?.[index], high: curve.high?.[index] }));
  const chance = DATA.curves.map((curves) => curves[metric]).find((curve) => curve && curve.random_value);
  if (chance) found.push({ label: "Random, equal N", colour: "plot-band", value: chance.random_value[index], low: chance.random_low?.[index], high: chance.random_high?.[index] });
  return found.sort((a, b) => (b.value ?? -Infinity) - (a.value ?? -Infinity));
}

function reading({ label, colour, value, low, high }) {
  const swatch = element("i", { className: "swatch" });
  swatch.style.setProperty("--swatch", `var(--${colour})`);
  const interval = isNumber(low) && isNumber(high) ? `[${written(low)}, ${written(high)}]` : "";
  return element("tr", {}, element("th", {}, swatch, label), element("td", { textContent: written(value) }), element("td", { className: "interval", textContent: interval }));
}

function startReadout(figure) {
  const box = JSON.parse(figure.dataset.box);
  const drawing = figure.querySelector(".drawing");
  const cursor = element("div", { className: "cursor", hidden: true });
  cursor.style.top = `${100 * box.top}%`;
  cursor.style.height = `${100 * (box.bottom - box.top)}%`;
  drawing.append(cursor);
  const fractions = DATA.curves.map((curves) => curves[figure.dataset.metric]).find(Boolean).fraction;
  const across = (fraction) => box.left + ((fraction - box.limits[0]) / (box.limits[1] - box.limits[0])) * (box.right - box.left);
  drawing.addEventListener("pointermove", (event) => {
    const frame = drawing.getBoundingClientRect();
    const x = (event.clientX - frame.left) / frame.width;
    const gaps = fractions.map((fraction) => Math.abs(across(fraction) - x));
    const index = gaps.indexOf(Math.min(...gaps));
    cursor.style.left = `${100 * across(fractions[index])}%`;
    const heading = element("tr", {}, element("th", { colSpan: 3, textContent: `${Math.round(100 * fractions[index])} % kept` }));
    byId("readout").replaceChildren(element("table", {}, element("tbody", {}, heading, ...readings(figure.dataset.metric, index).map(reading))));
    cursor.hidden = x < box.left - 0.03 || x > box.right + 0.03;
    if (cursor.hidden) byId("readout").hidden = true;
    else place(byId("readout"), { left: event.clientX + 16, bottom: event.clientY, top: event.clientY });
  });
  drawing.addEventListener("pointerleave", () => { cursor.hidden = byId("readout").hidden = true; });
}

startTheme(() => { if (DATA.points) show(); });
startTerms();
startChips();
startCopy();
startDetail();
document.querySelectorAll(".curve").forEach(startReadout);
sheetsReady.then(() => { startGallery(); startHeat(); document.documentElement.dataset.ready = "true"; });
