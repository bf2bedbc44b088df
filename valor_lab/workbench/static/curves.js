// Learning curves: several runs over one another, with the values under the pointer, smoothing, and a logarithmic axis.
const DASHES = [[], [5, 3], [1.5, 3], [8, 3, 2, 3]];

// A running mean that forgets (as TensorBoard's): each value counts `1 - keep`, what came before `keep`; missing values are passed over.
function smooth(y, keep) {
  let mean = 0, weight = 0;
  return y.map(v => {
    if (!Number.isFinite(v)) return null;
    mean = keep * mean + (1 - keep) * v;
    weight = keep * weight + (1 - keep);
    return mean / weight;
  });
}

// One plot: `{ title, lines: [{ name, x, y }] }`; `view` holds `keep` (0: as measured) and `log`.
function curvePlot(root, data, view) {
  const canvas = h("canvas", { class: "vl-curve", role: "img", tabindex: 0, "data-points": data.lines.reduce((n, l) => n + l.y.length, 0),
    "aria-label": `${data.title} by epoch: ` + data.lines.map(l => `${l.name} ${l.y.at(-1)}`).join(", ") });
  const hover = h("div", { class: "vl-hover", hidden: true }), box = h("div", { class: "vl-plot" }, canvas, hover);
  const H = 190, L = 46, T = 20, B = H - 18;
  let at = null;                                         // the epoch under the pointer
  const shown = data.lines.map(l => ({ ...l, s: view.keep ? smooth(l.y, view.keep) : l.y }));
  const xs = shown.flatMap(l => l.x), ok = v => Number.isFinite(v) && (!view.log || v > 0), ys = shown.flatMap(l => [...l.y, ...l.s]).filter(ok);
  const x0 = Math.min(...xs), x1 = Math.max(...xs), f = view.log ? Math.log : v => v, y0 = Math.min(...ys), y1 = Math.max(...ys);
  const figure = v => Math.abs(v) >= 1000 || (v !== 0 && Math.abs(v) < .01) ? v.toExponential(1) : v.toPrecision(3);

  function draw() {
    const w = canvas.clientWidth || 320, R = w - 8, g = sized(canvas, w, H), ink = css(root, "--vl-ink"), quiet = css(root, "--vl-quiet");
    const X = x => L + (R - L) * (x1 > x0 ? (x - x0) / (x1 - x0) : .5), Y = y => B - (B - T) * (y1 > y0 ? (f(y) - f(y0)) / (f(y1) - f(y0)) : .5);
    g.font = "11px system-ui, sans-serif"; g.fillStyle = ink; g.textAlign = "left";
    g.fillText(data.title + (view.log ? ", log" : ""), L, 12);
    g.fillStyle = quiet; g.textAlign = "right";
    if (ys.length) { g.fillText(figure(y1), L - 4, T + 4); g.fillText(figure(y0), L - 4, B); }
    g.textAlign = "left"; g.fillText(`epoch ${x0}`, L, H - 4);
    g.textAlign = "right"; if (x1 > x0) g.fillText(String(x1), R, H - 4);
    g.strokeStyle = css(root, "--vl-line"); g.strokeRect(L, T, R - L, B - T);
    const ends = shown.map(l => l.s.findLast(ok)).filter(ok), high = ends.some(v => Y(v) < (T + B) / 2);
    const path = (x, y) => { let pen = false; g.beginPath(); x.forEach((v, k) => { if (!ok(y[k])) { pen = false; return; } g[pen ? "lineTo" : "moveTo"](X(v), Y(y[k])); pen = true; }); g.stroke(); };
    shown.forEach((l, i) => {
      g.setLineDash(DASHES[i % 4]); g.strokeStyle = g.fillStyle = i % 2 ? quiet : ink;
      if (view.keep) { g.globalAlpha = .28; g.lineWidth = 1; path(l.x, l.y); g.globalAlpha = 1; }
      g.lineWidth = 1.6; path(l.x, l.s);
      if (l.x.length === 1 && ok(l.s[0])) { g.beginPath(); g.arc(X(l.x[0]), Y(l.s[0]), 3, 0, 7); g.fill(); }
      const y = high ? B - 6 - 13 * (shown.length - 1 - i) : T + 13 + 13 * i;         // where the lines do not end
      if (y < B && y > T + 8) { g.textAlign = "right"; g.fillText(l.name, R - 26, y); g.beginPath(); g.moveTo(R - 22, y - 4); g.lineTo(R - 4, y - 4); g.stroke(); }
    });
    g.setLineDash([]);
    if (at === null) return;
    g.strokeStyle = css(root, "--vl-head"); g.lineWidth = 1; g.beginPath(); g.moveTo(X(at), T); g.lineTo(X(at), B); g.stroke();
    hover.style.left = `${clamp(X(at) + (X(at) > w / 2 ? -10 : 10), 0, w)}px`;
    hover.style.transform = X(at) > w / 2 ? "translateX(-100%)" : "";
  }
  function point(epoch) {
    at = epoch === null ? null : clamp(Math.round(epoch), x0, x1);
    hover.hidden = at === null;
    if (at !== null) {
      const line = l => { const k = l.x.indexOf(at), v = k < 0 ? null : l.s[k]; return `${l.name}  ${Number.isFinite(v) ? +v.toFixed(4) : "–"}`; };
      hover.textContent = [`epoch ${at}`, ...shown.map(line)].join("\n");
    }
    draw();
  }
  canvas.addEventListener("pointermove", e => { const b = canvas.getBoundingClientRect(), w = b.width - 8 - L; point(x0 + (e.clientX - b.left - L) / w * (x1 - x0)); });
  canvas.addEventListener("pointerleave", () => point(null));
  canvas.addEventListener("blur", () => point(null));
  canvas.addEventListener("keydown", e => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (by) { point((at ?? (by > 0 ? x0 - 1 : x1 + 1)) + by); e.preventDefault(); }
  });
  requestAnimationFrame(draw);
  const again = (epoch, held) => { if (held) canvas.focus({ preventScroll: true }); if (epoch !== null) point(epoch); };
  Object.assign(box, { redraw: draw, of: data.title, pointed: () => at, again });
  return box;
}
