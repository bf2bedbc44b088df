"""What version 0.1 left opens where it lies, or is moved once with its path said: a small workspace in its layout, written by hand."""
import json, warnings

import numpy as np, pandas as pd, pytest

pytest.importorskip("torch"), pytest.importorskip("lightning_fabric")
pa = pytest.importorskip("pyarrow")

from valor_lab import datasets, training
from valor_lab.cli import main
from valor_lab.core import fingerprint
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.vocab import LLP

IDS = [f"clip{i:07d}_0_10" for i in range(4)]
SHAPES = {"vggish": (10, 128), "res152": (80, 2048), "r2plus1d_18": (10, 512)}
CONFIG = """preset = "valor"
features = "classic"
objective = "valor"
backbone = "han"
optimizer = "adamw"
lr = 0.002
min_lr = 2e-05
beta1 = 0.5
beta2 = 0.999
weight_decay = 0.001
clip_norm = 1.0
schedule = "cosine"
warmup = 2
step_epochs = 10
step_factor = 0.1
batch_size = 8
epochs = 1
select = "segment/type"
ties = "first"
protocol = "avvp"
threshold = 0.5
precision = "32-true"
seed = 0

[network]
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 16
norm = "post"
dropout = 0.1
visual_attends = "updated_audio"
cross_attention = true
audio_head_dropout = 0.0
visual_head_dropout = 0.0

[options]
audio = "dense"
visual = "dense"
video = true
joint = false
smoothing_audio = 1.0
smoothing_visual = 0.9
weight_audio = 1.0
weight_visual = 1.0
weight_video = 1.0
"""


def save_labels(labels, folder):
    "Tables beside about.json, without a folder of their own."
    folder.mkdir(parents=True)
    labels.to_frame().to_csv(folder/"events.csv", index=False)
    pd.DataFrame(dict(clip=labels.ids, duration=10.)).to_csv(folder/"clips.csv", index=False)
    (folder/"about.json").write_text(json.dumps(dict(n_segments=10, vocabulary="llp", events=list(LLP.events), about={},
                                                     fingerprint=fingerprint(list(labels.ids), labels.audio, labels.visual))))


def save_overlay(name, base, labels, folder):
    seen = fingerprint(*(getattr(labels.select(IDS[:1]), m) for m in ("audio", "visual")), list(LLP.events))
    stroke = dict(clip=IDS[0], event="Dog", modality="audio", start=0, end=2, value=True, who="Ada", when="2026-01-01T00:00:00+00:00")
    folder.mkdir(parents=True, exist_ok=True)
    (folder/f"{name}.json").write_text(json.dumps(dict(format=1, name=name, base=base, vocabulary="llp", n_segments=10, seen={IDS[0]: seen}, edits=[stroke])))


def save_store(folder):
    "One Arrow file of rows, one of captions for each teacher, and manifest.json."
    def tensor(x):
        kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(x.dtype), x.shape[1:])
        return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), int(np.prod(x.shape[1:]))))
    def write(name, notes, **columns):
        batch = pa.record_batch({k: tensor(v) if isinstance(v, np.ndarray) and v.ndim > 1 else pa.array(v) for k, v in columns.items()})
        batch = batch.replace_schema_metadata({"notes": json.dumps(notes)})
        with pa.OSFile(str(folder/f"{name}.arrow"), "wb") as f, pa.ipc.new_file(f, batch.schema) as out: out.write_batch(batch)
    folder.mkdir(parents=True)
    x = np.random.default_rng(0).normal(size=(len(IDS), 10, 6)).astype(np.float16)
    write("00000-00000", [], id=IDS, path=[f"{c}.mp4" for c in IDS], duration=[10.]*len(IDS), has_audio=[True]*len(IDS), has_visual=[True]*len(IDS), audio=x, visual=-x)
    for m, captions in (("audio", LLP.clap_captions), ("visual", LLP.clip_captions)):
        write(f"captions-{m}", None, caption=list(captions), embedding=np.random.default_rng(1).normal(size=(len(LLP), 6)).astype(np.float32))
    teacher = dict(name="toy", fingerprint="toy", scale=1., width=6, config={})
    (folder/"manifest.json").write_text(json.dumps(dict(format=1, n_segments=10, sampling="published", rate=48000, audio=teacher, visual=teacher, features={})))
    return x


def save_run(folder, weak, truth):
    from safetensors.torch import save_file
    from valor_lab.models import HAN
    sizes = dict(n_events=25, d_audio=128, d_visual=2048, d_motion=512, d_model=16, n_layers=1, n_heads=2, d_ff=16, norm="post", dropout=.1,
                 visual_attends="updated_audio", cross_attention=True, audio_head_dropout=0., visual_head_dropout=0.)
    (folder/"predictions").mkdir(parents=True)
    (folder/"config.toml").write_text(CONFIG)
    for f in ("best", "last"): save_file(HAN(**sizes).state_dict(), folder/f"{f}.safetensors", dict(config=json.dumps(sizes), backbone="han"))
    vocab = {f: list(getattr(LLP, f)) for f in ("events", "clip_captions", "clap_captions", "clip_thresholds", "clap_thresholds")}
    split = dict(clips=4, of=4, ids=fingerprint(list(IDS)), weak=fingerprint(weak.mask), truth=fingerprint(truth.audio, truth.visual))
    (folder/"data.json").write_text(json.dumps(dict(dataset="llp", train=split, val=split, test=split, vocab=dict(name="llp") | vocab)))
    (folder/"environment.json").write_text(json.dumps(dict(valor_lab="0.1.0", commit="e75b57d", python="3.11.7", device="cpu", processes=1, threads=1)))
    scores = {f"{level}/{kind}": 50. for level in ("segment", "event") for kind in ("audio", "visual", "audio_visual", "type", "event")}
    (folder/"scores.json").write_text(json.dumps(dict(protocol="avvp", threshold=.5, select="segment/type", best_epoch=1, epochs=1, parameters=1, seconds=.1,
                                                      gates=None, val=scores, test=scores)))
    pd.DataFrame([dict(epoch=1, lr=.001, seconds=.1, **{"loss/total": 1.}, **{f"val/{k}": v for k, v in scores.items()})]).to_csv(folder/"metrics.csv", index=False)
    prob = np.where(truth.audio, .9, .1).astype(np.float32)
    for part in ("val", "test"):
        np.savez_compressed(folder/f"predictions/{part}.npz", ids=np.array(IDS), audio=truth.audio, visual=truth.visual, segment_prob=np.stack([prob, prob], 2),
                            **{f"{m}_prob": prob.max(1) for m in ("video", "audio", "visual")})


