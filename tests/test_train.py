"Training: what a run promises about its record, its interruption and its scores. Small made-up sets; no demo set is needed."
import json, os, re, signal, subprocess, sys, time, tomllib
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
pytest.importorskip("lightning_fabric")

from valor_lab import models
from valor_lab.methods import objectives
from valor_lab.training import (parsing, plans, recipes, runs as run_folders, tasks, loop as train, PRESETS, TrainConfig, fit, learning_rate,
                                override, preset)
from valor_lab.cli import main
from valor_lab.core import ParameterError
from valor_lab.datasets import Dataset
from valor_lab.labels import SegmentLabels, WeakLabels, read_segments
from valor_lab.metrics import avvp_scores
from valor_lab.vocab import LLP, Vocab

TOY = Vocab("toy", *(getattr(LLP, f)[:3] for f in ("events", "clip_captions", "clap_captions", "clip_thresholds", "clap_thresholds")))
SMALL = dict(d_model=16, d_ff=16, n_heads=2, epochs=4, warmup=2, lr=3e-3, batch_size=16)

class Scores:
    "Teacher scores as the loop sees them."
    def __init__(self, ids, audio, visual): self.ids, self.audio, self.visual = ids, audio, visual
    def select(self, ids):
        rows = [list(self.ids).index(i) for i in ids]
        return Scores(ids, self.audio[rows], self.visual[rows])

def toy_set(n=48, seed=1, name="toy", widths=(12, 12, 12), vocab=TOY, t=10):
    rng, c = np.random.default_rng(seed), len(vocab)
    y = np.repeat(rng.random((n, 2, 2, c)) < .3, t//2, 2)                                  # [N,2,T,C]
    x = {k: (y[:, m] @ np.random.default_rng(9).normal(size=(c, w)) + rng.normal(size=(n, t, w))).astype(np.float16) for k, m, w in zip(("audio", "visual", "motion"), (0, 1, 1), widths)}
    ids = [f"{seed}-{i:03d}" for i in range(n)]
    truth = SegmentLabels(ids, y[:, 0], y[:, 1], vocab)
    scores = Scores(ids, *(y[:, m]*8. + rng.normal(size=y[:, m].shape) for m in (0, 1)))
    return Dataset(tuple(ids), WeakLabels(ids, y.any((1, 2)), vocab), truth, truth, x, vocab, scores, name, total=n + 2)

def by_hand(path, name, wrong, seed, data):
    "A finished run whose test predictions are the truth with a share `wrong` of entries turned around; nothing is trained."
    from types import SimpleNamespace
    from valor_lab.models import HANOutput
    run, config = train.Run(path), train.resolved(train.override(train.preset("valor"), dict(preset=name, seed=seed, epochs=0)))
    train.claim(run, config, train.identity(config, dict(test=data)))
    y = np.stack([data.truth.audio, data.truth.visual], 2)
    y = y ^ (np.random.default_rng(seed).random(y.shape) < wrong)                                                # [N,T,2,C]
    clip = torch.from_numpy(y.any((1, 2))).float()
    scored = train.Scored(SegmentLabels(data.ids, y[:, :, 0], y[:, :, 1], data.vocab), HANOutput(clip, clip, clip, torch.from_numpy(8*y - 4.).float()))
    run.task.write(run.path/"predictions", "test", scored)
    train.write_json(run.path/"scores.json", dict(epochs=0, parameters=0, seconds=0., gates=None, test=run.task.evaluate(scored.labels, data.truth)))
    return run


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

@pytest.fixture(scope="session")
def sets(): return toy_set(seed=1), toy_set(24, seed=2), toy_set(24, seed=3)

def run_fit(out, sets, name="valor", **options):
    over = options.pop("over", {})
    data, val, test = sets
    return fit(override(preset(name), SMALL | over), data, out, val, test, **dict(device="cpu", progress=False) | options)

@pytest.fixture(scope="session")
def run(tmp_path_factory, sets):
    torch.set_num_threads(1)
    return run_fit(tmp_path_factory.mktemp("runs")/"valor", sets)

def weights(run, which="last"): return safetensors.load_file(run.path/f"{which}.safetensors")
def same(a, b): return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)

# -- the record

@pytest.mark.parametrize("text, says", [("learning_rate = 1", "learning_rate"), ("epochs = 'ten'", "expected int"), ("epochs = true", "expected int"), ("lr = -1", "more than 0"), ("lr = 0", "more than 0"), ("lr = nan", "finite"), ("lr = inf", "finite"), ("weight_decay = inf", "finite"),
    ("threshold = 1.5", "0 to 1"), ("threshold = nan", "finite"), ("beta1 = 1", "less than 1"), ("beta2 = -0.1", "less than 1"), ("dropout = 1.0", "less than 1"), ("dropout = nan", "less than 1"), ("dropout = 'a'", "expected float"), ("visual_head_dropout = -1", "less than 1"), ("d_model = '64'", "expected int"), ("step_factor = -1", "0 or more"),
    ("d_model = 100", "n_heads"), ("n_events = 3", "n_events"), ("select = 'F'", "segment/type"), ("objective = 'velour'", "velour"), ("lr 3", "TOML"), ("visual = 'dens'", "dens"), ("[network]\nd_audio = 4", "follows from the data")])
def test_a_wrong_value_is_refused_and_named(text, says):
    with pytest.raises(ParameterError, match=says): override(TrainConfig(), text)

