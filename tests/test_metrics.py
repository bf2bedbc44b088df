"""The metrics equal their plain definition, on any labels, and refuse what cannot be compared."""
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from valor_lab import metrics as M
from valor_lab.metrics import avvp
from valor_lab.core import ParameterError, find_data
from valor_lab.labels import SegmentLabels, read_segments, read_weak
from valor_lab.vocab import LLP, Vocab

sys.path.insert(0, str(Path(__file__).parent))
import reference_metrics as ref


def vocab(c):
    names = [f"event{i}" for i in range(c)]
    return Vocab("made up", names, names, names, np.zeros(c), np.zeros(c))


def close(a, b): return a.keys() == b.keys() and all(abs(a[k] - b[k]) < 1e-9 for k in a)


@st.composite
def labelings(draw, max_t=24):
    "A pair of labelings of any size and density, with empty clips, full clips and copies of the truth among them."
    n, t, c = draw(st.integers(1, 6)), draw(st.one_of(st.integers(1, 10), st.integers(1, max_t))), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    density = st.sampled_from([0., .02, .1, .3, .5, .7, .9, 1.])
    (pa, pv), (ta, tv) = ([rng.random((n, t, c)) < draw(density) for _ in range(2)] for _ in range(2))
    ids, v = [f"clip{i}" for i in range(n)], vocab(c)
    for i in range(n):
        kind = draw(st.sampled_from(["as it is", "as it is", "empty truth", "empty prediction", "both empty", "all ones", "equal"]))
        if kind in ("empty truth", "both empty"): ta[i] = tv[i] = False
        if kind in ("empty prediction", "both empty"): pa[i] = pv[i] = False
        if kind == "all ones": pa[i] = pv[i] = ta[i] = tv[i] = True
        if kind == "equal": pa[i], pv[i] = ta[i], tv[i]
    return SegmentLabels(ids, pa, pv, v), SegmentLabels(ids, ta, tv, v)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(labelings())
def test_the_ten_scores_equal_the_plain_definition(pair):
    clips = ref.avvp_reference(*pair)
    table = M.avvp_scores(*pair, per_clip=True)
    assert close(M.avvp_scores(*pair), ref.mean_over_clips(clips))
    assert list(table.index) == list(pair[1].ids) and list(table.columns) == list(M.SCORES)
    assert all(close(row.to_dict(), clip) for (_, row), clip in zip(table.iterrows(), clips))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(labelings())
def test_pooled_scores_equal_the_plain_definition(pair):
    assert close(M.fidelity(*pair), ref.fidelity_reference(*pair))
    assert close(M.nonaligned_scores(*pair), ref.nonaligned_reference(*pair))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(labelings())
def test_exclusive_scores_are_the_audio_score_of_the_exclusive_labels(pair):
    only = [SegmentLabels(x.ids, x.audio & ~x.visual, x.visual & ~x.audio, x.vocab) for x in pair]
    want = ref.mean_over_clips(ref.avvp_reference(*only))
    got = M.exclusive_scores(*pair)
    assert all(abs(got[f"{lv}/{k}_only"] - want[f"{lv}/{m}"]) < 1e-9 for lv in M.LEVELS for k, m in (("audible", "audio"), ("visible", "visual")))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(labelings())
def test_event_scores_equal_the_plain_definition(pair):
    pred, truth = pair
    table = M.event_scores(pred, truth)
    for c, event in enumerate(truth.vocab.events):
        for m in M.MODALITIES:
            p, t = (getattr(x, m)[:, :, c].ravel() for x in pair)
            got, tp = table.loc[(event, m)], (p & t).sum()
            want = [100 * tp / p.sum() if p.any() else np.nan, 100 * tp / t.sum() if t.any() else np.nan, 200 * tp / (p.sum() + t.sum()) if (p | t).any() else np.nan]
            assert np.allclose(got[["precision", "recall", "F"]].to_numpy(float), want, equal_nan=True, atol=1e-9) and got["support"] == t.sum()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(labelings(max_t=60))
