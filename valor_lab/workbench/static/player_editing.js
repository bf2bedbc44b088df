// Editing: a press on an empty segment paints, on a filled one erases, near a border drags that border. Python keeps the strokes.
const UNTOUCHED = "The labels themselves stay as they are: corrections are kept beside them under a name of their own.";

function editingOf(p) {
  const { model, get } = p;
  let fields = null, named = null;                       // what stands in the editor, and the correction it was filled in for

  p.editable = (track, lane) => {
    const n = lane.cells.length, cell = f => clamp(Math.floor(f * n), 0, n - 1);
    const filled = i => i >= 0 && i < n && !".mx".includes(lane.cells[i]);
    const seen = p.clip().id;                            // the stroke is this clip's, whichever is open when it is done
    const change = (from, to, value) => {
      if (to > from) model.send({ do: "paint", clip: seen, name: lane.name, event: lane.event, modality: lane.modality, from, to, value });
    };
    const border = f => {
      const b = Math.round(f * n), near = Math.abs(f * n - b) * track.clientWidth * p.zoom / n < 6;
      return near && filled(b - 1) !== filled(b) ? b : null;
    };
    const cursor = e => border(p.fraction(e)) === null ? "cell" : "ew-resize";
    track.addEventListener("pointermove", e => { if (!e.buttons) track.style.cursor = cursor(e); });
    track.addEventListener("pointerdown", e => {
      if (e.button) return;
      e.preventDefault();
      track.focus({ preventScroll: true });
      track.setPointerCapture(e.pointerId);
      p.drawing = true;                                  // lanes that come meanwhile wait until the hand lets go
      const f0 = p.fraction(e), b0 = border(f0), first = cell(f0), on = !filled(first), draft = h("i", { class: "vl-draft" });
      let todo = null;
      const move = m => {
        if (b0 !== null) {
          const b = clamp(Math.round(p.fraction(m) * n), 0, n);
          todo = [Math.min(b, b0), Math.max(b, b0), filled(b0 - 1) ? b > b0 : b < b0];
        } else {
          const c = cell(p.fraction(m));
          todo = [Math.min(first, c), Math.max(first, c) + 1, on];
        }
        draft.classList.toggle("vl-erase", !todo[2]);
        draft.style.setProperty("--a", todo[0] / n);
        draft.style.setProperty("--b", todo[1] / n);
      };
      const end = () => { stop(); draft.remove(); p.drawing = p.letGo = null; p.drawLanes(); };
      p.letGo = () => { change(...todo); end(); };
      const stop = dragging(e, move, p.letGo, end);
      track.append(draft);
      move(e);
    });
    track.addEventListener("keydown", e => {
      if (e.key !== "Enter") return;
      const i = cell(p.now / p.seconds());
      change(i, i + 1, !filled(i));
      e.preventDefault();
      e.stopPropagation();
    });
  };

  // what is open, under which name, and whether it is safe
  p.asks = what => model.send(what === "save" && fields ? { do: what, name: fields.name.value, who: fields.who.value } : { do: what });
  p.strike = (number, value) => {                        // a number key: the segment under the playhead, in the lane of that number
    const at = clamp(Math.floor(p.now / p.segment() + 1e-6), 0, p.clip().n_segments - 1), clip = p.clip().id;
    const lane = get("editing") && get("lanes").find(l => l.number === number);
    if (!lane) return model.send({ do: "strike", number, at, value, clip });
    model.send({ do: "paint", clip, name: lane.name, event: lane.event, modality: lane.modality, from: at, to: at + 1, value });
  };
  function build(s) {
    const field = (label, input) => h("label", {}, label, input);
    const button = (cls, text, does) => h("button", { class: cls, text, onclick: does }), asks = what => () => p.asks(what);
    const base = h("select", { class: "vl-base", "aria-label": "the labels that are corrected" },
      ...s.bases.map(x => h("option", { value: x, text: x })));
    const name = h("input", { class: "vl-overlay-name", oninput: drawEditor }), who = h("input", { class: "vl-who" });
    const open = () => model.send({ do: "correct", base: base.value, name: name.value, who: who.value });
    base.value = s.base || s.bases[0]; name.value = s.name || "corrected"; who.value = s.who || "";
    fields = { base, name, who, undo: button("vl-undo", "undo", asks("undo")), redo: button("vl-redo", "redo", asks("redo")),
      save: button("vl-save", "save", asks("save")), out: button("vl-export", "write CSV", asks("export")),
      text: h("p", { class: "vl-correction", role: "status" }), safe: h("span", { class: "vl-quiet vl-safe" }) };
    p.editor.replaceChildren(h("div", { class: "vl-bar-of-buttons" }, field("correct", base), field("saved as", name), field("by", who),
      button("vl-start", "open", open), fields.undo, fields.redo, fields.save, fields.out, fields.safe), fields.text);
  }
  function drawEditor() {
    const open = get("editing"), s = get("correction");
    p.editor.hidden = !open;
    p.edit.setAttribute("aria-pressed", open);
    p.edit.disabled = !open && !s.bases?.length;
    if (!open) { p.editor.replaceChildren(); fields = named = null; return; }
    if (!fields) build(s);
    if (s.name && s.name !== named) {                    // another correction is open: the fields are its own
      [named, fields.name.value, fields.who.value] = [s.name, s.name, s.who];
      if (s.bases.includes(s.base)) fields.base.value = s.base;
    }
    const renamed = Boolean(s.name) && fields.name.value !== s.name;
    fields.undo.disabled = !s.can_undo;
    fields.redo.disabled = !s.can_redo;
    fields.save.disabled = !s.unsaved && !renamed;
    fields.save.textContent = renamed ? "save under this name" : "save";
    fields.out.disabled = !s.name || s.unsaved || renamed;
    fields.text.textContent = s.message || UNTOUCHED;
    drawSafe();
  }
  function drawSafe() {
    if (!fields) return;
    const s = get("correction"), ago = s.saved_at ? Math.max(0, Math.round(Date.now() / 1000 - s.saved_at)) : null;
    const text = ago < 90 ? `${ago} s` : ago < 5400 ? `${Math.round(ago / 60)} min` : `${Math.round(ago / 3600)} h`;
    fields.safe.title = s.unsaved ? "every stroke is kept on the disk, and offered again after a reload" : "";
    fields.safe.textContent = !s.name ? "" : s.unsaved ? "not saved" : ago === null ? "" : `saved ${text} ago`;
  }
  function drawLeft() {                                  // what was not saved when a page or a kernel went away
    const left = get("left") || [], many = n => `${n} stroke${n === 1 ? "" : "s"}`;
    const clockwork = { dateStyle: "medium", timeStyle: "short" }, at = s => new Date(s.when);
    const when = s => isNaN(at(s)) ? "" : ` on ${at(s).toLocaleString("en-GB", clockwork)}`;
    const press = (s, does, text) => h("button", { "data-left": does, text,
      onclick: () => model.send({ do: does, name: s.name, who: s.who }) });
    p.left.hidden = !left.length;
    p.left.replaceChildren(...left.map(s => h("p", { class: "vl-note" },
      h("span", { text: `“${s.name}” by ${s.who}: ${many(s.strokes)} over ${s.base}, kept${when(s)} and not saved yet. ` }),
      press(s, "take_left", "go on with them"), press(s, "forget_left", "forget them"))));
  }
  const clock = setInterval(drawSafe, 1000), waits = () => get("correction").unsaved || get("correction").elsewhere?.length;
  const stay = warnOfLoss(p.root, waits);
  p.listen.push(["change:editing", drawEditor], ["change:correction", drawEditor], ["change:left", drawLeft]);
  p.begin.push(drawEditor, drawLeft);
  p.end.push(() => { clearInterval(clock); stay(); });
}
