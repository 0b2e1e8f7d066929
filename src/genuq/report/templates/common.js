// What every page does: its theme, explanations of its terms, boxes beside the pointer, copying the command.
// `repaint` is called for what is painted on canvases: it does not follow the style sheet by itself.
function startTheme(repaint = () => {}) {
  const choices = [["Auto", "light dark"], ["Light", "light"], ["Dark", "dark"]];
  let current = 0;
  byId("theme").addEventListener("click", () => {
    current = (current + 1) % choices.length;
    const [name, scheme] = choices[current];
    document.documentElement.style.colorScheme = scheme;
    byId("theme").textContent = name;
    byId("theme").ariaLabel = `Colour theme: ${name.toLowerCase()}`;
    repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
}

// Beside a rectangle, but never outside the window.
function place(box, { left, bottom, top }) {
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  box.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  box.style.top = `${bottom + height + 12 < innerHeight ? bottom + 6 : Math.max(8, top - height - 6)}px`;
}

function startTerms() {
  const tip = byId("tip");
  let explained = null;
  const hide = () => { explained = null; tip.hidden = true; };
  document.querySelectorAll(".term").forEach((term) => {
    const meaning = byId(term.getAttribute("aria-describedby"));
    const explain = () => {
      explained = term;
      tip.replaceChildren(element("strong", { textContent: meaning.previousElementSibling.textContent }), meaning.textContent);
      place(tip, term.getBoundingClientRect());
    };
    ["pointerenter", "focus", "click"].forEach((name) => term.addEventListener(name, explain));
    ["pointerleave", "blur"].forEach((name) => term.addEventListener(name, hide));
  });
  // Focus can scroll the page to its term: the explanation goes with it.
  addEventListener("scroll", () => { if (explained) place(tip, explained.getBoundingClientRect()); }, { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}

function startCopy() {
  byId("copy").addEventListener("click", async () => {
    const text = byId("command").textContent;
    try {
      await navigator.clipboard.writeText(text);
      byId("copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(byId("command")); // no permission: select it, so that one key copies it
    }
  });
}
