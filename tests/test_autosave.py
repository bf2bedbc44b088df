"""Work is never lost: strokes are kept as they are made, offered again after a reload or a dead kernel; marks and notes count progress."""
import json

import numpy as np
import pytest

from browser import BAD, browser, home

pytest.importorskip("anywidget")
from valor_lab.core import ParameterError
from valor_lab.labels import Marks, Overlay, SegmentLabels, keep_strokes, left_strokes, open_overlay, take_up
from valor_lab.vocab import Vocab
from valor_lab.workbench import BrowseBench, Clips, Player

pytestmark = pytest.mark.usefixtures("home")


def clips(ids="abcd", name="set"):
    n = len(ids)
    vocab = Vocab("two", ["Dog", "Cat"], ["a", "b"], ["a", "b"], [1, 1], [1, 1])
    base = SegmentLabels(list(ids), np.zeros((n, 10, 2), bool), np.zeros((n, 10, 2), bool), vocab, np.full(n, 10.))
    base.audio[:, 0, 0] = True
    return Clips(dict(harvested=base), base.weak(), name=name)


def paint(player, start, end, clip="a", **kw):
    player.show(clip)
    player._asked(player, dict(do="paint", event="Dog", modality="audio", value=True, **{"from": start, "to": end}), [])


def test_every_stroke_is_kept_until_it_is_saved_and_comes_back_in_another_kernel(home):
    first = Player(clips())
    first.correct("harvested", "mine", "Ada")
    paint(first, 2, 4), paint(first, 6, 8, "b")
    assert left_strokes()[0]["clips"] == ["a", "b"] and left_strokes()[0]["strokes"] == 2
    again = Player(clips())                                                  # the kernel died, or the page was opened anew
    assert [(s["name"], s["who"], s["strokes"]) for s in again.left] == [("mine", "Ada", 2)]
    again._asked(again, dict(do="take_left", name="mine", who="Ada"), [])
    assert again.left == [] and again.correction["unsaved"] and "2 strokes" in again.correction["message"]
    assert again.clips.labelings["mine"].audio[1, 6:8, 0].all()
    again._asked(again, dict(do="undo"), [])
    assert left_strokes()[0]["strokes"] == 1
    again._asked(again, dict(do="save", name="other", who="Ada"), [])        # under another name: nothing is left of the old one
    assert left_strokes() == [] and Player(clips()).left == [] and len(open_overlay("other", clips().labelings["harvested"])) == 1


def test_opening_the_name_brings_the_strokes_back_too_and_no_stroke_goes_over_them(home):
    first = Player(clips())
    first.correct("harvested", "mine", "Ada")
    paint(first, 2, 4)
    again = Player(clips())
    again.correct("harvested", "mine", "Ada")
    assert len(again.overlay) == 1 and again.overlay.unsaved
    paint(again, 5, 6)
    assert left_strokes()[0]["strokes"] == 2
    lone = Player(clips())
    lone.clips.add("second", lone.clips.labelings["harvested"])
    lone._asked(lone, dict(do="correct", base="second", name="mine", who="Ada"), [])      # over other labels: refused, nothing is lost
    assert "correct 'harvested'" in lone.correction["message"] and left_strokes()[0]["strokes"] == 2
    lone._asked(lone, dict(do="forget_left", name="mine", who="Ada"), [])
    assert lone.left == [] and left_strokes() == []


def test_strokes_of_other_clips_or_of_an_older_state_are_not_brought_back(home):
    o = Overlay("mine", clips().labelings["harvested"], "harvested", "Ada")
    o.paint("a", "Dog", "audio", 2, 4), keep_strokes(o)
    assert Player(clips("wxyz")).left == [] and len(Player(clips()).left) == 1
    other = Overlay("mine", clips().labelings["harvested"], "harvested", "Ben")
    other.paint("b", "Dog", "audio", 2, 4), other.save()
    with pytest.raises(ParameterError, match="saved by somebody"): take_up(open_overlay("mine", clips().labelings["harvested"], "Ada"))
    player = Player(clips())
    player._asked(player, dict(do="take_left", name="mine", who="Ada"), [])
    assert "saved by somebody" in player.correction["message"] and len(player.left) == 1
    player._asked(player, dict(do="take_left", name="mine", who="Eve"), [])
    assert "not here any more" in player.correction["message"]


def test_what_a_hand_did_belongs_to_the_clip_and_the_corrections_it_saw(home):
    """Messages come late: by then Python may have opened another clip, or other corrections, which the page did not draw yet."""
    marks = Marks("set", "Ada")
    bench = BrowseBench(clips(), marks=marks)
    player = bench.player
    stroke = lambda at, **more: player._asked(player, {"do": "paint", "event": "Dog", "modality": "audio", "from": at, "to": at + 1, "value": True, **more}, [])
    player.correct("harvested", "mine", "Ada")
    mine = player.overlay
    player.show("b")
    stroke(2, clip="a")
    assert [e["clip"] for e in mine.edits] == ["a"] and player.id == "b" and player.correction["message"] == "1 stroke, not saved; the last one is in a"
    player.correct("harvested", "second", "Ada")
    stroke(4, clip="a", name="mine")
    assert [e["start"] for e in mine.edits] == [2, 4] and not player.overlay.edits and left_strokes()[0]["strokes"] == 2
    assert player.clips.labelings["mine"].audio[0, 4, 0] and "mine: 2 strokes" in player.correction["message"]
    player._asked(player, dict(do="strike", number=1, at=6, value=True, clip="a"), [])
    assert [e["clip"] for e in player.overlay.edits] == ["a"]
    stroke(5, clip="nobody")                                                  # not one of these clips: the one in view
    assert player.overlay.edits[-1]["clip"] == "b"
    for _ in range(3): player._asked(player, dict(do="done_next", clip="a"), [])      # a key held down marks one clip, not three
    assert player.id == "b" and marks.done() == ["a"]
    player._asked(player, dict(do="note", text="of a", clip="a"), []), player._asked(player, dict(do="mark", state="doubtful", clip="c"), [])
    assert marks.all()["a"]["note"] == "of a" and marks.all()["a"]["state"] == "done" and marks.all()["c"]["state"] == "doubtful" and "b" not in marks.all()


