"""HAN: sizes, agreement with the released network, pooling, protocols, files, and what is refused."""
import pickle, sys, warnings
from dataclasses import asdict

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.nn import functional as F

from released import SIZES, Released, raw_batch
from valor_lab import models
from valor_lab.models import (HAN, PUBLISHED, Gates, HANOutput, count_parameters, forward_all, frame_matrix, load_model,
                              make_model, parse, pool_clap_tokens, pool_frames, read_state_dict, save_model, tune_gates)
from valor_lab.core import ParameterError
from valor_lab.methods import Supervision

SMALL = dict(d_audio=6, d_visual=9, d_motion=4, d_model=16, d_ff=24, n_heads=4, n_events=3)


def pooled(name, raw): return [pool_clap_tokens(raw[0]), raw[1], raw[2]] if name == "valor++" else [raw[0], pool_frames(raw[1]), raw[2]]


def small_clips(n=3, t=5, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(n, t, d, generator=g) for d in (6, 9, 4)]


@pytest.mark.parametrize("name,count", [("valor", 5_096_523), ("valor+", 5_052_235), ("valor++", 4_888_395)])
def test_published_sizes(name, count): assert count_parameters(HAN(**asdict(PUBLISHED[name]))) == count


@pytest.mark.parametrize("name", SIZES)
def test_released_weights_give_the_released_outputs_on_raw_inputs(name, tmp_path):
    torch.manual_seed(1)
    theirs = Released(**SIZES[name]).eval()
    torch.save(theirs.state_dict(), tmp_path/"checkpoint_best.pt")
    ours, raw = HAN.from_published(tmp_path/"checkpoint_best.pt"), raw_batch(name, 4)
    assert ours.config == PUBLISHED[name] and not ours.training
    with torch.no_grad(): got, want = ours(*pooled(name, raw)), theirs(*raw)
    for mine, his in zip(got, want): torch.testing.assert_close(mine, his, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["valor", "valor++"])
def test_loss_curves_of_twenty_steps_agree_between_pooled_and_raw(name):
    torch.manual_seed(2)
    theirs = Released(**SIZES[name], dropout=0.)
    ours = HAN(**{**asdict(PUBLISHED[name]), "dropout": 0.})
    ours.load_state_dict(HAN.from_published(theirs.state_dict()).state_dict())
    raw, g = raw_batch(name, 4), torch.Generator().manual_seed(3)
    y = (torch.rand(4, 25, generator=g) < .1).float()
    batch = dict(weak=y, **{f"labels_{m}": y[:, None]*(torch.rand(4, 10, 25, generator=g) < .5) for m in ("audio", "visual")})

    def curve(model, inputs):
        optimiser, losses = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(.5, .999), weight_decay=1e-3), []
        for _ in range(20):
            loss = sum(Supervision().loss(model, batch, HANOutput(*model(*inputs)[:4])).values())
            optimiser.zero_grad(); loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
            optimiser.step()
            losses.append(loss.item())
        return torch.tensor(losses)

    a, b = curve(ours.train(), pooled(name, raw)), curve(theirs.train(), raw)
    assert a[-1] < a[0]/1.5
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_pooling_is_a_constant_matrix_with_rows_that_sum_to_one():
    for m in (frame_matrix(), models.clap_matrix()): torch.testing.assert_close(m.sum(1), torch.ones(10, dtype=torch.float64))
    assert models.clap_matrix().shape == (10, 64)
    x = np.random.default_rng(0).normal(size=(2, 80, 3)).astype(np.float16)
    got = pool_frames(x)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, x.astype(np.float32).reshape(2, 10, 8, 3).mean(2), atol=1e-6)
    np.testing.assert_array_equal(pool_frames(np.eye(10)), np.eye(10, dtype=np.float32))


