// Which labelings are compared, and by which score. See `Choice` in valor_lab.widgets.
function render({ model, el }) {
  const get = k => model.get(k), put = (k, v) => { model.set(k, v); model.save_changes(); };
  const boxes = h("div", { class: "vl-bar-of-buttons", role: "group" }), label = h("span", { class: "vl-quiet" });
  const key = h("select", { class: "vl-key", "aria-label": "the score by which pairs are compared", onchange: () => put("key", key.value) });
  const truth = h("select", { class: "vl-truth", "aria-label": "what counts as the truth", onchange: () => put("truth", truth.value) });
  const note = h("div", { class: "vl-quiet", role: "status" });
  const root = h("div", { class: "vl", style: "padding:4px 2px" }, h("div", { class: "vl-bar-of-buttons" }, label, boxes, truth, key), note);
  el.append(root);
  function draw() {
    label.textContent = get("label"); boxes.setAttribute("aria-label", get("label"));
    const held = document.activeElement?.dataset?.name;
    boxes.replaceChildren(...get("options").map(o => h("button", { text: o, "data-name": o, "aria-pressed": get("chosen").includes(o), onclick: () => put("chosen", get("options").filter(x => x === o ? !get("chosen").includes(o) : get("chosen").includes(x))) })));
    if (held) boxes.querySelector(`[data-name="${CSS.escape(held)}"]`)?.focus();
    key.replaceChildren(...get("scores").map(([k, words]) => h("option", { value: k, text: `pairs by ${words}` }))); key.value = get("key"); key.hidden = !get("scores").length;
    truth.replaceChildren(...get("truths").map(t => h("option", { value: t, text: `against ${t}` }))); truth.value = get("truth"); truth.hidden = get("truths").length < 2;
    note.textContent = get("note"); note.hidden = !get("note");
  }
  const names = ["label", "options", "chosen", "scores", "key", "truths", "truth", "note"];
  for (const n of names) model.on("change:" + n, draw);
  const watched = watchKernel(model, root);
  const plain = theme(root);
  ownKeys(root, () => false);
  draw();
  return () => { for (const n of names) model.off("change:" + n, draw); plain(); watched(); };
}
export default { render };
