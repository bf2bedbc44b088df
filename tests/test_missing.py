"What is missing is left out: of losses, thresholds, scores and lanes; it never counts as silence, and never as right."
from dataclasses import replace

import numpy as np, pytest

torch = pytest.importorskip("torch")

from valor_lab.harvest import Scores, Thresholds, elaborate, report, tune, tune_pooled
from valor_lab.labels import SegmentLabels
from valor_lab.methods import OBJECTIVES, make_objective
from valor_lab.metrics import fidelity
from valor_lab.models import HAN, forward_all
from valor_lab.training import find_task, fit, on_device, override, predict, preset, take, toy_set


def short_sound(data, clips=8, second=5):
    "The sound of the first clips ends at `second`."
    audio = np.array(data.features["audio"], np.float32)
    audio[:clips, second:] = np.nan
    return replace(data, features={**data.features, "audio": audio})


def toy_network():
    torch.manual_seed(0)
    return HAN(n_events=3, d_audio=12, d_visual=12, d_motion=12, d_model=16, d_ff=16, n_heads=2, dropout=0.)


@pytest.mark.parametrize("name", ["base", "valor", "refined", "union", "no-modality", "valor-visual", "kd"])
def test_no_loss_asks_for_what_a_stream_does_not_reach(name):
    data, model, objective = toy_set(16, 1), toy_network(), make_objective(name)
    scores = np.random.default_rng(0).normal(size=(2, 16, 10, 3)).astype(np.float32)
    data = short_sound(replace(data, scores=Scores(data.ids, *scores, vocab=data.vocab)))
    audio = data.labels.audio.copy()
    audio[:8, 5:] ^= True
    both = lambda labels, visual: replace(data, labels=SegmentLabels(data.ids, labels, visual, data.vocab))
    def loss(d):
        batch = take(on_device(d), torch.arange(16))
        return {k: v.item() for k, v in objective.loss(model, batch, find_task("avvp").forward(model, batch)).items()}
    a, b = loss(data), loss(both(audio, data.labels.visual))
    assert all(np.isfinite(list(a.values())))
    assert a == b
    if name in ("valor", "valor-audio"):
        audio[:8, :5] ^= True
        assert loss(both(audio, data.labels.visual))["audio"] != a["audio"]


def test_a_split_that_lacks_nothing_has_no_mask_and_keeps_its_numbers():
    data, model = toy_set(6, 3), toy_network()
    tensors = on_device(data)
    assert "reached" not in tensors
    whole = forward_all(model, tensors["audio"], tensors["visual"], tensors["motion"])
    there = torch.ones(6, 10, 2, dtype=torch.bool)
    there[0, 5:, 0] = False
    part = forward_all(model, tensors["audio"], tensors["visual"], tensors["motion"], reached=there)
    for k in ("video_prob", "audio_prob", "visual_prob"):
        assert torch.equal(getattr(whole, k)[1:], getattr(part, k)[1:]), k
    assert not torch.equal(whole.audio_prob[0], part.audio_prob[0]) and torch.allclose(whole.visual_prob[0], part.visual_prob[0])


def test_a_clip_without_any_sound_is_judged_by_its_picture_alone():
    data, model = short_sound(toy_set(4, 3), 1, 0), toy_network()
    t = on_device(data)
    out = forward_all(model, t["audio"], t["visual"], t["motion"], reached=t["reached"], keep=("video_prob", "visual_prob", "audio_prob"))
    assert torch.isfinite(out.video_prob).all() and torch.allclose(out.video_prob[0], out.visual_prob[0], atol=1e-6) and (out.audio_prob[0] == 0).all()


def test_training_leaves_out_what_is_missing_and_names_nothing_there(tmp_path):
    config = override(preset("valor"), dict(features="simple", d_model=16, d_ff=16, epochs=2, batch_size=16))
    run = fit(config, short_sound(toy_set(32, 1)), tmp_path/"run", val=short_sound(toy_set(16, 2)), device="cpu", progress=False)
    said = predict(run, short_sound(toy_set(16, 4)), protocol="ungated", device="cpu")
    assert not said.audio[:8, 5:].any() and said.audio[8:, 5:].any() and said.visual[:8, 5:].any()


def test_numbers_that_are_partly_not_finite_are_still_refused():
    data = toy_set(4, 1)
    audio = np.array(data.features["audio"], np.float32)
    audio[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="audio features hold 1 values"): on_device(replace(data, features={**data.features, "audio": audio}))


def test_a_segment_without_a_score_and_without_a_label_is_not_taught_as_silent():
    data = toy_set(4, 1)
    audio, visual = np.zeros((2, 4, 10, 3), np.float32)
    audio[0, 7:] = np.nan
    t = on_device(replace(data, scores=Scores(data.ids, audio, visual, data.vocab), labels=SegmentLabels(data.ids, data.labels.audio & (np.arange(10) < 7)[:, None], data.labels.visual, data.vocab)))
    assert t["reached"][0, :, 0].int().tolist() == [1]*7 + [0]*3 and t["reached"][..., 1].all()
    never = on_device(replace(data, scores=Scores(data.ids, np.full_like(audio, np.nan), visual, data.vocab)))
    assert "reached" not in never                                             # the sound was never harvested: that says nothing of a segment


