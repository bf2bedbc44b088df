"""Bags of segments: the count's distribution against all outcomes and finite differences, key segments by hand, and both objectives through the loop, stopped and taken up again."""
import itertools, math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

torch = pytest.importorskip("torch")

from valor_lab import methods as B
from valor_lab.methods import OBJECTIVES, OFFERED, Context, make_objective, offer_presets
from valor_lab.core import ParameterError
from test_denoise import T, a_run, go


# Poisson-binomial

def by_enumeration(prob):
    total = np.zeros(len(prob)+1)
    for outcome in itertools.product((0, 1), repeat=len(prob)): total[sum(outcome)] += math.prod(p if x else 1-p for p, x in zip(prob, outcome))
    return total


@settings(max_examples=40)
@given(st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0., 1., .5])), min_size=1, max_size=12))
def test_counts_equal_the_sum_over_all_outcomes(prob):
    np.testing.assert_allclose(B.count_probabilities(torch.tensor([prob], dtype=torch.float64))[0].numpy(), by_enumeration(prob), atol=1e-10)


@settings(max_examples=25)
@given(st.lists(st.floats(-12, 12), min_size=1, max_size=12))
def test_logarithms_equal_those_of_the_sum_over_all_outcomes_far_into_the_tails(logits):
    want = np.log(by_enumeration([1/(1+math.exp(-x)) for x in logits]))
    np.testing.assert_allclose(B.log_counts(torch.tensor([logits], dtype=torch.float64))[0].numpy(), want, rtol=1e-7, atol=1e-9)


def test_a_batch_is_its_clips_and_a_bound_on_the_count_cuts_the_tail_only():
    x = torch.randn(3, 9, 2, 4, dtype=torch.float64)
    whole = B.log_counts(x)
    assert whole.shape == (3, 10, 2, 4)
    torch.testing.assert_close(whole[1:2, :, 1:, 2:3], B.log_counts(x[1:2, :, 1:, 2:3]))
    for most in (0, 1, 4, 9, 20): torch.testing.assert_close(B.log_counts(x, most), whole[:, :most+1])


@pytest.mark.parametrize("t", [1, 2, 5, 12])
def test_gradients_equal_finite_differences(t):
    torch.manual_seed(t)
    assert torch.autograd.gradcheck(B.log_counts, (3*torch.randn(2, t, 2, dtype=torch.float64)).requires_grad_())
    assert torch.autograd.gradcheck(lambda x: B.log_counts(x, 2), torch.randn(2, t, 2, dtype=torch.float64).requires_grad_())
    assert torch.autograd.gradcheck(B.count_probabilities, (.05 + .9*torch.rand(2, t, dtype=torch.float64)).requires_grad_())


def test_the_gradient_is_the_conditional_probability_less_the_own():
    x = torch.randn(1, 8, dtype=torch.float64, requires_grad=True)
    for n in range(9):
        grad, = torch.autograd.grad(B.log_counts(x)[0, n], x)
        assert (grad + x.sigmoid()).sum().item() == pytest.approx(n) and (grad.abs() < 1).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_750_segments_stay_finite_with_probabilities_of_zero_and_one_and_huge_logits(dtype):
    g = torch.Generator().manual_seed(0)
    prob = torch.rand(1, 750, 4, generator=g, dtype=torch.float64).to(dtype)
    prob[..., 1], prob[..., 2], prob[:, ::2, 3] = 0, 1, 1
    prob.requires_grad_()
    p = B.count_probabilities(prob)
    p[:, 300].sum().backward()
    p = p.detach()
    assert p.isfinite().all() and prob.grad.isfinite().all()
    torch.testing.assert_close(p.sum(1), torch.ones(1, 4, dtype=torch.float64))
    assert p[0, 0, 1] == pytest.approx(1, abs=1e-6) and p[0, 750, 2] == pytest.approx(1, abs=1e-6) and p[0, :375, 3].sum() < 1e-6
    x = torch.tensor([1e4, -1e4, math.inf, -math.inf, 0.]).to(dtype).repeat(150)[None, :, None].requires_grad_()
    log = B.log_counts(x)
    (-log.sum()).backward()
    log = log.detach()
    assert log.isfinite().all() and x.grad.isfinite().all() and log.argmax(1).item() in (374, 375, 376)


# the losses

