"""Each correction of labels on examples computed by hand, and each objective through a small loop: it trains, resumes exactly, and keeps its hands off what it must not touch."""
import math
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from valor_lab import methods as D
from valor_lab.methods import OBJECTIVES, Context, bce, make_objective
from valor_lab.core import ParameterError
from valor_lab.labels import SegmentLabels
from valor_lab.metrics import avvp_scores, fidelity
from valor_lab.models import HAN, HANOutput
from valor_lab.vocab import LLP

column = lambda *x: torch.tensor(x, dtype=torch.float64)[:, None]


# PLD

def test_pld_flips_what_exceeds_alpha_times_the_usual_loss_both_ways():
    label, prob = column(1, 1, 0, 0), column(.9, .1, .1, .9)      # losses .105 2.303 .105 2.303; K=2: usual .105
    for alpha, want in ((21.8, [0, 1, 0, 1]), (21.9, [0, 0, 0, 0])):     # ln .1 / ln .9 = 21.85
        assert D.pld_flips(label, prob, [1], k=2, alpha=alpha)[:, 0].int().tolist() == want
    assert D.pld(label, prob, [1], k=2, alpha=6)[:, 0].int().tolist() == [1, 0, 0, 1]
    assert D.pld(label, prob, [0], k=2, alpha=6)[:, 0].int().tolist() == [1, 1, 0, 0]
    assert not D.pld_flips(label, prob, [1], k=4, alpha=2).any()         # K = 4: usual 1.204, the bar at 2.408


def test_a_loss_equal_to_the_bar_is_not_flipped():
    assert not D.pld_flips(column(1, 1, 1), column(.5, .5, .5), [1], k=1, alpha=1).any()


def test_ten_and_ten_flips_nothing_on_ten_segments_however_extreme():
    g = torch.Generator().manual_seed(0)
    for prob in (torch.rand(300, 10, 25, generator=g), (torch.rand(300, 10, 25, generator=g) < .5).float(), torch.zeros(300, 10, 25)):
        labels = torch.rand(300, 10, 25, generator=g) < .2
        assert not D.pld_flips(labels, prob, torch.ones(300, 25), k=10, alpha=10).any()
    one = torch.zeros(1, 10, 1)
    one[0, 3] = 1.                                                       # one entry as wrong as can be, nine as right as can be
    assert not D.pld_flips(torch.zeros(1, 10, 1), one, [[1]], k=10, alpha=10).any() and D.pld_flips(torch.zeros(1, 10, 1), one, [[1]], k=9, alpha=10).sum() == 1


def test_pld_equals_a_loop_over_clips_and_events():
    rng = np.random.default_rng(0)
    labels, prob, weak = rng.random((20, 10, 5)) < .3, rng.random((20, 10, 5)), rng.random((20, 5)) < .5
    want = labels.copy()
    for n in range(20):
        for c in np.flatnonzero(weak[n]):
            loss = np.where(labels[n, :, c], -np.log(prob[n, :, c]), -np.log(1-prob[n, :, c]))
            want[n, :, c] ^= loss > 3*np.sort(loss)[:4].mean()
    assert (want != labels).any() and np.array_equal(D.pld(labels, prob, weak, k=4, alpha=3), want)


def test_a_sweep_scores_the_labels_that_pld_makes():
    rng = np.random.default_rng(1)
    true = rng.random((30, 10, 25)) < .1
    weak, ids = true.any(1), [f"c{i}" for i in range(30)]
    truth, noisy = SegmentLabels(ids, true, true, LLP), SegmentLabels(ids, true, (true ^ (rng.random(true.shape) < .1)) & weak[:, None], LLP)
    prob = np.clip(true*.8 + .1 + rng.normal(0, .1, true.shape), .01, .99)
    sweep = D.pld_sweep(noisy, prob, weak, truth, ks=(2, 4), alphas=(6, 1e9))
    row = sweep[(sweep.k == 4) & (sweep.alpha == 6)].iloc[0]
    mended = SegmentLabels(ids, true, D.pld(noisy.visual, prob, weak, 4, 6).numpy(), LLP)
    assert row.segment == avvp_scores(mended, truth)["segment/visual"] and row.pooled == fidelity(mended, truth)["visual"] and row.flipped == (mended.visual != noisy.visual).sum()
    assert (sweep[sweep.alpha == 1e9].flipped == 0).all() and len(sweep) == 4


# contrastive terms

@pytest.mark.parametrize("kind", ["ma", "jomold"])
def test_contrastive_terms_by_float64_numpy(kind):
    rng = np.random.default_rng(0)
    a, v = rng.normal(size=(3, 10, 8)), rng.normal(size=(3, 10, 8))
    total = 0.
    for i in range(3):
        for t in range(10):
            s = np.array([a[i, t] @ v[i, u]/np.linalg.norm(a[i, t])/np.linalg.norm(v[i, u])/.2 for u in range(10)])
            q, w = np.exp(s)/np.exp(s).sum(), np.full(10, .1/9)
            w[t] = .9
            total += -(w*np.log(q)).sum() if kind == "ma" else -np.log((w*q).sum())
    assert D.contrast(torch.tensor(a), torch.tensor(v), kind).item() == pytest.approx(total/30, rel=1e-5)


