// Shared by every widget of valor_lab: put in front of the widget's own module when it is loaded.
const SVG = "http://www.w3.org/2000/svg";

// One element. Text always goes through textContent, so that a name with HTML in it is shown as text.
function h(tag, attrs = {}, ...kids) {
  const svg = ["svg", "g", "path", "line", "rect", "circle", "polyline"].includes(tag);
  const e = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) {
    if (k.startsWith("aria-")) { if (v !== null && v !== undefined) e.setAttribute(k, String(v)); continue; }
    if (v === null || v === undefined || v === false) continue;
    if (k.startsWith("on")) e.addEventListener(k.slice(2), v);
    else if (k === "text") e.textContent = v;
    else if (k === "value" || k === "disabled" || k === "checked") e[k] = v;
    else e.setAttribute(k, v === true ? "" : v);
  }
  e.append(...kids.filter(k => k !== null && k !== undefined));
  return e;
}

// Dark or light is read from the page's own background, so it holds in JupyterLab, Voila and a plain page.
function theme(el, changed = () => {}) {
  const look = always => {
    let c = null;
    for (let n = el.parentElement; n && !c; n = n.parentElement) {
      c = getComputedStyle(n).backgroundColor.match(/[\d.]+/g);
      if (!c || (c.length === 4 && +c[3] < 0.5)) c = null;
    }
    const dark = String(c ? 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] < 128 : false);
    if (!always && el.dataset.dark === dark) return;
    el.dataset.dark = dark;
    changed();
  };
  const later = [60, 400], timers = later.map(ms => setTimeout(look, ms, true));   // a widget is drawn before it is in the page
  const seen = new MutationObserver(() => later.forEach(ms => timers.push(setTimeout(look, ms, false))));
  seen.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-jp-theme-name"] });
  return () => { seen.disconnect(); timers.forEach(clearTimeout); };
}

const css = (el, name) => getComputedStyle(el).getPropertyValue(name).trim();
const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const typing = e => e.target.closest("input:not([type=range]):not([type=checkbox]), select, textarea");

// A canvas as large as its box, sharp on every screen.
function sized(canvas, width, height) {
  const k = window.devicePixelRatio || 1;
  const w = Math.max(1, Math.round(width * k)), hh = Math.max(1, Math.round(height * k));
  if (canvas.width !== w || canvas.height !== hh) { canvas.width = w; canvas.height = hh; }
  const g = canvas.getContext("2d");
  g.setTransform(k, 0, 0, k, 0, 0);
  g.clearRect(0, 0, width, height);
  return g;
}

// While a pointer is held down on `el`: what its moves do, and what happens when it is let go. Returns what ends the listening.
function dragging(el, move, up) {
  const each = how => { el[how]("pointermove", move); el[how]("pointerup", up); el[how]("pointercancel", up); };
  each("addEventListener");
  return () => each("removeEventListener");
}

// Keys pressed inside a widget are the widget's: JupyterLab must not cut a cell because someone pressed "x".
function ownKeys(el, handler) {
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  el.addEventListener("keydown", e => { if (!handler(e)) { if (!(e.ctrlKey || e.metaKey)) e.stopPropagation(); return; } e.preventDefault(); e.stopPropagation(); });
}
