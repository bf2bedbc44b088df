"""The networks of the field as their papers train them: schedules, losses, what is chosen, what is refused, and that they learn."""
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional
from torch.autograd import gradcheck

from test_train import TOY, toy_set
from test_zoo import D, SMALL
from valor_lab import models
from valor_lab.core import ParameterError
from valor_lab.methods import NETWORK_PRESETS, contrast, likeness, make_objective, shared_events
from valor_lab.metrics import avvp_scores, exclusive_scores
from valor_lab.models import (CMPAEConfig, CoLeaF, HANOutput, NREP, NREPPair, Reference, asymmetric, attention_agreement, cooccurrence,
                              cooccurring, make_model, mutual, orthogonality, parse, pull_weights, rebuilding, two_class)
from valor_lab.training import (TrainConfig, find_task, fit, for_dataset, learning_rate, on_device, override, predict, preset, run_labels, take)
from valor_lab.vocab import LLP

SPECIFIED = {   # preset -> optimiser, rates of some epochs, batch, epochs, seed, what chooses, of equal ones, protocol
    "mm-pyramid": ("adam", {1: 1e-4, 10: 1e-4, 11: 1e-5, 40: 1e-7}, 16, 40, 1, "segment/type", "last", "avvp"),
    "mgn":    ("adam", {1: 3e-4, 11: 3e-5}, 16, 40, 1, "segment/type", "last", "avvp"),
    "leap":   ("adam", {1: 1e-4, 30: 1e-6}, 32, 30, 1, "segment/type", "last", "avvp"),
    "mm-cse": ("adamw", {1: 1e-4, 11: 1e-5}, 64, 60, 87, "segment/type", "first", "video_and_visual"),
    "cmpae":  ("adam", {1: 5e-4, 7: 1.25e-4, 20: 5e-4*.25**3}, 128, 20, 0, "mean", "last", "per_event"),
    "coleaf": ("adam", {1: 5e-4, 10: 1.25e-4}, 128, 10, 1, "mean/exclusive", "last", "gates_52"),
    "nrep":   ("adam", {1: 5e-4, 6: 5e-4, 7: 1.25e-4, 11: 5e-4, 17: 1.25e-4}, 128, 20, 6, "last", "last", "gates_45"),
    "lsld":   ("adam", {1: 2e-4, 7: 5e-5}, 32, 20, 6, "event/audio", "last", "per_modality")}

@pytest.mark.parametrize("name", SPECIFIED)
def test_a_preset_trains_as_its_specification_says(name):
    c, (optimizer, rates, *rest) = preset(name), SPECIFIED[name]
    assert (c.optimizer, c.batch_size, c.epochs, c.seed, c.select, c.ties, c.protocol) == (optimizer, *rest)
    assert {e: pytest.approx(r, rel=1e-6) for e, r in rates.items()} == {e: learning_rate(c, e) for e in rates}
    if optimizer == "adam": assert (c.beta1, c.weight_decay, c.clip_norm) == (.9, 0., 0.)

def test_the_loss_weights_are_those_of_the_released_code():
    of = lambda name: vars(make_objective(preset(name).objective, **preset(name).options).config)
    pick = lambda name, *keys: [of(name)[k] for k in keys]
    assert pick("cmpae", "weight_audio", "weight_visual", "weight_video", "contrast", "weight_mutual", "ratios") == [2, .6, .6, 1, 1, "published"]
    assert pick("coleaf", "weight_audio", "weight_visual", "weight_video", "contrast", "weight_pull_audio", "weight_pull_visual",
                "weight_together") == [2, 1, 2, 1, .009, 1, 1e-4]
    assert pick("nrep", "contrast", "agreement", "weight_clip", "weight_temporal", "kind") == [1, .01, 1, .01, "softmax"]
    assert pick("mm-cse", "weight_rebuild", "weight_apart", "weight_together") == [.5, .1, .1]
    assert pick("lsld", "weight_audio", "weight_visual", "weight_video") == [3, 1, 1] and preset("lsld").network["n_layers"] == 4

# -- they train

def splits(n=8, t=10):
    sets = [toy_set(n, seed=s, widths=(12, 12, 12), vocab=LLP, t=t) for s in (1, 2, 3)]
    return [replace(d, words=np.random.default_rng(5).normal(size=(25, 7)).astype(np.float32)) for d in sets]