def test_ma_compares_with_the_picture_before_and_jomold_after_the_layer():
    g = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, 5, 2, 8, generator=g), torch.randn(2, 5, 2, 8, generator=g)
    out = HANOutput(*(torch.full((2, 3), .5),)*3, torch.zeros(2, 5, 2, 3), features=x, inputs=z)
    get = lambda name: make_objective(name).loss(None, {"weak": torch.ones(2, 3)}, out)["contrast"]
    assert get("ma-base") == D.contrast(x[:, :, 0], z[:, :, 1], "ma") and get("jomold-estimator") == D.contrast(x[:, :, 0], x[:, :, 1], "jomold")
    assert "contrast" not in make_objective("ma-base", contrast=0.).loss(None, {"weak": torch.ones(2, 3)}, out)


# MA

def test_partners_share_no_event_and_are_drawn_evenly():
    weak = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1]])
    draws = torch.stack([D.exchange_partners(weak, seed) for seed in range(200)])
    assert all((weak[i]*weak[j]).sum() == 0 for row in draws for i, j in enumerate(row.tolist()) if j >= 0)
    assert (draws[:, 4] == -1).all() and (draws[:, 3] == 2).all() and 70 < (draws[:, 0] == 1).sum() < 130
    assert torch.equal(D.exchange_partners(weak, 3), D.exchange_partners(weak, 3))


def test_the_scale_of_an_event_is_its_error_over_the_greatest():
    prob, weak = torch.tensor([[.9, .6], [.8, .6], [.1, .6], [.6, .2]]), torch.tensor([[1, 1], [1, 0], [0, 0], [0, 1]])
    assert D.error_scale(prob, weak).tolist() == pytest.approx([1/3, 1.])          # one of four wrong, three of four wrong
    assert D.error_scale(weak.float(), weak).tolist() == [0, 0]                    # no error, nothing to remove


def test_ma_removes_in_a_batch_of_four_clips_by_hand():
    weak = column(1, 1, 1, 0)
    sound = column(.9, .2, .2, .1), column(.1, .6, .3, .1)        # own sound, foreign picture: audio prob, visual prob
    picture = column(.1, .4, .7, .1), column(.3, .3, .2, .1)      # own picture, foreign sound
    audio, visual = D.ma_removals(weak, torch.ones(1), torch.ones(1), sound, picture)
    assert audio[:, 0].int().tolist() == [0, 0, 1, 0] and visual[:, 0].int().tolist() == [1, 1, 0, 0]
    audio, visual = D.ma_removals(weak, torch.tensor([.5]), torch.tensor([.7]), sound, picture)      # bars .25 and .35
    assert audio[:, 0].int().tolist() == [0, 0, 0, 0] and visual[:, 0].int().tolist() == [1, 0, 0, 0]


# JoMoLD

def test_noise_ratios_count_positives_below_the_bar_of_all_clips():
    audio, visual = column(.9, .2, .7, .2, 0), column(.8, .1, .6, .1, 0)            # means .4 and .32
    r_audio, r_visual = D.noise_ratios(audio, visual, column(1, 1, 1, 0, 0))        # bars .24 and .606
    assert r_audio.item() == pytest.approx(1/3) and r_visual.item() == pytest.approx(2/3)
    assert [r.item() for r in D.noise_ratios(audio, visual, column(0, 0, 0, 0, 0))] == [0, 0]


def test_jomold_removes_in_a_batch_of_four_clips_by_hand():
    la, lv, n = torch.tensor([[.1], [2.], [.3], [2.5]]), torch.tensor([[3.], [2.], [.5], [.2]]), lambda x: torch.tensor([x])
    ints = lambda pair: tuple(x[:, 0].int().tolist() for x in pair)
    assert ints(D.jomold_removals(la, lv, torch.ones(4, 1), n(1), n(1))) == ([0, 0, 0, 1], [1, 0, 0, 0])
    assert ints(D.jomold_removals(la, lv, torch.ones(4, 1), n(3), n(2))) == ([0, 1, 1, 1], [1, 0, 0, 0])
    assert ints(D.jomold_removals(la, lv, torch.ones(4, 1), n(0), n(4))) == ([0, 0, 0, 0], [1, 1, 1, 1])
    assert ints(D.jomold_removals(la, lv, column(0, 1, 1, 1), n(1), n(1))) == ([0, 0, 0, 1], [0, 0, 0, 0])


