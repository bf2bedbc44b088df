"""Which clips are worth a look first, and when what a person corrected is truth for tuning."""
import json

import numpy as np, pytest

pytest.importorskip("anywidget")
from valor_lab.harvest import Scores
from valor_lab.labels import Marks, SegmentLabels, WeakLabels
from valor_lab.vocab import Vocab
from valor_lab.workbench import BrowseBench, Clips, annotated, begin_tuning, uncertainty

VOCAB = Vocab("two", ["Dog", "Rain"], ["a dog", "rain"], ["dog", "rain"], [5, 5], [5, 5])


def clips_of(distance, mask=None, labelings=None, **more):
    "Clips whose listed scores lie so far from the thresholds."
    n = len(distance)
    x = 5 + np.repeat(np.asarray(distance, float), 8).reshape(n, 4, 2)
    ids = [f"c{i:02d}" for i in range(n)]
    weak = WeakLabels(ids, np.ones((n, 2), bool) if mask is None else mask, VOCAB)
    labelings = {k: SegmentLabels(ids, *y, VOCAB) for k, y in (labelings or {}).items()}
    thresholds = dict(audio=np.full(2, 5.), visual=np.full(2, 5.))
    return Clips(labelings, weak, scores=Scores(ids, x, x.copy(), VOCAB, np.full(n, 4.)), thresholds=thresholds, name="kitchen", **more)


def test_the_nearer_its_scores_lie_to_the_thresholds_the_more_a_clip_is_worth_a_look():
    u = uncertainty(clips_of([0, .5, -1, 4, -8]))
    assert (np.diff(u) < 0).all() and u[0] == pytest.approx(1) and 0 <= u[-1] < .2


def test_what_the_weak_label_excludes_is_not_doubtful():
    "An event that nobody listed lies at its threshold; the listed one is clear."
    mask = np.array([[True, False], [True, True]])
    clips = clips_of([6, 6], mask)
    for m in ("audio", "visual"): getattr(clips.scores, m)[:, :, 1] = 5
    clean, doubtful = uncertainty(clips)
    assert clean < doubtful


def test_labelings_that_differ_count_and_corrections_and_truth_do_not():
    a, b = np.zeros((2, 3, 4, 2), bool), np.zeros((2, 3, 4, 2), bool)
    a[:, :2, :2], b[:, 0, :2], b[:, 1, 2:] = True, True, True                      # alike in the first clip, apart in the second, both silent in the third
    clips = clips_of([3, 3, 3], labelings=dict(run=a, harvested=b, truth=~a, mended=~b))
    clips.truth, clips.corrected = "truth", {"mended": "harvested"}
    same, apart, silent = uncertainty(clips)
    assert apart > same == pytest.approx(silent)


def test_missing_scores_are_no_doubt_and_without_scores_and_labelings_nothing_is_known():
    clips = clips_of([0, 0, 0])
    clips.scores.audio[0], clips.scores.visual[0], clips.scores.audio[1] = np.nan, np.nan, np.nan
    u = uncertainty(clips)
    assert u[0] == 0 < u[1] <= u[2]
    assert np.isnan(uncertainty(Clips({}, clips.weak, name="kitchen"))).all()


@pytest.mark.parametrize("listed", (True, False))
def test_it_is_the_mean_of_the_ten_most_doubtful_answers_and_of_the_claims_that_not_all_make(listed):
    "Against every score of every clip, one by one; scores that are missing, thresholds that are unknown."
    rng, n = np.random.default_rng(3), 30
    mask = rng.random((n, 2)) < .6
    ids, vocab = [f"c{i:02d}" for i in range(n)], VOCAB
    a, v = rng.normal(5, 2, (2, n, 4, 2))
    a[rng.random(a.shape) < .1], v[rng.random(v.shape) < .1] = np.nan, np.nan
    y = rng.random((3, 2, n, 4, 2)) < .4
    said = {f"m{k}": SegmentLabels(ids, *y[k], vocab) for k in range(3)}
    t = dict(audio=np.array([4.5, np.nan]), visual=np.array([5., 6.]))
    clips = Clips(said, WeakLabels(ids, mask, vocab), scores=Scores(ids, a, v, vocab, np.full(n, 4.)), thresholds=t, name="kitchen")
    if not listed: clips.weak = None
    expected = []
    for i in range(n):
        doubts = []
        for m, x in (("audio", a), ("visual", v)):
            for c in range(2):
                spread = np.std(x[:, :, c][np.isfinite(x[:, :, c])])
                for s in range(4):
                    known = np.isfinite(x[i, s, c]) and np.isfinite(t[m][c]) and (not listed or mask[i, c])
                    doubts.append(np.exp(-abs(x[i, s, c] - t[m][c])/spread) if known else 0)
        claims = y[:, :, i].reshape(3, -1).sum(0)
        expected.append((np.mean(sorted(doubts)[-10:]) + np.mean(claims[claims > 0] < 3))/2)
    for _ in range(2): assert uncertainty(clips) == pytest.approx(expected, rel=1e-6)
    clips.thresholds = dict(t, audio=np.array([0., 3.]))                              # moved: nothing kept from before counts
    assert np.abs(uncertainty(clips) - expected).max() > .01
    clips.scores = Scores(ids, a + 3, v + 3, vocab, np.full(n, 4.))
    clips.thresholds = {m: x + 3 for m, x in t.items()}
    assert uncertainty(clips) == pytest.approx(expected, rel=1e-6)


