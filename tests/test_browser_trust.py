"""What the workbench shows can be trusted: nothing is hidden, stale or lost. Real scripts and real Python, in a bare page (see `bare`)."""
import os

import numpy as np
import pandas as pd
import pytest

from bare import bare
from browser import CHROMIUM, FLAGS, MISSING, in_view, settled, sync_playwright

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.skipif(sync_playwright is None, reason="no playwright here: pip install playwright")]
pytest.importorskip("anywidget")
from valor_lab.harvest import Scores, Thresholds
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.vocab import LLP, Vocab
from valor_lab.workbench import BrowseBench, Clips, Column, CompareBench, Player, Table, TuneBench, Tuning

WIDTHS = (1280, 1440, 1920)


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


@pytest.mark.parametrize("pictures", (False, True))
def test_a_phone_shows_one_column_of_a_table_whole(chromium, pictures):
    frame = pd.DataFrame({"F": [14.3, 33.3], "differing": [3., 4.]}, index=["demo0000027_0_10", "demo0000150_0_10"])
    shown = Table(frame, [Column("F", label="F harvested, %", digits=1), Column("differing")], title="Clips", picture=(lambda row: None) if pictures else None)
    with bare(chromium, shown, width=390, height=840) as page:
        page.wait_for_selector(".vl-line")
        box = page.locator(".vl-scroll").bounding_box()
        for part in ('.vl-line [data-cell="F"]', '[role=columnheader][data-of="F"]'):
            cell = page.locator(part).first.bounding_box()
            assert cell["x"] + cell["width"] <= box["x"] + box["width"], part
        assert page.locator(".vl-line .vl-main").first.bounding_box()["width"] >= 90


def test_no_number_is_seen_in_part(chromium):
    """A number that is cut off is another number: 3 of 33.3. Columns are as wide as theirs, and one that is half out of view is blank."""
    names = [f"c{k}" for k in range(9)]
    frame = pd.DataFrame({n: np.array([33.3, -1234567.8]) * (k + 1) for k, n in enumerate(names)}, index=["a", "b"])
    with bare(chromium, Table(frame, [Column(n) for n in names], title="Wide"), width=900) as page:
        page.wait_for_selector(".vl-line")
        cut = """() => [...document.querySelectorAll('.vl-cell')].filter(e => getComputedStyle(e).opacity === '1' && e.scrollWidth > e.clientWidth).map(e => e.textContent)"""
        seen = """() => { const list = document.querySelector('.vl-scroll'), end = list.getBoundingClientRect().left + list.clientWidth,
            fixed = document.querySelector('.vl-headings .vl-main').getBoundingClientRect().right;
          return [...document.querySelectorAll('.vl-cell')].filter(e => getComputedStyle(e).opacity === '1').map(e => [e.textContent, e.getBoundingClientRect()])
            .filter(([t, b]) => b.right > fixed && b.left < end && (b.left < fixed - 2 || b.right > end + 2)).map(([t]) => t) }"""
        for left in (0, 37, 71, 140, 1e6):
            page.evaluate("x => { document.querySelector('.vl-scroll').scrollLeft = x }", left)
            settled(page), settled(page)
            assert page.evaluate(cut) == [] and page.evaluate(seen) == [], left
        assert page.locator(".vl-cell:not(.vl-half)").count() > 4


# ---- 2: nothing is stale

def test_without_a_chosen_labeling_the_tables_are_empty_and_say_so(chromium):
    with bare(chromium, CompareBench(labelings(), ["model-1", "model-2"], n=20)) as page:
        table(page, "Events").locator(".vl-line").first.wait_for()
        for name in ("model-1", "model-2"): page.click(f'button[data-name="{name}"]')
        for name in ("Methods", "Events"):
            t = table(page, name)
            t.locator(".vl-nothing", has_text="No labeling is chosen").wait_for()
            assert t.locator(".vl-line").count() == 0
        page.click('button[data-name="model-1"]')                          # one has scores and no difference
        table(page, "Methods").locator(".vl-line").first.wait_for()
        assert "A difference needs two" in table(page, "Methods").inner_text() and table(page, "Methods").locator('[data-cell="difference"]').count() == 0


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


# ---- 3: tune begins at the labels on the disk, and names what made them

