import itertools
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from valor_lab.harvest import (statistics as H, Scores, elaborate, ForeignThresholdsWarning, LiveLabels, Thresholds, TunedHereWarning,
                               ascend, curves, flips, own_thresholds, predict_weak, report, spread, tune, tune_bagged, tune_gate,
                               tune_global, tune_pooled)
from valor_lab.core import ParameterError
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.metrics import avvp_scores, event_scores, fidelity
from valor_lab.vocab import LLP, Vocab

def vocab(c): return Vocab(f"v{c}", [f"e{i}" for i in range(c)], ["x"]*c, ["y"]*c, np.zeros(c), np.zeros(c))

def case(seed, n=3, t=3, c=2, levels=4, missing=.1, gate=True):
    "A small random problem full of ties, with missing streams, of which the truth says nothing, and, maybe, a gate."
    rng = np.random.default_rng(seed)
    v, ids = vocab(c), [f"c{i}" for i in range(n)]
    draw = lambda: rng.integers(0, levels, (n, t, c)).astype(np.float32)
    audio, visual = draw(), draw()
    for x in (audio, visual): x[rng.random(n) < missing] = np.nan
    if np.isnan(audio).all() or np.isnan(visual).all(): audio, visual = draw(), draw()
    truth = SegmentLabels(ids, (rng.random((n, t, c)) < .4) & ~np.isnan(audio), (rng.random((n, t, c)) < .4) & ~np.isnan(visual), v)
    return Scores(ids, audio, visual, v), truth, WeakLabels(ids, rng.random((n, c)) < .7, v) if gate else None

def big(seed=0, n=60, c=5): return case(seed, n, 10, c, levels=200, missing=.05)

def f(labels, truth): return 1. if labels.sum() + truth.sum() == 0 else 2*(labels & truth).sum()/(labels.sum() + truth.sum())

def candidates(x):
    "A threshold between any two neighbouring scores, below and above all."
    s = np.unique(x[~np.isnan(x)])
    return [s[0] - 1, *(s[:-1] + s[1:])/2, s[-1] + 1]

problems = given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.booleans())

# ---- the exact optimum

@problems
def test_tune_finds_what_trying_every_threshold_finds(seed, n, t, levels, gate):
    scores, truth, weak = case(seed, n, t, 2, levels, gate=gate)
    found = tune(scores, truth, weak)
    g = np.ones((n, 1, 2), bool) if weak is None else weak.mask[:, None]
    for m, c in itertools.product(("audio", "visual"), range(2)):
        x, y = getattr(scores, m)[..., c], getattr(truth, m)[..., c]
        best = max(f((x > th) & g[..., c], y) for th in candidates(x))
        assert f(getattr(elaborate(scores, weak, found), m)[..., c], y) == best

@problems
def test_one_threshold_per_teacher_is_the_best_one(seed, n, t, levels, gate):
    scores, truth, weak = case(seed, n, t, 3, levels, gate=gate)
    found = tune_global(scores, truth, weak)
    g = True if weak is None else weak.mask[:, None]
    for m in ("audio", "visual"):
        x = getattr(scores, m)
        assert len(set(found.of(m))) == 1
        assert f(getattr(elaborate(scores, weak, found), m), getattr(truth, m)) == max(f((x > th) & g, getattr(truth, m))
                                                                                       for th in candidates(x))

@problems
def test_pooled_optimum_is_that_of_all_combinations(seed, n, t, levels, gate):
    scores, truth, weak = case(seed, n, t, 2, min(levels, 4), gate=gate)
    found = elaborate(scores, weak, tune_pooled(scores, truth, weak))
    g = True if weak is None else weak.mask[:, None]
    for m in ("audio", "visual"):
        x, y = getattr(scores, m), getattr(truth, m)
        best = max(f((x > np.array(th)) & g, y) for th in itertools.product(*(candidates(x[..., c]) for c in range(2))))
        assert f(getattr(found, m), y) == pytest.approx(best, abs=1e-12)

def one_event(score, true):
    v, x = vocab(1), np.array(score, np.float32).reshape(1, -1, 1)
    y = np.array(true, bool).reshape(x.shape)
    return Scores(["a"], x, x, v), SegmentLabels(["a"], y, y, v)

