"""PSP, CMRAN and CMBS on AVE: their outputs beside a slow reference, their losses, how answers are read, what is refused, and that they train."""
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional
import reference_places as reference
from valor_lab import models
from valor_lab.core import ParameterError
from valor_lab.datasets import Dataset
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.training import fit, open_run, override, predict, preset, resolved, run_labels
from valor_lab.vocab import Vocab
from valor_lab.tasks import places, ave

KINDS = [(name, kind) for name in ("psp", "cmran", "cmbs") for kind in ("weak", "full")]
SMALL = {"psp": dict(d_visual=6), "cmran": dict(d_visual=6, d_model=16, d_ff=12), "cmbs": dict(d_visual=6, d_model=16)}


@pytest.fixture(autouse=True)
def one_thread(): torch.set_num_threads(1)


@pytest.mark.parametrize("name,kind", KINDS)
@pytest.mark.parametrize("t", [10, 6])
def test_every_output_is_that_of_the_specification(name, kind, t):
    torch.manual_seed(0)
    model = models.make_model(name, supervision=kind, n_events=5, **SMALL[name]).double().eval()
    for p in model.parameters(): torch.nn.init.normal_(p, std=.3)
    audio, maps = torch.randn(2, t, 128).double(), torch.rand(2, t, 7, 7, 6).double()
    with torch.no_grad(): said = model(audio, maps)
    for i in range(2):
        for field, want in reference.FORWARD[name](model.state_dict(), audio[i], maps[i], kind == "full").items():
            assert torch.allclose(getattr(said, field)[i].double(), want, atol=1e-5), (field, (getattr(said, field)[i] - want).abs().max())


# -- losses

def known(*events, t=10, c=3):
    "Seconds of clips: each is (event, start, end), or None for background throughout."
    y = torch.zeros(len(events), t, c + 1)
    y[..., c] = 1
    for i, e in enumerate(events):
        if e: y[i, e[1]:e[2], c], y[i, e[1]:e[2], e[0]] = 0, 1
    return y

def weak_of(y): return torch.cat([y[..., :-1].amax(1), torch.zeros(len(y), 1)], 1)

def test_the_losses_by_hand():
    y = known((1, 2, 8), None)
    batch = dict(truth=y, weak=weak_of(y))
    prob = torch.tensor([[.1, .6, .1, .2], [.25]*4])
    share = places.PSPWeak().loss(None, batch, models.PlaceOutput(video_prob=prob))["video"]
    target = torch.tensor([[0, .6, 0, .4], [0, 0, 0, 1.]])
    assert torch.isclose(share, -(target*prob.log() + (1 - target)*(1 - prob).log()).mean())
    event = places.PSPWeak(target="one-hot").loss(None, batch, models.PlaceOutput(video_prob=prob))["video"]
    hot = torch.tensor([[0, 1., 0, 0], [0, 0, 0, 1.]])
    assert torch.isclose(event, F.binary_cross_entropy(prob, hot))
    squashed = places.Squashed().loss(None, batch, models.PlaceOutput(video_prob=prob))["video"]
    assert torch.isclose(squashed, -(hot*prob.sigmoid().log() + (1 - hot)*(-prob).sigmoid().log()).mean())
    assert places.clip_event(y).tolist() == [1, 0]                                     # a clip of background counts as event 0, as released

def test_fully_supervised_terms_by_hand():
    y = known((2, 0, 5))
    on = y[..., 2]
    r, g, e, z = torch.randn(1, 10), torch.rand(1, 10), torch.randn(1, 3), torch.randn(1, 3)
    terms = places.CMBSFull().loss(None, dict(truth=y), models.PlaceOutput(r, z, gate=g, evidence=e))
    two = torch.tensor([2])
    assert all(torch.isclose(terms[k], v) for k, v in dict(relevance=F.binary_cross_entropy_with_logits(r, on), event=F.cross_entropy(z, two),
                                                           gate=F.binary_cross_entropy_with_logits(g, on), evidence=F.cross_entropy(e, two)).items())
    s = torch.rand(1, 10)*2 - 1
    terms = places.PSPFull().loss(None, dict(truth=y), models.PlaceOutput(torch.randn(1, 10, 4), similarity=s))
    share = s.relu()/(s.relu().sum() + 1e-8)
    assert torch.isclose(terms["pairs"], 100*((share - torch.tensor([[.2]*5 + [0]*5]))**2).mean())

def test_targets_that_earlier_clips_left_behind_are_an_option_and_are_saved():
    clean, code = places.PSPFull(), places.PSPFull(pairs="code")
    out = models.PlaceOutput(torch.zeros(1, 10, 4), similarity=torch.arange(10.)[None])
    for o in (clean, code): o.loss(None, dict(truth=known((0, 0, 5))), out)
    second = [o.loss(None, dict(truth=known((0, 8, 10))), out)["pairs"].item() for o in (clean, code)]
    assert torch.allclose(code.left[0], torch.tensor([.2]*5 + [0]*3 + [.5]*2)) and not np.isclose(*second)
    assert torch.equal(code.state_dict()["left"], code.left) and clean.state_dict() == {}
    with pytest.raises(ParameterError, match="pairs='old'"): places.PSPFull(pairs="old")

