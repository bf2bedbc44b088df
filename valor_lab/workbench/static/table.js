// A list of any length: Python filters and sorts, only the rows in view are ever drawn. Every column is there: what does not fit
// is reached by scrolling sideways, the first column stays, and a mark says what lies out of view. See `Table` in valor_lab.workbench.
const PAGE = 60, FIRST = 190, GAP = 8;

function render({ model, el }) {
  const get = k => model.get(k), put = (k, v) => { model.set(k, v); model.save_changes(); };
  const uid = "vl" + Math.random().toString(36).slice(2), number = n => n.toLocaleString("en");
  let rows = new Map(), asked = new Set(), pictures = new Map(), wanted = new Set(), drawn = new Map(), pictureTimer = 0, searchTimer = 0;
  const rowHeight = () => get("pictures") ? 54 : get("subtitle") ? 40 : 28;
  const order = () => get("sort");                       // [column, descending]

  const later = () => { clearTimeout(searchTimer); searchTimer = setTimeout(() => { searchTimer = 0; put("text", search.value); }, 120); };
  const title = h("h3", { "aria-level": 2 }), count = h("span", { class: "vl-quiet vl-count", role: "status" });
  const search = h("input", { type: "search", placeholder: "search", "aria-label": "search in ids and events", oninput: later });
  const rest = h("span", { style: "display:contents" }), controls = h("div", { class: "vl-controls" }, search, rest);
  const turn = by => () => list.scrollBy({ left: by * .7 * list.clientWidth, behavior: "smooth" });
  const left = h("button", { class: "vl-more-left", tabindex: -1, hidden: true, onclick: turn(-1) });
  const right = h("button", { class: "vl-more-right", tabindex: -1, hidden: true, onclick: turn(1) });
  const headings = h("div", { class: "vl-headings", role: "row" }), sizer = h("div", { class: "vl-rows-all", role: "rowgroup" });
  const list = h("div", { class: "vl-scroll", tabindex: 0, role: "grid" }, headings, sizer);
  const nothing = h("p", { class: "vl-quiet vl-nothing", role: "status" });
  const note = h("div", { class: "vl-quiet vl-table-note" });
  const bar = h("i"), far = h("span", { class: "vl-quiet" }), progress = h("div", { class: "vl-progress", hidden: true }, h("div", { class: "vl-progress-bar" }, bar), far);
  const paper = paperTools(model, { tables: true, figures: get("figure") });
  const root = h("div", { class: "vl vl-table" }, h("div", { class: "vl-title" }, title, h("span", { class: "vl-more" }, left, right), paper.bar),
    progress, controls, list, nothing, note);
  el.append(root);

  // ---- headings, and what lies out of view
  const columns = () => get("columns");
  const place = name => {
    const s = order(), first = columns().find(c => c.name === name)?.worst_last ?? false;
    put("sort", s[0] === name ? [name, !s[1]] : [name, first]);
  };
  function head() {
    const s = order(), mark = n => s[0] === n ? (s[1] ? " ↓" : " ↑") : "", wide = columns().map(c => c.width + "px");
    const width = root.clientWidth || 600, picture = width < 420 ? 56 : 84, before = get("pictures") ? picture + GAP : 0;
    const figures = Math.max(0, ...columns().filter(c => !c.words).map(c => c.width + GAP));    // one whole column is in view on a phone, too
    const first = Math.min(FIRST, .45 * width, Math.max(90, (list.clientWidth || width) - 12 - before - figures));
    root.style.setProperty("--cut", [...(before ? [picture + "px"] : []), `minmax(${first}px, 1fr)`, ...wide].join(" "));
    const least = columns().reduce((w, c) => w + c.width + GAP, first + 12 + before);
    root.style.setProperty("--wide", least + "px");
    root.style.setProperty("--first", before + "px");
    const heading = (name, label, cls) => h("span", { class: cls, role: "columnheader", "data-of": name,
      "aria-sort": s[0] !== name ? "none" : s[1] ? "descending" : "ascending" },
      h("button", { "data-column": name, "aria-pressed": s[0] === name, title: `sort by ${label}`, text: label + mark(name),
        onclick: () => place(name) }));
    const held = headings.contains(document.activeElement) ? document.activeElement.dataset.column : null;
    const corner = before ? [h("span", { class: "vl-fixed vl-picture-place" })] : [];
    headings.replaceChildren(...corner, heading("", get("id_label"), "vl-fixed vl-main"), ...columns().map(c => heading(c.name, c.label, c.words && !c.right ? "vl-words" : "")));
    if (held !== null) headings.querySelector(`[data-column="${CSS.escape(held)}"]`)?.focus();
    title.replaceChildren(get("title") + " ", count);
    list.setAttribute("aria-label", get("title") || "list");
    count.textContent = get("count") === get("total") ? number(get("total")) : `${number(get("count"))} of ${number(get("total"))}`;
    note.textContent = get("note");
    note.hidden = !get("note");
    edges();
  }
  function drawProgress() {
    const [done, of, words] = get("progress");
    progress.hidden = !words;
    bar.style.width = `${100 * (done || 0) / (of || 1)}%`;
    far.textContent = words || "";
  }
  const half = new Set();                                // columns that are in view in part: what is cut off is not read as a number
  function blank() {
    for (const e of list.querySelectorAll("[data-of], [data-cell]")) e.classList.toggle("vl-half", half.has(e.dataset.of ?? e.dataset.cell));
  }
  function edges() {                                     // which columns are out of view, on which side
    const seen = list.getBoundingClientRect(), fixed = headings.querySelector(".vl-main").getBoundingClientRect().right;
    const out = [[], []], end = seen.left + list.clientWidth;
    half.clear();
    for (const e of headings.querySelectorAll("[data-of]:not(.vl-main)")) {
      const b = e.getBoundingClientRect(), name = columns().find(c => c.name === e.dataset.of)?.label;
      const after = b.right > end + 2, before = b.left < fixed - 2;
      if (after) out[1].push(name); else if (before) out[0].push(name);
      if ((after && b.left < end || before && b.right > fixed) && b.width < end - fixed) half.add(e.dataset.of);
    }
    blank();
    const words = (n, arrow) => `${n} column${n > 1 ? "s" : ""} ${arrow}`;
    left.hidden = !out[0].length; right.hidden = !out[1].length;
    left.textContent = "← " + words(out[0].length, ""); right.textContent = words(out[1].length, "→");
    left.title = `out of view on the left: ${out[0].join(", ")}`; right.title = `out of view on the right: ${out[1].join(", ")}`;
    root.dataset.left = out[0].length; root.dataset.right = out[1].length;
  }

  // ---- what filters, switches and sorts: made once, so that a list of choices that is open stays so while rows come
  const selects = new Map(), sort = h("select", { "aria-label": "sort by", class: "vl-sort",
    onchange: () => put("sort", [sort.value, columns().find(c => c.name === sort.value)?.worst_last ?? false]) });
  function drawControls() {
    const pick = (kind, { name, value }, options) => {
      const change = () => put(kind, get(kind).map(g => g.name === name ? { ...g, value: s.value } : g));
      const which = `data-${kind === "filters" ? "filter" : "switch"}`, key = `${which} ${name}`;
      const s = selects.get(key) || h("select", { "aria-label": name, [which]: name, onchange: change });
      selects.set(key, s);
      fillSelect(s, options, value);
      return s;
    };
    const filters = get("filters").map(f => pick("filters", f, [["", `${f.name}: any`], ...f.options.map(o => [o, o])]));
    const switches = get("switches").map(w => pick("switches", w, w.options.map(o => [o, `${w.name}: ${o}`])));
    const down = c => order()[0] === c.name ? order()[1] : c.worst_last;
    const says = c => c.words ? `sort by ${c.label}` : `${down(c) ? "highest" : "lowest"} ${c.label} first`;
    fillSelect(sort, [["", `sort by ${get("id_label")}`], ...columns().map(c => [c.name, says(c)])], order()[0]);
    const held = rest.contains(document.activeElement) ? document.activeElement : null;
    const now = [...filters, ...switches, ...(columns().length ? [sort] : [])];
    if (now.length !== rest.children.length || now.some((s, k) => s !== rest.children[k])) rest.replaceChildren(...now), held?.focus();
    controls.hidden = get("total") <= 12 && !filters.length && !switches.length;      // a short list needs no search, and its headings sort
    if (document.activeElement !== search && !searchTimer) search.value = get("text");   // what is typed is not taken back
  }

  // ---- the rows in view
  const high = () => headings.offsetHeight;
  function inView() {
    const hgt = rowHeight(), top = Math.floor(list.scrollTop / hgt), fit = Math.ceil((list.clientHeight || get("height")) / hgt);
    return [Math.max(0, top - 4), Math.min(get("count"), top + fit + 5)];
  }
  function ask(from, to) {
    for (let p = Math.floor(from / PAGE); p <= Math.floor(Math.max(from, to - 1) / PAGE); p++) {
      if (!get("count") || asked.has(p)) continue;
      asked.add(p);
      model.send({ ask: "rows", from: p * PAGE, to: (p + 1) * PAGE, version: get("version") });
    }
  }
  function draw() {
    const [from, to] = inView(), hgt = rowHeight();
    sizer.style.height = get("count") * hgt + "px";
    list.style.height = Math.min(get("height"), get("count") * hgt + high() + (list.offsetHeight - list.clientHeight) + 2) + "px";
    ask(from, to);
    for (const [i, e] of drawn) if (i < from || i >= to) { e.remove(); drawn.delete(i); }
    for (let i = from; i < to; i++) if (!drawn.has(i) && rows.has(i)) { const e = line(i, rows.get(i)); drawn.set(i, e); sizer.append(e); }
    blank();
    active();
    list.setAttribute("aria-rowcount", get("count"));
    nothing.hidden = get("count") > 0;
    nothing.textContent = get("empty");
    if (get("pictures")) { clearTimeout(pictureTimer); pictureTimer = setTimeout(askPictures, 90); }
  }
  const image = id => {                                  // a clip without a picture keeps an empty place, never a broken image
    const url = pictures.get(id);
    return url ? h("img", { class: "vl-picture", src: url, alt: "" }) : h("span", { class: "vl-picture" });
  };
  const figure = (c, v) => (c.signed && v > 0 ? "+" : "") + v.toFixed(c.digits).replace("-", "−");
  const said = (c, v) => v === null || v === undefined ? "–" : c.words ? v : figure(c, v);
  function interval(c, [low, value, high, sure]) {       // drawn against zero; filled only where it is certain
    const [a, b] = c.range, at = v => 100 * clamp((v - a) / (b - a || 1), 0, 1), f = v => (v > 0 ? "+" : "") + v.toFixed(1).replace("-", "−");
    const words = low === null ? `${f(value)}, no interval` : `${f(value)}, from ${f(low)} to ${f(high)}${sure ? "" : ", not certain"}`;
    return h("span", { class: "vl-interval", role: "img", "aria-label": words, title: words, "data-sure": String(Boolean(sure)) },
      h("u", { style: `left:${at(0)}%` }), low === null ? null : h("i", { style: `left:${at(low)}%;width:${at(high) - at(low)}%` }),
      h("b", { style: `left:${at(value)}%` }));
  }
  function line(i, row) {
    const on = row.id === get("selected"), id = `${uid}-${i}`;
    const main = h("div", { class: "vl-main vl-fixed", role: "gridcell", title: `${row.main}\n${row.sub || ""}` },
      h("span", { class: "vl-id", text: row.main }), get("subtitle") ? h("span", { class: "vl-sub", text: row.sub || "" }) : null);
    const cell = c => {
      const v = row.cells[c.name], more = { class: "vl-cell" + (c.words && !c.right ? " vl-words" : ""), role: "gridcell", "data-cell": c.name };
      if (c.drawn) return h("div", more, v ? interval(c, v) : null);
      return h("div", { ...more, title: c.words ? v || "" : c.label, text: said(c, v) });
    };
    return h("div", { class: "vl-line", role: "row", id, "aria-rowindex": i + 1, "aria-selected": on, "data-id": row.id,
      style: `top:${i * rowHeight()}px;height:${rowHeight()}px`, onclick: () => choose(row.id, i) },
      get("pictures") ? h("span", { class: "vl-fixed vl-picture-place" }, image(row.id)) : null, main, ...columns().map(cell));
  }
  function again() { for (const e of drawn.values()) e.remove(); drawn.clear(); draw(); }
  function choose(id, i = null) {
    put("selected", id);
    model.send({ do: "open", id });
    if (i !== null) bring(i);
    toPlayer(root, "see");                               // what is opened must be in view
  }
  function bring(i) {
    const hgt = rowHeight(), y = i * hgt, room = list.clientHeight - high();
    if (y < list.scrollTop) list.scrollTop = y; else if (y + hgt > list.scrollTop + room) list.scrollTop = y + hgt - room;
  }
  function active() {                                    // a row that is not drawn cannot be pointed at
    const on = [...drawn.values()].find(e => e.dataset.id === get("selected"));
    if (on) list.setAttribute("aria-activedescendant", on.id); else list.removeAttribute("aria-activedescendant");
  }
  function select() {
    for (const e of drawn.values()) e.setAttribute("aria-selected", e.dataset.id === get("selected"));
    active();
  }
  function askPictures() {
    const [from, to] = inView(), ids = [];
    for (let i = from; i < to; i++) {
      const id = rows.get(i)?.id;
      if (id && !pictures.has(id) && !wanted.has(id)) { wanted.add(id); ids.push(id); }
    }
    if (ids.length) model.send({ ask: "pictures", ids });
  }
  function arrived(m, buffers) {
    paper.took(m, buffers);
    if (m.kind === "rows" && m.version === get("version")) {
      m.rows.forEach((r, k) => rows.set(m.from + k, r));
      draw();
      root.dataset.ready = m.version;                    // these rows are drawn: benchmarks wait for it
    }
    if (m.kind === "row") bring(m.row);
    if (m.kind !== "picture") return;
    wanted.delete(m.id);
    pictures.set(m.id, m.size ? URL.createObjectURL(new Blob([buffers[0]], { type: "image/jpeg" })) : "");
    for (const e of drawn.values()) if (e.dataset.id === m.id) e.querySelector(".vl-picture").replaceWith(image(m.id));
  }
  function renew() {
    drawControls();
    rows.clear();
    asked.clear();
    for (const e of drawn.values()) e.remove();
    drawn.clear();
    head();
    if (get("rewind")) list.scrollTop = 0;
    draw();
  }

  ownKeys(root, e => {
    if (typing(e) || e.target !== list || e.ctrlKey || e.metaKey || e.altKey) return false;
    if (e.key === " " || e.key === "Enter") { toPlayer(root, e.key === " " ? "play" : "focus"); return true; }
    if (e.key === "ArrowLeft" || e.key === "ArrowRight") { list.scrollBy({ left: e.key === "ArrowLeft" ? -90 : 90 }); return true; }
    const page = Math.floor((list.clientHeight - high()) / rowHeight());
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page }[e.key];
    const to = { Home: 0, End: get("count") - 1 }[e.key];
    if (by === undefined && to === undefined) return false;
    model.send(to === undefined ? { do: "move", by } : { do: "move", to });   // Python knows what is selected, however fast the keys come
    return true;
  });
  root.addEventListener("vl-pressed", e => { if (e.detail.id) choose(e.detail.id); });   // a row that was sorted away under the hand
  list.addEventListener("scroll", () => requestAnimationFrame(() => { draw(); edges(); }), { passive: true });

  const shaped = () => { head(); drawControls(); again(); };
  const listen = [["msg:custom", arrived], ["change:version", renew], ["change:sort", () => { head(); drawControls(); }],
    ["change:filters", drawControls], ["change:text", drawControls], ["change:switches", drawControls], ["change:columns", shaped],
    ["change:title", head], ["change:note", head], ["change:empty", draw], ["change:progress", drawProgress], ["change:selected", select]];
  for (const [k, f] of listen) model.on(k, f);
  const plain = theme(root), watched = watchKernel(model, root);
  head();
  drawControls();
  drawProgress();
  draw();
  let width = 0;
  const resized = new ResizeObserver(() => { if (root.clientWidth === width) return; width = root.clientWidth; head(); again(); });
  resized.observe(root);
  return () => {
    for (const [k, f] of listen) model.off(k, f);
    plain();
    watched();
    resized.disconnect();
    for (const u of pictures.values()) if (u) URL.revokeObjectURL(u);
  };
}
export default { render };