# thresholds and the scores of a harvest

def scored():
    "Truth in 40 clips; the scores are the truth plus a little, but the sound of half of them ends at 5 s."
    rng, data = np.random.default_rng(0), toy_set(40, 1)
    say = lambda x: (4.*x + rng.normal(0, .5, x.shape)).astype(np.float32)
    audio = say(data.truth.audio)
    audio[:20, 5:] = np.nan
    return Scores(data.ids, audio, say(data.truth.visual), data.vocab), data.truth


def test_a_harvest_is_not_blamed_for_seconds_that_nobody_could_hear():
    scores, truth = scored()
    found = report(scores, truth, Thresholds(np.full(3, 2.), np.full(3, 2.), scores.vocab))
    assert found["audio"] == pytest.approx(100) and found["visual"] == pytest.approx(100)
    whole = fidelity(elaborate(scores, None, Thresholds(np.full(3, 2.), np.full(3, 2.), scores.vocab)), truth)
    assert whole["audio"] < 95                                                  # the benchmark's own scores count every second, as ever


def test_tuning_leaves_out_what_is_missing():
    from valor_lab.harvest import statistics_of
    scores, truth = scored()
    stats, has = statistics_of(scores, truth, None)["audio"], ~np.isnan(scores.audio)
    assert stats.true.tolist() == (truth.audio & has).sum((0, 1)).tolist()
    for how in (tune, tune_pooled):
        t = how(scores, truth, None, "val")
        assert report(scores.select(scores.ids), truth, replace(t, provenance={}))["audio"] == pytest.approx(100)


# parsing

@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    "A run with random weights for the demo set's simple features."
    from valor_lab.datasets import Dataset
    from valor_lab.demo import SIMPLE_SHAPES
    from valor_lab.models import save_model
    from valor_lab.training import Run, claim, identity, resolved, write_json
    from valor_lab.vocab import LLP
    run, config = Run(tmp_path_factory.mktemp("run")/"run"), resolved(override(preset("valor"), dict(features="simple", d_model=16, d_ff=16, epochs=0)))
    nobody = Dataset((), SegmentLabels((), *np.zeros((2, 0, 10, 25))).weak(), name="demo (tiny)", vocab=LLP)
    claim(run, config, identity(config, dict(val=nobody)))
    torch.manual_seed(0)
    save_model(HAN(n_events=25, **{f"d_{m}": SIMPLE_SHAPES[m][1] for m in ("audio", "visual", "motion")}, **config.network), run.path/"best.safetensors")
    write_json(run.path/"scores.json", dict(gates=None))
    return run


def made_up(path):
    "Features that depend on nothing but the seconds of a window."
    rng = np.random.default_rng(int(path.start*10))
    return 10., {m: rng.normal(size=(10, d)).astype(np.float32) for m, d in (("audio", 128), ("visual", 336), ("motion", 512))}


@pytest.mark.parametrize("protocol", ["ungated", "avvp"])
def test_what_two_windows_saw_has_their_mean_probability(parser, tmp_path, protocol):
    pytest.importorskip("av")
    from films import film
    from valor_lab.datasets import Dataset
    from valor_lab.grid import windows
    from valor_lab.training import answers, parse_clips
    file = film(tmp_path/"talk.mp4", np.arange(25*22)/25, (0, 17))
    said = parse_clips(parser, [file], protocol, features=made_up, device="cpu", window=10, hop=5)
    total, count = np.zeros((2, 30, 25)), np.zeros((30, 1))
    for w in windows(file, 22, 10, 5):
        scored, config = answers(parser, Dataset(("a",), None, features={m: x[None] for m, x in made_up(w)[1].items()}, vocab=parser.vocab), protocol, device="cpu")
        if int(w.start) + 10 > 17: continue                                 # what is masked there is another test's
        audio, visual, threshold = parser.task.probabilities(scored, config)
        total[:, int(w.start):int(w.start) + 10] += np.stack([audio[0], visual[0]])
        count[int(w.start):int(w.start) + 10] += 1
    assert threshold == .5 and count[:10].max() == 2 and said.ids == ("talk",) and said.segment_seconds.tolist() == [1.]
    for m, x in zip(("audio", "visual"), total): assert np.array_equal(getattr(said, m)[0, :10], x[:10]/count[:10] >= .5), m
    assert not said.audio[0, 17:].any() and not said.visual[0, 22:].any() and (protocol == "avvp" or said.visual[0, 17:22].any())
    assert said.findings[["clip", "kind", "detail"]].values.tolist() == [["talk", "segments missing", "the sound ends at 17.0 of 22.0 s"]]