def small(name, **more):
    c = preset(name)
    sizes = {k: v for k, v in SMALL.get(c.backbone.removesuffix("-pair"), dict(d_model=16, n_heads=2, d_ff=16)).items()
             if k not in D and k != "d_label"}
    sizes |= {"cmpae": dict(frames=1), "coleaf": dict(frames=1), "mm-cse": dict(n_layers=1), "mm-pyramid": dict(n_levels=2),
              "leap": dict(n_levels=2), "mgn": dict(depth_audio=1, depth_visual=1, depth_cross=1)}.get(c.backbone, {})
    if name == "lsld": sizes = dict(d_model=16, d_ff=16, n_layers=2)
    return override(c, dict(epochs=2, batch_size=4, network=c.network | sizes) | more)

@pytest.mark.parametrize("name", NETWORK_PRESETS)
def test_a_preset_trains_and_resumes_to_the_last_bit(tmp_path, name):
    data, val, test = splits()
    class Stop:
        def log_metrics(self, metrics, step=None):
            if step == 2: raise KeyboardInterrupt
    config = small(name, epochs=4)
    run = lambda folder, **more: fit(config, data, tmp_path/folder, val, test, device="cpu", progress=False, save_every=0., **more)
    whole = run("whole")
    with pytest.raises(KeyboardInterrupt): run("halves", loggers=[Stop()])
    again = run("halves")
    assert whole.scores["test"] == again.scores["test"]
    a, b = (models.read_state_dict(r.path/"last.safetensors") for r in (whole, again))
    assert all(torch.equal(a[k], b[k]) for k in a)
    said = predict(whole, test, device="cpu")
    assert (said.audio == run_labels(whole).audio).all()

HEART = {"mm-pyramid-fixed": 60, "mgn": 100, "leap": 120, "mm-cse": 100, "cmpae": 60, "coleaf": 60, "nrep": 240, "lsld": 80}   # steps

@pytest.mark.parametrize("name", HEART)
def test_eight_clips_are_learnt_by_heart(tmp_path, name):
    "Those that train on dense labels know every second; the others learn from the clip's label, and know what is in the clip."
    guided = name in ("mm-pyramid-fixed", "mgn", "cmpae", "coleaf", "mm-cse")      # MM-CSE looks at time through the clip's mean alone
    data = replace(toy_set(8, vocab=LLP if name in ("cmpae", "coleaf") else TOY), words=np.eye(3, 7, dtype=np.float32))
    config = small(name, epochs=HEART[name], batch_size=8, lr=5e-3, schedule="constant", select="last",
                   **(dict(dropout=0.) if name in ("leap", "mm-cse", "lsld") else {}))
    run = fit(config, data, tmp_path/name, test=None if name == "cmpae" else data, device="cpu", progress=False, save_every=99.)
    loss, said = run.metrics["loss/total"], predict(run, data, "gates_45" if name == "cmpae" else None, device="cpu")
    right, score = (said.weak().mask == data.weak.mask).mean(), avvp_scores(said, data.truth)["segment/type"]
    assert loss.iloc[-5:].mean() < .6*loss.iloc[0], (loss.iloc[0], loss.iloc[-1])
    assert right > .9 if guided else score > 90, (right, score)

def test_the_two_copies_of_nrep_learn_one_after_the_other_and_are_kept_apart(tmp_path):
    data, val, test = splits()
    run = fit(small("nrep", epochs=4), data, tmp_path/"r", val, test, device="cpu", progress=False, save_every=0.)
    torch.manual_seed(0)
    first = NREPPair(d_audio=12, d_visual=12, d_motion=12, d_model=16, d_ff=16)
    assert all(torch.equal(a, b) for a, b in zip(first.audio.state_dict().values(), first.visual.state_dict().values()))
    m = run.metrics.set_index("epoch")
    kept = {"audio": m["val/segment/audio"][::-1].idxmax(), "visual": m["val/event/event"][::-1].idxmax()}
    assert m.loc[2:, "val/segment/audio"].nunique() == 1 and kept["audio"] == 4 or kept["audio"] == 1      # the sound rests in the second half
    best, last = run.model("best").state_dict(), run.model("last").state_dict()
    same = {c: all(torch.equal(v, last[k]) for k, v in best.items() if k.startswith(c)) for c in ("audio.", "visual.")}
    assert same["visual."] == (kept["visual"] == 4)

