// Search by words: a sentence, where it should fit, and the seconds that fit it best. Python searches; see `WordSearch` in
// valor_lab.workbench. What a person typed and what a file is called are text and stay text.
function render({ model, el }) {
  const get = k => model.get(k), put = (k, v) => { model.set(k, v); model.save_changes(); };
  const uid = "vl" + Math.random().toString(36).slice(2), pictures = new Map();
  const words = h("input", { type: "search", class: "vl-words-text", id: uid, placeholder: "a dog barking", list: `${uid}-known`, autocomplete: "off" });
  const known = h("datalist", { id: `${uid}-known` });
  const where = h("select", { class: "vl-words-where", "aria-label": "where the words should fit", onchange: () => words.value.trim() && ask() });
  const go = h("button", { class: "vl-words-go", text: "search", onclick: ask });
  const said = h("p", { class: "vl-quiet vl-words-said", role: "status" }), doubt = h("p", { class: "vl-note vl-words-doubt", hidden: true });
  const close = h("button", { class: "vl-words-close", text: "close", hidden: true, onclick: clear });
  const list = h("ol", { class: "vl-words-found", "aria-label": "seconds that fit, best first", hidden: true });
  const root = h("div", { class: "vl vl-words-search", role: "search", "aria-label": "seconds that fit a sentence" },
    h("div", { class: "vl-bar-of-buttons" }, h("label", { for: uid, text: "search by words" }), words, known, where, go), h("div", { class: "vl-words-line" }, said, close), doubt, list);
  el.append(root);

  function ask() { model.send({ do: "search", words: words.value, where: where.value }); }
  function clear() { words.value = ""; model.send({ do: "search", words: "" }); words.focus(); }
  const rows = () => [...list.querySelectorAll("button")];
  function choose(n) {
    for (const [k, b] of rows().entries()) b.setAttribute("aria-current", k === n);
    model.send({ do: "open", row: n });
    toPlayer(root, "see");                               // what is opened must be in view
  }
  const key = r => `${r.clip}\n${r.segment}`;
  const image = r => pictures.get(key(r)) ? h("img", { class: "vl-picture", src: pictures.get(key(r)), alt: "" }) : h("span", { class: "vl-picture" });
  function row(r, n) {
    const by = r.modality === "audio" ? "CLAP" : "CLIP", points = r.score.toFixed(1).replace("-", "−");
    const far = `${by} score ${points}, ${Math.abs(r.above).toFixed(1)} standard deviations ${r.above < 0 ? "below" : "above"} the mean second of these clips`;
    return h("li", {}, h("button", { "data-clip": r.clip, "data-at": r.at, "data-of": r.modality, title: far, onclick: () => choose(n) }, image(r),
      h("span", { class: "vl-words-main" }, h("span", { class: "vl-id", text: r.clip }), h("span", { class: "vl-quiet", text: r.weak })),
      h("span", { class: "vl-words-at", "data-modality": r.modality, text: r.says }), h("span", { class: "vl-words-score", text: `${by} ${points}` })));
  }
  function draw() {
    const held = list.contains(document.activeElement), found = get("found");
    list.replaceChildren(...found.map(row));
    list.hidden = !found.length;
    if (held) (rows()[0] || words).focus();
    for (const [n, r] of found.entries()) if (!pictures.has(key(r))) model.send({ ask: "picture", row: n });
    told();
  }
  function told() {
    const why = get("why");
    said.textContent = why || get("said");
    said.parentElement.hidden = !said.textContent;
    doubt.textContent = get("doubt");
    doubt.hidden = !get("doubt");
    close.hidden = !get("asked") && !get("busy");
    root.dataset.busy = get("busy");
    root.setAttribute("aria-busy", get("busy"));
    for (const part of [words, where, go]) part.disabled = Boolean(why);
  }
  function choices() {
    fillSelect(where, get("places").map(p => [p, p]), get("where"));
    known.replaceChildren(...get("known").map(k => h("option", { value: k })));
  }
  function arrived(m, buffers) {
    if (m.kind !== "picture") return;
    pictures.set(`${m.clip}\n${m.segment}`, m.size ? URL.createObjectURL(new Blob([buffers[0]], { type: "image/jpeg" })) : "");
    const n = get("found").findIndex(r => r.clip === m.clip && r.segment === m.segment);
    for (const [k, r] of get("found").entries()) if (k === n || key(r) === `${m.clip}\n${m.segment}`) rows()[k]?.querySelector(".vl-picture").replaceWith(image(r));
  }
  ownKeys(root, e => {
    if (e.ctrlKey || e.metaKey || e.altKey) return false;
    const all = rows(), at = all.indexOf(document.activeElement);
    if (e.target === words) {
      if (e.key === "Enter") { ask(); return true; }
      if (e.key === "Escape" && (words.value || all.length)) { clear(); return true; }
      if (e.key === "ArrowDown" && all.length && words.value.trim() === get("asked")) { all[0].focus(); return true; }
      return false;
    }
    if (at < 0) return false;
    if (e.key === "Escape") { clear(); return true; }
    if (e.key === "ArrowDown" || e.key === "ArrowUp") { (all[at + (e.key === "ArrowDown" ? 1 : -1)] || (at ? all[at] : words)).focus(); return true; }
    if (e.key === "Home" || e.key === "End") { all.at(e.key === "Home" ? 0 : -1).focus(); return true; }
    return false;
  });
  const listen = [["change:found", draw], ["change:said", told], ["change:busy", told], ["change:doubt", told], ["change:asked", told], ["change:why", told],
    ["change:where", () => { where.value = get("where"); }], ["change:places", choices], ["msg:custom", arrived]];
  for (const [k, f] of listen) model.on(k, f);
  const plain = theme(root), watched = watchKernel(model, root);
  words.value = get("asked");
  choices();
  draw();
  return () => {
    for (const [k, f] of listen) model.off(k, f);
    plain();
    watched();
    for (const u of pictures.values()) if (u) URL.revokeObjectURL(u);
  };
}
export default { render };