def test_windows_that_do_not_overlap_keep_their_labels(parser, tmp_path):
    pytest.importorskip("av")
    from films import film
    from valor_lab.grid import windows
    from valor_lab.training import parse_clips
    file = film(tmp_path/"talk.mp4", np.arange(25*30)/25, (0, 30))
    whole = parse_clips(parser, [file], "ungated", features=made_up, device="cpu", window=10)
    parts = parse_clips(parser, windows(file, 30, 10), "ungated", features=made_up, device="cpu")
    for m in ("audio", "visual"): assert np.array_equal(getattr(whole, m)[0], getattr(parts, m).reshape(30, 25))


def test_a_sound_that_ends_early_is_parsed_second_by_second_and_the_two_rules_are_named(parser, tmp_path):
    pytest.importorskip("av")
    from films import film
    from valor_lab.training import feature_maker, parse_clips
    make = feature_maker("simple", "demo (tiny)")
    short, whole = (film(tmp_path/f"{n}.mp4", np.arange(250)/25, (0, s)) for n, s in (("short", 5), ("whole", 10)))
    a, b = (make(f)[1]["audio"] for f in (short, whole))
    assert np.allclose(a[:4], b[:4], atol=.2) and np.abs(a[5:] - b[5:]).max() > 1
    said = parse_clips(parser, [short, whole], "ungated", device="cpu")
    assert not said.audio[said.ids.index("short"), 5:].any() and said.audio[said.ids.index("whole"), 5:].any()
    assert said.findings.kind.tolist() == ["segments missing", "rules differ"] and set(said.findings["clip"]) == {"short"}


# what people see

def test_a_lane_shows_what_is_missing_as_missing_and_never_as_right():
    from valor_lab.workbench import Clips, lanes
    scores, truth = scored()
    clips = Clips(dict(truth=truth, harvested=elaborate(scores, None, Thresholds(*np.full((2, 3), 2.), scores.vocab)), run=truth), scores=scores)
    found = [l for l in lanes(clips, scores.ids[0]) if l["kind"] != "weak"]
    for l in found:
        if l["modality"] == "visual": assert "x" not in l["cells"]
        elif l["name"] == "truth": assert set(l["cells"][5:]) <= {"x", "o"}             # what a person said is shown
        else: assert l["cells"][5:] == "xxxxx" and "x" not in l["cells"][:5], l
    assert all("x" not in l["cells"] for l in lanes(clips, scores.ids[30]))


def test_of_a_clip_without_scores_its_file_says_what_is_missing(tmp_path):
    pytest.importorskip("av")
    from films import film
    from valor_lab.workbench import Clips
    truth = toy_set(2, 1).truth
    truth = SegmentLabels(["a", "b"], truth.audio, truth.visual, truth.vocab)
    files = dict(a=film(tmp_path/"a.mp4", np.arange(250)/25, (0, 5)), b=film(tmp_path/"b.mp4", np.arange(75)/25, None))
    clips = Clips(dict(truth=truth), files=files, folders=(tmp_path,))
    assert clips.gone("a")["audio"].tolist() == [False]*5 + [True]*5 and not clips.gone("a")["visual"].any()
    assert clips.gone("b")["audio"].all() and clips.gone("b")["visual"].tolist() == [False]*3 + [True]*7


def test_the_audit_names_every_clip_that_is_not_as_long_as_its_labels():
    from valor_lab.labels import audit
    truth = toy_set(4, 1).truth
    found = audit(truth.weak(), truth, dict(zip(truth.ids, (10.03, 12., 3., 15.8))))
    found = found[found.kind == "other length"]
    assert found["clip"].tolist() == list(truth.ids[1:]) and found.detail.tolist() == [f"{s:.1f} s, labelled 10" for s in (12, 3, 15.8)]


def test_the_list_of_clips_names_other_lengths_and_clips_that_the_published_rule_stretches(tmp_path, monkeypatch):
    pytest.importorskip("av")
    from films import film
    from test_time import Ear, Eye
    from valor_lab.harvest import harvest
    from valor_lab.workbench import sources
    files = [film(tmp_path/f"{n}_20_30.mp4", np.arange(25*p)/25, (0, s)) for n, p, s in (("aaaaaaaaaaa", 10, 10), ("bbbbbbbbbbb", 10, 5), ("ccccccccccc", 12, 12))]
    store = harvest(files, Eye(), Ear(), tmp_path/"store", vocab=None, progress=False, workers=0, alignment="published")
    failed = sources._failed(store, store.ids)
    assert set(failed) == {"bbbbbbbbbbb_20_30", "ccccccccccc_20_30"} and all(sources.STRETCHED in w for w in failed.values())
    assert "length: 12.0 s, labelled 10" in failed["ccccccccccc_20_30"]


def test_load_dataset_names_the_clips_of_another_length():
    from valor_lab.datasets import other_lengths
    from valor_lab.harvest import FeatureStore
    truth, settings = toy_set(3, 1).truth, dict(n_segments=10, audio=None, visual=None, features={}, segment_seconds=1.)
    store = FeatureStore.of_arrays(settings, truth.ids, [10., 12., 3.])
    for labels in (truth, None): assert other_lengths(store, truth.ids, labels).detail.tolist() == ["12.0 s, labelled 10", "3.0 s, labelled 10"]
    assert not len(other_lengths(None, truth.ids, truth))