def test_the_gates_of_cmpae_are_tuned_on_an_early_epoch_and_its_epochs_compared_without_them(tmp_path):
    data, val, test = splits()
    config = small("cmpae", epochs=3, gates_epoch=2)
    run = fit(config, data, tmp_path/"r", val, test, device="cpu", progress=False)
    tensors = on_device(val)
    early = models.load_model(run.path/"early.safetensors")
    two = lambda net: models.fused(models.forward_all(net, *(tensors[k] for k in ("audio", "visual", "motion"))),
                                   models.forward_all(net, *(tensors[k] for k in ("audio", "visual", "motion")), cross_attention=False))
    want = models.tune_gates(two(early), val.truth)
    assert (run.gates.visual == want.visual).all() and (run.gates.audio == .45).all() and run.gates.segments == .25
    audio, visual = parse(two(run.model("last")), "gates_45")
    from valor_lab.labels import SegmentLabels
    labels = SegmentLabels(val.ids, audio.numpy(), visual.numpy(), LLP)
    row = run.metrics.iloc[-1]
    scores = avvp_scores(labels, val.truth)
    assert row["val/mean"] == pytest.approx(np.mean(list(scores.values())), abs=1e-4)
    assert find_task("avvp").selection("mean/exclusive", labels, val.truth)["mean/exclusive"] == pytest.approx(
        np.mean(list(exclusive_scores(labels, val.truth).values())))

def test_an_objective_that_looks_inside_a_network_refuses_another_before_the_first_step(tmp_path):
    data, val, _ = splits()
    for name, backbone in (("mm-cse", "han"), ("cmpae", "mgn"), ("nrep", "nrep")):
        config = override(TrainConfig(), dict(objective=name, backbone=backbone, d_model=16, epochs=1))
        with pytest.raises(ParameterError, match="does not return: choose the backbone of the same paper"):
            fit(config, data, tmp_path/name, val, device="cpu", progress=False)
    with pytest.raises(ParameterError, match="asks with the names of the events"):
        fit(small("leap"), replace(data, words=None), tmp_path/"leap", val, device="cpu", progress=False)
    with pytest.raises(ParameterError, match="d_label follows from the data"): override(preset("leap"), dict(network=dict(d_label=3)))
    with pytest.raises(ParameterError, match="frames=1"):
        fit(small("cmpae", frames=8), data, tmp_path/"frames", val, device="cpu", progress=False)

# -- gradients, in double precision

def double(*shape, seed=0): return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).requires_grad_()

def labels(*shape, seed=1): return torch.from_numpy((np.random.default_rng(seed).random(shape) < .4).astype(float))

def evidence_output(p, each, u, u_g):
    return HANOutput(p, each[0], each[1], None, extra=dict(clip_uncertainty=u_g, audio_uncertainty=u[0], visual_uncertainty=u[1]))

def test_the_gradients_of_the_new_losses_are_right():
    b, t, c, d = 2, 3, 4, 5
    ya, yv, there = labels(b, t, c), labels(b, t, c, seed=2), torch.tensor([[[1, 1], [1, 0], [0, 1]], [[1, 1]]*3], dtype=torch.bool)
    for at in (None, there):
        assert gradcheck(lambda x: likeness(x, ya, yv, at), double(b, t, 2, d))
        for kind in ("ma", "jomold"):
            assert gradcheck(lambda a, v: contrast(a, v, kind, there=at, weight=torch.tensor([.3, 2.])), (double(b, t, d), double(b, t, d, seed=3)))
        assert gradcheck(lambda s, r: rebuilding(dict(source=s, rebuilt=r), at), (double(b, t, 2, d), double(b, t, 2, d, seed=4)))
        assert gradcheck(lambda v: orthogonality(dict(vectors=v), at), double(b, t, 2, c + 1, d))
        assert gradcheck(lambda m: tuple(cooccurring(dict(maps=dict(aa=m, av=m, vv=m, va=m)), ya, yv, at).values()), double(b, t, c, c))
    for how in (dict(), dict(presence_only=True), dict(evidential=True), dict(log=True)):
        assert gradcheck(lambda x: two_class(x, ya, **how), double(b, t, c, 2))
    assert gradcheck(attention_agreement, (double(b, t, c), double(b, t, c, seed=5)))
    prob = lambda seed: double(b, c, seed=seed).sigmoid().detach().requires_grad_()
    assert gradcheck(lambda p: cooccurrence(p, prob(7).detach()), prob(6))
    y, u, u_g = labels(b, c), torch.stack([prob(8), prob(9)]).detach().requires_grad_(), torch.tensor([.95, .97], dtype=torch.float64, requires_grad=True)
    each = torch.stack([prob(10), prob(11)]).detach()
    assert gradcheck(lambda p, u, u_g: mutual(evidence_output(p, each, u, u_g), y, True), (prob(12), u, u_g))          # the clip moves
    free = each.clone().requires_grad_()
    assert gradcheck(lambda e, u, u_g: mutual(evidence_output(prob(12).detach(), e, u, u_g), y, False), (free, u, u_g))   # the streams move
    p, frozen = prob(13), prob(13).detach()
    n = (1 - frozen + .05).clamp(max=1)
    weight = 1 - (frozen*y + n*(1 - y))                                                     # carries no gradient, as released
    slow = lambda p: -(weight*(y*p.log() + (1 - y)*(1 - p + .05).clamp(max=1).log())).sum()
    got, want = (torch.autograd.grad(f, p)[0] for f in (asymmetric(p, y), slow(p)))
    assert torch.allclose(got, want) and gradcheck(slow, p)

