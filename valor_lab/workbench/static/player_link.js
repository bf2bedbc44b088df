// A link to the view: a short code to copy, and a field to paste one into.
function linkOf(p) {
  const { model } = p;
  const field = h("input", { class: "vl-code", spellcheck: "false", autocomplete: "off",
    "aria-label": "link to this view: copy it, or paste another one",
    onkeydown: e => { if (e.key === "Enter") go(); } });
  const said = h("span", { class: "vl-quiet vl-link-said", role: "status" });
  const take = async () => { said.textContent = await toClipboard(field.value) ? "copied" : "this browser does not let pages copy"; };
  const copy = h("button", { class: "vl-link-copy", text: "copy", onclick: take });
  const there = h("button", { class: "vl-link-go", text: "open", onclick: () => go() });
  const go = () => { said.textContent = "…"; model.send({ do: "go", code: field.value }); };
  p.linkBox.append(field, copy, there, said);
  p.link = () => {
    p.linkBox.hidden = !p.linkBox.hidden;
    p.linkButton.setAttribute("aria-expanded", !p.linkBox.hidden);
    said.textContent = "";
    if (p.linkBox.hidden) return;
    field.value = "";
    model.send({ do: "link", at: p.now });
  };
  const arrived = m => {
    if (m.kind !== "link") return;
    if (m.code) { field.value = m.code; field.focus(); field.select(); }
    else said.textContent = m.reason || "opened";
  };
  p.listen.push(["msg:custom", arrived]);
}
