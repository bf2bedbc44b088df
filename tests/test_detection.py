"""Actions in untrimmed videos: reading them, matching, mean average precision, proposals, segment labels."""
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

import reference_detection as plain
from valor_lab.core import ParameterError, find_data
from valor_lab.metrics import (AMBIGUOUS_COLUMNS, AVERAGES, DETECTION_SCORES, SPAN_COLUMNS, THRESHOLDS, TIOUS, Actions,
                               average_precision, bare_vocab, contrast, detection_scores, match, nms, proposals, read_actions,
                               resampled_scores, tiou, to_segments)

VOCAB, IDS, LENGTH = bare_vocab("toy", ["Jump", "Run", "Throw"]), ("a", "b", "c"), 24
SAID = [*SPAN_COLUMNS, "score"]

spans = st.tuples(st.sampled_from(IDS), st.sampled_from(VOCAB.events), st.integers(0, LENGTH - 1), st.integers(1, 9)).map(lambda s: (*s[:3], min(LENGTH, s[2] + s[3])))
doubts = st.tuples(st.sampled_from(IDS), st.integers(0, LENGTH - 1), st.integers(1, 5)).map(lambda s: (s[0], s[1], min(LENGTH, s[1] + s[2])))
scores = st.integers(0, 4).map(lambda x: x/4)                    # few values: many are equal
claims = st.tuples(spans, scores).map(lambda c: (*c[0], c[1]))


def frame(rows, columns):
    df = pd.DataFrame(rows, columns=columns)
    return df.astype({c: float for c in ("start", "end", "score") if c in columns})


def actions(true, unsure=()): return Actions(IDS, [LENGTH]*3, frame(list(true), SPAN_COLUMNS), VOCAB, frame(list(unsure), AMBIGUOUS_COLUMNS))


@given(st.lists(spans, min_size=1, max_size=14), st.lists(claims, max_size=24), st.lists(doubts, max_size=3))
def test_map_equals_the_plain_reference(true, found, unsure):
    got = detection_scores(frame(found, SAID), actions(true, unsure))
    want = {f"mAP@{t}": plain.mean_average_precision(VOCAB.events, found, true, unsure, t) for t in TIOUS}
    want |= {k: np.mean([want[f"mAP@{t}"] for t in TIOUS if low <= t <= high]) for k, (low, high) in AVERAGES.items()}
    assert list(got) == list(DETECTION_SCORES)
    for k in got: assert got[k] == pytest.approx(want[k], abs=1e-9), k


@given(st.lists(spans, min_size=1, max_size=14), st.lists(doubts, max_size=3), st.randoms())
def test_perfect_proposals_give_100_at_every_overlap_whatever_their_scores(true, unsure, random):
    perfect = frame([(*t, random.choice([.1, .5, .9])) for t in true], SAID)
    assert set(detection_scores(perfect, actions(true, unsure)).values()) == {100.}


@given(st.lists(spans, min_size=1, max_size=10), st.lists(claims, max_size=20), st.lists(doubts, max_size=2), st.randoms())
def test_the_order_of_rows_and_of_equal_scores_does_not_matter(true, found, unsure, random):
    shuffled, mixed = found[:], list(true)
    random.shuffle(shuffled), random.shuffle(mixed)
    assert detection_scores(frame(found, SAID), actions(true, unsure)) == detection_scores(frame(shuffled, SAID), actions(mixed, unsure))


@given(st.lists(spans, min_size=1, max_size=10), st.lists(claims, min_size=1, max_size=15))
def test_only_the_order_of_scores_counts_and_a_wrong_row_at_the_end_costs_nothing(true, found):
    base, df = detection_scores(frame(found, SAID), actions(true)), frame(found, SAID)
    assert detection_scores(df.assign(score=df.score.map(lambda s: np.exp(5*s) - 3)), actions(true)) == base
    last = pd.concat([df, frame([("a", "Jump", 0, LENGTH, -1.)], SAID)])
    assert all(v >= base[k] - 1e-9 for k, v in detection_scores(last, actions(true)).items())