def test_bag_loss_by_float64_numpy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 4, 2, 5)), (rng.random((3, 5)) < .5).astype(float)
    none = (1/(1+np.exp(x))).prod((1, 2))
    want = -np.where(y > 0, np.log(1-none), np.log(none)).mean()/8
    assert B.bag_loss(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(want, rel=1e-6)


def test_bag_loss_is_finite_at_both_ends():
    for z in (-1e5, 1e5):
        x = torch.full((1, 10, 2, 2), z, requires_grad=True)
        loss = B.bag_loss(x, torch.tensor([[1., 0.]]))
        loss.backward()
        assert loss.isfinite() and x.grad.isfinite().all()


def test_count_loss_is_the_likelihood_of_each_count():
    x, count = torch.randn(2, 6, 2, 3), torch.randint(0, 7, (2, 2, 3))
    p = B.count_probabilities(x.double().sigmoid())
    want = -sum(math.log(p[b, count[b, m, c], m, c]) for b in range(2) for m in range(2) for c in range(3))/12/6
    assert B.count_loss(x, count).item() == pytest.approx(want, rel=1e-5)


def test_a_count_is_the_rounded_expectation_and_a_bag_with_the_event_is_never_empty():
    prob = torch.tensor([[[.9, .1, .1], [.2, .1, .1]], [[.8, .1, .1], [.1, .3, .1]]])[None]      # expected 1.7 .2 .2 heard, .3 .4 .2 seen
    bag = torch.tensor([[[1., 1, 0], [1, 1, 0]]])
    assert B.estimate_counts(prob, bag).tolist() == [[[2, 0, 0], [0, 1, 0]]]
    bag[0, 1, 1] = 0.                                                                            # the second event belongs to the sound alone
    assert B.estimate_counts(prob, bag).tolist() == [[[2, 1, 0], [0, 0, 0]]]


# EM-MIL

def test_key_segments_stand_out_by_hand():
    prob = torch.tensor([[.1, .8, .7, .2, .2], [.3, .3, .3, .3, .3], [.9, .9, .9, .9, .1]])[..., None]
    assert B.assign_keys(prob, torch.ones(3, 1))[..., 0].int().tolist() == [[0, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]       # bars .505, .3, .86
    assert B.assign_keys(prob, torch.ones(3, 1), spread=.9)[..., 0].int().tolist() == [[0, 1, 0, 0, 0], [1]*5, [1, 1, 1, 1, 0]]
    assert not B.assign_keys(prob, torch.zeros(3, 1)).any()


def test_steps_take_turns_after_the_warm_up():
    assert [B.em_step(e, 1, 1) for e in range(1, 6)] == [None, "E", "M", "E", "M"] and [B.em_step(e, 0, 3) for e in range(1, 8)] == ["E"]*3 + ["M"]*3 + ["E"]
    with pytest.raises(ParameterError): B.em_step(1, 0, 0)


def test_each_step_teaches_one_branch_and_asks_nothing_of_its_teacher():
    run, _ = a_run()
    objective, heads = make_objective("em-mil-ours", key_warmup=0, turn=1, weight_video=0.), run.model.heads
    objective.start(run)
    moved = {}
    for epoch, step in ((1, "E"), (2, "M")):
        objective.start_epoch(epoch)
        run.model.zero_grad()
        objective.loss(run.model, run.data, run.model(run.data["audio"], run.data["visual"]))["key"].backward()
        moved[step] = [h.weight.grad is not None and bool(h.weight.grad.abs().sum() > 0) for h in (heads.event, heads.time)]
    assert moved == {"E": [False, True], "M": [True, False]}


# both in the loop

@pytest.mark.parametrize("name,options", [("em-mil-ours", dict(key_warmup=1, turn=1)), ("em-mil", {}), ("poibin", dict(count_warmup=1, every=2)), ("poibin", dict(count_warmup=1, momentum=0., bags="labels"))])
def test_a_resumed_run_ends_where_the_whole_one_does(name, options):
    whole = go(make_objective(name, **options), a_run()[0], 4)
    run, first = a_run()[0], make_objective(name, **options)
    go(first, run, 2)
    state, weights = {k: v.clone() for k, v in first.state_dict().items()}, {k: v.clone() for k, v in run.model.state_dict().items()}
    run = a_run()[0]
    run.model.load_state_dict(weights)
    go(make_objective(name, **options), run, 2, first=3, state=state)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), run.model.parameters()))


