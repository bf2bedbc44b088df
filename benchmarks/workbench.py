"""How long the workbench takes in a real browser: first paint with 12,000 clips, slider to picture with 10,000, clip to clip;
the same with clips of 400 segments and 100 events; and how long a served page takes from its request to the first painted clip, beside an older checkout.

Run from the repository's root: python benchmarks/workbench.py
It starts JupyterLab on loopback and headless Chromium, and prints a table. Invented labels and scores; one rendered demo clip as media.

    python benchmarks/workbench.py --before OLDER_CHECKOUT [--workspace FOLDER] [--size tiny] [--turns 3]

compares served pages, the two checkouts taking turns, on copies of a folder with `data/` and `runs/` (without one, the demo set is
rendered). An older checkout is made with: git worktree add OLDER_CHECKOUT COMMIT"""
import argparse, json, shutil, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT/"tests"), str(ROOT)]
from browser import CHROMIUM, FLAGS, WAIT, free_port, notebook, opened, running_lab, server_environment, serving, sync_playwright
from valor_lab.media import write_clip

MAKE = '''
import numpy as np, pandas as pd
from valor_lab.harvest import Scores
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.workbench import *
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
LONG = '''
import numpy as np
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.vocab import Vocab
from valor_lab.workbench import BrowseBench, Clips, Player
def some(n, t, c, events, seconds, seed):
    "Labels of n clips of t segments: a run of up to 60 segments for `events` of c events."
    rng, names, ids = np.random.default_rng(seed), [f"event {{k}}" for k in range(c)], [f"clip{{i:05d}}" for i in range(n)]
    vocab, on = Vocab("wide", *[names]*3, *[[1.]*c]*2), np.zeros((3, n, t, c), bool)
    for i in range(n):
        for k in rng.integers(0, c, events):
            for x in on:
                a = rng.integers(0, t - 60)
                x[i, a:a + rng.integers(1, 60), k] = True
    truth = SegmentLabels(ids, on[0], on[1], vocab, np.full(n, seconds))
    return Clips(dict(truth=truth, harvested=SegmentLabels(ids, on[2], on[1], vocab, truth.durations)), truth.weak())
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


def to_frame(page, what, do, times, pause=150):
    "Milliseconds from each of `times` actions (JavaScript) until `what` (JavaScript, `was` is its value before) has changed and is painted."
    step = """([what, act]) => { const see = () => String(eval(what)), was = see(), t0 = performance.now();
        return new Promise(done => { eval(act); const look = () => see() !== was ? requestAnimationFrame(() => done(performance.now() - t0)) : setTimeout(look, 1); look() }) }"""
    found = []
    for _ in range(times):
        found.append(page.evaluate(step, [what, do]))
        page.wait_for_timeout(pause)
    return found


KEY = "document.querySelector('.vl-player').dispatchEvent(new KeyboardEvent('keydown', { key: '%s', bubbles: true }))"
ZOOM = "document.querySelector('.vl-player').dataset.zoom"


def long(chromium, url, n):
    "Clips of 400 segments and 100 events: the list, clip to clip, and the zoom; then one recording of two hours with its map."
    label = f"{n:,} clips, T = 400, 100 events"
    with opened(chromium, url, "long", wait=".jp-Cell", run=False) as page:
        run_cell(page, 0)
        cells_done(page, 0)
        page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1 }")
        first = page.evaluate("""() => { const p = (%s)("document.querySelector('.vl-line')"); window.jupyterapp.commands.execute('notebook:run-cell'); return p }""" % WATCH)
        page.wait_for_selector(".vl-lane")
        page.wait_for_timeout(1000)
        sort = to_frame(page, "document.querySelector('.vl-table').dataset.ready", "document.querySelector('[data-column=harvested]').click()", 10, 400)
        steps = to_frame(page, "document.querySelector('.vl-player h3').textContent", KEY % "n", 15, 400)
        zooms = to_frame(page, ZOOM, KEY % "+", 5) + to_frame(page, ZOOM, KEY % "-", 5)
    with opened(chromium, url, "recording", wait=".vl-lane") as page:
        map_ = to_frame(page, ZOOM, KEY % "+", 8) + to_frame(page, ZOOM, KEY % "-", 8)
        drag = to_frame(page, "getComputedStyle(document.querySelector('.vl-axis')).getPropertyValue('--from')",
                        "document.querySelector('.vl-axis').dispatchEvent(new WheelEvent('wheel', { deltaX: 400, shiftKey: true, bubbles: true, cancelable: true }))", 10) if zoomed_in(page) else []
    return {f"first paint, {label}": [first], f"sort, {label}": sort, f"clip to clip, {label}": steps, f"zoom, {label}": zooms,
            "zoom of two hours in 7,200 segments, with its map": map_, "sideways, two hours in 7,200 segments": drag}