def test_a_full_disk_and_a_damaged_file_of_marks_are_said_and_lose_nothing(home, monkeypatch):
    marks = Marks("set", "Ada")
    bench = BrowseBench(clips(), marks=marks)
    player = bench.player
    player.correct("harvested", "mine", "Ada")
    def full(*args): raise OSError(28, "No space left on device")
    monkeypatch.setattr("valor_lab.workbench.player.keep_strokes", full)
    paint(player, 2, 4)
    assert player.correction["unsaved"] and "1 stroke, not saved; they are not on the disk (No space left" in player.correction["message"]
    lane = next(lane for lane in player.lanes if lane.get("editable") and lane["event"] == "Dog" and lane["modality"] == "audio")
    assert set(lane["cells"][2:4]) == {"o"}                                  # the stroke is there to be seen, and to be saved
    monkeypatch.setattr(Marks, "set", full)
    player._asked(player, dict(do="done_next", clip="a"), []), player._asked(player, dict(do="note", text="x", clip="a"), [])
    assert player.id == "a" and "not marked: " in player.done["words"] and "No space" in player.done["words"] and player.done["state"] == ""
    monkeypatch.undo(), monkeypatch.setenv("VALOR_ROOT", str(home))
    marks.path.parent.mkdir(exist_ok=True), marks.path.write_text("{")
    player._asked(player, dict(do="done_next", clip="a"), []), player.show("b")
    assert player.id == "b" and marks.path.name in player.done["words"] and marks.path.read_text() == "{"
    again = BrowseBench(clips(), marks=marks)                                # and it stops no page
    assert marks.path.name in again.table.note and again.player.id and again.table.count == 4


def test_the_first_correction_of_clips_with_one_labeling_can_be_marked_done(home):
    bench = BrowseBench(clips(), marks=Marks("set", "Ada"))
    bench.player.correct("harvested", "mine", "Ada")
    paint(bench.player, 2, 4)
    bench.player._asked(bench.player, dict(do="done_next"), [])
    assert bench.table.progress[0] == 1 and bench.player.id == "b" and bench.table.frame.disagreement["a"] == 2


def test_notes_and_marks_filter_the_list_and_count(home):
    marks = Marks("set", "Ada")
    bench = BrowseBench(clips(), marks=marks)
    bench.player.show("b"), bench.player.note(f"  {BAD} hard to hear "), bench.player.mark("doubtful")
    bench.player.show("c"), bench.player.mark("done")
    assert marks.all()["b"]["note"] == f"{BAD} hard to hear" and marks.all()["b"]["state"] == "doubtful"
    assert bench.table.progress == [1, 4, "1 of 4 done, 1 doubtful"]
    ids = lambda option: (bench.table.where(marks=option), sorted(bench.table.view.index))[1]
    assert ids("with a note") == ["b"] and ids("not done") == ["a", "b", "d"] and ids("done") == ["c"] and ids("doubtful") == ["b"]
    bench.table.where(marks=""), bench.player.show("b"), bench.player.note(""), bench.player.mark("doubtful")
    assert "b" not in marks.all()


@browser
def test_a_reload_offers_the_strokes_that_were_not_saved(chromium, home):
    from bare import bare
    bench = BrowseBench(clips(), marks=Marks("set", "Ada"))
    bench.player.correction = {**bench.player.correction, "who": BAD}
    with bare(chromium, bench) as page:
        page.wait_for_selector(".vl-line")
        assert page.locator(".vl-left").is_hidden()
        page.click(".vl-edit-button"), page.fill(".vl-overlay-name", "mine"), page.click(".vl-start")
        lane = page.locator('.vl-lane.vl-edit[data-event="Dog"][data-modality="audio"], .vl-edit[data-event="Dog"][data-modality="audio"]').first
        lane.wait_for()
        page.focus(".vl-player"), page.keyboard.press("2")                   # the visual lane of the first event, at second 0
        page.wait_for_function("() => document.querySelector('.vl-safe').textContent === 'not saved'")
        page.fill(".vl-clip-note", "two dogs"), page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('.vl-table .vl-line [data-cell=note]')?.textContent === 'two dogs'")
        page.desk.die()                                                      # the kernel is gone
        page.locator(".vl-player .vl-gone", has_text="The kernel is gone").wait_for()
    again = BrowseBench(clips(), marks=Marks("set", "Ada"))
    with bare(chromium, again) as page:
        page.wait_for_selector(".vl-line")
        page.locator(".vl-left", has_text="“mine” by").wait_for()
        assert "1 stroke over harvested, kept on" in page.inner_text(".vl-left")
        assert page.locator(".vl-left img").count() == 0 and not page.evaluate("() => window.hacked")
        assert page.input_value(".vl-clip-note") == "two dogs"
        page.click('[data-left="take_left"]')
        page.locator(".vl-correction", has_text="back is 1 stroke that was not saved").wait_for()
        assert page.locator(".vl-left").is_hidden()
        page.click(".vl-save")
        page.locator(".vl-correction", has_text="saved as mine.json").wait_for()
    saved = json.loads((home/"data/overlays/mine.json").read_text())
    assert len(saved["edits"]) == 1 and saved["edits"][0]["who"] == BAD and left_strokes() == []