def test_warm_ups_of_the_paper_and_of_the_code():
    assert [D.ramp("code", e, s, 10) for e, s in ((1, 0), (1, 9), (2, 0))] == [0, 0, 1]
    assert [D.ramp("linear", e, s, 10) for e, s in ((1, 0), (1, 9), (2, 0))] == [0, 1, 1] and D.ramp("linear", 1, 3, 10) == pytest.approx(1/3)
    assert D.ramp("none", 1, 0, 10) == 1
    with pytest.raises(ParameterError): D.ramp("late", 1, 0, 10)


def test_published_ratios_belong_to_the_25_events():
    run = a_run()[0]
    with pytest.raises(ParameterError, match="25 events"): make_objective("jomold", ratios="published").start(run)
    assert D.JOMOLD_RATIOS["visual"][LLP.events.index("Speech")] == .994


def test_jomold_sets_removed_targets_to_exactly_zero_and_judges_without_cross_attention():
    run, _ = a_run()
    objective, calls = make_objective("jomold"), []
    objective._remember(run, torch.zeros(2, 24, 3, dtype=torch.bool))
    objective.ratios = torch.tensor([[.5]*3, [.9]*3], dtype=torch.float64)
    objective.start_epoch(2)

    def model(*x, cross_attention): calls.append(cross_attention); return run.model(*x, cross_attention=cross_attention)

    index = torch.arange(24)
    batch = objective.before_batch(model, {**run.data, "index": index})
    a, v = objective.removed
    assert calls == [False] and v.any() and not batch["target_visual"].requires_grad
    y = run.data["weak"]
    torch.testing.assert_close(batch["target_visual"], torch.where(v, 0., .9*y+.05))
    torch.testing.assert_close(batch["target_audio"], torch.where(a, 0., y))
    assert torch.equal(batch["weak"], y) and not (v & ~y.bool()).any()
    assert torch.equal(objective.labels()[1], (y.bool() & ~v)[:, None].expand(-1, T, -1))
    terms = objective.loss(run.model, batch, run.model(run.data["audio"], run.data["visual"]))
    assert list(terms) == ["video", "audio", "visual", "contrast"]


# PPL

def test_the_two_way_soft_label_and_its_hard_limit():
    assert D.prototype_label(.8, .6).item() == pytest.approx(1/(1+math.exp(-2))) and D.prototype_label(.8, .6, tau=.05).item() == pytest.approx(1/(1+math.exp(-4)))
    assert D.prototype_label(.9, .1, weak=0.) == 0
    g = torch.Generator().manual_seed(1)
    s, b = torch.rand(500, generator=g)*2-1, torch.rand(500, generator=g)*2-1
    assert torch.equal(D.prototype_label(s, b, tau=1e-7), D.prototype_label(s, b, tau=0)) and set(D.prototype_label(s, b, tau=0).tolist()) == {0, 1}
    with pytest.raises(ParameterError): D.prototype_label(s, b, tau=-1)


def test_key_segments_are_the_heaviest_of_clips_that_surely_have_the_event():
    weight = torch.tensor([[[.1, .9], [.4, .8], [.3, .1]], [[.5, .5], [.6, .6], [.7, .7]]])
    key = D.key_segments(weight, torch.tensor([[.6, .4], [.5, .9]]), torch.tensor([[1, 1], [1, 0]]), k=2)
    assert key.int().tolist() == [[[0, 0], [1, 0], [1, 0]], [[0, 0], [1, 0], [1, 0]]]


def test_clusters_on_the_sphere_are_found_and_small_sets_get_fewer():
    g = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(4, 16, generator=g), dim=1)
    x = torch.nn.functional.normalize(directions.repeat_interleave(25, 0) + .05*torch.randn(100, 16, generator=g), dim=1)
    centres = D.spherical_kmeans(x, 4)
    assert (centres @ directions.T).max(0).values.min() > .98
    assert len(D.spherical_kmeans(x[:5], 5)) == 2 and len(D.spherical_kmeans(x[:1], 5)) == 1
    torch.testing.assert_close(D.spherical_kmeans(x[:1], 5), x[:1])


def test_similarity_goes_to_the_nearest_prototype_and_is_unknown_without_one():
    up, right = torch.tensor([0., 1.]), torch.tensor([1., 0.])
    features = torch.stack([up, 2*up, right, right, right, up])[None]                # [1,6,2]
    key = torch.zeros(1, 6, 2, dtype=torch.bool)
    key[0, :2, 0] = True
    prob = torch.tensor([.9, .9, .1, .1, .1, .9])[None, :, None].expand(1, 6, 2)
    s, b = D.nearest_prototypes(features, key, prob, n_background=3)
    torch.testing.assert_close(s[0, :, 0], torch.tensor([1., 1, 0, 0, 0, 1]))
    assert s[..., 1].isnan().all()
    torch.testing.assert_close(b[0], torch.tensor([0., 0, 1, 1, 1, 0]))


