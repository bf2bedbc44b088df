// The hand and the keyboard: a click seeks, a drag loops, and what each key does.
const KEYS = "space plays · ← → a segment · shift ← → a border of an event · n p clip · s speed · l loop off · "
  + "click seeks, drag loops";

function handOf(p) {
  const { axis, put } = p, track = e => !e.button && e.target.closest(".vl-track") && !e.target.closest(".vl-edit");
  axis.addEventListener("pointerdown", e => {
    if (!track(e)) return;
    const a = p.fraction(e), x0 = e.clientX, d = p.seconds();
    let drag = null;
    p.root.focus({ preventScroll: true });
    e.preventDefault();
    axis.setPointerCapture(e.pointerId);
    const move = m => {
      if (!drag && Math.abs(m.clientX - x0) < 5) return;
      const b = p.fraction(m);
      drag = [Math.min(a, b) * d, Math.max(a, b) * d];
      p.marked(Math.min(a, b), Math.max(a, b));
    };
    const up = () => {
      stop();
      if (!drag || drag[1] - drag[0] <= .05) { p.drawSpan(); p.seek(a * d); return; }
      put("span", drag.map(x => Math.round(x * 100) / 100));
      p.seek(drag[0]);
    };
    const stop = dragging(axis, move, up);
  });
}

function keysOf(p) {
  const { model, get, put } = p;
  const walk = dir => {                                  // to the next border of a segment
    const s = p.segment();
    p.seek(dir > 0 ? (Math.floor(p.now / s + 1e-6) + 1) * s : (Math.ceil(p.now / s - 1e-6) - 1) * s);
  };
  const jump = dir => {                                  // to the next border of an event
    const b = p.borders();
    p.seek(dir > 0 ? b.find(x => x > p.now + .01) ?? p.seconds() : b.findLast(x => x < p.now - .01) ?? 0);
  };
  const speed = by => put("speed", SPEEDS[(SPEEDS.indexOf(get("speed")) + by + SPEEDS.length) % SPEEDS.length]);
  const step = by => { if (by > 0 ? p.after() : p.before()) model.send({ do: "step", by }); };
  const arrows = dir => e => e.shiftKey ? jump(dir) : walk(dir);
  const plain = {
    ArrowRight: arrows(1), ArrowLeft: arrows(-1), Home: () => p.seek(0), End: () => p.seek(p.seconds()),
    n: () => step(1), p: () => step(-1), s: () => speed(1), S: () => speed(-1), l: () => put("span", null),
    e: () => { if (!p.edit.disabled) put("editing", !get("editing")); },
  };
  const withControl = { z: e => e.shiftKey ? "redo" : "undo", y: () => "redo", s: () => "save" };     // while labels are edited

  p.keys.textContent = KEYS;
  ownKeys(p.root, e => {
    if (typing(e) || e.altKey) return false;
    if (e.ctrlKey || e.metaKey) {
      const does = get("editing") && withControl[e.key.toLowerCase()];
      if (does) model.send({ do: does(e) });
      return Boolean(does);
    }
    if (e.key === " ") { if (e.target.closest("button, a, input")) return false; p.toggle(); return true; }
    plain[e.key]?.(e);
    return e.key in plain;
  });
}