@given(st.lists(spans, min_size=1, max_size=10), st.lists(claims, max_size=15), st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_a_weight_is_that_many_copies_of_the_video(true, found, weight):
    def copies(rows): return [(f"{r[0]}{i}", *r[1:]) for r in rows for i in range(weight[IDS.index(r[0])])]
    got = resampled_scores(match(frame(found, SAID), actions(true)), [weight])[0]
    ids = [f"{v}{i}" for v, n in zip(IDS, weight) for i in range(n)]
    if not copies(true): assert np.isnan(got).all(); return
    want = detection_scores(frame(copies(found), SAID), Actions(ids, [LENGTH]*len(ids), frame(copies(true), SPAN_COLUMNS), VOCAB))
    np.testing.assert_allclose(got, list(want.values()), atol=1e-9)


def test_a_drawn_example_by_hand():
    true = [("a", "Jump", 2, 6), ("a", "Jump", 10, 14), ("b", "Throw", 3, 9), ("c", "Jump", 0, 4)]
    found = [("a", "Jump", 2, 6, .9),       # exact
             ("a", "Jump", 3, 7, .8),       # 3 of 5 seconds with a span that is taken: false
             ("a", "Jump", 11, 15, .7),     # 3 of 5: hit up to .6
             ("a", "Jump", 17, 19, .6),     # in the ambiguous span: no false alarm
             ("b", "Throw", 3, 6, .5),      # 3 of 6: hit up to .5
             ("b", "Jump", 3, 6, .4)]       # no jump in b: false
    m = match(frame(found, SAID), actions(true, [("a", 16, 20)]), (.5, .6, .7))
    # Jump at .5 and .6: hit, false, hit, -, false over 3 spans: (1 + 2/3)/3; at .7: 1/3. Throw: 1, then 0. Nothing is known of Run.
    np.testing.assert_allclose(average_precision(m), [[5/9, np.nan, 1], [5/9, np.nan, 0], [1/3, np.nan, 0]])


def test_an_ambiguous_span_forgives_false_alarms_of_every_label_and_takes_no_hit_away():
    true, said = [("a", "Jump", 0, 4), ("b", "Run", 0, 4)], [("a", "Jump", 0, 4, .5), ("a", "Run", 3, 9, .9), ("b", "Run", 0, 4, .8)]
    assert detection_scores(frame(said, SAID), actions(true, [("a", 2, 4)]))["mAP@0.5"] == 100      # the run touches the doubt by one second
    assert detection_scores(frame(said, SAID), actions(true, [("a", 9, 12)]))["mAP@0.5"] == 75      # here it only meets it at 9 s


def test_overlap_exactly_at_the_threshold_is_a_hit():
    for t, end in zip(TIOUS, range(1, 8)): assert match(frame([("a", "Jump", 0, end, 1.)], SAID), actions([("a", "Jump", 0, 10)]), (t,)).hit.all()


def test_nothing_found_is_0_and_nothing_true_is_not_a_number():
    none = frame([], SAID)
    assert set(detection_scores(none, actions([("a", "Jump", 0, 4)])).values()) == {0.}
    assert all(np.isnan(v) for v in detection_scores(frame([("a", "Jump", 0, 4, 1.)], SAID), actions([])).values())
    assert all(np.isnan(v) for v in detection_scores(none, actions([])).values())


@pytest.mark.parametrize("row,error,message", [
    (("z", "Jump", 0, 4, .5), KeyError, "1 clip without"), (("a", "Swim", 0, 4, .5), ParameterError, "Swim"), (("a", "Jump", 4, 4, .5), ParameterError, "end before"),
    (("a", "Jump", -1, 4, .5), ParameterError, "1 rows"), (("a", "Jump", 0, 4, float("nan")), ParameterError, "not a number")])
def test_impossible_detections_are_refused(row, error, message):
    with pytest.raises(error, match=message): detection_scores(frame([("a", "Jump", 1, 2, .5), row], SAID), actions([("a", "Jump", 0, 4)]))


def test_videos_may_be_called_by_numbers():
    truth = Actions([7, 8], [20., 20.], frame([(7, "Jump", 0, 4), (8, "Jump", 3, 5)], SPAN_COLUMNS), VOCAB)
    assert detection_scores(frame([(8, "Jump", 3, 5, .9), ("7", "Jump", 0, 4, .8)], SAID), truth)["mAP@0.5"] == 100


def test_a_time_in_words_is_refused_with_its_row():
    said = pd.DataFrame([("a", "Jump", "soon", 4, .5)], columns=SAID)
    with pytest.raises(ParameterError, match="1 rows with a time or score that is not a number.*soon"): match(said, actions([("a", "Jump", 0, 4)]))


@pytest.mark.filterwarnings("error")
def test_moments_without_length_overlap_nothing_and_what_begins_after_the_video_is_no_proposal():
    assert tiou(np.array([1., 1.]), np.array([1., 2.]), 1., 1.).tolist() == [0, 0] and tiou(0., 1., 1., 2.) == 0 and tiou(0, 2, 0, 2) == 1
    assert nms([0, 0, 1], [0, 0, 2], [1, 2, 3], [0, 0, 0]).tolist() == [2, 1, 0]
    x = np.zeros((12, 2)); x[2:4] = x[9:] = 1
    got = proposals(x, [.9, .9], 1., 4.5)
    assert got[["event", "start", "end"]].values.tolist() == [[0, 2, 4], [1, 2, 4]]


@pytest.mark.parametrize("x,p", [(np.full((3, 2), np.nan), [.5, .5]), (np.ones((3, 2)), [np.nan, .5]), (np.ones((0, 2)), [.5, .5]), (np.ones((3, 2)), [.5])])
def test_curves_that_are_none_are_refused(x, p):
    with pytest.raises(ParameterError, match="activation"): proposals(x, p)


def test_a_table_without_scores_is_refused():
    with pytest.raises(ParameterError, match="score"): match(frame([("a", "Jump", 0, 4)], SPAN_COLUMNS), actions([("a", "Jump", 0, 4)]))


# reading

HEAD = "video,subset,duration_s,label,start_s,end_s\n"

def write(tmp_path, text, name="annotations.csv"):
    (tmp_path/name).write_text(text)
    return tmp_path/name


@pytest.mark.parametrize("text,message", [
    ("video\tsubset\n", "line 1: expected the comma-separated columns"), (HEAD + "a,test,20,Jump,2\n", "line 2: expected 6 values, found 5"),
    (HEAD + "a,test,20,Jump,1,2\na,test,20,Jump,two,6\n", "line 3: start_s 'two'"), (HEAD + "a,test,20,Jump,nan,6\n", "line 2: start_s 'nan'"),
    (HEAD + "a,test,20,Jump,-1,6\n", "line 2: start_s '-1'"), (HEAD + "a,test,0,Jump,0,6\n", "line 2: duration_s is 0"), (HEAD + "a,test,20,Jump,1,2\na,test,21,Jump,3,4\n", "line 3: a lasts 21 s"),
    (HEAD + "a,test,20,Swim,1,2\n", "line 2: unknown action 'Swim'"), (HEAD, "no video of subset")])
def test_unreadable_annotations_name_file_line_and_value(tmp_path, text, message):
    with pytest.raises(ParameterError, match=f"annotations.csv[,:] ?.*{message}"): read_actions(write(tmp_path, text), vocab=VOCAB)


def test_rows_beyond_the_video_are_clipped_or_left_out_and_listed(tmp_path):
    rows = ["a,test,20,Jump,18,20.4", "a,test,20,Jump,17,20.6", "a,test,20,Run,20,26", "a,test,20,Run,5,5", "a,test,20,Run,6,5", "a,test,20,Throw,1,2", "a,test,20,Throw,1,2", "b,train,9,Jump,1,2"]
    got = read_actions(write(tmp_path, HEAD + "\n".join(rows)), "test", vocab=VOCAB)
    assert got.spans.values.tolist() == [["a", "Jump", 18, 20.4], ["a", "Jump", 17, 20], ["a", "Throw", 1, 2]]
    assert list(zip(got.findings.line, got.findings.kind)) == [(3, "ends after the video"), (4, "after the video"), (5, "zero length"), (6, "reversed"), (8, "repeated")]
    assert got.weak.mask.tolist() == [[True, False, True]]


def test_ambiguous_spans_are_read_and_those_of_other_videos_listed(tmp_path):
    path = write(tmp_path, HEAD + "a,test,20,Jump,1,2\n")
    got = read_actions(path, "test", write(tmp_path, "a  3 5.5\nz 1 2\n\n", "doubt.txt"))
    assert got.ambiguous.values.tolist() == [["a", 3, 5.5]] and got.findings[["file", "clip", "kind"]].values.tolist() == [["doubt.txt", "z", "clip not asked for"]]
    for bad in ("a 3\n", "a 5 3\n", "a x 3\n"):
        with pytest.raises(ParameterError, match="doubt.txt, line 1"): read_actions(path, "test", write(tmp_path, bad, "doubt.txt"))


@pytest.mark.skipif(find_data("thumos14") is None, reason="THUMOS14's annotations are not here")
def test_thumos_has_its_known_counts_and_30_rows_after_their_video():
    folder = find_data("thumos14")
    val, test = (read_actions(folder/"annotations.csv", s, folder/"Ambiguous_test.txt" if s == "test" else None) for s in ("validation", "test"))
    assert (len(val), len(test), len(val.vocab)) == (200, 212, 20) and (len(val.spans), len(test.spans)) == (3007 - 4, 3358 - 26)
    odd = pd.concat([val.findings, test.findings])
    assert (odd.kind == "after the video").sum() == 30 and set(odd.kind) == {"after the video", "clip not asked for"}
    assert len(test.ambiguous) == 99 - 3
    assert set(detection_scores(test.spans.assign(score=1.), test).values()) == {100.}


# proposals

@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=15), st.sampled_from([.1, .45, .9]))
def test_nms_keeps_the_best_and_nothing_that_overlaps_it(rows, most):
    start, length, score, event = map(np.array, zip(*rows))
    keep = nms(start, start + length, score, event, most)
    rivals = lambda i, j: event[i] == event[j] and tiou(start[i], start[i] + length[i], start[j], start[j] + length[j]) > most
    assert len(set(keep)) == len(keep) and list(score[keep]) == sorted(score[keep], reverse=True)
    assert not any(rivals(i, j) for i in keep for j in keep if i != j)
    for i in set(range(len(rows))) - set(keep): assert any(rivals(i, j) and score[j] >= score[i] for j in keep)