def test_class_contrast_by_float64_numpy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 6)), rng.random((12, 3)) < .3
    y[0] = False
    g = x/np.linalg.norm(x, axis=1, keepdims=True)
    losses = []
    for i in range(12):
        positive = [j for j in range(12) if j != i and (y[i] & y[j]).any()]
        if positive: losses.append(np.mean([-(g[i] @ g[j]/.1) + np.log(sum(np.exp(g[i] @ g[k]/.1) for k in range(12) if k != i)) for j in positive]))
    assert len(losses) < 12 and D.class_contrast(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_ppl_knows_nothing_before_its_warm_up_and_keeps_to_the_weak_label_after():
    run, _ = a_run()
    objective = make_objective("ppl", prototype_warmup=2)
    objective.start(run)
    batch = objective.before_batch(run.model, {**run.data, "index": torch.arange(24)})
    terms = objective.loss(run.model, batch, run.model(run.data["audio"], run.data["visual"]))
    assert terms["pseudo"] == 0 and terms["contrast"] == 0 and list(terms) == ["video", "pseudo", "contrast"]
    objective.start_epoch(2)
    assert not objective.soft.any()
    objective.start_epoch(3)
    absent = (run.data["weak"] == 0)[:, None, None].expand_as(objective.soft)
    assert (objective.soft[absent] == 0).all() and (objective.known[absent] == 1).all()


def test_the_momentum_encoder_follows_at_a_distance():
    run, _ = a_run()
    objective = make_objective("ppl", momentum=.9)
    objective.start(run)
    before = [p.clone() for p in objective.encoder.parameters()]
    with torch.no_grad(): [p.add_(1.) for p in run.model.parameters()]
    objective.after_step(run.model)
    m = 2/11                                                             # (1+1)/(10+1), below .9
    for p, b in zip(objective.encoder.parameters(), before): torch.testing.assert_close(p, b + (1-m))
    objective.steps = 1000
    objective.after_step(run.model)
    for p, b in zip(objective.encoder.parameters(), before): torch.testing.assert_close(p, b + 1 - m*.9)


# soft labels

def test_soft_labels_by_hand_and_hard_in_the_limit():
    scores, theta, weak = np.array([[[16., 22.], [13., np.nan]]]), np.array([15., 20.]), np.array([[1, 1]])
    sigma = lambda x: 1/(1+math.exp(-x))
    got = D.soft_labels(scores, theta, weak, scale=2.)
    assert got.flatten().tolist() == pytest.approx([sigma(.5), sigma(1), sigma(-1), 0])
    assert D.soft_labels(scores, theta, weak, scale=1e-5).int().flatten().tolist() == [1, 1, 0, 0]
    assert not D.soft_labels(scores, theta, [[0, 0]]).any()
    with pytest.raises(ParameterError): D.soft_labels(scores, theta, weak, scale=0.)


def test_weights_split_by_the_weak_label_by_hand():
    assert D.balance(torch.tensor([[[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]]])) == (.45, .1)
    logits, target = torch.tensor([[[0., 2.], [1., 0.]]]), torch.tensor([[[1., 0.], [.5, 0.]]])
    softplus = lambda x: math.log1p(math.exp(x))
    want = (.45*(math.log(2) + softplus(1)-.5) + .1*(softplus(2) + math.log(2)))/4
    assert D.weighted_bce(logits, target, torch.tensor([[1., 0.]]), .45, .1).item() == pytest.approx(want)


def test_mixing_asks_the_head_for_mixed_labels_of_mixed_features():
    run, _ = a_run()
    x, y = torch.randn(2, 4, 2, 16), torch.rand(2, 4, 2, 3)
    order, lam = torch.randperm(8), torch.tensor(.3)
    f, t = x.flatten(0, 1), y.flatten(0, 1)
    z = run.model.heads.event(.3*f + .7*f[order])
    want = sum(bce(z[:, i].sigmoid(), (.3*t + .7*t[order])[:, i]) for i in (0, 1))
    torch.testing.assert_close(D.mixed_term(run.model, x, y, order, lam), want)


def test_soft_objective_takes_thresholds_from_the_vocabulary():
    run, _ = a_run()
    objective = make_objective("valor-soft", scale_audio=2., thresholds="vocabulary")
    objective.start(run)
    torch.testing.assert_close(objective.audio, D.soft_labels(run.data["scores_audio"], run.vocab.clap_thresholds, run.data["weak"], 2.))
    assert objective.weights[1] == D.balance(objective.visual > .5)
    hard = make_objective("valor-soft", soft=False, reweight=False, mixed=False, thresholds="vocabulary")
    hard.start(run)
    assert torch.equal(hard.audio, ((run.data["scores_audio"] > .2) & (run.data["weak"][:, None] > 0)).float())
    out, batch = run.model(run.data["audio"], run.data["visual"]), hard.before_batch(run.model, {**run.data, "index": torch.arange(24)})
    valor = make_objective("valor").loss(run.model, batch, out)
    assert all(torch.allclose(hard.loss(run.model, batch, out)[k], valor[k]) for k in valor)
    with pytest.raises(ParameterError, match="vocabulary"): make_objective("valor-soft").start(Context(**{**vars(run), "vocab": None}))


def test_thresholds_behind_labels_make_them_again_and_are_the_vocabularys_where_it_does():
    rng = np.random.default_rng(0)
    scores, weak = rng.normal(size=(40, 10, 6)).astype(np.float32)*3, rng.random((40, 6)) < .4
    weak[:, 5] = False
    theta = np.array([-1.5, 0, .7, 9, -9, 1])                                       # the fourth is above every score, the fifth below
    scores[3] = np.nan
    labels = (scores > theta) & weak[:, None]
    got = D.thresholds_of(scores, labels, weak, theta)
    assert got.tolist() == theta.tolist()                                           # as they are, where they make the labels
    got = D.thresholds_of(scores, labels, weak, np.where(np.arange(6) == 5, 1, np.nan)).numpy()
    np.testing.assert_array_equal((scores > got) & weak[:, None], labels)
    noisy = labels ^ (weak[:, None] & (rng.random(labels.shape) < .03) & np.isfinite(scores))
    got, wrong = D.thresholds_of(scores, noisy, weak, np.full(6, np.nan)).numpy(), lambda t: (((scores > t) & weak[:, None]) != noisy).sum((0, 1))
    for c in range(5): assert wrong(got)[c] == min(wrong(t)[c] for t in np.r_[scores[..., c][np.isfinite(scores[..., c])], -99, 99])     # as good as any


def test_soft_labels_follow_the_dense_labels_of_the_run_and_refuse_unknown_thresholds():
    run, _ = a_run()
    moved = {**run.data, **{f"labels_{m}": ((run.data[f"scores_{m}"] > t) & (run.data["weak"][:, None] > 0)).float() for m, t in (("audio", -.3), ("visual", 1.1))}}
    objective = make_objective("valor-soft")
    objective.start(Context(**{**vars(run), "data": moved}))
    assert torch.equal(objective.labels()[0], moved["labels_audio"] > .5) and torch.equal(objective.labels()[1], moved["labels_visual"] > .5)
    unknown = SimpleNamespace(clip_thresholds=np.full(C, np.nan), clap_thresholds=np.full(C, np.nan))
    make_objective("valor-soft").start(Context(**{**vars(run), "vocab": unknown}))
    with pytest.raises(ParameterError, match="NaN"): make_objective("valor-soft", thresholds="vocabulary").start(Context(**{**vars(run), "vocab": unknown}))


# VPLAN

def test_a_sweep_of_shares_scores_the_labels_of_each_bar():
    rng = np.random.default_rng(0)
    cosine, weak, true = rng.normal(size=(8, 5, 4))*.1, rng.random((8, 4)) < .6, rng.random((8, 5, 4)) < .3
    table = D.share_sweep(cosine, weak, true, shares=(.95, 1.05, 9))
    said = D.softmax_labels(cosine, weak, 1.05).numpy()
    assert table.loc[1.05, "precision"] == pytest.approx(100*(said & true).sum()/said.sum()) and table.loc[1.05, "F"] == pytest.approx(200*(said & true).sum()/(said.sum()+true.sum()))
    assert table.loc[9].tolist() == [0, 0, 0]


def test_softmax_labels_compete_and_keep_to_the_weak_label():
    cosine = torch.tensor([[[.30, .28, .10, .10], [.30, .1, .1, .1]]])
    p = cosine.softmax(-1)
    assert torch.equal(D.softmax_labels(cosine, [[1, 1, 1, 1]], share=1.1), p > .275)
    assert D.softmax_labels(cosine, [[0, 1, 0, 0]], share=1.05).int().tolist() == [[[0, 1, 0, 0], [0, 0, 0, 0]]]
    assert not D.softmax_labels(torch.full((1, 2, 4), torch.nan), torch.ones(1, 4)).any()


def test_richness_of_labels_and_its_loss_by_hand():
    labels, y = torch.tensor([[[1., 1, 0], [1, 0, 0]], [[0, 0, 1.], [0, 0, 1]]]), torch.tensor([[1., 1, 0], [0, 0, 1]])
    category, segment = D.richness(labels, y)
    assert category.tolist() == [[1, .5], [1, 1]] and segment.tolist() == [[1, .5, 0], [0, 0, 1]]
    prob = torch.full((2, 2, 3), .2)
    ln8, ln2 = -math.log(.8), -math.log(.2)
    want = (3*ln2 + .5*(ln2+ln8))/4 + (2*ln2 + .5*(ln2+ln8) + 3*ln8)/6
    assert D.richness_loss(prob, labels, y).item() == pytest.approx(want, rel=1e-5)
    assert not D.richness(labels, torch.zeros(2, 3))[0].any()


# judging

def test_quality_of_a_change_by_hand():
    q = D.change_quality([[1, 1, 0], [1, 0, 0], [1, 1, 0]], [[0, 1, 0], [1, 0, 0], [0, 0, 0]], [[0, 1, 0], [1, 0, 0], [1, 0, 1]], events=["a", "b", "c"])
    assert q.loc["a"].tolist() == [2, 1, 1, 50, 100] and q.loc["all", ["changed", "wrong", "mended"]].tolist() == [3, 3, 2]
    assert np.isnan(q.loc["c", "precision"]) and q.loc["c", "recall"] == 0
    with pytest.raises(ParameterError): D.change_quality([[1]], [[1, 0]], [[1]])


# the objectives in a loop

T, C, SIZES = 10, 3, dict(d_audio=3, d_visual=3, d_motion=0, n_events=3, d_model=16, d_ff=16, n_heads=2)
HELPERS = {"valor": "valor", "han": "base", "ma-base": "ma-base", "jomold-estimator": "jomold-estimator"}


def a_run(seed=0, n=24):
    "A run on made-up clips whose events are in one modality or the other; `asked` lists the helpers that were trained."
    g, asked = torch.Generator().manual_seed(seed), []
    truth = (torch.rand(n, 2, 1, C, generator=g) < .3) & (torch.rand(n, 2, T, C, generator=g) < .7)
    x = truth.float()*3 + .7*torch.randn(truth.shape, generator=g)
    data = dict(audio=x[:, 0], visual=x[:, 1], weak=truth.any(2).any(1).float())
    for i, m in enumerate(("audio", "visual")): data |= {f"labels_{m}": (truth[:, i]).float(), f"scores_{m}": x[:, i]-1}
    vocab = SimpleNamespace(clip_thresholds=np.full(C, .5), clap_thresholds=np.full(C, .2))

    def train(preset, rows=None, **overrides):
        asked.append((preset, None if rows is None else rows.tolist()))
        part = data if rows is None else {k: v[rows] for k, v in data.items()}
        torch.manual_seed(1)
        helper = Context(model=HAN(**SIZES, **overrides), data=part, epochs=2, steps_per_epoch=3, batch_size=8, vocab=vocab)
        return go(make_objective(HELPERS[preset]), helper, 2)

    torch.manual_seed(seed)
    return Context(model=HAN(**SIZES), data=data, epochs=4, steps_per_epoch=3, batch_size=8, vocab=vocab, train=train), asked


def go(objective, run, epochs, first=1, state=None, optimiser=None):
    optimiser = optimiser or torch.optim.SGD(run.model.parameters(), lr=.05, momentum=0.)
    objective.start(run) if state is None else objective.load_state_dict(state, run)
    for epoch in range(first, first+epochs):
        torch.manual_seed(epoch)
        objective.start_epoch(epoch)
        for index in torch.randperm(len(run.data["weak"])).split(run.batch_size):
            batch = objective.before_batch(run.model, {k: v[index] for k, v in run.data.items()} | {"index": index})
            terms = objective.loss(run.model, batch, run.model(batch["audio"], batch["visual"]))
            optimiser.zero_grad(); sum(terms.values()).backward(); optimiser.step()
            objective.after_step(run.model)
        assert all(torch.isfinite(t) for t in terms.values()) and all(isinstance(v, (int, float)) for v in objective.end_epoch(epoch).values())
    return run.model


@pytest.mark.parametrize("name", ["pld", "ma", "jomold", "ppl", "valor-soft", "vplan", "han-labeler", "copied"])
def test_a_resumed_run_ends_where_the_whole_one_does(name):
    options = {"ppl": dict(prototype_warmup=1, every=2), "jomold": dict(removal_warmup="linear")}.get(name, {})
    whole = go(make_objective(name, **options), a_run()[0], 4)
    (run, asked), objective = a_run(), make_objective(name, **options)
    go(objective, run, 2)
    state, weights = {k: v.clone() for k, v in objective.state_dict().items()}, {k: v.clone() for k, v in run.model.state_dict().items()}
    assert all(isinstance(v, torch.Tensor) for v in state.values())
    run, asked = a_run()
    run.model.load_state_dict(weights)
    again = make_objective(name, **options)
    go(again, run, 2, first=3, state=state)
    assert not asked                                                     # helpers are not trained again
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), run.model.parameters()))


