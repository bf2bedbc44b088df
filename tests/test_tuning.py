"""Moving one threshold recounts one column, and gives what computing everything anew would give."""
import numpy as np
import pytest

from valor_lab.core import ParameterError
from valor_lab.harvest import Scores, elaborate, Thresholds, tune
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.metrics import bootstrap, fidelity
from valor_lab.workbench import Tuning, presets
from valor_lab.vocab import LLP


def example(n=40, t=10, seed=0, split="x"):
    rng, ids = np.random.default_rng(seed), [f"{split}{i}" for i in range(n)]
    mask = rng.random((n, 25)) < .15
    on = lambda: mask[:, None] & (rng.random((n, t, 25)) > .5)
    truth = SegmentLabels(ids, on(), on())
    say = lambda x: (x * 3. + rng.normal(12, 2, x.shape)).astype(np.float32)
    return Scores(ids, say(truth.audio), say(truth.visual)), truth, WeakLabels(ids, mask)


@pytest.mark.parametrize("t", [10, 7, 64])
def test_any_sequence_of_moves_ends_where_elaborate_does(t):
    scores, truth, weak = example(t=t)
    tuning, rng = Tuning(scores, truth, weak), np.random.default_rng(1)
    for k in range(60):
        do = rng.integers(5)
        if do < 2: tuning.move(LLP.events[rng.integers(25)], ("clip", "clap")[rng.integers(2)], rng.normal(13, 2), settled=bool(rng.integers(2)))
        elif do == 2: tuning.undo()
        elif do == 3: tuning.redo()
        else: tuning.set_gate(("weak label", "none")[rng.integers(2)])
        again = elaborate(scores, weak if tuning.gate == "weak label" else None, tuning.thresholds)
        assert (tuning.labels.audio == again.audio).all() and (tuning.labels.visual == again.visual).all()
        assert np.allclose(tuning.sums().value, list(fidelity(again, truth).values()))
        assert tuning.numbers().changed.sum() == len(tuning.flips())


def test_intervals_are_those_of_the_bootstrap():
    scores, truth, weak = example()
    tuning = Tuning(scores, truth, weak)
    tuning.move("Dog", "clip", 11)
    assert np.allclose(tuning.sums()[["value", "low", "high"]], bootstrap(fidelity, tuning.labels, truth))


def test_a_drag_is_one_step_and_undo_takes_all_of_it_back():
    scores, truth, weak = example()
    tuning = Tuning(scores, truth, weak)
    before = tuning.value["visual"].copy()
    for v in (3, 2, 1): tuning.move("Dog", "clip", v, settled=False)
    tuning.move("Dog", "clip", 0)
    assert tuning.undo() and (tuning.value["visual"] == before).all() and not tuning.undo()


def test_optimum_is_that_of_tune_under_the_gate_in_force():
    scores, truth, weak = example()
    tuning = Tuning(scores, truth, weak)
    tuning.apply("optimum")
    assert (tuning.thresholds.clip == tune(scores, truth, weak).clip).all()
    tuning.set_gate("none")
    tuning.apply("optimum", "Dog", "clap")
    assert tuning.thresholds.clap[LLP.index("Dog")] == tune(scores, truth, None).clap[LLP.index("Dog")]


def test_without_truth_the_claims_of_an_open_gate_are_judged_and_nothing_rewards_bad_labels():
    scores, truth, weak = example()
    tuning = Tuning(scores, None, weak)
    claimed = np.any([(getattr(scores, m) > tuning.value[m]).any(1) for m in ("audio", "visual")], 0)
    said = tuning.numbers()["F clips"]
    assert "F" not in tuning.numbers() and said.between(0, 100).all() and "no truth" in tuning.warning
    assert np.isclose(tuning._agreement()[1], 200 * (claimed & weak.mask).sum() / (claimed.sum() + weak.mask.sum()))
    tuning.apply("optimum")                                                  # what the weak labels suggest
    best, hints = tuning._agreement()[1], tuning.suggested()
    there = hints.dropna()
    assert len(there) and (there.low <= there.threshold).all() and (there.threshold <= there.high).all() and (there.F_low <= there.F + 1e-9).all()
    for e in scores.vocab.events:
        for t in ("clip", "clap"): tuning.move(e, t, -1e6)
    assert tuning._agreement()[1] < 100 and tuning._agreement()[1] <= best
    with pytest.raises(ParameterError, match="weak labels"): Tuning(scores).apply("optimum")