def test_an_option_finds_its_place_by_its_plain_name():
    c = override(preset("han"), "epochs = 3\nd_model = 64\nsmoothing_visual = 0.5")
    assert (c.epochs, c.network, c.options) == (3, {"d_model": 64}, {"smoothing_visual": .5})

@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_survives_toml_in_full(name, tmp_path):
    c = train.resolved(preset(name))
    (tmp_path/"c.toml").write_text(train.to_toml(c))
    assert train.read_config(tmp_path/"c.toml") == c and train.resolved(c) == c and c.network and preset(c.preset) is preset(name)

def test_presets_hold_the_published_values():
    v, p, pp, h, old = (train.resolved(preset(n)) for n in ("valor", "valor+", "valor++", "han", "han-2020"))
    assert (v.lr, v.min_lr, v.batch_size, v.epochs, v.clip_norm, v.beta1, v.beta2, v.weight_decay, v.warmup, v.ties, v.optimizer) == (1e-4, 1e-6, 64, 60, 1., .5, .999, 1e-3, 10, "first", "adamw")
    assert [p.network[k] for k in ("d_model", "n_layers", "n_heads", "d_ff")] == [256, 4, 8, 1024] and (p.lr, p.min_lr, p.seed, pp.seed, pp.features) == (3e-4, 3e-6, 64, 87, "clipclap")
    assert h.objective == "base" and replace(h, preset="", objective="valor", options={}) == replace(v, preset="", options={})
    assert (old.optimizer, old.lr, old.beta1, old.weight_decay, old.batch_size, old.epochs, old.clip_norm, old.ties, old.schedule) == ("adam", 3e-4, .9, 0, 16, 40, 0, "last", "step")
    assert [old.network[k] for k in ("n_heads", "d_ff", "visual_attends")] == [1, 512, "original_audio"]

def test_the_rate_follows_the_printed_schedule():
    c = preset("valor")
    assert [round(learning_rate(c, e)*1e5, 6) for e in (1, 5, 9, 10)] == [1, 5, 9, 10]
    assert learning_rate(c, 35) == pytest.approx(1e-6 + .5*(1e-4 - 1e-6)) and learning_rate(c, 60) == pytest.approx(1e-6)
    assert [learning_rate(preset("han-2020"), e) for e in (1, 10, 11, 40)] == pytest.approx([3e-4, 3e-4, 3e-5, 3e-7])
    assert learning_rate(override(c, "epochs = 2"), 2) == pytest.approx(2e-5)

def test_list_presets_shows_only_what_differs():
    t = train.list_presets()
    assert set(PRESETS) == set(t.index) and "lr" in t and "beta2" not in t

def test_a_registered_preset_is_found_under_its_name():
    try: assert train.register_preset("mine+", TrainConfig(lr=1.)).preset == "mine+" and preset("mine+").lr == 1.
    finally: del PRESETS["mine+"]
    with pytest.raises(ParameterError): train.register_preset("../mine", TrainConfig())

@pytest.mark.parametrize("size", list(recipes.DEMO_SIZES))
def test_every_preset_can_be_planned_in_every_size(size):
    for name in [n for n, c in PRESETS.items() if c.task == "avvp"]:
        config, _ = plans.plan_runs(name, "demo", size)[name]
        assert config.features != "classic" and (size == "full" or train.resolved(config).network["d_model"] == recipes.DEMO_SIZES[size]["d_model"])

# -- tasks

@dataclass(kw_only=True, frozen=True)
class CountingOptions:
    margin:int = 0       # how far off a count may be
    weight:float = 1.

class Counting(tasks.Task):
    "How many events are heard in a second, within a margin."
    scores, headline, protocols, features, Options = ("near", "exact"), "near", ("rounded",), ("simple",), CountingOptions
    def predict(self, model, data, tensors, config, gates=None):
        said = models.forward_all(model, *(tensors.get(f) for f in ("audio", "visual", "motion")))
        y = (said.segment_prob >= .5).cpu().numpy() | (self.options(config).margin > 2)
        return tasks.Scored(SegmentLabels(data.ids, y[:, :, 0], y[:, :, 1], data.vocab), said)
    def per_clip(self, said, truth):
        off = np.abs(said.select(truth.ids).audio.sum(2) - truth.audio.sum(2))
        return pd.DataFrame(dict(near=100*(off <= 1).mean(1), exact=100*(off == 0).mean(1)), index=list(truth.ids))

@pytest.fixture
def counting():
    try: yield tasks.register_task("counting", Counting())
    finally: del tasks.TASKS["counting"]

COUNT = dict(task="counting", features="simple", select="near", protocol="rounded")

def test_a_record_names_its_task_and_only_parsing_goes_without_saying(counting):
    c = train.resolved(override(preset("valor"), SMALL | COUNT | dict(margin=2)))
    assert c.task_options == {"margin": 2, "weight": 1.} and tomllib.loads(train.to_toml(c))["task"] == "counting"
    assert override(TrainConfig(), train.to_toml(c)) == c and "task" not in tomllib.loads(train.to_toml(train.resolved(preset("valor"))))

@pytest.mark.parametrize("over, says", [(dict(task="sorting"), "task='sorting' is not known; choose one of 'avvp'"), (COUNT | dict(select="segment/type"), "choose one of 'near', 'exact', 'last'"), (COUNT | dict(protocol="avvp"), "choose one of 'rounded'"),
    (COUNT | dict(features="classic"), "choose one of 'simple'"), (COUNT | dict(margin="wide"), "margin='wide' is str, expected int"), (COUNT | dict(marge=1), "option='marge'"), (dict(task_options={"margin": 1}), "task 'avvp' has no options")])