@given(st.integers(0, 10**6))
def test_contrast_by_slices(seed):
    rng = np.random.default_rng(seed)
    x, start = rng.random((30, 2)), rng.integers(0, 25, 6)
    end, event = start + rng.integers(1, 6, 6), rng.integers(0, 2, 6)
    for got, s, e, c in zip(contrast(x, event, start, end), start, end, event):
        wide = max(1, round(.25*(e - s)))
        outside = np.concatenate([x[max(0, s - wide):s, c], x[e:e + wide, c]])
        assert got == pytest.approx(x[s:e, c].mean() - (outside.mean() if len(outside) else 0))


@given(st.integers(0, 10**6), st.integers(1, 80))
def test_proposals_are_spans_of_the_video_above_a_threshold(seed, t):
    rng = np.random.default_rng(seed)
    x, p, duration = rng.random((t, 3)), np.array([.9, .5, .05]), .64*t - .3
    got = proposals(x, p, duration=duration)
    assert set(got.event) <= {0, 1} and (got.start < got.end).all() and (got.end <= duration).all() and got.score.is_monotonic_decreasing
    level = x.min(0) + np.array(THRESHOLDS)[:, None]*np.ptp(x, 0)
    for r in got.itertuples():
        s, e = round(r.start/.64), int(np.ceil(r.end/.64 - 1e-9))
        assert any((x[s:e, r.event] >= h).all() for h in level[:, r.event])


