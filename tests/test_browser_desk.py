"""The launcher, the table of methods, what goes into a paper, a page to share: in a bare page (see `bare`)."""
import json

import numpy as np
import pandas as pd
import pytest

from bare import bare
from browser import CHROMIUM, MISSING, in_view, settled, shot, sync_playwright
from test_browser_trust import labelings, table, texts, tuning

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.skipif(sync_playwright is None, reason="no playwright here: pip install playwright")]
pytest.importorskip("anywidget")
from valor_lab.labels import SegmentLabels
from valor_lab.workbench import compare as compare_room
from valor_lab.training import Run, override, preset as named, to_toml
from valor_lab.workbench import CompareBench, Launcher, TuneBench

BAD = "<img src=x onerror=window.hacked=1>"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    return tmp_path


# ---- the launcher: refused at once, named by what it is, and how far it is

def job(home, name, state, seeds="0", log="", **parameters):
    (folder := home/"runs/jobs"/name).mkdir(parents=True)
    about = dict(notebook="train.ipynb", parameters=dict(preset="valor", seeds=seeds, **parameters), started="2020-01-01T00:00:00+00:00", path="train.ipynb", root=str(home))
    (folder/"job.json").write_text(json.dumps(about | (dict(end=state, ended="2090-01-01T00:10:00+00:00") if state else {})))
    (folder/"log.txt").write_text(log)


def run(home, name, epochs, of, labels="a1", said=None, preset="valor", **values):
    (folder := home/"runs"/name).mkdir(parents=True)
    (folder/"config.toml").write_text(to_toml(override(named(preset), dict(epochs=of, warmup=1, **values))))
    (folder/"data.json").write_text(json.dumps(dict(dataset="demo (tiny)", train=dict(clips=4, labels=labels))))
    if said: (folder/"environment.json").write_text(json.dumps(dict(labels=said)))
    score = lambda e: 40 - (e - 5) ** 2 / 10
    (folder/"metrics.csv").write_text("\n".join(["epoch,seconds,loss/total,val/segment/type", *(f"{e},2,{1 / e:.5f},{score(e)}" for e in range(1, epochs + 1))]))