@pytest.mark.parametrize("name,helper", [("pld", "valor"), ("ma", "ma-base"), ("jomold", "jomold-estimator"), ("han-labeler", "han")])
def test_methods_train_the_helper_they_name(name, helper):
    run, asked = a_run()
    make_objective(name).start(run)
    assert asked == [(helper, None)]


def test_methods_leave_the_data_of_the_run_alone():
    for name in ("pld", "ma", "jomold", "ppl", "valor-soft", "vplan", "han-labeler"):
        run, _ = a_run()
        before = {k: v.clone() for k, v in run.data.items()}
        go(make_objective(name), run, 2)
        assert all(torch.equal(before[k], run.data[k]) for k in before), name


@pytest.mark.parametrize("name", ["pld", "ma", "jomold", "valor-soft", "vplan", "han-labeler", "ppl"])
def test_labels_that_a_method_ends_with_have_the_shape_of_labels_and_keep_to_the_weak_label(name):
    run, _ = a_run()
    objective = make_objective(name)
    go(objective, run, 2)
    for x in objective.labels():
        assert x.shape == (24, T, C) and not (x.bool() & (run.data["weak"] == 0)[:, None]).any()


def test_cross_fitted_probabilities_come_from_helpers_that_did_not_see_the_clip():
    run, asked = a_run()
    prob = D.fitted_prob(run, "valor", folds=4)
    assert prob.shape == (24, T, 2, C) and len(asked) == 4
    seen = [set(rows) for _, rows in asked]
    held = [set(range(24))-s for s in seen]
    assert sorted(i for h in held for i in h) == list(range(24)) and all(len(h) == 6 for h in held)
    again, _ = a_run()
    for rows in map(sorted, held):                                       # each clip's row is that of the helper that held it out
        helper = again.train("valor", rows=torch.tensor(sorted(set(range(24))-set(rows))))
        torch.testing.assert_close(prob[rows], again.predict(helper, torch.tensor(rows)).segment_prob)
    with pytest.raises(ParameterError, match="folds"): D.fitted_prob(run, "valor", folds=1)


