// A list of any length: Python filters and sorts, only the rows in view are ever drawn. See `Table` in valor_lab.widgets.
const PAGE = 60;

function render({ model, el }) {
  const get = k => model.get(k), put = (k, v) => { model.set(k, v); model.save_changes(); };
  let rows = new Map(), asked = new Set(), pictures = new Map(), wanted = new Set(), drawn = new Map(), shown = [], pictureTimer = 0, searchTimer = 0;
  const rowHeight = () => get("pictures") ? 54 : get("subtitle") ? 40 : 28;

  const title = h("h3"), count = h("span", { class: "vl-quiet", role: "status", style: "font-weight:400" });
  const search = h("input", { type: "search", placeholder: "search", "aria-label": "search in ids and events", oninput: () => { clearTimeout(searchTimer); searchTimer = setTimeout(() => put("text", search.value), 120); } });
  const rest = h("span", { style: "display:contents" }), controls = h("div", { class: "vl-controls" }, search, rest);
  const headings = h("div", { class: "vl-headings" });
  const nothing = h("p", { class: "vl-quiet", style: "margin:6px", text: "nothing to show" });
  const sizer = h("div"), list = h("div", { class: "vl-scroll", tabindex: 0, role: "grid", "aria-label": "list of clips", style: `height:${get("height")}px` }, nothing, sizer);
  const note = h("div", { class: "vl-quiet vl-table-note", style: "font-size:11.5px" });
  const root = h("div", { class: "vl vl-table" }, h("div", {}, title), controls, headings, list, note);
  el.append(root);

  const order = () => get("sort");   // [column, descending]
  function fit() {   // as many columns as the width allows, the one that sorts always among them
    const all = get("columns"), room = (root.clientWidth || 600) - 24 - (get("pictures") ? 96 : 0) - 190;
    const first = all.filter(c => c.name === order()[0]), rest = all.filter(c => c.name !== order()[0]);
    let left = room, keep = new Set();
    for (const c of [...first, ...rest]) { if (keep.size && (left -= c.width + 8) < 0) break; if (!keep.size) left -= c.width + 8; keep.add(c.name); }
    shown = all.filter(c => keep.has(c.name));
    root.style.setProperty("--cut", `${get("pictures") ? "84px " : ""}minmax(0, 1fr)${shown.map(c => ` ${c.width}px`).join("")}`);
  }
  const place = r => { const s = order(); put("sort", s[0] === r ? [r, !s[1]] : [r, get("columns").find(c => c.name === r)?.worst_last ?? false]); };
  function head() {
    fit();
    const s = order(), mark = n => s[0] === n ? (s[1] ? " ↓" : " ↑") : "";
    const b = (name, label, cls) => h("button", { class: cls, "aria-pressed": s[0] === name, "data-column": name, title: `sort by ${label}`, text: label + mark(name), onclick: () => place(name) });
    headings.replaceChildren(...(get("pictures") ? [h("span")] : []), b("", get("id_label"), "vl-first"), ...shown.map(c => b(c.name, c.label, c.words ? "vl-first" : "")));
    title.replaceChildren(get("title") + " ", count);
    list.setAttribute("aria-label", get("title") || "list");
    count.textContent = get("count") === get("total") ? `${get("total").toLocaleString("en")}` : `${get("count").toLocaleString("en")} of ${get("total").toLocaleString("en")}`;
    note.textContent = get("note");
    note.hidden = !get("note");
  }
  function drawControls() {
    const selects = get("filters").map(f => {
      const s = h("select", { "aria-label": f.name, "data-filter": f.name, onchange: () => put("filters", get("filters").map(g => g.name === f.name ? { ...g, value: s.value } : g)) },
        h("option", { value: "", text: `${f.name}: any` }), ...f.options.map(o => h("option", { value: o, text: o })));
      s.value = f.value; return s;
    });
    const switches = get("switches").map(w => {
      const s = h("select", { "aria-label": w.name, "data-switch": w.name, onchange: () => put("switches", get("switches").map(g => g.name === w.name ? { ...g, value: s.value } : g)) }, ...w.options.map(o => h("option", { value: o, text: `${w.name}: ${o}` })));
      s.value = w.value; return s;
    });
    const down = c => order()[0] === c.name ? order()[1] : c.worst_last;
    const sort = h("select", { "aria-label": "sort by", class: "vl-sort", onchange: () => put("sort", [sort.value, get("columns").find(c => c.name === sort.value)?.worst_last ?? false]) },
      h("option", { value: "", text: `sort by ${get("id_label")}` }), ...get("columns").map(c => h("option", { value: c.name, text: c.words ? `sort by ${c.label}` : `${down(c) ? "highest" : "lowest"} ${c.label} first` })));
    sort.value = order()[0];
    const busy = rest.contains(document.activeElement) ? (document.activeElement.dataset.filter ? `[data-filter="${CSS.escape(document.activeElement.dataset.filter)}"]` : document.activeElement.dataset.switch ? `[data-switch="${CSS.escape(document.activeElement.dataset.switch)}"]` : ".vl-sort") : null;
    rest.replaceChildren(...selects, ...switches, ...(get("columns").length ? [sort] : []));
    controls.hidden = get("total") <= 12 && !selects.length && !switches.length;      // a short list needs no search, and its headings sort
    if (busy) controls.querySelector(busy)?.focus();
    if (document.activeElement !== search) search.value = get("text");
  }

  function window_() {
    const hgt = rowHeight(), top = Math.floor(list.scrollTop / hgt), fitIn = Math.ceil((list.clientHeight || get("height")) / hgt);
    return [Math.max(0, top - 4), Math.min(get("count"), top + fitIn + 5)];
  }
  function draw() {
    const [from, to] = window_(), hgt = rowHeight();
    sizer.style.height = get("count") * hgt + "px";
    list.style.height = Math.min(get("height"), Math.max(2, get("count")) * hgt) + "px";
    headings.style.paddingRight = 6 + list.offsetWidth - list.clientWidth + "px";
    for (let p = Math.floor(from / PAGE); p <= Math.floor(Math.max(from, to - 1) / PAGE); p++) if (get("count") && !asked.has(p)) { asked.add(p); model.send({ ask: "rows", from: p * PAGE, to: (p + 1) * PAGE, version: get("version") }); }
    for (const [i, e] of drawn) if (i < from || i >= to) { e.remove(); drawn.delete(i); }
    for (let i = from; i < to; i++) if (!drawn.has(i) && rows.has(i)) { const e = line(i, rows.get(i)); drawn.set(i, e); sizer.append(e); }
    list.setAttribute("aria-rowcount", get("count"));
    nothing.hidden = get("count") > 0;
    if (get("pictures")) { clearTimeout(pictureTimer); pictureTimer = setTimeout(askPictures, 90); }
  }
  function line(i, row) {
    const picture = get("pictures") ? (pictures.has(row.id) ? h("img", { class: "vl-picture", src: pictures.get(row.id), alt: "" }) : h("span", { class: "vl-picture" })) : null;
    return h("div", { class: "vl-line", role: "row", id: `${uid}-${i}`, "aria-rowindex": i + 1, "aria-selected": row.id === get("selected"), "data-id": row.id, style: `top:${i * rowHeight()}px;height:${rowHeight()}px`, onclick: () => choose(row.id, i) },
      picture, h("div", { class: "vl-main", role: "gridcell", title: `${row.main}\n${row.sub || ""}` }, h("span", { class: "vl-id", text: row.main }), get("subtitle") ? h("span", { class: "vl-sub", text: row.sub || "" }) : null),
      ...shown.map(c => { const v = row.cells[c.name]; return h("div", { class: "vl-cell" + (c.words ? " vl-words" : ""), role: "gridcell", title: c.words ? v || "" : c.label, text: v === null || v === undefined ? "–" : c.words ? v : (c.signed && v > 0 ? "+" : "") + v.toFixed(c.digits).replace("-", "−") }); }));
  }
  function again() { for (const e of drawn.values()) e.remove(); drawn.clear(); draw(); }
  function choose(id, i) { put("selected", id); model.send({ do: "open", id }); bring(i); }
  function bring(i) { const hgt = rowHeight(), y = i * hgt; if (y < list.scrollTop) list.scrollTop = y; else if (y + hgt > list.scrollTop + list.clientHeight) list.scrollTop = y + hgt - list.clientHeight; }
  function select() { for (const [i, e] of drawn) { const on = e.dataset.id === get("selected"); e.setAttribute("aria-selected", on); if (on) list.setAttribute("aria-activedescendant", e.id); } }
  function askPictures() {
    const [from, to] = window_(), ids = [];
    for (let i = from; i < to; i++) { const id = rows.get(i)?.id; if (id && !pictures.has(id) && !wanted.has(id)) { wanted.add(id); ids.push(id); } }
    if (ids.length) model.send({ ask: "pictures", ids });
  }
  function arrived(m, buffers) {
    if (m.kind === "rows" && m.version === get("version")) { m.rows.forEach((r, k) => rows.set(m.from + k, r)); draw(); root.dataset.ready = get("version"); }
    if (m.kind === "picture") {
      wanted.delete(m.id);
      if (!m.size) { pictures.set(m.id, ""); return; }
      pictures.set(m.id, URL.createObjectURL(new Blob([buffers[0]], { type: "image/jpeg" })));
      for (const e of drawn.values()) if (e.dataset.id === m.id) e.querySelector(".vl-picture").replaceWith(h("img", { class: "vl-picture", src: pictures.get(m.id), alt: "" }));
    }
    if (m.kind === "row") bring(m.row);
  }
  function renew() { drawControls(); rows.clear(); asked.clear(); for (const e of drawn.values()) e.remove(); drawn.clear(); head(); if (get("rewind")) list.scrollTop = 0; draw(); }

  ownKeys(root, e => {
    if (typing(e)) return false;
    if (e.target !== list) return false;
    const page = Math.floor(list.clientHeight / rowHeight()), by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page }[e.key], to = { Home: 0, End: get("count") - 1 }[e.key];
    if (by === undefined && to === undefined) return false;
    model.send(to === undefined ? { do: "move", by } : { do: "move", to });   // Python knows what is selected, however fast the keys come
    return true;
  });
  list.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });

  const uid = "vl" + Math.random().toString(36).slice(2);
  const listen = [["msg:custom", arrived], ["change:version", renew], ["change:sort", () => { head(); drawControls(); }], ["change:filters", drawControls], ["change:text", drawControls], ["change:switches", drawControls], ["change:columns", () => { head(); drawControls(); again(); }], ["change:title", head], ["change:note", head], ["change:selected", select]];
  for (const [k, f] of listen) model.on(k, f);
  const plain = theme(root);
  head(); drawControls(); draw();
  let width = 0;
  const resized = new ResizeObserver(() => { if (root.clientWidth === width) return; width = root.clientWidth; head(); again(); });
  resized.observe(root);
  return () => { for (const [k, f] of listen) model.off(k, f); plain(); resized.disconnect(); for (const u of pictures.values()) if (u) URL.revokeObjectURL(u); };
}
export default { render };