def test_hand_values_of_coleaf():
    t = torch.tensor
    assert float(asymmetric(t([[.9]]), t([[1.]]))) == pytest.approx(.010536, abs=1e-6)
    assert float(asymmetric(t([[.2]]), t([[0.]]))) == pytest.approx(.024378, abs=1e-6)
    p, teacher = t([[.5, .2], [.1, .4]]), t([[.6, .2], [.1, .4]])
    assert float(cooccurrence(p, teacher)) == pytest.approx(.0129, abs=1e-6)
    w_a, w_v = pull_weights(t([[.9, .6, .1]]), t([[.9, .2, .2]]))
    assert float(w_a) == .5 and float(w_v) == 0.
    out = evidence_output(t([[.6, .3]]), [t([[.8, .1]]), t([[.4, .3]])], [t([[.2, .5]]), t([[.6, .1]])], t([.95]))
    assert [round(float(mutual(out, t([[1., 0.]]), odd).mean()), 6) for odd in (True, False)] == [.018525, .000975]
    out.extra["clip_uncertainty"] = t([.5])
    assert [round(float(mutual(out, t([[1., 0.]]), odd).mean()), 6) for odd in (True, False)] == [.017550, .001950]

def test_segments_share_as_many_events_as_both_have():
    a, v = labels(3, 6, 5), labels(3, 6, 5, seed=4)
    a[2] = v[2] = 0                                                                          # a clip without any label
    got = shared_events(a, v)
    for b in range(3):
        most = max(max(sum(x[b, t]).item() for t in range(6)) for x in (a, v)) or 1e-8
        for t in range(6):
            for s in range(6): assert got[b, t, s].item() == pytest.approx(sum(float(a[b, t, c]*v[b, s, c]) for c in range(5))/most)

# -- what is missing

TRAINED = ["mm-pyramid", "mgn", "leap", "mm-cse", "cmpae", "coleaf", "nrep", "lsld"]

@pytest.mark.parametrize("name", TRAINED)
def test_what_stands_in_a_missing_segment_changes_no_loss_and_no_other_output(name):
    "Labels and motion of seconds that a stream does not reach are exchanged: nothing else may notice."
    def lacking(other):
        data, *_ = splits(4)
        x = {k: np.array(v, np.float32) for k, v in data.features.items()}
        x["audio"][:2, 6:], x["visual"][1:3, 7:] = np.nan, np.nan
        if other: x["motion"][1:3, 7:] += 5.
        y = [data.labels.audio.copy(), data.labels.visual.copy()]
        if other: y[0][:2, 6:] ^= True; y[1][1:3, 7:] ^= True
        from valor_lab.labels import SegmentLabels
        return replace(data, features=x, labels=SegmentLabels(data.ids, *y, LLP), scores=None)
    def answer(data):
        from valor_lab.methods import Context
        torch.manual_seed(3)
        config, task, tensors = small(name), find_task("avvp"), on_device(data)
        from valor_lab.training.loop import build_model
        net = build_model(config, tensors, data.words)
        objective = make_objective(config.objective, **config.options)
        objective.start(Context(model=net, data=tensors, epochs=4, steps_per_epoch=1, batch_size=4, rate=lambda e: 1e-3)), objective.start_epoch(2)
        torch.manual_seed(4)
        batch = objective.before_batch(net, take(tensors, torch.arange(4)))
        terms = objective.loss(net, batch, task.forward(net, batch))
        scored = task.predict(net, data, tensors, replace(config, protocol="ungated"))
        return {k: v.item() for k, v in terms.items()}, scored.output.segment_prob, scored.labels
    (a, out_a, said_a), (b, out_b, said_b) = answer(lacking(False)), answer(lacking(True))
    assert a == b and all(np.isfinite(list(a.values())))
    assert torch.equal(out_a, out_b) and (said_a.visual == said_b.visual).all()
    assert not said_a.audio[:2, 6:].any() and not said_a.visual[1:3, 7:].any()

WITH_MASK = ["ppl", "mm-pyramid", "leap", "mm-cse"]