def test_tune_opens_from_the_thresholds_that_made_the_labels_on_disk_and_names_them(chromium):
    from valor_lab.harvest import elaborate
    from valor_lab.metrics import fidelity
    from valor_lab.workbench import begin_tuning
    clips = labelings(more=0)
    clips.scores = tuning(clips).scores
    rng = np.random.default_rng(5)
    made = Thresholds(*(14 + rng.normal(0, 1, (2, 6))), clips.vocab)
    clips.add("harvested", elaborate(clips.scores, clips.weak, made))
    clips.made = dict(thresholds=dict(method="best F of each event", split="the first half"))
    bench = TuneBench(clips, begin_tuning(clips))
    with bare(chromium, bench) as page:
        page.wait_for_selector(".vl-tr")
        want = [f"{v:.1f}" for v in fidelity(clips.labelings["harvested"], clips.labelings["truth"]).values()]
        assert texts(page.locator(".vl-sums b"))[:3] == want              # what browse and compare say of the same labels
        assert "the labels on the disk (best F of each event, tuned on the first half)" in page.inner_text(".vl-saved")
        assert texts(page.locator(".vl-sums b"))[3] == "0" and table(page, "Flips").locator(".vl-line").count() == 0


# ---- 4: no work is lost

def fresh(home, **kw):
    "A player over made-up clips, its overlays in a folder of this test."
    return Player(labelings(more=1), folder=str(home/"overlays"), **kw)


def opens(page, name):
    "Open the corrections of this name in the editor."
    page.fill(".vl-overlay-name", name)
    page.click(".vl-editor .vl-start")


def paints(page, segment):
    "Turn one segment of the first lane that can be painted; its cells afterwards."
    lane = page.locator(".vl-edit").first
    was, b = lane.get_attribute("data-cells"), in_view(lane)
    page.mouse.click(b["x"] + b["width"] * (segment + .5) / len(was), b["y"] + b["height"] / 2)
    page.wait_for_function("w => document.querySelector('.vl-edit').dataset.cells !== w", arg=was)
    return page.locator(".vl-edit").first.get_attribute("data-cells")


says = lambda page, text: page.wait_for_function("t => document.querySelector('.vl-correction')?.textContent.includes(t)", arg=text)


def test_a_refused_save_and_then_a_new_name_saves_to_the_new_name(chromium, home):
    from valor_lab.labels import Overlay, list_overlays, open_overlay
    player = fresh(home)
    taken = Overlay("taken", player.clips.labelings["truth"], "truth", "Bob")
    taken.paint("clip000", "Event_0", "audio", 0, 1, not taken.labels.audio[0, 0, 0])
    taken.save(player.folder)
    before = (home/"overlays/taken.json").read_text()
    with bare(chromium, player) as page:
        page.click(".vl-edit-button"), opens(page, "mine")
        page.wait_for_selector(".vl-edit")
        cells = paints(page, 3)
        page.fill(".vl-overlay-name", "taken")
        page.click(".vl-editor .vl-save")
        says(page, "taken")
        page.fill(".vl-overlay-name", "other")
        page.click(".vl-editor .vl-save")
        says(page, "saved as other.json")
        assert page.locator(".vl-edit").first.get_attribute("data-cells") == cells
        page.wait_for_function("() => /^saved \\d+ s ago$/.test(document.querySelector('.vl-safe').textContent)")
    assert list_overlays(player.folder) == ["other", "taken"] and (home/"overlays/taken.json").read_text() == before
    assert len(open_overlay("other", player.clips.labelings["truth"], folder=player.folder)) == 1


def test_strokes_taken_up_again_are_saved_under_their_own_name(chromium, home):
    from valor_lab.labels import list_overlays
    first = fresh(home)
    first.correct("truth", "second", "Ada")
    value = not first.clips.labelings["truth"].audio[0, 0, 0]
    first._asked(first, {"do": "paint", "event": "Event_0", "modality": "audio", "from": 0, "to": 1, "value": value}, [])
    with bare(chromium, fresh(home)) as page:                               # the kernel died, or the page was opened anew
        page.click(".vl-edit-button")                                       # the editor stands open under another name
        page.wait_for_selector(".vl-overlay-name")
        page.click("[data-left=take_left]")
        says(page, "back is 1 stroke")
        assert page.input_value(".vl-overlay-name") == "second" and page.input_value(".vl-who") == "Ada"
        assert page.inner_text(".vl-editor .vl-save") == "save"
        page.click(".vl-editor .vl-save")
        says(page, "saved as second.json")
    assert list_overlays(first.folder) == ["second"]


def test_opening_another_name_keeps_the_strokes_that_wait_and_the_browser_asks_before_the_page_is_left(chromium, home):
    with bare(chromium, fresh(home)) as page:
        asked = "() => { const e = new Event('beforeunload', { cancelable: true }); window.dispatchEvent(e); return e.defaultPrevented }"
        page.click(".vl-edit-button"), opens(page, "first")
        page.wait_for_selector(".vl-edit")
        assert not page.evaluate(asked)
        cells = paints(page, 2)
        page.wait_for_function("() => document.querySelector('.vl-safe').textContent === 'not saved'")
        assert page.evaluate(asked)
        opens(page, "second")
        says(page, "first has strokes that are not saved")
        assert page.evaluate(asked)                                        # the strokes of `first` wait, though `second` has none
        opens(page, "first")
        page.wait_for_function("c => document.querySelector('.vl-edit').dataset.cells === c", arg=cells)
        page.click(".vl-editor .vl-save")
        says(page, "saved as first.json")
        assert not page.evaluate(asked)


