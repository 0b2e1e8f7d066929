// Images from the page's sprite sheets, colours of the theme, and dots, on canvases.
const SHEETS = {};
document.querySelectorAll("#sheets img").forEach((image) => (SHEETS[image.dataset.kind] ??= []).push(image));
const sheetsReady = Promise.all(Object.values(SHEETS).flat().map((image) => image.decode()));
const css = (name) => {
  const probe = element("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
};

function paintTile(canvas, kind, index) {
  const tile = DATA.sprites[kind];
  const within = index % tile.per_sheet;
  const [x, y] = [(within % tile.columns) * tile.width, Math.floor(within / tile.columns) * tile.height];
  canvas.width = tile.width;
  canvas.height = tile.height;
  canvas.classList.toggle("pixelated", tile.width <= 96);
  const sheet = SHEETS[kind][Math.floor(index / tile.per_sheet)];
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(sheet, x, y, tile.width, tile.height, 0, 0, tile.width, tile.height);
}

function dot(context, [x, y], radius, fill, stroke) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) { context.fillStyle = fill; context.fill(); }
  if (stroke) { context.strokeStyle = stroke; context.lineWidth = 2; context.stroke(); }
}