def test_keep_as_writes_the_labels_beside_the_thresholds(tmp_path):
    from valor_lab.datasets import load_labels, save_labels
    scores, truth, weak = example(split="val")
    tuning = Tuning(scores, truth, weak, split="val")
    tuning.save_with_labels("mine", tmp_path/"thresholds")
    assert presets(tmp_path/"thresholds") == ["mine"] and (load_labels("mine", tmp_path).audio == tuning.labels.audio).all()
    save_labels(truth, "by-hand", tmp_path)
    with pytest.raises(ParameterError, match="no thresholds made"): tuning.save_with_labels("by-hand", tmp_path/"thresholds")
    assert presets(tmp_path/"thresholds") == ["mine"]


def test_presets_carry_where_they_come_from_and_warn_on_their_own_split(tmp_path):
    scores, truth, weak = example(split="val")
    tuning = Tuning(scores, truth, weak, split="val")
    assert tuning.warning == ""
    tuning.move("Dog", "clip", 9)
    assert "flatter" in tuning.warning
    tuning.save("mine", tmp_path)
    assert presets(tmp_path) == ["mine"] and not len(tuning.flips())
    kept = Thresholds.load(tmp_path/"mine.toml")
    assert kept.provenance["split"] == "val" and kept.provenance["gate"] == "weak label" and kept.provenance["clips"] == list(scores.ids)
    assert Tuning(*example(split="test"), thresholds=kept, split="test").warning == ""
    with pytest.raises(ParameterError): tuning.save("../up", tmp_path)


def test_a_missing_stream_gets_no_label_at_any_threshold():
    scores, truth, weak = example()
    scores.visual[0] = np.nan
    tuning = Tuning(scores, truth, weak, gate="none")
    for e in LLP.events: tuning.move(e, "clip", -1e6)
    assert not tuning.labels.visual[0].any() and tuning.labels.visual[1].all()


@pytest.mark.parametrize("bad", [("Unicorn", "clip", 1), ("Dog", "ear", 1), ("Dog", "clip", float("nan"))])
def test_what_cannot_be_meant_is_refused(bad):
    with pytest.raises(ParameterError): Tuning(*example()).move(*bad)


def test_more_events_leave_the_scores_of_the_others_alone():
    scores, truth, weak = example()
    tuning = Tuning(scores, truth, weak)
    tuning.move("Dog", "clip", 11)
    vocab, more = LLP.with_event("Rain", "a", "b"), lambda x: np.concatenate([x, x[..., :1]], -1)
    wider = tuning.rescored(Scores(scores.ids, more(scores.audio), more(scores.visual), vocab))
    assert np.allclose(wider.sums().value, tuning.sums().value) and np.isnan(wider.numbers().F["Rain"]) and "Rain" in wider.warning
    with pytest.raises(ParameterError): tuning.rescored(example(split="other")[0])


def test_a_preset_of_somebody_else_is_replaced_only_by_who_asks_twice_and_is_kept(tmp_path):
    from valor_lab.files import kept
    ada, bob = (Tuning(*example()) for _ in range(2))
    ada.move("Dog", "clip", 9)
    ada.save("mine", tmp_path)
    ada.move("Dog", "clip", 8)
    ada.save("mine", tmp_path)                                        # her own
    bob.move("Dog", "clip", 3)
    with pytest.raises(ParameterError, match="already, saved by .*once more"): bob.save("mine", tmp_path)
    assert Thresholds.load(tmp_path/"mine.toml").clip[LLP.index("Dog")] == 8
    bob.save("mine", tmp_path)
    with pytest.raises(ParameterError, match="already"): ada.save("mine", tmp_path)
    ada.load("mine", tmp_path)
    ada.save("mine", tmp_path)
    dogs = [Thresholds.load(v["path"]).clip[LLP.index("Dog")] for v in kept(tmp_path/"mine.toml")]
    assert dogs[:3] == [9, 8, 3] and presets(tmp_path) == ["mine"]


def test_what_a_killed_writer_left_is_no_preset(tmp_path):
    (tmp_path/".p.0123456789ab.toml").write_text("x")
    assert presets(tmp_path) == []