def test_a_threshold_is_the_midpoint_of_its_neighbours(): assert tune(*one_event([1, 2, 5, 6], [0, 0, 1, 1])).clap.tolist() == [3.5]

def test_no_threshold_lies_between_equal_scores():
    scores, truth = one_event([1, 3, 3, 3, 4], [0, 0, 1, 1, 1])
    t = tune(scores, truth).clip[0]
    assert t == 2 and elaborate(scores, None, tune(scores, truth)).visual.sum() == 4

def test_of_equal_optima_the_one_nearest_to_the_common_threshold_is_taken():
    v = vocab(2)
    x = np.array([[4, 3, 2, 1], [9, 9, 1.5, 1.5]], np.float32).T[None]             # event 0: F is 2/3 for one claim and for all four
    y = np.array([[1, 0, 0, 1], [1, 1, 0, 0]], bool).T[None]
    scores, truth = Scores("a", x, x, v), SegmentLabels("a", y, y, v)
    assert tune_global(scores, truth).clap.tolist() == [3.5, 3.5] and tune(scores, truth).clap.tolist() == [3.5, 5.25]
    assert H.best_threshold(H.count(x[..., :1], y[..., :1], np.ones((1, 1, 1), bool), -1.)).tolist() == [-1]
    assert H.best_threshold(H.count(x[..., :1], y[..., :1], np.ones((1, 1, 1), bool))).tolist() == [3.5]

def test_scores_that_are_neighbours_in_single_precision_are_still_parted():
    a = np.float32(20)
    scores, truth = one_event([a, np.nextafter(a, np.float32(30))], [0, 1])
    assert elaborate(scores, None, tune(scores, truth)).audio[0, :, 0].tolist() == [False, True]

def test_an_event_that_is_never_true_is_never_labelled_and_one_that_always_is_always():
    scores, truth = one_event([1, 2, 3], [0, 0, 0])
    assert tune(scores, truth).clap.tolist() == [4]
    scores, truth = one_event([1, 2, 3], [1, 1, 1])
    assert tune(scores, truth).clap.tolist() == [0]

def test_everything_and_nothing_lie_at_the_common_threshold_if_that_is_farther_out():
    score, gate = np.arange(4.).reshape(1, 4, 1), np.ones((1, 1, 1), bool)
    for true, common, expected in ((True, -5, -5), (True, 2, -1), (False, 9, 9), (False, 2, 4)):
        assert H.best_threshold(H.count(score, np.full(score.shape, true), gate, common)).tolist() == [expected]

def test_an_event_whose_true_segments_are_all_outside_the_gate_is_not_labelled():
    v = vocab(1)
    scores, truth = (Scores("ab", *np.arange(12.).reshape(2, 2, 3, 1) % 6, v),
                     SegmentLabels("ab", *np.arange(12).reshape(2, 2, 3, 1) % 6 > 2, v))
    # one above the highest score that may be labelled
    assert tune(scores, truth, WeakLabels("ab", [[True], [False]], v)).clap.tolist() == [3]

def test_an_event_that_the_gate_allows_nowhere_takes_the_common_threshold():
    scores, truth, weak = big()
    weak.mask[:, 2] = False
    common = tune_global(scores, truth, weak)
    for method in (tune, tune_pooled):
        found = method(scores, truth, weak)
        assert found.clip[2] == common.clip[2] and found.clap[2] == common.clap[2] and found.clip[1] != common.clip[1]

def test_a_gate_that_is_closed_everywhere_still_gives_numbers():
    scores, truth, weak = big()
    weak.mask[:] = False
    for method in (tune, tune_global, tune_pooled): assert np.isfinite(method(scores, truth, weak).clip).all()

def test_a_modality_that_was_not_harvested_keeps_the_vocabularys_thresholds():
    scores, truth, weak = big()
    scores = replace(scores, audio=np.full_like(scores.audio, np.nan), vocab=scores.vocab.with_thresholds([9]*5, [np.nan]*5))
    truth = replace(truth, vocab=scores.vocab); weak = replace(weak, vocab=scores.vocab)
    for method in (tune, tune_global, tune_pooled, lambda *a: ascend(*a)[0]):
        found = method(scores, truth, weak)
        assert np.isnan(found.clap).all() and not (found.clip == 9).all()
    assert not elaborate(scores, weak, found).audio.any()