def test_both_routes_of_matching_events_agree_and_matching_is_one_to_one(pair):
    pred, truth = pair[0].audio, pair[1].audio
    hits, claimed, true = avvp._match_by_middle(pred, truth)
    assert (hits == avvp._match_by_middle(truth, pred)[0]).all()          # counted from the other side
    assert (hits <= np.minimum(claimed, true)).all()
    if truth.shape[1] <= M.LOOKUP_T: assert (avvp._counts(avvp._pattern(pred), avvp._pattern(truth), truth.shape[1])[1] == [hits, claimed, true]).all()
    one = [ref.event_counts(pred[0, :, c].tolist(), truth[0, :, c].tolist()) for c in range(truth.shape[2])]
    assert [(h, p - h, t - h) for h, p, t in zip(hits[0], claimed[0], true[0])] == one


@settings(max_examples=60, deadline=None, derandomize=True)
@given(labelings())
def test_the_truth_scores_100_and_order_of_clips_does_not_matter(pair):
    pred, truth = pair
    for metric in (M.avvp_scores, M.fidelity, M.nonaligned_scores, M.exclusive_scores):
        assert all(abs(v - 100) < 1e-9 for v in metric(truth, truth).values())
        assert metric(pred.select(pred.ids[::-1]), truth) == metric(pred, truth)


def random_labels(n=40, t=10, c=25, density=.2, seed=0):
    audio, visual = np.random.default_rng(seed).random((2, n, t, c)) < density
    return SegmentLabels([f"clip{i}" for i in range(n)], audio, visual, LLP if c == len(LLP) else vocab(c))


METRICS = [M.avvp_scores, M.fidelity, M.nonaligned_scores, M.exclusive_scores, M.event_scores]


@pytest.mark.parametrize("metric", METRICS[:-1], ids=lambda m: m.__name__)
def test_bootstrap_equals_scoring_each_resample_anew(metric):
    pred, truth = random_labels(seed=1), random_labels(seed=2)
    table, values = M.bootstrap(metric, pred, truth, n=20, seed=3), []
    for weights in np.concatenate(list(M.resamples(len(truth), 20, 3))).astype(int):
        rows = np.repeat(np.arange(len(truth)), weights)
        take = lambda x: SegmentLabels([f"draw{i}" for i in range(len(rows))], x.audio[rows], x.visual[rows], x.vocab)
        got = metric(take(pred), take(truth))
        values.append(list(got.values()) if isinstance(got, dict) else got.to_numpy(float).ravel())
    want = np.nanquantile(values, (.025, .975), axis=0)
    assert np.allclose(table["low"], want[0]) and np.allclose(table["high"], want[1])
    got = metric(pred, truth)
    assert np.allclose(table["value"], list(got.values()) if isinstance(got, dict) else got.to_numpy(float).ravel())


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.__name__)
def test_paired_difference_of_a_labeling_with_itself_is_zero(metric):
    pred, truth = random_labels(seed=1), random_labels(seed=2)
    table = M.bootstrap_difference(metric, pred, pred, truth, n=50)
    assert (table[["value", "low", "high"]] == 0).all(axis=None) and (table["p"] == 1).all()


def test_paired_difference_is_antisymmetric_and_finds_a_better_labeling():
    truth = random_labels(seed=2)
    better = SegmentLabels(truth.ids, truth.audio, random_labels(seed=1).visual, truth.vocab)
    table = M.bootstrap_difference(M.fidelity, better, random_labels(seed=3), truth)
    back = M.bootstrap_difference(M.fidelity, random_labels(seed=3), better, truth)
    assert table.loc["audio", "low"] > 0 and table.loc["audio", "p"] < .01 and table.loc["visual", "p"] > .05
    assert np.allclose(table[["value", "low", "high"]], -back[["value", "high", "low"]])


def test_more_resamples_than_one_block_and_the_same_seed_twice():
    pred, truth = random_labels(seed=1), random_labels(seed=2)
    assert sum(len(b) for b in M.resamples(7, 1201, 0)) == 1201
    assert M.bootstrap(M.fidelity, pred, truth, n=1100).equals(M.bootstrap(M.fidelity, pred, truth, n=1100))


