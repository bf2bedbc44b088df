// The hand and the keyboard: a click seeks, a drag loops or zooms, and what each key does.
const KEYS = [["space", "play, pause"], ["← →", "a segment back, forth"], ["shift ← →", "to a border of an event"],
  [", .", "a frame back, forth"],
  ["home, end", "to the beginning, the end"], ["n p", "next clip that is not done, previous clip"],
  ["d", "done, and the next one", "edits"], ["shift d", "doubtful", "edits"], ["s, shift s", "faster, slower"], ["m", "mute"],
  ["l", "loop off"], ["+ − 0", "zoom in, out, whole clip"],
  ["e", "edit labels", "edits"], ["1 … 9", "paint a lane at the playhead; with shift: erase", "edits"],
  ["ctrl z, ctrl y", "undo, redo a stroke", "edits"], ["ctrl s", "save the strokes", "edits"], ["?", "these keys"],
  ["click", "seek"], ["drag on pictures or lanes", "loop a span"], ["drag on the seconds, ctrl wheel", "zoom"]];

function handOf(p) {
  const { axis, put } = p, track = e => !e.button && e.target.closest(".vl-track") && !e.target.closest(".vl-edit");
  axis.addEventListener("pointerdown", e => {
    if (!track(e)) return;
    const a = p.fraction(e), x0 = e.clientX, d = p.seconds(), zooms = e.target.closest(".vl-ticks");
    let drag = null;
    p.root.focus({ preventScroll: true });
    e.preventDefault();
    axis.setPointerCapture(e.pointerId);
    const move = m => {
      if (!drag && Math.abs(m.clientX - x0) < 5) return;
      const b = p.fraction(m);
      drag = [Math.min(a, b), Math.max(a, b)];
      p.marked(...drag);
    };
    const up = () => {
      stop();
      p.drawSpan();
      if (!drag || (drag[1] - drag[0]) * d <= .05) return p.seek(a * d);
      if (zooms) return p.look(drag[0], 1 / (drag[1] - drag[0]));
      put("span", drag.map(x => Math.round(x * d * 100) / 100));
      p.seek(drag[0] * d);
    };
    const stop = dragging(e, move, up, () => { stop(); p.drawSpan(); });
  });
  p.ticks.addEventListener("dblclick", () => p.look(0, 1));
  axis.addEventListener("wheel", e => {
    if (e.ctrlKey || e.metaKey) p.zoomBy(Math.exp(-e.deltaY / 300), p.fraction(e));
    else if (p.zoom === 1 || !e.shiftKey && Math.abs(e.deltaX) <= Math.abs(e.deltaY)) return;
    else p.look(p.from + (e.deltaX || e.deltaY) / 1500 / p.zoom, p.zoom);
    e.preventDefault();
  }, { passive: false });
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
  const frame = dir => { p.toggle(false); p.seek((Math.floor(p.now * p.fps + .05) + dir) / p.fps + .001); };
  const speed = by => put("speed", SPEEDS[(SPEEDS.indexOf(get("speed")) + by + SPEEDS.length) % SPEEDS.length]);
  const step = by => { if (by > 0 ? p.after() : p.before()) model.send({ do: "step", by }); };
  const arrows = dir => e => e.shiftKey ? jump(dir) : walk(dir);
  const plain = {
    ArrowRight: arrows(1), ArrowLeft: arrows(-1), Home: () => p.seek(0), End: () => p.seek(p.seconds()),
    ",": () => frame(-1), ".": () => frame(1), n: () => get("done")?.words ? model.send({ do: "open_next" }) : step(1), p: () => step(-1),
    d: () => p.markAs("done_next"), D: () => p.markAs("mark", "doubtful"), s: () => speed(1), S: () => speed(-1),
    l: () => put("span", null), m: () => put("muted", !get("muted")),
    "+": () => p.zoomBy(2), "=": () => p.zoomBy(2), "-": () => p.zoomBy(1 / 2), "−": () => p.zoomBy(1 / 2), 0: () => p.look(0, 1),
    e: () => { if (!p.edit.disabled) put("editing", !get("editing")); },
    "?": () => p.help(), Escape: () => { if (!p.helpBox.hidden) p.help(); },
  };
  const withControl = {                                  // while labels are edited
    z: e => p.asks(e.shiftKey ? "redo" : "undo"), y: () => p.asks("redo"), s: () => p.asks("save"),
  };

  const known = KEYS.filter(k => !(k[2] && get("shared")));      // a shared page is looked at
  p.helpBox.append(...known.flatMap(([k, what]) => [h("dt", { text: k }), h("dd", { text: what })]));
  p.help = () => {
    p.helpBox.hidden = !p.helpBox.hidden;
    p.helpButton.setAttribute("aria-expanded", !p.helpBox.hidden);
    if (!p.helpBox.hidden) p.said.textContent = known.map(k => `${k[0]}: ${k[1]}`).join("; ");
  };
  ownKeys(p.root, e => {
    if (typing(e) || e.altKey) return false;
    if (e.ctrlKey || e.metaKey) {
      const does = get("editing") && withControl[e.key.toLowerCase()];
      if (does) does(e);
      return Boolean(does);
    }
    if (e.target.matches("input[type=range]") && e.key.startsWith("Arrow")) return false;
    if (e.key === " ") { if (e.target.closest("button, a, input")) return false; p.toggle(); return true; }
    const digit = /^Digit([1-9])$/.exec(e.code)?.[1];
    if (digit) { p.strike(+digit, !e.shiftKey); return true; }
    plain[e.key]?.(e);
    return e.key in plain;
  });
}
