"""How long the workbench takes in a real browser: first paint with 12,000 clips, slider to picture with 10,000, clip to clip.

Run from the repository's root: python benchmarks/workbench.py
It starts JupyterLab on loopback and headless Chromium, and prints a table. Invented labels and scores; one rendered demo clip as media."""
import json, sys, tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT/"tests"), str(ROOT)]
from browser import CHROMIUM, FLAGS, notebook, opened, running_lab, sync_playwright
from valor_lab.media import write_clip

MAKE = '''
import numpy as np, pandas as pd
from valor_lab.harvest import Scores
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.workbench import Tuning, *
from valor_lab.vocab import LLP
from valor_lab.core import resolve
n, rng = {n}, np.random.default_rng(0)
ids = [f"clip{{i:05d}}" for i in range(n)]
mask = rng.random((n, 25)) < .08
on = lambda: mask[:, None] & (np.repeat(rng.random((n, 5, 25)), 2, 1) > .4)
truth, weak = SegmentLabels(ids, on(), on()), WeakLabels(ids, mask)
files = {{c: resolve("data/clip.mp4") for c in ids}}
'''
TABLE = '''
clips = Clips(dict(truth=truth, harvested=SegmentLabels(ids, on(), truth.visual)), weak, files=files)
frame = clip_frame(clips)
table = Table(frame, [Column("harvested"), Column("disagreement", digits=0)], clip_masks(frame, clips), subtitle="weak", picture=first_picture(clips))
'''
TUNE = '''
say = lambda x: x * 4. + rng.normal(12, 2, x.shape).astype(np.float32)
tuning = Tuning(Scores(ids, say(truth.audio), say(truth.visual)), {truth}, weak, split="bench")
both = TuneBench(Clips({labelings}, weak, files=files), tuning)
'''
WATCH = """(what) => new Promise(done => { const t0 = performance.now(); const see = () => { if (eval(what)) requestAnimationFrame(() => done(performance.now() - t0)); else setTimeout(see, 1) }; see() })"""


def run_cell(page, k):
    page.evaluate("k => { const n = window.jupyterapp.shell.currentWidget.content; n.activeCellIndex = k; window.jupyterapp.commands.execute('notebook:run-cell') }", k)


def cells_done(page, k):
    page.wait_for_function("k => window.jupyterapp.shell.currentWidget.content.widgets[k].model.executionCount !== null && window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'", arg=k)


def paint(chromium, url):
    "From the run of the cell that shows the table to its first rows."
    with opened(chromium, url, "paint", wait=".jp-Cell", run=False) as page:
        run_cell(page, 0)
        cells_done(page, 0)
        page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1 }")
        first = page.evaluate("""() => { const p = (%s)("document.querySelector('.vl-line')"); window.jupyterapp.commands.execute('notebook:run-cell'); return p }""" % WATCH)
        sort = [page.evaluate("""c => { const r = document.querySelector('.vl-table'), v = r.dataset.ready, p = (%s)("document.querySelector('.vl-table').dataset.ready !== '" + v + "'"); document.querySelector(`[data-column="${c}"]`).click(); return p }""" % WATCH, c) for c in ("harvested", "disagreement") * 5]
        jump = []
        scroll = """y => { const p = (%s)(`document.querySelector('[aria-rowindex="${Math.floor(y / 54) + 2}"]')`); document.querySelector('.vl-scroll').scrollTop = y; return p }""" % WATCH
        for k in range(10): jump.append(page.evaluate(scroll, 54 * (700 + 1000 * k)))
        return {"first paint, 12,000 clips": [first], "sort 12,000 clips": sort, "jump to rows not yet loaded": jump}


def slide(chromium, url, name, label):
    "From a key press on a handle to the picture with new lanes and numbers, and from clip to clip."
    with opened(chromium, url, name, wait=".vl-tr") as page:
        page.wait_for_function("() => document.querySelector('.vl-player video').readyState >= 2")
        page.wait_for_timeout(1500)
        event = page.evaluate("() => document.querySelector('.vl-player .vl-event').textContent")
        page.locator(f'.vl-tr[data-event="{event}"] [role=slider]').first.focus()
        press = """() => { const r = document.querySelector('.vl-panel'), v = r.dataset.done, p = (%s)("document.querySelector('.vl-panel').dataset.done !== '" + v + "'"); document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'PageUp', bubbles: true })); return p }""" % WATCH
        moves = []
        for _ in range(25):
            moves.append(page.evaluate(press))
            page.wait_for_timeout(150)
        go = """() => { const t = document.querySelector('.vl-player h3').textContent, p = (%s)("document.querySelector('.vl-player h3').textContent !== '" + t + "'"); document.querySelector('.vl-player').dispatchEvent(new KeyboardEvent('keydown', { key: 'n', bubbles: true })); return p }""" % WATCH
        steps = []
        for _ in range(15):
            steps.append(page.evaluate(go))
            page.wait_for_timeout(700)
        return {f"key press to picture, {label}": moves, f"clip to clip, lanes, {label}": steps}


def main():
    if CHROMIUM is None: sys.exit("no chromium here: apt-get install -y chromium")
    with tempfile.TemporaryDirectory() as d:
        root = Path(d)
        (root/"nbs").mkdir(), (root/"data").mkdir()
        rng = np.random.default_rng(0)
        write_clip(root/"data/clip.mp4", rng.integers(0, 255, (1, 160, 160, 3), np.uint8).repeat(100, 0), np.sin(np.arange(480_000) / 20).astype(np.float32), 10)
        books = dict(paint=[MAKE.format(n=12_000) + TABLE, "table"], train=[MAKE.format(n=10_000) + TUNE.format(truth="None", labelings="{}") + "both.show()"],
                     val=[MAKE.format(n=649) + TUNE.format(truth="truth", labelings="dict(truth=truth)") + "both.show()"])
        for name, cells in books.items(): (root/f"nbs/{name}.ipynb").write_text(json.dumps(notebook(cells)))
        with running_lab(root) as url, sync_playwright() as p:
            chromium = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
            found = paint(chromium, url) | slide(chromium, url, "train", "10,000 training clips") | slide(chromium, url, "val", "649 clips with truth")
            chromium.close()
    print(f"{'':48}{'median':>9}{'slowest':>9}   ms")
    for what, ms in found.items(): print(f"{what:48}{np.median(ms):9.0f}{max(ms):9.0f}")


if __name__ == "__main__": main()