def test_what_a_task_does_not_know_is_refused(counting, over, says):
    with pytest.raises(ParameterError, match=re.escape(says)): override(preset("valor"), over)

def test_another_task_runs_resumes_and_is_compared_through_the_same_loop(counting, tmp_path, sets):
    whole = run_fit(tmp_path/"whole", sets, over=COUNT)
    with pytest.raises(KeyboardInterrupt): run_fit(tmp_path/"cut", sets, over=COUNT, save_every=0, loggers=[Stop(3)])
    assert same(weights(run_fit(tmp_path/"cut", sets, over=COUNT)), weights(whole)) and set(whole.scores["test"]) == {"near", "exact"}
    assert whole.scores["best_epoch"] == whole.metrics.set_index("epoch")["val/near"].idxmax() and whole.task is counting
    wide = run_fit(tmp_path/"wide", sets, over=COUNT | dict(margin=3))                       # options reach the task: everything is claimed
    assert train.run_labels(wide).audio.all() and not train.run_labels(whole).audio.all()
    t = train.score_runs([whole], sets[2].truth)
    assert list(t.index) == ["near", "exact"] and t.loc["exact", "value"] == pytest.approx(whole.scores["test"]["exact"]) and t.loc["exact", "low"] < t.loc["exact", "value"] < t.loc["exact", "high"]
    assert not train.compare_runs([whole], [whole], sets[2].truth).to_numpy().any()

def test_runs_of_two_tasks_share_a_leaderboard_but_no_comparison(counting, tmp_path, sets, run):
    import shutil
    shutil.copytree(run.path, tmp_path/"parsing")
    other = run_fit(tmp_path/"counting", sets, over=COUNT | dict(epochs=1))
    board = train.list_runs(tmp_path, published=False).set_index("name")
    assert board.loc["counting", "task"] == "counting" and board.loc["parsing", "task"] == "avvp" and np.isnan(board.loc["parsing", "near"]) and np.isnan(board.loc["counting", "segment/type"])
    assert list(train.list_runs(tmp_path, published=False, task="counting").name) == ["counting"] and "near" not in train.list_runs(tmp_path, published=False, task="avvp")
    with pytest.raises(ParameterError, match="runs of different tasks"): train.compare_runs([other], [run], sets[2].truth)

# -- batches

def test_an_epoch_shows_every_clip_once_and_processes_share_it():
    whole = train.batches(50, 16, seed=3, epoch=2)
    assert sorted(torch.cat(whole).tolist()) == list(range(50)) and [len(b) for b in whole] == [16, 16, 16, 2]
    parts = [train.batches(50, 16, 3, 2, rank, 2) for rank in range(2)]
    assert [sorted([*a.tolist(), *b.tolist()]) for a, b in zip(*parts)] == [sorted(w.tolist()) for w in whole]

def test_a_last_batch_smaller_than_the_number_of_processes_is_shown_to_all():
    whole, parts = train.batches(49, 16, 3, 2), [train.batches(49, 16, 3, 2, rank, 2) for rank in range(2)]
    assert [len(p) for p in parts] == [4, 4] and all(torch.equal(p[-1], whole[-1]) for p in parts)
    assert set(torch.cat([*parts[0], *parts[1]]).tolist()) == set(range(49))

def test_features_that_are_not_finite_in_half_precision_are_refused(sets):
    for bad in (np.nan, np.inf, 1e6):
        x = sets[0].features["audio"].astype(np.float32).copy()
        x[3, 4, 5] = bad
        with pytest.raises(ParameterError, match="audio features hold 1 value"): train.on_device(replace(sets[0], features=sets[0].features | {"audio": x}))
    with pytest.raises(ParameterError, match="motion features of shape"): train.on_device(replace(sets[0], features=sets[0].features | {"motion": sets[0].features["motion"][:, :5]}))

# -- a run

def test_a_run_leaves_the_files_it_promises(run):
    names = {f.name for f in run.path.iterdir()}
    assert names == {"best.safetensors", "config.toml", "data.json", "environment.json", "last.safetensors", "metrics.csv", "predictions", "scores.json"}
    assert {f.name for f in (run.path/"predictions").iterdir()} == {f"{s}{e}" for s in ("val", "test") for e in ("_audio.csv", "_visual.csv", ".npz")}

def test_a_run_names_neither_machine_nor_folder(run):
    import socket
    for f in run.path.rglob("*"):
        if f.suffix in (".toml", ".json", ".csv"):
            text = f.read_text()
            assert str(run.path.parent) not in text and not re.search(r"/(home|root|tmp)/", text) and socket.gethostname() not in text

def test_the_run_says_what_it_saw(run, sets):
    d = run.data
    assert d["dataset"] == "toy" and (d["train"]["clips"], d["train"]["of"]) == (48, 50) and Vocab(**d["vocab"]) == TOY == run.vocab
    assert {"ids", "weak", "truth", "labels", "scores", "features/audio", "features/visual", "features/motion"} <= set(d["train"])
    assert {"valor_lab", "commit", "python", "torch", "device"} <= set(run._json("environment.json"))

