"""The workbench in a real browser: JupyterLab and Voilà on loopback, Debian's Chromium, mouse and keyboard.

Needs chromium and the playwright package. Each test waits for what the page shows, not for a time. Screenshots stay in test-artifacts/."""
import json, os, re, shutil, subprocess, sys

import numpy as np, pytest

from browser import CHROMIUM, FLAGS, MISSING, REPO, WAIT, at_rest, both_themes, fill, free_port, idle, in_view, no_overflow, notebook, opened, running_lab, server_environment, serving, settled, shot, sync_playwright

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.skipif(sync_playwright is None, reason="no playwright here: pip install playwright")]
SMALL = dict(browse=dict(size="tiny"), tune=dict(size="tiny"), compare=dict(size="tiny"), train=dict(size="tiny", preset="han", epochs=2, device="cpu"))
PARTS = "data", "runs", "nbs"   # of the project: what tests may change
BAD = "<img src=x onerror=window.hacked=1>"

PIECES = """
import glob, os
import numpy as np, pandas as pd
from pathlib import Path
from valor_lab.core import resolve
from valor_lab.labels import SegmentLabels
from valor_lab.harvest import Scores
from valor_lab.workbench import Tuning, Clips, CompareBench, Launcher, TuneBench, BrowseBench
from valor_lab.vocab import Vocab
bad = "<img src=x onerror=window.hacked=1>"
vocab = Vocab("bad", [bad, "Dog"], [bad, "a dog"], [bad, "a dog"], [14, 14], [14, 14])
ids, rng, T = [bad + "clip", "b", "outside"], np.random.default_rng(0), 7
on = np.zeros((3, T, 2), bool); on[:, 2:5] = True
truth = SegmentLabels(ids, on, on, vocab, [10, 10, 10])
scores = Scores(ids, on * 5 + rng.normal(12, 1, on.shape), on * 5 + rng.normal(12, 1, on.shape), vocab, np.full(3, 10.))
video = str(sorted(resolve("data/demo/tiny/videos").glob("*.mp4"))[0])
folder = resolve("data/bad-presets"); folder.mkdir(exist_ok=True); (folder/(bad + ".toml")).write_text("")
make = lambda **more: Clips({"truth": truth, **more}, truth.weak(), files={bad + "clip": video, "b": video, "outside": "/etc/hostname"}, findings={ids[0]: bad}, failures={ids[1]: bad}, complaints=(bad,))
"""
TUNE = PIECES + """
both = TuneBench(make(), Tuning(scores, truth, truth.weak(), split=bad), rescore=lambda v: 1 / 0, folder=folder)
both.player.by_url = False
both.show()
"""
COMPARE = PIECES + """
compare = CompareBench(make(**{bad: SegmentLabels(ids, ~on, on, vocab, [10, 10, 10]), "other": truth}), n=20)
compare.show()
desk = Launcher(out=str(resolve("data/bad-runs")), root=str(resolve("data")))
desk.now = lambda: None
desk.labels, desk.message, desk.log = ["", bad], bad, bad
desk.jobs = [dict(name=bad, state=bad, seconds=1)]
desk.curves = [dict(title=bad, lines=[dict(name=bad, x=[1, 2], y=[1., 2.])])]
desk
"""
LONG = """
import numpy as np
from valor_lab.labels import SegmentLabels
from valor_lab.vocab import Vocab
from valor_lab.workbench import BrowseBench, Clips
vocab, T, n = Vocab("sport", *[["Long jump", "Diving"]] * 3, [1, 1], [1, 1]), 400, 5
on = np.zeros((n, T, 2), bool); on[:, 100:160, 0] = True; on[:, 300:302, 1] = True
none = np.zeros_like(on)
truth = SegmentLabels([f"untrimmed_{i}" for i in range(n)], none, on, vocab, [6., 212.5, 31.2, 900., 75.])
found = SegmentLabels(truth.ids, none, np.roll(on, 7, 1), vocab, truth.durations)
browse = BrowseBench(Clips({"truth": truth, "found": found}, truth.weak(), modalities=("visual",)))
browse.show()
"""


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    "The notebooks, set to a tiny demo set of their own."
    from papermill.iorw import load_notebook_node, write_ipynb
    from papermill.parameterize import parameterize_notebook
    root = tmp_path_factory.mktemp("workbench")
    (root/"nbs").mkdir()
    for name, values in SMALL.items(): write_ipynb(parameterize_notebook(load_notebook_node(str(REPO/f"nbs/{name}.ipynb")), values), str(root/f"nbs/{name}.ipynb"))
    for name, cells in dict(pieces=TUNE, names=COMPARE, long=LONG).items(): (root/f"nbs/{name}.ipynb").write_text(json.dumps(notebook([cells])))
    (root/"nbs/launch.ipynb").write_text(json.dumps(notebook(["from valor_lab.workbench import show_launcher\nshow_launcher(size='tiny')"])))
    for part in ("data/demo/tiny", "data/stores/demo-tiny"):
        if (REPO/part).is_dir(): shutil.copytree(REPO/part, root/part)
    code = "from valor_lab.training import prepare_demo; prepare_demo('tiny', progress=False)"
    subprocess.run([sys.executable, "-c", code], env=server_environment(root, HF_HUB_OFFLINE="1"), check=True, cwd=root, timeout=900)
    for part in PARTS: (root/part).mkdir(exist_ok=True), shutil.copytree(root/part, root/".kept"/part)
    return root


