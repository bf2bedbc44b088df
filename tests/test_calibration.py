"""Intervals keep their promise, on samples from a population whose truth is known. Fixed seeds: the bounds hold for these draws."""
import numpy as np
import pytest

from valor_lab import metrics as M


@pytest.fixture(scope="module")
def methods():
    truth = M.made_up_truth(600)
    return M.made_up_runs(truth, 1.5, 16, seed=1), M.made_up_runs(truth, 1.5, 16, seed=2, miss=.25)


@pytest.mark.parametrize("clips,seeds", [(100, 1), (100, 3), (100, 5), (1200, 3), (1200, 5)])
def test_scores_and_differences_hold_the_truth_and_a_method_is_seldom_called_different_from_itself(methods, clips, seeds):
    t = M.coverage(*methods, clips, seeds, draws=300).mean()
    assert 91 <= t.own <= 99 and 91 <= t.difference <= 99 and (seeds == 1 or 1.5 <= t.alarms <= 8), t


def test_without_seeds_a_method_would_be_called_different_from_itself_far_too_often(methods):
    ours, rng, alarms = methods[0].astype(float), np.random.default_rng(0), []
    for _ in range(200):
        r, i = rng.permutation(len(ours))[:6], rng.integers(0, ours.shape[1], 1200)
        x = ours[r][:, i]
        alarms.append((M.clip_interval(x[:3].mean(0, keepdims=True), x[3:].mean(0, keepdims=True)).p < .05).mean())
    assert np.mean(alarms) > .2


def test_events_with_ten_clips_are_shown_and_hold_the_truth():
    t = M.event_coverage(M.made_up_truth(600), 100, draws=200)
    often = t[t.shown >= 30]
    assert len(often) >= 5 and often.F.min() >= 90 and often.difference.min() >= 90
