"""Untrimmed videos: features of any length, the made-up set, windows, the task in the loop, runs, presets."""
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from valor_lab.tasks import (DEMO_ACTIONS, SNIPPET, STREAMS, VIDEO_SIZES, Detections, Ragged, TALOptions, draw_times, find_streams,
                             make_videos, odd_lengths, matched, read_streams, run_activations, video_figure, world)
from valor_lab.training import (PRESETS, TrainConfig, override, preset, resolved, for_dataset, load_splits, plan_runs, prepare,
                                train_all, compare_runs, read_published, list_runs, score_runs, score_table, predict, run_labels,
                                run_predictions, find_task, fit)
from valor_lab.core import ParameterError
from valor_lab.datasets import inventory, load_dataset, load_labels, read_split
from valor_lab.metrics import DETECTION_SCORES, Actions, bare_vocab, detection_scores, on_grid, to_segments

PLAIN = dict(device="cpu", progress=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    prepare("tal-demo", "tiny", folder)
    return folder

@pytest.fixture(scope="module")
def splits(root): return load_splits("tal-demo", root, "tiny", "made-up")

def tiny(name, **values): return override(for_dataset(preset(name), "tal-demo", "tiny"), values)


# rows of snippets

def test_ragged_rows_come_back_alone_padded_and_selected():
    x = Ragged(np.arange(12.).reshape(6, 2), [1, 3, 2])
    assert [x[i].tolist() for i in range(3)] == [[[0, 1]], [[2, 3], [4, 5], [6, 7]], [[8, 9], [10, 11]]]
    assert x.shape == (3, 3, 2) and x.padded()[0].tolist() == [[0, 1], [0, 0], [0, 0]] and x.mask().sum(1).tolist() == [1, 3, 2]
    assert x[np.array([2, 0])].values.tolist() == [[8, 9], [10, 11], [0, 1]] and len(x[np.array([], int)]) == 0
    for lengths in ([1, 2], [6, 0], [3, 4]):
        with pytest.raises(ParameterError, match="6 in all|snippets"): Ragged(x.values, lengths)


def test_feature_files_are_cut_into_rgb_and_flow_without_pickle(tmp_path):
    (tmp_path/"part").mkdir()
    np.save(tmp_path/"part"/"b.npy", np.arange(24., dtype=np.float64).reshape(3, 8)), np.save(tmp_path/"a.npy", np.ones((2, 8), np.float16))
    files = find_streams(tmp_path)
    got = read_streams([files["a"], files["b"]], 4)
    assert (got["audio"].lengths.tolist() == [2, 3] and got["audio"][1].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11], [16, 17, 18, 19]]
            and got["visual"][1][0].tolist() == [4, 5, 6, 7])


@pytest.mark.parametrize("content,message", [
    (np.ones((3, 7)), r"bad.npy: shape \[3, 7\], expected \['any', 8\]"), (np.ones(8), r"bad.npy: shape \[8\]"),
    (np.full((3, 8), np.nan), "bad.npy: holds NaN or inf"),
    (np.full((3, 8), np.inf), "bad.npy: holds NaN or inf"), (np.ones((0, 8)), "bad.npy: no snippet"),
    (np.full((3, 8), 1e6), "bad.npy: values up to 1e"),
    (np.array([{"a": 1}], object), "bad.npy: not an array that can be read without pickle"), (b"not numpy", "bad.npy: not an array")])
def test_files_that_cannot_be_used_are_named(tmp_path, content, message):
    path = tmp_path/"bad.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content, allow_pickle=content.dtype == object)
    with pytest.raises(ParameterError, match=message): read_streams([path], 4)


def test_features_at_another_frame_rate_are_noticed():
    assert list(odd_lengths([100, 100, 100], [64., 63, 71], "abc")["clip"]) == ["c"]
    with pytest.raises(ParameterError, match="2 of 3 videos do not fit"): odd_lengths([120, 120, 100], [64., 64, 64], "abc")


# data sets