def test_an_event_in_fewer_than_ten_clips_has_a_value_and_no_interval():
    truth, pred = random_labels(30, seed=2), random_labels(30, seed=1)
    truth.audio[:, :, 3] = pred.audio[:, :, 3] = False
    truth.audio[:9, 0, 3], truth.audio[:10, 0, 4], truth.audio[10:, :, 4] = True, True, False
    pred.audio[:, :, 4] = truth.audio[:, :, 4]
    table, other = M.bootstrap(M.event_scores, pred, truth), M.bootstrap_difference(M.event_scores, pred, truth, truth)
    rare, seen = ((LLP.events[k], "audio", "F") for k in (3, 4))
    assert table.loc[rare, "clips"] == 9 and table.loc[rare, "value"] == 0 and table.loc[rare, ["low", "high"]].isna().all()
    assert table.loc[seen, "clips"] == 10 and table.loc[seen, "value"] == 100 and 70 < table.loc[seen, "low"] < 100
    assert other.loc[rare, ["low", "high", "p", "holm"]].isna().all() and other.loc[seen, "low"] < 0 < other.loc[seen, "high"]     # never without width
    assert other.loc[seen, "p"] == 1 and (other["holm"].dropna() >= other["p"].dropna()).all()


def test_a_pooled_score_that_rests_on_a_few_clips_has_no_interval():
    truth, pred, other = (random_labels(40, seed=s, density=.05) for s in (2, 1, 3))
    for x in (truth, pred, other): x.visual[:] = x.audio
    truth.visual[:7, 0, 3], truth.audio[:7, 0, 3] = True, False                     # seven clips with something that is only seen
    pred.visual[:3, 0, 3] = True
    other.visual[:3, 0, 3] = False
    table, d = M.bootstrap(M.nonaligned_scores, pred, truth, n=50), M.bootstrap_difference(M.nonaligned_scores, pred, other, truth, n=50)
    assert table.loc["visible_only", ["low", "high"]].isna().all() and np.isfinite(table.loc["visible_only", "value"])
    assert d.loc["visible_only", ["low", "high", "p", "holm"]].isna().all()
    assert M.bootstrap(M.fidelity, pred, truth, n=50)[["low", "high"]].notna().all(axis=None)


def test_quantiles_are_those_of_the_tables():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b, x, df, t = *rng.uniform(.5, 600, (2, 500)), rng.random(500), rng.uniform(1, 2000, 500), 4*rng.normal(size=500)
    assert np.allclose(M.beta_cdf(x, a, b), stats.beta.cdf(x, a, b), atol=1e-11) and np.allclose(M.beta_quantile(.025, a, b), stats.beta.ppf(.025, a, b), atol=1e-11)
    assert np.allclose(M.t_quantile(df), stats.t.ppf(.975, df)) and np.allclose(M.t_tail(t, df), 2*stats.t.sf(abs(t), df), atol=1e-11)
    assert M.beta_cdf(0., 2, 3) == 0 and M.beta_cdf(1., 2, 3) == 1


def test_p_is_resolved_beyond_the_number_of_resamples_that_were_asked_for():
    truth = random_labels(200, seed=2)
    better = SegmentLabels(truth.ids, truth.audio, random_labels(200, seed=1).visual, truth.vocab)
    few = M.bootstrap_difference(M.fidelity, better, random_labels(200, seed=3), truth, n=300)
    assert few.loc["audio", "p"] < 2/300 and few.loc["audio", "p"] == pytest.approx(2/20_001) and few.loc["audio", "holm"] == pytest.approx(6/20_001)
    assert few.loc["visual", "p"] > .01 and np.allclose(few[["low", "high"]], M.bootstrap_difference(M.fidelity, better, random_labels(200, seed=3), truth, n=300, most=300)[["low", "high"]])


def test_holm_by_hand_and_in_the_order_it_was_given():
    assert np.allclose(M.holm([.01, .04, .03, .005]), [.03, .06, .06, .02]) and M.holm([.5, .9]).tolist() == [1, 1] and M.holm([]).size == 0
    assert np.allclose(M.holm([[.01, np.nan], [.02, .5]]), [[.03, np.nan], [.04, .5]], equal_nan=True)


