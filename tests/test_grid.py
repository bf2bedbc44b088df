"One axis: any start, any rates, any streams, any windows, and the second seen at t is the second at t."
import numpy as np, pytest
from hypothesis import given, settings, strategies as st

from valor_lab.core import ParameterError
from valor_lab.grid import (Grid, Window, check_grids, covered, dump_indices, duration_of, gaps_in_words, length_finding, put_together, rules_differ,
                            sample_indices, split_window_id, window_id, windows, zero_of)

seconds = st.floats(0, 30, allow_nan=False)
patterns = st.lists(st.tuples(st.sampled_from([.02, 1/30, .04, .1, .5, 1., 2.5]), st.integers(1, 30)), min_size=1, max_size=6)


def times_of(pattern, start=0.):
    "Times of pictures: runs of equal steps."
    steps = np.concatenate([[d]*n for d, n in pattern])
    return start + np.concatenate([[0], np.cumsum(steps[:-1])]), steps[-1]


def ffmpeg_dump(times, last, duration, rate=8):
    "FFmpeg's constant-rate rule, word by word; a picture stays until the next one begins."
    out, ends = [], [*times[1:], times[-1] + last]
    for i, (t, end) in enumerate(zip(times, ends)):
        delta0 = t*rate - len(out)
        delta = delta0 + (end - t)*rate
        frames, previous = 1, 0
        if delta < -1.1: frames = 0
        elif delta > 1.1:
            frames = round(delta)
            if delta0 > 1.1: previous = round(delta0 - .6)
        out += [i - 1 if k < previous and i else i for k in range(frames)]
    n = max(1, round(rate*duration))
    return (out + [len(times) - 1]*n)[:n]


@given(patterns, st.floats(0, 5))
def test_the_dump_is_ffmpegs_rule_whatever_the_rates(pattern, start):
    times, last = times_of(pattern, start)
    assert dump_indices(times, 1/last, times[-1] + last).tolist() == ffmpeg_dump(times, last, times[-1] + last)


@given(patterns)
def test_the_dump_shows_at_each_tick_the_second_that_it_is(pattern):
    times, last = times_of(pattern)
    shown, ticks, stay = times[dump_indices(times, 1/last, times[-1] + last)], np.arange(max(1, round(8*(times[-1] + last))))/8, np.append(np.diff(times), last)
    true = times[np.searchsorted(times, ticks + 1e-9, side="right") - 1]
    assert (np.abs(shown - true) <= .3 + stay.max()*(stay.max() > .3)).all() and (np.diff(shown) >= 0).all()
    fast = stay[np.searchsorted(times, shown - 1e-9)] < .2
    assert (np.abs(shown - ticks)[fast] < .35).all()                       # where pictures follow fast, no tick is off by more than three


@given(patterns, st.integers(1, 20))
def test_at_the_centres_the_picture_on_the_screen_is_taken(pattern, n):
    times, last = times_of(pattern)
    end = times[-1] + last
    got = sample_indices(times, n, 1/last, end, "centres")
    for k, i in enumerate(got):
        t = (k + .5)*end/n
        assert times[i] <= t + 1e-5 and (i + 1 == len(times) or times[i + 1] > t - 1e-5)