def thumos_like(folder, videos=("v1", "v2", "v3"), without=()):
    "A folder in THUMOS14's layout, with three videos in each subset."
    rows, base = ["video,subset,duration_s,label,start_s,end_s"], folder/"thumos14"
    (base/"i3d").mkdir(parents=True)
    for subset in ("validation", "test"):
        for n, v in enumerate(videos):
            rows += [f"{subset}_{v},{subset},{20 + n},Diving,{2 + n},{6 + n}",
                     f"{subset}_{v},{subset},{20 + n},GolfSwing,12,{14 + 9*(n == 2)}"]
            if v not in without:
                np.save(base/"i3d"/f"{subset}_{v}.npy",
                        np.random.default_rng(n).normal(size=(int((20 + n)/SNIPPET), 2048)).astype(np.float32))
    (base/"annotations.csv").write_text("\n".join(rows) + "\n")
    (base/"Ambiguous_test.txt").write_text("test_v1  15 17\n")
    return folder


def test_thumos_is_read_from_a_folder_with_one_file_for_each_video(tmp_path):
    data = load_dataset("thumos14", thumos_like(tmp_path), "test", "i3d")
    assert data.ids == ("test_v1", "test_v2", "test_v3") and data.features["audio"].shape == (3, 34, 1024) and len(data.vocab) == 20
    assert (isinstance(data.truth, Actions) and len(data.truth.ambiguous) == 1 and data.labels is None
            and data.weak.events("test_v1") == ["Diving", "GolfSwing"])
    assert data.truth.findings.kind.tolist() == ["ends after the video"] and data.truth.spans.end.max() == 22
    train = load_dataset("thumos14", tmp_path, "train", "i3d")
    assert train.labels is train.truth and not len(train.truth.ambiguous)
    with pytest.raises(ParameterError, match="split"): load_dataset("thumos14", tmp_path, "val", "i3d")
    assert inventory("thumos14", tmp_path).here.tolist() == [3, 3, 3, 3]


def test_videos_without_a_file_are_left_out_and_in_the_ledger(tmp_path):
    data = load_dataset("thumos14", thumos_like(tmp_path, without=("v2",)), "test", "i3d")
    assert (data.ids == ("test_v1", "test_v3") and data.total == 3
            and data.missing.values.tolist() == [["test_v2", "i3d features", "no such file"]])
    assert list(data.truth.ids) == list(data.ids) and "2 of 3 clips" in repr(data)
    for f in (tmp_path/"thumos14"/"i3d").glob("*"): f.unlink()
    with pytest.raises(FileNotFoundError, match="no video of thumos14 test has features"): load_dataset("thumos14", tmp_path, "test", "i3d")
    with pytest.raises(FileNotFoundError, match="data/README.md"): load_dataset("thumos14", tmp_path/"nowhere", "test", "i3d")


def test_the_made_up_set_is_the_same_every_time_and_nothing_is_made_twice(root, tmp_path):
    again, first = make_videos("tiny", tmp_path), root/"tal-demo"/"tiny"
    assert (again/"annotations.csv").read_bytes() == (first/"annotations.csv").read_bytes()
    assert all((again/"i3d"/f.name).read_bytes() == f.read_bytes() for f in (first/"i3d").glob("*.npy"))
    before = (first/"annotations.csv").stat().st_mtime_ns
    prepare("tal-demo", "tiny", root)
    assert (first/"annotations.csv").stat().st_mtime_ns == before
    with pytest.raises(ParameterError, match="size"): make_videos("huge", tmp_path)


def test_the_made_up_features_hold_their_actions(splits):
    data, p = splits["test"], VIDEO_SIZES["tiny"]
    grid = on_grid(data.truth, SNIPPET, data.features["audio"].shape[1])
    strength = [[], []]
    for i in range(len(data)):
        x = np.stack([data.features[m][i] for m in STREAMS], 1).astype(float)
        curve = matched(x, world(p))
        for c in np.nonzero(data.weak.mask[i])[0]:
            [strength[int(b)].append(curve[grid[i, :len(x), c] == b, c].mean()) for b in (False, True)]
    assert np.mean(strength[1]) > np.mean(strength[0]) + 1
    assert not set(splits["train"].ids) & set(splits["test"].ids) and {len(s) for s in splits.values()} == {12, 4, 8}


def test_a_split_of_videos_can_be_looked_at_as_segment_labels(root, splits):
    weak, shown = read_split("tal-demo", "test", root, "tiny")
    assert shown.ids == splits["test"].ids and shown.n_segments == 200 and (shown.weak().mask == weak.mask).all()
    np.testing.assert_allclose(shown.durations, splits["test"].truth.durations)


# windows

