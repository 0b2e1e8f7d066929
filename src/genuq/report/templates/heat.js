// Pixel maps: heat over a sample's image, on one scale for all, shown and hidden everywhere at once.
let heated = true;

// Level of each pixel, 0 to 255 along the scale.
function levelsOf(sample) {
  const scratch = element("canvas");
  paintTile(scratch, "maps", sample);
  const { data } = scratch.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, scratch.width, scratch.height);
  return { levels: data.filter((_, i) => i % 4 === 0), width: scratch.width, height: scratch.height };
}

function paintHeat(canvas, sample) {
  paintSample(canvas, sample);
  if (!heated) return;
  const { levels, width, height } = levelsOf(sample);
  const heat = element("canvas", { width, height });
  const image = new ImageData(width, height);
  levels.forEach((level, i) => image.data.set(DATA.heat.palette.slice(4 * level, 4 * level + 4), 4 * i));
  heat.getContext("2d").putImageData(image, 0, 0);
  canvas.getContext("2d").drawImage(heat, 0, 0);
}

// The map in words: how much, and where most of it lies.
function heatWords(sample) {
  const { levels, width, height } = levelsOf(sample);
  const peak = levels.indexOf(Math.max(...levels));
  const third = (place, size, names) => names[Math.min(2, Math.floor((3 * place) / size))];
  const where = [third(Math.floor(peak / width), height, ["top", "", "bottom"]), third(peak % width, width, ["left", "", "right"])].filter(Boolean).join(" ");
  return `Pixel map: highest standard deviation ${written(DATA.heat.highest[sample], 2)}, at the ${where || "middle"}; mean ${written(DATA.heat.mean[sample], 2)} (${DATA.heat.unit})`;
}

function showHottest() {
  const order = DATA.heat.scores.map((_, sample) => sample).sort((a, b) => DATA.heat.scores[b] - DATA.heat.scores[a]);
  fill(byId("hot"), order.slice(0, WINDOW), heatTile);
}

function heatTile(sample) {
  const canvas = element("canvas");
  paintHeat(canvas, sample);
  const value = element("span", { ariaHidden: "true" }, element("span", { textContent: written(DATA.heat.highest[sample], 2) }));
  const button = element("button", { type: "button", className: "tile", ariaLabel: `${sampleName(sample)}. ${heatWords(sample)}`, tabIndex: -1 }, canvas, value);
  button.dataset.sample = sample;
  button.addEventListener("click", () => openSample(sample));
  return button;
}

function toggleHeat() {
  heated = !heated;
  document.querySelectorAll(".heat-toggle").forEach((button) => button.setAttribute("aria-pressed", heated));
  document.querySelectorAll("#hot .tile").forEach((button) => paintHeat(button.querySelector("canvas"), Number(button.dataset.sample)));
  const canvas = document.querySelector("#versions .by-map canvas");
  if (canvas) paintHeat(canvas, opened);
}

function startHeat() {
  if (!DATA.heat) return;
  showHottest();
  document.querySelectorAll(".heat-toggle").forEach((button) => button.addEventListener("click", toggleHeat));
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea");
    if (event.key.toLowerCase() === "h" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) toggleHeat();
  });
}