def test_a_source_slower_than_the_dump_repeats_each_picture_until_the_next_begins():
    times = np.arange(20)/2
    assert dump_indices(times, 2, 10).tolist() == (np.arange(80)//4).tolist()
    assert sample_indices(times, 80, 2, 10).tolist() == (np.arange(80)//4).tolist()


def test_slow_then_fast_is_seen_as_ffmpeg_shows_it():
    times = np.array([0, 1, 2, 3, 4, *5 + np.arange(125)/25])
    seen = times[sample_indices(times, 10, 12.9, 10)]
    assert seen[:5].tolist() == [0, 1, 2, 3, 4] and np.allclose(seen[5:], [5.5, 6.6, 7.6, 8.7, 9.8], atol=.2)


def test_a_late_picture_fills_the_time_before_it():
    times = 2 + np.arange(200)/25
    assert np.allclose(times[sample_indices(times, 10, 25, 10)][:4], [2, 2, 2.12, 3.08], atol=.01)      # what ffmpeg -r 8 writes


def union(spans, at):
    return any(a <= at < b for a, b in spans)


@given(st.lists(st.tuples(seconds, seconds).map(lambda p: tuple(sorted(p))), max_size=5), st.integers(1, 12), st.floats(.1, 3))
def test_covered_is_the_measure_of_the_union(spans, t, step):
    edges = np.arange(t + 1)*step
    got = covered(spans, edges)
    fine = (np.arange(4000) + .5)/4000
    for k in range(t): assert got[k] == pytest.approx(np.mean([union(spans, edges[k] + f*step) for f in fine[::40]])*step, abs=.12*step*max(1, len(spans)))
    assert (got <= step + 1e-9).all() and (got >= 0).all()


@given(seconds, seconds, st.integers(1, 15))
def test_a_stream_reaches_the_segments_whose_half_it_covers(a, b, t):
    a, b = sorted((a, b))
    has = Grid(t, 1.).reached([(a, b)])
    for k in range(t): assert has[k] == (min(b, k + 1) - max(a, k) >= .5 - 1e-6)


def test_by_the_published_alignment_a_stream_is_stretched_over_all_segments():
    assert Grid(10, None, "published").reached([(0, 5)], 10).all() and not Grid(10, None, "published").reached([], 10).any()


@pytest.mark.parametrize("duration,said", [(12, "12.0 s, labelled 10"), (3, "3.0 s, labelled 10"), (15.8, "15.8 s, labelled 10"), (10.03, ""), (9.5, ""), (10.5, ""), (np.nan, "")])
def test_a_clip_that_is_not_as_long_as_its_labels_is_a_finding(duration, said): assert length_finding(duration, 10.) == said


def test_two_grids_are_an_error_that_says_both():
    check_grids(["a", "b"], (10, None), (10, [10.03, 9.9]))
    with pytest.raises(ParameterError, match="truth cuts a clip into 10 segments, mine into 5"): check_grids(["a"], (10, None), (5, None), ("truth", "mine"))
    with pytest.raises(ParameterError, match=r"in 1 of 2 clips: b \(truth: 10 segments of 1 s, mine: of 1.2 s\)"): check_grids(["a", "b"], (10, None), (10, [10, 12]), ("truth", "mine"))


def test_gaps_are_named_by_segment_and_reason():
    assert gaps_in_words([(0, 5)], [1]*5 + [0]*5, "sound") == "the sound ends at 5.0 s: segments 6 to 10 of 10 missing"
    assert gaps_in_words([(2, 10)], [0]*2 + [1]*8, "picture") == "the picture begins at 2.0 s: segments 1 to 2 of 10 missing"
    assert "has holes: segment 3 of 5" in gaps_in_words([(0, 2), (3, 5)], [1, 1, 0, 1, 1], "sound")


def test_zero_is_the_earliest_stream_and_duration_the_latest_end():
    assert zero_of(3.0, 2.98, None) == 2.98 and zero_of() == 0 and duration_of([(0, 5)], [(2, 9.5)], []) == 9.5


def test_the_rules_differ_where_streams_differ_by_half_a_segment():
    g = Grid(10, 1.)
    assert not rules_differ(g, dict(audio=[(0, 10)], visual=[(.02, 10.03)]))
    assert rules_differ(g, dict(audio=[(0, 5)], visual=[(0, 10)])) and rules_differ(g, dict(audio=[(0, 10)], visual=[(2, 10)])) and rules_differ(g, dict(audio=[(0, 12)], visual=[(0, 12)]))


@given(st.integers(0, 10**7).map(lambda k: k/1000), st.integers(1, 10**6).map(lambda k: k/1000), st.sampled_from(["a", "b_1", "-x", "ü_2_3"]))
def test_an_id_of_a_window_can_be_read_back(start, length, name):
    got = split_window_id(window_id(name, start, start + length))
    assert got[0] == name and got[1:] == pytest.approx((start, start + length), abs=2e-3)


@given(st.floats(.5, 400), st.integers(1, 20), st.integers(1, 20))
def test_windows_cover_a_recording_and_no_window_lies_beyond_it(duration, window, hop):
    hop = min(hop, window)
    ws = windows("x.mp4", duration, window, hop)
    assert ws[0].start == 0 and ws[-1].end >= duration - .1 and all(w.end - w.start == pytest.approx(window) for w in ws)
    assert all(b.start - a.start == pytest.approx(hop) for a, b in zip(ws, ws[1:])) and (len(ws) == 1 or ws[-2].end < duration)


@given(st.integers(1, 40), st.integers(2, 10), st.integers(1, 10), st.randoms())
@settings(max_examples=50)
def test_windows_of_a_recording_put_together_are_the_recording(total, window, hop, random):
    hop = min(hop, window)
    whole = np.array([[random.random()] for _ in range(total)])
    ws = windows("x.mp4", total, window, hop)
    padded = np.concatenate([whole, np.full((2*window, 1), np.nan)])
    back = put_together([w.start for w in ws], [padded[int(w.start):int(w.end)] for w in ws])
    assert np.allclose(back[:total], whole) and np.isnan(back[total:]).all()


def test_what_two_windows_saw_is_their_mean_and_what_none_saw_is_missing():
    assert np.array_equal(put_together([0, 2], [[0., 1, 0, 1], [1, 1, np.nan, np.nan]]), [0, 1, .5, 1, np.nan, np.nan], equal_nan=True)
    with pytest.raises(ParameterError, match="segments, which are 1 s long; found one at 2.5 s"): put_together([0, 2.5], np.zeros((2, 4)))


@pytest.mark.parametrize("bad", [dict(n_segments=0), dict(segment_seconds=0), dict(segment_seconds=np.nan), dict(alignment="other")])
def test_senseless_grids_are_refused(bad):
    with pytest.raises(ParameterError): Grid(**bad)


def test_a_window_begins_before_it_ends():
    assert Window("a/b.mp4", 10, 20).id == "b_10_20"
    for a, b in ((20, 10), (-1, 5), (5, 5)):
        with pytest.raises(ParameterError, match="b.mp4"): Window("b.mp4", a, b)
