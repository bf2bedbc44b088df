// The player: video, film strip, waveform and label lanes on one time axis. Python holds the state; see `Player` in
// valor_lab.workbench. Each part (stage, time, axis, media, lanes, editing, link, hand and keys) is a file that can be read alone: it finds
// the player as `p`, adds its verbs to it, and says what it listens to (`p.listen`), begins with and ends with.
function render({ model, el }) {
  const get = k => model.get(k), put = (k, v) => { model.set(k, v); model.save_changes(); };
  const p = { model, get, put, clip: () => get("clip"), listen: [], begin: [], end: [] };
  for (const part of [stageOf, timeOf, axisOf, mapOf, mediaOf, lanesOf, editingOf, linkOf, handOf, keysOf]) part(p);
  el.append(p.root);

  p.before = () => get("place").row > 0;
  p.after = () => get("place").row < get("place").of - 1;
  function place() {
    const { row, of } = get("place");
    p.back.disabled = !p.before();
    p.forth.disabled = !p.after();
    p.counted.textContent = row < 0 ? "not in the list" : `${(row + 1).toLocaleString("en")} of ${of.toLocaleString("en")}`;
  }
  // what is said of a clip bears its name: Python may have opened another one that is not drawn yet
  p.markAs = (what, state) => model.send({ do: what, state, clip: p.clip().id });
  let noteOf = null, kept = "";
  p.noted = () => { if (p.note.value !== kept) model.send({ do: "note", text: kept = p.note.value, clip: noteOf }); };
  function marks() {                                     // how far a person is, where that is kept
    const { state, note, words } = get("done") || {}, { id } = p.clip();
    if (noteOf !== id) {
      if (noteOf) p.noted();                             // typed and not entered when another clip was opened
      [noteOf, kept, p.note.value] = [id, note || "", note || ""];
    } else if (document.activeElement !== p.note) kept = p.note.value = note || "";
    p.marks.hidden = !words;
    p.far.textContent = [state && `this one is ${state}`, words].filter(Boolean).join(" · ");
    p.doubt.setAttribute("aria-pressed", state === "doubtful");
    p.root.dataset.state = state || "";
  }
  function newClip() {
    const c = p.clip();
    p.letGo?.();                                         // a stroke that is being drawn ends where it is, in its own clip
    p.now = get("time");
    p.title.textContent = c.id || "no clip";
    p.root.setAttribute("aria-label", `clip player, ${c.id || "no clip"}`);
    p.notes.replaceChildren(...(c.notes || []).map(n => h("p", { class: "vl-quiet", text: n })));
    p.look(0, 1);
    p.announce();
    p.renewMedia();
    marks();
    p.said.textContent = `clip ${c.id}`;
  }
  const see = () => {
    const { top } = p.root.getBoundingClientRect();
    if (top < -120 || top > .5 * window.innerHeight) p.root.scrollIntoView({ block: "start" });
  };
  const asked = { see, play: () => p.toggle(), pause: () => p.toggle(false), focus: () => p.root.focus() };
  p.root.addEventListener("vl-do", e => asked[e.detail]?.());
  p.listen.push(["change:clip", newClip], ["change:place", place], ["change:done", marks]);
  for (const [k, f] of p.listen) model.on(k, f);
  const colours = () => { p.pens(); p.inks(); p.drawMedia(); p.drawPane(); p.paint(); };
  const plain = theme(p.root, colours), watched = watchKernel(model, p.root);
  colours();
  for (const f of p.begin) f();
  newClip();
  place();
  marks();
  let width = 0;
  const resized = new ResizeObserver(() => { const w = p.ticks.clientWidth; if (w !== width) { width = w; p.drawMedia(); p.drawPane(); } });
  resized.observe(p.ticks);
  return () => {
    for (const [k, f] of p.listen) model.off(k, f);
    plain();
    watched();
    resized.disconnect();
    p.stop();
    for (const f of p.end) f();
  };
}
export default { render };