def test_what_cannot_work_is_refused_at_once_and_a_job_says_what_it_is_and_how_far(chromium, home):
    (home/"nbs").mkdir()
    (home/"nbs/train.ipynb").write_text("{}")
    job(home, "valor-lr-3e-3", "failed", "0,1", "".join(f"line {n}\n" for n in range(300)) + "ValueError: this is why\n", overrides="lr = 3e-3", labels=BAD)
    run(home, "valor-demo-tiny-s0-aaaaaa", 12, 12, lr=3e-3, said=BAD)
    run(home, "valor-demo-tiny-s0-bbbbbb", 7, 12, labels="b2", said="suggested")
    desk = Launcher(size="tiny", root=str(home/"data"), out=str(home/"runs"))
    with bare(chromium, desk, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.wait_for_selector(".vl-job")
        assert texts(page.locator(".vl-job span"))[:2] == [f"valor · {BAD} · lr = 3e-3 · seeds 0,1", "failed"]
        # the log opens where the cause is
        page.wait_for_function("() => { const e = document.querySelector('.vl-log'); return e.scrollHeight > e.clientHeight && e.scrollTop + e.clientHeight >= e.scrollHeight - 2 && e.textContent.includes('this is why') }")
        # runs by name, with their epochs, the best one, and their folder
        rows = [texts(r.locator("td")) for r in page.locator(".vl-runs tbody tr").all()]
        assert rows == [[f"valor · {BAD} · lr 0.003 · s1000", "12 of 12", "5 (segment/type 40.0)", "runs/valor-demo-tiny-s0-aaaaaa"],
                        ["valor · suggested · lr 0.0001 · s1000", "7 of 12", "5 (segment/type 40.0)", "runs/valor-demo-tiny-s0-bbbbbb"]]
        assert page.inner_text(".vl-left") == "epoch 19 of 24"
        # values under the pointer, smoothing, a log axis, both runs in one plot
        curve = page.locator(".vl-curve").first
        b = in_view(curve)
        page.mouse.move(b["x"] + 46 + (b["width"] - 54) * 3 / 11, b["y"] + 90)
        page.wait_for_function("() => document.querySelector('.vl-hover:not([hidden])')?.textContent.startsWith('epoch 4')")
        assert "0.25" in page.inner_text(".vl-hover:not([hidden])") and page.inner_text(".vl-hover:not([hidden])").count("\n") == 2
        page.locator(".vl-smooth").fill("80"), page.check(".vl-log-axis")
        curve.focus(), page.keyboard.press("ArrowRight"), page.keyboard.press("ArrowRight")
        said = page.inner_text(".vl-hover:not([hidden])")
        assert said.startswith("epoch 2") and "0.7222" in said            # (0.2 · 0.5 + 0.8 · 0.2 · 1) / (1 - 0.8²)
        # into the paper
        assert copied(page, page.locator(".vl-launcher"), "csv").splitlines()[0] == "run,epochs,of,best epoch,segment/type"
        page.locator(".vl-launcher .vl-paper-save").click()
        for kind, start in (("svg", b"<?xml"), ("pdf", b"%PDF-"), ("png", b"\x89PNG")):
            with page.expect_download() as got: page.locator(f".vl-launcher .vl-as-{kind}").click()
            assert open(got.value.path(), "rb").read(5).startswith(start)
        # what cannot work does not start
        for field, value, why in ((".vl-seeds", "x", "seeds='x'"), (".vl-overrides", "lr =", "not a TOML file"), (".vl-overrides", "no_such = 1", "no_such"), (".vl-epochs", "1.5", "whole number")):
            was = page.input_value(field)
            page.fill(field, value), page.click(".vl-start")
            page.wait_for_function("w => document.querySelector('.vl-message[data-wrong=true]')?.textContent.includes(w)", arg=why)      # and looks it
            page.fill(field, was)
        shot(page, "launcher-refused")
        assert [p.name for p in (home/"runs/jobs").iterdir() if p.is_dir()] == ["valor-lr-3e-3"] and not page.evaluate("() => window.hacked")


def test_what_is_typed_and_pointed_at_in_the_launcher_stays_while_jobs_go_on(chromium, home):
    """The page asks every second; nothing of what it hears may take a field, a choice, a value under the hand, or a place in the log."""
    job(home, "going", "failed", "0", "".join(f"line {n}\n" for n in range(300)))
    desk = Launcher(size="tiny", root=str(home/"data"), out=str(home/"runs"))
    desk.now = lambda: None                                                  # only the test says what is new
    told = lambda n: dict(jobs=[dict(name=f"job-{k}", title=f"job {k}", state="running", started="", seconds=n) for k in range(n)], selected="job-0",
                          labels=["", "suggested", *[f"l{k}" for k in range(n)]], left=f"epoch {n} of 9", log="".join(f"line {k}\n" for k in range(200 + n)),
                          curves=[dict(title="loss", lines=[dict(name="s0", x=list(range(1, n + 1)), y=[1 / e for e in range(1, n + 1)])])],
                          runs=[dict(name="r", title="r", path="", epochs=n, of=9, best=None, score=None, by="")])
    def hear(n):
        with desk.hold_sync():
            for k, v in told(n).items(): setattr(desk, k, v)
        page.locator(".vl-left", has_text=f"epoch {n} of 9").wait_for()
    with bare(chromium, desk) as page:
        page.wait_for_selector(".vl-launcher")
        hear(3)
        page.select_option(".vl-labels", "suggested")
        typed = ""
        for n, letter in enumerate("lr = 3e-3", 4):
            page.focus(".vl-overrides") if n == 4 else None
            page.keyboard.type(letter)
            typed += letter
            hear(n)
            assert page.input_value(".vl-overrides") == typed and page.evaluate("() => document.activeElement.className") == "vl-overrides"
        assert page.input_value(".vl-labels") == "suggested"
        # the curve under the hand, and the line of the log that is read
        curve = page.locator(".vl-curve")
        curve.focus(), page.keyboard.press("ArrowRight"), page.keyboard.press("ArrowRight")
        page.evaluate("() => { document.querySelector('.vl-log').scrollTop = 40 }")
        hear(13)
        assert page.inner_text(".vl-hover:not([hidden])").startswith("epoch 2") and page.evaluate("() => document.activeElement.className") == "vl-curve"
        assert page.evaluate("() => document.querySelector('.vl-log').scrollTop") == 40
        page.evaluate("() => { const e = document.querySelector('.vl-log'); e.scrollTop = e.scrollHeight }")
        hear(14)
        page.wait_for_function("() => { const e = document.querySelector('.vl-log'); return e.scrollTop + e.clientHeight >= e.scrollHeight - 2 && e.textContent.includes('line 213') }")
        # labels that are gone are not exchanged for others; a number that is none is not the preset's own
        desk.labels = ["", "l1"]
        page.wait_for_function("() => document.querySelector('.vl-labels').length === 3")
        assert page.input_value(".vl-labels") == "suggested"
        asked = len(page.desk.heard)
        page.click(".vl-start")
        page.locator(".vl-message", has_text="labels='suggested' are not among those that this page offers").wait_for()
        page.focus(".vl-epochs"), page.keyboard.type("1e"), page.click(".vl-start")
        page.locator(".vl-message", has_text="epochs: expected a whole number").wait_for()
        assert sum(m.get("do") == "start" for m in page.desk.heard[asked:]) == 1
    assert [p.name for p in (home/"runs/jobs").iterdir() if p.is_dir()] == ["going"]


# ---- the reviewer's table: one row a method, the difference to a base, what differs between two records, and the clips behind a row

def reviewed(home, n=60):
    "Two methods of three seeds and a lone run, as trained; and labels that were not."
    clips = labelings(n=n, more=0, seed=2)
    truth, rng = clips.labelings["truth"], np.random.default_rng(4)
    mask = truth.weak().mask[:, None]
    def said(share):
        flip = lambda x: np.where(rng.random(x.shape) < share, ~x, x) & mask
        return SegmentLabels(truth.ids, flip(truth.audio), flip(truth.visual), truth.vocab, truth.durations)
    clips.add("harvested", said(.05))
    for name, share, labels, lr in (("valor", .1, "tuned", 1e-4), ("valor", .28, "suggested", 1e-4), ("han", .3, None, 1e-4)):
        for seed in range(3 if labels else 1):
            folder = f"{name}-set-s{seed}-{labels or 'x'}"
            run(home, folder, 2, 12, labels=labels or "none", said=labels, lr=lr, seed=seed, preset=name)
            clips.add(folder, said(share + .02 * seed))
            clips.records[folder] = Run(home/"runs"/folder)
    clips.runs, clips.split = tuple(clips.records), "test"
    return clips


def copied(page, where, kind):
    "What a button of a table put into the clipboard."
    where.locator(".vl-paper-copy").click()
    where.locator(f".vl-as-{kind}").click()
    where.locator(".vl-paper-said", has_text="copied as").wait_for()
    where.locator(".vl-paper-copy").click()
    return page.evaluate("() => navigator.clipboard.readText()")


def test_two_runs_show_what_differs_in_their_records_also_where_the_base_was_not_trained(home):
    bench = CompareBench(reviewed(home), ["harvested", "valor · tuned", "valor · suggested"], n=20, base="harvested")
    assert [c["label"] for c in bench.records.columns] == ["valor · suggested", "valor · tuned"]
    assert bench.records.frame.loc["labels"].tolist() == ["suggested", "tuned"]
    bench.choice.chosen = ["harvested", "valor · tuned"]
    assert bench.records.total == 0 and "choose two methods that are runs" in bench.records.empty


def test_events_come_together_with_the_name_of_their_difference_and_are_counted_once(home, monkeypatch):
    bench, sent, counted = CompareBench(reviewed(home), ["harvested", "valor · tuned", "valor · suggested"], n=20, base="harvested"), [], []
    count = compare_room.event_frame
    monkeypatch.setattr(compare_room, "event_frame", lambda *a, **k: counted.append(1) or count(*a, **k))
    bench.events.send_state = lambda key=None: sent.append({key} if isinstance(key, str) else set(key))
    bench.choice.base = "valor · suggested"
    assert bench.events.switch("difference").endswith("suggested") and counted == [1]
    assert [s for s in sent if "switches" in s] == [s for s in sent if {"switches", "version"} <= s] != []
    bench.events.switches = [{**s, "value": s["options"][-1]} for s in bench.events.switches]
    bench.choice.chosen = ["valor · tuned", "valor · suggested"]
    assert bench.events.switch("difference") == "valor · tuned − valor · suggested" and [c["name"] for c in bench.events.columns][:2] == ["difference", "interval"]


def test_the_reviewers_table_pools_seeds_and_judges_against_a_base(chromium, home):
    from test_paper import grammar
    bench = CompareBench(reviewed(home), n=20)
    assert list(bench.groups) == ["harvested", "valor · tuned", "valor · suggested", "han-set-s0-x"]
    with bare(chromium, bench, permissions=["clipboard-read", "clipboard-write"]) as page:
        for name in ("harvested", "han-set-s0-x"): page.click(f'button[data-name="{name}"]')
        page.select_option(".vl-base-method", "valor · suggested")
        methods, events = table(page, "Methods"), table(page, "Events")
        methods.locator('.vl-line[data-id="han-set-s0-x"]').wait_for()
        page.wait_for_function("() => document.querySelector('.vl-table [data-of=difference]').textContent.includes('to valor · suggested')")
        assert texts(page.locator("button[data-name]"))[:4] == ["harvested", "valor · tuned · 3 seeds", "valor · suggested · 3 seeds", "han · s0"]
        # one row a method; the difference comes first, certain where Holm's p says so, no verdict on one seed
        assert texts(methods.locator(".vl-line .vl-sub")) == ["3 seeds", "the base · 3 seeds", "one seed: no verdict"]
        sure = {r.get_attribute("data-id"): r.locator(".vl-interval").get_attribute("data-sure") for r in methods.locator(".vl-line").all() if r.locator(".vl-interval").count()}
        assert sure == {"valor · tuned": "true", "han-set-s0-x": "false"}
        row = bench.methods.frame.loc["valor · tuned"]
        from valor_lab.metrics import avvp_scores
        c, f = bench.clips, lambda n: avvp_scores(bench.clips.labelings[n], bench.clips.labelings["truth"])["segment/type"]
        gap = np.mean([f(n) for n in bench.groups["valor · tuned"]]) - np.mean([f(n) for n in bench.groups["valor · suggested"]])
        assert np.isclose(row.difference, gap) and methods.locator('.vl-line[data-id="valor · tuned"] [data-cell="difference"]').inner_text() == f"+{gap:.1f}"
        assert row.p < .05 and np.isnan(bench.methods.frame.p["han-set-s0-x"]) and "±" in row["segment/type"]
        # filter: clear of zero
        methods.locator('select[data-filter="interval"]').select_option("clear of zero")
        page.wait_for_function("() => [...document.querySelectorAll('.vl-table h3')].some(e => e.textContent === 'Methods 1 of 3')")
        methods.locator('select[data-filter="interval"]').select_option("")
        # what differs between the two records: the labels, and nothing else
        records = table(page, "What differs")
        records.locator(".vl-line").nth(1).wait_for()
        lines = [[l.get_attribute("data-id"), *texts(l.locator(".vl-cell"))] for l in records.locator(".vl-line").all()]
        assert lines[0] == ["labels", "tuned", "suggested"] and lines[1][0] == "everything else" and lines[1][1].startswith("the same (")
        # a row of the methods lists its clips, the most decisive first
        methods.locator('.vl-line[data-id="valor · tuned"]').click()
        clips = table(page, "Clips with a difference")
        clips.locator('[data-cell="decisive"]').first.wait_for()
        seen = [float(t) for t in texts(clips.locator('[data-cell="decisive"]'))]
        assert seen == sorted(seen, reverse=True) and 0 < bench.table.total <= 60
        # into the paper
        latex = copied(page, methods, "latex")
        assert len(grammar(latex)) == 4 and "difference to valor $\\cdot$ suggested" in latex and f"+{gap:.1f}" in latex and "$\\pm$" in latex
        assert copied(page, methods, "markdown").count("\n|") == 4
        first = copied(page, methods, "csv").splitlines()[0]
        assert "interval, clips and seeds, low" in first and "interval, clips and seeds, high" in first
        assert copied(page, events, "csv").splitlines()[0].startswith('"event, modality",difference,interval,clips')
        with page.expect_download() as got:
            methods.locator(".vl-paper-save").click(), methods.locator(".vl-venue").select_option("acm"), methods.locator(".vl-as-pdf").click()
        assert got.value.suggested_filename == "methods.pdf" and open(got.value.path(), "rb").read(5) == b"%PDF-"


def test_every_piece_saves_its_figure_for_a_paper_and_says_what_hinders(chromium, home):
    clips = labelings(more=1)
    bench = TuneBench(clips, tuning(clips))
    with bare(chromium, bench, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.wait_for_selector(".vl-tr")
        for piece, kind, start in ((".vl-player", "svg", b"<?xml"), (".vl-panel", "png", b"\x89PNG"), (".vl-player", "pdf", b"%PDF-")):
            part = page.locator(piece)
            if part.locator(".vl-paper-save").get_attribute("aria-expanded") == "false": part.locator(".vl-paper-save").click()
            with page.expect_download() as got: part.locator(f".vl-as-{kind}").click()
            assert open(got.value.path(), "rb").read(5).startswith(start)
        assert "CLAP threshold" in copied(page, page.locator(".vl-panel"), "markdown")
        bench.panel.paper_table = lambda whole: 1 / 0
        page.locator(".vl-panel .vl-paper-copy").click(), page.locator(".vl-panel .vl-as-latex").click()
        page.locator(".vl-panel .vl-paper-said", has_text="ZeroDivisionError").wait_for()


# ---- a page to share: from a disk, without a server or a kernel

def test_a_shared_page_plays_from_a_disk_and_text_with_html_stays_text(chromium, home):
    from valor_lab.cli import main
    from valor_lab.grid import Window
    from valor_lab.media import read_clip, write_clip
    from valor_lab.vocab import Vocab
    from valor_lab.workbench import Clips, share_page
    n, rng = 200, np.random.default_rng(0)                                   # twenty seconds, brighter and brighter, a tone in the first ten
    frames = np.repeat(np.linspace(0, 250, n).astype(np.uint8), 96 * 128 * 3).reshape(n, 96, 128, 3)
    (home/"data").mkdir()
    long = write_clip(home/"data/long.mp4", frames, np.sin(np.arange(20 * 48_000) / 15).astype(np.float32) * (np.arange(20 * 48_000) < 480_000), fps=10)
    evil = "</script><img src=x onerror=window.hacked=1>"
    vocab = Vocab("bad", [evil, "Dog"], ["a", "b"], ["a", "b"], [1, 1], [1, 1])
    ids, on = [evil, "late", "none"], np.zeros((3, 10, 2), bool)
    on[:, 2:6, 0] = True
    truth = SegmentLabels(ids, on, on, vocab, np.full(3, 10.))
    clips = Clips({"truth": truth, evil: SegmentLabels(ids, np.roll(on, 2, 1), on, vocab, np.full(3, 10.))}, truth.weak(), files={evil: Window(long, 0, 10), "late": Window(long, 10, 20)})
    page_at = share_page(clips, ids, None, home/"page", title=evil, tables=True)
    sizes = [p.stat().st_size for p in (home/"page").rglob("*") if p.is_file()]
    assert sum(sizes) / 3 < 3_000_000 and len(sizes) == 5
    late = read_clip(home/"page/clips/clip-002.mp4", 2, "centres", length=10.)            # the window's own second 0
    assert abs(late.frames[0].mean() - 156) < 12 and np.abs(late.sound(10.)[4800:]).max() < .05
    page = chromium.new_page(viewport=dict(width=1440, height=1000))
    page.set_default_timeout(60_000)
    faults, asked = [], []
    page.on("pageerror", lambda e: faults.append(str(e))), page.on("console", lambda m: m.type == "error" and faults.append(m.text))
    page.on("request", lambda r: asked.append(r.url))
    try:
        page.goto(page_at.as_uri())
        page.wait_for_function("() => document.querySelector('video').readyState >= 2 && !document.querySelector('.vl-play').disabled")
        assert page.inner_text("h1") == evil and page.inner_text(".vl-player h3") == evil and page.locator("#clips button").count() == 3
        assert page.locator("#clips img, .vl-player img").count() == 0
        page.wait_for_function("() => document.querySelector('.vl-player').dataset.pictures !== undefined")                     # the film strip is drawn
        page.click(".vl-play")
        page.wait_for_function("() => { const v = document.querySelector('video'); return v.currentTime > .3 && v.webkitAudioDecodedByteCount > 0 && v.webkitVideoDecodedByteCount > 0 && v.videoWidth === 128 }")
        page.keyboard.press("Space")
        for k, clip in enumerate(ids):                                       # the lanes of three clips, with and without media
            page.locator("#clips button").nth(k).click()
            page.wait_for_function("c => document.querySelector('.vl-player h3').textContent === c", arg=clip)
            cells = {e.get_attribute("data-name"): e.get_attribute("data-cells") for e in page.locator('.vl-lane[data-modality="audio"]').all() if e.get_attribute("data-event") == evil}
            assert cells["truth"] == "..oooo...." and cells[evil] == "..mmrrff.."
        page.locator("#clips button").nth(1).click()
        page.click(f'.vl-choices button:text-is("truth")')                    # lanes are switched as in the workbench
        page.wait_for_function("() => !document.querySelector('.vl-lane[data-name=truth]')")
        assert "segment-level Type@AV" in page.inner_text("section") and page.locator("section").count() == 2
        page.keyboard.press("1")                                             # nothing is painted here
        assert page.locator(".vl-edit:visible").count() == 0 and not page.locator(".vl-edit-button").is_visible()
        assert not page.evaluate("() => window.hacked") and faults == [] and all(u.startswith(("file:", "blob:")) for u in asked)
        from importlib.resources import files
        if (axe := pytest.importorskip("axe_playwright_python")):
            page.evaluate((files(axe.__name__)/"axe.min.js").read_text(encoding="utf-8"))
            found = page.evaluate("() => window.axe.run(document)")["violations"]
            assert not found, [(v["id"], [n["html"][:200] + n.get("failureSummary", "")[:200] for n in v["nodes"][:2]]) for v in found]
    finally: page.close()
    assert main(["share", "nobody", "--dataset", "demo", "--size", "tiny", "-o", str(home/"other")]) == 2 and not (home/"other").exists()


# ---- a link to a view

def test_a_view_is_a_short_code_that_can_be_pasted_back(chromium, home):
    one, two = (CompareBench(labelings(more=3), ["model-1", "model-2"], n=20) for _ in range(2))
    with bare(chromium, one, permissions=["clipboard-read", "clipboard-write"]) as page:
        page.wait_for_selector(".vl-line")
        page.click('button[data-name="model-3"]')
        clips = table(page, "Clips")
        clips.locator('select[data-filter="event"]').select_option("Event_2")
        clips.locator(".vl-sort").select_option("model-3")
        clips.locator("input[type=search]").fill("clip0")
        page.wait_for_function("() => [...document.querySelectorAll('.vl-table h3')].some(e => /^Clips \\d+ of 40/.test(e.textContent))")
        clips.locator(".vl-line").nth(3).click()
        first = clips.locator(".vl-line").nth(3).get_attribute("data-id")
        page.wait_for_function("t => document.querySelector('.vl-player h3').textContent === t", arg=first)
        page.focus(".vl-player"), page.keyboard.press("ArrowRight"), page.keyboard.press("ArrowRight"), page.keyboard.press("ArrowRight")
        page.click(".vl-link-button")
        page.wait_for_function("() => document.querySelector('.vl-code').value.length > 8")
        code = page.input_value(".vl-code")
        page.click(".vl-link-copy")
        page.wait_for_function("() => document.querySelector('.vl-link-said').textContent === 'copied'")
        assert page.evaluate("() => navigator.clipboard.readText()") == code and len(code) < 60
    with bare(chromium, two) as page:                                        # another person
        page.wait_for_selector(".vl-line")
        page.click(".vl-link-button")
        page.wait_for_function("() => document.querySelector('.vl-code').value.length > 8")
        page.fill(".vl-code", code[:-1]), page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('.vl-link-said').textContent.includes('no link to a view')")
        page.fill(".vl-code", f" {code} "), page.keyboard.press("Enter")
        page.wait_for_function("t => document.querySelector('.vl-player h3').textContent === t", arg=first)
        page.wait_for_function("() => Math.abs(+document.querySelector('.vl-ticks').getAttribute('aria-valuenow') - 3) < .01")
        page.wait_for_selector('button[data-name="model-3"][aria-pressed="true"]')
        clips = table(page, "Clips")
        page.wait_for_function("() => [...document.querySelectorAll('.vl-sort')].at(-1).value === 'model-3'")
        assert clips.locator('select[data-filter="event"]').input_value() == "Event_2" and clips.locator("input[type=search]").input_value() == "clip0"
        assert list(two.table.view.index) == list(one.table.view.index)


# ---- from the list to a saved stroke and the next clip that is not done, without the mouse

class Kept:
    "Marks as `labels.Marks` keeps them, in memory."
    def __init__(self): self.kept = {}
    def all(self): return self.kept
    def set(self, clip, state, note=""): self.kept = {**self.kept, clip: dict(state=state, note=note)}
    def frame(self, ids): return pd.DataFrame(dict(state=[self.kept.get(c, {}).get("state", "") for c in ids]), index=list(ids))
    def progress(self, ids): return f"{sum(m['state'] == 'done' for m in self.kept.values())} of {len(ids)} done"


@pytest.mark.parametrize("width", (1280, 1920))
def test_find_correct_save_next_by_keys_alone_and_their_count(chromium, home, width):
    from valor_lab.workbench import BrowseBench
    try: from valor_lab.labels import Marks
    except ImportError: Marks = None
    marks = Marks("six", "Ada", str(home/"marks")) if Marks else Kept()
    bench = BrowseBench(labelings(more=1), marks=marks)
    bench.player.folder = str(home/"overlays")
    with bare(chromium, bench, width=width) as page:
        page.wait_for_selector(".vl-line")
        worst = list(bench.table.view.index)[:4]
        marks.set(worst[1], "done"), bench.update(), bench.player.tell_marks()
        pressed = []
        def press(*keys):
            for k in keys: page.keyboard.press(k), pressed.append(k)
        while not page.evaluate("() => document.activeElement.classList.contains('vl-scroll')"): press("Tab")
        press("ArrowDown")                                                   # find: the list begins with the worst
        page.wait_for_function("t => document.querySelector('.vl-player h3').textContent === t", arg=worst[0])
        press("Enter")
        page.wait_for_function("() => document.activeElement.classList.contains('vl-player')")
        press("1")                                                           # correct
        page.wait_for_selector(".vl-edit")
        press("Control+s")                                                   # save
        page.wait_for_function("() => document.querySelector('.vl-correction').textContent.includes('saved as')")
        press("d")                                                           # done, and the next one that is not: the second is, so the third
        page.wait_for_function("t => document.querySelector('.vl-player h3').textContent === t", arg=worst[2])
        assert "2 of 40 done" in page.inner_text(".vl-far") and "2 of 40 done" in page.inner_text(".vl-progress")
        assert page.evaluate("() => document.activeElement.classList.contains('vl-player')") and len(pressed) - pressed.count("Tab") == 5 and pressed.count("Tab") <= 12, pressed
        press("Shift+D")
        page.wait_for_selector('.vl-player[data-state="doubtful"]')
        press("p"), press("n")                                               # back over what is done, and forth to what is not
        page.wait_for_function("t => document.querySelector('.vl-player h3').textContent === t", arg=worst[2])
        page.locator('select[data-filter="marks"]').select_option("not done")
        page.wait_for_function("() => document.querySelector('.vl-count').textContent === '38 of 40'")
    assert marks.all()[worst[0]]["state"] == "done" and marks.all()[worst[2]]["state"] == "doubtful" and (home/"overlays/corrected.json").exists()
