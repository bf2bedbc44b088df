// Thresholds: one handle per event and teacher on the histogram of its scores. Python counts; see `ThresholdPanel` in valor_lab.widgets.
const TEACHERS = { clip: ["CLIP", "visual"], clap: ["CLAP", "audio"] };
const HUES = { audio: "--vl-audio", visual: "--vl-visual", audio_visual: "--vl-audio-visual" };

function render({ model, el }) {
  const get = k => model.get(k), put = (k, v) => { model.set(k, v); model.save_changes(); };
  const send = m => model.send(m);
  let lines = [], moving = null, waiting = false, next = null, curve = null, order = "vocabulary";

  const title = h("h3", { "aria-level": 2 }), tag = h("span", { class: "vl-quiet", style: "font-weight:400" });
  const paper = paperTools(model, { tables: true, figures: true });
  const gates = h("div", { class: "vl-bar-of-buttons", role: "group", "aria-label": "gate" });
  const b = (cls, text, m, label) => h("button", { class: cls, text, "aria-label": label || null, title: label || null, onclick: () => send(m) });
  const undo = b("vl-undo", "undo", { do: "undo" }), redo = b("vl-redo", "redo", { do: "redo" });
  const published = b("vl-all-published", "all to published △", { do: "apply", what: "published" }), optimum = b("vl-all-optimum", "all to optimum ▲", { do: "apply", what: "optimum" });
  const estimated = b("vl-all-estimated", "all to estimated ◆", { do: "apply", what: "estimated" }), named = what => what === "optimum" ? get("numbers").best || what : what;
  const sums = h("div", { class: "vl-sums" }), note = h("div", { class: "vl-note", role: "status" }), saved = h("div", { class: "vl-quiet vl-saved" });
  const sort = h("select", { class: "vl-sort", "aria-label": "order of events", onchange: () => { order = sort.value; arrange(); } });
  const heads = h("div", { class: "vl-th" }), table = h("div", { class: "vl-rows" });
  const detail = h("div", { class: "vl-detail" }), keep = h("div", { class: "vl-keep vl-bar-of-buttons" }), message = h("span", { class: "vl-quiet vl-message", role: "status" });
  const root = h("div", { class: "vl vl-panel", role: "group", "aria-label": "thresholds" }, h("div", { class: "vl-panel-in" }, title,
    h("div", { class: "vl-bar-of-buttons" }, gates, h("span", { class: "vl-gap" }), undo, redo, published, optimum, estimated, paper.bar), sums, saved, note, heads, table, detail, keep, message));
  el.append(root);

  const range = (i, t) => get("events")[i][t], value = (i, t) => get("thresholds")[t][i];
  const place = (i, t, v) => { const r = range(i, t); return clamp((v - r.low) / (r.high - r.low || 1), 0, 1); };

  // one move at a time is on its way to Python; while it is, only the newest of the others is kept
  function move(i, t, v, settled) {
    const r = range(i, t), x = Math.round(clamp(v, r.low, r.high) * 100) / 100;
    setHandle(i, t, x);
    next = { do: "move", event: i, teacher: t, value: x, settled };
    if (!waiting) flush();
  }
  function flush() { if (!next) return; waiting = true; const m = next; next = null; send(m); setTimeout(() => { if (waiting && !next) waiting = false; }, 1500); }
  function setHandle(i, t, v) {
    const l = lines[i]; if (!l) return;
    l[t].handle.style.transform = `translateX(${100 * place(i, t, v)}%)`;
    l[t].knob.setAttribute("aria-valuenow", v.toFixed(2));
    if (document.activeElement !== l[t].number) l[t].number.value = v.toFixed(1);
    if (get("selected") === get("events")[i].event) drawCurve(t, v);
  }
  function build() {
    lines = get("events").map((e, i) => {
      const name = h("button", { class: "vl-name", text: e.event.replaceAll("_", "_\u200b"), title: `show the curves of ${e.event}`, onclick: () => put("selected", e.event) });
      const f = h("span", { class: "vl-f" }), change = h("span");
      const l = { name, f, change, ...Object.fromEntries(Object.keys(TEACHERS).map(t => [t, teacher(e, i, t)])) };
      l.row = h("div", { class: "vl-tr", "data-event": e.event, onpointerenter: () => pick("hovered", e.event), onfocusin: () => pick("selected", e.event) }, name, l.clip.hist, l.clip.number, l.clap.hist, l.clap.number, f, change);
      return l;
    });
    arrange(); paint(); follow();
  }
  const picking = {};
  function pick(what, event) { if (moving) return; clearTimeout(picking[what]); picking[what] = setTimeout(() => { if (get(what) !== event) put(what, event); }, 150); }   // what is passed over opens nothing
  function teacher(e, i, t) {
    const r = e[t], [who, modality] = TEACHERS[t], say = `${who} threshold of ${e.event}, ${modality}`;
    const canvas = h("canvas", { "aria-hidden": "true" });
    const knob = h("span", { role: "slider", tabindex: 0, "aria-label": say, "aria-valuemin": r.low.toFixed(2), "aria-valuemax": r.high.toFixed(2) });
    const handle = h("div", { class: "vl-handle" }, knob);
    const number = h("input", { type: "number", step: "0.1", "aria-label": say, onchange: () => { if (number.value !== "" && Number.isFinite(+number.value)) move(i, t, +number.value, true); }, onblur: () => { number.value = value_(i, t).toFixed(1); }, onkeydown: k => { if (k.key === "Enter") number.blur(); } });
    const mark = (what, sign) => r[what] == null ? null : h("div", { class: `vl-mark vl-${what}`, style: `left:${100 * place(i, t, r[what])}%` },
      h("button", { text: sign, tabindex: -1, title: `${named(what)} ${r[what].toFixed(2)}: apply`, "aria-label": `apply the ${named(what)} value ${r[what].toFixed(2)} to ${e.event}, ${who}`, onclick: ev => { ev.stopPropagation(); send({ do: "apply", what, event: i, teacher: t }); } }));
    const hist = h("div", { class: "vl-hist", "data-teacher": t }, canvas, h("div", { class: "vl-axisline" }), mark("published", "△"), mark("optimum", "▲"), mark("estimated", "◆"), handle);
    hist.addEventListener("pointerdown", d => {
      if (d.button || d.target.closest(".vl-mark")) return;
      d.preventDefault(); knob.focus({ preventScroll: true }); hist.setPointerCapture(d.pointerId); moving = hist;
      const at = x => { const q = hist.getBoundingClientRect(); return r.low + clamp((x.clientX - q.left) / q.width, 0, 1) * (r.high - r.low); };
      const go = m => move(i, t, at(m), false), end = m => { moving = null; hist.removeEventListener("pointermove", go); hist.removeEventListener("pointerup", end); hist.removeEventListener("pointercancel", end); move(i, t, at(m), true); };
      if (get("selected") !== e.event) put("selected", e.event);
      go(d); hist.addEventListener("pointermove", go); hist.addEventListener("pointerup", end); hist.addEventListener("pointercancel", end);
    });
    knob.addEventListener("keydown", k => {
      const step = { ArrowRight: .1, ArrowUp: .1, ArrowLeft: -.1, ArrowDown: -.1, PageUp: 1, PageDown: -1 }[k.key];
      const to = k.key === "Home" ? r.low : k.key === "End" ? r.high : step ? value_(i, t) + step * (k.shiftKey ? 10 : 1) : null;
      if (to === null) return;
      k.preventDefault(); k.stopPropagation(); move(i, t, to, true);
    });
    return { canvas, knob, handle, number, hist };
  }
  const value_ = (i, t) => +lines[i][t].knob.getAttribute("aria-valuenow");
  function paint() {   // histograms, thresholds
    for (const [i, l] of lines.entries()) for (const t of Object.keys(TEACHERS)) {
      const r = range(i, t), w = l[t].hist.clientWidth || 120, g = sized(l[t].canvas, w, 28), step = w / r.off.length;
      for (const [bins, colour] of [[r.off, css(root, "--vl-quiet")], [r.on, css(root, HUES[TEACHERS[t][1]])]]) {
        const top = Math.max(...bins, 1);
        g.globalAlpha = colour === css(root, "--vl-quiet") ? .45 : .75; g.fillStyle = colour;
        bins.forEach((n, k) => { const y = 27 * n / top; if (n) g.fillRect(k * step, 28 - Math.max(y, 1), Math.max(step - .6, .6), Math.max(y, 1)); });
      }
      setHandle(i, t, value(i, t));
    }
  }
  function arrange() {
    const n = get("numbers"), keys = [...lines.keys()], by = { F: i => n.main[i] ?? Infinity, change: i => -Math.abs(n.change[i] ?? 0), name: null, vocabulary: null }[order];
    if (order === "name") keys.sort((a, c) => get("events")[a].event.localeCompare(get("events")[c].event)); else if (by) keys.sort((a, c) => by(a) - by(c));
    const held = document.activeElement;
    table.replaceChildren(...keys.map(i => lines[i].row));
    if (held && table.contains(held)) held.focus({ preventScroll: true });
  }
  function numbers() {
    const n = get("numbers"), signed = (x, d) => (x > 0 ? "+" : x < 0 ? "−" : "±") + Math.abs(x).toFixed(d);
    for (const [i, l] of lines.entries()) {
      l.f.textContent = n.main[i] === null ? "–" : n.main[i].toFixed(1); l.f.title = n.main_says;
      const c = n.change[i];
      l.change.textContent = c === null ? "–" : signed(c, n.change_digits); l.change.title = n.change_says;
      l.change.className = n.change_digits === 0 || !c || Math.abs(c) < .05 ? "vl-quiet" : c > 0 ? "vl-up" : "vl-down";
    }
    sums.replaceChildren(...n.sums.map(s => h("div", { "data-sum": s.name }, h("small", { text: s.name }), h("b", { text: s.text }), h("small", { text: s.below }))), h("div", { class: "vl-what", text: n.sums_say }));
    heads.replaceChildren(...["event", "CLIP score (visual)", "θ CLIP", "CLAP score (audio)", "θ CLAP", n.main_label, n.change_label].map(t => h("span", { text: t, title: t.startsWith("θ") ? "threshold on the score" : null })));
    undo.disabled = !n.can_undo; redo.disabled = !n.can_redo; published.disabled = n.has_published === false; estimated.hidden = !n.has_estimated; optimum.disabled = !n.has_optimum; optimum.textContent = `all to ${n.best || "optimum"} ▲`; optimum.title = n.has_optimum ? "" : "needs clips with truth or weak labels";
    note.textContent = n.note;
    note.classList.toggle("vl-calm", !n.warns);            // there is always a sentence, so that nothing below it jumps when it changes
    saved.textContent = `“${n.change_label}” is against ${n.saved}`;
    message.textContent = n.message;
    tag.textContent = n.title; title.replaceChildren("Thresholds ", tag);
    root.dataset.done = n.serial;
    if (n.serial >= 0) { waiting = false; flush(); }
  }
  function follow() {   // thresholds that Python changed, unless a hand is on them
    if (!moving && !next) get("events").forEach((e, i) => Object.keys(TEACHERS).forEach(t => setHandle(i, t, value(i, t))));
  }
  function drawGates() {
    const g = get("gate"), held = gates.contains(document.activeElement) ? document.activeElement.dataset.gate : null;
    gates.replaceChildren(h("span", { class: "vl-quiet", text: "gate" }), ...get("gates").map(x => h("button", { text: x.name, "data-gate": x.name, "aria-pressed": x.name === g, disabled: !x.can, title: x.says, onclick: () => put("gate", x.name) })));
    if (held) gates.querySelector(`[data-gate="${CSS.escape(held)}"]`)?.focus();
  }
  const name = h("input", { class: "vl-preset-name", "aria-label": "name of the preset" });
  const load = h("select", { class: "vl-preset", "aria-label": "load a preset", onchange: () => { if (load.value) send({ do: "load", name: load.value }); load.value = ""; } });   // the same one can be loaded again
  keep.append(h("label", {}, "keep as", name), h("button", { class: "vl-save", text: "save", onclick: () => send({ do: "save", name: name.value }) }), load, h("span", { class: "vl-gap" }), h("label", {}, "order", sort));
  function drawKeep() {
    fillSelect(load, [["", "load a preset"], ...get("presets").map(p => [p, p])], "");
    fillSelect(sort, [["vocabulary", "as in the vocabulary"], ["name", "by name"], ["F", `by ${get("numbers").main_label}`], ["change", "by change"]], order);
  }
  function drawName() { name.value = get("preset") || ""; }

  // ---- the event under the hand
  let canvases = {}, scored = null;
  const typed = new Map();                               // what stands in the fields of an event and was not scored yet: it outlives what is drawn
  function draft(event, kind, cls, was, more = {}) {
    const key = `${kind} ${event}`;
    return h("input", { class: cls, value: typed.get(key) ?? was, oninput: e => typed.set(key, e.target.value), ...more });
  }
  function wasScored() {
    for (const kind of ["clip", "clap"]) typed.delete(`${kind} ${scored}`);
    if (get("events").some(e => e.event === typed.get("new ")?.trim())) typed.delete("new ");
  }
  function showDetail() {
    const event = get("selected"), i = get("events").findIndex(e => e.event === event);
    for (const l of lines) l.row.classList.toggle("vl-picked", l.row.dataset.event === event);
    const held = detail.contains(document.activeElement) ? document.activeElement : null;
    curve = null; canvases = {}; detail.replaceChildren(); detail.hidden = i < 0;
    if (i < 0) return;
    const e = get("events")[i], parts = Object.entries(TEACHERS).map(([t, [who, modality]]) => {
      canvases[t] = h("canvas", { role: "img", "aria-label": `precision, recall and F of ${event} over the ${who} threshold` });
      const signs = { published: "△", optimum: "▲", estimated: "◆" };
      const apply = what => e[t][what] == null ? null : h("button", { class: `vl-apply-${what}`, "data-teacher": t,
        text: `${named(what)} ${e[t][what].toFixed(1)} ${signs[what]}`, onclick: () => send({ do: "apply", what, event: i, teacher: t }) });
      return h("div", {}, canvases[t], h("div", { class: "vl-bar-of-buttons" }, h("span", { class: "vl-quiet", text: `${who}, ${modality}` }), apply("published"), apply("optimum"), apply("estimated")), ...(e[t].sure || []).map(x => h("small", { class: "vl-quiet vl-sure", text: x })));
    });
    detail.append(h("h4", { text: event, "aria-level": 3 }), ...parts);
    if (get("captions").length) {
      if (e.doubt) detail.append(h("div", { class: "vl-note vl-doubt", role: "status", text: e.doubt }));
      const [cv, ca] = get("captions")[i] || ["", ""], a = draft(event, "clip", "vl-clip-caption", cv), c = draft(event, "clap", "vl-clap-caption", ca);
      const fresh = draft("", "new", "vl-new-event", "", { placeholder: "a new event's name", style: "flex:0 1 170px" });
      detail.append(h("div", { class: "vl-captions" }, h("label", {}, "CLIP caption", a), h("label", {}, "CLAP caption", c), h("button", { class: "vl-rescore", text: "score again", onclick: () => { scored = event; send({ do: "caption", event: i, clip: a.value, clap: c.value }); } }),
        fresh, h("button", { class: "vl-add-event", text: "add as a new event", onclick: () => { scored = event; send({ do: "new_event", name: fresh.value, clip: a.value, clap: c.value }); } })));
    }
    if (held?.className) detail.querySelector(`.${held.className.split(" ").join(".")}`)?.focus();
    send({ ask: "curve", event: i });
  }
  function drawCurve(t, now) {
    const canvas = canvases[t], c = curve && curve[t];
    if (!canvas || !canvas.isConnected) return;
    const w = canvas.clientWidth || 250, H = 110, g = sized(canvas, w, H), ink = css(root, "--vl-ink"), quiet = css(root, "--vl-quiet"), hue = css(root, HUES[TEACHERS[t][1]]);
    g.font = "11px system-ui, sans-serif"; g.fillStyle = quiet;
    if (!c) { g.fillText(curve && curve.why ? curve.why : "", 4, 60, w - 8); return; }
    const L = 26, R = w - 6, T = 20, B = H - 16, X = v => L + (R - L) * clamp((v - c.low) / (c.high - c.low || 1), 0, 1), Y = v => B - (B - T) * v / 100;
    g.strokeStyle = css(root, "--vl-line"); g.lineWidth = 1;
    for (const v of [0, 50, 100]) { g.beginPath(); g.moveTo(L, Y(v)); g.lineTo(R, Y(v)); g.stroke(); g.textAlign = "right"; g.fillText(v, L - 4, Y(v) + 4); }
    g.textAlign = "left"; g.fillText(c.low.toFixed(1), L, H - 3); g.textAlign = "right"; g.fillText(c.high.toFixed(1), R, H - 3); g.textAlign = "center"; g.fillText("threshold", (L + R) / 2, H - 3);
    const plot = (ys, dash, colour, width) => { g.setLineDash(dash); g.strokeStyle = colour; g.lineWidth = width; g.beginPath(); ys.forEach((y, k) => y === null ? 0 : g[k && ys[k - 1] !== null ? "lineTo" : "moveTo"](X(c.at[k]), Y(y))); g.stroke(); g.setLineDash([]); };
    plot(c.precision, [5, 3], quiet, 1.2); plot(c.recall, [1.5, 3], quiet, 1.6); plot(c.f, [], hue, 2);
    let k = c.at.findIndex(x => x >= now); if (k < 0) k = c.at.length - 1;
    g.strokeStyle = ink; g.lineWidth = 1.5; g.beginPath(); g.moveTo(X(now), T - 4); g.lineTo(X(now), B); g.stroke();
    g.fillStyle = hue; g.beginPath(); g.arc(X(now), Y(c.f[k]), 3.5, 0, 7); g.fill();
    const show = x => x === null ? "–" : x.toFixed(0);
    g.fillStyle = ink; g.textAlign = "left"; g.fillText(`F ${curve.clips ? "of clips " : ""}${c.f[k].toFixed(1)}   - - precision ${show(c.precision[k])}   ··· recall ${show(c.recall[k])}`, L, 9);
  }
  function drawCurves() { const i = get("events").findIndex(e => e.event === get("selected")); if (i >= 0) for (const t of Object.keys(TEACHERS)) drawCurve(t, value_(i, t)); }

  const listen = [["change:events", () => { build(); showDetail(); }], ["change:thresholds", follow], ["change:numbers", () => { numbers(); if (order !== "vocabulary" && !moving && get("numbers").settled) arrange(); }], ["change:gate", drawGates], ["change:gates", drawGates],
    ["change:presets", drawKeep], ["change:preset", drawName], ["change:captions", wasScored], ["change:selected", showDetail], ["msg:custom", paper.took], ["msg:custom", m => { if (m.kind === "curve" && m.event === get("selected")) { curve = m; drawCurves(); root.dataset.curve = m.event; } }]];
  for (const [k, f] of listen) model.on(k, f);
  ownKeys(root, e => {
    if (typing(e) || !(e.ctrlKey || e.metaKey) || e.altKey) return false;
    const k = e.key.toLowerCase();
    if (k === "z") { send({ do: e.shiftKey ? "redo" : "undo" }); return true; }
    if (k === "y") { send({ do: "redo" }); return true; }
    return false;
  });
  build(); numbers(); drawGates(); drawKeep(); drawName(); showDetail();
  const watched = watchKernel(model, root);
  const plain = theme(root, () => { paint(); drawCurves(); });
  let width = 0;
  const resized = new ResizeObserver(() => { if (root.clientWidth === width) return; width = root.clientWidth; paint(); drawCurves(); });
  resized.observe(root);
  const stay = warnOfLoss(root, () => get("numbers").unsaved);
  return () => { stay(); for (const [k, f] of listen) model.off(k, f); plain(); watched(); resized.disconnect(); };
}
export default { render };