def grasp(page, segment, number=0):
    "Press the hand down on a segment of a lane that can be painted; where that is."
    lane = page.locator(".vl-edit").nth(number)
    b, n = in_view(lane), len(lane.get_attribute("data-cells"))
    at = lambda s: (b["x"] + b["width"] * (s + .5) / n, b["y"] + b["height"] / 2)
    page.mouse.move(*at(segment)), page.mouse.down()
    return at


strokes = lambda player: [(e["clip"], e["start"], e["end"]) for e in player.overlay.edits]


def test_a_stroke_is_not_lost_and_not_moved_by_what_comes_while_it_is_drawn(chromium, home):
    player = fresh(home)
    with bare(chromium, player) as page:
        page.click(".vl-edit-button"), opens(page, "mine")
        page.wait_for_selector(".vl-edit")
        at = grasp(page, 2)
        player.show_event(player.others[0]) if player.others else player.show_event("Event_0")
        player.lanes = [{**lane, "late": True} for lane in player.lanes]      # other lanes arrive: an answer to the stroke before
        page.wait_for_timeout(80)
        page.mouse.move(*at(4)), page.mouse.up()
        says(page, "1 stroke")
        assert strokes(player) == [("clip000", 2, 5)] and page.locator(".vl-draft").count() == 0
        at = grasp(page, 7)
        page.mouse.move(*at(8))
        player.show("clip001")                                               # asked for before, answered under the hand
        page.wait_for_function("() => document.querySelector('.vl-player h3').textContent === 'clip001'")
        says(page, "the last one is in clip000")
        page.mouse.up()
        assert strokes(player) == [("clip000", 2, 5), ("clip000", 7, 9)] and page.locator(".vl-draft").count() == 0
        lanes = page.evaluate("() => [...document.querySelectorAll('.vl-edit')].map(e => e.dataset.cells)")
        assert lanes == [lane["cells"] for lane in player.lanes if lane.get("editable")]
        grasp(page, 3)
        page.evaluate("() => document.querySelector('.vl-edit').dispatchEvent(new PointerEvent('pointercancel', { pointerId: 1, bubbles: true }))")
        page.mouse.up()                                                      # taken away by the browser, as for scrolling on a phone
        settled(page)
        assert len(strokes(player)) == 2 and page.locator(".vl-draft").count() == 0


def test_a_press_on_what_is_drawn_anew_before_it_is_let_go_still_counts(chromium, home):
    bench = BrowseBench(labelings())
    held = "() => window.pressed && !window.pressed.isConnected"
    with bare(chromium, bench) as page:
        page.wait_for_selector(".vl-line")
        press = lambda selector, k=0: (page.evaluate("([s, k]) => { window.pressed = document.querySelectorAll(s)[k] }", [selector, k]),
                                       page.locator(selector).nth(k).hover(), page.mouse.down())
        clip = page.locator(".vl-line").nth(3).get_attribute("data-id")
        press(".vl-line", 3)
        bench.table.sort = [bench.table.sort[0], not bench.table.sort[1]]     # the list changes under the hand: another clip lies there now
        bench.table.sort = ["", False]
        page.wait_for_function(held), page.wait_for_function("c => ![...document.querySelectorAll('.vl-line')].some(e => e.dataset.id === c)", arg=clip)
        page.mouse.up()
        page.wait_for_function("c => document.querySelector('.vl-player h3').textContent === c", arg=clip)
        opened = bench.player.id
        press(".vl-line", 5), page.mouse.move(5, 5)                           # let go elsewhere: nothing was meant
        bench.table.replace(bench.table.frame)
        page.wait_for_function(held), page.mouse.up(), settled(page)
        assert bench.player.id == opened == clip
        name = page.locator(".vl-choices button").nth(1).get_attribute("data-name")
        press(f".vl-choices button[data-name='{name}']")
        bench.player.choices = [[*c] for c in bench.player.choices[::-1]]
        page.wait_for_function(held), page.mouse.up()
        page.wait_for_function("n => document.querySelector(`.vl-choices [data-name='${n}']`).getAttribute('aria-pressed') === 'false'", arg=name)
        page.locator(f".vl-choices button[data-name='{name}']").click()       # and an ordinary press counts once
        page.wait_for_function("n => document.querySelector(`.vl-choices [data-name='${n}']`).getAttribute('aria-pressed') === 'true'", arg=name)


