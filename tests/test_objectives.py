"""Losses against hand-computed numbers and float64 numpy, and the hooks with which a method changes labels or keeps a second model."""
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from valor_lab.core import ParameterError
from valor_lab.models import HAN, HANOutput
from valor_lab.methods import (OBJECTIVES, Context, Objective, Relabelled, Supervision, SupervisionConfig, bce, bce_logits, check_needs,
                               distil, make_objective, list_objectives, register_objective, smooth)

B, T, C = 4, 10, 5


def made_up(seed=0):
    rng = np.random.default_rng(seed)
    weak = (rng.random((B, C)) < .4).astype(float)
    arrays = dict(weak=weak, **{f"labels_{m}": weak[:, None]*(rng.random((B, T, C)) < .5) for m in ("audio", "visual")},
                  **{f"scores_{m}": rng.normal(0, 8, (B, T, C)) for m in ("audio", "visual")})
    logits, beta = rng.normal(0, 2, (B, T, 2, C)), rng.random((B, T, 2, C))
    out = dict(video=rng.random((B, C))*1.2, audio=rng.random((B, C)), visual=rng.random((B, C)), logits=logits, beta=beta/beta.sum(2, keepdims=True))
    tensor = lambda x: torch.tensor(x, dtype=torch.float32)
    output = HANOutput(*(tensor(out[k]) for k in ("video", "audio", "visual", "logits")), modality_attention=tensor(out["beta"]))
    return arrays, out, {k: tensor(v) for k, v in arrays.items()}, output


def np_bce(p, y):
    p = np.clip(p, 1e-7, float(np.float32(1-1e-7)))   # the clamp as float32 knows it
    return -(y*np.log(p) + (1-y)*np.log(1-p)).mean()


sigmoid = lambda z: 1/(1+np.exp(-z))


def np_kl(scores, logits):
    soft = lambda z: np.exp(z-z.max(-1, keepdims=True))/np.exp(z-z.max(-1, keepdims=True)).sum(-1, keepdims=True)
    p, q = soft(scores), soft(logits)
    return (p*(np.log(p)-np.log(q))).sum((1, 2)).mean()


def oracle(choice, m, a, o):
    i = ("audio", "visual").index(m)
    z, labels = o["logits"][:, :, i], a[f"labels_{m}"]
    return {"guided": lambda: np_bce(o[m], [1., .9][i]*a["weak"] + (1-[1., .9][i])/2), "refined": lambda: np_bce(o[m], labels.max(1)),
            "dense": lambda: np_bce(sigmoid(z), labels), "kd": lambda: np_kl(a[f"scores_{m}"], z),
            "union": lambda: np_bce(sigmoid(z), np.maximum(a["labels_audio"], a["labels_visual"]))}[choice]()


@pytest.mark.parametrize("audio", ["guided", "refined", "dense", "kd", "union"])
@pytest.mark.parametrize("visual", ["guided", "dense"])
def test_every_mix_of_terms_equals_the_float64_formula(audio, visual):
    a, o, batch, output = made_up()
    terms = Supervision(audio=audio, visual=visual).loss(None, batch, output)
    assert list(terms) == ["video", "audio", "visual"]
    for name, want in dict(video=np_bce(o["video"], a["weak"]), audio=oracle(audio, "audio", a, o), visual=oracle(visual, "visual", a, o)).items():
        assert terms[name].item() == pytest.approx(want, rel=2e-5)


def test_labels_without_modality_through_the_attention():
    a, o, batch, output = made_up()
    terms = make_objective("no-modality").loss(None, batch, output)
    p = (o["beta"]*sigmoid(o["logits"])).sum(2)
    assert list(terms) == ["video", "joint"] and terms["joint"].item() == pytest.approx(np_bce(p, np.maximum(a["labels_audio"], a["labels_visual"])), rel=2e-5)


def test_dense_loss_is_the_mean_over_clips_segments_and_events():
    "Four entries by hand: probabilities .5 everywhere cost ln 2 however many segments there are."
    for t in (1, 10):
        out = HANOutput(*(torch.full((2, 3), .5),)*3, torch.zeros(2, t, 2, 3))
        batch = dict(weak=torch.ones(2, 3), labels_audio=torch.ones(2, t, 3), labels_visual=torch.zeros(2, t, 3))
        assert [x.item() for x in make_objective("valor").loss(None, batch, out).values()] == pytest.approx([math.log(2)]*3)


