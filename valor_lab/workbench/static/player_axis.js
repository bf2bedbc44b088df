// The axis: which part of the clip is in view, and what lies where on it. Bars carry their ends as fractions of the clip (`--a`,
// `--b`) and the axis carries the view (`--from`, `--zoom`), so that zooming changes two numbers and no element.
const STEPS = [.01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600];

function axisOf(p) {
  const { get, axis, ticks } = p;
  p.from = 0;                                            // the left end of the view, as a fraction of the clip
  p.zoom = 1;                                            // 1: the whole clip

  p.x = f => (f - p.from) * p.zoom;                      // fraction of the clip -> fraction of the track
  p.fraction = e => {                                    // a pointer -> fraction of the clip
    const b = ticks.getBoundingClientRect();
    return clamp(p.from + (e.clientX - b.left) / b.width / p.zoom, 0, 1);
  };
  p.look = (from, zoom) => {                             // other ends of the view
    p.zoom = clamp(zoom, 1, Math.max(1, p.clip().n_segments || 1, p.seconds()));
    p.from = clamp(from, 0, 1 - 1 / p.zoom);
    axis.style.setProperty("--from", p.from);
    axis.style.setProperty("--zoom", p.zoom);
    p.root.dataset.zoom = p.zoom.toFixed(2);
    for (const draw of [drawTicks, drawSpan, p.drawMedia, p.drawPane, p.paint]) draw();
  };
  p.zoomBy = (k, about = p.now / p.seconds()) => {       // what is `about` stays where it is, if it is in view
    const x = clamp(p.x(about), 0, 1), zoom = p.zoom * k;
    p.look(about - x / Math.max(1, zoom), zoom);
  };
  p.reveal = t => {                                      // bring a second into view, where it is not
    const x = p.x(t / p.seconds());
    if (x < 0 || x > 1) p.look(t / p.seconds() - .1 / p.zoom, p.zoom);
  };
  p.follow = t => { if (p.following && p.zoom > 1 && p.x(t / p.seconds()) > 1) p.reveal(t); };
  p.followed = on => { p.following = on; p.follows.setAttribute("aria-pressed", on); };

  function drawTicks() {
    const d = p.seconds(), seen = d / p.zoom, step = STEPS.find(s => seen / s <= 12) || STEPS.at(-1), first = p.from * d;
    const marks = [];
    for (let k = Math.ceil(first / step - 1e-6); k * step <= first + seen + 1e-6; k++) marks.push(k * step);
    if (p.zoom === 1 && d - marks.at(-1) > step / 2) marks.push(d);
    ticks.replaceChildren(...marks.map(t => h("span", { text: String(+t.toFixed(2)), style: `left:${100 * p.x(t / d)}%` })));
    ticks.setAttribute("aria-valuemax", d);
  }
  function drawSpan() {
    const s = get("span"), d = p.seconds();
    p.span.hidden = p.loop.hidden = !s;
    if (!s) return;
    p.marked(s[0] / d, s[1] / d);
    p.loop.textContent = `loop ${s[0].toFixed(2)}–${s[1].toFixed(2)} s off`;
  }
  p.marked = (a, b) => {                                 // the looped span, or the one that is being dragged
    const left = clamp(p.x(a), 0, 1), right = clamp(p.x(b), 0, 1);
    p.span.hidden = false;
    p.span.style.left = 100 * left + "%";
    p.span.style.width = 100 * (right - left) + "%";
  };
  Object.assign(p, { drawTicks, drawSpan });
  p.listen.push(["change:span", drawSpan]);
  p.begin.push(() => p.followed(true));
}
