"""Thresholds without truth: what the weak labels suggest of clips, and what they let one estimate of seconds."""
import numpy as np
import pytest

from valor_lab.harvest import Scores, clip_claims, estimated_f, estimated_thresholds, estimates, suggestions
from valor_lab.labels import WeakLabels
from valor_lab.vocab import Vocab

ONE = Vocab("one", ["Dog"], ["a"], ["b"], [np.nan], [np.nan])


def world(share, n=1500, seed=0, gap=3.):
    "Clips of which a fifth list the event, which fills a share of their seconds and scores higher there."
    rng = np.random.default_rng(seed)
    listed = rng.random(n) < .2
    event = listed[:, None] & (rng.random((n, 10)) < share)
    return rng.normal(size=event.shape) + gap*event, listed, event


def real(x, listed, event, t): return 200*(event & (x > t))[listed].sum()/max((x > t)[listed].sum() + event[listed].sum(), 1)


@pytest.mark.parametrize("share", (.1, .3, .6, .9))
def test_the_estimate_finds_the_threshold_of_the_truth_without_seeing_it(share):
    x, listed, event = world(share)
    t, f, pi, curve, cuts = estimated_f(x, listed)
    best = max(real(x, listed, event, c) for c in np.linspace(-3, 6, 181))
    assert real(x, listed, event, t[0]) > best - 1.5 and -.02 < pi[0] - share < .07 and f[0] < real(x, listed, event, t[0]) + 1   # careful
    strict = clip_claims(x, listed)[0][0]
    assert real(x, listed, event, t[0]) >= real(x, listed, event, strict)    # under the gate it is never worse than what clips suggest


def test_the_estimate_does_not_reward_labels_everywhere():
    x, listed, event = world(.3)
    _, _, pi, curve, cuts = estimated_f(x, listed)
    assert abs(curve[0] - 200*pi[0]/(1 + pi[0])) < .2 and curve[0] < 55 < 80 < curve.max()      # everything labelled: precision is the share


def test_what_is_missing_counts_for_nothing():
    x, listed, event = world(.3, 400)
    gone = np.concatenate([x, np.full((len(x), 6), np.nan)], 1)
    for a, b in zip(estimated_f(x, listed), estimated_f(gone, listed)): assert np.allclose(a, b)
    silent = np.concatenate([x, np.full((50, 10), np.nan)])
    ids = [f"c{n}" for n in range(450)]
    weak = WeakLabels(ids, np.r_[listed, np.ones(50, bool)][:, None], ONE)
    found = estimates(Scores(ids, silent[..., None], np.full((450, 10, 1), np.nan), ONE), weak, n=20)
    assert np.isclose(found.threshold["Dog", "audio"], estimated_f(x, listed)[0][0]) and np.isnan(found.threshold["Dog", "visual"])
    r = found.loc[("Dog", "audio")]
    assert r.low <= r.threshold + .5 and r.high >= r.threshold - .5 and r.listed == listed.sum()


def test_thresholds_of_an_event_that_all_or_none_list_stay_the_vocabularys():
    x, listed, _ = world(.3, 40)
    ids = [f"c{n}" for n in range(40)]
    two = Vocab("two", ["Dog", "Cat"], ["a", "b"], ["c", "d"], [7., 8.], [5., 6.])
    for column in (np.zeros(40, bool), np.ones(40, bool)):
        weak = WeakLabels(ids, np.stack([listed, column], 1), two)
        made = estimated_thresholds(Scores(ids, np.stack([x, x], 2), np.stack([x, x], 2), two), weak, "train")
        assert made.clap[1] == 6 and made.clip[1] == 8 and made.clap[0] != 5 and made.provenance["gate"] == "weak label" and made.provenance["split"] == "train"


def test_windows_of_one_recording_count_as_the_one_thing_that_was_labelled():
    x = np.zeros((12, 10, 1))
    x[::6, 3] = 9.                                                           # two recordings of six windows, one window with the event each
    x[1:6] += .5
    other = np.full((6, 10, 1), 1.)                                          # six that do not list it, above the silent windows
    ids = [f"w{n}" for n in range(18)]
    scores = Scores(ids, np.concatenate([x, other]), np.full((18, 10, 1), np.nan), ONE)
    weak = WeakLabels(ids, np.r_[np.ones(12, bool), np.zeros(6, bool)][:, None], ONE)
    bags = [f"recording {n // 6}" if n < 12 else f"clip {n}" for n in range(18)]
    r = suggestions(scores, weak, bags=bags).loc[("Dog", "audio")]
    assert r.threshold == 5 and r.F == 100 and r.listed == 2
    assert suggestions(scores, weak).loc[("Dog", "audio")].threshold < 1     # window by window the silent ones would have to be claimed
