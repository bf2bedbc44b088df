// The map: the whole clip in one narrow row, with a pane around the part that is in view. What is right stands below, what is a false
// alarm or missed above, so that a single wrong segment among four hundred is found at a glance.
const TALL = 16;

function mapOf(p) {
  const { get, map, pane, mapTrack } = p;

  p.drawMap = () => {
    const w = mapTrack.clientWidth || 600, pen = sized(map, w, TALL);
    for (const lane of get("lanes")) {
      if (lane.kind === "weak" || lane.kind === "truth") continue;
      const n = lane.cells.length;
      pen.fillStyle = css(p.root, `--vl-${lane.modality.replace("_", "-")}`) || css(p.root, "--vl-quiet");
      for (const { from, to, kind } of intervals(lane.cells)) {
        if (kind === "x") continue;
        const wrong = kind === "f" || kind === "m", wide = Math.max(w * (to - from) / n, wrong ? 3 : 1);
        pen.fillRect(clamp(w * (from + to) / 2 / n - wide / 2, 0, w - wide), wrong ? 1 : TALL / 2 + 1, wide, TALL / 2 - 2);
      }
    }
  };
  p.drawPane = () => {
    p.mapRow.hidden = p.zoom === 1 && (p.clip().n_segments || 1) <= 60;
    pane.style.left = 100 * p.from + "%";
    pane.style.width = 100 / p.zoom + "%";
    p.farther.disabled = p.whole.disabled = p.zoom === 1;
    p.follows.hidden = p.zoom === 1;
    p.zoomBar.hidden = p.zoom === 1 && (p.clip().n_segments || 1) <= 20;      // a short clip needs no buttons; keys and wheel are there
    if (!p.mapRow.hidden) p.drawMap();
  };
  mapTrack.addEventListener("pointerdown", e => {        // a press goes there, a drag carries the pane along
    if (e.button) return;
    const b = mapTrack.getBoundingClientRect(), go = m => p.look((m.clientX - b.left) / b.width - .5 / p.zoom, p.zoom);
    e.preventDefault();
    mapTrack.setPointerCapture(e.pointerId);
    const stop = dragging(e, go, () => stop());
    go(e);
  });
  p.listen.push(["change:lanes", () => { if (!p.mapRow.hidden) p.drawMap(); }]);
}
