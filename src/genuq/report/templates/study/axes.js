// Plots that are drawn here: axes in an SVG element as wide as its place, so that its text is never stretched.
function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
  made.append(...children);
  return made;
}

// Round numbers from low to high, about as many as asked for.
function ticks(low, high, about = 5) {
  const raw = (high - low || 1) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

// Ticks with their texts, all with as many decimals as the step between them needs.
function scaleOf(low, high, about) {
  const values = ticks(low, high, about);
  const step = String(Number(((values[1] ?? values[0]) - (values[1] === undefined ? 0 : values[0])).toPrecision(3)));
  const places = (step.split(".")[1] ?? "").length;
  return values.map((value) => [value, step.includes("e") ? written(value) : value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places }).replace("-", "−")]);
}

function extent(values, margin = 0.05) {
  const [low, high] = values.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
  const room = (high - low || Math.abs(high) || 1) * margin;
  return [low - room, high + room];
}

// Empties the element, draws its axes, and tells where values lie. An axis has its two ends, its ticks with their texts, and a name.
function axes(svg, { x, y, height = 420, right = 16, title = "", note = "" }) {
  const width = Math.max(280, svg.parentElement.clientWidth - 16);
  const [left, top, bottom] = [58, 38, 44];
  const box = { left, right: width - right, top, bottom: height - bottom, width, height };
  const along = ([from, to], [start, stop]) => (value) => start + ((value - from) / (to - from)) * (stop - start);
  const [px, py] = [along(x.ends, [box.left, box.right]), along(y.ends, [box.bottom, box.top])];
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  const words = (text, attributes) => drawn("text", attributes, document.createTextNode(text));
  svg.replaceChildren(
    ...y.ticks.map(([value, text]) => drawn("g", {}, drawn("line", { class: "grid", x1: box.left, x2: box.right, y1: py(value), y2: py(value) }), words(text, { class: "tick", x: box.left - 8, y: py(value) + 4, "text-anchor": "end" }))),
    ...x.ticks.map(([value, text]) => drawn("g", {}, drawn("line", { class: "grid", x1: px(value), x2: px(value), y1: box.top, y2: box.bottom }), words(text, { class: "tick", x: px(value), y: box.bottom + 17, "text-anchor": "middle" }))),
    words(title, { class: "title", x: box.left, y: 20 }),
    words(note, { class: "tick", x: box.right, y: 20, "text-anchor": "end" }),
    words(x.name, { class: "tick", x: (box.left + box.right) / 2, y: height - 8, "text-anchor": "middle" }),
    words(y.name, { class: "tick", x: 0, y: 0, "text-anchor": "middle", transform: `translate(13 ${(box.top + box.bottom) / 2}) rotate(-90)` }),
  );
  return { x: px, y: py, box };
}

const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// Heights moved apart until neighbours have the gap between them, in their order and as little as possible: pooled like violators.
function spread(heights, gap, [least, most]) {
  const order = heights.map((_, i) => i).sort((a, b) => heights[a] - heights[b]);
  const blocks = [];
  order.forEach((i, rank) => {
    let [total, count] = [heights[i] - gap * rank, 1];
    while (blocks.length && blocks.at(-1)[0] / blocks.at(-1)[1] > total / count) {
      const before = blocks.pop();
      [total, count] = [total + before[0], count + before[1]];
    }
    blocks.push([total, count]);
  });
  const pooled = blocks.flatMap(([total, count]) => Array(count).fill(total / count));
  const placed = [];
  order.forEach((i, rank) => { placed[i] = pooled[rank] + gap * rank; });
  const over = Math.max(0, Math.max(...placed) - most) - Math.max(0, least - Math.min(...placed));
  return placed.map((height) => height - over);
}

// What is drawn follows the width of its place.
function redrawnWith(svg, draw) {
  let before = svg.parentElement.clientWidth;
  new ResizeObserver(([entry]) => {
    if (entry.target.clientWidth === before) return;
    before = entry.target.clientWidth;
    draw();
  }).observe(svg.parentElement);
}