def test_browse_sorts_by_it():
    clips = clips_of([8, 0, 2], labelings=dict(harvested=np.ones((2, 3, 4, 2), bool)))
    bench = BrowseBench(clips, order="uncertain")
    assert list(bench.table.view.index) == ["c01", "c02", "c00"]


@pytest.fixture
def marked(tmp_path, monkeypatch):
    "Twenty-four clips, of which a correction is at hand, and nobody has marked one."
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    on = np.random.default_rng(0).random((2, 24, 4, 2)) < .5
    clips = clips_of(np.linspace(-3, 3, 24), labelings=dict(harvested=on, mended=~on))
    clips.corrected = {"mended": "harvested"}
    return clips, Marks("kitchen", "Ada"), Marks("kitchen", "Bob")


def test_twenty_clips_that_two_people_marked_as_done_are_truth_and_nineteen_are_not(marked):
    clips, ada, bob = marked
    for c in clips.ids[:12]: ada.set(c, "done")
    for c in clips.ids[10:19]: bob.set(c, "done")
    bob.set(clips.ids[20], "doubtful", "is it a dog?")
    assert annotated(clips) == ("", [])
    bob.set(clips.ids[19], "done")
    base, ids = annotated(clips)
    assert base == "mended" and ids == list(clips.ids[:20])
    ada.set(clips.ids[0], "")                                                      # taken back
    assert annotated(clips) == ("", [])


def test_marks_of_another_set_and_damaged_ones_do_not_count(marked, tmp_path):
    clips, ada, _ = marked
    other = Marks("garden", "Ada")
    for c in clips.ids[:20]: other.set(c, "done")
    (tmp_path/"data/marks/x.json").write_text("{")
    (tmp_path/"data/marks/y.json").write_text(json.dumps(dict(set="kitchen", marks={c: 7 for c in clips.ids})))
    assert annotated(clips) == ("", [])
    for c in clips.ids[:20]: ada.set(c, "done")
    assert len(annotated(clips)[1]) == 20


def test_tuning_takes_them_for_truth_and_says_so(marked):
    clips, ada, _ = marked
    assert begin_tuning(clips).truth is None
    for c in clips.ids[:21]: ada.set(c, "done")
    tuning = begin_tuning(clips)
    assert len(tuning.scores) == 21 and (tuning.truth.select(tuning.scores.ids).audio == clips.labelings["mended"].audio[:21]).all()
    assert "21 clips marked done" in tuning.split and "mended" in tuning.split


def test_after_a_move_numbers_and_lanes_go_out_before_the_lists_are_made(monkeypatch):
    "The thread that sends needs a moment in which nothing is computed."
    from valor_lab.workbench import TuneBench, bench as room
    clips = clips_of([1, -1, .5])
    tune, order = TuneBench(clips, begin_tuning(clips), folder="no/such/folder"), []
    monkeypatch.setattr(room.time, "sleep", lambda s: order.append("moment") if s > 0 else None)
    monkeypatch.setattr(tune.player, "refresh", lambda: order.append("lanes"))
    for name in ("table", "flips"): monkeypatch.setattr(getattr(tune, name), "replace", lambda *a, name=name: order.append(name))
    event = tune.tuning.vocab.events[0]
    tune.tuning.move(event, "clip", 4., False)
    tune.panel.update(False)
    assert order == ["lanes"] and tune.panel.numbers["serial"] > 0                # while the hand moves, no lists
    tune.panel.update(True)
    assert order == ["lanes", "lanes", "moment", "table", "flips"]
