// Start a training in a process of its own, watch it, stop it, find it again. See `Launcher` in valor_lab.workbench.
function render({ model, el }) {
  const get = k => model.get(k), put = (k, v) => { model.set(k, v); model.save_changes(); }, send = m => model.send(m);
  const field = (label, input) => h("label", {}, label, input);
  const named = o => [o, o || "the harvested ones"];
  const select = (cls, list) => { const s = h("select", { class: cls }); fillSelect(s, list.map(named), list[0] ?? ""); return s; };

  // what is asked for
  const preset = select("vl-preset", get("presets")), labels = select("vl-labels", get("labels")), device = select("vl-device", get("devices"));
  const epochs = h("input", { class: "vl-epochs", type: "number", min: 0, step: 1, placeholder: "preset's" });
  const seeds = h("input", { class: "vl-seeds", value: "0" }), overrides = h("input", { class: "vl-overrides", placeholder: "lr = 3e-4; dropout = 0.2",
    title: "options of the record as TOML, a semicolon between two" });
  const engine = h("input", { class: "vl-engine", placeholder: "here", title: "where the runs are trained: local:processes=2, ray, ray:HOST:PORT, slurm:partition=NAME" });
  const asked = () => ({ preset: preset.value, labels: labels.value, device: device.value, epochs: epochs.value === "" ? null : +epochs.value,
    seeds: seeds.value, overrides: overrides.value, engine: engine.value.trim() });
  const go = () => {                                     // a field of numbers hides from us what is none: it must not pass for an empty one
    if (epochs.validity.badInput) (put("wrong", true), put("message", "epochs: expected a whole number, 0 or more")); else send({ do: "start", ...asked() });
  };
  const start = h("button", { class: "vl-start", text: "start", onclick: go });
  const stop = h("button", { class: "vl-stop", text: "stop", onclick: () => send({ do: "stop" }) });
  const message = h("p", { class: "vl-message", role: "status" });

  // what is there, and how far it is
  const list = h("div", { class: "vl-jobs", role: "listbox", "aria-label": "jobs" });
  const left = h("p", { class: "vl-left", role: "status", style: "margin:0" });
  const runs = h("table", { class: "vl-runs", "aria-label": "runs of the selected job" });
  const view = { keep: 0, log: false }, paper = paperTools(model, { tables: true, figures: true });
  const keep = h("input", { class: "vl-smooth", type: "range", min: 0, max: 95, step: 5, value: 0, "aria-label": "smoothing, percent",
    oninput: () => { view.keep = +keep.value / 100; curves(); } });
  const log10 = h("input", { class: "vl-log-axis", type: "checkbox", onchange: () => { view.log = log10.checked; curves(); } });
  const tools = h("div", { class: "vl-bar-of-buttons vl-quiet" }, field("smooth", keep), field("log axis", log10),
    h("span", { text: "point at a curve, or press ← → on it, for its values" }), paper.bar);
  const plots = h("div", { class: "vl-plots" });
  const log = h("pre", { class: "vl-log", tabindex: 0, "aria-label": "log" });
  const bar = h("div", { class: "vl-bar-of-buttons" }, field("preset", preset), field("labels", labels), field("epochs", epochs),
    field("seeds", seeds), field("overrides", overrides), field("device", device),
    field("engine", engine), h("span", { class: "vl-bar-of-buttons" }, start, stop));
  const root = h("div", { class: "vl vl-launcher" }, h("h3", { text: "Train", "aria-level": 2 }), bar, message, list, left, runs, tools, plots, log);
  el.append(root);

  function drawLabels() {                                // what was chosen and is gone is no reason to train with other labels
    const v = labels.value, all = get("labels");
    fillSelect(labels, [...all.map(named), ...(all.includes(v) ? [] : [[v, `${v} (gone)`]])], v);
  }
  const spent = s => { const n = Math.round(s); return n < 90 ? `${n} s` : n < 5400 ? `${Math.round(n / 60)} min` : `${(n / 3600).toFixed(1)} h`; };
  const day = t => { const d = new Date(t); return isNaN(d) ? "" : d.toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }); };
  function draw() {
    message.textContent = get("message");
    message.dataset.wrong = get("wrong");
    message.hidden = !get("message");
    const held = list.contains(document.activeElement) ? document.activeElement.dataset.job : null, top = list.scrollTop;
    const job = j => h("button", { class: "vl-job", role: "option", "data-job": j.name, "data-state": j.state, title: j.name,
      "aria-selected": j.name === get("selected"), onclick: () => put("selected", j.name) },
      h("span", { text: j.title || j.name }), h("span", { text: j.state }), h("span", { text: day(j.started) }), h("span", { text: spent(j.seconds) }));
    list.replaceChildren(...get("jobs").map(job));
    list.hidden = !get("jobs").length;
    list.scrollTop = top;
    if (held) list.querySelector(`[data-job="${CSS.escape(held)}"]`)?.focus();
    const now = get("jobs").find(j => j.name === get("selected"));
    stop.disabled = !now || !["waiting", "running", "orphaned"].includes(now.state);
    root.dataset.state = now ? now.state : "";
    left.textContent = get("left") || (get("jobs").length ? "" : "No training was started here yet.");
    left.hidden = !left.textContent;
  }
  let logOf = null;
  function drawLog() {                                   // the cause stands at the end: that is where it opens; who reads above stays there
    const reads = logOf === get("selected") && log.scrollHeight - log.scrollTop - log.clientHeight > 4, top = log.scrollTop;
    logOf = get("selected");
    if (log.textContent !== get("log")) log.textContent = get("log");
    log.hidden = !get("log");
    log.scrollTop = reads ? top : log.scrollHeight;
  }
  function address(path) {                               // where JupyterLab shows a folder; nowhere on a page
    const config = document.getElementById("jupyter-config-data");
    if (!config) return null;
    const { serverRoot, baseUrl, rootUri } = JSON.parse(config.textContent);
    const top = (rootUri ? decodeURIComponent(new URL(rootUri).pathname) : serverRoot)?.replace(/\/?$/, "/");
    return top && path.startsWith(top) ? `${baseUrl || "/"}lab/tree/${path.slice(top.length).split("/").map(encodeURIComponent).join("/")}` : null;
  }
  function drawRuns() {
    const all = get("runs"), th = t => h("th", { text: t, scope: "col" }), td = t => h("td", { text: t });
    const place = r => {
      const to = r.path && address(r.path), name = h("code", { text: `runs/${r.name}` });
      return h("td", {}, to ? h("a", { href: to, target: "_blank", rel: "noopener", "data-run": r.name }, name) : name);
    };
    const best = r => r.best === null || r.best === undefined ? "–" : `${r.best} (${r.by} ${(+r.score).toFixed(1)})`;
    const held = runs.contains(document.activeElement) ? document.activeElement.dataset.run : null;
    runs.hidden = !all.length;
    runs.replaceChildren(h("thead", {}, h("tr", {}, ...["run", "epochs", "best epoch", "folder"].map(th))),
      h("tbody", {}, ...all.map(r => h("tr", { "data-run": r.name }, td(r.title), td(`${r.epochs} of ${r.of}`), td(best(r)), place(r)))));
    if (held) runs.querySelector(`a[data-run="${CSS.escape(held)}"]`)?.focus();
  }
  function curves() {
    tools.hidden = !get("curves").length;
    const before = new Map([...plots.children].map(p => [p.of, [p.pointed(), p.contains(document.activeElement)]]));
    plots.replaceChildren(...get("curves").map(c => curvePlot(root, c, view)));
    for (const p of plots.children) if (before.has(p.of)) p.again(...before.get(p.of));     // the next epoch takes nothing from the hand
  }
  const timer = setInterval(() => { if (root.isConnected) send({ ask: "now" }); }, 1000);
  const listen = [["change:labels", drawLabels], ["change:jobs", draw], ["change:selected", draw], ["change:message", draw], ["change:wrong", draw],
    ["change:left", draw], ["change:log", drawLog], ["change:runs", drawRuns], ["change:curves", curves], ["msg:custom", paper.took]];
  for (const [k, f] of listen) model.on(k, f);
  ownKeys(root, () => false);
  const watched = watchKernel(model, root);
  const plain = theme(root, () => { for (const p of plots.children) p.redraw(); });   // what the pointer shows stays
  for (const f of [draw, drawLog, drawRuns, curves]) f();
  return () => { clearInterval(timer); for (const [k, f] of listen) model.off(k, f); plain(); watched(); };
}
export default { render };