@pytest.mark.parametrize("sampling", ["random", "even"])
def test_windows_stay_within_their_video_in_order(sampling):
    torch.manual_seed(0)
    lengths = torch.tensor([50, 20, 12, 5, 1])
    for _ in range(50):
        times, mask = draw_times(lengths, 12, sampling)
        assert times.shape == mask.shape == (5, 12) and mask.sum(1).tolist() == [12, 12, 12, 5, 1]
        assert (times < lengths[:, None]).all() and all((times[i][mask[i]].diff() > 0).all() for i in range(5))
        assert times[2].tolist() == list(range(12)) and times[3][mask[3]].tolist() == list(range(5))
        if sampling == "random": assert (times[0].diff() == 1).all()
        else: assert all(50*i//12 <= t < 50*(i + 1)//12 for i, t in enumerate(times[0].tolist()))
    with pytest.raises(ParameterError, match="'random', 'even'"): draw_times(lengths, 12, "odd")


def test_every_snippet_is_seen_sooner_or_later():
    torch.manual_seed(0)
    for sampling in ("random", "even"):
        assert set(torch.cat([draw_times(torch.tensor([30]), 8, sampling)[0].flatten() for _ in range(200)]).tolist()) == set(range(30))


def test_a_batch_holds_the_same_snippets_in_every_field(splits):
    task, config = find_task("tal"), tiny("tal-ppl-oracle", window=20)
    tensors = task.tensors(splits["train"])
    batch = task.take(tensors, torch.tensor([3, 1]), config)
    grid = on_grid(splits["train"].truth, SNIPPET, tensors["mask"].shape[1])
    for b, row in enumerate((3, 1)):
        for t in range(20):
            np.testing.assert_array_equal(batch["visual"][b, t].numpy(),
                                          splits["train"].features["visual"][row][batch["times"][b, t]].astype(np.float32))
            assert batch["labels_audio"][b, t].bool().tolist() == grid[row, batch["times"][b, t]].tolist()


def test_padding_and_strange_labels_do_not_get_into_a_batch(splits):
    task = find_task("tal")
    short = task.take(task.tensors(splits["train"]), torch.arange(12), tiny("tal-mil", window=500))
    assert (short["audio"].shape[1] == splits["train"].features["audio"].shape[1] and (short["audio"][~short["mask"]] == 0).all()
            and (short["labels_audio"][~short["mask"]] == 0).all())
    with pytest.raises(ParameterError, match="spans"): task.tensors(replace(splits["train"], labels=read_split))
    with pytest.raises(ParameterError, match="Ragged"):
        task.tensors(replace(splits["train"], features={"audio": np.zeros((12, 5, 3)), "visual": np.zeros((12, 5, 3))}))


# the task in the loop

@pytest.mark.parametrize("name", [n for n in PRESETS if n.startswith("tal-")])
def test_every_preset_trains_and_its_run_remembers_everything(name, splits, tmp_path):
    values = dict(epochs=3) | (dict(prototype_warmup=1) if "ppl" in name else {})
    run = fit(tiny(name, **values), splits["train"], tmp_path/"run", splits["val"], splits["test"], **PLAIN)
    assert set(run.scores["test"]) == set(DETECTION_SCORES) and run.scores["best_epoch"] == 3 and len(run.metrics) == 3
    said = run_predictions(run)
    assert isinstance(said, Detections) and said.ids == splits["test"].ids
    assert detection_scores(said.table, splits["test"].truth) == pytest.approx(run.scores["test"])
    shown = run_labels(run)
    assert shown.n_segments == 200 and shown.ids == splits["test"].ids and (shown.weak().mask.sum(1) >= 1).all()
    if "ppl" in name:
        assert run.metrics["loss/pseudo"].iloc[0] == 0 and run.metrics["loss/pseudo"].iloc[-1] > 0
        own = load_labels("train", run.path)
        assert own.ids == splits["train"].ids and own.n_segments == 200 and not (own.weak().mask & ~splits["train"].weak.mask).any()
        if "oracle" in name: assert np.mean(own.audio == read_truth(splits["train"]).audio) > .97


def read_truth(data): return to_segments(data.truth.spans, data.ids, data.truth.durations, data.vocab)


def test_an_interrupted_run_ends_like_one_that_was_not(splits, tmp_path, monkeypatch):
    config = tiny("tal-ppl", epochs=4, prototype_warmup=1)
    whole = fit(config, splits["train"], tmp_path/"whole", splits["val"], splits["test"], save_every=0., **PLAIN)
    from valor_lab.training import loop as train
    real, seen = train.train_epoch, []
    def stops(t, epoch):
        if epoch == 3 and not seen: seen.append(1); raise KeyboardInterrupt
        return real(t, epoch)
    monkeypatch.setattr(train, "train_epoch", stops)
    with pytest.raises(KeyboardInterrupt):
        fit(config, splits["train"], tmp_path/"cut", splits["val"], splits["test"], save_every=0., **PLAIN)
    cut = fit(config, splits["train"], tmp_path/"cut", splits["val"], splits["test"], save_every=0., **PLAIN)
    assert (cut.scores["test"] == whole.scores["test"]
            and (cut.path/"predictions"/"test.csv").read_text() == (whole.path/"predictions"/"test.csv").read_text())


def test_videos_that_nobody_annotated_can_be_predicted(splits, tmp_path):
    run = fit(tiny("tal-mil", epochs=1), splits["train"], tmp_path/"run", None, splits["test"], **PLAIN)
    said = predict(run, replace(splits["test"], truth=None, labels=None, weak=None), device="cpu")
    np.testing.assert_allclose(said.durations, splits["test"].features["audio"].lengths*SNIPPET)
    assert len(said.table) and set(said.table.video) == set(said.ids)


def test_more_epochs_with_the_truth_localise_the_actions(splits, tmp_path):
    oracle = fit(tiny("tal-ppl-oracle", epochs=60, prototype_warmup=1), splits["train"], tmp_path/"oracle", None, splits["train"], **PLAIN)
    mil = fit(tiny("tal-mil", epochs=60), splits["train"], tmp_path/"mil", None, splits["train"], **PLAIN)
    assert oracle.scores["test"]["mAP@0.5"] > mil.scores["test"]["mAP@0.5"] + 10          # on the videos that both were trained on


def test_a_change_in_spans_or_features_is_another_data_set(splits):
    task, data = find_task("tal"), splits["test"]
    base = task.describe(data)
    moved = replace(data.truth, spans=data.truth.spans.assign(start=data.truth.spans.start + .01))
    louder = {k: Ragged(v.values*2, v.lengths) for k, v in data.features.items()}
    assert (task.describe(data) == base != task.describe(replace(data, truth=moved))
            and task.describe(replace(data, features=louder)) != base)
    assert json.loads(json.dumps(base)) == base


# results

def test_runs_stand_in_tables_with_intervals_and_beside_published_numbers(splits, tmp_path):
    done = {n: [fit(tiny(n, epochs=2, seed=s), splits["train"], tmp_path/f"{n}-{s}", splits["val"], splits["test"], **PLAIN)
                for s in (0, 1)] for n in ("tal-mil", "tal-ppl-oracle")}
    truth = splits["test"].truth
    one = score_runs(done["tal-mil"], truth, n=50)
    mean = pd.DataFrame([r.scores["test"] for r in done["tal-mil"]]).mean()
    np.testing.assert_allclose(one["value"], mean[list(DETECTION_SCORES)])
    assert (one.low <= one.high).all()
    np.testing.assert_allclose(compare_runs(done["tal-ppl-oracle"], done["tal-mil"], truth, n=50)["value"],
                               score_runs(done["tal-ppl-oracle"], truth, n=2)["value"] - one["value"], atol=1e-9)
    assert compare_runs(done["tal-mil"], done["tal-mil"], truth, n=20).eq(0).all(axis=None)
    assert list(score_table(done, truth)) == ["tal-mil", "tal-ppl-oracle"]
    board = list_runs(tmp_path, task="tal")
    assert set(DETECTION_SCORES) <= set(board) and (board.source == "this workbench").sum() == 4
    published = read_published(task="tal")
    assert {"W-TALC", "EM-MIL"} <= set(published.name) and published.set_index("name").loc["EM-MIL", "mAP@0.5"] == 30.5
    figure = video_figure({n: r[0] for n, r in done.items()}, splits["test"])
    assert len(figure.axes) == 5
    assert run_activations(done["tal-mil"][0], splits["test"].ids[2]).shape == (splits["test"].features["audio"].lengths[2], 2, 6)


def test_detections_of_low_score_are_not_shown():
    table = pd.DataFrame([("a", "Jump", 0., 5., .9), ("a", "Jump", 5., 9., .3), ("b", "Kick", 1., 2., .2)],
                         columns=["video", "label", "start", "end", "score"])
    said = Detections(("a", "b"), np.array([10., 10.]), np.array([15, 15]), table, bare_vocab("toy", DEMO_ACTIONS))
    assert said.best().score.tolist() == [.9, .2] and said.select(["b"]).table.label.tolist() == ["Kick"]
    assert said.to_segments(10).audio.sum((1, 2)).tolist() == [5, 1]
    with pytest.raises(KeyError, match="without detections"): said.select(["z"])


@pytest.mark.parametrize("values,message", [(dict(window=1), "window=1"), (dict(sampling="odd"), "sampling"),
                                            (dict(streams="sound"), "streams"), (dict(overlap=-.1), "overlap"),
                                            (dict(windows=3), "windows")])
def test_impossible_options_are_refused(values, message):
    with pytest.raises(ParameterError, match=message): override(preset("tal-mil"), values)


def test_presets_differ_from_ppl_in_one_part_each_and_belong_to_their_task():
    base = resolved(preset("tal-ppl"))
    changed = {n: {k: v for k, v in resolved(preset(f"tal-ppl-{n}")).options.items() if v != base.options[k]}
               for n in ("hard", "no-momentum", "no-contrast", "one-prototype", "oracle")}
    assert changed == {"hard": {"tau": 0.}, "no-momentum": {"momentum": 0.}, "no-contrast": {"weight_contrast": 0.},
                       "one-prototype": {"n_prototypes": 1}, "oracle": {"pseudo": "given"}}
    assert for_dataset(preset("tal-ppl"), "thumos14") == preset("tal-ppl")
    with pytest.raises(ParameterError, match="task"): for_dataset(preset("valor"), "tal-demo", "tiny")
    with pytest.raises(ParameterError, match="task"): for_dataset(preset("tal-mil"), "llp")
    assert TALOptions() == find_task("tal").options(preset("tal-mil"))


def test_thumos_trains_without_a_validation_split(tmp_path):
    plan = plan_runs("tal-mil", "thumos14", overrides=dict(d_model=16, d_ff=16, epochs=2, batch_size=2, window=20), root=tmp_path)
    thumos_like(tmp_path)
    done = train_all(plan, lambda features: load_splits("thumos14", tmp_path, "", features), tmp_path/"runs", name="thumos14", **PLAIN)
    assert set(done["tal-mil"][0].scores) >= {"test"} and "val" not in done["tal-mil"][0].scores


@pytest.mark.parametrize("objective", ["copied", "base"])
def test_other_objectives_learn_from_windows_too(objective, splits, tmp_path):
    run = fit(tiny("tal-mil", objective=objective, epochs=2), splits["train"], tmp_path/"run", None, splits["test"], **PLAIN)
    assert run.metrics["loss/audio"].iloc[1] < run.metrics["loss/audio"].iloc[0]


def test_dense_losses_pass_padding_by():
    from valor_lab.methods import bce_logits, dense, rows_of
    logits, labels, mask = torch.randn(2, 4, 3), torch.rand(2, 4, 3), torch.tensor([[True]*4, [True, True, False, False]])
    real = torch.cat([bce_logits(logits[0], labels[0], reduce=False).flatten(),
                      bce_logits(logits[1, :2], labels[1, :2], reduce=False).flatten()])
    torch.testing.assert_close(dense(logits, labels, {"mask": mask}), real.mean())
    torch.testing.assert_close(dense(logits, labels, {}), bce_logits(logits, labels))
    index, times = torch.tensor([2, 0]), torch.tensor([[1, 3], [0, 1]])
    x = torch.arange(12).reshape(3, 4)
    assert (x[rows_of({"index": index, "times": times})].tolist() == [[9, 11], [0, 1]]
            and x[rows_of({"index": index})].tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]])


def test_the_workbench_lists_untrimmed_videos_and_their_truth(root, splits):
    pytest.importorskip("anywidget")
    from valor_lab.workbench import clip_frame, load_clips
    clips = load_clips("tal-demo", "test", "tiny", root, runs_folder=None)
    truth = clips.labelings["truth"]
    assert (len(clip_frame(clips)) == len(splits["test"]) and truth.n_segments == 200
            and truth.visual.any() and len(set(truth.durations)) > 1)
