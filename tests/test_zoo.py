"""The networks of the field: their sizes, the layouts in which their weights were released, what they refuse, and that they learn."""
import math, random
from dataclasses import asdict

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from layouts import LAYOUTS
from valor_lab import models
from valor_lab.core import ParameterError
from valor_lab.models import PAPERS, PUBLISHED, count_parameters, from_published, layout_of, make_model

SIZES = {"valor": asdict(PUBLISHED["valor"]), "han": asdict(PUBLISHED["han-2020"]),
         "lsld": dict(n_heads=1, d_model=512, d_ff=512, n_layers=4, d_audio=512, d_visual=512, d_motion=0)}

@pytest.mark.parametrize("paper", PAPERS, ids=lambda p: p.layout or p.backbone)
def test_a_network_has_as_many_parameters_as_its_paper_says(paper):
    assert count_parameters(make_model(paper.backbone, **SIZES.get(paper.layout, {}))) == paper.parameters

D = dict(d_audio=5, d_visual=6, d_motion=4)
SMALL = {
    "mm-pyramid": dict(d_model=16, d_ff=16, n_heads=2, **D), "mgn": dict(d_model=16, n_heads=2, **D),
    "leap": dict(d_model=16, d_ff=16, n_heads=2, d_label=7, **D), "mm-cse": dict(d_model=16, d_class=8, n_heads=2, d_ff=8, **D),
    "cmpae": dict(d_model=16, d_ff=16, **D), "coleaf": dict(d_model=16, d_ff=16, **D), "nrep": dict(d_model=16, d_ff=16, **D),
    "psp": dict(d_visual=6), "cmran": dict(d_visual=6, d_model=16, d_ff=16), "cmbs": dict(d_visual=6, d_model=16),
    "em-mil-conv": dict(d_rgb=5, d_flow=5, d_model=16)}
BACK = [(".self_attention.", ".self_attn."), (".cross_attention.", ".cm_attn."), (".in_proj.", ".in_proj_")]

def released(name, model):
    "The state dict of `model` under the names that its authors gave it."
    state = dict(model.state_dict())
    if name in ("mm-pyramid", "leap"):
        heads = {"heads.event.": "fc_prob.", "heads.time.": "fc_frame_att.", "heads.modality.": "fc_av_att."}
        state = {next((k.replace(a, b) for a, b in heads.items() if k.startswith(a)), k): v for k, v in state.items()
                 if k != "label_embeddings"}
        state |= {k.replace(".conv1.", ".net.0.").replace(".conv2.", ".net.2."): v for k, v in state.items() if ".conv" in k}
    if name in ("cmpae", "coleaf", "nrep"):
        for ours, theirs in BACK: state = {k.replace(ours, theirs): v for k, v in state.items()}
    return state

KEYS = {"mm-pyramid": 394, "mgn": 322, "leap": 480, "mm-cse": 434, "cmpae": 46, "coleaf": 48, "nrep": 42, "cmran": 174, "em-mil-conv": 16}

@pytest.mark.parametrize("name", KEYS)
def test_the_released_layout_has_as_many_keys_as_its_file(name): assert len(released(name, make_model(name))) == KEYS[name]

@pytest.mark.parametrize("kind", ["full", "weak"])
@pytest.mark.parametrize("name", list(SMALL))
def test_a_released_state_dict_loads_strictly_and_is_known_by_its_keys(name, kind):
    options = SMALL[name] | (dict(supervision=kind) if name in ("psp", "cmran", "cmbs") else {})
    if kind == "weak" and "supervision" not in options: return
    torch.manual_seed(0)
    extra = dict(label_embeddings=torch.randn(25, 7)) if name == "leap" else {}
    model = make_model(name, **options, **extra).eval()
    for p in model.parameters(): torch.nn.init.normal_(p)
    state = released(name, model)
    if name in ("mm-pyramid", "mgn", "leap", "mm-cse"): extra |= dict(n_heads=2)
    layout = next(p.layout for p in PAPERS if p.backbone == name)
    assert layout_of(state) == layout
    for network in (None, layout):
        again = from_published({f"module.{k}": v.double() for k, v in state.items()}, network=network, **extra)
        assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items() if k != "label_embeddings")
    with pytest.raises(ParameterError, match="missing|without|not of the released"):
        from_published(dict(list(state.items())[1:]), network=layout, **extra)

def inputs(name, b=3):
    torch.manual_seed(1)
    if name == "em-mil-conv": return [torch.randn(b, 10, 5), torch.randn(b, 10, 5)]
    if name in ("psp", "cmran", "cmbs"): return [torch.randn(b, 10, 128), torch.randn(b, 10, 7, 7, 6)]
    return [torch.randn(b, 10, 5), torch.randn(b, 80 if name in ("cmpae", "coleaf") else 10, 6), torch.randn(b, 10, 4)]

