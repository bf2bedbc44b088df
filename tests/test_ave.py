"Audio-visual event localisation: what is read from AVE's files, how accuracy counts, and that the task runs through the one loop."
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from valor_lab.tasks import AverageHAN, ave
from valor_lab.datasets import SPLIT_NAMES, dataset as datasets, Dataset, load_dataset, read_split
from valor_lab.labels import labels, SegmentLabels, WeakLabels
from valor_lab.training import parsing, plans, recipes, results, runs, tasks, loop as train, override, preset
from valor_lab.core import ParameterError
from valor_lab.harvest import Scores
from valor_lab.vocab import AVE, LLP, Vocab

TOY = Vocab("toy", *(getattr(LLP, f)[:3] for f in ("events", "clip_captions", "clap_captions", "clip_thresholds", "clap_thresholds")))

def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items(): (folder/f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder

# -- files

def test_a_line_is_a_clip_and_its_seconds_are_heard_and_seen(tmp_path):
    weak, truth = ave.read_list(write(tmp_path, a=["Male speech, man speaking&aaaaaaaaaa-&good&2&5", "Bark&aaaaaaaaaa-&good&0&10"])/"a.txt")
    assert weak.ids == ("aaaaaaaaaa-/Male speech, man speaking", "aaaaaaaaaa-/Bark") == truth.ids and weak.vocab == AVE
    assert (np.flatnonzero(truth.audio[0, :, AVE.index("Male speech, man speaking")]).tolist() == [2, 3, 4]
            and (truth.audio == truth.visual).all() and truth.audio.sum() == 13)
    assert weak.mask.sum(1).tolist() == [1, 1] and not len(weak.findings)

def test_a_header_is_passed_over_and_blank_lines_too(tmp_path):
    weak, _ = ave.read_list(write(tmp_path, a=["Category&VideoID&Quality&StartTime&EndTime", "", "Cat&bbbbbbbbbbb&good&0&3"])/"a.txt")
    assert weak.ids == ("bbbbbbbbbbb/Cat",)

@pytest.mark.parametrize("line, says", [("Barks&aaaaaaaaaaa&good&2&5", "line 2: unknown event 'Barks'"),
                                        ("Bark&aaaaaaaaaaa&good&x&5", "line 2: onset 'x' is not a whole number"),
                                        ("Bark&aaaaaaaaaaa&good&2.5&5", "onset '2.5'"),
    ("Bark&aaaaaaaaaaa&good&2&11", "line 2: offset 11 s lies outside 0…10 s"), ("Bark&aaaaaaaaaaa&good&-1&5", "onset '-1'"),
    ("Bark,aaaaaaaaaaa,good,2,5", "line 2: expected event&video&quality&onset&offset"),
    ("Bark&aaaaaaaaaaa&good&2", "line 2: expected event"), ("Bark&../../x&good&2&5", "is not a video's id"),
    ("Cat&bbbbbbbbbbb&good&1&2", "line 2: clip 'bbbbbbbbbbb/Cat' is listed a second time, first in line 1")])
def test_a_wrong_line_is_named_and_nothing_is_loaded(tmp_path, line, says):
    with pytest.raises(ParameterError) as e: ave.read_list(write(tmp_path, a=["Cat&bbbbbbbbbbb&good&0&3", line])/"a.txt")
    assert "a.txt, " in str(e.value) and says in str(e.value)

def test_a_line_that_marks_nothing_is_loaded_and_listed(tmp_path):
    path = write(tmp_path, a=["Cat&bbbbbbbbbbb&good&3&3", "Bark&bbbbbbbbbbb&good&5&2"])/"a.txt"
    weak, truth = ave.read_list(path)
    assert weak.findings["kind"].tolist() == ["zero length", "reversed"] and not truth.audio.any() and weak.mask.sum() == 2
    with pytest.raises(ParameterError, match="a.txt, line 1: zero length"): ave.read_list(path, strict=True)

def test_a_missing_or_damaged_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError): ave.read_list(tmp_path/"none.txt")
    (tmp_path/"b.txt").write_bytes(b"Bark&\xff\xfe")
    with pytest.raises(ParameterError, match="b.txt: not a text file"): ave.read_list(tmp_path/"b.txt")
    with pytest.raises(FileNotFoundError, match="AVE-ECCV18"): read_split("ave", "train", tmp_path)

