// Start a training in a process of its own, watch it, stop it, find it again. See `Launcher` in valor_lab.widgets.
function render({ model, el }) {
  const get = k => model.get(k), put = (k, v) => { model.set(k, v); model.save_changes(); };
  const field = (label, input) => h("label", { style: "display:inline-flex;gap:5px;align-items:center" }, label, input);
  const select = (cls, options) => h("select", { class: cls }, ...options.map(o => h("option", { value: o, text: o || "the harvested ones" })));
  const preset = select("vl-preset", get("presets")), labels = select("vl-labels", get("labels")), device = select("vl-device", get("devices"));
  const epochs = h("input", { class: "vl-epochs", type: "number", min: 0, step: 1, placeholder: "preset's", style: "width:80px" });
  const seeds = h("input", { class: "vl-seeds", value: "0", style: "width:70px" }), overrides = h("input", { class: "vl-overrides", placeholder: "lr = 3e-4", style: "width:160px" });
  const start = h("button", { class: "vl-start", text: "start", onclick: () => send({ do: "start", preset: preset.value, labels: labels.value, device: device.value, epochs: epochs.value === "" ? null : +epochs.value, seeds: seeds.value, overrides: overrides.value }) });
  const stop = h("button", { class: "vl-stop", text: "stop", onclick: () => send({ do: "stop" }) });
  const message = h("p", { class: "vl-message", role: "status", style: "margin:4px 0" }), list = h("div", { class: "vl-jobs", role: "listbox", "aria-label": "jobs" });
  const plots = h("div", { style: "display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:10px" }), log = h("pre", { class: "vl-log", tabindex: 0, "aria-label": "log", style: "max-height:220px;overflow:auto;background:var(--vl-bed);color:inherit;padding:6px;margin:6px 0;font-size:11.5px;white-space:pre-wrap" });
  const root = h("div", { class: "vl vl-launcher", style: "padding:10px 12px;border:1px solid var(--vl-line);border-radius:6px;background:var(--vl-card)" }, h("h3", { text: "Train" }),
    h("div", { class: "vl-bar-of-buttons", style: "margin:6px 0" }, field("preset", preset), field("labels", labels), field("epochs", epochs), field("seeds", seeds), field("overrides", overrides), field("device", device), start, stop), message, list, plots, log);
  el.append(root);
  const send = m => model.send(m);

  function drawLabels() { const v = labels.value; labels.replaceChildren(...get("labels").map(o => h("option", { value: o, text: o || "the harvested ones" }))); labels.value = get("labels").includes(v) ? v : ""; }
  function draw() {
    message.textContent = get("message");
    list.replaceChildren(...get("jobs").map(j => h("button", { class: "vl-job", role: "option", "data-job": j.name, "data-state": j.state, "aria-selected": j.name === get("selected"), style: "margin:0 6px 6px 0", text: `${j.name} · ${j.state} · ${Math.round(j.seconds)} s`, onclick: () => put("selected", j.name) })));
    list.hidden = !get("jobs").length;
    const now = get("jobs").find(j => j.name === get("selected"));
    stop.disabled = !now || !["waiting", "running", "orphaned"].includes(now.state);
    log.textContent = get("log"); log.hidden = !get("log");
    root.dataset.state = now ? now.state : "";
  }
  function curves() {
    const data = get("curves");
    plots.replaceChildren(...data.map(p => { const c = h("canvas", { class: "vl-curve", role: "img", "data-points": p.lines.reduce((n, l) => n + l.y.length, 0), style: "width:100%;height:150px", "aria-label": `${p.title} by epoch: ` + p.lines.map(l => `${l.name} ${l.y.at(-1)}`).join(", ") }); requestAnimationFrame(() => plot(c, p)); return c; }));
  }
  function plot(canvas, p) {
    const w = canvas.clientWidth || 300, H = 150, g = sized(canvas, w, H), ink = css(root, "--vl-ink"), quiet = css(root, "--vl-quiet"), L = 42, R = w - 8, T = 20, B = H - 18;
    const xs = p.lines.flatMap(l => l.x), ys = p.lines.flatMap(l => l.y).filter(Number.isFinite), x0 = Math.min(...xs), x1 = Math.max(...xs), y0 = Math.min(...ys), y1 = Math.max(...ys);
    const X = x => L + (R - L) * (x1 > x0 ? (x - x0) / (x1 - x0) : .5), Y = y => B - (B - T) * (y1 > y0 ? (y - y0) / (y1 - y0) : .5);
    g.font = "11px system-ui, sans-serif"; g.fillStyle = ink; g.textAlign = "left"; g.fillText(p.title, L, 12);
    g.fillStyle = quiet; g.textAlign = "right"; if (ys.length) { g.fillText(y1.toPrecision(3), L - 4, T + 4); g.fillText(y0.toPrecision(3), L - 4, B); }
    g.textAlign = "left"; g.fillText(`epoch ${x0}`, L, H - 4); g.textAlign = "right"; if (x1 > x0) g.fillText(String(x1), R, H - 4);
    g.strokeStyle = css(root, "--vl-line"); g.strokeRect(L, T, R - L, B - T);
    const dashes = [[], [5, 3], [1.5, 3], [8, 3, 2, 3]];
    p.lines.forEach((l, i) => { g.setLineDash(dashes[i % 4]); g.strokeStyle = g.fillStyle = i % 2 ? quiet : ink; g.lineWidth = 1.6; g.beginPath(); l.x.forEach((x, k) => g[k ? "lineTo" : "moveTo"](X(x), Y(l.y[k]))); g.stroke(); if (l.x.length === 1) { g.beginPath(); g.arc(X(l.x[0]), Y(l.y[0]), 3, 0, 7); g.fill(); } g.textAlign = "right"; g.fillText(l.name, p.lines.length > 1 ? R - 4 : R, p.lines.length > 1 ? T + 13 + 13 * i : 12); });
    g.setLineDash([]);
  }
  const timer = setInterval(() => { if (root.isConnected) send({ ask: "now" }); }, 1000);
  const listen = [["change:labels", drawLabels], ["change:jobs", draw], ["change:selected", draw], ["change:message", draw], ["change:log", draw], ["change:curves", curves]];
  for (const [k, f] of listen) model.on(k, f);
  ownKeys(root, () => false);
  const watched = watchKernel(model, root);
  const plain = theme(root, curves);
  draw(); curves();
  return () => { clearInterval(timer); for (const [k, f] of listen) model.off(k, f); plain(); watched(); };
}
export default { render };