def test_scores_are_those_of_the_predictions_on_disk(run, sets):
    for split, data in zip(("val", "test"), sets[1:]):
        labels = train.run_labels(run, split)
        assert avvp_scores(labels, data.truth) == run.scores[split]
        files = [run.path/"predictions"/f"{split}_{m}.csv" for m in ("audio", "visual")]
        listed = set().union(*(pd.read_csv(f, sep="\t", dtype=str).filename for f in files))
        claims = labels.audio.any((1, 2)) | labels.visual.any((1, 2))
        assert listed == {c for c, any_ in zip(labels.ids, claims) if any_} and listed         # a clip in which nothing is claimed has no row
        csv, said = read_segments(*files, sorted(listed), TOY), labels.select(sorted(listed))
        assert (csv.audio == said.audio).all() and (csv.visual == said.visual).all()
        assert (train.run_probabilities(run, split)["segment_prob"][:, :, 0][labels.audio] >= .5).all()
    assert train.predict(run, sets[2], device="cpu").audio.tolist() == train.run_labels(run).audio.tolist()

def test_the_best_epoch_is_the_first_highest_on_validation_and_its_weights_are_kept(run):
    m = run.metrics.set_index("epoch")["val/segment/type"]
    assert run.scores["best_epoch"] == m.idxmax() and run.scores["val"]["segment/type"] == pytest.approx(m.max())

def test_ties_go_to_the_first_or_the_last_epoch(tmp_path, sets):
    for ties, epoch in (("first", 1), ("last", 4)):     # a rate of next to nothing: all epochs are equal
        assert run_fit(tmp_path/ties, sets, over=dict(lr=1e-30, min_lr=0., ties=ties)).scores["best_epoch"] == epoch

def test_the_test_split_is_looked_at_once(tmp_path, sets, monkeypatch):
    seen, true = [], tasks.score_split
    monkeypatch.setattr(tasks, "score_split", lambda model, data, *a, **k: seen.append(data.ids[0]) or true(model, data, *a, **k))
    run_fit(tmp_path/"r", sets)
    assert seen.count(sets[2].ids[0]) == 1 and seen[-1] == sets[2].ids[0] and seen.count(sets[1].ids[0]) == 5

def test_without_validation_the_last_epoch_is_kept(tmp_path, sets):
    r = run_fit(tmp_path/"r", (sets[0], None, None))
    assert r.scores["best_epoch"] == 4 and same(weights(r, "best"), weights(r)) and "val" not in r.scores

def test_the_same_run_is_not_trained_again(run, sets):
    before = (run.path/"metrics.csv").stat().st_mtime_ns
    assert run_fit(run.path, sets).scores == run.scores and (run.path/"metrics.csv").stat().st_mtime_ns == before

def test_another_run_in_the_same_folder_is_refused(run, sets):
    with pytest.raises(ParameterError, match="lr: 0.003 there, 0.001 here"): run_fit(run.path, sets, over=dict(lr=1e-3))
    flipped = SegmentLabels(sets[0].ids, sets[0].labels.visual, sets[0].labels.audio, TOY)
    with pytest.raises(ParameterError, match="data train/labels: '"): run_fit(run.path, (replace(sets[0], labels=flipped), *sets[1:]))

def test_a_folder_whose_claim_was_interrupted_is_usable(tmp_path, sets, monkeypatch):
    class Killed(BaseException): pass
    def killed(config): raise Killed
    with monkeypatch.context() as m:
        m.setattr(run_folders, "to_toml", killed)                            # data.json is written, config.toml is not
        with pytest.raises(Killed): run_fit(tmp_path/"r", sets, over=dict(epochs=1))
    assert [f.name for f in (tmp_path/"r").iterdir()] == ["data.json"] and not len(train.list_runs(tmp_path, published=False, unfinished=True))
    r = run_fit(tmp_path/"r", sets, over=dict(epochs=1))
    assert r.finished
    for f in ("data.json", "scores.json"): (r.path/f).unlink()         # a record without its data: the same run goes on, another is refused
    with pytest.raises(ParameterError, match="lr: 0.003 there"): run_fit(r.path, sets, over=dict(epochs=1, lr=1e-3))
    assert run_fit(r.path, sets, over=dict(epochs=1)).finished

def test_weights_that_are_handed_in_are_part_of_what_a_run_is(tmp_path, sets):
    config, nets = override(preset("valor"), SMALL | dict(epochs=0)), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(train.build_model(config, train.on_device(sets[0])))
    go = lambda net, out, c=config: fit(c, *(sets[0], out, *sets[1:]), model=net, device="cpu", progress=False)
    first = go(nets[0], tmp_path/"r")
    assert go(nets[0], tmp_path/"r").scores == first.scores and first.data["weights"] == train.weights_mark(nets[0])
    with pytest.raises(ParameterError, match="data weights: '"): go(nets[1], tmp_path/"r")
    with pytest.raises(ParameterError, match="data weights: '"): go(None, tmp_path/"r")
    splits = lambda kind: dict(zip(("train", "val", "test"), sets))
    folders = [plans.train_all({"mine": (config, net)}, splits, tmp_path/"all", name="toy", device="cpu", progress=False)["mine"][0] for net in (*nets, None)]
    assert len({r.name for r in folders}) == 3 and not np.array_equal(*(train.run_probabilities(r)["segment_prob"] for r in folders[:2]))
    before = train.weights_mark(nets[0])
    go(nets[0], tmp_path/"trained", replace(config, epochs=1))
    assert train.weights_mark(nets[0]) == before                      # the caller's network is left as it is