def test_clamping_bounds_the_loss_and_stops_the_gradient():
    p = torch.tensor([1.5, 0., .5], requires_grad=True)
    loss = bce(p, torch.tensor([0., 1., 1.]), reduce=False)
    assert loss.tolist() == pytest.approx([-math.log(2**-23), -math.log(1e-7), math.log(2)], rel=.01)   # 1-1e-7 in float32 is 1-2^-23
    loss.sum().backward()
    assert p.grad.tolist() == pytest.approx([0, 0, -2])


def test_segments_far_out_keep_their_gradient():
    z = torch.tensor([-200., 200.], requires_grad=True)
    bce_logits(z, torch.tensor([1., 0.])).backward()
    assert z.grad.tolist() == pytest.approx([-.5, .5])


def test_smoothing_of_one_modality_by_hand():
    assert smooth(torch.tensor([1., 0.]), .9).tolist() == pytest.approx([.95, .05]) and smooth(torch.tensor([1., 0.]), 1.).tolist() == [1, 0]
    out = HANOutput(*(torch.tensor([[.8]]),)*3, torch.zeros(1, 1, 2, 1))
    terms = make_objective("base").loss(None, dict(weak=torch.ones(1, 1)), out)
    assert terms["audio"].item() == pytest.approx(-math.log(.8)) and terms["visual"].item() == pytest.approx(-.95*math.log(.8)-.05*math.log(.2))


def test_distillation_sums_over_segments_and_averages_over_clips():
    one = distil(torch.zeros(1, 1, 2), torch.tensor([[[math.log(3.), 0.]]])).item()
    assert one == pytest.approx(.75*math.log(1.5) + .25*math.log(.5))
    assert distil(torch.zeros(4, 10, 2), torch.tensor([math.log(3.), 0.]).expand(4, 10, 2)).item() == pytest.approx(10*one)


def test_a_clip_without_the_modality_is_not_distilled_and_leaves_no_nan_in_the_gradient():
    z = torch.zeros(2, 3, 2, requires_grad=True)
    scores = torch.tensor([math.log(3.), 0.]).repeat(2, 3, 1)
    scores[1] = torch.nan
    loss = distil(z, scores)
    loss.backward()
    assert loss.item() == pytest.approx(3*(.75*math.log(1.5) + .25*math.log(.5))/2) and not z.grad[1].any() and z.grad[0].isfinite().all()


def test_soft_targets_and_weights_are_taken_as_given():
    _, _, batch, output = made_up()
    soft = {**batch, "labels_audio": torch.full((B, T, C), .3)}
    got = make_objective("valor", weight_audio=2., weight_video=.5).loss(None, soft, output)
    assert got["audio"].item() == pytest.approx(2*np_bce(sigmoid(output.segment_logits[:, :, 0].double().numpy()), .3), rel=1e-5)
    assert got["video"].item() == pytest.approx(.5*make_objective("valor").loss(None, batch, output)["video"].item())


def test_a_target_set_by_a_hook_replaces_the_guided_label():
    _, _, batch, output = made_up()
    target = torch.zeros(B, C)
    got = make_objective("base").loss(None, {**batch, "target_visual": target}, output)
    assert got["visual"].item() == pytest.approx(bce(output.visual_prob, target).item()) and got["audio"] == make_objective("base").loss(None, batch, output)["audio"]


def test_labels_as_bool_or_bytes_cost_the_same_as_floats():
    _, _, batch, output = made_up()
    for name in ("base", "valor", "refined", "union", "no-modality"):
        want = make_objective(name).loss(None, batch, output)
        for kind in (torch.bool, torch.uint8):
            got = make_objective(name).loss(None, {k: v if "scores" in k else v.to(kind) for k, v in batch.items()}, output)
            assert all(torch.allclose(got[k], want[k]) for k in want)


@pytest.mark.parametrize("name,needs", [("base", ()), ("video", ()), ("kd", ("scores_audio", "scores_visual")), ("valor", ("labels_audio", "labels_visual")),
                                        ("valor-visual", ("labels_visual",)), ("no-modality", ("labels_audio", "labels_visual")), ("copied", ())])
def test_objectives_say_which_fields_they_need(name, needs):
    objective = make_objective(name)
    assert objective.needs == needs
    check_needs(objective, {"weak": 1, **dict.fromkeys(needs, 1)})
    for f in needs:
        with pytest.raises(ParameterError, match=f): check_needs(objective, {"weak": 1, **dict.fromkeys(needs, 1), f: None})


def test_unknown_names_options_and_empty_sums_are_refused():
    for call in (lambda: make_objective("valour"), lambda: make_objective("valor", smoothing=1.), lambda: Supervision(audio="soft"), lambda: Supervision(audio="none", visual="none", video=False)):
        with pytest.raises(ParameterError): call()
    assert Supervision(SupervisionConfig(audio="kd"), visual="guided").config == SupervisionConfig(audio="kd", visual="guided")
    assert {"base", "kd", "valor", "refined", "union", "no-modality", "copied"} <= set(list_objectives().index)