def test_clap_pooling_equals_the_published_resize_for_arrays_and_tensors():
    x = torch.randn(2, 64, 5)
    wide = F.interpolate(x.mT.reshape(2, 5, 2, 32), size=(2, 1024), mode="bicubic", align_corners=False).mean(2)
    want = torch.stack([wide[..., int(102.4*i):-(-1024*(i+1)//10)].mean(-1) for i in range(10)], 1)      # bins [floor, ceil)
    torch.testing.assert_close(pool_clap_tokens(x), want, atol=1e-6, rtol=0)
    np.testing.assert_allclose(pool_clap_tokens(x.numpy()), want, atol=1e-6)
    assert pool_clap_tokens(x.half()).dtype == torch.float16


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("visual_attends", ["updated_audio", "original_audio"])
def test_attention_to_updated_or_original_audio_and_both_norms(norm, visual_attends):
    "One layer written out by hand."
    model = HAN(**SMALL, norm=norm, visual_attends=visual_attends).eval()
    a, v, m = small_clips()
    layer = model.layers[0]

    def by_hand(q, o):
        n = layer.norm1 if norm == "pre" else lambda x: x
        h = q + layer.self_attention(n(q), n(q)) + layer.cross_attention(n(q), o)
        if norm == "pre": return h + layer.linear2(layer.linear1(layer.norm2(h)).relu())
        h = layer.norm1(h)
        return layer.norm2(h + layer.linear2(layer.linear1(h).relu()))

    qa, qv = model.audio_in(a), model.fusion(torch.cat([model.visual_in(v), model.motion_in(m)], -1))
    xa = by_hand(qa, qv)
    xv = by_hand(qv, xa if visual_attends == "updated_audio" else qa)
    if norm == "pre": xa, xv = model.final_norm_audio(xa), model.final_norm_visual(xv)
    out = model(a, v, m)
    torch.testing.assert_close(out.features, torch.stack([xa, xv], 2))
    torch.testing.assert_close(out.inputs, torch.stack([qa, qv], 2))
    assert all(p.requires_grad for p in model.final_norm_audio.parameters()) == (norm == "pre")


def test_every_trained_weight_gets_a_gradient():
    model = HAN(**SMALL)
    model(*small_clips()).video_prob.sum().backward()
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_cross_attention_off_separates_the_streams_by_option_and_by_call():
    a, v, m = small_clips()
    model = HAN(**SMALL, n_layers=2).eval()
    off = HAN(**SMALL, n_layers=2, cross_attention=False).eval()
    off.load_state_dict(model.state_dict())
    one, other = model(a, v, m, cross_attention=False), model(a, v.flip(0), m, cross_attention=False)
    assert torch.equal(one.audio_prob, other.audio_prob) and torch.equal(one.visual_prob, off(a, v, m).visual_prob)
    assert not torch.allclose(model(a, v, m).audio_prob, one.audio_prob)
    assert torch.equal(off(a, v, m, cross_attention=True).audio_prob, model(a, v, m).audio_prob)


def test_head_dropout_touches_only_its_modality_and_only_in_training():
    torch.manual_seed(0)
    model, clips = HAN(**SMALL, dropout=0., visual_head_dropout=.5), small_clips()
    one, two, still = model(*clips), model(*clips), model.eval()(*clips)
    assert torch.equal(one.segment_logits[:, :, 0], two.segment_logits[:, :, 0]) and not torch.equal(one.segment_logits[:, :, 1], two.segment_logits[:, :, 1])
    assert torch.equal(one.features, still.features)


def test_two_streams_of_any_length_without_motion():
    model = HAN(d_audio=8, d_visual=8, d_motion=0, d_model=16, n_heads=2, d_ff=16, n_events=20).eval()
    out = model(torch.randn(2, 37, 8), torch.randn(2, 37, 8))
    assert out.segment_logits.shape == (2, 37, 2, 20)
    with pytest.raises(ParameterError, match="d_motion=0"): model(torch.randn(2, 3, 8), torch.randn(2, 3, 8), torch.randn(2, 3, 8))


def test_pooling_over_time_and_modality_by_float64_numpy():
    out = HAN(**SMALL).eval()(*small_clips())
    p = 1/(1+np.exp(-out.segment_logits.detach().double().numpy()))
    alpha, beta = (x.detach().double().numpy() for x in (out.time_attention, out.modality_attention))
    np.testing.assert_allclose(out.video_prob.detach(), np.einsum("btmc,btmc,btmc->bc", alpha, beta, p), atol=1e-6)
    np.testing.assert_allclose(out.audio_prob.detach(), np.einsum("btc,btc->bc", alpha[:, :, 0], p[:, :, 0]), atol=1e-6)


def test_the_video_probability_is_not_clamped():
    model = HAN(**SMALL).eval()
    with torch.no_grad():
        for lin in (model.heads.event, model.heads.time, model.heads.modality): lin.weight.zero_(), lin.bias.zero_()
        model.heads.event.bias.fill_(9.)
        model.heads.modality.weight.normal_(std=50), model.heads.time.weight.normal_(std=50)
    assert model(*small_clips(64)).video_prob.max() > 1.05


def bad(i, change):
    clips = small_clips()
    clips[i] = change(clips[i])
    return clips


@pytest.mark.parametrize("clips,found", [
    (bad(1, lambda x: x.repeat(1, 8, 1)), r"visual features of shape \[3, 40, 9\]: expected \[3, 5, 9\]"),
    (bad(0, lambda x: x[..., :5]), r"audio features of shape \[3, 5, 5\]: expected \[3, 5, 6\]"),
    (bad(0, lambda x: x[0]), r"expected \[B,T,D\]"),
    (bad(2, lambda x: x[:2]), "motion features of shape"),
    (bad(2, lambda x: None), "motion features missing"),
    (bad(0, lambda x: x.index_fill(1, torch.tensor(2), float("nan"))), "18 values that are NaN"),
    (bad(1, lambda x: x/0), "infinite"),
])
def test_wrong_features_are_refused(clips, found):
    with pytest.raises(ParameterError, match=found): HAN(**SMALL).eval()(*clips)


def test_finite_check_can_be_asked_for_while_training():
    model, clips = HAN(**SMALL).train(), bad(0, lambda x: x*float("inf"))
    with pytest.raises(ParameterError, match="infinite"): models.check_features(model, *clips, finite=True)


@pytest.mark.parametrize("options", [dict(layers=4), dict(d_model=30), dict(n_layers=0), dict(norm="x"), dict(dropout=1.), dict(visual_attends="audio"), dict(d_ff=2.5), dict(d_motion=-1)])
def test_unknown_options_and_impossible_values_are_refused(options):
    with pytest.raises(ParameterError): HAN(**options)
    with pytest.raises(TypeError): HAN(25)


def test_files_with_code_in_them_are_not_opened(tmp_path):
    class Evil:
        def __reduce__(self): return (open, (str(tmp_path/"opened"), "w"))
    torch.save({"fc_a.weight": Evil()}, tmp_path/"a.pt")
    (tmp_path/"b.pt").write_bytes(pickle.dumps(Evil(), 2))
    (tmp_path/"c.pt").write_bytes(b"")
    (tmp_path/"d.safetensors").write_bytes(b"nonsense")
    for name in ("a.pt", "b.pt", "c.pt", "d.safetensors", "none.pt"):
        with pytest.raises(ParameterError, match=name): read_state_dict(tmp_path/name)
    assert not (tmp_path/"opened").exists()


def test_published_state_dicts_that_do_not_fit_are_refused():
    state = Released(d=32, ff=48).state_dict()
    for broken, found in [({k: v for k, v in state.items() if k != "fc_fusion.bias"}, "fusion.bias missing"), ({**state, "more": torch.zeros(1)}, "more unknown"),
                          ({**state, "fc_prob.bias": torch.zeros(3)}, r"heads.event.bias \[3\], expected \[25\]"), ({"x": torch.zeros(1)}, "not a released")]:
        with pytest.raises(ParameterError, match=found): HAN.from_published(broken)


def test_saved_models_come_back_with_their_configuration(tmp_path):
    model, clips = HAN(**SMALL, norm="pre", n_layers=2).eval(), small_clips()
    save_model(model, tmp_path/"m.safetensors")
    again = load_model(tmp_path/"m.safetensors")
    assert again.config == model.config and torch.equal(again(*clips).segment_logits, model(*clips).segment_logits)
    from safetensors.torch import save_file
    save_file({"x": torch.zeros(1)}, tmp_path/"bare.safetensors")
    with pytest.raises(ParameterError, match="without a configuration"): load_model(tmp_path/"bare.safetensors")
    with pytest.raises(ParameterError, match="not among the backbones"): save_model(torch.nn.Linear(1, 1), tmp_path/"n.safetensors")


def test_forward_all_equals_one_pass_and_restores_the_mode():
    model, clips = HAN(**SMALL).train(), small_clips(7)
    got = forward_all(model, *clips, batch_size=3, keep=models.HANOutput._fields)
    assert model.training
    for a, b in zip(got, model.eval()(*clips)): torch.testing.assert_close(a, b)
    half = forward_all(model, *(x.half() for x in clips), keep=("video_prob",))
    assert half.features is None and half.video_prob.shape == (7, 3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_and_mixed_precision_networks_agree():
    torch.manual_seed(0)
    model, clips = HAN(**SMALL, n_layers=2).eval(), small_clips()
    with torch.no_grad():
        eager = model(*clips)
        with torch.autocast("cpu", torch.bfloat16): half = model(*clips)
        traced = torch.compile(model, backend="eager", fullgraph=True)(*clips)
    assert all(x.dtype == torch.float32 for x in half if x is not None)
    torch.testing.assert_close(half.audio_prob, eager.audio_prob, atol=.02, rtol=0)
    torch.testing.assert_close(traced.video_prob, eager.video_prob)


def output(video, audio, visual, segments):
    return HANOutput(*(torch.tensor([x]) for x in (video, audio, visual)), torch.logit(torch.tensor([segments])))


def test_the_four_protocols_on_a_clip_by_hand():
    #        event 0: gate by video only; event 1: by modalities only
    out = output([.5, .4], [.4, .5], [.49, .9], [[[.5, .5], [.9, .9]], [[.4, .6], [.6, .4]]])     # two segments
    read = lambda *a, **k: tuple(x[0].int().tolist() for x in parse(out, *a, **k))
    assert read() == ([[1, 0], [0, 0]], [[1, 0], [1, 0]])
    assert read("per_modality") == ([[0, 1], [0, 1]], [[0, 1], [0, 0]])
    assert read("ungated") == ([[1, 1], [0, 1]], [[1, 1], [1, 0]])
    assert read("per_event", gates=Gates(np.array([.4, .6]), np.array([.5, .1]))) == ([[1, 0], [0, 0]], [[0, 1], [0, 0]])
    assert read("ungated", threshold=.7) == ([[0, 0], [0, 0]], [[1, 1], [0, 0]])


def test_protocols_refuse_gates_they_do_not_use_and_unknown_names():
    out = output([.5], [.5], [.5], [[[.5], [.5]]])
    for call in (lambda: parse(out, "avpv"), lambda: parse(out, "per_event"), lambda: parse(out, "avvp", gates=Gates(np.ones(1), np.ones(1)))):
        with pytest.raises(ParameterError): call()


@pytest.mark.parametrize("seed", range(5))
def test_tuned_gates_are_those_of_the_released_search(seed):
    """CMPAE, section 5: one event after the other, all others at .45, ten values, the benchmark's event-level score of the pictures, ties to the largest."""
    from valor_lab.labels import SegmentLabels
    from valor_lab.metrics import avvp_scores
    from valor_lab.vocab import LLP, Vocab
    rng = np.random.default_rng(seed)
    n, t, c = 24, 10, 6
    vocab = Vocab("six", *(getattr(LLP, f)[:c] for f in ("events", "clip_captions", "clap_captions", "clip_thresholds", "clap_thresholds")))
    true = np.zeros((2, n, t, c), bool)
    for _ in range(3*n):                                                       # stretches, of which the network finds most and some too long
        m, i, e, k, long = rng.integers(2), rng.integers(n), rng.integers(c), rng.integers(t), rng.integers(1, 8)
        true[m, i, k:k + long, e] = True
    prob = torch.tensor(np.where(np.moveaxis(true, 0, 2) ^ (rng.random((n, t, 2, c)) < .08), .6, .1), dtype=torch.float32)
    out = HANOutput(*(torch.tensor(rng.uniform(.1, .9, (n, c)), dtype=torch.float32) for _ in range(3)), prob.logit())
    truth = SegmentLabels([f"c{i}" for i in range(n)], *true, vocab)
    truth.visual[:5] = False
    score = lambda gates: avvp_scores(SegmentLabels(truth.ids, *(x.numpy() for x in parse(out, "per_event", gates=gates)), vocab), truth)["event/visual"]
    want = []
    for k in range(c):
        best, kept = -1, None
        for g in np.arange(.25, .701, .05):
            visual = np.full(c, .45); visual[k] = g
            if (f := round(score(Gates(np.full(c, .45), visual, .25)), 9)) >= best: best, kept = f, g
        want.append(kept)
    gates = tune_gates(out, truth)
    assert np.allclose(gates.visual, want) and (gates.audio == .45).all() and gates.segments == .25


def test_runs_of_events_are_counted_as_the_benchmark_counts_them():
    from valor_lab.models import event_runs
    said, true = np.zeros((2, 1, 10, 3), bool)
    true[0, 0:2, 0] = true[0, 4:10, 0] = said[0, 1:2, 0] = said[0, 3:7, 0] = True                    # half of two; three of seven
    said[0, 9, 1] = True
    assert [x.astype(int).tolist() for x in event_runs(said, true)] == [[[1, 0, 0]], [[2, 1, 0]], [[2, 0, 0]]]


def test_backbones_are_named_and_listed():
    assert "han" in models.backbones().index and isinstance(make_model("han", **SMALL), HAN)
    with pytest.raises(ParameterError, match="'han'"): make_model("resnet")


@pytest.mark.parametrize("name", ["ppl", "ave"])
def test_other_backbones_take_the_same_inputs_and_return_the_same_shapes(name, tmp_path):
    sizes = dict(d_audio=6, d_visual=9, d_motion=4, d_model=16, n_events=3)
    model, clips = make_model(name, **sizes).eval(), small_clips()
    out, want = model(*clips), HAN(**SMALL).eval()(*clips)
    assert [None if x is None else x.shape for x in out] == [None if x is None else x.shape for x in want]
    a, v, m = clips
    assert torch.equal(model(a, v, m, cross_attention=False).audio_prob, model(a, v.flip(0), m, cross_attention=False).audio_prob)
    assert not torch.equal(out.audio_prob, model(a, v.flip(0), m).audio_prob)
    save_model(model, tmp_path/"m.safetensors")
    assert torch.equal(load_model(tmp_path/"m.safetensors")(*clips).video_prob, out.video_prob)
    out.video_prob.sum().backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None]
    assert make_model(name, **{**sizes, "d_motion": 0})(a, v).video_prob.shape == (3, 3)
    with pytest.raises(ParameterError, match="has no option"): make_model(name, n_heads=2)


def test_the_ppl_network_weighs_modalities_per_clip_by_hand():
    model, (a, v, m) = make_model("ppl", d_audio=6, d_visual=9, d_motion=4, d_model=16, n_events=3).eval(), small_clips()
    fa, fv = model.audio_in(a), model.visual_in(torch.cat([v, m], -1))
    att = lambda q, k: torch.softmax(q @ k.mT/16, -1) @ k
    x = torch.stack([fa + att(fa, fa) + att(fa, fv), fv + att(fv, fv) + att(fv, fa)], 2)
    out = model(a, v, m)
    torch.testing.assert_close(out.features, x)
    w = out.modality_attention[:, 0]
    torch.testing.assert_close(out.video_prob, w[:, 0]*out.audio_prob + w[:, 1]*out.visual_prob)
    assert out.video_prob.max() <= 1


@pytest.mark.parametrize("name,options", [("han", dict(SMALL, n_layers=2)), ("han", dict(SMALL, norm="pre", visual_attends="original_audio")), ("ppl", {k: v for k, v in SMALL.items() if k not in ("d_ff", "n_heads")})])
def test_a_padded_clip_gets_the_answer_that_it_gets_alone(name, options):
    torch.manual_seed(0)
    model, clips, lengths = make_model(name, **options).eval(), small_clips(3, 9), torch.tensor([4, 9, 1])
    mask = torch.arange(9)[None] < lengths[:, None]
    noisy = [torch.where(mask[..., None], x, torch.randn_like(x)*50) for x in clips]      # whatever stands at padding
    out = model(*noisy, mask=mask)
    for i, n in enumerate(lengths.tolist()):
        alone = model(*(x[i:i+1, :n] for x in clips))
        for field in [f for f in HANOutput._fields if getattr(out, f) is not None]:
            got, want = getattr(out, field)[i:i+1], getattr(alone, field)
            torch.testing.assert_close(got if field.endswith("_prob") else got[:, :n], want, rtol=1e-5, atol=1e-5)
    assert (out.time_attention[~mask] == 0).all()
    torch.testing.assert_close(model(*clips, mask=torch.ones_like(mask)).video_prob, model(*clips).video_prob)
    together = forward_all(model, *noisy, batch_size=2, mask=mask, keep=("video_prob", "features"))
    torch.testing.assert_close(together.video_prob, out.video_prob, rtol=1e-5, atol=1e-5)
    assert together.features.shape == out.features.shape


def test_a_video_of_many_snippets_is_a_row_like_any_other():
    model, clips = HAN(**SMALL).eval(), small_clips(1, 800)
    with torch.no_grad(): out = model(*clips)
    assert out.segment_logits.shape == (1, 800, 2, 3) and torch.isfinite(out.video_prob).all()
    torch.testing.assert_close(out.time_attention.sum(1), torch.ones(1, 2, 3), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_keys", (3, 10, 15, 16, 40))
def test_attention_of_few_and_of_many_segments_is_one_function(n_keys):
    torch.manual_seed(0)
    mask = torch.arange(n_keys) < torch.tensor([n_keys, 2])[:, None, None, None]
    for m in (None, mask):
        grads = []
        for f in (models.attend, F.scaled_dot_product_attention):
            q, k, v = (x.requires_grad_() for x in torch.randn(3, 2, 4, n_keys, 8, generator=torch.Generator().manual_seed(1)).unbind())
            out = f(q, k, v, m)
            grads.append((out, *torch.autograd.grad(out.square().sum(), (q, k, v))))
        for ours, theirs in zip(*grads): assert torch.allclose(ours, theirs, atol=1e-5)


def test_attention_dropout_leaves_the_mean_as_it_is():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 10, 4)
    drawn = torch.stack([models.attend(q, k, v, dropout=.3) for _ in range(4000)])
    assert drawn.std(0).min() > 0 and torch.allclose(drawn.mean(0), models.attend(q, k, v), atol=.05)


def released_layout(name, d=32, ff=48):
    "State dicts with the names of the code of HAN, MA (three networks) and JoMoLD (bare, and as its file nests it)."
    import random
    base = {k.replace("final_norm_a", "norm1").replace("final_norm_v", "norm2"): v for k, v in Released(d=d, ff=ff, heads=1).state_dict().items()}
    if name.startswith("jomold"):
        states = dict(random=random.getstate(), numpy=np.random.get_state(), torch=torch.get_rng_state())
        return base if name == "jomold" else dict(model=base, optimizer=dict(state={}, param_groups=[dict(lr=5e-4)]), epochs=25, random_state=states)
    encoder = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(d, 1, ff), 1)
    idle = {f"{e}.{k}": v for e in ("audio_encoder", "visual_encoder", "cmt_encoder") for k, v in encoder.state_dict().items()}
    if name == "ma-3": idle |= {"t_att.w_qs.weight": torch.zeros(4, d), "t_att2.w_qs.weight": torch.zeros(4, d), "fc1.weight": torch.zeros(4, 2*d), "fc2.weight": torch.zeros(2, 4)}
    state = {**base, **idle}
    return {f"module.{k}": v for k, v in state.items()} if name == "han-parallel" else state


@pytest.mark.parametrize("name", ["han", "han-parallel", "ma-1", "ma-3", "jomold", "jomold-nested"])
def test_files_of_han_ma_and_jomold_open_with_the_outputs_of_their_code(name, tmp_path):
    torch.manual_seed(4)
    saved = released_layout(name)
    torch.save(saved, tmp_path/"theirs.pt")
    ours = HAN.from_published(tmp_path/"theirs.pt")
    state = {k.removeprefix("module."): v for k, v in (saved["model"] if "nested" in name else saved).items()}
    theirs = Released(d=32, ff=48, heads=1).eval()
    theirs.load_state_dict({k.replace("hat_encoder.norm1", "hat_encoder.final_norm_a").replace("hat_encoder.norm2", "hat_encoder.final_norm_v"): v
                            for k, v in state.items() if not k.startswith(("audio_encoder", "visual_encoder", "cmt_encoder", "t_att", "fc1", "fc2"))})
    layer = theirs.hat_encoder.layers[0]
    theirs.hat_encoder.forward = lambda a, v: (layer(a, v), layer(v, a))                     # both see the other as it came (HAN, section 3)
    audio, visual, motion = (torch.randn(3, 10, 128), torch.randn(3, 80, 2048), torch.randn(3, 10, 512))
    with torch.no_grad(): got, want = ours(audio, visual.unflatten(1, (10, 8)).mean(2), motion), theirs(audio, visual, motion)
    for mine, his in zip(got, want): torch.testing.assert_close(mine, his, atol=1e-5, rtol=0)
    assert ours.config.n_heads == 1 and ours.config.visual_head_dropout == (.5 if "jomold" in name else 0)
    assert HAN.from_published(tmp_path/"theirs.pt", visual_attends="updated_audio").config.visual_attends == "updated_audio"


def test_a_nested_file_with_more_than_numbers_in_it_is_refused(tmp_path):
    class Evil:
        def __reduce__(self): return (open, (str(tmp_path/"opened"), "w"))
    torch.save(dict(model=released_layout("jomold"), random_state=dict(numpy=np.array([Evil()], object))), tmp_path/"a.pt")
    with pytest.raises(ParameterError, match="a.pt"): read_state_dict(tmp_path/"a.pt")
    assert not (tmp_path/"opened").exists()


def test_with_norm_before_attention_the_other_stream_gives_keys_and_values_as_it_is():
    torch.manual_seed(5)
    layer, a, b = HAN(**SMALL, norm="pre").eval().layers[0], *torch.randn(2, 3, 10, SMALL["d_model"])
    q = layer.norm1(a)
    h = a + layer.self_attention(q, q) + layer.cross_attention(q, b)
    torch.testing.assert_close(layer(a, b), h + layer.feed_forward(layer.norm2(h)))


def test_weights_that_are_not_finite_and_sizes_that_nobody_can_hold_are_refused(tmp_path):
    from valor_lab.core import ParameterError
    from valor_lab.models import load_model, make_model, save_model
    sizes = dict(n_events=4, d_audio=8, d_visual=8, d_motion=0, d_model=16, d_ff=16, n_heads=2)
    model = make_model("han", **sizes)
    next(model.parameters()).data[0] = float("nan")
    save_model(model, tmp_path/"m.safetensors")
    with pytest.raises(ParameterError, match="NaN or infinite"): load_model(tmp_path/"m.safetensors")
    with pytest.raises(ParameterError, match="weights, expected fewer"): make_model("han", **sizes | dict(d_model=10**6))