def test_clips_are_matched_by_id():
    scores, truth, weak = big()
    other = tune(scores, truth.select(truth.ids[::-1]), weak.select(weak.ids[::-1]))
    assert np.array_equal(other.clip, tune(scores, truth, weak).clip)
    with pytest.raises(KeyError, match="59 clips"): tune(scores, truth.select(truth.ids[:1]), weak)
    with pytest.raises(ValueError, match="events"): tune(scores, SegmentLabels(truth.ids, *np.zeros((2, 60, 10, 25), bool), LLP))

# ---- the official score

def test_ascent_ends_no_lower_and_reports_the_official_score():
    scores, truth, weak = big()
    for gate in (weak, None):
        found, steps = ascend(scores, truth, gate)
        a, b = (avvp_scores(elaborate(scores, gate, t), truth) for t in (tune(scores, truth, gate), found))
        for r in steps.itertuples():
            assert (r.start == pytest.approx(a[f"segment/{r.modality}"])
                    and r.end == pytest.approx(b[f"segment/{r.modality}"]) and r.end >= r.start)
    assert "ascent" in found.provenance["method"] and "exact" not in found.provenance["method"]

@given(st.integers(0, 10**6))
def test_ascent_cannot_be_improved_by_moving_any_one_threshold(seed):
    scores, truth, weak = case(seed, 4, 3, 3, 4)
    found, _ = ascend(scores, truth, weak, rounds=50)
    end = avvp_scores(elaborate(scores, weak, found), truth)
    for m, c in itertools.product(("audio", "visual"), range(3)):
        for t in candidates(getattr(scores, m)[..., c]):
            moved = {k: found.of(n).copy() for k, n in (("clip", "visual"), ("clap", "audio"))}
            moved[H.TEACHER[m]][c] = t
            assert avvp_scores(elaborate(scores, weak, replace(found, **moved)), truth)[f"segment/{m}"] <= end[f"segment/{m}"] + 1e-9

# ---- curves, spread, flips

def test_curves_agree_with_scores_of_events_at_every_point():
    scores, truth, weak = big(n=12, c=2)
    df = curves(scores, truth, weak)
    assert df.groupby(["event", "modality"]).threshold.is_monotonic_increasing.all()
    for r in df.iloc[::7].itertuples():
        t = np.full(2, r.threshold)
        row = event_scores(elaborate(scores, weak, Thresholds(t, t, scores.vocab)), truth)
        row = row.reset_index()
        row = row[(row.event == r.event) & (row.modality == r.modality)].iloc[0]
        assert [r.precision, r.recall] == pytest.approx([row.precision, row.recall], nan_ok=True)

def test_thinned_curves_keep_the_optimum():
    scores, truth, weak = big()
    whole, thin = curves(scores, truth, weak), curves(scores, truth, weak, points=12)
    assert thin.groupby(["event", "modality"]).size().max() <= 13
    assert (whole.groupby(["event", "modality"]).f.max() == thin.groupby(["event", "modality"]).f.max()).all()

def test_a_resample_counts_clips_as_often_as_they_were_drawn():
    scores, truth, weak = big(n=20)
    stats = H.count(scores.audio, truth.audio, weak.mask[:, None])
    w = np.random.default_rng(0).multinomial(20, np.full(20, .05))
    often = np.repeat(np.arange(20), w)
    many = H.count(scores.audio[often], truth.audio[often], weak.mask[often][:, None])
    best = lambda s, f=None: np.where(np.isnan(s.threshold), -1, s.f() if f is None else f).max(1)
    assert np.allclose(best(stats, H.weighted_f(stats, w, 20)), best(many))

def test_spread_is_reproducible_and_around_the_optimum():
    scores, truth, weak = big()
    a = spread(scores, truth, weak, n=60)
    assert (a.equals(spread(scores, truth, weak, n=60)) and (a.low <= a.high).all()
            and ((a.low <= a.threshold) & (a.threshold <= a.high)).mean() > .8)

