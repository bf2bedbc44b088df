"""Thresholds without truth: what the weak labels suggest of clips, and what they let one estimate of seconds."""
import numpy as np
import pytest

from browser import browser, home
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


# ---- in the page

def unannotated(n=60):
    "Clips with weak labels, scores, and labels harvested from them; nobody annotated a second."
    from valor_lab.harvest import Thresholds, elaborate
    from valor_lab.workbench import Clips
    vocab = Vocab("two", ["Dog", "Cat"], ["a", "b"], ["a", "b"], [np.nan] * 2, [np.nan] * 2)
    (x, listed, event), (z, other, more) = world(.4, n, 1), world(.4, n, 2)
    ids = [f"c{k:02d}" for k in range(n)]
    heard = np.stack([x, z], 2)
    scores = Scores(ids, heard, heard + np.random.default_rng(3).normal(0, .5, heard.shape), vocab, np.full(n, 10.))
    weak = WeakLabels(ids, np.stack([listed, other], 1), vocab)
    t = Thresholds(np.full(2, 2.), np.full(2, 2.), vocab, dict(method="made up"))
    clips = Clips(dict(harvested=elaborate(scores, weak, t)), weak, None, scores=scores, name="set", split="train")
    clips.thresholds = dict(audio=t.clap, visual=t.clip)
    return clips, np.stack([event, more], 2)


def annotated(clips, event, done):
    "Somebody corrects the first twenty clips by the truth, and marks some of them as done."
    from valor_lab.labels import Marks, Overlay
    o = Overlay("mine", clips.labelings["harvested"], "harvested", "Ada")
    for c in clips.ids[:20]:
        for k, name in enumerate(clips.vocab.events):
            for t in range(10): o.paint(c, name, "audio", t, t + 1, bool(event[clips.place[c], t, k]))
    o.save()
    clips.add("mine", o.apply())
    clips.corrected["mine"] = "harvested"
    marks = Marks("set", "Ada")
    for c in clips.ids[:done]: marks.set(c, "done")


def test_twenty_clips_marked_done_are_the_truth_of_tune(home):
    from valor_lab.labels import Marks
    from valor_lab.workbench import begin_tuning
    clips, event = unannotated()
    assert begin_tuning(clips).truth is None
    annotated(clips, event, 19)
    assert begin_tuning(clips).truth is None                                 # nineteen are not enough
    Marks("set", "Ada").set(clips.ids[19], "done")
    tuning = begin_tuning(clips)
    assert tuning.truth is not None and tuning.scores.ids == clips.ids[:20] and "20 clips marked done in “mine”, which are truth here" in tuning.split
    assert (tuning.truth.audio == event[:20]).all()


@browser
@pytest.mark.parametrize("dark", (False, True))
def test_tune_without_truth_suggests_says_how_sure_and_rewards_no_bad_labels(chromium, home, dark):
    pytest.importorskip("anywidget")
    from bare import bare
    from valor_lab.workbench import TuneBench, begin_tuning, uncertainty
    clips, _ = unannotated()
    tuning = begin_tuning(clips)
    bench = TuneBench(clips, tuning)
    hints, guesses = tuning.suggested(), tuning.estimated()
    with bare(chromium, bench, dark=dark) as page:
        page.wait_for_selector(".vl-tr"), page.wait_for_selector(".vl-line")
        note = page.inner_text(".vl-panel .vl-note")
        assert "no truth" in note and "▲ is suggested" in note and "◆ is estimated" in note
        assert page.locator(".vl-all-published").is_disabled() and page.inner_text(".vl-all-optimum") == "all to suggested ▲"
        dog = page.locator('.vl-tr[data-event="Dog"] .vl-hist[data-teacher="clap"]')
        assert dog.locator(".vl-optimum button").get_attribute("aria-label").startswith("apply the suggested value")
        assert dog.locator(".vl-estimated button").get_attribute("title") == f"estimated {guesses.threshold['Dog', 'audio']:.2f}: apply"
        # the list begins with what is most uncertain
        first = page.locator(".vl-table", has=page.locator("h3", has_text="Clips")).first.locator(".vl-line").first
        assert first.get_attribute("data-id") == clips.ids[int(np.argmax(uncertainty(clips)))]
        # how sure it is, and the curve over clips
        page.click('.vl-name:text-is("Dog")')
        page.wait_for_selector('.vl-panel[data-curve="Dog"]')
        r = hints.loc[("Dog", "audio")]
        said = page.locator(".vl-sure").all_inner_texts()
        assert any(f"▲ {r.threshold:.1f}, in 95 % of resamples of the clips {r.low:.1f} to {r.high:.1f}; F of clips {r.F:.0f} %" in t for t in said)
        # to the suggestion, to the estimate, and to labels everywhere: never better than the suggestion
        number = page.locator('.vl-tr[data-event="Dog"] input[type=number]').nth(1)
        shown = lambda: float(page.inner_text('[data-sum="F of clips"] b').removesuffix(" %"))
        at = lambda v: page.wait_for_function("v => Math.abs(document.querySelectorAll('.vl-tr[data-event=Dog] input[type=number]')[1].value - v) < .06", arg=v)
        page.click(".vl-all-optimum"), at(r.threshold)
        best = shown()
        page.click(".vl-all-estimated"), at(guesses.threshold["Dog", "audio"])
        page.evaluate("() => document.activeElement.blur()")
        for event in ("Dog", "Cat"):
            for teacher in ("clip", "clap"): tuning.move(event, teacher, -1e6)
        bench.panel.update()
        page.wait_for_function("t => document.querySelector('[data-sum=\"F of clips\"] b').textContent === t", arg=f"{tuning._agreement()[1]:.1f} %")
        assert shown() < best and shown() < 100
    clips, event = unannotated()
    annotated(clips, event, 20)
    with bare(chromium, TuneBench(clips, begin_tuning(clips)), dark=dark) as page:
        page.wait_for_selector(".vl-tr")
        page.locator(".vl-panel h3", has_text="20 clips marked done in “mine”, which are truth here").wait_for()
        assert page.inner_text(".vl-all-optimum") == "all to optimum ▲" and page.locator(".vl-all-estimated").is_hidden()
        assert page.locator('[data-sum="audio"]').count() == 1