@pytest.mark.parametrize("cls,fields", [
    (places.PSPWeak, dict(video_prob=(2, 4))), (places.Squashed, dict(video_prob=(2, 4))),
    (places.PSPFull, dict(segment_logits=(2, 10, 4), similarity=(2, 10))), (places.CMRANFull, dict(segment_logits=(2, 10), video_logits=(2, 3))),
    (places.CMBSFull, dict(segment_logits=(2, 10), video_logits=(2, 3), gate=(2, 10), evidence=(2, 3)))])
def test_the_gradient_of_each_loss_is_its_derivative(cls, fields):
    torch.manual_seed(0)
    y = known((1, 2, 6), (0, 4, 9)).double()
    batch = dict(truth=y, weak=weak_of(y).double())
    x = [torch.rand(s).double().mul(.8).add(.1).requires_grad_() for s in fields.values()]
    total = lambda *x: sum(cls().loss(None, batch, models.PlaceOutput(**dict(zip(fields, x)))).values())
    assert torch.autograd.gradcheck(total, x)

def test_dense_labels_may_stand_for_the_truth():
    y = known((1, 2, 6))
    late = known((1, 4, 8))
    batch = dict(labels_audio=y, labels_visual=late)
    both = places.CMRANFull(source="labels").known(batch)
    assert both[0, :, 1].tolist() == [0]*4 + [1]*2 + [0]*4 and (both.sum(-1) == 1).all()
    assert places.CMRANFull(source="labels").needs == ("labels_audio", "labels_visual") and places.CMRANFull().needs == ("truth",)
    assert places.PSPWeak().needs == ("truth",) and places.PSPWeak(target="one-hot").needs == () and places.Squashed().needs == ()


# -- eight clips, a toy, papermill

TOY = Vocab("toy", *(["a", "b", "c"],)*3, [0.]*3, [0.]*3)

def toy(n=12, seed=0, t=10, d=6):
    "Clips of AVE's layout: the event shows at one of 7 × 7 places in its seconds, and is heard in them."
    rng = np.random.default_rng(seed)
    event, start, length = np.arange(n) % 3, rng.integers(0, 4, n), rng.integers(3, 6, n)
    when = (np.arange(t) >= start[:, None]) & (np.arange(t) < (start + length)[:, None])
    y = when[..., None] & (np.arange(3) == event[:, None])[:, None]
    mix = np.random.default_rng(9)
    audio = 2*y @ mix.normal(size=(3, 128)) + .3*rng.normal(size=(n, t, 128))
    maps = np.abs(.2*rng.normal(size=(n, t, 7, 7, d)))
    for i in range(n): maps[i, :, rng.integers(7), rng.integers(7)] += 3*y[i] @ np.abs(mix.normal(size=(3, d)))
    ids = [f"{seed}{i:010d}/{TOY.events[e]}" for i, e in enumerate(event)]
    truth = SegmentLabels(ids, y, y.copy(), TOY)
    return Dataset(tuple(ids), WeakLabels(ids, y.any(1), TOY), truth, None, dict(audio=audio.astype(np.float16), visual=maps.astype(np.float16)), TOY,
                   name="toy-ave", total=n)

def small(name, kind, **values):
    sizes = {k: v for k, v in SMALL[name].items() if k != "d_visual"}
    return override(preset(name + "-full"*(kind == "full")), dict(network=dict(supervision=kind, **sizes), epochs=1, batch_size=8) | values)

@pytest.mark.parametrize("name,kind", KINDS)
def test_eight_clips_are_learnt_by_heart(name, kind):
    torch.manual_seed(0)
    data, task = toy(9), ave.Localisation()
    config = small(name, kind)
    tensors = task.tensors(data)
    from valor_lab.methods import make_objective
    from valor_lab.training import build_model
    model, objective = build_model(config, tensors), make_objective(config.objective)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3 if name == "psp" else 4e-3)
    for p in model.modules():
        if isinstance(p, torch.nn.Dropout): p.p = 0.
    batch = task.take(tensors, torch.arange(9), config)
    for _ in range(100 if name == "psp" else 40):
        loss = sum(objective.loss(model, batch, model(batch["audio"], batch["visual"])).values())
        optimiser.zero_grad(), loss.backward(), optimiser.step()
    said = task.predict(model, data, tensors, config).labels
    if kind == "full": assert ave.accuracy(said, data.truth)["accuracy"] > 90
    else: assert (said.audio.sum(1).argmax(1) == data.weak.mask.argmax(1)).mean() > .85, said.audio.sum(1)