def test_the_audit_names_videos_with_several_events_and_in_two_splits(tmp_path):
    write(tmp_path/"ave", trainSet=["Bark&aaaaaaaaaaa&good&2&5", "Cat&aaaaaaaaaaa&good&0&3", "Bus&ccccccccccc&good&0&3"],
          valSet=["Goat&ccccccccccc&good&0&3"], testSet=["Cat&ddddddddddd&good&0&3"])
    found = labels.audit(*read_split("ave", "train", tmp_path)).set_index("clip")
    assert found.loc["aaaaaaaaaaa/Bark", "kind"] == "several events" and found.loc["aaaaaaaaaaa/Bark", "detail"] == "also Cat"
    assert set(found.loc["ccccccccccc/Bus", "kind"]) == {"several events", "in two splits"} and "ddddddddddd/Cat" not in found.index
    assert (set(labels.audit(*read_split("ave", "val", tmp_path)).kind) == {"several events", "in two splits"}
            and not len(labels.audit(*read_split("ave", "test", tmp_path))))

def test_the_real_files_have_their_counts_and_oddities(data):
    data("ave")
    splits = {s: read_split("ave", s) for s in SPLIT_NAMES}
    assert ([len(w) for w, _ in splits.values()] == [3339, 402, 402]
            and [int(t.audio.sum()) for _, t in splits.values()] == [27759, 3288, 3305])
    assert all((w.mask.sum(1) == 1).all() for w, _ in splits.values())
    found = pd.concat([labels.audit(w, t) for w, t in splits.values()])
    videos = lambda kind: found[found.kind == kind]["clip"].map(ave.video).nunique()
    assert (videos("several events"), videos("in two splits"), videos("zero length")) == (45, 18, 1)
    everything, _ = ave.read_list(data("ave")/"Annotations.txt")
    assert sorted(everything.ids) == sorted(c for w, _ in splits.values() for c in w.ids) and len(everything) == 4143

# -- accuracy

def five(rows):
    "Five clips of four seconds over three events: a digit is an event, a dot the background."
    y = np.array([[[c == str(e) for e in range(3)] for c in row] for row in rows])
    return SegmentLabels([f"v{i}/x" for i in range(5)], y, y.copy(), TOY)

TRUTH = ["0000", "..11", "2...", "....", ".11."]

@pytest.mark.parametrize("said, right, event, background", [   # counted by hand: 20 seconds, 9 of an event, 11 background
    (["0000", "1111", "2222", "2222", "1111"], 9, 9, 0),        # the clip's event, copied (the fourth clip's is 2)
    (["....", "....", "....", "....", "...."], 11, 0, 11),      # all background
    (TRUTH, 20, 9, 11),
    # 2+3+3+3+3: two wrong events, one early, one too long, one alarm, one missed
    (["0011", ".111", "22..", "...0", "..1."], 14, 6, 8)])
def test_accuracy_of_five_clips_is_what_a_hand_counts(said, right, event, background):
    a = ave.accuracy(five(said), five(TRUTH))
    assert a == pytest.approx({"accuracy": 100*right/20, "accuracy/event": 100*event/9, "accuracy/background": 100*background/11})
    shares = ave.error_shares(five(said), five(TRUTH))
    assert (sum(shares.values()) == pytest.approx(100) and shares["right event"] == pytest.approx(100*event/20)
            and shares["right background"] == pytest.approx(100*background/20))

def test_copying_and_background_share_the_seconds_of_the_real_files(data):
    data("ave")
    for split in SPLIT_NAMES:
        weak, truth = read_split("ave", split)
        nothing = SegmentLabels(truth.ids, np.zeros_like(truth.audio), np.zeros_like(truth.audio), truth.vocab)
        share = 100*truth.audio.sum()/(10*len(truth))
        assert (ave.accuracy(weak.copied(), truth)["accuracy"] == pytest.approx(share)
                and ave.accuracy(nothing, truth)["accuracy"] == pytest.approx(100 - share))
        assert ave.accuracy(truth, truth) == {k: 100. for k in ave.ACCURACIES}

def test_a_second_with_two_events_is_wrong_and_a_clip_without_background_has_no_background_score():
    two = SegmentLabels(["v0/x"], np.ones((1, 2, 3)), np.ones((1, 2, 3)), TOY)
    one = SegmentLabels(["v0/x"], np.eye(3)[[0, 0]][None], np.eye(3)[[0, 0]][None], TOY)
    assert ave.accuracy(two, one)["accuracy"] == 0 and np.isnan(ave.accuracy(one, one)["accuracy/background"])