def test_same_seed_same_weights_other_seed_others(run, tmp_path, sets):
    assert same(weights(run_fit(tmp_path/"a", sets)), weights(run))
    assert not same(weights(run_fit(tmp_path/"b", sets, over=dict(seed=5))), weights(run))

@pytest.mark.parametrize("name", ["han", "han-2020", "copied", "kd", "t2-no-modality", "t2-union", "t3-kd", "t3-global", "t3-dense-visual", "t3-dense-audio", "t3-deep"])
def test_every_objective_of_the_tables_trains(name, tmp_path, sets):
    r = run_fit(tmp_path/name, sets, name, over=dict(epochs=2))
    m = r.metrics
    assert m["loss/total"].iloc[-1] < m["loss/total"].iloc[0] and set(r.scores["test"]) == set(train.SCORES)

def test_lower_precision_trains_and_is_scored_in_full(tmp_path, sets, run):
    r = run_fit(tmp_path/"bf16", sets, over=dict(precision="bf16-mixed"))
    assert weights(r)["heads.event.weight"].dtype == torch.float32
    assert r.metrics["loss/total"].to_numpy() == pytest.approx(run.metrics["loss/total"].to_numpy(), rel=.02)
    with pytest.raises(ParameterError, match="needs a GPU"): run_fit(tmp_path/"fp16", sets, over=dict(precision="16-mixed"))

def test_a_missing_device_is_an_error(tmp_path, sets):
    with pytest.raises(ParameterError, match="tpu"): run_fit(tmp_path/"t", sets, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ParameterError, match="no GPU"): run_fit(tmp_path/"c", sets, device="cuda")
    for odd in ("cuda:99", "cpu:x", "cuda:x", "cuda:-1", ""):
        with pytest.raises(ParameterError, match="device="): run_fit(tmp_path/"o", sets, device=odd)

def test_a_missing_field_is_an_error_before_the_first_step(tmp_path, sets):
    with pytest.raises(ParameterError, match="labels_audio"): run_fit(tmp_path/"r", (replace(sets[0], labels=None), *sets[1:]))

def test_a_validation_split_without_truth_is_refused_before_the_first_step(tmp_path, sets):
    with pytest.raises(ParameterError, match="has no truth"): run_fit(tmp_path/"r", (sets[0], replace(sets[1], truth=None), sets[2]))
    assert not (tmp_path/"r").exists()

def test_a_loss_that_is_not_a_number_stops_with_its_name(tmp_path, sets):
    with pytest.raises(FloatingPointError, match="loss term 'video' is nan in epoch 1, step 2 of 3.*What was last saved is kept"):
        run_fit(tmp_path/"hot", sets, over=dict(lr=1e38, clip_norm=0., schedule="constant", optimizer="adam"))
    assert not (tmp_path/"hot"/"scores.json").exists()

def test_per_event_gates_are_tuned_on_validation_and_kept(tmp_path, sets):
    r = run_fit(tmp_path/"r", sets, over=dict(protocol="per_event"))
    assert r.gates.visual.shape == (3,) and (train.predict(r, sets[2], device="cpu").visual == train.run_labels(r).visual).all()

def test_a_fabric_logger_sees_every_epoch(tmp_path, sets):
    class Log:
        rows = []
        def log_metrics(self, metrics, step=None): self.rows.append((step, metrics))
    csv = pytest.importorskip("lightning_fabric.loggers").CSVLogger(tmp_path/"log")
    run_fit(tmp_path/"r", sets, loggers=[Log(), csv])
    assert len(pd.read_csv(next((tmp_path/"log").rglob("metrics.csv")))) == 4
    assert [s for s, _ in Log.rows] == [1, 2, 3, 4] and "val/segment/type" in Log.rows[0][1]

# -- killed and resumed

SCRIPT = """
import sys, time, torch
sys.path[:0] = [{tests!r}, {root!r}]
torch.set_num_threads(1)
import test_train as t
class Slow:
    def log_metrics(self, metrics, step=None): time.sleep(600*(step > 1))
sets = t.toy_set(seed=1), t.toy_set(24, seed=2), t.toy_set(24, seed=3)
t.run_fit({out!r}, sets, save_every=0, loggers=[Slow()])
"""

def test_killed_with_signal_9_and_resumed_ends_with_the_same_weights(tmp_path, sets, run):
    out, here = tmp_path/"valor", os.path.dirname(os.path.abspath(__file__))
    p = subprocess.Popen([sys.executable, "-c", SCRIPT.format(tests=here, root=os.path.dirname(here), out=str(out))])
    end = time.time() + 240
    while not (out/"resume.safetensors").exists() and p.poll() is None and time.time() < end: time.sleep(.02)
    time.sleep(.3)                                                     # epoch 1 is saved; the child hangs in epoch 2, whenever we come
    p.send_signal(signal.SIGKILL)
    assert p.wait() == -signal.SIGKILL and not (out/"scores.json").exists() and (out/"resume.safetensors").exists()
    again = run_fit(out, sets)
    assert same(weights(again), weights(run)) and same(weights(again, "best"), weights(run, "best"))
    assert again.scores["test"] == run.scores["test"] and not (out/"resume.safetensors").exists()
    drop = ["seconds"]
    pd.testing.assert_frame_equal(again.metrics.drop(columns=drop), run.metrics.drop(columns=drop))

class Stop:
    "Raises after an epoch."
    def __init__(self, epoch): self.epoch = epoch
    def log_metrics(self, metrics, step=None):
        if step == self.epoch: raise KeyboardInterrupt