@pytest.mark.parametrize("name", WITH_MASK)
def test_what_stands_in_the_padding_changes_nothing_before_it(name):
    torch.manual_seed(0)
    extra = dict(label_embeddings=torch.randn(25, 7)) if name == "leap" else {}
    model = make_model(name, **(SMALL.get(name) or dict(d_model=16, **D)), **extra).eval()
    x, mask = [torch.randn(2, 10, d) for d in (5, 6, 4)], torch.arange(10)[None] < torch.tensor([[6], [10]])
    other = [f.masked_fill(~mask[..., None], 9.) for f in x]
    with torch.no_grad(): a, b, alone = model(*x, mask=mask), model(*other, mask=mask), model(*[f[:1, :6] for f in x])
    for field in ("video_prob", "audio_prob", "visual_prob"):
        assert torch.equal(getattr(a, field), getattr(b, field)) and torch.allclose(getattr(a, field)[:1], getattr(alone, field), atol=1e-5), field
    assert torch.equal(a.segment_prob[mask], b.segment_prob[mask]) and torch.allclose(a.segment_prob[:1, :6], alone.segment_prob, atol=1e-5)

@pytest.mark.parametrize("name", ["mgn", "cmpae", "coleaf", "nrep", "nrep-pair"])
def test_a_network_that_cannot_leave_segments_out_says_so(name):
    model, frames = make_model(name, **SMALL[name.removesuffix("-pair")]), 80 if name in ("cmpae", "coleaf") else 10
    with pytest.raises(ParameterError, match="cannot leave segments out"):
        model(torch.randn(1, 10, 5), torch.randn(1, frames, 6), torch.randn(1, 10, 4), mask=torch.arange(10)[None] < 6)

# -- what a network's own code does needlessly, ours does not, with equal outputs

@pytest.mark.parametrize("name", ["han", "mgn", "mm-pyramid", "leap", "mm-cse"])
def test_pictures_are_averaged_before_they_are_projected_with_the_released_answer(name):
    from released import needlessly
    torch.manual_seed(0)
    sizes = SMALL.get(name) or dict(d_model=16, d_ff=16, n_heads=2, **D)
    make = lambda: make_model(name, **sizes, **(dict(label_embeddings=torch.ones(25, 7)) if name == "leap" else {})).eval()
    frames = torch.randn(2, 80, 6)
    x = [torch.randn(2, 10, 5), models.pool_frames(frames), torch.randn(2, 10, 4)]
    ours, theirs = make(), make()
    theirs.load_state_dict(ours.state_dict())
    needlessly(theirs, frames)                                       # 80 projections, and for MM-CSE a loop over events
    assert theirs.needless
    with torch.no_grad(): a, b = ours(*x), theirs(*x)
    for field in ("video_prob", "audio_prob", "visual_prob", "segment_prob"):
        assert torch.allclose(getattr(a, field), getattr(b, field), atol=1e-5), field

# -- slow references, written from the specifications

def linear(x, w, b): return [sum(wi*xi for wi, xi in zip(row, x)) + bias for row, bias in zip(w.tolist(), b.tolist())]

def elu(x): return [v if v > 0 else np.exp(v) - 1 for v in x]

def leaky(x): return [v if v > 0 else .2*v for v in x]

def add(*xs): return [sum(v) for v in zip(*xs)]

def softmax(x):
    e = np.exp(np.array(x) - max(x))
    return (e/e.sum()).tolist()

def norm(x, w, b):
    mean = sum(x)/len(x)
    var = sum((v - mean)**2 for v in x)/len(x)
    return [(v - mean)/np.sqrt(var + 1e-5)*wi + bi for v, wi, bi in zip(x, w.tolist(), b.tolist())]

class Slow:
    "One clip, one number at a time, from a state dict with the released names."
    def __init__(self, state): self.s = {k: v.double() for k, v in state.items()}
    def lin(self, name, x): return linear(x, self.s[f"{name}.weight"], self.s[f"{name}.bias"])
    def attention(self, name, query, source):                          # one head
        w, b = self.s[f"{name}.in_proj_weight"], self.s[f"{name}.in_proj_bias"]
        d = len(query[0])
        part = lambda x, i: linear(x, w[i*d:(i + 1)*d], b[i*d:(i + 1)*d])
        q, k, v = [part(x, 0) for x in query], [part(x, 1) for x in source], [part(x, 2) for x in source]
        out = []
        for qi in q:
            share = softmax([sum(a*b for a, b in zip(qi, kj))/np.sqrt(d) for kj in k])
            out.append(self.lin(f"{name}.out_proj", [sum(s*vj[c] for s, vj in zip(share, v)) for c in range(d)]))
        return out
    def layer(self, name, query, other, cross):
        own, across = self.attention(f"{name}.self_attn", query, query), self.attention(f"{name}.cm_attn", query, other) if cross else None
        out = []
        for t, x in enumerate(query):
            h = norm(add(x, own[t], *([across[t]] if cross else [])), self.s[f"{name}.norm1.weight"], self.s[f"{name}.norm1.bias"])
            f = self.lin(f"{name}.linear2", [max(v, 0.) for v in self.lin(f"{name}.linear1", h)])
            out.append(norm(add(h, f), self.s[f"{name}.norm2.weight"], self.s[f"{name}.norm2.bias"]))
        return out
    def encode(self, prefix, a, v, cross):
        n = len({k.split(".")[2] for k in self.s if k.startswith(f"{prefix}.layers.")})
        for i in range(n): a, v = self.layer(f"{prefix}.layers.{i}", a, v, cross), self.layer(f"{prefix}.layers.{i}", v, a, cross)
        return a, v
    def project(self, audio, visual, motion):
        a = [elu(self.lin("fc_a.0", x)) for x in audio]
        each = [elu(self.lin("fc_v.0", x)) for x in visual]
        k = len(each)//len(audio)
        seconds = [[sum(f)/k for f in zip(*each[t*k:(t + 1)*k])] for t in range(len(audio))]
        return a, [elu(self.lin("fc_fusion.0", s + elu(self.lin("fc_st.0", g)))) for s, g in zip(seconds, motion)]

