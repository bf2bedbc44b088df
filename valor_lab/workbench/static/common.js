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

// From a press until it is let go: what its moves do, what happens at its end, and what if the browser took it away, as for scrolling.
// The window listens, because what was pressed may be drawn anew meanwhile. Returns what ends the listening.
function dragging(down, move, up, gone = up) {
  const own = f => e => { if (e.pointerId === down.pointerId) f(e); };
  const all = { pointermove: own(move), pointerup: own(up), pointercancel: own(gone) };
  for (const k in all) window.addEventListener(k, all[k], true);
  return () => { for (const k in all) window.removeEventListener(k, all[k], true); };
}

// A button or row that is drawn anew between press and release gets no click from the browser. What bears its name now is clicked.
function keepPresses(el) {
  const kind = "button, .vl-line", near = (b, e) => e.clientX >= b.left && e.clientX <= b.right && e.clientY >= b.top && e.clientY <= b.bottom;
  const called = e => {
    const { state, ...named } = e.dataset, label = e.getAttribute("aria-label");
    return JSON.stringify([e.className, label, named, label || Object.keys(named).length ? "" : e.textContent]);
  };
  let pressed = null;
  el.addEventListener("pointerdown", e => {
    const node = e.button ? null : e.target.closest(kind);
    pressed = node && { node, name: called(node), box: node.getBoundingClientRect() };
  }, true);
  el.addEventListener("pointerup", e => {
    const was = pressed;
    pressed = null;
    if (!was || was.node.isConnected || !near(was.box, e)) return;
    const now = [...el.querySelectorAll(kind)].find(x => called(x) === was.name);
    if (now) now.click(); else el.dispatchEvent(new CustomEvent("vl-pressed", { detail: { ...was.node.dataset } }));
  });
}

// The pieces of one bench know each other by the box around them: a list may start the player beside it.
const toPlayer = (el, what) => {
  const player = (el.closest(".vl-outer") || document).querySelector(".vl-player") || document.querySelector(".vl-player");
  player?.dispatchEvent(new CustomEvent("vl-do", { detail: what }));
};

// A piece whose kernel is gone shows what was true once. It says so over everything, and nothing of it can be pressed any more.
const GONE = "The kernel is gone: run the cell again.";
const LOST = ["dead", "restarting", "autorestarting", "terminating"];
function watchKernel(model, root) {
  const line = h("p", { class: "vl-gone", role: "alert", text: GONE, hidden: true });
  root.prepend(line);
  const show = gone => {
    line.hidden = !gone;
    root.dataset.gone = gone;
    if (gone && root.hasAttribute("tabindex")) root.setAttribute("tabindex", "-1");
    for (const part of root.children) if (part !== line) part.inert = gone;
    if (gone) root.dispatchEvent(new CustomEvent("vl-do", { detail: "pause" }));
  };
  const look = () => setTimeout(() => show(Boolean(root.closest(".jupyter-widgets-disconnected"))), 30);
  const status = (kernel, now) => { if (LOST.includes(now)) show(true); };
  let kernel = null;
  try { kernel = model.widget_manager?.kernel; } catch { kernel = null; }      // some managers have none
  model.on("comm_live_update", look);
  kernel?.statusChanged?.connect(status);
  return () => { model.off("comm_live_update", look); kernel?.statusChanged?.disconnect(status); };
}

// Before a page is left, the browser asks, as long as something would be lost. Returns what ends the watch.
function warnOfLoss(root, waits) {
  const ask = e => { if (root.isConnected && root.dataset.gone !== "true" && waits()) { e.preventDefault(); e.returnValue = ""; } };
  window.addEventListener("beforeunload", ask);
  return () => window.removeEventListener("beforeunload", ask);
}

// What goes into a paper: a table to the clipboard, a figure as a file. `bar` stands in the piece, `took` hears what Python answers.
const TABLES = [["latex", "LaTeX"], ["csv", "CSV"], ["markdown", "Markdown"]], FIGURES = [["svg", "SVG"], ["pdf", "PDF"], ["png", "PNG"]];
const VENUES = [["cvpr", "CVPR"], ["neurips", "NeurIPS"], ["icml", "ICML"], ["acm", "ACM"]];

async function toClipboard(text) {
  try { await navigator.clipboard.writeText(text); return true; } catch { /* a page without the right: the old way */ }
  const area = h("textarea", { style: "position:fixed;opacity:0", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

function paperTools(model, what) {
  const said = h("span", { class: "vl-quiet vl-paper-said", role: "status" });
  const venue = h("select", { class: "vl-venue", "aria-label": "width of the figure" }, ...VENUES.map(([v, t]) => h("option", { value: v, text: `for ${t}` })));
  const ask = how => () => { said.textContent = "…"; model.send({ do: "paper", as: how, venue: venue.value }); };
  const menu = (name, kinds, ...more) => {
    const inner = h("span", { class: "vl-paper-kinds", hidden: true }, ...more,
      ...kinds.map(([how, text]) => h("button", { class: `vl-as-${how}`, text, onclick: ask(how) })));
    const open = h("button", { class: `vl-paper-${name}`, text: name, "aria-expanded": false, onclick: () => {
      inner.hidden = !inner.hidden;
      open.setAttribute("aria-expanded", !inner.hidden);
      said.textContent = "";
    } });
    return [open, inner];
  };
  const parts = [...(what.tables ? menu("copy", TABLES) : []), ...(what.figures ? menu("save", FIGURES, venue) : [])];
  const took = async (m, buffers) => {
    if (m.kind !== "paper") return;
    if (m.reason) { said.textContent = m.reason; return; }
    if ("text" in m) {
      const well = await toClipboard(m.text), label = TABLES.find(t => t[0] === m.as)[1];
      said.textContent = well ? `copied as ${label}, ${m.rows} row${m.rows === 1 ? "" : "s"}` : "this browser does not let pages copy";
      return;
    }
    const url = URL.createObjectURL(new Blob([buffers[0]], { type: m.type }));
    h("a", { href: url, download: m.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    said.textContent = `saved as ${m.name}`;
  };
  return { bar: h("span", { class: "vl-paper" }, ...parts, said), took };
}

// What can be chosen, as [value, text]. The list is drawn anew only where it changed, so that one that is open stays open.
function fillSelect(select, options, value) {
  const key = JSON.stringify(options);
  if (select.filledWith !== key) select.replaceChildren(...options.map(([v, text]) => h("option", { value: v, text })));
  else if (select.value === value) return;
  select.filledWith = key;
  select.value = value;
}

// Keys and buttons pressed inside a widget are the widget's: JupyterLab must not cut a cell because someone pressed "x".
function ownKeys(el, handler) {
  keepPresses(el);
  el.setAttribute("data-lm-suppress-shortcuts", "true");
  el.addEventListener("keydown", e => {
    const done = el.dataset.gone !== "true" && handler(e);
    if (done) e.preventDefault();
    if (done || !(e.ctrlKey || e.metaKey)) e.stopPropagation();
  });
}