def test_seeds_widen_the_interval_and_a_run_against_itself_differs_by_nothing():
    rng = np.random.default_rng(0)
    clips, shift = 30*rng.normal(size=(1, 300, 2)), np.array([-3., 0, 3])[:, None, None]
    runs = 50 + clips + shift + rng.normal(size=(3, 300, 2))
    with_seeds, one = M.clip_interval(runs), M.clip_interval(runs[:1])
    assert ((with_seeds.high - with_seeds.low) > (one.high - one.low)).all() and (one.df == 299).all()
    x = M.clip_interval(runs, runs - shift)
    assert (x.high - x.low > 2*2.9*np.sqrt(3)).all() and (x.df < 3).all() and (x.p > .9).all()        # 3 points over three seeds, two degrees of freedom
    same = M.clip_interval(runs[:1], runs[:1])
    assert (same[["value", "low", "high"]] == 0).all(axis=None) and (same.p == 1).all()
    with pytest.raises(ParameterError, match="one clip"): M.clip_interval(runs[:, :1])


def test_methods_are_means_over_runs_and_one_seed_has_no_word():
    truth = random_labels(80, seed=2)
    flipped = lambda share, seed: SegmentLabels(truth.ids, *(x ^ (np.random.default_rng((seed, k)).random(x.shape) < share) for k, x in enumerate((truth.audio, truth.visual))), truth.vocab)
    groups = {"good": [flipped(.02, s) for s in range(3)], "bad": [flipped(.1, s) for s in range(3, 6)], "one": flipped(.02, 9)}
    tables = M.clip_tables(groups, truth)
    t, d = M.method_scores(tables), M.method_differences(tables, "event/event")
    scored = [M.avvp_scores(r, truth)["event/event"] for r in groups["good"]]
    row = t.loc[("good", "event/event")]
    assert row["value"] == pytest.approx(np.mean(scored)) and row["deviation"] == pytest.approx(np.std(scored, ddof=1)) and row["seeds"] == 3
    assert np.isnan(t.loc[("one", "event/event"), "deviation"]) and t.loc[("one", "event/event"), "low"] < t.loc[("one", "event/event"), "value"]
    assert d["is"].tolist() == ["above", "one seed: not judged", "one seed: not judged"] and d["value"][0] == pytest.approx(row["value"] - t.loc[("bad", "event/event"), "value"])
    with pytest.raises(ParameterError, match="alone"): M.method_differences({"good": tables["good"]})
    with pytest.raises(ParameterError, match="runs"): M.clip_tables({"none": []}, truth)


def test_event_differences_of_several_runs_are_of_their_mean_and_know_the_seeds():
    truth = random_labels(60, seed=2)
    runs = [random_labels(60, seed=s) for s in (5, 6, 7, 8)]
    one, both = M.event_differences(runs[0], runs[1], truth), M.event_differences(runs[:2], runs[2:], truth)
    mean = lambda some: np.mean([M.event_scores(r, truth)["F"].to_numpy() for r in some], 0)
    assert np.allclose(both.xs("F", level=-1)["value"], mean(runs[:2]) - mean(runs[2:]))
    assert M.event_differences([runs[0]], [runs[1]], truth).equals(one)
    same = M.event_differences(runs[:1]*2, runs[:1], truth)
    assert (same[["low", "high"]] == 0).all(axis=None) and (same["p"] == 1).all()


def test_rows_of_the_confusion_sum_to_the_support():
    pred, truth = random_labels(seed=1), random_labels(seed=2)
    for m in M.MODALITIES:
        table = M.confusion(pred, truth, m)
        support = M.event_scores(pred, truth)["support"].xs(m, level="modality")
        assert np.allclose(table.iloc[:-1].sum(axis=1), support)
        assert np.allclose(np.diag(table)[:-1], (getattr(pred, m) & getattr(truth, m)).sum((0, 1)))
    assert M.confusion(truth, truth).to_numpy().sum() == truth.audio.sum()


def test_other_clips_are_a_key_error_that_counts_them():
    truth = random_labels()
    with pytest.raises(KeyError, match="39 clips without a prediction: clip1, clip2, clip3, clip4, clip5, …"): M.avvp_scores(truth.select(["clip0"]), truth)
    with pytest.raises(KeyError, match="39 clips without truth"): M.fidelity(truth, truth.select(["clip0"]))


def test_other_segments_other_events_and_no_clips_are_parameter_errors():
    truth = random_labels()
    for metric in [*METRICS, M.confusion]:
        with pytest.raises(ParameterError, match="9 segments per clip, the truth 10"): metric(random_labels(t=9), truth)
        with pytest.raises(ParameterError, match="24 events"): metric(random_labels(c=24), truth)
        with pytest.raises(ParameterError, match="differ"): metric(replace(truth, vocab=vocab(25)), truth)
        with pytest.raises(ParameterError, match="no clips"): metric(truth.select([]), truth.select([]))