def test_a_note_that_was_typed_stays_with_its_clip_and_a_held_key_marks_one_clip(chromium, home):
    from valor_lab.labels import Marks
    marks = Marks("set", "Ada", home/"marks")
    bench = BrowseBench(labelings(), marks=marks)
    first, second = bench.table.view.index[:2]
    with bare(chromium, bench) as page:
        page.wait_for_selector(".vl-line")
        page.focus(".vl-clip-note"), page.keyboard.type("hard to hear")       # typed, not entered
        bench.player.show(second)
        page.wait_for_function("c => document.querySelector('.vl-player h3').textContent === c", arg=second)
        page.wait_for_function("() => document.querySelector('.vl-clip-note').value === ''")
        page.wait_for_function("() => document.querySelectorAll('.vl-table [data-filter=marks]').length > 0")
        assert {c: m["note"] for c, m in marks.all().items()} == {first: "hard to hear"}
        page.focus(".vl-player")
        page.evaluate("() => { for (let i = 0; i < 3; i++) document.querySelector('.vl-player').dispatchEvent(new KeyboardEvent('keydown', { key: 'd', bubbles: true })) }")
        page.wait_for_function("c => document.querySelector('.vl-player h3').textContent !== c", arg=second)
        assert marks.done() == [second]


def test_the_clip_that_is_open_is_marked_in_the_list_from_the_start(chromium):
    with bare(chromium, BrowseBench(labelings())) as page:
        page.wait_for_selector(".vl-line")
        assert page.locator(".vl-line[aria-selected=true]").get_attribute("data-id") == page.inner_text(".vl-player h3")


def test_a_caption_scored_again_keeps_undo_and_what_was_saved(chromium, home):
    clips = labelings(more=0)
    t = tuning(clips)
    clips.scores = t.scores
    def rescore(vocab):
        s = t.scores
        wide = lambda x: np.concatenate([x, x[..., :1]], -1) if len(vocab) > 6 else x - 1.5 * (np.arange(6) == 0)
        return Scores(s.ids, wide(s.audio), wide(s.visual), vocab, s.durations)
    bench = TuneBench(clips, t, rescore=rescore, folder=str(home/"presets"))
    with bare(chromium, bench) as page:
        page.wait_for_selector(".vl-tr")
        knob = page.locator('.vl-tr[data-event="Event_1"] [data-teacher=clip] [role=slider]')
        was = knob.get_attribute("aria-valuenow")
        knob.focus(), page.keyboard.press("PageUp")
        page.wait_for_function("() => !document.querySelector('.vl-panel .vl-undo').disabled")
        flips = lambda: int(texts(page.locator(".vl-sums b"))[3].replace(",", ""))
        page.wait_for_function("() => document.querySelectorAll('.vl-sums b')[3].textContent !== '0'")
        moved = flips()
        page.locator('.vl-tr[data-event="Event_0"] .vl-name').click()
        page.fill(".vl-clip-caption", "another sentence"), page.click(".vl-rescore")
        page.wait_for_function("() => document.querySelector('.vl-panel .vl-message').textContent.includes('scored again')")
        assert page.locator(".vl-panel .vl-undo").is_enabled() and flips() > moved       # what the caption changes is told against the saved set
        page.fill(".vl-new-event", "Zebra"), page.click(".vl-add-event")
        page.wait_for_selector('.vl-tr[data-event="Zebra"]')
        assert page.locator(".vl-panel .vl-undo").is_enabled()
        page.click(".vl-panel .vl-undo")
        page.wait_for_function("([e, v]) => document.querySelector(`.vl-tr[data-event='${e}'] [data-teacher=clip] [role=slider]`).getAttribute('aria-valuenow') === v", arg=["Event_1", was])
        page.fill(".vl-preset-name", "with-zebra"), page.click(".vl-keep .vl-save")
        page.wait_for_function("() => document.querySelector('.vl-panel .vl-message').textContent.includes('training cannot use it')")


