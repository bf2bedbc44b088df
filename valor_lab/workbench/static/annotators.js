// Two labelings: which they are, over which clips, and how they become a third. See `AnnotatorsBench` in valor_lab.workbench.
const TAKES = { first: "the first", second: "the second", either: "either is enough", both: "both must say it" };

function render({ model, el }) {
  const get = k => model.get(k), put = (k, v) => { model.set(k, v); model.save_changes(); };
  const choose = (cls, label, name) => h("select", { class: cls, "aria-label": label, onchange: e => put(name, e.target.value) });
  const first = choose("vl-first", "the first labeling", "first"), second = choose("vl-second", "the second labeling", "second");
  const over = choose("vl-pair-over", "the clips that count", "over");
  const rule = h("select", { class: "vl-rule", "aria-label": "the rule where nothing is decided", onchange: () => model.send({ do: "rule", rule: rule.value }) });
  const target = h("span", { class: "vl-target" }), takes = h("span", { class: "vl-bar-of-buttons", role: "group" });
  const name = h("input", { class: "vl-agreed-name", "aria-label": "the name of the third labeling", onchange: () => put("name", name.value.trim()),
    onkeydown: e => { if (e.key === "Enter") resolve(); } });
  const make = h("button", { class: "vl-resolve", text: "resolve", onclick: resolve });
  const kind = h("select", { class: "vl-kind", "aria-label": "format of the export" });
  const out = h("button", { class: "vl-export-agreed", text: "export", onclick: () => model.send({ do: "export", kind: kind.value }) });
  const said = h("p", { class: "vl-quiet vl-pair-said", role: "status" });
  const line = (...kids) => h("div", { class: "vl-bar-of-buttons" }, ...kids), word = text => h("span", { class: "vl-quiet", text });
  const root = h("div", { class: "vl vl-pair", role: "group", "aria-label": "two annotators" }, h("h3", { text: "Two annotators", "aria-level": 2 }),
    line(first, word("and"), second, word("over the clips"), over), line(word("take of"), target, word(":"), takes),
    line(word("where nothing is decided:"), rule, word("save as"), name, make, kind, out), said);
  el.append(root);

  function resolve() { model.send({ do: "resolve", name: name.value }); }
  const take = (value, text) => h("button", { text, "data-take": value, "aria-pressed": get("taken") === value, onclick: () => model.send({ do: "take", rule: value }) });
  function draw() {
    const names = get("names").map(n => [n, n]), words = r => TAKES[r] || r;
    fillSelect(first, names, get("first"));
    fillSelect(second, names, get("second"));
    fillSelect(over, get("overs"), get("over"));
    fillSelect(rule, get("rules").map(r => [r, words(r)]), get("rule"));
    const held = takes.contains(document.activeElement) ? document.activeElement.dataset.take : null;
    takes.setAttribute("aria-label", `what is taken of ${get("target")}`);
    takes.replaceChildren(...get("rules").map(r => take(r, words(r))), take("", "by the rule"));
    if (held !== null) takes.querySelector(`[data-take="${CSS.escape(held)}"]`)?.focus();
    target.textContent = get("target");
    if (document.activeElement !== name) name.value = get("name");
    if (kind.options.length !== get("kinds").length) fillSelect(kind, get("kinds"), get("kinds")[0]?.[0]);
    out.disabled = !get("resolved");
    said.textContent = get("said");
    said.hidden = !get("said");
  }
  const names = ["names", "first", "second", "overs", "over", "rules", "rule", "target", "taken", "name", "kinds", "resolved", "said"];
  for (const n of names) model.on("change:" + n, draw);
  const plain = theme(root), watched = watchKernel(model, root);
  ownKeys(root, () => false);
  draw();
  return () => { for (const n of names) model.off("change:" + n, draw); plain(); watched(); };
}
export default { render };