@pytest.mark.parametrize("name", list(SMALL))
def test_a_clip_is_answered_alike_alone_and_in_a_batch(name):
    extra = dict(label_embeddings=torch.randn(25, 7)) if name == "leap" else {}
    model, x = make_model(name, **SMALL[name], **extra).eval(), inputs(name)
    with torch.no_grad(): many, one = model(*x), model(*[f[1:2] for f in x])
    for field in many._fields:
        whole, alone = getattr(many, field), getattr(one, field)
        if isinstance(whole, torch.Tensor): assert torch.allclose(whole[1:2], alone, atol=1e-5), field

@pytest.mark.parametrize("name", [n for n in SMALL if n not in ("em-mil-conv", "psp", "cmran", "cmbs")])
def test_eight_clips_can_be_learnt_by_heart(name):
    torch.manual_seed(0)
    extra = dict(label_embeddings=torch.randn(25, 7)) if name == "leap" else {}
    model, x = make_model(name, **(SMALL[name] | dict(n_events=25)), **extra), inputs(name, 8)
    y = (torch.rand(8, 10, 2, 25) < .2).float()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 5e-3)
    losses = []
    for _ in range(250 if name == "mm-cse" else 80):
        out = model(*x)
        clamp = lambda p: p.clamp(1e-6, 1 - 1e-6)
        clip = lambda p, t: torch.nn.functional.binary_cross_entropy(clamp(p), t)
        loss = clip(out.audio_prob, y[:, :, 0].amax(1)) + clip(out.visual_prob, y[:, :, 1].amax(1))
        if name != "mgn": loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(out.segment_logits, y)
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < .75*sum(losses[:5]), losses[::10]

def test_an_unreadable_file_says_how_to_convert_it(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path/"whole.pt")
    with pytest.raises(ParameterError, match="state_dict"): from_published(tmp_path/"whole.pt")
    torch.save(dict(model_audio={"a": torch.ones(1)}), tmp_path/"pair.pt")
    with pytest.raises(ParameterError, match="model_audio"): from_published(tmp_path/"pair.pt")

def test_the_repeated_convolutions_of_mm_pyramid_must_agree():
    model = make_model("mm-pyramid", **SMALL["mm-pyramid"])
    state = released("mm-pyramid", model)
    state["MMP.capture.vnetwork.0.net.0.weight"] = state["MMP.capture.vnetwork.0.net.0.weight"] + 1
    with pytest.raises(ParameterError, match="should repeat"): from_published(state, n_heads=2)

TOGETHER = {"ppl": "", "mgn": "", "mm-pyramid": "", "mm-cse": "", "nrep": "", "cmpae": "not pooled", "coleaf": "not pooled", "leap": "asks with the names"}      # docs/choosing.md

@pytest.mark.parametrize("backbone", TOGETHER)
@pytest.mark.parametrize("name", ["han", "valor"])
def test_a_method_takes_any_network_or_is_refused_in_words(tmp_path, backbone, name):
    from test_train import toy_set
    from valor_lab.training import fit, override, preset
    from valor_lab.vocab import LLP
    sizes = {k: v for k, v in SMALL[backbone].items() if k not in D and k != "d_label"} if backbone in SMALL else dict(d_model=16)
    config = override(preset(name), dict(backbone=backbone, epochs=1, warmup=0, batch_size=4, network=sizes))
    data, val, test = (toy_set(8, seed=s, widths=(12, 12, 12), vocab=LLP) for s in (1, 2, 3))
    train = lambda: fit(config, data, tmp_path/"r", val, test, device="cpu", progress=False)
    if not (why := TOGETHER[backbone]):
        assert train().config.backbone == backbone
        return
    with pytest.raises(ParameterError, match=why): train()


def test_em_mil_is_four_convolutions_of_one_shape_written_out_second_by_second():
    torch.manual_seed(0)
    model = make_model("em-mil-conv", n_events=3, d_rgb=5, d_flow=4, d_model=7).double().eval()
    for p in model.parameters(): torch.nn.init.normal_(p)
    s, rgb, flow = model.state_dict(), torch.randn(2, 6, 5).double(), torch.randn(2, 6, 4).double()
    def branch(kind, stream, x):
        x, w, out = torch.nn.functional.pad(x, (0, 0, 1, 1)), s[f"{kind}_{stream}.0.weight"], []
        for t in range(6):
            h = sum(x[:, t + k] @ w[:, :, k].T for k in range(3)) + s[f"{kind}_{stream}.0.bias"]
            out.append((h.relu() @ s[f"{kind}_tail_{stream}.1.weight"].T + s[f"{kind}_tail_{stream}.1.bias"]).sigmoid())
        return torch.stack(out, 1)
    with torch.no_grad(): said = model(rgb, flow)
    assert torch.allclose(said.key_prob.double(), torch.cat([branch("key", "rgb", rgb), branch("key", "flow", flow)], -1), atol=1e-5)
    assert torch.allclose(said.segment_prob.double(), torch.stack([branch("cls", "rgb", rgb), branch("cls", "flow", flow)], 2), atol=1e-5)
    with pytest.raises(ParameterError, match="the same T"): model(rgb, flow[:, :5])


