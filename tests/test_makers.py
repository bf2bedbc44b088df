"""Labels made of the teachers' embeddings: sentences that compete (LSLD), seconds that know their neighbours (UWAV)."""
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from valor_lab import harvest as h, training
from valor_lab.core import ParameterError
from valor_lab.datasets import load_dataset
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.vocab import LLP, Vocab

ABC = Vocab("abc", *(["a", "b", "c"],)*3, [0.]*3, [0.]*3)


# -- LSLD

@pytest.mark.parametrize("events,says", [
    (["A"], ["A", "other"]), (["A", "B"], ["A and B", "A", "B", "other"]),
    (["A", "B", "C"], ["A and B and C", "A", "B", "C", "A and B", "A and C", "B and C", "other"])])
def test_the_sentences_of_a_clip_are_those_of_the_paper_in_their_order(events, says): assert h.sentences_of(events) == says

def slow_competition(x, weak, words, embed):
    "The rule of the specification, second by second."
    out = np.zeros((len(x), x.shape[1], weak.shape[1]))
    for i in range(len(x)):
        events = np.flatnonzero(weak[i])
        if not 1 <= len(events) <= 3: out[i, :, events] = 1; continue
        some = h.sentences_of([words[e] for e in events])
        texts = embed(some)
        for t in range(x.shape[1]):
            cosine = [x[i, t] @ v/np.linalg.norm(x[i, t])/np.linalg.norm(v) for v in texts]
            best = some[int(np.argmax(cosine))]
            for e in events: out[i, t, e] = words[e] in best.split(" and ")
    return out

def test_sixty_random_clips_are_labelled_as_by_the_slow_rule():
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(6)]
    memory = {}
    embed = lambda some: np.stack([memory.setdefault(s, rng.normal(size=8)) for s in some])
    weak = np.zeros((60, 6), bool)
    for row in weak: row[rng.choice(6, rng.integers(0, 5), replace=False)] = True                  # none to four events
    x = rng.normal(size=(60, 5, 8))
    got = h.competing(x, weak, words, embed)
    assert np.array_equal(got, slow_competition(x.astype(np.float32), weak, words, embed)) and 0 < got.mean() < weak.mean()
    x[3, 2] = np.nan
    assert not h.competing(x, weak, words, embed)[3, 2].any()
    with pytest.raises(ParameterError, match="expected \\[59"): h.competing(x, weak[:59], words, embed)

def test_reweighting_is_that_of_the_hand_example_and_leaves_separated_classes_alone():
    s = np.array([.21, .26, .30, .10, .20, .28])
    x, y = np.stack([s, np.sqrt(1 - s**2)], 1)[None], np.array([1, 1, 1, 0, 0, 0.])[None, :, None]
    assert np.allclose(h.reweighted(y, x, [[1., 0.]]).ravel(), [.84, 1, 1, 0, 0, .112], atol=1e-6)
    apart = h.reweighted(np.array([1, 1, 1, 0, 0, 0.])[None, :, None], np.stack([t := np.sort(s)[::-1].copy(), np.sqrt(1 - t**2)], 1)[None], [[1., 0.]])
    assert apart.ravel().tolist() == [1, 1, 1, 0, 0, 0]
    none = h.reweighted(np.zeros((1, 6, 1)), x, [[1., 0.]])
    assert not none.any()

def store_of(weak, d=16, seed=0, both=True, vocab=LLP):
    "A store in memory whose seconds are the clip's events in some of them; its captions are known."
    rng = np.random.default_rng(seed)
    texts = {m: rng.normal(size=(len(vocab), d)) for m in ("audio", "visual")}
    about = dict(name="toy", fingerprint="x", scale=10., width=d)
    x = {m: np.einsum("nc,cd->nd", weak.mask.astype(float), texts[m])[:, None] + rng.normal(size=(len(weak), 10, d)) for m in texts}
    settings = dict(n_segments=10, sampling="", rate=None, audio=about, visual=about if both else None, window=None, segment_seconds=1.)
    store = h.FeatureStore.of_arrays(settings, weak.ids, np.full(len(weak), 10.), x["audio"].astype(np.float16), x["visual"].astype(np.float16) if both else None)
    for m, captions in (("audio", vocab.clap_captions), ("visual", vocab.clip_captions)): store.captions[m].update(zip(captions, texts[m].astype(np.float32)))
    return store

class Reader:
    "A teacher that reads any sentence."
    known_captions, name, fingerprint, width = None, "toy", "x", 16
    def __init__(self, modality): self.modality, self.asked = modality, []
    def embed_text(self, some):
        self.asked += some
        return np.stack([np.random.default_rng(sum(map(ord, s))).normal(size=16) for s in some]).astype(np.float32)

