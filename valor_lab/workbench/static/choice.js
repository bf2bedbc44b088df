// Which methods are compared, with which base, by which score, against which truth. See `Choice` in valor_lab.workbench.
function render({ model, el }) {
  const get = k => model.get(k), put = (k, v) => { model.set(k, v); model.save_changes(); };
  const boxes = h("div", { class: "vl-bar-of-buttons", role: "group" }), label = h("span", { class: "vl-quiet" });
  const choose = (cls, name, what) => h("select", { class: cls, "aria-label": what, onchange: e => put(name, e.target.value) });
  const base = choose("vl-base-method", "base", "the method that the others are compared with");
  const key = choose("vl-key", "key", "the score by which methods are compared"), truth = choose("vl-truth", "truth", "what counts as the truth");
  const note = h("div", { class: "vl-quiet", role: "status" });
  const root = h("div", { class: "vl", style: "padding:4px 2px" }, h("div", { class: "vl-bar-of-buttons" }, label, boxes, base, key, truth), note);
  el.append(root);
  const title = o => get("titles")[o] || o;
  function fill(select, options, value, hidden) {
    fillSelect(select, options, value);
    select.hidden = hidden;
  }
  function draw() {
    label.textContent = get("label");
    boxes.setAttribute("aria-label", get("label"));
    const held = boxes.contains(document.activeElement) ? document.activeElement.dataset.name : null, chosen = get("chosen");
    const turned = o => get("options").filter(x => x === o ? !chosen.includes(o) : chosen.includes(x));
    boxes.replaceChildren(...get("options").map(o => h("button", { text: title(o), title: o, "data-name": o, "aria-pressed": chosen.includes(o),
      onclick: () => put("chosen", turned(o)) })));
    if (held) boxes.querySelector(`[data-name="${CSS.escape(held)}"]`)?.focus();
    const now = get("options").filter(o => chosen.includes(o));
    fill(base, now.map(o => [o, `against ${title(o)}`]), now.includes(get("base")) ? get("base") : now[0], now.length < 2);
    fill(key, get("scores").map(([k, words]) => [k, words]), get("key"), !get("scores").length);
    fill(truth, get("truths").map(t => [t, `truth: ${t}`]), get("truth"), get("truths").length < 2);
    note.textContent = get("note");
    note.hidden = !get("note");
  }
  const names = ["label", "options", "titles", "chosen", "base", "scores", "key", "truths", "truth", "note"];
  for (const n of names) model.on("change:" + n, draw);
  const watched = watchKernel(model, root);
  const plain = theme(root);
  ownKeys(root, () => false);
  draw();
  return () => { for (const n of names) model.off("change:" + n, draw); plain(); watched(); };
}
export default { render };