def test_unknown_metric_modality_and_number_of_resamples_are_refused():
    truth = random_labels()
    with pytest.raises(ParameterError, match="choose one of 'avvp_scores'"): M.bootstrap(sum, truth, truth)
    with pytest.raises(ParameterError, match="modality='sound'"): M.confusion(truth, truth, "sound")
    with pytest.raises(ParameterError, match="at least one"): M.bootstrap(M.fidelity, truth, truth, n=0)


@pytest.fixture(scope="module")
def llp():
    folder = find_data("llp")
    if folder is None: pytest.skip("no LLP annotations: valor fetch llp-annotations")
    return folder


@pytest.mark.parametrize("split, audio, want", [("test", "revision-2020/AVVP_eval_audio.csv", (79.33, 69.30, 60.69)),
                                                ("val", "AVVP_eval_audio.csv", (80.07, 67.21, 59.45))])
def test_copied_weak_labels_of_llp_have_the_published_fidelity(llp, split, audio, want):
    if not (llp/audio).exists(): pytest.skip(f"no {audio}")
    weak = read_weak(llp/f"AVVP_{split}_pd.csv")
    truth = read_segments(llp/audio, llp/"AVVP_eval_visual.csv", weak.ids)
    assert tuple(round(v, 2) for v in M.fidelity(weak.copied(), truth).values()) == want
    if split == "val": assert (truth.audio ^ truth.visual).sum() == 4048


def test_real_annotations_score_as_the_reference_says(llp):
    weak = read_weak(llp/"AVVP_val_pd.csv")
    truth = read_segments(llp/"AVVP_eval_audio.csv", llp/"AVVP_eval_visual.csv", weak.ids).select(weak.ids[:150])
    pred = weak.copied().select(truth.ids)
    assert close(M.avvp_scores(pred, truth), ref.mean_over_clips(ref.avvp_reference(pred, truth)))

def test_scores_of_many_clips_are_counted_in_parts_and_come_out_the_same(monkeypatch):
    from valor_lab.metrics import avvp, avvp_scores
    rng = np.random.default_rng(0)
    make = lambda: SegmentLabels([f"c{i}" for i in range(50)], rng.random((50, 10, 25)) < .2, rng.random((50, 10, 25)) < .2)
    pred, truth = make(), make()
    whole = avvp_scores(pred, truth, per_clip=True)
    monkeypatch.setattr(avvp, "_AT_ONCE", 7)
    assert np.allclose(avvp_scores(pred, truth, per_clip=True), whole, rtol=1e-13, atol=0)


@pytest.mark.parametrize("t,events", [(40, 3), (400, 30)])
def test_long_clips_with_few_labels_are_matched_as_the_slow_way_matches_them(t, events):
    from valor_lab.labels import runs
    from valor_lab.metrics.avvp import _match_by_middle
    rng = np.random.default_rng(t)
    def sparse():
        x = np.zeros((5, t, events), bool)
        for _ in range(40):
            n, c, a = rng.integers(5), rng.integers(events), rng.integers(t - 10)
            x[n, a:a + rng.integers(1, 10), c] = True
        return x
    truth = sparse()
    pred = np.roll(truth, 2, 1) | sparse()
    spans = lambda x: [(n, c, a, b) for n, c, a, b in zip(*map(np.ndarray.tolist, runs(x)))]
    slow = [(n, c, a, a + len(list(g))) for n in range(5) for c in range(events) for on, g, a in _groups(truth[n, :, c]) if on]
    assert spans(truth) == slow
    hits = np.zeros((5, events), int)
    for n, c, a, b in spans(pred): hits[n, c] += any(2*(min(b, f) - max(a, e)) >= max(b, f) - min(a, e) for m, d, e, f in slow if (m, d) == (n, c))
    found = _match_by_middle(pred, truth)
    assert (found[0] == hits).all() and found[1].sum() == len(spans(pred)) and found[2].sum() == len(slow) and hits.sum() > 0


def _groups(x):
    "Each run of equal values: the value, its members, and where it begins."
    from itertools import groupby
    at = 0
    for on, g in groupby(x.tolist()):
        members = list(g)
        yield on, members, at
        at += len(members)
