"""Long clips on a grid of one second: ActivityNet's JSON, two rows of features a second, temporal mAP, and what UWAV learns from them."""
import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from valor_lab import harvest, training
from valor_lab.core import ParameterError
from valor_lab.datasets import inventory, load_dataset
from valor_lab.metrics import detection_scores, read_actions
from valor_lab.tasks import activitynet_toml

EVENTS = ("dog barking", "rain", "playing violin")

def toy(root, name="unav100", counts=(12, 3, 4), widths=dict(seconds=(12, 10)), seed=0):
    "A made-up set in UnAV-100's layout: an event adds its direction to the seconds in which it is heard and seen."
    (folder := root/name).mkdir(parents=True)
    rng, database = np.random.default_rng(seed), {}
    truth = {}
    for subset, n in zip(("train", "validation", "test"), counts):
        for i in range(n):
            duration, spans = int(rng.integers(14, 30)), []
            for e in rng.choice(3, rng.integers(1, 3), replace=False):
                start = int(rng.integers(0, duration - 6))
                spans.append((int(e), start, start + int(rng.integers(3, 7))))
            video = f"{subset[:2]}{i:09d}"
            truth[video] = duration, spans
            database[video] = dict(subset=subset, duration=duration - .3, url="", annotations=[dict(label=EVENTS[e], label_id=e, segment=[s, min(t, duration - .3)]) for e, s, t in spans])
    (folder/"unav100_annotations.json").write_text(json.dumps(dict(version="toy", database=database)))
    kinds = {k: dict(audio=(f"{k}/a", w[0]), visual=(f"{k}/v", w[1])) for k, w in widths.items()}
    (folder/"dataset.toml").write_text(activitynet_toml(folder/"unav100_annotations.json", kinds))
    for kind, parts in kinds.items():
        for m, (where, width) in parts.items():
            (folder/where).mkdir(parents=True)
            mix = np.random.default_rng(7).normal(size=(3, width))
            for video, (duration, spans) in truth.items():
                x = .5*rng.normal(size=(duration, width))
                for e, s, t in spans: x[s:t] += 2*mix[e]
                np.save(folder/where/f"{video}.npy", x.astype(np.float32))
    return root

TINY = dict(d_model=16, d_ff=16, n_heads=1, epochs=2, warmup=1, batch_size=4, lr=3e-3, window=20)

def test_the_annotations_of_the_layout_are_read_with_their_subsets(tmp_path):
    data = load_dataset("unav100", toy(tmp_path), "val", "seconds")
    assert len(data) == 3 and data.features["visual"].seconds == 1. and data.truth.vocab.events == tuple(sorted(EVENTS))
    assert data.vocab.clap_captions[0] == "This is the sound of dog barking" and data.labels is None
    stock = inventory("unav100", tmp_path).set_index(["what", "split"])
    assert stock.loc[("annotations", "train"), "here"] == 12 and stock.loc[("features (seconds)", "test"), "here"] == 4
    weak, truth = __import__("valor_lab.datasets", fromlist=["x"]).read_split("unav100", "train", tmp_path)
    assert len(weak) == 12 and truth.audio.any()

def test_it_trains_and_is_measured_by_temporal_map(tmp_path):
    root = toy(tmp_path/"data")
    splits = training.load_splits("unav100", root, "small", "seconds")
    config = training.for_dataset(training.preset("tal-mil"), "unav100", root=root)
    assert config.features == "seconds"
    run = training.fit(training.override(config, TINY), splits["train"], tmp_path/"r", splits["val"], splits["test"], device="cpu", progress=False)
    assert set(run.scores["test"]) == set(training.find_task("tal").scores) and run.scores["test"]["mAP@0.1"] >= 0
    said = run.task.read(run.path/"predictions", "test", run.vocab)
    assert detection_scores(said.table, splits["test"].truth)["mAP@0.5"] == pytest.approx(run.scores["test"]["mAP@0.5"])
    assert (said.table.end <= 30).all() and np.allclose(said.table.start % 1, 0)                        # the grid is of one second
    assert run.task.figures({"tal-mil": [run]}, splits["test"])

def test_the_truth_as_an_activation_is_found_whole(tmp_path):
    from valor_lab.tasks import detect
    data = load_dataset("unav100", toy(tmp_path), "test", "seconds")
    from valor_lab.metrics import on_grid
    lengths = data.features["audio"].lengths
    grid = on_grid(data.truth, 1., lengths.max()).astype(float)
    found = detect(np.stack([grid, grid], 2), data.weak.mask.astype(float), lengths, data.ids, data.truth.durations, data.vocab, seconds=1.)
    assert detection_scores(found.table, data.truth)["mAP@0.7"] == 100