def slow_coleaf(state, audio, visual, motion, cross):
    net, (T, C) = Slow(state), (len(audio), len(state["fc_prob.bias"]))
    clamp = lambda x: max(-10., min(10., x))
    alpha = lambda x: np.exp(clamp(x)/.8) + 1
    a, v = net.project(audio, visual, motion)
    z = [net.lin("classifier2", add(leaky(net.lin("classifier1.0", x)), leaky(net.lin("classifier1.0", y)))) for x, y in zip(a, v)]
    video = [sum(1/(1 + np.exp(-z[t][c])) for t in range(T))/T for c in range(C)]
    u_g = C/sum(alpha(sum(z[t][c] for t in range(T))/T) for c in range(C))
    apart = net.encode("hat_encoder", a, v, False)
    if cross:
        across = net.encode("hat_encoder", a, v, True)
        mix = lambda x, y: [[.8*p + .2*q for p, q in zip(r, s)] for r, s in zip(x, y)]
        a, v = mix(across[0], apart[0]), mix(across[1], apart[1])
    else: a, v = apart
    segments, clips, doubt = [], [], []
    for stream, path in ((a, "v2a.0"), (v, "a2v.0")):
        r, s, w = [], [], []
        for t in range(T):
            r.append(net.lin("fc_prob", stream[t]))
            s.append(net.lin("fc_prob_beta", add(stream[t], leaky(net.lin(path, add(a[t], v[t]))))))
            w.append(net.lin("fc_frame_att", stream[t]))
        segments.append([[alpha(r[t][c])/(alpha(r[t][c]) + alpha(s[t][c])) for c in range(C)] for t in range(T)])
        clip, unsure = [], []
        for c in range(C):
            presence, absence = softmax([w[t][2*c] for t in range(T)]), softmax([w[t][2*c + 1] for t in range(T)])
            R, S = sum(p*r[t][c] for t, p in enumerate(presence)), sum(p*s[t][c] for t, p in enumerate(absence))
            clip.append(alpha(R)/(alpha(R) + alpha(S))), unsure.append(2/(alpha(R) + alpha(S)))
        clips.append(clip), doubt.append(unsure)
    return dict(video_prob=video, audio_prob=clips[0], visual_prob=clips[1], segment_prob=np.array(segments).transpose(1, 0, 2),
                clip_uncertainty=u_g, audio_uncertainty=doubt[0], visual_uncertainty=doubt[1])

def slow_nrep(state, audio, visual, motion):
    net, (T, C) = Slow(state), (len(audio), len(state["fc_sl_fore.0.bias"]))
    clamp = lambda x: max(-10., min(10., x))
    p = lambda x0, x1: np.exp(clamp(x0))/(np.exp(clamp(x0)) + np.exp(clamp(x1)) + 2)
    a, v = net.project(audio, visual, motion)
    (a_i, v_i), (a_x, v_x) = net.encode("inter_encoder", a, v, False), net.encode("inter_encoder", a, v, True)
    mix = lambda x, y: [[.8*p + .2*q for p, q in zip(r, s)] for r, s in zip(x, y)]
    a_f, v_f = mix(a_i, a_x), mix(v_i, v_x)
    segments, clips = [], []
    for across, other in ((a_x, v_i), (v_x, a_i)):                       # absence is read from the other stream
        r, s, w = ([net.lin(n, x) for x in stream] for n, stream in (("fc_sl_fore.0", across), ("fc_sl_back.0", other), ("fc_frame_att", across)))
        segments.append([[p(r[t][c], s[t][c]) for c in range(C)] for t in range(T)])
        pool = lambda x, c, k: sum(q*x[t][c] for t, q in enumerate(softmax([w[t][2*c + k] for t in range(T)])))
        clips.append([p(pool(r, c, 0), pool(s, c, 1)) for c in range(C)])
    joint = [add(leaky(net.lin("fc_a_sl.0", x)), leaky(net.lin("fc_v_sl.0", y))) for x, y in zip(a_f, v_f)]
    y, w = [net.lin("fc_joint_sl.0", f) for f in joint], [net.lin("fc_temporal_att", f) for f in joint]
    whole = lambda c, k: sum(q*y[t][2*c + k] for t, q in enumerate(softmax([w[t][2*c + k] for t in range(T)])))
    return dict(video_prob=[p(whole(c, 0), whole(c, 1)) for c in range(C)], audio_prob=clips[0], visual_prob=clips[1],
                segment_prob=np.array(segments).transpose(1, 0, 2), features=np.array([a_f, v_f]).transpose(1, 0, 2))