def test_resampled_accuracy_counts_clips_as_often_as_they_are_drawn():
    task, truth, said = tasks.find_task("ave"), five(TRUTH), five(["0011", ".111", "22..", "...0", "..1."])
    draws = np.array([[1, 1, 1, 1, 1], [3, 0, 2, 0, 0]])
    drawn = task.resample(said, truth, draws)
    assert drawn[0].tolist() == pytest.approx([70, 100*6/9, 100*8/11]) and drawn[1, 0] == pytest.approx(100*(3*2 + 2*3)/20)
    assert task.per_clip(said, truth)["accuracy"].tolist() == [50, 75, 75, 75, 75]

# -- network and labels

def test_background_is_where_no_event_is():
    y = torch.zeros(2, 3, 4); y[0, 1, 2] = 1
    assert ave.with_background(y)[..., -1].tolist() == [[1, 0, 1], [1, 1, 1]] and torch.equal(ave.with_background(y)[..., :4], y)

def test_the_heads_average_over_time_and_modality_and_leave_padding_out():
    torch.manual_seed(0)
    for shared in (True, False):
        net = AverageHAN(n_events=4, d_audio=5, d_visual=6, d_motion=0, d_model=8, n_heads=2, d_ff=8, d_head=8, shared_head=shared).eval()
        a, v = torch.randn(3, 7, 5), torch.randn(3, 7, 6)
        out, mask = net(a, v), torch.arange(7).expand(3, 7) < 4
        assert (torch.allclose(out.video_prob, out.segment_logits.mean((1, 2)).sigmoid(), atol=1e-6)
                and torch.allclose(out.audio_prob, out.segment_logits[:, :, 0].mean(1).sigmoid(), atol=1e-6))
        padded, cut = net(a, v, mask=mask), net(a[:, :4], v[:, :4])
        assert torch.allclose(padded.video_prob, cut.video_prob, atol=1e-5) and len(net.heads.nets) == (1 if shared else 2)

def test_the_fusion_rules_differ_where_one_modality_is_silent():
    logit = lambda p: torch.logit(torch.tensor(p))
    both = torch.stack([logit([.9, .2, .2]), logit([.3, .1, .75])])[None, None]               # heard: event 0; seen: background
    assert [ave.fuse(both, r).item() for r in ave.FUSIONS] == [0, 0, 2]                       # .6 > .475; .27 > .15; .27 < 1 - .8·.25
    assert [ave.fuse(both.flip(2), r).item() for r in ave.FUSIONS] == [0, 0, 2]
    with pytest.raises(ParameterError, match="average"): ave.fuse(both, "sum")

# -- the task through the loop

def toy_set(n=40, seed=1, motion=True):
    "One event in each clip, heard and seen in some seconds; features are the truth through a random matrix."
    rng, event = np.random.default_rng(seed), np.arange(n) % 3
    start, length = rng.integers(0, 5, n), rng.integers(2, 6, n)
    when = (np.arange(10) >= start[:, None]) & (np.arange(10) < (start + length)[:, None])
    y = when[..., None] & (np.arange(3) == event[:, None])[:, None]
    ids = [f"{seed}{i:010d}/{TOY.events[e]}" for i, e in enumerate(event)]
    x = {k: (3*y @ np.random.default_rng(9).normal(size=(3, 12)) + rng.normal(size=(n, 10, 12))).astype(np.float16)
         for k in ("audio", "visual", "motion")[:2 + motion]}
    truth = SegmentLabels(ids, y, y.copy(), TOY)
    return Dataset(tuple(ids), WeakLabels(ids, y.any(1), TOY), truth, truth, x, TOY, Scores(ids, y*8. - 4, y*8. - 4, TOY),
                   "toy-ave", total=n)

SMALL = dict(d_model=16, d_ff=16, d_head=16, n_heads=2, epochs=12, warmup=2, lr=1e-2, min_lr=1e-4)

@pytest.fixture(scope="module")
def done(tmp_path_factory):
    torch.set_num_threads(1)
    folder, sets = tmp_path_factory.mktemp("ave"), [toy_set(60, 1), toy_set(24, 2), toy_set(24, 3)]
    go = lambda p, **o: train.fit(override(preset(p), SMALL | o), sets[0], folder/p, sets[1], sets[2], device="cpu", progress=False)
    return folder, sets, {p: [go(p)] for p in ("ave-han", "ave-valor")}

