// The stage: every element of the player, made once. The other parts find them on `p` and fill them.
const NAMES = { audio: "audio", visual: "visual", audio_visual: "audio-visual" };
const SPEEDS = [0.25, 0.5, 1, 1.5, 2];

function stageOf(p) {
  const { model, get, put } = p;
  const button = (cls, text, does, more = {}) => h("button", { class: cls, text, onclick: does, ...more });
  const row = (label, ...kids) => h("div", { class: "vl-row" }, h("span", { text: label }), ...kids);
  const track = (...kids) => h("div", { class: "vl-track" }, ...kids);
  const drawn = (cls, label) => h("canvas", { class: cls, role: "img", "aria-label": label });

  // the picture, and what stands beside it
  p.video = h("video", { playsinline: true, preload: "auto", "aria-label": "the clip's picture and sound" });
  p.excuse = h("p", { hidden: true });
  p.title = h("h3", { "aria-level": 2 });
  p.notes = h("div");
  p.play = button("vl-play", "", () => p.toggle());
  p.speed = h("select", { class: "vl-speed", "aria-label": "speed of play", onchange: e => put("speed", +e.target.value) },
    ...SPEEDS.map(s => h("option", { value: String(s), text: s + "×" })));
  p.back = button("vl-previous", "previous clip", () => model.send({ do: "step", by: -1 }));
  p.forth = button("vl-next", "next clip", () => model.send({ do: "step", by: 1 }));
  p.counted = h("span", { class: "vl-quiet vl-counted" });
  p.doneNext = button("vl-done", "done, next (d)", () => p.markAs("done_next"));
  p.doubt = button("vl-doubt", "doubtful (D)", () => p.markAs("mark", "doubtful"));
  p.far = h("span", { class: "vl-quiet vl-far", role: "status" });
  p.note = h("input", { class: "vl-clip-note", placeholder: "note", maxlength: 1000, "aria-label": "note to this clip",
    onchange: () => p.noted(), onkeydown: e => { if (e.key === "Enter") p.noted(); } });
  p.marks = h("span", { class: "vl-marks" }, p.doneNext, p.doubt, p.note, p.far);
  p.loop = button("vl-loop", "", () => put("span", null));
  p.edit = button("vl-edit-button", "edit labels", () => put("editing", !get("editing")));
  p.spectrogram = button("vl-spectrum-button", "spectrogram", () => put("spectrogram", !get("spectrogram")));
  p.quieter = button("vl-mute", "mute", () => put("muted", !get("muted")));
  p.volume = h("input", { class: "vl-volume", type: "range", min: 0, max: 100, step: 5, "aria-label": "volume, percent",
    oninput: e => { const v = +e.target.value / 100; model.set("muted", false); put("volume", v); } });
  p.loudness = h("span", { class: "vl-quiet vl-loudness" });
  p.helpButton = button("vl-help-button", "keys (?)", () => p.help(), { "aria-expanded": false });
  p.linkButton = button("vl-link-button", "link", () => p.link(), { "aria-expanded": false });
  p.linkBox = h("span", { class: "vl-link", hidden: true });
  p.helpBox = h("dl", { class: "vl-help", hidden: true, tabindex: -1, "aria-label": "keys of the player" });
  p.paper = paperTools(model, { figures: true });
  p.listen.push(["msg:custom", p.paper.took]);
  p.clock = h("canvas", { class: "vl-clock", "aria-hidden": "true" });
  p.said = h("div", { class: "vl-only-read", "aria-live": "polite" });
  p.editor = h("div", { class: "vl-editor", hidden: true });
  p.left = h("div", { class: "vl-left", hidden: true });

  // how much of the clip is in view
  p.nearer = button("vl-zoom-in", "zoom in (+)", () => p.zoomBy(2));
  p.farther = button("vl-zoom-out", "zoom out (−)", () => p.zoomBy(1 / 2));
  p.whole = button("vl-zoom-whole", "whole clip (0)", () => p.look(0, 1));
  p.follows = button("vl-follow", "follow", () => p.followed(!p.following));
  p.zoomBar = h("div", { class: "vl-bar-of-buttons vl-zoom", role: "group", "aria-label": "zoom of the time axis" },
    p.farther, p.nearer, p.whole, p.follows);
  p.map = h("canvas", { role: "img", "aria-label": "the whole clip: below what is right, above what is wrong" });
  p.pane = h("div", { class: "vl-pane" });
  p.mapTrack = h("div", { class: "vl-map" }, p.map, p.pane);
  p.mapRow = row("whole clip", p.mapTrack);

  // the time axis: film, waveform, spectrogram, seconds, lanes, and over all of them the playhead
  p.film = h("div", { class: "vl-track vl-film" }, drawn("", "pictures of the clip, from left to right in time"));
  p.wave = drawn("vl-wave", "waveform");
  p.spec = drawn("vl-spectrum", "spectrogram");
  p.filmRow = row("picture", p.film);
  p.waveRow = row("sound", track(p.wave));
  p.specRow = row("0–8 kHz", track(p.spec));
  p.specRow.hidden = true;
  p.ticks = h("div", { class: "vl-track vl-ticks", tabindex: 0, role: "slider", "aria-label": "time in the clip", "aria-valuemin": 0 });
  p.events = h("div", { class: "vl-events" });
  p.span = h("div", { class: "vl-span", hidden: true });
  p.chip = h("canvas", { class: "vl-chip", "aria-hidden": "true" });
  p.head = h("div", { class: "vl-head" }, p.chip);
  p.axis = h("div", { class: "vl-axis" }, p.mapRow, p.filmRow, p.waveRow, p.specRow, row("seconds", p.ticks), p.events,
    h("div", { class: "vl-over" }, p.span, p.head));

  // what the lanes mean, and which of them are shown
  const swatch = (cls, text) => h("span", {}, h("span", { class: "vl-lane" }, h("i", { class: cls })), text);
  p.others = h("select", { class: "vl-others", "aria-label": "show an event that does not occur in this clip",
    onchange: e => { if (e.target.value) model.send({ do: "show_event", event: e.target.value }); } });
  p.absent = swatch("vl-absent", "no sound or picture there");
  p.heats = h("span", { text: "bars under a lane: the teacher's score; line: its threshold" });
  p.choices = h("div", { class: "vl-bar-of-buttons vl-choices", role: "group", "aria-label": "labelings shown as lanes" });
  p.legend = h("div", { class: "vl-legend" }, swatch("vl-right", "right, or no truth to compare"), swatch("vl-false", "false alarm"),
    swatch("vl-missed", "missed"), p.absent, p.heats, p.others);

  const bar = h("div", { class: "vl-bar-of-buttons" }, p.play, p.speed, p.loop, p.back, p.forth, p.counted, p.marks, p.edit, p.spectrogram,
    h("span", { class: "vl-sound" }, p.quieter, p.volume, p.loudness), p.linkButton, p.linkBox, p.helpButton, p.paper.bar);
  const top = h("div", { class: "vl-top" }, h("div", { class: "vl-screen" }, p.video, p.excuse),
    h("div", { class: "vl-side" }, p.title, p.notes, bar, p.clock));
  p.root = h("div", { class: "vl vl-player", tabindex: 0, role: "group", "aria-label": "clip player" },
    h("div", { class: "vl-player-in" }, top, p.helpBox, p.left, p.editor, p.zoomBar, p.axis, p.choices, p.legend, p.said));
}
