"""What the workbench shows can be trusted: nothing is hidden, stale or lost. Real scripts and real Python, in a bare page (see `bare`)."""
import os

import numpy as np
import pandas as pd
import pytest

from bare import bare
from browser import CHROMIUM, FLAGS, MISSING, settled, sync_playwright

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.skipif(sync_playwright is None, reason="no playwright here: pip install playwright")]
pytest.importorskip("anywidget")
from valor_lab.harvest import Scores, Thresholds
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.vocab import LLP, Vocab
from valor_lab.workbench import BrowseBench, Clips, Column, CompareBench, Player, Table, TuneBench, Tuning

WIDTHS = (1280, 1440, 1920)


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    return tmp_path


def labelings(n=40, t=10, events=6, seconds=10., more=3, seed=0):
    "Truth, its weak labels, and labelings that are more and more wrong."
    rng, ids = np.random.default_rng(seed), [f"clip{i:03d}" for i in range(n)]
    vocab = Vocab("six", [f"Event_{c}" for c in range(events)], *[[f"event {c}" for c in range(events)]] * 2, *[[1.] * events] * 2)
    mask = rng.random((n, 1, events)) < .5
    on = lambda: mask & (rng.random((n, t, events)) < .5)
    truth = SegmentLabels(ids, on(), on(), vocab, np.full(n, seconds))
    out = {"truth": truth}
    for k in range(1, more + 1):
        flip = lambda x: np.where(rng.random(x.shape) < .06 * k, ~x, x) & mask
        out[f"model-{k}"] = SegmentLabels(ids, flip(truth.audio), flip(truth.visual), vocab, np.full(n, seconds))
    return Clips(out, truth.weak())


def tuning(clips, seed=0):
    "Scores that follow the truth, and thresholds between."
    rng, truth = np.random.default_rng(seed), clips.labelings["truth"]
    say = lambda x: x * 4. + rng.normal(12, 2, x.shape)
    scores = Scores(truth.ids, say(truth.audio), say(truth.visual), truth.vocab, np.full(len(truth.ids), 10.))
    flat = Thresholds(*[np.full(len(truth.vocab), 14.)] * 2, truth.vocab)
    return Tuning(scores, truth, clips.weak, flat, "val")


table = lambda page, title: page.locator(".vl-table", has=page.locator("h3", has_text=title)).first
texts = lambda locator: [t.strip() for t in locator.all_inner_texts()]


# ---- 1: nothing is hidden

@pytest.mark.parametrize("width", WIDTHS)
def test_every_column_of_compare_is_there_and_difference_and_interval_come_first(chromium, width):
    with bare(chromium, CompareBench(labelings(more=5), ["model-1", "model-2", "model-3", "model-4"], n=20), width=width) as page:
        page.wait_for_selector(".vl-line")
        events = table(page, "Events")
        events.locator(".vl-line").first.wait_for()
        heads = texts(events.locator("[role=columnheader]:not(.vl-main)"))
        assert heads[:2] == ["difference", "interval"] and sum(h.startswith("F ") for h in heads) == 4 and "true segments" in heads
        box = events.locator(".vl-scroll").bounding_box()
        for name in ("difference", "interval"):                       # in view without a move of the hand
            cell = events.locator(f'.vl-line [data-cell="{name}"]').first.bounding_box()
            assert cell["x"] >= box["x"] and cell["x"] + cell["width"] <= box["x"] + box["width"], name
        clips = table(page, "Clips")
        assert sum(h.startswith("F ") for h in texts(clips.locator("[role=columnheader]:not(.vl-main)"))) == 4


@pytest.mark.parametrize("width", WIDTHS)
def test_columns_that_do_not_fit_are_scrolled_to_and_a_mark_says_so(chromium, width):
    names = [f"c{k:02d}" for k in range(30)]
    frame = pd.DataFrame({n: np.arange(50.) + k for k, n in enumerate(names)}, index=[f"row{i}" for i in range(50)])
    with bare(chromium, Table(frame, [Column(n) for n in names], title="Wide"), width=width) as page:
        page.wait_for_selector(".vl-line")
        assert page.locator("[role=columnheader]").count() == 31 and page.locator(".vl-line").first.locator(".vl-cell").count() == 30
        mark = page.locator(".vl-more-right")
        out = int(page.get_attribute(".vl-table", "data-right"))
        assert mark.is_visible() and mark.inner_text().startswith(f"{out} columns") and "c29" in mark.get_attribute("title") and out > 0
        assert page.locator(".vl-more-left").is_hidden()
        first = page.locator(".vl-line .vl-main").first.bounding_box()["x"]
        page.evaluate("() => { document.querySelector('.vl-scroll').scrollLeft = 1e6 }")
        page.wait_for_selector('.vl-table[data-right="0"]')
        assert mark.is_hidden() and page.locator(".vl-more-left").is_visible()
        assert abs(page.locator(".vl-line .vl-main").first.bounding_box()["x"] - first) < 1       # the first column stays
        box, last = page.locator(".vl-scroll").bounding_box(), page.locator('.vl-line [data-cell="c29"]').first.bounding_box()
        assert last["x"] + last["width"] <= box["x"] + box["width"] + 1
        page.focus(".vl-scroll")
        for _ in range(40): page.keyboard.press("ArrowLeft")
        page.wait_for_selector('.vl-table[data-left="0"]')                # by keys, too


# ---- 2: nothing is stale

def test_without_a_chosen_labeling_the_tables_are_empty_and_say_so(chromium):
    with bare(chromium, CompareBench(labelings(), ["model-1", "model-2"], n=20)) as page:
        table(page, "Events").locator(".vl-line").first.wait_for()
        for name in ("model-1", "model-2"): page.click(f'button[data-name="{name}"]')
        for name in ("Scores", "Pairs", "Events"):
            t = table(page, name)
            t.locator(".vl-nothing", has_text="No labeling is chosen").wait_for()
            assert t.locator(".vl-line").count() == 0
        page.click('button[data-name="model-1"]')                          # one has scores and no pairs
        table(page, "Scores").locator(".vl-line").first.wait_for()
        table(page, "Pairs").locator(".vl-nothing", has_text="two labelings").wait_for()


@pytest.mark.parametrize("dark", (False, True))
def test_a_dead_kernel_is_said_over_every_piece_and_nothing_can_be_pressed(chromium, dark):
    clips = labelings()
    with bare(chromium, TuneBench(clips, tuning(clips)), dark=dark) as page:
        page.wait_for_selector(".vl-tr")
        assert page.locator(".vl-gone:visible").count() == 0
        page.desk.die()
        pieces = page.locator(".vl").count()
        page.wait_for_function("n => [...document.querySelectorAll('.vl-gone')].filter(e => e.offsetParent !== null).length === n", arg=pieces)
        assert set(texts(page.locator(".vl-gone"))) == {"The kernel is gone: run the cell again."}
        free = "() => [...document.querySelectorAll('.vl button, .vl input, .vl select, .vl [tabindex]')].filter(e => !e.closest('[inert]') && e.tabIndex >= 0).length"
        assert page.evaluate(free) == 0
        slider = page.locator(".vl-hist [role=slider]").first
        was, box = slider.get_attribute("aria-valuenow"), slider.bounding_box()
        page.mouse.move(box["x"] + 4, box["y"] + 8), page.mouse.down(), page.mouse.move(box["x"] + 60, box["y"] + 8), page.mouse.up()
        assert slider.get_attribute("aria-valuenow") == was                  # a handle does not move as if someone counted