@pytest.fixture(autouse=True)
def as_it_was(project):
    "A test leaves the project as it found it, also one that fails in the middle: it is tried once more."
    yield
    from valor_lab.workbench import Job, list_jobs
    for name in list_jobs(project/"runs/jobs").name: Job(project/"runs/jobs"/name).stop()
    for part in PARTS:
        for _ in range(50):                                      # a kernel may write its last word meanwhile
            shutil.rmtree(project/part, ignore_errors=True)
            if not (project/part).exists(): break
        shutil.copytree(project/".kept"/part, project/part)


@pytest.fixture(scope="session")
def lab(project):
    with running_lab(project) as url: yield url


head = lambda page: float(page.evaluate("() => document.querySelector('.vl-head').style.transform.match(/[\\d.]+/)[0]"))
title = lambda page: page.inner_text(".vl-player h3")
shows = lambda page, clip: page.wait_for_function("t => document.querySelector('.vl-player h3').textContent === t", arg=clip)
at = lambda page, seconds, slack=.02: page.wait_for_function("([t, e]) => Math.abs(parseFloat(document.querySelector('.vl-ticks').getAttribute('aria-valuenow')) - t) < e", arg=[seconds, slack])


def ready(page):
    "Wait until the clip in view can be played."
    page.wait_for_function("() => document.querySelector('.vl-player video').readyState >= 2 && !document.querySelector('.vl-play').disabled")


def track(page, fraction, row=".vl-ticks"):
    "A point on the time axis."
    b = in_view(page.locator(row))
    return b["x"] + fraction * b["width"], b["y"] + b["height"] / 2


def drag(page, start, *stops):
    "Press at one point, pass the others, let go."
    page.mouse.move(*start), page.mouse.down()
    for p in stops: page.mouse.move(*p, steps=4)
    page.mouse.up()


def painted(page, canvas):
    "Wait until a canvas shows more than one colour."
    page.wait_for_function("s => { const c = document.querySelector(s), d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; for (let i = 4; i < d.length; i += 4) if (d[i] !== d[0] || d[i + 3] !== d[3]) return true; return false }", arg=canvas)


def test_a_clip_is_picked_played_looped_and_left_by_mouse_and_keys(chromium, lab):
    with opened(chromium, lab, "browse", wait=".vl-line") as page:
        page.locator(".vl-line").nth(1).click()
        page.wait_for_function("() => document.querySelector('.vl-player h3').textContent === document.querySelector('.vl-line[aria-selected=true]')?.dataset.id")
        ready(page)
        assert page.get_attribute(".vl-player", "data-media") == "url"
        painted(page, ".vl-film canvas"), painted(page, ".vl-wave")
        page.mouse.click(*track(page, .4))
        page.wait_for_function("() => Math.abs(document.querySelector('.vl-player video').currentTime - 4) < .3")
        before = head(page)
        page.keyboard.press("Space")
        page.wait_for_function("b => parseFloat(document.querySelector('.vl-head').style.transform.match(/[\\d.]+/)[0]) > b + 5", arg=before)
        page.wait_for_function("() => document.querySelector('.vl-player video').webkitAudioDecodedByteCount > 0")    # there is sound
        page.keyboard.press("Space")
        page.wait_for_function("() => document.querySelector('.vl-player video').paused")
        page.keyboard.press("Home"), page.keyboard.press("ArrowRight"), page.keyboard.press("ArrowRight")
        assert abs(head(page) - 20) < 1e-6                    # two segments of one second each
        page.keyboard.press("Home"), page.keyboard.press("Shift+ArrowRight")
        borders = page.evaluate("() => [...document.querySelectorAll('.vl-events .vl-lane:not(.vl-weak)')].flatMap(l => [...l.dataset.cells].map((c, i, a) => (c !== '.' && c !== 'm') !== (i > 0 && a[i - 1] !== '.' && a[i - 1] !== 'm') ? i : 0)).filter(Boolean)")
        assert abs(head(page) - 10 * min([*borders, 10])) < 1e-6      # the first border of an event
        page.keyboard.press("s")
        page.wait_for_function("() => document.querySelector('.vl-player video').playbackRate === 1.5")
        page.evaluate("() => { const v = document.querySelector('.vl-player video'); window.back = 0; window.seen = []; v.addEventListener('seeked', () => window.back++); setInterval(() => v.paused || window.seen.push(v.currentTime), 50) }")
        drag(page, track(page, .2, ".vl-film"), track(page, .3, ".vl-film"))      # on the pictures it loops, on the seconds it zooms
        page.wait_for_selector(".vl-loop:not([hidden])")
        page.evaluate("() => { window.back = 0 }")
        page.keyboard.press("Space")
        page.wait_for_function("() => window.back >= 3")        # it came to the end of the span and began again, more than once
        assert page.evaluate("() => Math.min(...window.seen) > 1.8 && Math.max(...window.seen) < 9")   # of ten seconds: it began again, it did not play on
        page.click(".vl-loop")
        page.wait_for_selector(".vl-loop", state="hidden")
        first = title(page)
        page.focus(".vl-player")
        page.keyboard.press("n")
        page.wait_for_function("t => document.querySelector('.vl-player h3').textContent !== t", arg=first)
        page.keyboard.press("p")
        shows(page, first)
        page.click(".vl-spectrum-button")
        painted(page, ".vl-spectrum")
        others = page.locator(".vl-others option").nth(1).inner_text()
        page.select_option(".vl-others", others)                 # an event that does not occur, on demand
        page.wait_for_selector(f'.vl-lane[data-event="{others}"]')