def test_ma_keeps_labels_of_clips_without_a_partner():
    run, _ = a_run()
    run.data["weak"][:] = 1.
    objective = make_objective("ma")
    objective.start(run)
    assert not objective.removed.any()


def test_exchange_gives_the_picture_with_its_motion():
    run, _ = a_run()
    partner = torch.arange(24).roll(1)
    with_picture, with_sound = D.exchanged(run, run.model, partner)
    want = run.model.eval()(run.data["audio"], run.data["visual"][partner])
    torch.testing.assert_close(with_picture, (want.audio_prob, want.visual_prob))
    want = run.model(run.data["audio"][partner], run.data["visual"])
    torch.testing.assert_close(with_sound, (want.audio_prob, want.visual_prob))


def test_every_preset_names_an_objective_with_options_it_has():
    for name, fields in D.DENOISE_PRESETS.items():
        make_objective(fields["objective"], **fields.get("options", {}))
        assert fields["objective"] in OBJECTIVES and "preset" not in fields, name


def test_every_preset_is_a_valid_training_record():
    train = pytest.importorskip("valor_lab.training.loop")
    for name, fields in D.DENOISE_PRESETS.items(): train.resolved(train.TrainConfig(**fields))


def test_options_of_objectives_do_not_hide_options_of_training_or_of_the_networks():
    train, models = pytest.importorskip("valor_lab.training.loop"), pytest.importorskip("valor_lab.models")
    taken = {f.name for f in fields(train.TrainConfig)} | {f.name for _, config in models.BACKBONES.values() for f in fields(config)}
    for name, (_, config) in OBJECTIVES.items():
        if config is not None: assert not taken & {f.name for f in fields(config)}, name