@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_wherever_it_is_interrupted_it_ends_the_same(tmp_path, sets, run, epoch):
    with pytest.raises(KeyboardInterrupt): run_fit(tmp_path/"r", sets, save_every=0, loggers=[Stop(epoch)])
    assert same(weights(run_fit(tmp_path/"r", sets)), weights(run))

class Memory(objectives.Supervision):
    "Pulls towards a slow copy of the network, draws from numpy and torch, and counts: everything that a resume could lose."
    def start(self, run):
        import copy
        self.run, self.slow, self.helper = run, copy.deepcopy(run.model).requires_grad_(False), run.train("han", epochs=1)
    def before_batch(self, model, batch): return batch | {"audio": batch["audio"] + float(np.random.rand())*torch.rand(())}
    def loss(self, model, batch, output):
        pull = sum(((a - b)**2).sum() for a, b in zip(model.parameters(), self.slow.parameters()))
        return {**super().loss(model, batch, output), "pull": 1e-3*pull, "helper": 1e-3*self.helper.heads.event.weight.square().sum()}
    @torch.no_grad()
    def after_step(self, model):
        for a, b in zip(self.slow.parameters(), model.parameters()): a.lerp_(b, .1)
    def end_epoch(self, epoch): return {"epochs seen": epoch}
    def state_dict(self): return self.slow.state_dict()
    def load_state_dict(self, state, run): self.start(run); self.slow.load_state_dict(state)

def test_an_objective_with_memory_and_a_helper_resumes_the_same(tmp_path, sets):
    objectives.register_objective("memory", Memory, objectives.SupervisionConfig())
    train.register_preset("memory", TrainConfig(objective="memory"))
    try:
        whole = run_fit(tmp_path/"whole", sets, "memory")
        with pytest.raises(KeyboardInterrupt): run_fit(tmp_path/"cut", sets, "memory", save_every=0, loggers=[Stop(3)])
        helpers = list((tmp_path/"cut"/"helpers").iterdir())
        made = (helpers[0]/"scores.json").stat().st_mtime_ns
        again = run_fit(tmp_path/"cut", sets, "memory")
        assert same(weights(again), weights(whole)) and "epochs seen" in again.metrics
        assert len(helpers) == 1 and (helpers[0]/"scores.json").stat().st_mtime_ns == made
        assert list(train.list_runs(tmp_path, published=False).name) == ["cut", "whole"]
    finally: del objectives.OBJECTIVES["memory"], PRESETS["memory"]

def test_a_damaged_resume_file_is_one_sentence_and_without_it_the_run_begins_anew(tmp_path, sets):
    with pytest.raises(KeyboardInterrupt): run_fit(tmp_path/"r", sets, save_every=0, loggers=[Stop(2)])
    file = tmp_path/"r/resume.safetensors"
    whole, size = file.read_bytes(), int.from_bytes(file.read_bytes()[:8], "little")
    flip = lambda at: whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:]
    renamed = whole[:8] + whole[8:8 + size].replace(b'"model.', b'"medal.') + whole[8 + size:]
    epoch = whole.index(b"epoch") + len(b'epoch\\": ')
    for damaged in (b"", whole[:50], whole[:-40], flip(8 + size + 100), flip(len(whole) - 7), flip(epoch), renamed, b"[]" * 9, whole[::-1]):
        file.write_bytes(damaged)
        with pytest.raises(ParameterError, match="resume.safetensors cannot be read .*; delete it, and the run begins anew"): run_fit(tmp_path/"r", sets)
    file.write_bytes(whole)
    again = run_fit(tmp_path/"r", sets)
    assert not file.exists() and again.scores["test"]

def test_a_resume_file_holds_no_pickle(tmp_path, sets):
    with pytest.raises(KeyboardInterrupt): run_fit(tmp_path/"r", sets, save_every=0, loggers=[Stop(2)])
    with pytest.importorskip("safetensors").safe_open(tmp_path/"r"/"resume.safetensors", "pt") as f:
        assert json.loads(f.metadata()["state"])["epoch"] == 1 and {k.split(".")[0] for k in f.keys()} == {"model", "optimizer"}

# -- several processes

DDP = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
import test_train as t
if __name__ == "__main__":
    t.torch.set_num_threads(1)
    sets = t.toy_set(seed=1), t.toy_set(24, seed=2), t.toy_set(24, seed=3)
    t.run_fit({out!r}, sets, devices=2, over=dict(dropout=0.))