def test_the_presets_are_the_printed_ones():
    han, valor = (train.resolved(preset(p)) for p in ("ave-han", "ave-valor"))
    assert (valor.lr, valor.min_lr, valor.warmup, valor.batch_size, valor.epochs, valor.beta1, valor.beta2, valor.weight_decay,
            valor.clip_norm) == (3e-4, 3e-6, 10, 16, 120, .5, .999, 1e-3, 1.)
    assert (valor.network["n_layers"] == 1 and valor.network["d_model"] == 512
            and valor.protocol == "average" and valor.features == "clipclap")
    assert ((han.objective, valor.objective, valor.options["video"]) == ("video", "valor", False)
            and replace(han, preset="", objective="valor", options={}) == replace(valor, preset="", options={}))

def test_tensors_have_a_background_that_the_weak_label_never_has():
    t = tasks.find_task("ave").tensors(toy_set(6))
    assert t["weak"].shape == (6, 4) and not t["weak"][:, 3].any() and (t["labels_audio"].sum(2) == 1).all() and "scores_audio" not in t
    assert tasks.find_task("ave").sizes(t)["n_events"] == 4

def test_dense_labels_teach_the_background_and_the_clips_event_does_not(done):
    _, (_, _, test), groups = done
    table = results.score_table(groups, test.truth)
    assert list(table.index[:3]) == list(ave.ACCURACIES) and list(table.loc["protocol"]) == ["average"]*2
    han, valor = (groups[p][0].scores["test"] for p in ("ave-han", "ave-valor"))
    assert han["accuracy/background"] == 0 < valor["accuracy/background"]
    assert results.compare_runs(groups["ave-valor"], groups["ave-han"], test.truth).loc["accuracy", "low"] > 0

def test_a_run_is_read_back_as_labels_with_one_event_a_second(done):
    _, (_, _, test), groups = done
    run = groups["ave-valor"][0]
    said = runs.run_labels(run)
    assert isinstance(said, SegmentLabels) and said.ids == test.ids and (said.audio == said.visual).all() and said.audio.sum(2).max() == 1
    assert ave.accuracy(said, test.truth) == pytest.approx(run.scores["test"])
    assert ((train.predict(run, test, device="cpu").audio == said.audio).all()
            and runs.run_probabilities(run)["segment_prob"].shape == (24, 10, 2, 4))
    with pytest.raises(ParameterError, match="average"): train.predict(run, test, "avvp", device="cpu")

def test_the_leaderboard_has_the_printed_accuracies_beside(done):
    board = results.list_runs(done[0], task="ave")
    printed = board[board.source == "VALOR Table 4"].set_index(["name", "features"])["accuracy"]
    assert printed["HAN", "clap+clip+r2plus1d"] == 75.3 and printed["VALOR", "clap+clip+r2plus1d"] == 80.4
    ours = board[board.source == "this workbench"]
    assert set(ours["preset"]) == {"ave-han", "ave-valor"} and ours["accuracy"].notna().all() and "segment/type" not in board

def test_without_motion_and_with_another_length_it_trains_as_well(tmp_path):
    data = toy_set(24, motion=False)
    short = replace(data, features={k: x[:, :6] for k, x in data.features.items()},
                    truth=SegmentLabels(data.ids, data.truth.audio[:, :6], data.truth.visual[:, :6], TOY),
                    labels=SegmentLabels(data.ids, data.truth.audio[:, :6], data.truth.visual[:, :6], TOY), scores=None)
    run = train.fit(override(preset("ave-valor"), SMALL | dict(epochs=1)), short, tmp_path/"r", short, device="cpu", progress=False)
    assert runs.run_labels(run, "val").audio.shape == (24, 6, 3)

# -- data sets

@pytest.fixture
def root(tmp_path):
    "A made-up AVE folder with features in VALOR's layout; one video has two events."
    lines = {s: [f"{AVE.events[(i + k) % 28]}&{s:a<10}{i}&good&{i % 3}&{i % 3 + 4}" for i in range(6)
                 for k in range(2 if i == 0 and s == "train" else 1)] for s in SPLIT_NAMES}
    write(tmp_path/"ave", **{f"{s}Set": lines[s] for s in SPLIT_NAMES})
    rng = np.random.default_rng(0)
    for sub, shape in (("CLAP/features", (64, 768)), ("CLIP/features", (10, 768)), ("feats/r2plus1d_18", (10, 512))):
        (tmp_path/"ave"/sub).mkdir(parents=True)
        for v in {l.split("&")[1] for ls in lines.values() for l in ls}:
            np.save(tmp_path/"ave"/sub/f"{v}.npy", rng.normal(size=shape).astype(np.float32))
    return tmp_path