def test_what_is_typed_stays_while_what_is_around_it_is_drawn_anew(chromium, home):
    clips = labelings(more=0)
    bench = TuneBench(clips, tuning(clips), rescore=lambda vocab: None, folder=str(home/"presets"))
    with bare(chromium, bench) as page:
        page.wait_for_selector(".vl-tr")
        page.locator('.vl-tr[data-event="Event_0"] .vl-name').click()
        page.fill(".vl-clip-caption", "a long sentence"), page.fill(".vl-new-event", "Zebra"), page.fill(".vl-preset-name", "mine")
        page.focus(".vl-clip-caption")
        bench.panel.gate, bench.panel.presets, bench.panel.selected = "none", ["another"], "Event_1"     # other histograms, presets, curves
        page.locator('.vl-detail h4', has_text="Event_1").wait_for()
        page.locator('.vl-tr[data-event="Event_0"] .vl-name').click()
        page.locator('.vl-detail h4', has_text="Event_0").wait_for()
        assert page.input_value(".vl-clip-caption") == "a long sentence" and page.input_value(".vl-new-event") == "Zebra" and page.input_value(".vl-preset-name") == "mine"
        # a threshold that is no number, or lies beyond the axis, is not what the field goes on showing
        field, knob = page.locator('.vl-tr[data-event="Event_2"] input').first, page.locator('.vl-tr[data-event="Event_2"] [role=slider]').first
        for text in ("", "999", "999"):
            field.fill(text), page.keyboard.press("Tab")
            assert float(field.input_value()) == pytest.approx(float(knob.get_attribute("aria-valuenow")), abs=.06), text
        page.focus('[data-gate="weak label"]'), page.keyboard.press("Enter")
        page.wait_for_selector('[data-gate="weak label"][aria-pressed="true"]')
        assert page.evaluate("() => document.activeElement.dataset.gate") == "weak label"        # a key that chose stays where it was
        # a preset that was loaded can be loaded again
        page.fill(".vl-preset-name", "mine"), page.focus(".vl-keep .vl-save"), page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('.vl-panel .vl-message').textContent.includes('saved as mine')")
        assert page.evaluate("() => document.activeElement.className") == "vl-save"
        kept = knob.get_attribute("aria-valuenow")
        for _ in range(2):
            knob.focus(), page.keyboard.press("Home")
            page.wait_for_function("v => document.querySelector('.vl-tr[data-event=Event_2] [role=slider]').getAttribute('aria-valuenow') !== v", arg=kept)
            page.select_option("select.vl-preset", "mine")
            page.wait_for_function("v => document.querySelector('.vl-tr[data-event=Event_2] [role=slider]').getAttribute('aria-valuenow') === v", arg=kept)


def test_a_list_of_choices_that_is_open_is_not_drawn_anew_with_the_rows(chromium):
    bench = BrowseBench(labelings())
    nodes = "() => [...document.querySelectorAll('.vl-table .vl-controls select, .vl-table .vl-controls option')]"
    with bare(chromium, bench) as page:
        page.wait_for_selector(".vl-line")
        page.focus('[data-filter="event"]')
        page.evaluate(f"() => {{ window.held = ({nodes})() }}")
        version = bench.table.version
        bench.table.replace(bench.table.frame)                                # as when somebody marks a clip: other rows, the same choices
        page.wait_for_function("v => +document.querySelector('.vl-table').dataset.ready > v", arg=version)
        assert bench.table.version > version
        assert page.evaluate(f"() => {{ const now = ({nodes})(); return now.length > 5 && now.length === window.held.length && now.every((e, k) => e === window.held[k]) }}")
        assert page.evaluate("() => document.activeElement.dataset.filter") == "event"
        version = bench.table.version
        page.select_option('[data-filter="event"]', "Event_1")
        page.wait_for_function("v => +document.querySelector('.vl-table').dataset.ready > v", arg=version)
        assert page.input_value('[data-filter="event"]') == "Event_1" and page.evaluate("() => document.activeElement.dataset.filter") == "event"
        # a word that was typed and not yet searched is not taken back by rows that come
        page.locator("input[type=search]").first.evaluate("e => { e.focus(); e.value = 'clip00'; e.dispatchEvent(new Event('input', { bubbles: true })); e.blur(); const m = Object.values(window.desk.models).find(m => m.model.get('total') === 40); m.fire('change:version') }")
        page.wait_for_function("() => { const all = [...document.querySelectorAll('.vl-line')]; return all.length && all.every(e => e.dataset.id.startsWith('clip00')) }")
        assert bench.table.text == "clip00" == page.locator("input[type=search]").first.input_value()


def test_a_preset_with_an_added_event_is_not_offered_to_a_training_that_cannot_use_it(home):
    from valor_lab.workbench import Launcher
    (home/"data/thresholds").mkdir(parents=True)
    Thresholds(*[np.full(25, 14.)] * 2, LLP).save(home/"data/thresholds/fits.toml")
    Thresholds(*[np.full(26, 14.)] * 2, LLP.with_event("Rain", "rain", "rain")).save(home/"data/thresholds/rainy.toml")
    desk = Launcher(root=str(home/"data"), out=str(home/"runs"))
    desk.known_vocab = LLP
    desk.now()
    assert "fits" in desk.labels and "rainy" not in desk.labels


# ---- 6: a long clip can be read and worked on

def long_clip(T=400, seconds=200.):
    "One clip of four hundred segments: right but for one false alarm and one missed segment."
    vocab = Vocab("long", ["Bell", "Horn"], *[["a bell", "a horn"]] * 2, *[[1., 1.]] * 2)
    on = np.zeros((2, T, 2), bool)
    on[:, 100:160, 0] = True
    found = on.copy()
    found[:, 250, 0], found[:, 130, 0] = True, False
    truth = SegmentLabels(["long", "other"], on, on, vocab, np.full(2, seconds))
    return Clips(dict(truth=truth, found=SegmentLabels(truth.ids, found, found, vocab, truth.durations)), truth.weak())