def test_bagged_thresholds_lie_within_the_spread():
    scores, truth, weak = big()
    bagged, s = tune_bagged(scores, truth, weak, n=60), spread(scores, truth, weak, n=60, level=1.).set_index("modality")
    for m in ("audio", "visual"): assert ((s.loc[m].low <= bagged.of(m)) & (bagged.of(m) <= s.loc[m].high)).all()

def test_flips_lead_from_one_labeling_to_the_other():
    scores, truth, weak = big()
    a, b = tune(scores, truth, weak), tune_global(scores, truth, weak)
    df, before, after = flips(scores, a, b, weak), elaborate(scores, weak, a), elaborate(scores, weak, b)
    for r in df.to_dict("records"):
        x = getattr(before, r["modality"])
        at = scores.ids.index(r["clip"]), r["segment"], scores.vocab.index(r["event"])
        assert x[at] == r["from"] and r["score"] == getattr(scores, r["modality"])[at]
        x[at] = r["to"]
    assert (len(df) and np.array_equal(before.audio, after.audio) and np.array_equal(before.visual, after.visual)
            and flips(scores, a, a, weak).empty)

# ---- files and provenance

def test_files_bring_everything_back(tmp_path):
    events = ['say "hi"', "a\\b", "Ümläut 🎻", "tab\there", "del\x7f", "new\nline", "a.b = c"]
    v = Vocab("odd", events, events, events, np.zeros(7), np.zeros(7))
    t = Thresholds([1/3, -2, 0, 1e-30, 1e30, 1e300, 5], np.arange(7.), v, dict(split="val", method="by hand", clips=["a", 'b"', "c"]))
    back = Thresholds.load(t.save(tmp_path/"t.toml"), v)
    assert (np.array_equal(back.clip, t.clip) and np.array_equal(back.clap, t.clap)
            and back.provenance == {**t.provenance, "vocabulary": "odd"})

def test_known_vocabularies_are_found_by_name(tmp_path):
    own_thresholds(LLP).save(tmp_path/"llp.toml")
    assert Thresholds.load(tmp_path/"llp.toml").vocab is LLP
    text = (tmp_path/"llp.toml").read_text()
    assert '"Speech" = {clip = 20.0, clap = 0.0}' in text and len(text) < 2500

@pytest.mark.parametrize("old, new, words", [
    ("[events]", "[event]", "tables"), ('"Dog"', '"Dogg"', "missing \\['Dog'\\], unknown \\['Dogg'\\]"),
    ("clip = 14.0", 'clip = "x"', "Dog has no number for clip"), ("{clip = 14.0, clap = 4.0}", "3", "Dog has no number"),
    ('vocabulary = "llp"', 'vocabulary = "mine"', "'mine'"), ("[provenance]", "[provenance", "not a TOML file"),
    ("clip = 14.0", "clip = inf", "Dog has no number")])