def test_features_are_found_by_video_and_missing_ones_are_counted(root):
    data = load_dataset("ave", root, "train", "clipclap")
    assert len(data) == 7 and data.features["audio"].shape == (7, 10, 768) and data.labels is None and data.scores is None
    a, b = (data.ids.index(c) for c in data.ids if c.startswith(ave.video(data.ids[0])))
    assert (data.features["visual"][a] == data.features["visual"][b]).all()
    (root/"ave"/"CLIP"/"features"/f"{ave.video(data.ids[0])}.npy").unlink()
    less = load_dataset("ave", root, "train", "clipclap")
    assert len(less) == 5 and less.missing["clip"].tolist() == list(data.ids[:2]) and less.total == 7
    stock = datasets.inventory("ave", root).set_index(["what", "split"])
    assert (stock.loc[("clipclap visual (CLIP/features)", "train"), ["here", "of"]].tolist() == [5, 7]
            and stock.loc[("truth", "test"), "here"] == 6)
    with pytest.raises(FileNotFoundError, match="feats"): load_dataset("ave", root, "test", "classic")

def test_features_of_another_shape_are_refused(root):
    path = next((root/"ave"/"CLIP"/"features").iterdir())
    np.save(path, np.zeros((10, 512), np.float32))
    with pytest.raises(ParameterError, match=r"expected \['10', '768'\]|expected \[10, 768\]|768"):
        [load_dataset("ave", root, s, "clipclap") for s in SPLIT_NAMES]

def test_the_published_layout_trains_through_plan_and_split(root, tmp_path):
    plan = plans.plan_runs("ave-han", "ave", overrides=SMALL | dict(epochs=1), root=root)
    runs_ = plans.train_all(plan, lambda f: recipes.load_splits("ave", root, "small", f), tmp_path/"runs", name=recipes.place("ave"),
                            device="cpu", progress=False)
    assert runs_["ave-han"][0].data["test"]["clips"] == 6 and runs_["ave-han"][0].name.startswith("ave-han-ave-s0-")

def test_a_preset_of_another_task_is_refused():
    with pytest.raises(ParameterError, match="is a set for 'ave'; choose one of ave-han, ave-valor"): plans.plan_runs("valor", "ave-demo")
    with pytest.raises(ParameterError, match="'ave-han' is for the task 'ave'"): plans.plan_runs("ave-han", "demo")

def test_clips_with_one_event_heard_and_seen_are_taken_from_a_parsing_set():
    a, v = np.zeros((2, 4, 4, 3), bool)
    a[0, :3, 0] = v[0, 1:, 0] = True                            # heard 0-2, seen 1-3: the event in 1 and 2
    a[1, :, 1] = v[1, :, 2] = True                              # one is heard, another seen: nothing
    a[2, :, :2] = v[2, :, :2] = True                            # two events
    a[3, 2, 2] = v[3, 2, 2] = a[3, :, 0] = True                 # an event, and another that is only heard
    rows, weak, truth = ave.single_events(SegmentLabels(list("pqrs"), a, v, TOY))
    assert rows.tolist() == [0, 3] and weak.ids == (f"p/{TOY.events[0]}", f"s/{TOY.events[2]}")
    assert np.argwhere(truth.audio).tolist() == [[0, 1, 0], [0, 2, 0], [1, 2, 2]] and (weak.mask == truth.audio.any(1)).all()

def test_files_of_clips_are_found_by_their_video(tmp_path):
    from valor_lab.media import find_clips
    for f in ("aaaaaaaaaaa.mp4", "demo0000001_0_10.mp4"): (tmp_path/f).touch()
    found = find_clips(["aaaaaaaaaaa/Bark", "aaaaaaaaaaa/Cat", "demo0000001_0_10/Dog", "bbbbbbbbbbb/Cat"], tmp_path)
    assert [p and p.name for p in found["path"]] == ["aaaaaaaaaaa.mp4", "aaaaaaaaaaa.mp4", "demo0000001_0_10.mp4", None]