def test_the_prompts_are_the_published_ones_and_the_labels_lie_within_the_weak_label_unless_reweighted():
    mask = np.zeros((4, 25), bool)
    mask[0, [0, 3]] = mask[1, 5] = mask[2, [1, 2, 4]] = True
    weak = WeakLabels([f"c{i}" for i in range(4)], mask, LLP)
    clip, clap = Reader("visual"), Reader("audio")
    labels = h.lsld_labels(store_of(weak), weak, clip, clap)
    assert "Speeching and Dog" in clip.asked and "This is a sound of Speeching and Dog" in clap.asked and "This is a sound of other" in clap.asked
    assert "Frying_(food)" in clip.asked and not any("photo" in s for s in clip.asked)
    assert not (labels.soft[0]*~mask[:, None]).any() and set(np.unique(labels.soft[0])) <= {0., 1.} and "read by the teachers" in labels.made
    assert not labels.audio[3].any() and labels.select(["c2"]).soft[1].shape == (1, 10, 25)
    hard = h.lsld_labels(store_of(weak), weak, clip, clap, reweight=False)
    assert (hard.soft[1] == hard.visual).all()
    with pytest.raises(ParameterError, match="the store has no visual"): h.lsld_labels(store_of(weak, both=False), weak, clip, clap)
    with pytest.raises(KeyError, match="zz"): h.lsld_labels(store_of(weak), WeakLabels(["zz"], mask[:1], LLP), clip, clap)

def test_soft_labels_reach_the_loss_and_count_in_the_mark_of_the_data():
    data = training.toy_set(6, 1) if hasattr(training, "toy_set") else None
    from valor_lab.training.tasks import describe, on_device, toy_set
    data = toy_set(6, 1)
    soft = h.SoftLabels.of(data.ids, np.full((6, 10, 3), .7), np.full((6, 10, 3), .2), data.vocab)
    tensors = on_device(replace(data, labels=soft))
    assert torch.allclose(tensors["labels_audio"], torch.tensor(.7)) and torch.allclose(tensors["labels_visual"], torch.tensor(.2))
    other = h.SoftLabels.of(data.ids, np.full((6, 10, 3), .8), np.full((6, 10, 3), .2), data.vocab)
    assert describe(replace(data, labels=soft))["labels"] != describe(replace(data, labels=other))["labels"]
    with pytest.raises(ParameterError, match="from 0 to 1"): h.SoftLabels.of(data.ids, np.full((6, 10, 3), 1.2), np.zeros((6, 10, 3)), data.vocab)


# -- UWAV

def test_the_losses_of_the_generator_by_hand():
    z = torch.zeros(1, 2, 1)
    y, there = torch.tensor([[[1.], [0.]]]), torch.ones(1, 2, dtype=torch.bool)
    assert torch.isclose(h.both_loss(z, z, y, there), -(torch.tensor(.25).log() + torch.tensor(.75).log())/2)
    assert torch.isclose(h.both_loss(z, z, y, torch.tensor([[True, False]])), -torch.tensor(.25).log())
    p = torch.logit(torch.tensor([[[.9], [.1]]]))
    assert torch.isclose(h.pooled_prob(p, there)[0, 0], torch.tensor(.82))
    want = 1 - (1 - .82)*(1 - .5)
    assert torch.isclose(h.somewhere_loss(p, z, torch.ones(1, 1), (there, there)), -torch.tensor(want).log(), atol=1e-6)

def test_the_gradients_of_the_generators_losses_are_their_derivatives():
    torch.manual_seed(0)
    a, v = (torch.randn(2, 4, 3, dtype=torch.double, requires_grad=True) for _ in range(2))
    there = torch.ones(2, 4, dtype=torch.bool)
    there[0, 3] = False
    y, w = (torch.rand(2, 4, 3) < .4).double(), (torch.rand(2, 3) < .5).double()
    assert torch.autograd.gradcheck(lambda a, v: h.both_loss(a, v, y, there), (a, v))
    assert torch.autograd.gradcheck(lambda a, v: h.somewhere_loss(a, v, w, (there, there)), (a, v))
    big = torch.full((1, 1, 1), 60., requires_grad=True)
    h.both_loss(big, big, torch.zeros(1, 1, 1), torch.ones(1, 1, dtype=torch.bool)).backward()
    assert torch.isfinite(big.grad).all()

SMALL = h.GeneratorConfig(n_layers=1, n_heads=2, wide=1, epochs=3, warmup=1, lr=3e-3, batch_size=8)