def test_clips_are_found_by_words_filters_and_what_is_worst(chromium, lab, project):
    with opened(chromium, lab, "browse", wait=".vl-line") as page:
        count = lambda: page.inner_text(".vl-table h3")
        fill(page, ".vl-table input[type=search]", "speech")
        page.wait_for_function("() => / of /.test(document.querySelector('.vl-table h3').textContent)")
        page.wait_for_function("() => [...document.querySelectorAll('.vl-line .vl-sub')].length && [...document.querySelectorAll('.vl-line .vl-sub')].every(e => /speech/i.test(e.textContent))")
        fill(page, ".vl-table input[type=search]", "")
        page.wait_for_function("() => !/ of /.test(document.querySelector('.vl-table h3').textContent)")
        for split in ("train", "test"):
            page.select_option('.vl-table [data-filter="split"]', split)
            page.wait_for_function("s => document.querySelectorAll('.vl-line').length && / of /.test(document.querySelector('.vl-table h3').textContent)", arg=split)
        assert page.locator('.vl-table [data-filter="alignment"] option').count() > 1
        options = page.locator('.vl-table [data-switch="score"] option').all_inner_texts()
        assert len(options) == 10
        page.select_option('.vl-table [data-switch="score"]', label="score: event-level Type@AV")
        page.wait_for_function("() => document.querySelector('.vl-table .vl-table-note').textContent.includes('event-level Type@AV')")
        page.select_option(".vl-table .vl-sort", "harvested")
        page.wait_for_function("() => document.querySelector('.vl-table [data-column=harvested]').getAttribute('aria-pressed') === 'true' && document.querySelectorAll('.vl-line').length > 2")
        from valor_lab.workbench import clip_frame, load_clips
        clips = load_clips("demo", "test", "tiny", project/"data", project/"runs")
        worst = clip_frame(clips, "event/type").sort_values("harvested", kind="stable")
        page.wait_for_function("c => document.querySelector('.vl-line[aria-rowindex=\"1\"]')?.dataset.id === c", arg=worst.index[0])
        assert page.locator('.vl-line[aria-rowindex="1"] .vl-cell').first.inner_text() == f"{worst.harvested.iloc[0]:.1f}"
        page.focus(".vl-scroll"), page.keyboard.press("Home"), page.keyboard.press("ArrowDown")
        shows(page, worst.index[1])                              # the list is walked by keys, and the player follows
        both_themes(page, "browse")
        for width in (1000, 1900):
            page.set_viewport_size(dict(width=width, height=1100))
            no_overflow(page)
            shot(page, f"browse-{width}")