def one_clip(frames):
    g = np.random.default_rng(3)
    return [g.normal(size=s).astype(np.float32) for s in ((4, 3), (4*frames, 5), (4, 2))]

def plain_state(model):
    "Under the released names, from a normal distribution."
    torch.manual_seed(1)
    state = {k: torch.randn_like(v)*.5 for k, v in model.state_dict().items()}
    for a, b in ((".self_attention.", ".self_attn."), (".cross_attention.", ".cm_attn."), (".in_proj.", ".in_proj_")):
        state = {k.replace(a, b): v for k, v in state.items()}
    return state

@pytest.mark.parametrize("cross", [True, False])
@pytest.mark.parametrize("name", ["coleaf", "cmpae"])
def test_coleaf_and_cmpae_answer_as_a_slow_reading_of_their_specification(name, cross):
    state = plain_state(make_model(name, n_events=3, d_audio=3, d_visual=5, d_motion=2, d_model=6, d_ff=7, n_layers=2))
    net, x = models.from_published(state, network=name), one_clip(8)
    with torch.no_grad(): out = net(*(torch.from_numpy(f)[None] for f in x), cross_attention=cross)
    want = slow_coleaf(state, *(f.tolist() for f in x), cross)
    for k, v in want.items():
        got = getattr(out, k, None) if k.endswith("prob") else out.extra[k]
        assert np.allclose(got[0].numpy(), v, atol=1e-5), k

@pytest.mark.parametrize("frames", [1, 8])
def test_nrep_answers_as_a_slow_reading_of_its_specification(frames):
    state = plain_state(NREP(n_events=3, d_audio=3, d_visual=5, d_motion=2, d_model=6, d_ff=7))
    net, x = models.from_published(state, network="nrep"), one_clip(frames)
    with torch.no_grad(): out = net(*(torch.from_numpy(f)[None] for f in x))
    for k, v in slow_nrep(state, *(f.tolist() for f in x)).items(): assert np.allclose(getattr(out, k)[0].numpy(), v, atol=1e-5), k

def test_the_references_of_coleaf_answer_as_a_slow_reading_of_their_specification():
    config = CMPAEConfig(n_events=3, d_audio=3, d_visual=5, d_motion=2, d_model=6, d_ff=7)
    x = one_clip(8)
    for stream in ("audio", "visual"):
        net = Reference(stream, config).eval()
        state = plain_state(net)
        renamed = {k: state[k.replace(".self_attention.", ".self_attn.").replace(".cross_attention.", ".cm_attn.").replace(".in_proj.", ".in_proj_")]
                   for k in net.state_dict()}
        net.load_state_dict(renamed)
        slow, (audio, visual, motion) = Slow(state), [f.tolist() for f in x]
        if stream == "audio": seconds = [slow.lin("fc_a", f) for f in audio]
        else:
            each = [slow.lin("fc_v", f) for f in visual]
            seconds = [slow.lin("fc_fusion", [sum(f)/8 for f in zip(*each[8*t:8*t + 8])] + slow.lin("fc_st", motion[t])) for t in range(4)]
        y = slow.layer("hat_encoder.layers.0", state[f"cls_tokens_{stream[0]}"][0].double().tolist() + seconds, None, False)
        tokens = [1/(1 + np.exp(-sum(f)/len(f))) for f in y[:3]]
        prob = [[1/(1 + np.exp(-z)) for z in slow.lin("fc_prob", f)] for f in y[3:]]
        w = [slow.lin("fc_frame_att", f) for f in y[3:]]
        clip = [sum(q*prob[t][c] for t, q in enumerate(softmax([w[t][c] for t in range(4)]))) for c in range(3)]
        unit = [np.array(f)/np.linalg.norm(f) for f in y[3:]]
        with torch.no_grad(): got = net(*(torch.from_numpy(f)[None] for f in x))
        for g, want in zip(got, (clip, tokens, unit)): assert np.allclose(g[0].numpy(), want, atol=1e-5), stream