lane = '.vl-lane[data-event="Bell"][data-modality="audio"][data-name="found"]'
zoom = lambda page: float(page.get_attribute(".vl-player", "data-zoom"))
zoomed = lambda page, low, high=1e9: page.wait_for_function("([a, b]) => { const z = +document.querySelector('.vl-player').dataset.zoom; return z >= a && z <= b }", arg=[low, high])


@pytest.mark.parametrize("dark", (False, True))
@pytest.mark.parametrize("width", WIDTHS)
def test_one_wrong_segment_among_four_hundred_has_a_mark_of_its_own_at_any_zoom(chromium, width, dark):
    with bare(chromium, Player(long_clip()), width=width, dark=dark) as page:
        page.wait_for_selector(lane)
        for press in ("", "+", "+", "+"):
            if press: page.focus(".vl-player"), page.keyboard.press(press)
            settled(page)
            for kind in ("vl-false", "vl-missed"):
                look = page.evaluate("""([s, k]) => { const e = document.querySelector(`${s} .${k}`), c = getComputedStyle(e), r = document.querySelector(`${s} .vl-right`);
                    return [e.getBoundingClientRect().width, c.backgroundImage, c.borderStyle, getComputedStyle(r).backgroundImage, getComputedStyle(r).borderStyle] }""", [lane, kind])
                assert look[0] >= 8, (kind, look)                        # never a pixel
                assert look[1:3] != look[3:], kind                       # and never drawn as what is right


def test_the_timeline_zooms_by_wheel_keys_and_drag_and_the_map_shows_where(chromium):
    with bare(chromium, Player(long_clip())) as page:
        page.wait_for_selector(lane)
        assert zoom(page) == 1
        ticks = page.locator(".vl-ticks").bounding_box()
        at = lambda f: (ticks["x"] + f * ticks["width"], ticks["y"] + ticks["height"] / 2)
        second = "() => +document.querySelector('.vl-ticks').getAttribute('aria-valuenow')"
        page.mouse.move(*at(.5)), page.mouse.down(), page.mouse.move(*at(.6), steps=4), page.mouse.move(*at(.7), steps=4), page.mouse.up()
        zoomed(page, 4.9, 5.1)                                           # a fifth of the clip was dragged over
        page.wait_for_selector(".vl-pane")
        b, m = page.locator(".vl-pane").bounding_box(), page.locator(".vl-map").bounding_box()
        assert abs((b["x"] - m["x"]) / m["width"] - .5) < .02 and abs(b["width"] / m["width"] - .2) < .02
        ticks = page.locator(".vl-ticks").bounding_box()
        page.mouse.click(*at(0.5))
        page.wait_for_function(f"() => Math.abs(({second})() - 120) < 1.5")        # the middle of the view is the second 120
        page.focus(".vl-player"), page.keyboard.press("+")
        zoomed(page, 9.8, 10.2)
        page.keyboard.press("-"), page.keyboard.press("-")
        zoomed(page, 2.4, 2.6)
        page.keyboard.press("0")
        zoomed(page, 1, 1)
        page.mouse.move(*at(.25))
        page.keyboard.down("Control"), page.mouse.wheel(0, -300), page.keyboard.up("Control")
        zoomed(page, 2)
        page.keyboard.press("End")                                        # the playhead is never out of sight when it is sent somewhere
        page.wait_for_function("() => document.querySelector('.vl-head').style.visibility !== 'hidden'")


def test_the_view_follows_the_playhead_while_time_passes_and_can_be_left_behind(chromium):
    left = "() => +getComputedStyle(document.querySelector('.vl-axis')).getPropertyValue('--from')"
    with bare(chromium, Player(long_clip(seconds=8.))) as page:
        page.wait_for_selector(lane)
        page.focus(".vl-player")
        for _ in range(3): page.keyboard.press("+")
        zoomed(page, 8, 8)
        page.keyboard.press("Space")
        page.wait_for_function(f"() => ({left})() > .1")
        page.keyboard.press("Space"), page.click(".vl-follow")
        page.focus(".vl-player"), page.keyboard.press("Home")
        page.wait_for_function(f"() => ({left})() < .01")
        page.keyboard.press("Space")
        page.wait_for_function("() => document.querySelector('.vl-head').style.visibility === 'hidden'")
        assert page.evaluate(left) < .01