def test_playing_lays_nothing_out_and_costs_little(chromium, lab):
    with opened(chromium, lab, "pieces", wait=".vl-player") as page:
        ready(page)
        assert page.get_attribute(".vl-player", "data-media") == "blob"    # by_url=False: bytes through the kernel
        page.focus(".vl-player")
        page.keyboard.press("Space")
        page.wait_for_function("() => parseFloat(document.querySelector('.vl-head').style.transform.match(/[\\d.]+/)[0]) > 10")
        page.evaluate("() => { document.querySelector('.vl-player').frames = [] }")
        cdp, events, done = page.context.new_cdp_session(page), [], []
        cdp.on("Tracing.dataCollected", lambda e: events.extend(e["value"]))
        cdp.on("Tracing.tracingComplete", lambda e: done.append(1))
        cdp.send("Tracing.start", dict(transferMode="ReportEvents", traceConfig=dict(includedCategories=["devtools.timeline"])))
        page.wait_for_function("() => document.querySelector('.vl-player').frames.length >= 40 || document.querySelector('.vl-player video').paused")
        cdp.send("Tracing.end")
        while not done: page.wait_for_timeout(50)
        frames, layouts = sorted(page.evaluate("() => document.querySelector('.vl-player').frames")), [e for e in events if e["name"] == "Layout"]
        assert len(frames) >= 5 and frames[len(frames) // 2] <= 25, frames[-5:]
        assert not layouts, layouts[:2]
        print(f"frames {len(frames)}, script median {frames[len(frames) // 2]:.2f} ms, layouts {len(layouts)}")


def test_names_with_html_are_text_and_files_outside_are_refused(chromium, lab):
    safe = lambda page: page.evaluate("() => [window.hacked === undefined, document.querySelectorAll('.vl img[src=x]').length]") == [True, 0]
    with opened(chromium, lab, "pieces", wait=".vl-panel") as page:
        clip = BAD + "clip"
        page.locator(".vl-line", has_text=clip).first.click()
        shows(page, clip)
        assert page.locator(".vl-event").first.inner_text() == BAD and page.locator(".vl-name").first.inner_text() == BAD      # an event
        assert BAD in page.inner_text(".vl-side")                                                                              # a finding
        assert BAD in page.inner_text(".vl-panel h3")                                                                          # a split
        assert BAD in page.locator(".vl-preset option").all_inner_texts()                                                      # a preset's file
        page.locator(".vl-name").first.click()
        page.wait_for_selector(".vl-detail h4")
        assert page.inner_text(".vl-detail h4") == BAD and page.input_value(".vl-clip-caption") == BAD                         # a caption
        page.locator(".vl-line", has_text="outside").first.click()
        page.wait_for_function("() => document.querySelector('.vl-screen p').textContent.includes('outside the data folders')")
        assert page.locator(".vl-lane[data-name=truth]").first.get_attribute("data-cells") == "..ooo.."                        # T is 7 here
        assert safe(page)
        shot(page, "names")
    with opened(chromium, lab, "names", wait=".vl-launcher") as page:
        page.wait_for_selector(".vl-line")
        texts = page.evaluate("() => [...document.querySelectorAll('.vl')].map(e => e.innerText).join(' ')")
        assert texts.count(BAD) > 6
        assert page.locator(f'button[data-name="{BAD}"]').count() == 1 and page.inner_text(".vl-log") == BAD and BAD in page.inner_text(".vl-job") and page.inner_text(".vl-message") == BAD
        assert safe(page)


def test_every_control_has_a_name_and_can_be_reached_by_keys(chromium, lab):
    nameless = """() => [...document.querySelectorAll('.vl button, .vl input, .vl select, .vl [role=slider], .vl [role=grid], .vl [role=listbox], .vl [tabindex="0"], .vl canvas[role=img]')].filter(e => e.offsetParent !== null)
        .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length || e.getAttribute('title') || e.getAttribute('placeholder'))).map(e => e.outerHTML.slice(0, 120))"""
    for name in ("browse", "tune", "compare", "launch"):
        with opened(chromium, lab, name, wait=".vl") as page:
            page.wait_for_selector(".vl-launcher" if name == "launch" else ".vl-line")
            assert page.evaluate(nameless) == []
            box = {"browse": ".vl-player", "tune": ".vl-panel", "compare": ".vl-player", "launch": ".vl-launcher"}[name]
            wanted = page.evaluate("s => [...document.querySelectorAll(`${s} button, ${s} input, ${s} select, ${s} [role=slider]`)].filter(e => e.offsetParent !== null && !e.disabled && e.tabIndex >= 0).length", box)
            page.evaluate("s => { const b = document.querySelector(s); b.setAttribute('tabindex', '-1'); b.focus(); window.reached = new Set(); b.addEventListener('focusin', e => window.reached.add(e.target)) }", box)
            for _ in range(wanted + 3): page.keyboard.press("Tab")
            reached = page.evaluate("s => [...window.reached].filter(e => e.matches('button, input, select, [role=slider]')).length", box)
            assert reached >= wanted, (name, reached, wanted)
            ring = page.evaluate("s => { const e = document.querySelector(`${s} button:not(:disabled)`); e.focus({ focusVisible: true }); return getComputedStyle(e).outlineStyle }", box)
            assert ring == "solid"                               # the focus can be seen


def test_a_long_clip_without_media_is_a_timeline_on_which_time_passes(chromium, lab):
    with opened(chromium, lab, "long", wait=".vl-line") as page:
        page.locator(".vl-line", has_text="untrimmed_1").click()
        shows(page, "untrimmed_1")
        assert page.get_attribute(".vl-player", "data-media") == "none" and page.locator(".vl-film").is_hidden() and "no media file" in page.inner_text(".vl-screen")
        assert set(page.evaluate("() => [...document.querySelectorAll('.vl-events .vl-lane:not(.vl-weak)')].map(e => e.dataset.modality)")) == {"visual"}
        page.mouse.click(*track(page, .5))
        at(page, 106.25, 1)
        page.keyboard.press("Shift+ArrowRight")
        at(page, 212.5 * 300 / 400)                              # the next border of an event
        page.locator(".vl-line", has_text="untrimmed_0").click()
        shows(page, "untrimmed_0")
        page.focus(".vl-player")
        page.keyboard.press("Space")
        page.wait_for_function("() => parseFloat(document.querySelector('.vl-head').style.transform.match(/[\\d.]+/)[0]) > 8")
        page.keyboard.press("s")
        page.wait_for_function("() => document.querySelector('.vl-play').getAttribute('aria-pressed') === 'false'")       # it stops at the end
        at(page, 6)
        shot(page, "long")


def test_labels_are_painted_undone_saved_and_used(chromium, lab, project):
    paint = ".vl-edit[data-modality=visual]"
    cells = lambda page: page.locator(paint).first.get_attribute("data-cells")
    becomes = lambda page, c: page.wait_for_function("([s, c]) => document.querySelector(s)?.dataset.cells === c", arg=[paint, c])
    changes = lambda page, c: page.wait_for_function("([s, c]) => document.querySelector(s).dataset.cells !== c", arg=[paint, c])
    point = lambda b, x: (b["x"] + x * b["width"], b["y"] + b["height"] / 2)
    box = lambda page: in_view(page.locator(paint).first)
    with opened(chromium, lab, "compare", wait=".vl-line") as page:
        ready(page)
        clip = title(page)
        page.focus(".vl-player")
        page.keyboard.press("e")
        fill(page, ".vl-overlay-name", "mine"), fill(page, ".vl-who", "Ada")
        page.click(".vl-editor .vl-start")
        page.wait_for_selector(paint)
        before = cells(page)
        empty = "." * 10
        if before != empty: drag(page, point(box(page), .01), point(box(page), .99)), changes(page, before)          # fill or erase the whole lane
        if cells(page) != empty: drag(page, point(box(page), .05), point(box(page), .95)), becomes(page, empty)
        drag(page, point(box(page), .35), point(box(page), .55))
        becomes(page, "...ooo....")                                          # paint
        drag(page, point(box(page), .6), point(box(page), .8))
        becomes(page, "...ooooo..")                                          # drag the right edge
        drag(page, point(box(page), .3), point(box(page), .4))
        becomes(page, "....oooo..")                                          # and the left one inwards
        page.mouse.click(*point(box(page), .55))
        becomes(page, "....o.oo..")                                          # erase a segment
        page.keyboard.press("Control+z")
        becomes(page, "....oooo..")
        page.keyboard.press("Control+Shift+z")
        becomes(page, "....o.oo..")
        page.focus(".vl-player"), page.keyboard.press("Home")
        page.locator(paint).first.focus()
        page.keyboard.press("Enter")
        becomes(page, "o...o.oo..")                                          # by keys alone: the segment under the playhead
        shot(page, "editing")
        page.click(".vl-editor .vl-save")
        page.wait_for_function("() => document.querySelector('.vl-correction').textContent.startsWith('saved as')")
        page.click(".vl-editor .vl-export")
        page.wait_for_function("() => document.querySelector('.vl-correction').textContent.includes('official format')")
        event = page.locator(paint).first.get_attribute("data-event")
    edits = json.loads((project/"data/overlays/mine.json").read_text())["edits"]
    assert {e["who"] for e in edits} == {"Ada"} and {e["clip"] for e in edits} == {clip} and all(e["when"] for e in edits)
    from valor_lab.workbench import load_clips
    from valor_lab.datasets import load_labels
    from valor_lab.labels import read_segments
    clips = load_clips("demo", "test", "tiny", project/"data", project/"runs", truth="mine")
    corrected, n, c = clips.labelings["mine"], clips.place[clip], clips.vocab.index(event)
    assert "".join(".o"[x] for x in corrected.visual[n, :, c].astype(int)) == "o...o.oo.." and clips.truth == "mine"
    again = read_segments(project/"data/overlays/mine_audio.csv", project/"data/overlays/mine_visual.csv", clips.ids)
    assert (again.visual == corrected.visual).all() and (load_labels("mine", project/"data").select(clips.ids).visual == corrected.visual).all()
    with opened(chromium, lab, "compare", wait=".vl-line") as page:          # another kernel, another day
        page.locator(".vl-table").last.locator("input[type=search]").fill(clip)
        page.locator(".vl-line", has_text=clip).first.click()
        shows(page, clip)
        page.focus(".vl-player")
        page.keyboard.press("e")
        fill(page, ".vl-overlay-name", "mine")
        page.click(".vl-editor .vl-start")
        page.wait_for_selector(paint)
        becomes(page, "o...o.oo..")
        page.select_option(".vl-truth", "mine")                               # and as the truth that the others are scored against
        page.wait_for_function("() => document.querySelector('.vl-events .vl-lane:not(.vl-weak)').dataset.name === 'mine'")


def row(page, event):
    "Both thresholds of an event as the panel shows them."
    return page.evaluate("""e => { const r = document.querySelector(`.vl-tr[data-event="${e}"]`), v = t => +r.querySelector(`[data-teacher=${t}] [role=slider]`).getAttribute('aria-valuenow'); return { clip: v('clip'), clap: v('clap') } }""", event)


def test_tune_moves_thresholds_and_shows_what_python_computes(chromium, lab, project):
    from valor_lab.workbench import cells as letters, load_clips
    from valor_lab.workbench import begin_tuning
    clips = load_clips("demo", "val", "tiny", project/"data", None)
    tuning = begin_tuning(clips)
    event, second = (tuning.vocab.events[i] for i in clips.weak.mask.sum(0).argsort()[::-1][:2])
    same = lambda page: page.wait_for_function("""([e, f, sums]) => document.querySelector(`.vl-tr[data-event="${e}"] .vl-f`).textContent === f && JSON.stringify([...document.querySelectorAll('.vl-sums b')].slice(0, 3).map(x => x.textContent)) === sums""",
        arg=[event, f"{tuning.numbers().F[event]:.1f}", json.dumps([f"{v:.1f}" for v in tuning.sums().value], separators=(",", ":"))])
    value = lambda m: tuning.value[m][tuning.vocab.index(event)]
    with opened(chromium, lab, "tune", wait=".vl-tr") as page:
        same(page)
        page.locator(f'.vl-tr[data-event="{event}"] .vl-hist[data-teacher=clip] [role=slider]').focus()
        for _ in range(3):                                             # the handle by keys
            page.keyboard.press("PageDown")
            tuning.move(event, "clip", round(value("visual") - 1, 2))
        same(page)
        assert abs(row(page, event)["clip"] - value("visual")) < .011
        clip = next(c for c, m in zip(clips.ids, clips.weak.mask[:, tuning.vocab.index(event)]) if m)
        page.locator(".vl-line", has_text=clip).first.click()
        shows(page, clip)
        lanes = page.evaluate("e => [...document.querySelectorAll(`.vl-lane[data-event='${e}'][data-name=harvested]`)].map(x => [x.dataset.modality, x.dataset.cells])", event)
        n, c = clips.place[clip], tuning.vocab.index(event)
        assert len(lanes) == 3
        for modality, seen in lanes: assert seen == letters(getattr(tuning.labels, modality)[n, :, c], getattr(tuning.truth, modality)[n, :, c])
        assert page.locator(f".vl-player [data-event='{event}'] .vl-heat u").count() == 2          # the threshold in both strips of scores
        flip = page.locator(".vl-table").nth(1).locator(".vl-line").first
        flip.click()                                                   # a flipped segment
        page.wait_for_function("() => document.querySelectorAll('.vl-table')[1].querySelector('.vl-line')?.innerText.includes(document.querySelector('.vl-player h3').textContent)")
        at(page, float(flip.locator(".vl-cell").inner_text()))
        histogram = page.locator(f'.vl-tr[data-event="{event}"] .vl-hist[data-teacher=clap]')
        b = at_rest(histogram)                                         # the lists above have grown
        done = page.get_attribute(".vl-panel", "data-done")
        drag(page, (b["x"] + 5, b["y"] + 10), (b["x"] + .3 * b["width"], b["y"] + 10), (b["x"] + .45 * b["width"], b["y"] + 10))      # the handle by mouse
        page.wait_for_function("d => document.querySelector('.vl-panel').dataset.done !== d", arg=done)
        tuning.move(event, "clap", row(page, event)["clap"])
        same(page)
        page.keyboard.press("Control+z"), tuning.undo()
        same(page)
        page.keyboard.press("Control+Shift+z"), tuning.redo()
        same(page)
        number = page.locator(f'.vl-tr[data-event="{event}"] input[type=number]').first
        number.fill("15.5"), number.press("Enter")                     # the number typed in
        tuning.move(event, "clip", 15.5)
        same(page)
        page.locator(f'.vl-tr[data-event="{event}"] [data-teacher=clap] .vl-optimum button').click()      # one click on a mark
        tuning.apply("optimum", event, "clap")
        same(page)
        page.click(".vl-all-published"), tuning.apply("published")
        same(page)
        page.click(".vl-all-optimum"), tuning.apply("optimum")
        same(page)
        page.click('[data-gate="none"]'), tuning.set_gate("none")      # any event may occur in any clip
        same(page)
        page.click('[data-gate="weak label"]'), tuning.set_gate("weak label")
        same(page)
        page.locator(f'.vl-tr[data-event="{event}"] .vl-name').click()
        page.wait_for_selector(f'.vl-panel[data-curve="{event}"]')
        painted(page, ".vl-detail canvas")
        fill(page, ".vl-preset-name", "by-test")
        page.click(".vl-keep .vl-save")
        page.wait_for_function("() => document.querySelector('.vl-panel .vl-message').textContent.includes('by-test.toml')")
        page.wait_for_function("() => document.querySelector('.vl-panel .vl-note').textContent.includes('flatter')")             # tuned on the split in view
        page.locator(f'.vl-tr[data-event="{second}"] .vl-hist[data-teacher=clip] [role=slider]').focus()
        moved = row(page, second)["clip"]
        page.keyboard.press("End")                                     # no segment is left
        page.wait_for_function("() => document.querySelectorAll('.vl-sums b')[3].textContent !== '0'")
        page.select_option(".vl-keep .vl-preset", "by-test")
        page.wait_for_function("([e, v]) => Math.abs(+document.querySelector(`.vl-tr[data-event='${e}'] [data-teacher=clip] [role=slider]`).getAttribute('aria-valuenow') - v) < .011", arg=[second, moved])
        both_themes(page, "tune")
        for width in (1000, 1900):
            page.set_viewport_size(dict(width=width, height=1200))
            no_overflow(page)
            shot(page, f"tune-{width}")


def test_a_caption_and_a_new_event_are_scored_again_and_doubted(chromium, lab):
    with opened(chromium, lab, "tune", wait=".vl-tr") as page:
        event = page.locator(".vl-tr").nth(1).get_attribute("data-event")
        bins = "e => { const c = document.querySelector(`.vl-tr[data-event='${e}'] canvas`); return c.toDataURL() }"
        page.locator(f'.vl-tr[data-event="{event}"] .vl-name').click()
        page.wait_for_selector(f'.vl-panel[data-curve="{event}"]')
        was = page.evaluate(bins, event)
        fill(page, ".vl-clip-caption", "a photograph of a zebra")
        page.click(".vl-rescore")
        page.wait_for_function("() => document.querySelector('.vl-detail .vl-doubt')?.textContent.includes('means nothing to the demo teachers')")
        assert "zebra" in page.inner_text(".vl-detail .vl-doubt")
        page.wait_for_function(f"([e, was]) => ({bins})(e) !== was", arg=[event, was])              # the histogram is drawn anew
        fill(page, ".vl-new-event", "Zebra"), fill(page, ".vl-clap-caption", "the sound of hooves")
        page.click(".vl-add-event")
        page.wait_for_selector('.vl-tr[data-event="Zebra"]')
        page.wait_for_function("() => document.querySelector('.vl-panel .vl-note').textContent.includes('Zebra')")     # no truth speaks of it
        shot(page, "captions")


def test_training_runs_by_hand_and_from_the_launcher_and_appears_in_compare(chromium, lab, project):
    with opened(chromium, lab, "train", wait=".vl-launcher") as page:       # the notebook itself, run by a person
        assert list((project/"runs").glob("han-*/scores.json"))
        both_themes(page, "train-notebook")
    state = lambda page, *names: page.wait_for_selector(", ".join(f".vl-launcher[data-state={n}]" for n in names))
    with opened(chromium, lab, "launch", wait=".vl-launcher") as page:
        page.select_option(".vl-launcher .vl-preset", "han")
        fill(page, ".vl-epochs", "2"), fill(page, ".vl-seeds", "1")
        page.click(".vl-launcher .vl-start")
        state(page, "running"), state(page, "finished", "failed")
        assert page.get_attribute(".vl-launcher", "data-state") == "finished", page.inner_text(".vl-log")
        assert page.get_attribute(".vl-launcher .vl-message", "data-wrong") == "false"
        page.wait_for_function("() => +document.querySelector('.vl-curve')?.dataset.points >= 2")
        both_themes(page, "train")
        fill(page, ".vl-epochs", "100000"), fill(page, ".vl-seeds", "2")
        page.click(".vl-launcher .vl-start")
        state(page, "running")
        page.wait_for_function("() => +document.querySelector('.vl-curve')?.dataset.points >= 3")          # the curve grows while it runs
        running = page.locator('.vl-job[aria-selected="true"]').get_attribute("data-job")
    with opened(chromium, lab, "launch", wait=".vl-launcher") as page:      # the page was closed and the kernel killed; the job was not
        page.click(f'.vl-job[data-job="{running}"]')
        state(page, "running")
        page.click(".vl-launcher .vl-stop")
        state(page, "stopped")
        fill(page, ".vl-overrides", "no_such_option = 1"), fill(page, ".vl-epochs", "1")
        page.click(".vl-launcher .vl-start")
        page.wait_for_function("() => document.querySelector('.vl-launcher .vl-message').textContent.includes('no_such_option')")       # refused at once
        assert page.get_attribute(".vl-launcher", "data-state") == "stopped"
        shot(page, "train-refused")
    run = next(p.parent.name for p in (project/"runs").glob("han-*-s1-*/scores.json"))
    from valor_lab.workbench import event_frame, load_clips, method_frame, method_names
    clips = load_clips("demo", "test", "tiny", project/"data", project/"runs")
    groups = method_names(clips)
    method = next(m for m, names in groups.items() if run in names)             # with the run of the notebook, which differs in its seed
    assert len(groups[method]) == 2
    button = lambda name: f'button[data-name="{name}"]'
    with opened(chromium, lab, "compare", wait=".vl-player") as page:
        page.wait_for_selector(button(method))
        for name in page.locator('button[data-name][aria-pressed="true"]').evaluate_all("all => all.map(e => e.dataset.name)"):
            if name not in ("harvested", method): page.click(button(name)), page.wait_for_selector(button(name) + '[aria-pressed="false"]')
        if page.get_attribute(button(method), "aria-pressed") != "true": page.click(button(method))
        page.wait_for_selector(f'.vl-lane[data-name="{groups[method][0]}"]')
        chosen = {m: groups[m] for m in ("harvested", method)}
        row = method_frame(clips, chosen, "harvested").loc[method]
        page.wait_for_function("([m, d, v]) => { const r = document.querySelector(`.vl-line[data-id='${m}']`); return r?.innerText.includes(d) && r.innerText.includes(v) }", arg=[method, f"{row.difference:+.1f}".replace("-", "−"), row["segment/type"]])
        event = clips.vocab.events[int(clips.labelings["truth"].audio.sum((0, 1)).argmax())]
        said = event_frame(clips, chosen, (method, "harvested")).loc[f"{event}, audio", "interval"]
        page.locator(".vl-table").nth(2).locator("input[type=search]").fill(f"{event}, audio".lower())
        line = page.locator(".vl-table").nth(2).locator(f'.vl-line[data-id="{event}, audio"]')
        page.wait_for_function("([e, t]) => [...document.querySelectorAll('.vl-table')][2].querySelector(`[data-id='${e}, audio']`)?.innerText.includes(t)", arg=[event, said])      # the pair's interval for one event
        line.wait_for(state="visible")
        both_themes(page, "compare")
        for width in (1000, 1900):
            page.set_viewport_size(dict(width=width, height=1200))
            no_overflow(page)
            shot(page, f"compare-{width}")


def accessible(page, name):
    "No rule of axe is broken anywhere on a page; where axe is not installed, nothing is asked."
    from importlib.resources import files
    try: script = (files("axe_playwright_python")/"axe.min.js").read_text(encoding="utf-8")
    except ModuleNotFoundError: return
    page.wait_for_function("() => !document.querySelector('#loading') || getComputedStyle(document.querySelector('#loading')).display === 'none'")
    settled(page), page.wait_for_timeout(500)
    page.evaluate(script)
    found = page.evaluate("() => window.axe.run(document)")["violations"]
    assert not found, (name, [(v["id"], v["impact"], [n["html"][:160] + " " + (n.get("failureSummary") or "")[:260] for n in v["nodes"][:2]]) for v in found])


def test_the_pages_show_the_workbench_without_code_on_loopback_only(chromium, project):
    import psutil
    port, log = free_port(), project/"app.log"
    command = [sys.executable, "-c", "import sys; from valor_lab.cli import main; sys.exit(main())", "app", "--size", "tiny", "--port", str(port), "--no-browser"]
    with serving(command, f"http://127.0.0.1:{port}/", server_environment(project, HF_HUB_OFFLINE="1"), project, log) as p:
        heard = [c for q in [psutil.Process(p.pid), *psutil.Process(p.pid).children(recursive=True)] for c in q.net_connections("inet") if c.status == psutil.CONN_LISTEN and c.laddr.port == port]
        assert [c.laddr.ip for c in heard] == ["127.0.0.1"]
        visitor = chromium.new_context(viewport=dict(width=1400, height=1000))
        visitor.set_default_timeout(WAIT)
        visitor.new_page().goto(re.search(r"http://127\.0\.0\.1:\d+/\?token=\w+", log.read_text())[0], wait_until="domcontentloaded")    # the address that was printed lets one in
        for name in ("browse", "tune", "compare"):
            page = visitor.new_page()
            faults = []
            page.on("pageerror", lambda e: "blob:" in (e.stack or "") and faults.append(str(e)))
            page.goto(f"http://127.0.0.1:{port}/voila/render/{name}.ipynb", wait_until="domcontentloaded")
            page.wait_for_selector(".vl-line")
            ready(page)
            assert page.get_attribute(".vl-player", "data-media") == "blob"      # no server of files here: bytes through the kernel
            assert page.locator(".jp-CodeCell .jp-InputArea:visible").count() == 0 and not re.search(r"^(import|from) \w", page.inner_text("body"), re.M) and not faults
            page.focus(".vl-player"), page.keyboard.press("ArrowRight")
            at(page, 1)
            shot(page, f"page-{name}")
            assert page.title() == f"{name} · demo-tiny" and page.evaluate("() => document.documentElement.lang") == "en"
            accessible(page, name)
            page.close()
        for address, wait in (("", "h1"), ("voila/render/train.ipynb", ".vl-launcher")):
            page = visitor.new_page()
            page.goto(f"http://127.0.0.1:{port}/{address}", wait_until="domcontentloaded")
            page.wait_for_selector(wait)
            accessible(page, address or "front door")
            page.close()
        visitor.close()
