"""Widgets in a bare page: their real scripts and the real Python objects, with neither JupyterLab nor a kernel between them.

The page asks Python every few milliseconds what is new, through a binding of playwright; so a test runs in seconds, and both sides are
the ones that people use. Boxes of ipywidgets become plain elements with the classes that the front ends give them."""
import base64, json, threading
from contextlib import contextmanager

from browser import settled, shot

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>workbench</title></head><body><main id="desk"></main></body></html>"""

SCRIPT = """
window.desk = { models: {}, dead: false };
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
window.deskModel = (id, state) => {
  const heard = {}, changed = {};
  const fire = (k, ...args) => { for (const f of [...(heard[k] || [])]) f(...args); };
  const model = {
    get: k => state[k],
    set: (k, v) => { if (state[k] === v) return; state[k] = v; changed[k] = v; fire(`change:${k}`); },
    save_changes: () => { const part = { ...changed }; for (const k in changed) delete changed[k]; if (Object.keys(part).length) window.toPython({ id, state: part }); },
    send: content => { window.toPython({ id, content }); },
    on: (k, f) => { (heard[k] ||= []).push(f); }, off: (k, f) => { heard[k] = (heard[k] || []).filter(g => g !== f); },
    widget_manager: { get_model: async () => model },
  };
  window.desk.models[id] = { model, fire, take: part => { Object.assign(state, part); for (const k in part) fire(`change:${k}`); }, hear: (content, buffers) => fire('msg:custom', content, buffers.map(b => new DataView(bytes(b).buffer))) };
  return model;
};
window.deskShow = async (parent, id, source, styles, state) => {
  const style = document.createElement('style'); style.textContent = styles; document.head.append(style);
  const el = document.createElement('div'); parent.append(el);
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' })), module = await import(url);
  await module.default.render({ model: window.deskModel(id, state), el });
};
window.deskPoll = async () => {
  if (window.desk.dead) return;
  for (const m of await window.fromPython()) { const one = window.desk.models[m.id]; if (!one) continue; if (m.state) one.take(m.state); else one.hear(m.content, m.buffers); }
  setTimeout(window.deskPoll, 15);
};
"""


class Desk:
    "One page and the widgets on it; `alive = False` is a kernel that is gone."
    def __init__(self, page):
        self.page, self.widgets, self.out, self.lock, self.alive, self.heard = page, {}, [], threading.Lock(), True, []
        page.expose_binding("toPython", lambda source, message: self._hear(message))
        page.expose_binding("fromPython", lambda source: self._tell())

    def _hear(self, m):
        if not self.alive: return
        w = self.widgets[m["id"]]
        if "state" in m:
            w.echo = m["state"]
            try: w.set_state(m["state"])
            finally: w.echo = {}
        else:
            self.heard.append(m["content"])
            w._handle_custom_msg(m["content"], [])

    def _tell(self):
        with self.lock: new, self.out = self.out, []
        merged = []                                             # what changed together arrives together, as in one message of a kernel
        for m in new:
            if merged and "state" in m and merged[-1].get("state") is not None and merged[-1]["id"] == m["id"]: merged[-1]["state"].update(m["state"])
            else: merged.append(m)
        return merged

    def put(self, **m):
        if self.alive:
            with self.lock: self.out.append(json.loads(json.dumps(m)))

    def die(self):
        "The kernel is gone: nothing is heard or told any more, and the page is told so as JupyterLab does it."
        self.alive = False
        self.page.evaluate("() => { window.desk.dead = true; document.querySelector('#desk').classList.add('jupyter-widgets-disconnected'); for (const m of Object.values(window.desk.models)) m.fire('comm_live_update') }")

    def add(self, w, parent):
        i, keys = w.model_id, [k for k in w.keys if not k.startswith("_") and k not in ("layout", "tabbable", "tooltip")]
        self.widgets[i], w.echo = w, {}
        def changed(c):
            if w.echo.get(c["name"], self) != c["new"]: self.put(id=i, state={c["name"]: c["new"]})
        w.observe(changed, keys)
        w.send = lambda content, buffers=None: self.put(id=i, content=content, buffers=[base64.b64encode(bytes(b)).decode() for b in buffers or []])
        state = json.loads(json.dumps({k: getattr(w, k) for k in keys}))
        self.page.evaluate("([p, ...rest]) => window.deskShow(p, ...rest)", [parent, i, w._esm if isinstance(w._esm, str) else str(w._esm), str(w._css), state])

    def build(self, w, parent):
        "A widget, or a box of widgets, into an element."
        classes = " ".join(w._dom_classes)
        box = self.page.evaluate_handle("([p, c]) => { const e = document.createElement('div'); e.className = c; p.append(e); return e }", [parent, classes + (" widget-box" if hasattr(w, "children") else "")])
        if hasattr(w, "children"):
            for kid in w.children: self.build(kid, box)
        else: self.add(w, box)


@contextmanager
def bare(chromium, *shown, width=1400, height=1100, dark=False, **context):
    "A page with these widgets, benches or boxes on it."
    page = chromium.new_page(viewport=dict(width=width, height=height), **context)
    page.set_default_timeout(60_000)
    page.faults = []
    page.on("pageerror", lambda e: page.faults.append(str(e)))
    desk = Desk(page)
    page.add_init_script(SCRIPT)
    page.route("https://desk.invalid/", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    try:
        page.goto("https://desk.invalid/")
        page.evaluate("d => { document.body.style.cssText = `margin:12px;background:${d ? '#0d1117' : '#f5f6f8'};color-scheme:${d ? 'dark' : 'light'}` }", dark)
        main = page.query_selector("#desk")
        for w in shown:
            for part in (pieces(w) if hasattr(w, "show") and not hasattr(w, "model_id") else [w]): desk.build(part, main)
        page.evaluate("() => { window.deskPoll() }")
        page.desk = desk
        yield page
        settled(page)
        assert page.faults == []
    except Exception:
        shot(page, "failed-bare")
        raise
    finally: page.close()


def pieces(bench):
    "The boxes that `show` of a bench displays."
    from unittest.mock import patch
    from ipywidgets.widgets.widget import _instances
    shown = []
    with patch("IPython.display.display", lambda data, **kw: shown.append(data)): bench.show()
    return [_instances[d["application/vnd.jupyter.widget-view+json"]["model_id"]] for d in shown]