SPOILS = [
    (lambda v: v.pop("duration"), "expected subset, duration and annotations"), (lambda v: v.update(duration="20"), "is not a number"),
    (lambda v: v.update(duration=0), "duration is 0"), (lambda v: v.update(annotations={}), "annotations is no list"),
    (lambda v: v["annotations"].append(dict(label="cow", segment=[1, 2])), "unknown action 'cow'"),
    (lambda v: v["annotations"].append(dict(label="rain", segment=[1])), "a label and a segment"),
    (lambda v: v["annotations"].append(dict(label="rain", segment=[1, True])), "is not a number"),
    (lambda v: v["annotations"].append(dict(label="rain", segment=[float("nan"), 2])), "nan|NaN"),
    (lambda v: v["annotations"].append(7), "a label and a segment")]

@pytest.mark.parametrize("spoil,says", SPOILS, ids=[str(i) for i in range(len(SPOILS))])
def test_an_annotation_that_makes_no_sense_is_named(tmp_path, spoil, says):
    root = toy(tmp_path)
    path = root/"unav100"/"unav100_annotations.json"
    body = json.loads(path.read_text())
    spoil(next(iter(body["database"].values())))
    path.write_text(json.dumps(body))
    with pytest.raises(ParameterError, match=says): load_dataset("unav100", root, "train", None)

def test_a_file_without_a_database_and_odd_spans(tmp_path):
    root = toy(tmp_path)
    path = root/"unav100"/"unav100_annotations.json"
    body = json.loads(path.read_text())
    first = next(v for v in body["database"].values() if v["subset"] == "train")
    first["annotations"] = [dict(label="rain", segment=[5, 3]), dict(label="rain", segment=[2, 99])]
    path.write_text(json.dumps(body))
    truth = load_dataset("unav100", root, "train", None).truth
    assert sorted(truth.findings.kind) == ["ends after the video", "reversed"]
    first["annotations"] = []
    path.write_text(json.dumps(body))
    assert len(load_dataset("unav100", root, "train", None)) == 12                                       # kept, with nothing in it
    path.write_text("[]")
    with pytest.raises(ParameterError): load_dataset("unav100", root, "train", None)

@pytest.mark.parametrize("shape,says", [((9, 10), "seconds of sound and 9 of picture"), ((20, 11), "shape"), ((0, 10), "no second|shape|NaN")])
def test_features_of_another_shape_or_length_are_refused(tmp_path, shape, says):
    root = toy(tmp_path)
    first = next(iter((root/"unav100"/"seconds"/"v").glob("tr*.npy")))
    np.save(first, np.ones(shape, np.float32))
    with pytest.raises(ParameterError, match=says): load_dataset("unav100", root, "train", "seconds")

def test_a_missing_second_a_missing_file_and_an_unknown_kind(tmp_path):
    root = toy(tmp_path)
    first = sorted((root/"unav100"/"seconds"/"a").glob("tr*.npy"))[0]
    x = np.load(first)
    x[3] = np.nan
    np.save(first, x)
    with pytest.raises(ParameterError, match="a second is missing"): load_dataset("unav100", root, "train", "seconds")
    first.unlink()
    data = load_dataset("unav100", root, "train", "seconds")
    assert len(data) == 11 and data.missing.what.tolist() == ["seconds audio"]
    with pytest.raises(ParameterError, match="names seconds"): load_dataset("unav100", root, "train", "clipclap")
    with pytest.raises(ParameterError, match="no split|split"): load_dataset("unav100", root, "holdout", "seconds")

def test_uwavs_generator_is_pre_trained_where_the_set_is_here_and_says_so(tmp_path, monkeypatch):
    from test_makers import Reader, store_of
    from valor_lab.training import recipes
    from valor_lab.labels import WeakLabels
    from valor_lab.vocab import LLP
    root = toy(tmp_path, widths=dict(seconds=(12, 10), clipclap=(16, 16)))
    monkeypatch.setitem(recipes.GENERATOR, "epochs", 1)
    weak = WeakLabels(["p", "q"], np.eye(2, 25, dtype=bool), LLP)
    store = store_of(weak)
    class Data: ids, name = ("p", "q"), "toy"
    d = Data()
    d.weak, d.vocab, d.truth = weak, LLP, None
    monkeypatch.setattr(recipes, "_validation", lambda data, root: None)
    labels = recipes._uwav(d, root, store, lambda: (Reader("visual"), Reader("audio")))
    assert "pre-trained on UnAV-100's dense labels" in labels.made and len(list((root/"generators").iterdir())) == 1
    other = store_of(weak, d=20)
    own = recipes._uwav(d, root, other, lambda: (Reader("visual"), Reader("audio")))
    assert "own weak labels (UnAV-100's features are [16, 16] wide, this set's [20, 20])" in own.made