"""

def test_two_processes_train_what_one_trains(tmp_path, sets):
    here, script = os.path.dirname(os.path.abspath(__file__)), tmp_path/"two.py"
    script.write_text(DDP.format(tests=here, root=os.path.dirname(here), out=str(tmp_path/"two")))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-2000:]
    two, one = train.open_run(tmp_path/"two"), run_fit(tmp_path/"one", sets, over=dict(dropout=0.))
    a, b = (train.run_probabilities(r)["segment_prob"] for r in (two, one))
    assert two._json("environment.json")["processes"] == 2 and np.abs(a - b).max() < 1e-3

# -- many runs

def test_seeds_have_their_own_folders_and_the_table_their_mean(tmp_path, sets):
    runs = train.fit_seeds(override(preset("valor"), SMALL | dict(epochs=2)), sets[0], tmp_path/"v", (0, 1), val=sets[1], test=sets[2], device="cpu", progress=False)
    assert [r.name for r in runs] == ["v-s0", "v-s1"] and [r.config.seed for r in runs] == [0, 1]
    t, x = train.seed_table({"v": runs}), [r.scores["test"]["segment/type"] for r in runs]
    assert t.loc["v", ("segment/type", "mean")] == pytest.approx(np.mean(x)) and t.loc["v", ("segment/type", "deviation")] == pytest.approx(np.std(x, ddof=1))
    zero = train.compare_runs(runs, runs, sets[2].truth)
    assert (zero.to_numpy() == 0).all()

def test_runs_with_other_clips_are_compared_on_those_they_share(tmp_path, sets):
    go = lambda name, test: run_fit(tmp_path/name, (*sets[:2], test), over=dict(epochs=1))
    ids, truth = sets[2].ids, sets[2].truth
    few, more = go("few", sets[2].select(ids[:14])), go("more", sets[2].select(ids[4:]))
    assert train.common_clips([few, more], truth) == list(ids[4:14])
    t = train.score_table({"few": [few], "more": [more]}, truth)
    assert list(t.loc["clips"]) == ["10 of 26"]*2
    own = avvp_scores(train.run_labels(few).select(ids[4:14]), truth.select(ids[4:14]))["segment/type"]
    assert t.loc["segment/type", "few"].startswith(f"{own:.1f} [") and train.compare_runs([few], [more], truth).notna().all(axis=None)
    with pytest.raises(ParameterError, match="no clip of the truth"): train.common_clips([go("none", sets[2].select(ids[20:])), few], truth)

def test_a_damaged_folder_does_not_hide_the_others(run, tmp_path):
    import shutil
    for name in ("good", "no-data", "no-toml", "foreign", "other-objective"): shutil.copytree(run.path, tmp_path/name)
    (tmp_path/"no-data"/"data.json").unlink(), (tmp_path/"no-toml"/"config.toml").write_text("lr =")
    (tmp_path/"foreign"/"config.toml").write_text("title = 'another program'\n")
    record = tmp_path/"other-objective"/"config.toml"
    record.write_text(record.read_text().replace('objective = "valor"', 'objective = "from-elsewhere"'))
    with pytest.warns(UserWarning) as seen: board = train.list_runs(tmp_path, published=False).set_index("name")
    assert sorted(board.index) == ["good", "other-objective"] and board.loc["other-objective", "objective"] == "from-elsewhere"
    assert sorted(str(w.message).split()[0] for w in seen) == ["foreign", "no-data", "no-toml"]

def test_the_leaderboard_has_runs_and_published_rows_side_by_side(run, tmp_path):
    (tmp_path/"p.csv").write_text("method,year,dataset,split,features,about,metric,value,source,remark\nA,2020,LLP,test,f,parser,segment/type,50.5,S,\nA,2020,LLP,test,f,labels,fidelity/audio,80,S,\nB,2020,LLP,val,f,parser,segment/type,1,S,\n")
    board = train.list_runs(run.path.parent, tmp_path/"p.csv").set_index("name")
    assert board.loc["A", "segment/type"] == 50.5 and board.loc["valor", "clips"] == "24 of 26" and len(board) == 2 and board.loc["valor", "protocol"] == "avvp"

def test_an_unfinished_run_is_listed_only_on_request(tmp_path, sets):
    with pytest.raises(KeyboardInterrupt): run_fit(tmp_path/"r", sets, loggers=[Stop(2)])
    assert not len(train.list_runs(tmp_path, published=False)) and list(train.list_runs(tmp_path, published=False, unfinished=True).name) == ["r"]
    with pytest.raises(ParameterError, match="no run here"): train.open_run(tmp_path)

# -- new clips

def test_new_clips_are_parsed_and_bad_ones_listed(tmp_path, capsys):
    av = pytest.importorskip("av")
    from valor_lab.demo import SIMPLE_SHAPES
    from valor_lab.media import write_clip
    data = toy_set(24, seed=1, name="demo (tiny)", widths=[SIMPLE_SHAPES[m][1] for m in ("audio", "visual", "motion")])
    r = fit(override(preset("valor"), SMALL | dict(epochs=1, features="simple")), data, tmp_path/"run", data, device="cpu", progress=False)
    rng = np.random.default_rng(0)
    frames, audio = rng.integers(0, 255, (80, 32, 32, 3), dtype=np.uint8), .1*rng.normal(size=480_000).astype(np.float32)
    new = tmp_path/"new"
    write_clip(new/"good.mp4", frames, audio, fps=8), write_clip(new/"silent.mp4", frames, None, fps=8)
    (new/"empty.mp4").write_bytes(b"")
    labels = parsing.parse_clips(r, new, protocol="ungated", device="cpu")
    assert labels.ids == ("good",) and labels.durations == pytest.approx([10], abs=.2) and set(labels.findings["clip"]) == {"silent", "empty"}
    with pytest.raises(ParameterError, match="none of 1 clip"): parsing.parse_clips(r, [new/"silent.mp4"], device="cpu")
    pytest.importorskip("matplotlib")
    assert main(["parse", str(new), "--run", str(r.path), "--out", str(tmp_path/"out"), "--device", "cpu"]) == 0
    assert {f.name for f in (tmp_path/"out").iterdir()} == {"audio.csv", "visual.csv", "timelines.png"} and "silent.mp4" in capsys.readouterr().out
    assert main(["parse", str(new), "--run", str(tmp_path), "--out", str(tmp_path/"out")]) == 2 and "no run here" in capsys.readouterr().err

@pytest.mark.parametrize("kind, dataset", [("simple", "llp"), ("classic", "demo (small)")])
def test_features_are_made_as_the_data_set_made_them(kind, dataset):
    with pytest.raises(ParameterError, match="choose one of"): parsing.feature_maker(kind, dataset)

def test_a_missing_dependency_is_one_line(run, tmp_path, capsys, monkeypatch):
    def missing(*a, **k): raise ImportError("this needs 'av', which is not installed: pip install 'valor_lab[media]'")
    import valor_lab.training as door
    monkeypatch.setattr(door, "parse_clips", missing, raising=False)
    assert main(["parse", "x.mp4", "--run", str(run.path), "--out", str(tmp_path/"o")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "valor parse: this needs 'av', which is not installed: pip install 'valor_lab[media]'"

# -- what the notebooks use

def test_a_plan_is_checked_to_its_last_record_before_the_first_one_trains(tmp_path):
    bare = {s: replace(toy_set(12, i), labels=None) for i, s in enumerate(("train", "val", "test"))}
    plan = {n: (override(c, SMALL | dict(epochs=1)), m) for n, (c, m) in plans.plan_runs("han,valor", "demo", "tiny").items()}
    with pytest.raises(ParameterError, match="preset 'valor': .*labels"): plans.train_all(plan, lambda features: bare, tmp_path, name="toy", device="cpu")
    helper = {"han": plan["han"], "labeler": (override(plans.plan_runs("han-labeler", "demo", "tiny")["han-labeler"][0], SMALL | dict(epochs=1, base="no-such")), None)}
    with pytest.raises(ParameterError, match="no-such"): plans.train_all(helper, lambda features: bare, tmp_path, name="toy", device="cpu")
    with pytest.raises(ValueError): plans.train_all(plan, lambda features: bare, tmp_path, seeds=("0", "one"), name="toy", device="cpu")
    assert not list(tmp_path.iterdir())

def test_checking_a_record_leaves_chance_where_it_was(tmp_path):
    data, config = toy_set(12, 1), override(preset("han"), SMALL | dict(epochs=1))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train.check_run(config, data, data)
    assert torch.equal(torch.get_rng_state(), before)

def test_a_parameter_that_the_notebook_does_not_have_is_refused():
    own = 'preset = "han"\ndataset = "demo"\nsize = "small"'
    for history in (["", own], ["", own, "# Parameters\npreset = \"valor\"\n"], ["%magic ?", "x = 1", own], []): recipes.check_parameters(history, "preset dataset size")
    for history in ([own, "# Parameters\npresets = 1"], [own + "\nsise = 1"]):
        with pytest.raises(ParameterError, match="choose one of 'preset', 'dataset', 'size'"): recipes.check_parameters(history, "preset dataset size")

def test_plans_name_unknown_presets_and_scale_to_the_demo_set():
    plan = plans.plan_runs("han, valor+", "demo", "small", "lr = 1e-3", 3)
    assert [(c.preset, c.features, c.lr, c.epochs, c.network["d_model"]) for c, _ in plan.values()] == [("han", "simple", 1e-3, 3, 128), ("valor+", "simple", 1e-3, 3, 128)]
    assert plans.plan_runs("valor", "llp")["valor"][0] == preset("valor")
    with pytest.raises(ParameterError, match="valour"): plans.plan_runs("han,valour", "demo")
    with pytest.raises(FileNotFoundError, match="valor fetch valor-checkpoints"): plans.plan_runs("published:VALOR++", "llp", root="no-such-folder")

def test_train_all_finds_its_runs_again(tmp_path, sets):
    plan = {"valor": (override(preset("valor"), SMALL | dict(epochs=1)), None)}
    splits = lambda kind: dict(zip(("train", "val", "test"), sets))
    again = [plans.train_all(plan, splits, tmp_path, (0, 1), "toy", device="cpu", progress=False)["valor"] for _ in range(2)]
    assert [[r.name for r in rs] for rs in again][0] == [r.name for r in again[1]] and len(list(tmp_path.iterdir())) == 2
    t = train.score_table({"valor": again[0]}, sets[2].truth)
    assert "±" in t.loc["segment/type", "valor"] and t.loc["clips", "valor"] == "24 of 26"

def test_labels_are_chosen_by_name(tmp_path, sets):
    from valor_lab.datasets import save_labels
    save_labels(sets[0].truth, "mine", tmp_path)
    data = recipes.choose_labels(replace(sets[0], labels=None, vocab=TOY), "mine", tmp_path)
    assert (data.labels.audio == sets[0].truth.audio).all() and recipes.choose_labels(sets[0], "", tmp_path) is sets[0]
    with pytest.raises(ParameterError, match="mine"): recipes.choose_labels(sets[0], "yours", tmp_path)

def test_one_run_is_scored_under_every_protocol_from_its_probabilities(run, sets):
    from valor_lab.training import by_protocol
    _, val, test = sets
    table = by_protocol(run, test.truth, val_truth=val.truth)
    assert list(table) == list(models.PROTOCOLS) and list(by_protocol(run, test.truth)) == [p for p in models.PROTOCOLS if p != "per_event"]
    assert table["avvp"].to_dict() == pytest.approx(run.scores["test"])
    for protocol in ("per_modality", "ungated"):
        assert table[protocol].to_dict() == pytest.approx(avvp_scores(run_folders.predict(run, test, protocol, device="cpu"), test.truth))