def test_em_mils_hand_example_of_keys_and_positives():
    from valor_lab.methods import shared_keys, shared_positives
    keys = torch.tensor([[[.2, .4], [.9, .7], [.4, .2]]])
    assert shared_keys(keys, .15).tolist() == [[0, 1, 0]] and not shared_keys(torch.full((1, 3, 2), .5), .15).any()
    p = torch.tensor([[[.1, .7], [.5, .1], [.6, .1]]])[:, :, None].expand(1, 3, 2, 2)
    assert shared_positives(p, torch.ones(1, 2)).tolist() == [[1, 1, 1]] and shared_positives(p, torch.tensor([[1., 0.]])).tolist() == [[0, 1, 1]]

# -- the layouts, written out from the specifications and not from our classes

@pytest.mark.parametrize("name", LAYOUTS)
def test_a_network_has_the_names_and_shapes_of_its_specification(name):
    layout, keys, parameters = LAYOUTS[name]
    repeated = [k for k in layout if ".net." in k]                                    # MM-Pyramid's convolutions stand there twice
    assert len(layout) == keys and sum(math.prod(s) for k, s in layout.items() if k not in repeated) == parameters
    network, kind = (name.split("-") + [""])[:2]
    state = {k: torch.empty(s, dtype=torch.float16).fill_(.01) for k, s in layout.items()}
    more = dict(label_embeddings=torch.ones(25, 300)) if network == "leap" else {}
    model = from_published(state, **more)
    assert count_parameters(model) == parameters and getattr(model.config, "supervision", kind) == kind
    assert all(p.dtype == torch.float32 for p in model.parameters())                  # kept in half precision, run in single

def wrapped(state):
    return {"DataParallel twice": {f"module.module.{k}": v for k, v in state.items()}, "compiled": {f"_orig_mod.{k}": v for k, v in state.items()},
            "a trainer's": dict(state_dict={f"model.{k}": v for k, v in state.items()}, epoch=3), "torch's tutorial": dict(model_state_dict=state, epoch=3),
            "parameters": {k: torch.nn.Parameter(v) for k, v in state.items()}, "half": {k: v.half() for k, v in state.items()}}

@pytest.mark.parametrize("name", ["cmpae", "mm-cse", "psp"])
def test_weights_that_were_saved_by_way_of_something_else_load_and_mixed_names_are_told(name):
    torch.manual_seed(0)
    model = make_model(name, **SMALL[name])
    state, more = {k: v.detach() for k, v in released(name, model).items()}, dict(n_heads=2) if name == "mm-cse" else {}
    for how, found in wrapped(state).items():
        again = from_published(found, **more).state_dict()
        assert all(torch.allclose(v, again[k], atol=1e-3) for k, v in model.state_dict().items()), how
    mixed = {k if i % 2 else f"module.{k}": v for i, (k, v) in enumerate(state.items())}
    with pytest.raises(ParameterError, match="missing|without"): from_published(mixed, network=name.replace("-", "_"), **more)
    with pytest.raises(ParameterError, match="more.weight unknown"): from_published(state | {"more.weight": torch.ones(2)}, **more)

KINDS = [(n, k) for n in SMALL for k in (("full", "weak") if n in ("psp", "cmran", "cmbs") else ("",))]

def made(name, kind, **more):
    words = dict(label_embeddings=torch.ones(25, 7)) if name == "leap" else {}
    return make_model(name, **SMALL[name] | more | (dict(supervision=kind) if kind else {}), **words).eval()

@pytest.mark.parametrize("name,kind", KINDS)
def test_odd_features_are_refused_in_words(name, kind):
    model, x = made(name, kind), inputs(name)
    for i in range(len(x)):
        for bad in (float("nan"), float("inf")):
            odd = [f.clone() for f in x]
            odd[i].view(-1)[3] = bad
            with pytest.raises(ParameterError, match="1 values that are NaN or infinite"): model(*odd)
        for odd in (x[i][..., :-1], x[i][:1], x[i][:, :-1], x[i][0]):
            with pytest.raises(ParameterError): model(*x[:i], odd, *x[i + 1:])
    if len(x) == 3:
        with pytest.raises(ParameterError, match="motion"): model(x[0], x[1], None)

