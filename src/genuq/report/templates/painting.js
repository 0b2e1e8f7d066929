// Painting a sample, one of its draws, its map, or where its draws disagree, on a canvas.
const EXTENT = (() => {
  if (!DATA.points) return null;
  const reach = Math.max(...DATA.points.samples.flat().map(Math.abs)) * 1.08 || 1;
  return { map: ([x, y], size) => [((x / reach + 1) / 2) * size, ((1 - y / reach) / 2) * size], reach };
})();

// The plane in miniature: every sample pale, one strong, and its draws as rings tied to it; `zoom` centres on it.
function paintPlane(canvas, sample, rings = [], zoom = 0, size = 240) {
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d");
  const [pale, accent, ink] = [css(zoom ? "soft" : "line"), css("accent"), css("ink")];
  const here = DATA.points.samples[sample];
  const at = (point) => (zoom ? EXTENT.map([zoom * (point[0] - here[0]), zoom * (point[1] - here[1])], size) : EXTENT.map(point, size));
  DATA.points.samples.forEach((point) => dot(context, at(point), size / 150, pale));
  context.strokeStyle = accent;
  context.lineWidth = 1.5;
  rings.forEach((point) => { context.beginPath(); context.moveTo(...at(here)); context.lineTo(...at(point)); context.stroke(); });
  rings.forEach((point) => dot(context, at(point), size / 60, css("surface"), accent));
  dot(context, at(here), size / 50, ink);
}

function paintSample(canvas, sample) {
  if (DATA.points) paintPlane(canvas, sample);
  else paintTile(canvas, "samples", sample);
}

const paintDraw = (canvas, sample, draw) => paintTile(canvas, "draws", sample * DATA.draws + draw);

// Per pixel, the standard deviation over the sample and its draws; full colour from 80 of 255 grey levels.
function paintSpread(canvas, sources) {
  const { width, height } = sources[0];
  const layers = sources.map((source) => source.getContext("2d", { willReadFrequently: true }).getImageData(0, 0, width, height).data);
  const full = css("doubt").match(/[\d.]+/g).map(Number);
  canvas.width = width;
  canvas.height = height;
  canvas.classList.toggle("pixelated", width <= 96);
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < image.data.length; i += 4) {
    let variance = 0;
    for (let channel = 0; channel < 3; channel++) {
      const mean = layers.reduce((sum, layer) => sum + layer[i + channel], 0) / layers.length;
      variance += layers.reduce((sum, layer) => sum + (layer[i + channel] - mean) ** 2, 0) / layers.length / 3;
    }
    image.data.set([full[0], full[1], full[2], Math.min(255, (255 * Math.sqrt(variance)) / 80)], i);
  }
  context.putImageData(image, 0, 0);
}
