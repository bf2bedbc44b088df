// The file: its sound and moving picture, and the still ones (film strip, waveform, spectrogram) that Python makes from it.
// By URL with range requests where a server of files has it, else as bytes through the kernel into a Blob.
function mediaOf(p) {
  const { model, get, video, root } = p;
  let source = 0, asked = 0, blob = null, pictures = null, spectrum = null, quiet = "";
  const say = text => { p.excuse.textContent = text; p.excuse.hidden = !text; };
  const bytes = view => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  const drop = () => { if (blob?.url) URL.revokeObjectURL(blob.url); blob = null; };

  p.load = async () => {
    const mine = ++source, media = p.clip().media || {};
    p.play.disabled = true;
    p.silent = false;
    p.zero = null;
    rows();
    say("");
    p.stop();
    video.pause();
    p.button();                                          // the old clip's "pause" must not move the new one
    video.removeAttribute("src");
    video.load();
    drop();
    root.dataset.media = "none";
    if (!media.size) return mute(media.reason || "");
    if (media.url) { root.dataset.media = "url"; video.src = media.url; return; }         // a shared page: the file lies beside it
    if (get("by_url")) {
      const url = await servedAt(media);
      if (mine !== source) return;
      if (url) { root.dataset.media = "url"; video.src = url; return; }
    }
    if (media.encoded) say(`Browsers do not play ${media.encoded.join(" and ")}: a copy that plays is being made.`);
    model.send({ ask: "media", clip: p.clip().id });
  };
  function encode() {                                    // this browser cannot play what was sent: once, a copy is asked for
    const media = p.clip().media || {};
    if (asked === source || media.encoded || media.url || get("shared")) return false;
    asked = source;
    p.play.disabled = true;
    say("This browser cannot play the file: a copy that plays is being made.");
    model.send({ ask: "media", clip: p.clip().id, again: true });
    return true;
  }
  async function servedAt(media) {
    const config = document.getElementById("jupyter-config-data");
    if (!config) return null;
    const { serverRoot, baseUrl, rootUri } = JSON.parse(config.textContent);
    const top = (rootUri ? decodeURIComponent(new URL(rootUri).pathname) : serverRoot)?.replace(/\/?$/, "/");
    if (!top || !media.path.startsWith(top)) return null;
    const url = `${baseUrl || "/"}files/${media.path.slice(top.length).split("/").map(encodeURIComponent).join("/")}`;
    try {
      const r = await fetch(url, { headers: { Range: "bytes=0-0" } });
      return r.status === 206 && r.headers.get("Content-Range")?.endsWith("/" + media.size) ? url : null;
    } catch { return null; }
  }
  function mute(reason) {                                // there is still a clock: the playhead runs over the lanes by the browser's time
    p.silent = true;
    p.play.disabled = false;
    root.dataset.media = "none";
    p.winds();
    say(reason);
    rows();
  }
  function rows() {
    for (const r of [p.filmRow, p.waveRow, p.specRow]) r.hidden = p.silent || (r === p.specRow && !get("spectrogram"));
    p.spectrogram.disabled = p.silent;
  }

  function arrived(m, buffers) {
    if (m.clip !== p.clip().id) return;
    if (m.kind === "refused") mute(m.reason);
    else if (m.kind === "unread") p.said.textContent = m.reason;
    else if (m.kind === "media") part(m, buffers[0]);
    else if (m.kind === "spectrogram") {
      spectrum = { rows: m.rows, columns: m.columns, level: new Uint8Array(bytes(buffers[0])) };
      drawSpectrum();
    } else if (m.kind === "pictures") {
      p.fps = m.fps || 25;
      pictures = { n: m.n, wave: m.wave ? new Int8Array(bytes(buffers[1])) : null };
      drawWave();
      strip(m.film || (m.n ? buffers[0] : null));
    }
  }
  function part(m, buffer) {
    if (m.part === 0) { drop(); blob = { parts: [], url: null }; p.zero = m.start ?? null; }
    blob.parts.push(buffer);
    if (m.part < m.parts - 1) return;
    blob.url = URL.createObjectURL(new Blob(blob.parts, { type: m.type }));
    blob.parts = null;
    root.dataset.media = "blob";
    video.src = blob.url;
  }
  function still(address) {
    return new Promise((done, failed) => { const e = new Image(); e.onload = () => done(e); e.onerror = failed; e.src = address; });
  }
  async function strip(jpeg) {
    drawFilm();
    if (!jpeg) return;
    const mine = source, bitmap = () => createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    const image = await (typeof jpeg === "string" ? still(jpeg) : bitmap());
    if (mine !== source) return;
    pictures.image = image;
    drawFilm();
    root.dataset.pictures = p.clip().id;
  }

  // each canvas shows the part of the clip that is in view
  function drawFilm() {
    const w = p.film.clientWidth, tall = p.film.clientHeight, pen = sized(p.film.firstChild, w, tall);
    if (!pictures?.image) return;
    const { image, n } = pictures, wide = w * p.zoom / n, tile = image.width / n;
    const scale = Math.max((wide - 1) / tile, tall / image.height), cw = (wide - 1) / scale, ch = tall / scale;
    for (let i = 0; i < n; i++) {
      const x = w * p.x(i / n);
      if (x + wide > 0 && x < w) pen.drawImage(image, i * tile + (tile - cw) / 2, (image.height - ch) / 2, cw, ch, x, 0, wide - 1, tall);
    }
  }
  function drawWave() {
    const w = p.wave.clientWidth || 600, pen = sized(p.wave, w, 40), mid = 20;
    pen.fillStyle = quiet;
    if (!pictures?.wave) { pen.fillRect(0, mid, w, 1); return; }
    const n = pictures.wave.length / 2, step = w * p.zoom / n;
    for (let i = Math.floor(p.from * n); i < n && p.x(i / n) < 1; i++) {
      const low = pictures.wave[2 * i] / 127 * mid, high = pictures.wave[2 * i + 1] / 127 * mid;
      pen.fillRect(w * p.x(i / n), mid - high, Math.max(step, .7), Math.max(1, high - low));
    }
  }
  function drawSpectrum() {
    if (p.specRow.hidden) return;
    const w = p.spec.clientWidth || 600, pen = sized(p.spec, w, 72);
    if (!spectrum) return;
    const { rows, columns, level } = spectrum, image = new ImageData(columns, rows), dark = root.dataset.dark === "true";
    for (let i = 0; i < level.length; i++) { const v = dark ? level[i] : 255 - level[i]; image.data.set([v, v, v, 255], 4 * i); }
    const whole = new OffscreenCanvas(columns, rows);
    whole.getContext("2d").putImageData(image, 0, 0);
    pen.drawImage(whole, p.from * columns, 0, columns / p.zoom, rows, 0, 0, w, 72);
  }
  p.drawMedia = () => { drawFilm(); drawWave(); drawSpectrum(); };
  p.renewMedia = () => {                                 // for another clip
    pictures = spectrum = null;
    drawWave();
    strip(null);
    p.load();
    if (!p.clip().media?.size) return;
    model.send({ ask: "pictures", clip: p.clip().id });
    if (get("spectrogram")) model.send({ ask: "spectrogram", clip: p.clip().id });
  };
  p.inks = () => { quiet = css(root, "--vl-quiet"); };

  video.addEventListener("loadedmetadata", () => {
    const { picture } = p.clip().media || {};
    if (!video.videoWidth && picture && encode()) return;
    p.play.disabled = false;
    say(video.videoWidth ? "" : picture ? "This browser does not show the picture of this file." : "This file has sound and no picture.");
  });
  video.addEventListener("error", () => {
    if (!video.getAttribute("src") || encode()) return;
    mute("This browser cannot decode the file; the playhead runs over the labels without it.");
  });
  const spectrogram = () => {
    rows();
    p.spectrogram.setAttribute("aria-pressed", get("spectrogram"));
    drawSpectrum();
    if (get("spectrogram") && !spectrum && p.clip().media?.size) model.send({ ask: "spectrogram", clip: p.clip().id });
  };
  p.listen.push(["msg:custom", arrived], ["change:by_url", p.load], ["change:spectrogram", spectrogram]);
  p.begin.push(() => p.spectrogram.setAttribute("aria-pressed", get("spectrogram")));
  p.end.push(() => { video.pause(); video.removeAttribute("src"); drop(); });
}