def test_the_most_probable_action_is_always_looked_for():
    x = np.zeros((10, 2)); x[3:6] = 1
    assert set(proposals(x, [.02, .01]).event) == {0} and set(proposals(x, [.5, .4]).event) == {0, 1} and set(proposals(x, [1.7, .0]).event) == {0}
    assert proposals(x, [.5, 0.]).iloc[0].tolist() == [0, pytest.approx(3*.64), pytest.approx(6*.64), pytest.approx(1 + .125)]


# segment labels

@given(st.lists(spans, min_size=1, max_size=6), st.integers(1, 30))
def test_no_action_is_lost_in_segment_labels_and_middles_decide(true, n):
    got = to_segments(frame(true, SPAN_COLUMNS), IDS, [LENGTH]*3, VOCAB, n)
    middles = (np.arange(n) + .5)*LENGTH/n
    for v, e in {t[:2] for t in true}:
        row = got.audio[IDS.index(v), :, VOCAB.index(e)]
        own = [t[2:] for t in true if t[:2] == (v, e)]
        inside = np.any([(middles >= s) & (middles < x) for s, x in own], 0)
        small = [min(n - 1, int((s + x)/2/(LENGTH/n))) for s, x in own]
        assert (row == (inside | np.isin(np.arange(n), small))).all() and row.any()
    assert (got.audio == got.visual).all() and (got.weak().mask == actions(true).weak.mask).all()