@pytest.mark.parametrize("name,kind", KINDS)
def test_a_network_runs_on_other_lengths_in_half_precision_and_the_same_under_a_seed(name, kind):
    model, x = made(name, kind), inputs(name)
    fields = lambda out: [f for f in out if isinstance(f, torch.Tensor)]
    for t in (1, 7, 64):
        longer = [torch.cat([f]*7, 1)[:, :t*(f.shape[1]//10)] for f in x]
        if name == "mgn":
            with pytest.raises(ParameterError, match="built for 10 segments"): model(*longer)
        else: assert all(torch.isfinite(f).all() for f in fields(model(*longer)))
    model.train()
    torch.manual_seed(3)
    a = fields(model(*x))
    torch.manual_seed(3)
    assert all(torch.equal(f, g) for f, g in zip(a, fields(model(*x))))
    model.eval()
    assert all(torch.equal(f, g) for f, g in zip(fields(model(*x)), fields(model(*x))))
    assert all(torch.isfinite(f).all() for f in fields(model.half()(*[f.half() for f in x])))

@pytest.mark.parametrize("name,options,says", [
    ("mm-pyramid", dict(n_heads=3), "cannot be divided"), ("mgn", dict(n_heads=3), "cannot be divided"), ("leap", dict(d_model=7), "cannot be divided"),
    ("mm-cse", dict(n_heads=3), "d_class=8 cannot be divided"), ("cmran", dict(d_model=18), "4 heads"), ("cmbs", dict(d_model=18), "4 heads"),
    ("cmran", dict(interaction_heads=3), "3 heads"), ("mgn", dict(drop_path=1.), "drop_path"), ("psp", dict(dropout=1.5), "dropout"),
    *((n, dict(d_model=10**6 if n != "leap" else 2*10**5), "fewer than 300,000,000") for n in ("mm-pyramid", "leap", "cmpae", "nrep", "cmran", "cmbs", "em-mil-conv"))])
def test_options_of_which_no_network_can_be_built_are_refused_in_words(name, options, says):
    with pytest.raises(ParameterError, match=says): make_model(name, **SMALL[name] | options)

def test_what_is_no_weights_is_told_in_words(tmp_path):
    import argparse
    model = make_model("nrep", **SMALL["nrep"])
    state = released("nrep", model)
    for odd in (None, [1, 2], torch.ones(3)):
        with pytest.raises(ParameterError, match="expected the path of a file, or a dict of tensors"): from_published(odd)
    with pytest.raises(ParameterError, match="model_audio: expected a dict of tensors"): from_published(dict(model_audio=torch.ones(2), model_video=state))
    with pytest.raises(ParameterError, match="complex64"): from_published(state | {"fc_a.0.weight": state["fc_a.0.weight"].to(torch.complex64)})
    torch.save(dict(model=state, best=np.float64(.5), numpy=np.random.get_state(), python=random.getstate()), tmp_path/"beside.pt")
    assert count_parameters(from_published(tmp_path/"beside.pt")) == count_parameters(model)
    torch.save(dict(model=state, args=argparse.Namespace(lr=1)), tmp_path/"args.pt")
    with pytest.raises(ParameterError, match="it holds argparse.Namespace.*converted"): from_published(tmp_path/"args.pt")
    with pytest.raises(ParameterError, match="task"): models.list_models("avp")
    leap = make_model("leap", **SMALL["leap"])
    for odd, says in (("glove", "expected numbers"), (torch.full((25, 7), float("nan")), "NaN"), (torch.ones(25, 6), "shape")):
        with pytest.raises(ParameterError, match=says): leap.set_labels(odd)

@pytest.mark.parametrize("name", ["han", "ppl", "mm-pyramid", "mm-cse", "leap"])
def test_a_mask_that_cannot_be_meant_is_refused_in_words(name):
    "A clip without a segment had NaN for an answer."
    model = make_model(name, **SMALL.get(name, dict(d_audio=5, d_visual=6, d_motion=4, d_model=16))).eval()
    if hasattr(model, "set_labels"): model.set_labels(torch.randn(model.config.n_events, model.config.d_label))
    x = [torch.randn(2, 10, getattr(model.config, f"d_{m}")) for m in ("audio", "visual", "motion") if getattr(model.config, f"d_{m}")]
    mask = torch.ones(2, 10, dtype=torch.bool)
    assert torch.isfinite(model(*x, mask=mask).video_prob).all()
    for odd, says in ((mask.float(), "float32: expected .2, 10. of bool"), (mask[:1], "shape .1, 10."), (torch.tensor([[True], [False]]).expand(2, 10), "clip 1 of the batch has no segment")):
        with pytest.raises(ParameterError, match=says): model(*x, mask=odd)
