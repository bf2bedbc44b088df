// The player: video, film strip, waveform and label lanes on one time axis. Python holds the state; see `Player` in valor_lab.widgets.
const NAMES = { audio: "audio", visual: "visual", audio_visual: "audio-visual" };
const SPEEDS = [0.25, 0.5, 1, 1.5, 2];
const STATUS = { r: "right", f: "false", m: "missed", o: "on" };
const SAY = { r: "right", f: "false alarm", m: "missed", o: "on" };

// "rr..f" -> [{ from: 0, to: 2, kind: "r" }, { from: 4, to: 5, kind: "f" }]
function intervals(cells) {
  const out = [];
  for (let i = 0; i < cells.length; i++) {
    if (cells[i] === ".") continue;
    const last = out.at(-1);
    if (last && last.to === i && last.kind === cells[i]) last.to = i + 1; else out.push({ from: i, to: i + 1, kind: cells[i] });
  }
  return out;
}

function render({ model, el }) {
  const get = k => model.get(k), clip = () => get("clip");
  const put = (k, v) => { model.set(k, v); model.save_changes(); };
  const seconds = () => clip().duration || 1, segment = () => seconds() / (clip().n_segments || 1);
  let now = 0, playing = false, silent = false, from = 0, began = 0, frame = 0, painted = 0, source = 0, blob = null, pictures = null, spectrum = null;

  // ---- what is on the screen
  const video = h("video", { playsinline: true, preload: "auto", "aria-label": "the clip's picture and sound" });
  const excuse = h("p", { hidden: true });
  const title = h("h3"), notes = h("div");
  const play = h("button", { class: "vl-play", onclick: () => toggle() });
  const speed = h("select", { class: "vl-speed", "aria-label": "speed of play", onchange: e => put("speed", +e.target.value) }, ...SPEEDS.map(s => h("option", { value: String(s), text: s + "×" })));
  const back = h("button", { class: "vl-previous", text: "previous clip", onclick: () => model.send({ do: "step", by: -1 }) });
  const on = h("button", { class: "vl-next", text: "next clip", onclick: () => model.send({ do: "step", by: 1 }) });
  const counted = h("span", { class: "vl-quiet vl-counted" });
  const loop = h("button", { class: "vl-loop", onclick: () => put("span", null) });
  const edit = h("button", { class: "vl-edit-button", text: "edit labels", onclick: () => put("editing", !get("editing")) });
  const spectrogram = h("button", { class: "vl-spectrum-button", text: "spectrogram", onclick: () => put("spectrogram", !get("spectrogram")) });
  const clock = h("canvas", { class: "vl-clock", "aria-hidden": "true" });
  const keys = h("p", { class: "vl-quiet vl-keys", text: "space plays · ← → a segment · shift ← → a border of an event · n p clip · s speed · l loop off · click seeks, drag loops" });
  const said = h("div", { class: "vl-only-read", "aria-live": "polite" });
  const editor = h("div", { class: "vl-editor", hidden: true });
  const film = h("div", { class: "vl-track vl-film" }, h("canvas", { role: "img", "aria-label": "pictures of the clip, from left to right in time" }));
  const wave = h("canvas", { class: "vl-wave", role: "img", "aria-label": "waveform" });
  const spec = h("canvas", { class: "vl-spectrum", role: "img", "aria-label": "spectrogram" });
  const specRow = h("div", { class: "vl-row", hidden: true }, h("span", { text: "0–8 kHz" }), h("div", { class: "vl-track" }, spec));
  const filmRow = h("div", { class: "vl-row" }, h("span", { text: "picture" }), film), waveRow = h("div", { class: "vl-row" }, h("span", { text: "sound" }), h("div", { class: "vl-track" }, wave));
  const ticks = h("div", { class: "vl-track vl-ticks", tabindex: 0, role: "slider", "aria-label": "time in the clip", "aria-valuemin": 0 });
  const events = h("div", { class: "vl-events" });
  const others = h("select", { class: "vl-others", "aria-label": "show an event that does not occur in this clip", onchange: e => { if (e.target.value) model.send({ do: "show_event", event: e.target.value }); } });
  const span = h("div", { class: "vl-span", hidden: true });
  const chip = h("canvas", { "aria-hidden": "true", style: "position:absolute;bottom:0;left:-23px;width:46px;height:16px" });
  const head = h("div", { class: "vl-head" }, chip);
  const axis = h("div", { class: "vl-axis", style: "margin-right:14px;padding-bottom:18px" },
    filmRow, waveRow, specRow,
    h("div", { class: "vl-row" }, h("span", { text: "seconds" }), ticks), events, h("div", { class: "vl-over" }, span, head));
  const swatch = (cls, text) => h("span", {}, h("span", { class: "vl-lane" }, h("i", { class: cls })), text);
  const heats = h("span", { text: "bars under a lane: the teacher's score; line: its threshold" });
  const lanesOf = h("div", { class: "vl-bar-of-buttons vl-choices", role: "group", "aria-label": "labelings shown as lanes" });
  const legend = h("div", { class: "vl-legend" }, swatch("vl-right", "right, or no truth to compare"), swatch("vl-false", "false alarm"), swatch("vl-missed", "missed"),
    heats, others);
  const root = h("div", { class: "vl vl-player", tabindex: 0, role: "group", "aria-label": "clip player" }, h("div", { class: "vl-player-in" },
    h("div", { class: "vl-top" }, h("div", { class: "vl-screen" }, video, excuse),
      h("div", { class: "vl-side" }, title, notes, h("div", { class: "vl-bar-of-buttons" }, play, speed, loop, back, on, counted, edit, spectrogram), clock, keys)), editor, axis, lanesOf, legend, said));
  el.append(root);

  // ---- the clock: while playing, a frame moves one transform and paints two small canvases; nothing is laid out, and
  // Python is told where the playhead is when it stops or jumps, because a message makes the page around draw its status
  let ink = {}, chipPen = null, clockPen = null;
  function colours() {
    ink = { head: css(root, "--vl-head"), ink: css(root, "--vl-ink"), quiet: css(root, "--vl-quiet"), on: css(root, "--vl-card") };
    chipPen = sized(chip, 46, 16); clockPen = sized(clock, 130, 20);
    drawWave(); drawSpectrum(); paint();
  }
  function paint(digits = true) {
    head.style.transform = `translateX(${100 * clamp(now / seconds(), 0, 1)}%)`;
    if (!digits) return;
    const text = now.toFixed(2);
    chipPen.fillStyle = ink.head; chipPen.fillRect(0, 0, 46, 16);
    chipPen.fillStyle = ink.on; chipPen.font = "11px system-ui, sans-serif"; chipPen.textAlign = "center"; chipPen.fillText(text, 23, 12);
    clockPen.clearRect(0, 0, 130, 20);
    clockPen.fillStyle = ink.ink; clockPen.font = "13px system-ui, sans-serif"; clockPen.fillText(`${text} of ${+seconds().toFixed(2)} s`, 0, 14);
  }
  function tick() {
    if (!playing) return;
    const start = performance.now(), loopSpan = get("span");
    now = where();
    if (loopSpan && now >= loopSpan[1] - 0.01) { now = loopSpan[0]; if (silent) wind(); else video.currentTime = now; }
    if (silent && now >= seconds()) return halt();
    paint(start - painted > 60);                        // the line moves in every frame, the digits some sixteen times a second
    if (start - painted > 60) painted = start;
    frame = requestAnimationFrame(tick);
    if (root.frames) root.frames.push(performance.now() - start);
  }
  // without a file there is still a clock: the playhead runs over the lanes by the browser's own time
  const where = () => silent ? from + (performance.now() - began) / 1000 * get("speed") : video.currentTime;
  const wind = () => { from = now; began = performance.now(); };
  function start() { wind(); playing = true; put("playing", true); button(); frame = requestAnimationFrame(tick); }
  function halt() { playing = false; cancelAnimationFrame(frame); now = clamp(where(), 0, seconds()); paint(); announce(); tell(); put("playing", false); button(); }
  let own = false;
  function tell() { own = true; model.set("time", Math.round(now * 1000) / 1000); own = false; model.save_changes(); }
  function announce() {
    ticks.setAttribute("aria-valuenow", now.toFixed(2));
    ticks.setAttribute("aria-valuetext", `${now.toFixed(2)} seconds of ${seconds().toFixed(2)}`);
  }
  function seek(t, quiet = false) {
    now = clamp(t, 0, seconds());
    if (silent) wind(); else if (video.readyState > 0) video.currentTime = Math.min(now, (video.duration || now));
    paint(); announce();
    if (!quiet) tell();
  }
  function toggle(want = !playing) {
    if (want === playing || (want && play.disabled)) return;
    const s = get("span");
    if (want && s && (now < s[0] || now >= s[1])) seek(s[0]);
    if (want && now >= seconds() - 0.02) seek(0);
    if (silent) return want ? start() : halt();
    if (want) video.play().catch(e => { said.textContent = String(e.message); }); else video.pause();
  }
  video.addEventListener("play", start);
  video.addEventListener("pause", () => { if (playing) halt(); });
  video.addEventListener("ended", () => { const s = get("span"); if (s) { seek(s[0]); video.play(); } });
  video.addEventListener("loadedmetadata", () => { video.playbackRate = get("speed"); video.currentTime = Math.min(now, video.duration); play.disabled = false; if (!video.videoWidth) say("This file has sound and no picture."); });
  video.addEventListener("error", () => { if (video.getAttribute("src")) { mute("This browser cannot decode the file; the playhead runs over the labels without it."); } });
  function button() { play.textContent = playing ? "pause (space)" : "play (space)"; play.setAttribute("aria-pressed", playing); }
  function mute(reason) { silent = true; play.disabled = false; root.dataset.media = "none"; now = clamp(now, 0, seconds()); wind(); say(reason); rows(); }
  function rows() { for (const r of [filmRow, waveRow, specRow]) r.hidden = silent || (r === specRow && !get("spectrogram")); spectrogram.disabled = silent; }
  function say(text) { excuse.textContent = text; excuse.hidden = !text; }

  // ---- the file: by URL with range requests where the server has it, else as bytes through the kernel into a Blob
  async function load() {
    const mine = ++source, media = clip().media || {};
    play.disabled = true; silent = false; rows(); say("");
    playing = false; cancelAnimationFrame(frame); video.pause(); button();   // the old clip's "pause" must not move the new one
    video.removeAttribute("src"); video.load();
    if (blob) { URL.revokeObjectURL(blob.url); blob = null; }
    root.dataset.media = "none";
    if (!media.size) return mute(media.reason || "");
    if (get("by_url")) {
      const url = await servedAt(media);
      if (mine !== source) return;
      if (url) { root.dataset.media = "url"; video.src = url; return; }
    }
    model.send({ ask: "media", clip: clip().id });
  }
  async function servedAt(media) {
    const config = document.getElementById("jupyter-config-data");
    if (!config) return null;
    const { serverRoot, baseUrl, rootUri } = JSON.parse(config.textContent);
    const top = rootUri ? decodeURIComponent(new URL(rootUri).pathname) : serverRoot;
    if (!top || !media.path.startsWith(top.replace(/\/?$/, "/"))) return null;
    const inside = media.path.slice(top.replace(/\/?$/, "/").length).split("/").map(encodeURIComponent).join("/");
    const url = `${baseUrl || "/"}files/${inside}`;
    try {
      const r = await fetch(url, { headers: { Range: "bytes=0-0" } });
      return r.status === 206 && r.headers.get("Content-Range")?.endsWith("/" + media.size) ? url : null;
    } catch { return null; }
  }
  const bytes = view => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  function arrived(m, buffers) {
    if (m.clip !== clip().id) return;
    if (m.kind === "refused") return mute(m.reason);
    if (m.kind === "unread") { said.textContent = m.reason; return; }
    if (m.kind === "pictures") { pictures = { n: m.n, wave: m.wave ? new Int8Array(bytes(buffers[1])) : null }; drawWave(); strip(m.n ? buffers[0] : null); return; }
    if (m.kind === "spectrogram") { spectrum = { rows: m.rows, columns: m.columns, level: new Uint8Array(bytes(buffers[0])) }; drawSpectrum(); return; }
    if (m.kind !== "media") return;
    if (m.part === 0) blob = { parts: [], url: null };
    blob.parts.push(buffers[0]);
    if (m.part < m.parts - 1) return;
    blob.url = URL.createObjectURL(new Blob(blob.parts, { type: m.type }));
    blob.parts = null; root.dataset.media = "blob"; video.src = blob.url;
  }
  async function strip(jpeg) {
    drawFilm();
    if (!jpeg) return;
    const mine = source, image = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    if (mine !== source) return;
    pictures.image = image;
    drawFilm();
    root.dataset.pictures = clip().id;
  }
  function drawFilm() {
    const w = film.clientWidth, tall = film.clientHeight, pen = sized(film.firstChild, w, tall);
    if (!pictures?.image) return;
    const { image, n } = pictures, wide = w / n, tile = image.width / n, scale = Math.max((wide - 1) / tile, tall / image.height), cw = (wide - 1) / scale, ch = tall / scale;
    for (let i = 0; i < n; i++) pen.drawImage(image, i * tile + (tile - cw) / 2, (image.height - ch) / 2, cw, ch, i * wide, 0, wide - 1, tall);
  }
  function drawWave() {
    const w = wave.clientWidth || 600, hgt = 40, g = sized(wave, w, hgt), mid = hgt / 2;
    g.fillStyle = ink.quiet;
    if (!pictures?.wave) { g.fillRect(0, mid, w, 1); return; }
    const n = pictures.wave.length / 2, step = w / n;
    for (let i = 0; i < n; i++) { const low = pictures.wave[2 * i] / 127 * mid, high = pictures.wave[2 * i + 1] / 127 * mid; g.fillRect(i * step, mid - high, Math.max(step, .7), Math.max(1, high - low)); }
  }
  function drawSpectrum() {
    if (specRow.hidden) return;
    const w = spec.clientWidth || 600, g = sized(spec, w, 72);
    if (!spectrum) return;
    const { rows, columns, level } = spectrum, image = new ImageData(columns, rows), dark = root.dataset.dark === "true";
    for (let i = 0; i < level.length; i++) { const v = dark ? level[i] : 255 - level[i]; image.data.set([v, v, v, 255], 4 * i); }
    const whole = new OffscreenCanvas(columns, rows);
    whole.getContext("2d").putImageData(image, 0, 0);
    g.drawImage(whole, 0, 0, w, 72);
  }

  // ---- the lanes
  function bars(cells) {
    const n = cells.length;
    return intervals(cells).map(({ from, to, kind }) => h("i", { class: "vl-" + STATUS[kind], style: `left:${100 * from / n}%;width:max(2px, calc(${100 * (to - from) / n}% - 1px))` }));
  }
  function spoken(lane) {
    const s = segment(), t = x => +(x * s).toFixed(2);
    const list = intervals(lane.cells).map(i => `${t(i.from)} to ${t(i.to)} s ${SAY[i.kind]}`).join(", ");
    return `${lane.event}, ${NAMES[lane.modality]}, ${lane.name}: ${list || "nothing"}`;
  }
  function laneRow(lane) {
    const track = h("div", { class: "vl-track vl-lane" + (lane.kind === "weak" ? " vl-weak" : "") + (lane.editable ? " vl-edit" : ""), role: lane.editable ? "button" : "img", "aria-label": spoken(lane), tabindex: lane.editable ? 0 : null, title: spoken(lane),
      "data-event": lane.event, "data-modality": lane.modality, "data-name": lane.name, "data-cells": lane.cells }, ...bars(lane.cells));
    if (lane.editable) editable(track, lane);
    const rows = [h("div", { class: "vl-row" }, h("span", { text: lane.short || lane.name, title: lane.name }), track)];
    if (lane.heat) rows.push(h("div", { class: "vl-row" }, h("span", { text: "score" }), heat(lane)));
    return rows;
  }
  function heat(lane) {
    const { scores, threshold, low, high } = lane.heat, n = scores.length, level = s => clamp((s - low) / (high - low || 1), 0, 1);
    const text = `scores ${scores.map(s => s === null ? "none" : s.toFixed(1)).join(", ")}${threshold === null ? "" : `; threshold ${threshold.toFixed(2)}`}`;
    return h("div", { class: "vl-track vl-heat", role: "img", "aria-label": `${lane.event}, ${NAMES[lane.modality]}, ${text}`, title: text, "data-threshold": threshold },
      ...scores.map((s, i) => s === null ? null : h("i", { style: `left:${100 * i / n}%;width:calc(${100 / n}% - 1px);height:${100 * Math.max(.08, level(s))}%;opacity:${(.18 + .82 * level(s)).toFixed(3)}` })),
      threshold === null ? null : h("u", { style: `bottom:${100 * level(threshold)}%` }));
  }
  function draw() {
    const groups = new Map(), focus = document.activeElement?.closest?.(".vl-edit"), kept = focus && root.contains(focus) ? [focus.dataset.event, focus.dataset.modality] : null;
    for (const lane of get("lanes")) {
      if (!groups.has(lane.event)) groups.set(lane.event, new Map());
      const g = groups.get(lane.event);
      if (!g.has(lane.modality)) g.set(lane.modality, []);
      g.get(lane.modality).push(lane);
    }
    events.replaceChildren(...[...groups].map(([event, g]) => h("div", { "data-event": event, class: event === get("highlight") ? "vl-picked" : "" },
      h("div", { class: "vl-event", text: event }),
      ...[...g].map(([m, lanes]) => h("div", { class: "vl-group", "data-hue": m }, h("div", { class: "vl-hue", text: NAMES[m] || "" }), h("div", {}, ...lanes.flatMap(laneRow)))))));
    if (!groups.size) events.append(h("p", { class: "vl-quiet", text: "No event occurs in this clip in any of the labelings." }));
    if (kept) events.querySelector(`.vl-edit[data-event="${CSS.escape(kept[0])}"][data-modality="${kept[1]}"]`)?.focus();
    others.replaceChildren(h("option", { value: "", text: `show one of ${get("others").length} other events` }), ...get("others").map(e => h("option", { value: e, text: e })));
    others.hidden = !get("others").length;
    heats.hidden = !get("lanes").some(l => l.heat);
  }
  function drawChoices() {
    const all = get("choices"), held = lanesOf.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    lanesOf.hidden = !all.length;
    lanesOf.replaceChildren(h("span", { class: "vl-quiet", text: "lanes" }), ...all.map(([name, shown, short]) => h("button", { text: short, title: name, "aria-label": `lane ${name}`, "data-name": name, "aria-pressed": shown, onclick: () => model.send({ do: "lanes", names: all.filter(([n, s]) => n === name ? !s : s).map(x => x[0]) }) })));
    if (held) lanesOf.querySelector(`[data-name="${CSS.escape(held)}"]`)?.focus();
  }
  function drawClip() {
    const c = clip();
    title.textContent = c.id || "no clip";
    notes.replaceChildren(...(c.notes || []).map(n => h("p", { class: "vl-quiet", text: n })));
    const d = seconds(), step = [.1, .2, .5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600].find(s => d / s <= 12) || 600, n = Math.floor(d / step + 1e-6);
    const marks = Array.from({ length: n + 1 }, (_, i) => i * step);
    if (d - marks.at(-1) > step / 2) marks.push(d);
    ticks.replaceChildren(...marks.map(t => h("span", { text: String(+t.toFixed(2)), style: `left:${100 * t / d}%` })));
    ticks.setAttribute("aria-valuemax", d);
    root.setAttribute("aria-label", `clip player, ${c.id || "no clip"}`);
  }
  const before = () => get("place").row > 0, after = () => get("place").row < get("place").of - 1;
  function drawPlace() {
    const { row, of } = get("place");
    back.disabled = !before(); on.disabled = !after();
    counted.textContent = row < 0 ? "not in the list" : `${(row + 1).toLocaleString("en")} of ${of.toLocaleString("en")}`;
  }
  function drawSpan() {
    const s = get("span"), d = seconds();
    span.hidden = loop.hidden = !s;
    if (!s) return;
    span.style.left = 100 * s[0] / d + "%"; span.style.width = 100 * (s[1] - s[0]) / d + "%";
    loop.textContent = `loop ${s[0].toFixed(2)}–${s[1].toFixed(2)} s off`;
  }
  function newClip() {
    pictures = spectrum = null; now = get("time");
    drawClip(); drawSpan(); drawWave(); strip(null); announce(); paint(); load();
    said.textContent = `clip ${clip().id}`;
    if (clip().media?.size) { model.send({ ask: "pictures", clip: clip().id }); if (get("spectrogram")) model.send({ ask: "spectrogram", clip: clip().id }); }
  }

  // ---- the hand: click seeks, drag loops
  const at = e => { const b = ticks.getBoundingClientRect(); return clamp((e.clientX - b.left) / b.width, 0, 1); };
  axis.addEventListener("pointerdown", e => {
    if (e.button || !e.target.closest(".vl-track") || e.target.closest(".vl-edit")) return;
    const a = at(e), x0 = e.clientX, d = seconds();
    let drag = null;
    root.focus({ preventScroll: true }); e.preventDefault();
    axis.setPointerCapture(e.pointerId);
    const move = m => { if (!drag && Math.abs(m.clientX - x0) < 5) return; const b = at(m); drag = [Math.min(a, b) * d, Math.max(a, b) * d]; span.hidden = false; span.style.left = 100 * Math.min(a, b) + "%"; span.style.width = 100 * Math.abs(b - a) + "%"; };
    const up = () => { axis.removeEventListener("pointermove", move); axis.removeEventListener("pointerup", up); axis.removeEventListener("pointercancel", up);
      if (drag && drag[1] - drag[0] > .05) { put("span", drag.map(x => Math.round(x * 100) / 100)); seek(drag[0]); } else { drawSpan(); seek(a * d); } };
    axis.addEventListener("pointermove", move); axis.addEventListener("pointerup", up); axis.addEventListener("pointercancel", up);
  });

  // ---- edit mode: a press on an empty segment paints, on a filled one erases, near a border drags that border
  function editable(track, lane) {
    const n = lane.cells.length, cell = x => clamp(Math.floor(x * n), 0, n - 1), filled = i => i >= 0 && i < n && lane.cells[i] !== "." && lane.cells[i] !== "m";
    const change = (from, to, value) => { if (to > from) model.send({ do: "paint", event: lane.event, modality: lane.modality, from, to, value }); };
    const border = x => { const b = Math.round(x * n); return Math.abs(x * n - b) * track.clientWidth / n < 6 && filled(b - 1) !== filled(b) ? b : null; };
    track.addEventListener("pointermove", e => { if (!e.buttons) track.style.cursor = border(at(e)) === null ? "cell" : "ew-resize"; });
    track.addEventListener("pointerdown", e => {
      if (e.button) return;
      e.preventDefault(); track.focus({ preventScroll: true }); track.setPointerCapture(e.pointerId);
      const x0 = at(e), b0 = border(x0), first = cell(x0), paintOn = !filled(first), draft = h("i", { class: "vl-draft" });
      let todo = null;
      const move = m => {
        if (b0 !== null) { const b = clamp(Math.round(at(m) * n), 0, n), grow = filled(b0 - 1) ? b > b0 : b < b0; todo = [Math.min(b, b0), Math.max(b, b0), grow]; }
        else { const c = cell(at(m)); todo = [Math.min(first, c), Math.max(first, c) + 1, paintOn]; }
        draft.classList.toggle("vl-erase", !todo[2]);
        draft.style.left = 100 * todo[0] / n + "%"; draft.style.width = 100 * (todo[1] - todo[0]) / n + "%";
      };
      const up = () => { for (const k of ["pointermove", "pointerup", "pointercancel"]) track.removeEventListener(k, k === "pointermove" ? move : up); draft.remove(); change(...todo); };
      track.append(draft); move(e);
      for (const k of ["pointermove", "pointerup", "pointercancel"]) track.addEventListener(k, k === "pointermove" ? move : up);
    });
    track.addEventListener("keydown", e => {
      if (e.key !== "Enter") return;
      const i = cell(now / seconds()); change(i, i + 1, !filled(i)); e.preventDefault(); e.stopPropagation();
    });
  }
  const state = () => get("correction");
  const field = (label, input) => h("label", {}, label, input);
  let editorFields = null;
  function drawEditor() {
    const open = get("editing"), s = state();
    editor.hidden = !open; edit.setAttribute("aria-pressed", open);
    edit.disabled = !open && !s.bases?.length;
    if (!open) { editor.replaceChildren(); editorFields = null; return; }
    if (!editorFields) {
      const base = h("select", { class: "vl-base", "aria-label": "the labels that are corrected" }), name = h("input", { class: "vl-overlay-name" }), who = h("input", { class: "vl-who" });
      const start = h("button", { class: "vl-start", text: "open", onclick: () => model.send({ do: "correct", base: base.value, name: name.value, who: who.value }) });
      const b = (cls, text, what) => h("button", { class: cls, text, onclick: () => model.send({ do: what }) });
      editorFields = { base, name, who, start, undo: b("vl-undo", "undo", "undo"), redo: b("vl-redo", "redo", "redo"), save: b("vl-save", "save", "save"), out: b("vl-export", "write CSV", "export"), text: h("p", { class: "vl-correction", style: "margin:6px 0 0", role: "status" }) };
      base.replaceChildren(...s.bases.map(x => h("option", { value: x, text: x })));
      base.value = s.base || s.bases[0]; name.value = s.name || "corrected"; who.value = s.who || "";
      editor.replaceChildren(h("div", { class: "vl-bar-of-buttons" }, field("correct", base), field("saved as", name), field("by", who), start, editorFields.undo, editorFields.redo, editorFields.save, editorFields.out), editorFields.text);
    }
    const f = editorFields;
    f.undo.disabled = !s.can_undo; f.redo.disabled = !s.can_redo; f.save.disabled = !s.unsaved; f.out.disabled = !s.name || s.unsaved;
    f.text.textContent = s.message || "The labels themselves stay as they are: corrections are kept beside them under a name of their own.";
  }

  // ---- the keyboard
  function borders() { const s = new Set([0, clip().n_segments]); for (const l of get("lanes")) for (const i of intervals(l.cells)) if (i.kind !== "m" && l.kind !== "weak") { s.add(i.from); s.add(i.to); } return [...s].sort((a, b) => a - b).map(x => x * segment()); }
  ownKeys(root, e => {
    if (typing(e)) return false;
    const k = e.key, s = segment(), stop = e.target.closest("button, a, input");
    if (e.ctrlKey || e.metaKey) {
      if (!get("editing") || e.altKey) return false;
      if (k.toLowerCase() === "z") { model.send({ do: e.shiftKey ? "redo" : "undo" }); return true; }
      if (k.toLowerCase() === "y") { model.send({ do: "redo" }); return true; }
      if (k.toLowerCase() === "s") { model.send({ do: "save" }); return true; }
      return false;
    }
    if (e.altKey) return false;
    if (k === " " && !stop) { toggle(); return true; }
    if (k === "ArrowRight" || k === "ArrowLeft") {
      const dir = k === "ArrowRight" ? 1 : -1, b = e.shiftKey ? borders() : null;
      if (b) seek(dir > 0 ? b.find(x => x > now + .01) ?? seconds() : b.findLast(x => x < now - .01) ?? 0);
      else seek(dir > 0 ? (Math.floor(now / s + 1e-6) + 1) * s : (Math.ceil(now / s - 1e-6) - 1) * s);
      return true;
    }
    if (k === "Home") { seek(0); return true; }
    if (k === "End") { seek(seconds()); return true; }
    if (k === "n" && after()) { model.send({ do: "step", by: 1 }); return true; }
    if (k === "p" && before()) { model.send({ do: "step", by: -1 }); return true; }
    if (k === "s" || k === "S") { const i = SPEEDS.indexOf(get("speed")); put("speed", SPEEDS[(i + (k === "s" ? 1 : SPEEDS.length - 1)) % SPEEDS.length]); return true; }
    if (k === "l") { put("span", null); return true; }
    if (k === "e" && !edit.disabled) { put("editing", !get("editing")); return true; }
    return false;
  });

  // ---- what Python changes
  const listen = [
    ["msg:custom", arrived], ["change:clip", newClip], ["change:place", drawPlace], ["change:lanes", draw], ["change:choices", drawChoices], ["change:others", draw], ["change:span", drawSpan], ["change:by_url", load],
    ["change:time", () => { if (!own && Math.abs(get("time") - now) > .001) seek(get("time"), true); }],
    ["change:playing", () => toggle(get("playing"))],
    ["change:speed", () => { if (silent && playing) { from = now; began = performance.now(); } video.playbackRate = get("speed"); speed.value = String(get("speed")); }],
    ["change:editing", drawEditor], ["change:correction", drawEditor],
    ["change:highlight", () => { for (const d of events.children) d.classList.toggle("vl-picked", d.dataset.event === get("highlight")); }],
    ["change:spectrogram", () => { rows(); spectrogram.setAttribute("aria-pressed", get("spectrogram")); drawSpectrum(); if (get("spectrogram") && !spectrum && clip().media?.size) model.send({ ask: "spectrogram", clip: clip().id }); }],
  ];
  for (const [k, f] of listen) model.on(k, f);
  const plain = theme(root, colours);
  colours(); speed.value = String(get("speed")); video.playbackRate = get("speed"); button(); drawEditor(); draw();
  spectrogram.setAttribute("aria-pressed", get("spectrogram"));
  newClip(); drawPlace(); drawChoices();
  let width = 0;
  const resized = new ResizeObserver(() => { const w = ticks.clientWidth; if (w === width) return; width = w; drawFilm(); drawWave(); drawSpectrum(); });
  resized.observe(ticks);
  return () => { for (const [k, f] of listen) model.off(k, f); plain(); resized.disconnect(); cancelAnimationFrame(frame); video.pause(); video.removeAttribute("src"); if (blob?.url) URL.revokeObjectURL(blob.url); };
}
export default { render };