@pytest.mark.parametrize("name,kind", KINDS)
def test_a_run_trains_on_validation_is_read_back_and_answers_again(name, kind, tmp_path):
    data, val, test = toy(12, 1), toy(6, 2), toy(6, 3)
    run = fit(small(name, kind), data, tmp_path/"r", val, test, device="cpu", progress=False)
    again = open_run(tmp_path/"r")
    said = run_labels(again)
    assert (said.audio == said.visual).all() and said.audio.sum(2).max() <= 1 and "val/accuracy" in (tmp_path/"r"/"metrics.csv").read_text()
    assert (predict(again, test, device="cpu").audio == said.audio).all() and again.config.select == "accuracy"
    assert ave.accuracy(said, test.truth) == pytest.approx(run.scores["test"])

def test_weak_cmbs_gives_every_second_one_class_unless_the_gate_is_asked(tmp_path):
    data = toy(12, 1)
    run = fit(small("cmbs", "weak"), data, tmp_path/"r", data, data, device="cpu", progress=False)
    said = run_labels(run)
    assert (said.audio == said.audio[:, :1]).all()
    gated = predict(run, data, "gated", device="cpu")
    assert (gated.audio <= said.audio).all()

@pytest.mark.parametrize("change,says", [
    (dict(backbone="han-average", objective="video", protocol="average", network={}), "one vector for each second"),
    (dict(protocol="average"), "not read by protocol 'average'; choose one of released, gated"), (dict(objective="valor", options={}), "do not fit"),
    (dict(protocol="gated"), "'gated' reads the gate"), (dict(objective="psp-full"), "does not fit backbone 'psp'"),
    (dict(backbone="cmran"), "its own is 'cmran'")])
def test_what_does_not_go_together_is_refused_before_the_first_step(change, says, tmp_path):
    config = replace(small("psp", "weak"), **change)
    with pytest.raises(ParameterError, match=says): fit(config, toy(), tmp_path/"r", device="cpu", progress=False)
    assert not (tmp_path/"r"/"metrics.csv").exists()

def test_pooled_features_missing_seconds_and_strange_values_are_refused(tmp_path):
    data, config = toy(), small("psp", "weak")
    go = lambda **features: fit(config, replace(data, features=data.features | features), tmp_path/"r", device="cpu", progress=False)
    with pytest.raises(ParameterError, match=r"maps of shape \[T, 7, 7, D\].*are \[10, 6\]"): go(visual=data.features["visual"].mean((2, 3)))
    late = data.features["visual"].copy()
    late[1, 7:] = np.nan
    with pytest.raises(ParameterError, match="1 clips lack seconds, the first 00000000001/b"): go(visual=late)
    spoilt = data.features["visual"].copy()
    spoilt[1, 7, 3, 3, 2] = np.inf
    with pytest.raises(ParameterError, match="visual features hold 1 values"): go(visual=spoilt)
    with pytest.raises(ParameterError, match=r"visual features of shape \[2, 8"): go(visual=data.features["visual"][:, :8])
    with pytest.raises(ParameterError, match=r"7, 7|7 × 7"): go(visual=data.features["visual"][:, :, :6])
    with pytest.raises(ParameterError, match="truth"): fit(small("psp", "full"), replace(data, truth=None), tmp_path/"r", device="cpu", progress=False)

def test_the_presets_are_the_printed_ones_and_choose_on_validation():
    from valor_lab.training import learning_rate
    for name, first, after in (("psp", 80, 160), ("psp-full", 60, 120), ("cmran", 5, 40), ("cmran-full", 10, 30), ("cmbs", 10, 40), ("cmbs-full", 10, 30)):
        c, step = preset(name), .8 if name.startswith("psp") else .5
        assert c.select == "accuracy" and c.optimizer == "adam" and c.beta1 == .9 and not c.weight_decay
        assert learning_rate(c, first) == c.lr and learning_rate(c, first + 1) == pytest.approx(c.lr*step)
        assert learning_rate(c, c.epochs) == learning_rate(c, after + 1) == pytest.approx(c.lr*step**len(c.milestones))
        assert resolved(c).network["supervision"] == ("full" if name.endswith("full") else "weak")
    assert (preset("psp").lr, preset("cmran").lr, preset("cmbs").lr, preset("cmbs-full").lr) == (1e-3, 5e-4, 6e-4, 7e-4)
    assert (preset("psp").clip_norm, preset("cmran").clip_norm, preset("cmran-full").clip_norm, preset("cmbs").clip_norm) == (0, .5, .1, .5)
    with pytest.raises(ParameterError, match="rise"): replace(preset("psp"), milestones=[20, 10])

def test_one_event_alone_and_one_clip_alone_train(tmp_path):
    data = toy(3)
    one = Vocab("one", *(["a"],)*3, [0.], [0.])
    keep = lambda x: SegmentLabels(x.ids, x.audio[..., :1], x.visual[..., :1], one)
    alone = replace(data, vocab=one, weak=WeakLabels(data.ids, data.weak.mask[:, :1], one), truth=keep(data.truth))
    for name, kind in KINDS:
        run = fit(small(name, kind), alone, tmp_path/f"{name}{kind}", alone, alone.select(alone.ids[:1]), device="cpu", progress=False)
        assert run_labels(run).audio.shape == (1, 10, 1)