def zoomed_in(page):
    to_frame(page, ZOOM, KEY % "+", 3)
    return True


def affordable(asked, t=400, c=100):
    "So many clips as fit into half of the memory that is free: three arrays of labels, and as much again while they are scored."
    import psutil
    return int(min(asked, psutil.virtual_memory().available/2/(8*t*c)))


SERVE = """
import subprocess, sys
try: from valor_lab.workbench import app
except ImportError: from valor_lab import app                   # before the wings
size, port, folder = sys.argv[1:]
out = app.write_pages(folder, dataset="demo", size=size)
more = dict(dataset="demo", size=size) if "dataset" in app.command.__code__.co_varnames else {}
sys.exit(subprocess.call(app.command(out, int(port), "light", False, **more), cwd=out))
"""
BUILD = """
import json, resource, sys, time
import valor_lab.workbench as w
try: w.load_clips
except AttributeError:                                          # before the wings
    from valor_lab.clipset import load_clips
    w.load_clips = load_clips
w.BrowseBench(w.load_clips("demo", "test", size=sys.argv[1]))
if len(sys.argv) > 2: w.CompareBench(w.load_clips("demo", "test", size=sys.argv[1]))
print(json.dumps([time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024, "torch" in sys.modules]))
"""
PAINTED = """() => { const name = document.querySelector('.vl-player h3'); return !!(name && name.textContent && document.querySelector('.vl-player .vl-lane, .vl-player svg') && document.querySelector('.vl-line')) }"""


def from_checkout(checkout, root): return server_environment(root, HF_HUB_OFFLINE="1") | dict(PYTHONPATH=str(checkout))


def served(chromium, checkout, root, size, name="browse"):
    "Seconds from the request of a page to its first painted clip, and processor seconds of server and kernel meanwhile."
    import psutil
    port = free_port()
    command = [sys.executable, "-c", SERVE, size, str(port), str(root/"pages")]
    with serving(command, f"http://127.0.0.1:{port}/", from_checkout(checkout, root), root, root/"server.log") as p:
        time.sleep(3)                                                              # what a server does on its own is done
        tree = lambda: [q for q in [psutil.Process(p.pid), *psutil.Process(p.pid).children(recursive=True)] if q.is_running()]
        def spent():
            total = 0
            for q in tree():
                try: total += sum(q.cpu_times()[:2])
                except psutil.Error: pass
            return total
        before, page = spent(), chromium.new_context(viewport=dict(width=1400, height=1000)).new_page()
        page.set_default_timeout(WAIT)
        began = time.perf_counter()
        page.goto(f"http://127.0.0.1:{port}/voila/render/{name}.ipynb", wait_until="commit")
        page.wait_for_function(PAINTED, polling=20)
        found = time.perf_counter() - began, spent() - before
        page.context.close()
        for q in reversed(tree()[1:]): q.terminate()
    return found