def test_files_with_a_fault_are_refused_by_name(tmp_path, old, new, words):
    text = own_thresholds(LLP).save(tmp_path/"t.toml").read_text()
    (tmp_path/"t.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=f"t.toml.*{words}"): Thresholds.load(tmp_path/"t.toml")

def test_provenance_names_split_gate_store_and_method():
    scores, truth, weak = big()
    p = tune(replace(scores, source="abc"), truth, weak, "val").provenance
    assert ((p["split"], p["gate"], p["store"], p["clips"]) == ("val", "weak labels", "abc", list(scores.ids))
            and tune(scores, truth).provenance["gate"] == "none")

def test_reporting_on_the_clips_of_the_tuning_warns_also_after_saving(tmp_path):
    scores, truth, weak = big()
    first, second = scores.ids[:40], scores.ids[40:]
    t = tune(scores.select(first), truth.select(first), weak, "val")
    t = Thresholds.load(t.save(tmp_path/"t.toml"), scores.vocab)
    with pytest.warns(TunedHereWarning, match="40 of these 60.*split val"): report(scores, truth, t, weak)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert report(scores.select(second), truth.select(second), t, weak) == fidelity(elaborate(scores.select(second), weak, t),
                                                                                        truth.select(second))
        report(scores, truth, None, weak, avvp_scores)

def quiet(f, *a):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return f(*a)

def test_ascent_from_tuned_thresholds_remembers_their_clips_too():
    scores, truth, weak = big()
    first, second = scores.ids[:40], scores.ids[40:]
    start = tune(scores.select(first), truth.select(first), weak, "val")
    found, _ = ascend(scores.select(second), truth.select(second), weak, start)
    assert found.provenance["clips"] == list(scores.ids)
    with pytest.warns(TunedHereWarning, match="40 of these 40"): report(scores.select(first), truth.select(first), found, weak)
    assert ascend(scores.select(second), truth.select(second), weak)[0].provenance["clips"] == list(second)

def test_who_moves_thresholds_with_the_truth_in_sight_has_tuned_on_these_clips():
    scores, truth, weak = big()
    first, second = scores.ids[:40], scores.ids[40:]
    a, b = ((scores.select(i), truth.select(i)) for i in (first, second))
    live = LiveLabels(a[0], None, a[1], weak)
    live.move("e0", "audio", 3.)
    with pytest.warns(TunedHereWarning, match="40 of these 40"): report(*a, live.thresholds, weak)
    quiet(report, *b, live.thresholds, weak)
    blind = LiveLabels(b[0], tune(*a, weak, "val"), None, weak)
    blind.move("e0", "audio", 3.)
    with pytest.warns(TunedHereWarning, match="40 of these 40"): report(*a, blind.thresholds, weak)
    quiet(report, *b, blind.thresholds, weak)
    both = LiveLabels(b[0], tune(*a, weak, "val"), b[1], weak)
    assert both.thresholds.provenance["clips"] == [*first, *second]

def test_thresholds_of_other_captions_or_teachers_are_told(tmp_path):
    scores, truth, weak = big()
    scores.teachers = "mine"
    first, second = scores.ids[:40], scores.ids[40:]
    t = tune(scores.select(first), truth.select(first), weak, "val")
    t = Thresholds.load(t.save(tmp_path/"t.toml"), scores.vocab)
    s, y = scores.select(second), truth.select(second)
    quiet(report, s, y, t, weak)
    quiet(report, replace(s, teachers=""), y, t, weak)                   # what is not known is not compared
    with pytest.warns(ForeignThresholdsWarning, match="other teachers than"): report(replace(s, teachers="yours"), y, t, weak)
    reworded = replace(s.vocab, clap_captions=["z"]*5)
    with pytest.warns(ForeignThresholdsWarning, match="other captions than"): report(replace(s, vocab=reworded), y, t, weak)
    with pytest.warns(ForeignThresholdsWarning, match="other captions and other teachers"):
        report(replace(s, vocab=reworded, teachers="yours"), y, t, weak)
    with pytest.warns(ForeignThresholdsWarning): report(replace(s, vocab=reworded), y, own_thresholds(s.vocab), weak)

@pytest.mark.parametrize("value", [{"val": 3}, {"a"}, b"x", ["a", None], object()])
def test_provenance_that_no_file_can_hold_is_refused_before_writing(tmp_path, value):
    with pytest.raises(ParameterError, match="provenance.*'about'.*expected a text, a number or a list"):
        Thresholds([1], [2], vocab(1), dict(about=value)).save(tmp_path/"t.toml")
    assert not list(tmp_path.iterdir())

def test_provenance_without_a_value_is_left_out_and_any_key_is_kept(tmp_path):
    kept = {"n": np.int64(3), "sure": np.bool_(True), "share": np.float32(.5), "two words": "x", "list": [1, 2]}
    back = Thresholds.load(Thresholds([1], [2], vocab(1), dict(kept, split=None, clips=None)).save(tmp_path/"t.toml"), vocab(1)).provenance
    assert back == dict(kept, vocabulary="v1", clips=[])

def test_thresholds_of_another_length_or_vocabulary_are_refused():
    scores, truth, weak = big()
    with pytest.raises(ValueError, match="one threshold for each of 25"): Thresholds([1, 2], [1, 2])
    with pytest.raises(ValueError, match="llp"): elaborate(scores, weak, own_thresholds(LLP))
    with pytest.raises(ValueError, match="'audio_visual'"): own_thresholds(LLP).of("audio_visual")

# ---- the predicted gate

def test_a_predicted_gate_holds_events_whose_best_second_convinces_either_teacher():
    v = vocab(2)
    audio, visual = np.full((3, 4, 2), -9, np.float32), np.full((3, 4, 2), -9, np.float32)
    audio[0, 2, 0], visual[1, 3, 1], visual[2] = 6, 6, np.nan
    t = Thresholds([5, 5], [5, 5], v)
    assert predict_weak(Scores("abc", audio, visual, v), t).mask.tolist() == [[True, False], [False, True], [False, False]]

def test_the_gate_is_tuned_on_weak_labels_alone():
    scores, truth, weak = big()
    t = tune_gate(scores, weak)
    best = np.fmax.reduce(scores.audio, 1)
    for c in range(5):
        assert f(best[:, c] > t.clap[c], weak.mask[:, c]) == max(f(best[:, c] > th, weak.mask[:, c]) for th in candidates(best[:, c]))

# ---- live labels

@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["audio", "visual"]), st.floats(-10, 210),
                          st.sampled_from(["weak", "none", None])), max_size=12))