@pytest.fixture
def old(tmp_path, monkeypatch):
    "The workspace, as `find` shows one that version 0.1 made."
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    weak, data = WeakLabels(IDS, np.eye(4, 25)), tmp_path/"data"
    truth = weak.copied()
    (data/"llp").mkdir(parents=True)
    for f in ("AVVP_train.csv", "AVVP_val_pd.csv", "AVVP_test_pd.csv"): weak.to_csv(data/"llp"/f)
    truth.to_csv(data/"llp/AVVP_eval_audio.csv", data/"llp/AVVP_eval_visual.csv")
    rng = np.random.default_rng(0)
    for sub, shape in SHAPES.items():
        (data/"llp/feats"/sub).mkdir(parents=True)
        for c in IDS: np.save(data/"llp/feats"/sub/f"{c[:11]}.npy", rng.normal(size=shape).astype(np.float32))
    save_labels(truth, data/"labels/mine")
    save_overlay("mended", "truth", truth, data/"overlays"), save_overlay("mine-mended", "mine", truth, data/"overlays")
    (data/"thresholds").mkdir()
    rows = "".join(f'"{e}" = {{clip = {a}, clap = {b}}}\n' for e, a, b in zip(LLP.events, LLP.clip_thresholds, LLP.clap_thresholds))
    (data/"thresholds/first.toml").write_text(f'[provenance]\nvocabulary = "llp"\nmethod = "by hand"\n\n[events]\n{rows}\n[tuned_on]\nclips = []\n')
    save_run(tmp_path/"runs/valor-llp-s0-a6aea6", weak, truth)
    (job := tmp_path/"runs/jobs/train-20260101-120000").mkdir(parents=True)
    (job/"job.json").write_text(json.dumps(dict(notebook="train.ipynb", parameters=dict(preset="valor", dataset="llp"), started="2026-01-01T12:00:00+00:00",
                                                pid=1, began=1., ended="2026-01-01T12:05:00+00:00", end="finished")))
    (job/"parameters.json").write_text("{}"), (job/"log.txt").write_text("all cells ran\n")
    (tmp_path/"runs/report-llp").mkdir()
    return tmp_path


def test_every_kind_opens_where_it_lies(old, capsys):
    from valor_lab.workbench import list_jobs, load_clips, presets
    embeddings = save_store(old/"data/stores/llp")
    before = {p: p.read_bytes() for p in old.rglob("*") if p.is_file() and "stores" not in p.parts}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        clips = load_clips("llp", "val")
    moved = [str(w.message) for w in said if "version 0.1" in str(w.message)]
    assert len(moved) == 1 and str(old/"data/stores/llp") in moved[0]                           # converted once, and where is said
    assert {"truth", "mine", "mended", "mine-mended", "valor-llp-s0-a6aea6"} <= set(clips.labelings) and not clips.complaints
    for name in ("mended", "mine-mended"): assert clips.labelings[name].audio[0, :2, LLP.index("Dog")].all()
    assert presets("data/thresholds") == ["first"] and clips.scores is not None and np.array_equal(clips.store.array("audio"), embeddings)
    assert list_jobs("runs/jobs").set_index("name").state.to_dict() == {"train-20260101-120000": "finished"}
    assert all(p.read_bytes() == b for p, b in before.items())                                  # what is only opened is not touched
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        load_clips("llp", "val")
    assert not [w for w in said if "version 0.1" in str(w.message)]


def test_an_old_run_is_listed_scored_and_predicts_again(old, capsys):
    run = training.open_run("runs/valor-llp-s0-a6aea6")
    data = datasets.load_dataset("llp", split="val")
    labels = training.run_labels(run, "val")
    assert run.finished and run.vocab == LLP and labels.ids == tuple(IDS) and (labels.audio == data.truth.audio).all()
    assert training.predict(run, data, device="cpu").audio.shape == (4, 10, 25)
    assert main(["runs"]) == 0 and "valor" in capsys.readouterr().out
    assert main(["labels", "list"]) == 0 and "corrects truth" in capsys.readouterr().out


def test_old_labels_and_thresholds_train(old):
    save_store(old/"data/stores/llp")
    with warnings.catch_warnings(action="ignore"):
        data = datasets.load_dataset("llp", split="train")
        assert (training.choose_labels(data, "mine").labels.audio == data.weak.copied().audio).all()
        assert training.choose_labels(data, "first").labels.ids == data.ids
        assert training.choose_labels(data, "mine-mended").labels.audio[0, :2, LLP.index("Dog")].all()


def test_the_doctor_opens_all_of_it(old, capsys):
    save_store(old/"data/stores/llp")
    with warnings.catch_warnings(action="ignore"): status = main(["doctor"])
    out = capsys.readouterr().out
    assert all(f"{what}: {n} opened" in out for what, n in (("run", 1), ("labels", 1), ("overlay", 2), ("preset", 1), ("store", 1))), out
