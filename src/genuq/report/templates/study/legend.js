// The legend, a row for each dimension: what each colour and dash means, and switches for the lines that have the value.
const legend = []; // every switch with its dimension and value

function stroke(colour, dash) {
  const line = drawn("line", { x1: 0, x2: 24, y1: 4, y2: 4, stroke: `var(--${colour})`, "stroke-width": 2, "stroke-dasharray": dash });
  return drawn("svg", { class: "stroke", viewBox: "0 0 24 8", "aria-hidden": "true", focusable: "false" }, line);
}

function chip(dimension, value, redraw, bring) {
  const button = element("button", { type: "button", className: "chip toggle" }, element("span", { textContent: wordsOf(dimension, value) }));
  legend.push({ dimension, value, button });
  const off = lineState.off[dimension];
  button.setAttribute("aria-pressed", !off.has(value));
  button.addEventListener("click", () => {
    if (!off.delete(value)) off.add(value);
    button.setAttribute("aria-pressed", !off.has(value));
    redraw();
  });
  ["pointerenter", "focus"].forEach((name) => button.addEventListener(name, () => bring((line) => line.values[dimension] === value)));
  ["pointerleave", "blur"].forEach((name) => button.addEventListener(name, () => bring(null)));
  return button;
}

function row(dimension, values, redraw, bring) {
  const switches = values.map((value) => chip(dimension, value, redraw, bring));
  const every = (text, on) => {
    const button = element("button", { type: "button", className: "quiet small", textContent: text, ariaLabel: `${LABELS[dimension]}: ${text.toLowerCase()}` });
    button.addEventListener("click", () => {
      values.forEach((value) => (on ? lineState.off[dimension].delete(value) : lineState.off[dimension].add(value)));
      switches.forEach((one) => one.setAttribute("aria-pressed", on));
      redraw();
    });
    return button;
  };
  const name = element("span", { className: "kind", textContent: LABELS[dimension] });
  const group = element("div", {}, name, ...switches, ...(values.length > 3 ? [every("All", true), every("None", false)] : []));
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", `Lines by ${LABELS[dimension]}`);
  return group;
}

// Only dimensions in which the plotted runs differ have a row; `redraw` draws the lines, `bring` brings some forward.
function showLegend(runs, redraw, bring) {
  const rows = LABELS.map((_, dimension) => [dimension, valuesIn(runs, dimension)]).filter(([, values]) => values.length > 1);
  legend.length = 0;
  byId("legend").replaceChildren(...rows.map(([dimension, values]) => row(dimension, values, redraw, bring)));
}

// What dashes tell depends on which lines are on.
function markLegend(lines) {
  const dashed = dashedIn(lines);
  legend.forEach(({ dimension, value, button }) => {
    button.querySelector(".stroke")?.remove();
    const hue = dimension === lineState.colour ? hueOf(value) : null;
    if (hue) button.prepend(stroke(hue.colour, dashed === undefined ? hue.dash : "none"));
    else if (dimension === dashed) button.prepend(stroke("plot-muted", dashOf(dimension, value)));
  });
}
