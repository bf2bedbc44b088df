// A page to share: the player's own script, with a model that answers from the page instead of a kernel. Text is set as text.
const shared = JSON.parse(document.getElementById("data").textContent);

function pageModel() {
  const heard = {}, fire = (k, ...args) => { for (const f of [...(heard[k] || [])]) f(...args); };
  const shown = new Set(shared.labelings.map(l => l[0]));
  const state = { clip: shared.clips[0].clip, place: { row: 0, of: shared.clips.length }, lanes: [], others: [], choices: [], time: 0, playing: false,
    speed: 1, volume: 1, muted: false, span: null, highlight: "", spectrogram: false, by_url: false, editing: false, correction: {}, done: {}, left: [], shared: true };
  const bytes = text => { const raw = atob(text), out = new Uint8Array(raw.length); for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i); return new DataView(out.buffer); };
  const one = () => shared.clips[state.place.row];
  const put = part => { for (const k in part) state[k] = part[k]; for (const k in part) fire(`change:${k}`); };
  const lanes = () => one().lanes.filter(l => l.kind === "weak" || shown.has(l.name));
  const choices = () => shared.labelings.length > 1 ? shared.labelings.map(([n, s]) => [n, shown.has(n), s]) : [];
  const model = {
    get: k => state[k],
    set: (k, v) => { if (state[k] !== v) put({ [k]: v }); },
    save_changes: () => {},
    on: (k, f) => { (heard[k] ||= []).push(f); }, off: (k, f) => { heard[k] = (heard[k] || []).filter(g => g !== f); },
    send: m => {
      if (m.ask === "pictures") setTimeout(() => {
        const c = one();
        if (c.clip.id === m.clip) fire("msg:custom", { kind: "pictures", clip: m.clip, n: c.film ? c.n : 0, wave: Boolean(c.wave), fps: 25, film: c.film }, [null, c.wave ? bytes(c.wave) : null]);
      });
      if (m.do === "step") model.show(state.place.row + m.by);
      if (m.do === "lanes") { shown.clear(); for (const n of m.names) shown.add(n); put({ lanes: lanes(), choices: choices() }); }
    },
    show: row => {
      if (!shared.clips[row]) return;
      put({ playing: false, span: null, time: 0 });
      put({ place: { row, of: shared.clips.length }, clip: shared.clips[row].clip });
      put({ lanes: lanes(), choices: choices() });
      mark();
    },
  };
  Object.assign(state, { lanes: lanes(), choices: choices() });
  return model;
}

const model = pageModel(), nav = document.getElementById("clips");
const buttons = shared.clips.map((c, i) => h("button", { onclick: () => model.show(i) }, c.clip.id, h("span", { text: c.sub })));
function mark() { buttons.forEach((b, i) => b.setAttribute("aria-current", i === model.get("place").row)); }
nav.append(...buttons);
mark();
render({ model, el: document.getElementById("player") });