@pytest.mark.parametrize("name", ["em-mil-ours", "poibin"])
@pytest.mark.parametrize("bags", ["weak", "labels"])
def test_labels_keep_to_the_bag_and_the_data_is_left_alone(name, bags):
    run, _ = a_run()
    before, objective = {k: v.clone() for k, v in run.data.items()}, make_objective(name, bags=bags)
    assert set(objective.needs) == (set() if bags == "weak" else {"labels_audio", "labels_visual"})
    go(objective, run, 2)
    assert all(torch.equal(before[k], run.data[k]) for k in before)
    allowed = B.bag_label(run.data, bags).bool()
    for i, x in enumerate(objective.labels()):
        assert x.shape == (24, T, 3) and x.any() and not (x.bool() & ~allowed[:, i, None]).any()


def test_clips_of_different_lengths_are_refused():
    for name in ("em-mil", "em-mil-ours", "poibin"):
        run, _ = a_run()
        run.data["mask"] = torch.ones(24, T, dtype=torch.bool)
        with pytest.raises(ParameterError, match="one length"): make_objective(name).start(run)


@pytest.mark.parametrize("name", ["em-mil", "em-mil-ours", "poibin", "poibin-labels"])
def test_both_train_through_the_one_loop_and_leave_their_labels_in_the_run(name, tmp_path):
    train, datasets = pytest.importorskip("valor_lab.training.loop"), pytest.importorskip("valor_lab.datasets.dataset")
    from test_denoise import toy_splits
    from valor_lab.datasets import load_labels
    data, val, test = toy_splits(datasets.Dataset)
    config = train.override(train.preset(name), {"d_model": 16, "n_heads": 2, "d_ff": 16, "epochs": 4, "batch_size": 8, **{"em-mil": {}, "em-mil-ours": {"key_warmup": 1, "turn": 1}}.get(name, {"count_warmup": 1})})
    run = train.fit(config, data, tmp_path/"run", val, test, device="cpu", progress=False)
    assert run.finished and {"em-mil": "loss/key", "em-mil-ours": "loss/key"}.get(name, "loss/count") in run.metrics and list(load_labels("train", run.path, data.vocab).ids) == list(data.ids)


def test_presets_of_methods_reach_train_and_name_objectives_that_exist():
    train = pytest.importorskip("valor_lab.training.loop")
    assert set(B.DENOISE_PRESETS) | set(B.BAG_PRESETS) <= set(OFFERED) <= set(train.PRESETS)
    for name, fields in B.BAG_PRESETS.items(): assert train.resolved(train.preset(name)).objective == fields["objective"] in OBJECTIVES
    with pytest.raises(ParameterError, match="velour"): offer_presets({"mine": dict(objective="velour")})
    assert "mine" not in OFFERED


def test_shared_keys_and_positives_are_those_of_the_specification_by_hand():
    keys = torch.tensor([[[.2, .4], [.9, .7], [.4, .2]]])
    assert B.shared_keys(keys, .15).tolist() == [[0, 1, 0]] and B.shared_keys(torch.full((2, 4, 2), .3)).sum() == 0
    prob = torch.tensor([[.1, .7], [.5, .1], [.6, .1]])[None, :, None].expand(1, 3, 2, 2)
    assert B.shared_positives(prob, torch.tensor([[1., 1.]])).tolist() == [[1, 1, 1]] and B.shared_positives(prob, torch.tensor([[0., 1.]])).tolist() == [[1, 0, 0]]


def test_the_released_steps_take_turns_from_epoch_31_on_and_each_moves_one_side_only():
    assert [B.released_step(e, (10, 10, 10)) for e in (1, 10, 11, 20, 21, 30, 31, 32, 65)] == ["bag", "bag", "E", "E", "M", "M", "E", "M", "E"]
    run, _ = a_run()
    objective = make_objective("em-mil")
    objective.start(run)
    objective.step, before = "E", [p.clone() for p in run.model.parameters()]
    terms = objective.loss(run.model, run.data, run.model(run.data["audio"], run.data["visual"]))
    assert set(terms) == {"key"}
    terms["key"].backward()
    assert all(p.grad is None for p in run.model.parameters()) and objective.weight.grad.abs().sum() > 0
    objective.after_step(run.model)
    assert objective.weight.abs().sum() > 0 and all(torch.equal(a, b) for a, b in zip(before, run.model.parameters()))
    objective.step = "M"
    terms = objective.loss(run.model, run.data, run.model(run.data["audio"], run.data["visual"]))
    assert set(terms) == {"key", "video"}
    terms["key"].backward()
    assert objective.weight.grad is None and run.model.heads.event.weight.grad.abs().sum() > 0