def compare_checkouts(before, workspace, size, turns):
    "Both checkouts in turns: building the pieces in a process of their own, and pages in a browser."
    ways = {"before": Path(before).resolve(), "now": ROOT}
    rows = {}
    with tempfile.TemporaryDirectory() as d, sync_playwright() as p:
        roots = {}
        for way, checkout in ways.items():
            roots[way] = Path(d)/way
            if workspace: shutil.copytree(workspace, roots[way])
            else: roots[way].mkdir()
            shutil.copytree(checkout/"nbs", roots[way]/"nbs", ignore=shutil.ignore_patterns("api"))
            (roots[way]/"valor.toml").touch()
            env = from_checkout(checkout, roots[way])
            make = "import sys\ntry: from valor_lab.training import prepare\nexcept ImportError: from valor_lab.recipes import prepare\nprepare('demo', sys.argv[1])"
            subprocess.run([sys.executable, "-c", make, size], env=env, check=True, cwd=roots[way], stdout=subprocess.DEVNULL)
        chromium = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        for _ in range(turns):
            for way, checkout in ways.items():
                env = from_checkout(checkout, roots[way])
                for what, more in (("BrowseBench built", []), ("BrowseBench and CompareBench built", ["both"])):
                    out = subprocess.run([sys.executable, "-c", BUILD, size, *more], env=env, check=True, cwd=roots[way], capture_output=True, text=True).stdout
                    cpu, mb, torch = json.loads(out.splitlines()[-1])
                    rows.setdefault(f"{what}, processor s", {}).setdefault(way, []).append(cpu)
                    rows.setdefault(f"{what}, peak MB", {}).setdefault(way, []).append(mb)
                for name in ("browse", "compare"):
                    wall, cpu = served(chromium, checkout, roots[way], size, name)
                    rows.setdefault(f"{name}: request to first painted clip, s", {}).setdefault(way, []).append(wall)
                    rows.setdefault(f"{name}: server and kernel, processor s", {}).setdefault(way, []).append(cpu)
        chromium.close()
    print(f"{'median of ' + str(turns):50}{'before':>9}{'now':>9}{'ratio':>8}")
    for what, found in rows.items():
        a, b = np.median(found["before"]), np.median(found["now"])
        print(f"{what:50}{a:9.2f}{b:9.2f}{a/b:8.2f}")


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--before", help="an older checkout: compare served pages with it, and nothing else")
    options.add_argument("--workspace", help="a folder with data/ and runs/ to copy")
    options.add_argument("--size", default="tiny")
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--long-clips", type=int, default=12_000, help="clips of 400 segments, as far as memory lets")
    options.add_argument("--only", choices=("long",), help="only the long clips")
    a = options.parse_args()
    if a.before: return compare_checkouts(a.before, a.workspace, a.size, a.turns)
    if CHROMIUM is None: sys.exit("no chromium here: apt-get install -y chromium")
    with tempfile.TemporaryDirectory() as d:
        root = Path(d)
        (root/"nbs").mkdir(), (root/"data").mkdir()
        rng = np.random.default_rng(0)
        write_clip(root/"data/clip.mp4", rng.integers(0, 255, (1, 160, 160, 3), np.uint8).repeat(100, 0), np.sin(np.arange(480_000) / 20).astype(np.float32), 10)
        books = dict(paint=[MAKE.format(n=12_000) + TABLE, "table"], train=[MAKE.format(n=10_000) + TUNE.format(truth="None", labelings="{}") + "both.show()"],
                     val=[MAKE.format(n=649) + TUNE.format(truth="truth", labelings="dict(truth=truth)") + "both.show()"])
        n = affordable(a.long_clips)
        books |= dict(long=[LONG.format() + f"bench = BrowseBench(some({n}, 400, 100, 2, 200., 0))", "bench.show()"],
                      recording=[LONG.format() + "Player(some(1, 7200, 20, 12, 7200., 1))"])
        for name, cells in books.items(): (root/f"nbs/{name}.ipynb").write_text(json.dumps(notebook(cells)))
        with running_lab(root) as url, sync_playwright() as p:
            chromium = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
            found = {} if a.only else paint(chromium, url) | slide(chromium, url, "train", "10,000 training clips") | slide(chromium, url, "val", "649 clips with truth")
            found |= long(chromium, url, n)
            chromium.close()
    print(f"{'':58}{'median':>9}{'slowest':>9}   ms")
    for what, ms in found.items(): print(f"{what:58}{np.median(ms):9.0f}{max(ms):9.0f}")


if __name__ == "__main__": main()