def toy_splits(data_class):
    "Three small splits with scores, on three events."
    from valor_lab.harvest import Scores
    from valor_lab.labels import WeakLabels
    from valor_lab.vocab import Vocab
    vocab = Vocab("toy", *(getattr(LLP, f)[:3] for f in ("events", "clip_captions", "clap_captions")), np.zeros(3), np.zeros(3))

    def split(n, seed):
        rng = np.random.default_rng(seed)
        y = (rng.random((n, 2, 1, 3)) < .4) & (rng.random((n, 2, T, 3)) < .6)
        x, ids, weak = (y*3 + rng.normal(size=y.shape)).astype(np.float32), [f"{seed}-{i}" for i in range(n)], y.any((1, 2))
        labels = SegmentLabels(ids, y[:, 0], y[:, 1], vocab)
        return data_class(ids, WeakLabels(ids, weak, vocab), labels, labels, dict(audio=x[:, 0], visual=x[:, 1]), vocab, name="toy", total=n, scores=Scores(ids, x[:, 0]-1, x[:, 1]-1, vocab))

    return split(24, 1), split(12, 2), split(12, 3)


@pytest.mark.parametrize("name", ["pld", "ma", "jomold", "ppl", "valor-soft", "vplan", "han-labeler", "jomold-ave"])
def test_every_method_trains_through_the_one_loop_and_leaves_its_labels_in_the_run(name, tmp_path):
    train, datasets = pytest.importorskip("valor_lab.training.loop"), pytest.importorskip("valor_lab.datasets")
    data, val, test = toy_splits(datasets.Dataset)
    config = train.preset(name)
    config = train.override(config, {"d_model": 16, "epochs": 2, "batch_size": 8} | ({"n_heads": 2, "d_ff": 16} if config.backbone == "han" else {}))
    if name == "ppl": config = train.override(config, {"prototype_warmup": 1})
    run = train.fit(config, data, tmp_path/"run", val, test, device="cpu", progress=False)
    assert run.finished and len(run.metrics) == 2 and "segment/type" in run.scores["test"]
    own = datasets.load_labels("train", run.path, data.vocab)
    assert list(own.ids) == list(data.ids)
    assert not (own.audio & ~data.weak.mask[:, None]).any() and not (own.visual & ~data.weak.mask[:, None]).any()
    assert (name == "ma") <= (run.scores["best_epoch"] == 2)             # MA keeps its last epoch