# -- weights

@pytest.mark.parametrize("name", ["mgn", "cmpae", "nrep", "mm-cse"])
def test_odd_files_of_weights_are_told_in_one_sentence(tmp_path, name):
    from safetensors.torch import save_file
    from test_zoo import released
    torch.manual_seed(0)
    state = released(name, make_model(name, **SMALL[name]))
    layout, more = name.replace("-", "_"), dict(n_heads=2) if name in ("mgn", "mm-cse") else {}
    first = next(iter(state))
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path/"w.safetensors")
    torch.save(dict(model={f"module.{k}": v.double() for k, v in state.items()}, optimizer=dict(state={}), epochs=3, torch_rng=torch.get_rng_state(),
                    numpy=np.random.get_state()), tmp_path/"nested.pt")
    for source in (tmp_path/"w.safetensors", tmp_path/"nested.pt"):
        for network in (None, layout): assert type(models.from_published(source, network=network, **more)) is type(make_model(name, **SMALL[name]))
    odd = {"missing": {k: v for k, v in state.items() if k != first}, "extra": state | {"more.weight": torch.ones(2)}, "empty": {}, "words": {1: torch.ones(1)},
           "shape": state | {first: state[first].reshape(-1)[:1]}, "axis": state | {first: state[first][None]}, "number": state | {first: torch.zeros(())},
           "NaN": state | {first: torch.full_like(state[first], torch.nan)}}
    for what, weights in odd.items():
        with pytest.raises(ParameterError) as e: models.from_published(weights, network=layout, **more)
        assert "\n" not in str(e.value) and len(str(e.value)) < 500, what

# -- by papermill, on a set in a folder of its own

def on_disk(folder):
    "A set of made-up clips with its `dataset.toml`: pictures unpooled, labels harvested."
    from valor_lab.datasets import save_labels
    name, parts = "toyfield", {}
    home = folder/"data"/name
    for split, data in zip(("train", "val", "test"), splits()):
        for m, x in data.features.items():
            (home/m).mkdir(parents=True, exist_ok=True)
            for c, f in zip(data.ids, x): np.save(home/m/f"{c}.npy", f.repeat(8, 0) if m == "visual" else f)
        events = [",".join(np.array(LLP.events)[y]) for y in data.weak.mask]
        (home/f"{split}.csv").write_text("filename\tevent_labels\n" + "".join(f"{c}\t{e}\n" for c, e in zip(data.ids, events)))
        data.truth.to_csv(home/f"{split}_audio.csv", home/f"{split}_visual.csv")
        parts[split] = data
    shape = lambda m, n: f'{m} = {{ folder = "{m}", shape = [{n}, 12] }}\n'
    (home/"dataset.toml").write_text('task = "avvp"\nn_segments = 10\nvocabulary = "llp"\n[splits]\n' + "".join(f'{s} = "{s}.csv"\n' for s in parts)
        + "[truth]\n" + "".join(f'{s} = {{ audio = "{s}_audio.csv", visual = "{s}_visual.csv" }}\n' for s in ("val", "test"))
        + "[features]\n" + shape("audio", 10) + shape("visual", 80) + shape("motion", 10))
    (folder/"valor.toml").write_text("")
    save_labels(parts["train"].labels, f"{name}-harvested", folder/"data")
    return name

def test_the_command_trains_every_network_by_papermill_on_a_set_of_its_own(tmp_path, monkeypatch, capsys):
    pytest.importorskip("papermill")
    from valor_lab.cli import main
    from valor_lab.training import open_run
    name, all_of_them = on_disk(tmp_path), "mm-pyramid,mgn,mm-cse,cmpae,coleaf,nrep-classic,lsld-classic"
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path)), monkeypatch.chdir(tmp_path)
    assert main(["train", name, "--preset", all_of_them, "--epochs", "1", "--device", "cpu", "--overrides", "d_model = 16"]) == 0, capsys.readouterr()
    runs = [open_run(p) for p in (tmp_path/"runs").iterdir()]
    assert {r.config.preset for r in runs} == {*all_of_them.split(",")} and all("segment/type" in r.scores["test"] for r in runs)
    assert {r.config.features for r in runs if r.config.preset in ("cmpae", "coleaf", "nrep-classic")} == {"own-frames"}
    assert main(["train", name, "--preset", "leap", "--epochs", "1", "--device", "cpu"]) != 0            # nobody harvested it: no words