def test_five_printed_blocks_and_missing_seconds_that_nobody_sees():
    g = h.LabelGenerator((8, 6), (10., 20.)).eval()
    assert len(g.audio.blocks) == 5 and g.audio.blocks[0].linear1.out_features == 32 and g.visual.blocks[0].self_attn.num_heads == 6
    x, text = torch.randn(2, 10, 8), torch.randn(3, 8)
    there = torch.ones(2, 10, dtype=torch.bool)
    there[0, 7:] = False
    other = x.clone()
    other[0, 7:] = 5.
    with torch.no_grad(): one, two = g.audio(x, text, there), g.audio(other, text, there)
    assert torch.allclose(one[0, :7], two[0, :7], atol=1e-5) and torch.allclose(one[1], two[1], atol=1e-5)
    assert torch.isfinite(g.audio(x, text, torch.zeros(2, 10, dtype=torch.bool))).all()

def test_labels_are_sigmoid_of_the_distance_from_the_threshold_within_the_weak_label():
    weak = WeakLabels(["p", "q"], [[True, False, True], [False, True, False]], ABC)
    z = np.array([[[1., 2., np.nan]], [[0., -1., 3.]]])
    scores = h.Scores(["p", "q"], z, z, ABC)
    soft = h.uncertain_labels(scores, weak).soft[0]
    s = lambda x: 1/(1 + np.exp(-x))
    assert np.allclose(soft, [[[s(1), 0, 0]], [[0, s(-1), 0]]], atol=1e-6)

@pytest.mark.parametrize("spoil,says", [
    (dict(labels=None), "one of them"), (dict(labels=np.zeros((6, 9, 2))), "expected \\[6, 10, 2\\]"), (dict(labels=None, weak=np.zeros((5, 2))), "expected \\[6, 2\\]")])
def test_a_generator_refuses_labels_of_another_shape(spoil, says):
    x, text = np.random.default_rng(0).normal(size=(6, 10, 8)), np.eye(8)[:2]
    with pytest.raises(ParameterError, match=says):
        h.train_generator(x, x, (text, text), (1., 1.), **dict(dict(labels=np.zeros((6, 10, 2)), config=SMALL, progress=False) | spoil))

def test_a_generator_is_the_same_for_the_same_seed_and_takes_clips_without_one_stream():
    x, text = np.random.default_rng(0).normal(size=(6, 10, 8)), np.eye(8)[:2]
    x[1] = np.nan
    go = lambda **o: h.train_generator(x, np.nan_to_num(x), (text, text), (5., 5.), **o, config=SMALL, progress=False)
    weak = np.random.default_rng(1).random((6, 2)) < .5
    one, two = go(weak=weak), go(weak=weak)
    assert one[1] == two[1] and all(torch.equal(a, b) for a, b in zip(one[0].parameters(), two[0].parameters()))
    scores = h.generated_scores(one[0], list("abcdef"), x, np.nan_to_num(x), (text, text), Vocab("two", *(["a", "b"],)*3, [0.]*2, [0.]*2))
    assert np.isnan(scores.audio[1]).all() and np.isfinite(scores.audio[0]).all()


# -- by name, for any method

@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("makers")
    training.prepare("demo", "tiny", root)
    return root

@pytest.mark.parametrize("name,says", [("lsld", "composed of captions"), ("uwav", "own weak labels (UnAV-100 is not here")])
def test_any_method_trains_on_labels_that_a_maker_makes(demo, tmp_path, name, says, monkeypatch, capsys):
    from valor_lab.training import recipes
    monkeypatch.setitem(recipes.GENERATOR, "epochs", 2)
    splits = training.load_splits("demo", demo, "tiny", "simple", labels=name)
    data = splits["train"]
    assert says in data.labels_from and says in capsys.readouterr().out and data.labels.soft and data.labels.ids == data.ids
    assert (data.labels.audio & ~data.weak.mask[:, None]).sum() == 0
    preset = "uwav" if name == "uwav" else "valor"
    config = training.override(training.for_dataset(training.preset(preset), "demo", "tiny", demo), dict(epochs=1))
    run = training.fit(config, data, tmp_path/"r", splits["val"], splits["test"], device="cpu", progress=False)
    assert np.isfinite(run.scores["test"]["segment/type"])
    if name == "uwav": assert len(list((demo/"generators").glob("*.safetensors"))) == 1 and training.choose_labels(replace(data, labels=None), name, demo).labels.soft[0].sum() == data.labels.soft[0].sum()

def test_a_set_without_a_store_is_refused_and_an_unknown_name_lists_the_makers(demo, tmp_path):
    data = load_dataset("demo", demo, "train", "simple", size="tiny")
    with pytest.raises(ParameterError, match="one of lsld, uwav"): training.choose_labels(data, "lslt", demo)
    with pytest.raises(ParameterError, match="no feature store"): training.choose_labels(data, "lsld", tmp_path)