def a_run(seed=0, dropout=.1):
    torch.manual_seed(seed)
    model = HAN(d_audio=6, d_visual=6, d_motion=0, d_model=16, d_ff=16, n_heads=2, n_events=C, dropout=dropout)
    data = dict(audio=torch.randn(12, T, 6), visual=torch.randn(12, T, 6), motion=None, weak=(torch.rand(12, C) < .4).float())
    return Context(model=model, data=data, epochs=1, steps_per_epoch=3, batch_size=4)


def test_copied_labels_stand_in_every_segment_and_survive_a_resume():
    run, objective = a_run(), make_objective("copied")
    objective.start(run)
    batch = objective.before_batch(run.model, {"weak": run.data["weak"][[3, 1]], "index": torch.tensor([3, 1])})
    assert torch.equal(batch["labels_audio"], run.data["weak"][[3, 1], None].expand(2, T, C)) and torch.equal(batch["labels_audio"], batch["labels_visual"])
    again = make_objective("copied")
    again.load_state_dict(objective.state_dict(), run)
    assert torch.equal(again.labels()[1], objective.labels()[1])


def test_predictions_of_the_run_for_some_rows_without_touching_its_mode():
    run = a_run()
    run.model.train()
    rows = torch.tensor([5, 0])
    got = run.predict(rows=rows, keep=HANOutput._fields)
    assert run.model.training and got.features.shape == (2, T, 2, 16)
    torch.testing.assert_close(got.video_prob, run.predict(batch_size=5).video_prob[rows])


def test_a_method_in_a_few_lines_joins_the_registry_and_trains():
    class Shy(Supervision):
        "VALOR's losses and a push of every segment towards one half."
        def loss(self, model, batch, output): return {**super().loss(model, batch, output), "shy": .1*output.segment_logits.square().mean()}

    register_objective("shy", Shy, SupervisionConfig(audio="guided", visual="guided"))
    try:
        run, objective = a_run(), make_objective("shy")
        optimiser, totals = torch.optim.Adam(run.model.parameters(), lr=1e-3), []
        for _ in range(20):
            batch = objective.before_batch(run.model, {"weak": run.data["weak"], "index": torch.arange(12)})
            terms = objective.loss(run.model, batch, run.model(run.data["audio"], run.data["visual"]))
            optimiser.zero_grad(); sum(terms.values()).backward(); optimiser.step()
            totals.append(sum(terms.values()).item())
        assert list(terms) == ["video", "audio", "visual", "shy"] and totals[-1] < totals[0]
    finally: del OBJECTIVES["shy"]


def test_an_objective_that_only_has_a_loss_has_harmless_hooks():
    class Only(Objective):
        def loss(self, model, batch, output): return {"one": output.video_prob.mean()}

    run, only = a_run(), Only()
    only.start(run), only.start_epoch(1), only.after_step(run.model)
    assert only.before_batch(run.model, batch := {"weak": 1}) is batch
    assert only.end_epoch(1) == {} == only.state_dict() and only.labels() is None
    with pytest.raises(NotImplementedError): Relabelled().start(run)


def test_the_door_knows_the_objectives_of_all_families_whoever_asks_first():
    import subprocess, sys
    from pathlib import Path
    for ask in ("list(m.OBJECTIVES)", "list(m.list_objectives().index)", "[m.make_objective('em-mil') and n for n in m.OBJECTIVES]"):
        code = f"import valor_lab.methods as m; names = {ask}; assert set(names) == set(m.OBJECTIVE_NAMES), names"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


def test_what_methods_offer_is_known_without_a_network_and_is_what_their_rooms_make():
    import importlib, subprocess, sys
    from pathlib import Path
    from valor_lab.methods import OBJECTIVE_NAMES, OBJECTIVE_ROOMS
    code = "import sys; from valor_lab.methods import OFFERED, OBJECTIVE_NAMES; assert len(OFFERED) > 30; print('torch' in sys.modules, 'pandas' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent, capture_output=True, text=True).stdout
    assert said.split() == ["False", "False"]
    assert set(OBJECTIVE_NAMES) <= set(OBJECTIVES)                              # tasks bring theirs beside them
    for room, names in OBJECTIVE_ROOMS.items():
        module = importlib.import_module(f"valor_lab.methods.{room}")
        for name in names: assert OBJECTIVES[name][0].__module__ == module.__name__, name