def test_ppl_does_not_look_at_padding():
    def ppl(fill):
        run, _ = a_run()
        mask = torch.arange(run.data["audio"].shape[1])[None] < torch.arange(24)[:, None] % 6 + 3
        run.data.update(mask=mask, **{m: torch.where(mask[..., None], run.data[m], fill) for m in ("audio", "visual")})
        objective = make_objective("ppl", prototype_warmup=0, key_share=.5)
        objective.start(run), objective.start_epoch(1)
        times = torch.tensor([[0, 2, 1], [1, 2, 0]])
        batch = objective.before_batch(run.model, {"index": torch.tensor([5, 0]), "times": times, "mask": torch.tensor([[True]*3, [True, True, False]]), "weak": run.data["weak"][[5, 0]],
                                                   **{m: run.data[m][torch.tensor([[5], [0]]), times] for m in ("audio", "visual")}})
        return objective, mask, batch, objective.loss(run.model, batch, run.model.eval()(batch["audio"], batch["visual"], mask=batch["mask"]))
    (one, mask, batch, loss), (two, _, _, other) = ppl(torch.tensor(0.)), ppl(torch.tensor(9.))
    assert one.soft[mask].any() and not one.soft[~mask].any() and not one.known[~mask].any()
    torch.testing.assert_close(one.soft, two.soft)
    torch.testing.assert_close(batch["soft"][0], one.soft[5, [0, 2, 1]])
    assert (batch["known"][1, 2] == 0).all()
    for k in loss: torch.testing.assert_close(loss[k], other[k], msg=k)


def test_given_labels_take_the_place_of_pseudo_labels_after_the_warm_up():
    run, _ = a_run()
    objective = make_objective("ppl", pseudo="given", prototype_warmup=1)
    assert objective.needs == ("labels_audio", "labels_visual")
    objective.start(run), objective.start_epoch(1)
    assert not objective.known.any()
    objective.start_epoch(2)
    torch.testing.assert_close(objective.soft, torch.stack([run.data["labels_audio"], run.data["labels_visual"]], 2).float())
    assert (objective.known == 1).all()
    with pytest.raises(ParameterError, match="pseudo"): make_objective("ppl", pseudo="guessed").needs


def test_a_removed_audio_label_is_gone_from_the_target_of_the_video_as_in_the_released_loader():
    weak, removed = torch.tensor([[1., 1.]]), torch.tensor([[[True, False]], [[False, True]]])
    for choice, want in (("released", [[0., 1.]]), ("weak", None)):
        ma = D.MA(D.MAConfig(video_target=choice))
        ma.removed = removed
        got = ma.before_batch(None, dict(index=torch.tensor([0]), weak=weak))
        assert (got.get("target_video").tolist() if want else got.get("target_video")) == want and got["target_visual"][0, 1] == 0 and got["target_audio"][0, 0] == 0
    assert D.DENOISE_PRESETS["ma"]["epochs"] == D.DENOISE_PRESETS["ma-base"]["epochs"] == 12 and make_objective("ma").config.video_target == "released"
    with pytest.raises(ParameterError, match="video_target='video'"): make_objective("ma", video_target="video")
    losses = D.Supervision().loss(None, dict(weak=weak, target_video=torch.tensor([[0., 1.]]), labels_audio=torch.zeros(1, 1, 2), labels_visual=torch.zeros(1, 1, 2)),
                                  SimpleNamespace(video_prob=torch.tensor([[.5, .5]]), audio_prob=weak, visual_prob=weak, segment_logits=torch.zeros(1, 1, 2, 2)))
    assert losses["video"] == pytest.approx(math.log(2), rel=1e-6)


def test_the_row_han_as_labeler_trains_on_the_labels_of_a_han():
    from valor_lab.training import preset
    assert preset("t2-han-labeler").objective == "han-labeler" and preset("vplan-pld").objective == "vplan-pld" and preset("unfiltered").objective == "unfiltered"
