// Time: the one clock of the player. While playing, a frame moves one transform and paints two small canvases; nothing is laid
// out, and Python is told where the playhead is only when it stops or jumps, because a message makes the page around draw its status.
//
// Clip time is 0 where the clip begins to be presented and ends at `seconds()`. A file may begin elsewhere, and a clip may be a
// window of a long one: `toMedia` and `toClip` are the only two places that know.
function timeOf(p) {
  const { model, get, put, video, root } = p;
  let own = false, from = 0, began = 0, frame = 0, painted = 0, ink = {}, chipPen = null, clockPen = null;
  Object.assign(p, { now: 0, playing: false, fps: 25 });
  p.silent = false;                                      // there is no file that plays, and time passes all the same

  p.seconds = () => p.clip().duration || 1;
  p.segment = () => p.seconds() / (p.clip().n_segments || 1);
  const start = () => p.zero ?? p.clip().media?.start ?? 0;        // where the clip's zero lies in the time of its file
  p.toMedia = t => t + start();
  p.toClip = t => t - start();

  const wind = () => { from = p.now; began = performance.now(); };
  const where = () => p.silent ? from + (performance.now() - began) / 1000 * get("speed") : p.toClip(video.currentTime);
  const goFile = t => { video.currentTime = clamp(p.toMedia(t), 0, video.duration || p.toMedia(t)); };

  p.seek = (t, quiet = false) => {
    p.now = clamp(t, 0, p.seconds());
    if (p.silent) wind(); else if (video.readyState > 0) goFile(p.now);
    p.reveal(p.now);
    p.paint();
    announce();
    if (!quiet) tell();
  };
  p.toggle = (want = !p.playing) => {
    if (want === p.playing || (want && p.play.disabled)) return;
    const s = get("span");
    if (want && s && (p.now < s[0] || p.now >= s[1])) p.seek(s[0]);
    if (want && p.now >= p.seconds() - 0.02) p.seek(0);
    if (p.silent) return want ? run() : halt();
    if (want) video.play().catch(e => { p.said.textContent = String(e.message); }); else video.pause();
  };
  const sounding = e => { if (e.detail !== p) p.toggle(false); };        // one player sounds at a time
  window.addEventListener("vl-sounds", sounding);
  p.end.push(() => window.removeEventListener("vl-sounds", sounding));
  function run() {
    window.dispatchEvent(new CustomEvent("vl-sounds", { detail: p }));
    wind();
    p.playing = true;
    put("playing", true);
    p.button();
    frame = requestAnimationFrame(tick);
  }
  function halt() {
    p.stop();
    p.now = clamp(where(), 0, p.seconds());
    p.paint();
    announce();
    tell();
    put("playing", false);
    p.button();
  }
  p.stop = () => { p.playing = false; cancelAnimationFrame(frame); };
  p.winds = () => { p.now = clamp(p.now, 0, p.seconds()); wind(); };
  p.button = () => { p.play.textContent = p.playing ? "pause (space)" : "play (space)"; p.play.setAttribute("aria-pressed", p.playing); };

  function tick() {
    if (!p.playing) return;
    const begin = performance.now(), s = get("span");
    p.now = where();
    if (s && p.now >= s[1] - 0.01) { p.now = s[0]; if (p.silent) wind(); else goFile(p.now); }
    if (p.now >= p.seconds()) { if (p.silent) return halt(); if (video.duration > p.toMedia(p.seconds()) + .1) video.pause(); }
    p.follow(p.now);
    p.paint(begin - painted > 60);                       // the line moves in every frame, the digits some sixteen times a second
    if (begin - painted > 60) painted = begin;
    frame = requestAnimationFrame(tick);
    if (root.frames) root.frames.push(performance.now() - begin);
  }
  function tell() { own = true; model.set("time", Math.round(p.now * 1000) / 1000); own = false; model.save_changes(); }
  function announce() {
    p.ticks.setAttribute("aria-valuenow", p.now.toFixed(2));
    p.ticks.setAttribute("aria-valuetext", `${p.now.toFixed(2)} seconds of ${p.seconds().toFixed(2)}`);
  }
  p.announce = announce;

  // the playhead and its digits
  p.paint = (digits = true) => {
    const x = p.x(p.now / p.seconds());
    p.head.style.transform = `translateX(${100 * clamp(x, 0, 1)}%)`;
    p.head.style.visibility = x < -.0001 || x > 1.0001 ? "hidden" : "";
    if (!digits) return;
    const text = p.now.toFixed(2);
    chipPen.fillStyle = ink.head; chipPen.fillRect(0, 0, 46, 16);
    chipPen.fillStyle = ink.on; chipPen.font = "11px system-ui, sans-serif"; chipPen.textAlign = "center"; chipPen.fillText(text, 23, 12);
    clockPen.clearRect(0, 0, 130, 20);
    clockPen.fillStyle = ink.ink; clockPen.font = "13px system-ui, sans-serif";
    clockPen.fillText(`${text} of ${+p.seconds().toFixed(2)} s`, 0, 14);
  };
  p.pens = () => {                                       // again when the theme changes
    ink = { head: css(root, "--vl-head"), ink: css(root, "--vl-ink"), on: css(root, "--vl-card") };
    chipPen = sized(p.chip, 46, 16);
    clockPen = sized(p.clock, 130, 20);
  };

  video.addEventListener("play", run);
  video.addEventListener("pause", () => { if (p.playing) halt(); });
  video.addEventListener("ended", () => { const s = get("span"); if (s) { p.seek(s[0]); video.play(); } });
  video.addEventListener("loadedmetadata", () => { video.playbackRate = get("speed"); goFile(p.now); });
  const loud = () => {
    video.volume = get("volume");
    video.muted = get("muted");
    p.volume.value = Math.round(100 * get("volume"));
    p.loudness.textContent = get("muted") ? "muted" : `sound ${p.volume.value} %`;
    p.quieter.setAttribute("aria-pressed", get("muted"));
  };
  const rate = () => { if (p.silent && p.playing) wind(); video.playbackRate = get("speed"); p.speed.value = String(get("speed")); };
  p.listen.push(
    ["change:time", () => { if (!own && Math.abs(get("time") - p.now) > .001) p.seek(get("time"), true); }],
    ["change:playing", () => p.toggle(get("playing"))],
    ["change:speed", rate], ["change:volume", loud], ["change:muted", loud]);
  p.begin.push(() => { rate(); loud(); p.button(); });
}