def test_frames_volume_mute_and_the_list_of_keys(chromium):
    player = Player(long_clip(seconds=10.))
    with bare(chromium, player) as page:
        page.wait_for_selector(lane)
        at = lambda t: page.wait_for_function("t => Math.abs(+document.querySelector('.vl-ticks').getAttribute('aria-valuenow') - t) < .006", arg=t)
        page.focus(".vl-player")
        page.keyboard.press("."), page.keyboard.press("."), at(2 / 25)
        page.keyboard.press(","), at(1 / 25)
        page.keyboard.press("m")
        page.wait_for_function("() => document.querySelector('video').muted && document.querySelector('.vl-loudness').textContent === 'muted'")
        page.locator(".vl-volume").fill("30")
        page.wait_for_function("() => Math.abs(document.querySelector('video').volume - .3) < .01 && !document.querySelector('video').muted")
        page.focus(".vl-player"), page.keyboard.press("?")
        page.wait_for_selector(".vl-help:not([hidden])")
        assert "frame back" in page.inner_text(".vl-help") and page.get_attribute(".vl-help-button", "aria-expanded") == "true"
        page.keyboard.press("Escape")
        page.wait_for_selector(".vl-help", state="hidden")
    assert player.volume == .3 and not player.muted


def test_from_the_list_to_the_first_stroke_in_three_keys(chromium, home, monkeypatch):
    bench = BrowseBench(labelings(more=1))
    bench.player.folder = str(home/"overlays")
    with bare(chromium, bench) as page:
        page.wait_for_selector(".vl-line")
        page.focus(".vl-table .vl-scroll")
        keys = ["ArrowDown", "Enter", "1"]
        for k in keys:
            page.keyboard.press(k)
            if k == "Enter": page.wait_for_function("() => document.activeElement.classList.contains('vl-player')")
        page.wait_for_selector(".vl-edit")
        assert page.locator(".vl-edit").first.get_attribute("data-cells")[0] in "rfo" and len(keys) == 3
        page.keyboard.press("Shift+Digit1")                                # and erased
        page.wait_for_function("() => '.m'.includes(document.querySelector('.vl-edit').dataset.cells[0])")
        page.keyboard.press("Control+s")
        page.wait_for_function("() => document.querySelector('.vl-correction').textContent.includes('saved as corrected.json')")


# ---- 7: what one sees, hears and presses

def test_one_player_sounds_at_a_time_and_space_in_the_list_plays(chromium):
    one, two = Player(long_clip(seconds=30.)), BrowseBench(long_clip(seconds=30.))
    with bare(chromium, one, two) as page:
        page.wait_for_selector(".vl-line")
        playing = lambda n: page.wait_for_function("n => [...document.querySelectorAll('.vl-play')].map(e => e.getAttribute('aria-pressed')).join() === n", arg=n)
        page.locator(".vl-play").nth(0).click()
        playing("true,false")
        page.focus(".vl-scroll"), page.keyboard.press("Space")
        playing("false,true")                                              # the one beside the list plays, the other has stopped
        assert page.evaluate("() => document.querySelector('.vl-scroll').scrollTop === 0 && window.scrollY === 0")
        page.keyboard.press("Space")
        playing("false,false")


def test_a_row_of_the_events_opens_its_clips_the_most_decisive_first(chromium):
    bench = CompareBench(labelings(), ["model-1", "model-3"], n=20)
    with bare(chromium, bench) as page:
        line = table(page, "Events").locator(".vl-line").first
        line.wait_for()
        row = line.get_attribute("data-id")
        line.click()
        clips = table(page, f"Clips with {row}")
        clips.locator('[data-cell="decisive"]').first.wait_for()
        seen = [int(t) for t in texts(clips.locator('[data-cell="decisive"]'))]
        assert seen == sorted(seen, reverse=True) and 0 < bench.table.total < 40
        first = clips.locator('.vl-line[aria-rowindex="1"]').get_attribute("data-id")
        page.wait_for_function("t => document.querySelector('.vl-player h3').textContent === t", arg=first)
        page.select_option('[data-switch="show"]', "all clips")
        page.wait_for_function("() => [...document.querySelectorAll('.vl-table h3')].some(e => e.textContent === 'Clips 40')")


@pytest.mark.parametrize("width", WIDTHS)
def test_a_clicked_flip_opens_its_clip_in_view_and_the_first_tab_is_at_the_top_and_no_row_jumps(chromium, width):
    clips = labelings()
    t = tuning(clips)
    with bare(chromium, TuneBench(clips, t), width=width, height=900) as page:
        page.wait_for_selector(".vl-tr")
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.getBoundingClientRect().top") < 300
        row = page.locator(".vl-tr").nth(2)
        top = lambda: row.bounding_box()["y"]
        before = top()
        row.locator("[role=slider]").first.focus()
        page.keyboard.press("PageDown")
        page.wait_for_function("() => document.querySelectorAll('.vl-sums b')[3].textContent !== '0'")
        assert abs(top() - before) < 1                                     # only the numbers changed
        flip = table(page, "Flips").locator(".vl-line").first
        in_view(flip), flip.click()
        page.wait_for_function("() => { const b = document.querySelector('.vl-player h3').getBoundingClientRect(); return b.top >= -60 && b.bottom <= window.innerHeight }")