def test_live_labels_equal_labels_made_anew(moves):
    scores, truth, weak = big(n=15)
    live = LiveLabels(scores, None, truth, weak)
    gate, kept = weak, live.labels
    for c, m, t, change in moves:
        got = live.move(scores.vocab.events[c], m, t)
        if change: gate = weak if change == "weak" else None; got = live.set_gate(gate)
        anew = elaborate(scores, gate, live.thresholds)
        assert (np.array_equal(kept.audio, anew.audio) and np.array_equal(kept.visual, anew.visual)
                and got == pytest.approx(fidelity(anew, truth)))
    rows = event_scores(elaborate(scores, gate, live.thresholds), truth).reset_index()
    mine = live.event("e2")
    for r in rows[rows.event == "e2"].itertuples():
        assert [mine.precision[r.modality], mine.recall[r.modality]] == pytest.approx([r.precision, r.recall], nan_ok=True)

def test_live_labels_without_truth_have_no_fidelity():
    scores, truth, weak = big()
    live = LiveLabels(scores, tune(scores, truth, weak))
    assert live.fidelity is None and live.move("e0", "audio", 3.) is None and live.labels.audio.any()
    with pytest.raises(ValueError, match="NaN"): live.move("e0", "audio", np.nan)
    with pytest.raises(ValueError, match="unknown event"): live.move("e9", "audio", 1.)
    with pytest.raises(ValueError, match="'sound'"): live.move("e0", "sound", 1.)

@given(st.integers(0, 10**6))
def test_thresholds_found_event_by_event_are_those_of_the_whole_table(seed):
    from valor_lab.harvest import best_threshold, best_thresholds, common_threshold, count
    rng = np.random.default_rng(seed)
    n, t, c = rng.integers(1, [9, 5, 4])
    score = rng.normal(size=(n, t, c)).round(rng.integers(0, 3)).astype(rng.choice([np.float32, np.float64]))          # with equals
    score[rng.random(score.shape) < rng.choice([0, .3])] = np.nan
    true, gate = rng.random(score.shape) < rng.choice([0, .3, 1]), rng.random((n, 1, c)) < rng.choice([0, .5, 1])
    common = rng.choice([np.nan, -3., .25, 9.])
    assert np.array_equal(best_thresholds(score, true, gate, common), best_threshold(count(score, true, gate, common)), equal_nan=True)
    flat = lambda x: np.broadcast_to(x, score.shape).reshape(n, -1, 1)
    if not np.isnan(score).all():
        whole = best_threshold(count(*map(flat, (score, true, gate))))[0]
        assert common_threshold(score, true, gate) == (np.nanmax(score) + 1 if np.isnan(whole) else whole)

@pytest.mark.parametrize("odd", ["12.5", 1 + 2j, None, np.datetime64("2026-01-01"), True])
def test_thresholds_that_are_no_numbers_are_refused(odd):
    with pytest.raises(ParameterError, match="numbers"): Thresholds([odd] * len(LLP), np.zeros(len(LLP)))