def test_browse_begins_with_the_worst_clip_and_a_clip_without_a_picture_has_no_broken_image(chromium):
    clips = labelings()
    bench = BrowseBench(clips)
    bench.table.picture, bench.table.pictures = (lambda clip: None), True
    with bare(chromium, bench) as page:
        page.wait_for_selector(".vl-line")
        lowest = bench.table.frame["model-1"].idxmin()
        assert page.locator('.vl-line[aria-rowindex="1"]').get_attribute("data-id") == lowest and page.inner_text(".vl-player h3") == lowest
        page.wait_for_function("() => document.querySelectorAll('.vl-line .vl-picture').length > 5")
        page.wait_for_timeout(300)
        assert page.locator(".vl-line img").count() == 0


def test_forced_colours_keep_right_wrong_and_missed_apart(chromium):
    with bare(chromium, Player(long_clip()), forced_colors="active") as page:
        page.wait_for_selector(lane)
        looks = page.evaluate("""s => ['right', 'false', 'missed'].map(k => { const c = getComputedStyle(document.querySelector(`${s} .vl-${k}`)); return [c.backgroundImage, c.backgroundColor, c.borderStyle].join('|') })""", lane)
        assert len(set(looks)) == 3, looks


def test_forced_colours_show_what_is_chosen(chromium):
    clips = labelings()
    look = """([s, on]) => { const of = x => { const c = getComputedStyle(document.querySelector(x)); return [c.backgroundColor, c.color, c.outlineStyle].join('|') }; return [of(s + on), of(s + ':not(' + on + ')')] }"""
    with bare(chromium, TuneBench(clips, tuning(clips)), forced_colors="active") as page:
        page.wait_for_selector(".vl-tr"), page.wait_for_selector('.vl-line[aria-selected="true"]')
        for what, on in ((".vl-panel [data-gate]", '[aria-pressed="true"]'), (".vl-choices button", '[aria-pressed="true"]'), (".vl-line", '[aria-selected="true"]')):
            if what == ".vl-choices button": page.locator(what).first.click(), page.wait_for_selector(f'{what}[aria-pressed="false"]')
            chosen, not_chosen = page.evaluate(look, [what, on])
            assert chosen != not_chosen, what


def test_on_a_phone_the_time_track_is_wide_and_tune_keeps_its_f(chromium):
    clips = labelings()
    with bare(chromium, TuneBench(clips, tuning(clips)), width=390, height=840) as page:
        page.wait_for_selector(".vl-tr")
        assert page.locator(".vl-ticks").bounding_box()["width"] >= 240
        for part in (".vl-f", ".vl-name", "input[type=number]"):
            b = page.locator(f".vl-tr {part}").first.bounding_box()
            assert b["x"] >= 0 and b["x"] + b["width"] <= 390 and b["width"] > 10, part
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 391


@pytest.mark.parametrize("dark", (False, True))
@pytest.mark.parametrize("view", ("browse", "tune", "compare", "launcher", "editing", "empty"))
def test_axe_finds_nothing(chromium, home, view, dark):
    from importlib.resources import files
    pytest.importorskip("axe_playwright_python")
    from valor_lab.workbench import Launcher
    clips = labelings()
    if view == "tune": shown = TuneBench(clips, tuning(clips))
    elif view in ("compare", "empty"): shown = CompareBench(clips, ["model-1", "model-2"], n=20)
    elif view == "launcher": shown = Launcher(root=str(home/"data"), out=str(home/"runs"))
    else: shown = BrowseBench(clips)
    if view == "launcher":
        shown.now = lambda: None
        shown.jobs, shown.selected = [dict(name="a job", state="running", seconds=3)], "a job"
    with bare(chromium, shown, dark=dark) as page:
        page.wait_for_selector(".vl-line, .vl-launcher")
        if view == "editing":
            page.focus(".vl-player")
            for k in ("e", "1", "?"): page.keyboard.press(k)
            page.wait_for_selector(".vl-edit")
        if view == "empty":
            for name in ("model-1", "model-2"): page.click(f'button[data-name="{name}"]')
            page.locator(".vl-nothing:visible").first.wait_for()
            table(page, "Clips").locator("input[type=search]").fill("no such clip")
            page.wait_for_function("() => [...document.querySelectorAll('.vl-table h3')].some(e => / 0 of /.test(e.textContent))")
        settled(page), page.wait_for_timeout(500)
        page.evaluate((files("axe_playwright_python")/"axe.min.js").read_text(encoding="utf-8"))
        found = page.evaluate("() => window.axe.run('#desk')")["violations"]
        assert not found, [(v["id"], v["impact"], [n["html"][:160] + " " + (n.get("failureSummary") or "")[:260] for n in v["nodes"][:2]]) for v in found]
