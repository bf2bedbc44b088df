"""300 hostile files, made by a seeded generator, at every reader: a ParameterError or a complaint, never another exception, bounded memory and time.

`python tests/hostile.py [N]` does all and prints the figures; test_writers.py does a share. A whole example of each kind of file is cut, flipped, nested, given huge numbers,
other types and bytes that are no text, and then read in a forked child whose time and memory are measured."""
import io, json, os, random, resource, signal, sys, tempfile, time, traceback, zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from valor_lab.core import FetchError, ParameterError, read_settings
from valor_lab.datasets import load_labels, read_feature, read_ledger, save_labels
from valor_lab.harvest import Thresholds
from valor_lab.labels import Overlay, SegmentLabels, from_audacity, open_overlay, read_segments, read_weak
from valor_lab.vocab import LLP

ON = np.random.default_rng(0).random((6, 10, 25)) < .2
TRUTH = SegmentLabels([f"c{i}" for i in range(6)], ON, ~ON)


def examples(d):
    "Name -> (file, function that reads it) of a whole example in the folder d."
    from dataclasses import replace
    from valor_lab.training import Run, claim, open_run, preset, run_labels, run_probabilities, write_json
    out = {}
    save_labels(TRUTH, "mine", d)
    about = d/"labels/mine/about.json"
    tables = about.parent/json.loads(about.read_text())["files"]
    for f in (about, tables/"events.csv", tables/"clips.csv"): out[f"labels {f.name}"] = f, lambda: load_labels("mine", d)
    o = Overlay("mine", TRUTH)
    o.paint("c1", "Dog", "audio", 2, 5, not ON[1, 2, LLP.index("Dog")])
    o.save(d/"overlays")
    out["overlay"] = d/"overlays/mine.json", lambda: open_overlay("mine", TRUTH, folder=d/"overlays").apply()
    Thresholds(np.arange(25.), np.arange(25.), LLP, dict(method="x", clips=["a", "b"])).save(d/"t.toml")
    out["preset"] = d/"t.toml", lambda: Thresholds.load(d/"t.toml")
    run = Run(d/"run")
    claim(run, preset("han"), dict(dataset="x", vocab=dict(name="v", events=["a"], clip_captions=["a"], clap_captions=["a"], clip_thresholds=[1.], clap_thresholds=[1.])))
    write_json(run.path/"scores.json", dict(gates=None, test={"segment/audio": 50.}))
    (run.path/"metrics.csv").write_text("epoch,loss/total\n1,2.5\n2,2.25\n")
    (run.path/"predictions").mkdir()
    np.savez_compressed(run.path/"predictions/test.npz", ids=np.array(TRUTH.ids), audio=ON, visual=~ON, video_prob=ON.any(1).astype(np.float32))
    out["config.toml"] = run.path/"config.toml", lambda: open_run(run.path).config
    out["data.json"] = run.path/"data.json", lambda: open_run(run.path).vocab
    out["scores.json"] = run.path/"scores.json", lambda: open_run(run.path).scores
    out["metrics.csv"] = run.path/"metrics.csv", lambda: open_run(run.path).metrics
    vocab = LLP
    def predicted():
        from valor_lab.training import find_task
        return find_task("avvp").read(run.path/"predictions", "test", vocab)
    out["predictions"] = run.path/"predictions/test.npz", lambda: (predicted(), run_probabilities(run, "test"))
    np.save(d/"x.npy", np.ones((10, 128), np.float32))
    out["feature"] = d/"x.npy", lambda: read_feature(d/"x.npy", (10, 128))
    TRUTH.weak().to_csv(d/"weak.csv"), TRUTH.to_csv(d/"a.csv", d/"v.csv")
    out["weak list"] = d/"weak.csv", lambda: read_weak(d/"weak.csv")
    out["segments"] = d/"a.csv", lambda: read_segments(d/"a.csv", d/"v.csv", TRUTH.ids)
    (d/"track.txt").write_text("0.000000\t2.000000\taudio Dog\n1.0\t3.0\tvisual Cat\n")
    out["label track"] = d/"track.txt", lambda: from_audacity(d/"track.txt", "c1")
    (d/"valor.toml").write_text('plugins = ["mine.py"]\nmedia_folders = ["more"]\nengine = "local"\n')
    out["valor.toml"] = d/"valor.toml", lambda: read_settings(d)
    (d/"ledger.csv").write_text("clip,state,reason\na,gone,Private video\n")
    out["ledger"] = d/"ledger.csv", lambda: read_ledger(d)
    from valor_lab.workbench import jobs
    (d/"jobs/j").mkdir(parents=True)
    (d/"jobs/j/job.json").write_text(json.dumps(dict(notebook="x", parameters={}, started="2026-01-01T00:00:00+00:00", number=1, token="0" * 32, pid=1, machine="x", began="1", path="x", root=str(d))))
    out["job.json"] = d/"jobs/j/job.json", lambda: (jobs.list_jobs(d/"jobs"), jobs.Job(d/"jobs/j").state)
    from valor_lab.models import load_model, make_model, save_model
    save_model(make_model("han", d_model=16, d_ff=16, n_heads=2, n_events=25, d_audio=8, d_visual=8, d_motion=8), d/"m.safetensors")
    out["checkpoint"] = d/"m.safetensors", lambda: load_model(d/"m.safetensors")
    from valor_lab.training import list_runs
    out["list of runs"] = run.path/"config.toml", lambda: list_runs(d, published=False, unfinished=True)
    for extra in (labels_of_others, lists_of_tasks, released_files, media_files, stores): extra(d, out)
    return out

def labels_of_others(d, out):
    "A labeling in every format of another tool, spreadsheets, what a data set says of itself."
    from valor_lab.datasets import FORMATS, export_labels, import_labels, read_description, read_sheet
    ids = list(TRUTH.ids)
    for kind, f in FORMATS.items():
        paths, _ = export_labels(TRUTH, kind, d/f"formats/{kind}/labels")
        out[f"format {kind}"] = paths[0], lambda paths=paths, kind=kind: import_labels(paths, ids, LLP, 10, kind=kind)
    (d/"sheet.csv").write_text("Datei;Ereignis;von;bis\nc1.mp4;Dog, Cat;0,5;2,5\nc2.mp4;Dog;1;3\n")
    out["sheet"] = d/"sheet.csv", lambda: read_sheet(d/"sheet.csv").rows
    (d/"own").mkdir()
    (d/"own/train.csv").write_text("filename,event_labels\nc1,Dog\n")
    (d/"own/dataset.toml").write_text('task = "avvp"\nsegment_seconds = 1.0\nwindow = 10.0\nmedia = "videos"\n[events.Dog]\nclip = "A photo of a dog."\nthresholds = { clip = 15, clap = 2 }\n[events.Cat]\n[splits]\ntrain = "train.csv"\n[features]\naudio = { folder = "feats", shape = [10, 128] }\nvisual = "store"\n')
    out["dataset.toml"] = d/"own/dataset.toml", lambda: read_description(d/"own/dataset.toml")

def lists_of_tasks(d, out):
    "Lists and features of AVE and THUMOS14."
    from valor_lab.metrics import read_actions
    from valor_lab.tasks import read_list, read_streams
    (d/"trainSet.txt").write_text("Church bell&RUhOCu3LNXM&good&0&10\nMale speech, man speaking&-2L_9U4K7M&good&2&7\n")
    out["AVE list"] = d/"trainSet.txt", lambda: read_list(d/"trainSet.txt")
    (d/"annotations.csv").write_text("video,subset,duration_s,label,start_s,end_s\nv1,test,60.5,Jump,1.5,4\nv2,test,30,Throw,2,3.25\n")
    (d/"Ambiguous.txt").write_text("v1 7.5 9.25\nv2 1 2\n")
    actions = lambda: read_actions(d/"annotations.csv", "test", d/"Ambiguous.txt")
    out["TAL truth"], out["TAL ambiguous"] = (d/"annotations.csv", actions), (d/"Ambiguous.txt", actions)
    np.save(d/"i3d.npy", np.ones((10, 128), np.float32))
    out["TAL features"] = d/"i3d.npy", lambda: read_streams([d/"i3d.npy"], 64)

def released_files(d, out):
    "Checkpoints as released, published features and their note, weights of teachers."
    import torch
    from valor_lab.harvest import FeatureStore, Scores, elaborate, export_published, open_published, read_checkpoint
    from valor_lab.models import HAN, read_state_dict
    weights = {k: v for k, v in HAN(d_model=16, d_ff=16, n_heads=2, n_events=25, d_audio=8, d_visual=8, d_motion=8).state_dict().items()}
    torch.save(dict(model=weights), d/"released.pt"), torch.save(dict(state_dict=weights), d/"teacher.pt")
    out["released .pt"], out["teacher's .pt"] = (d/"released.pt", lambda: read_state_dict(d/"released.pt")), (d/"teacher.pt", lambda: read_checkpoint(d/"teacher.pt"))
    out["teacher's .safetensors"] = d/"m.safetensors", lambda: read_checkpoint(d/"m.safetensors")
    ids = [f"abcdefghij{i}_0_10" for i in range(4)]
    made = dict(format=2, n_segments=10, sampling="published", rate=48_000, audio=None, visual=dict(name="eye", fingerprint="1", scale=1., width=8, config=None),
                features={"vggish": dict(name="vggish", modality="audio", fingerprint="1", shape=[10, 128])})
    store = FeatureStore.of_arrays(made, ids, np.full(4, 10.), visual=np.ones((4, 10, 8), np.float16), features=dict(vggish=np.ones((4, 10, 128), np.float16)), has_audio=np.ones(4, bool))
    on = np.zeros((4, 10, 25), bool)
    export_published(store, SegmentLabels(ids, on, on), d/"published")
    read = lambda: open_published(d/"published", ids)
    for f in ("valor_lab.json", f"feats/vggish/{ids[1][:11]}.npy", f"CLIP/features/{ids[1][:11]}.npy", f"CLAP/segment_pseudo_labels/{ids[1][:11]}.npy"): out[f"published {f}"] = d/"published"/f, read

def media_files(d, out):
    "A film and a sound."
    from valor_lab.media import read_audio, read_frames, write_clip
    write_clip(d/"film.mp4", np.random.default_rng(0).integers(0, 255, (24, 48, 64, 3), np.uint8), np.sin(np.arange(48_000)/9).astype(np.float32), fps=12)
    out["film"] = d/"film.mp4", lambda: (read_frames(d/"film.mp4"), read_audio(d/"film.mp4"))

def stores(d, out):
    "Every kind of file of a feature store. The table's library cannot be forked: only children touch it."
    from valor_lab.harvest import FeatureStore, Row, add_rows, begin_store
    teacher = lambda name: dict(name=name, fingerprint=name, scale=10., width=8, config=None)
    made = dict(format=2, n_segments=10, sampling="published", rate=48_000, audio=teacher("ear"), visual=teacher("eye"), features={})
    class Words:
        def __init__(self, modality, name): self.modality, self.name, self.fingerprint, self.scale, self.width = modality, name, name, 10., 8
        def embed_text(self, captions): return np.ones((len(captions), 8), np.float32)
    def make():
        from valor_lab.harvest import index_ids
        begin_store(d/"store", made)
        rng = np.random.default_rng(0)
        for k in range(2): add_rows(d/"store", [Row(f"c{k}{i}", f"{i}.mp4", 10., {}, {m: rng.normal(size=(10, 8)).astype(np.float16) for m in ("audio", "visual")}) for i in range(30)], made)
        FeatureStore.open(d/"store").remember(LLP, Words("visual", "eye"), Words("audio", "ear"))
        index_ids(d/"store", least=5)
        FeatureStore.open(d/"store").keep_scores(LLP)
    said, *_ = judge(make)
    assert said == "read", said
    def read():
        few = FeatureStore.open(d/"store").select(["c03", "c15"]).visual
        s = FeatureStore.open(d/"store")
        assert s.ids.index("c03") >= 0 and few.shape == (2, 10, 8)
        return s.audio, s.visual, s.failures, s.fingerprint, s.scores(LLP), s.search(LLP.clip_captions[0], "visual", 3), (k := s.kept_scores(LLP)) and k.read("audio", ["Dog"])
    for p in sorted((d/"store").rglob("*")):
        if p.is_file() and p.stat().st_size: out[f"store {p.relative_to(d/'store').parts[0]} {p.parent.name} {len(out)}"] = p, read


ATOMS = [None, True, -1, 0, 10**30, -10**400, 1e308, float("nan"), float("inf"), "", "\ud800", "\0", "../../etc/passwd", "x" * 70_000, [], {}, [[]], [1] * 9, {"a": {"b": {}}}, "2026-13-45"]

def nest(depth, rng):
    x = 0
    for _ in range(depth): x = [x] if rng.random() < .5 else {"a": x}
    return x

def twist_json(value, rng):
    "One value somewhere in a JSON document becomes something else, or goes."
    text = lambda x: json.dumps(x, ensure_ascii=True)
    places = []
    def walk(x, path):
        places.append(path)
        for k, v in (x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ()): walk(v, (*path, k))
    walk(value, ())
    path = rng.choice(places)
    atom = rng.choice([*ATOMS, nest(rng.choice([5, 90]), rng)])
    if not path: return text(atom)
    x = value
    for k in path[:-1]: x = x[k]
    if rng.random() < .25 and isinstance(x, dict): del x[path[-1]]
    else: x[path[-1]] = atom
    return text(value)

def hostile(data:bytes, suffix:str, rng) -> bytes:
    "A damaged version of a file."
    kind = rng.randrange(9)
    if kind == 0: return data[:rng.randrange(len(data))]
    if kind == 1:
        b = bytearray(data)
        for _ in range(rng.choice([1, 1, 3, 50])): b[rng.randrange(len(b))] ^= 1 << rng.randrange(8)
        return bytes(b)
    if kind == 2: return rng.choice([b"", b"\0" * 1000, b"\xff\xfe" + data, b"\xef\xbb\xbf" + data, rng.randbytes(5000), b"PK\3\4" + data, data * 3, b"\x80\x04cos\nsystem\n(S'x'\ntR."])
    if suffix == ".json":
        if kind == 3: return (b"[" if rng.random() < .5 else b'{"a":') * rng.choice([100, 2000, 200_000])
        if kind == 4: return data.replace(b"10", b"1" * rng.choice([30, 6000]), 1)
        return twist_json(json.loads(data), rng).encode()
    if suffix == ".toml":
        text = data.decode()
        line = rng.choice([l for l in text.splitlines() if "=" in l])
        key = line.split("=")[0]
        atoms = ["1e400", "inf", "nan", "-1", "9" * 5000, "9" * 2_000_000, "[" * 3000, "[]", "{}", '""', '"\\ud800"', "2026-13-45", "07:32:00", '"../../x"', "true", "{a = {b = {c = 1}}}", "1979-05-27T07:32:00Z", "0x" + "f" * 5000, "[1, 'a', []]", '"""' + "x" * 9000]
        if kind == 3: return ("a." * 50_000 + "b = 1\n" + text).encode()
        if kind == 4: return (text + "\n[" + ".".join(["x"] * 5000) + "]\n").encode()
        if kind == 5: return (text + "\n" + line).encode()
        return text.replace(line, f"{key}= {rng.choice(atoms)}", 1).encode()
    if suffix == ".eaf":
        text = data.decode()
        if kind == 3: return text.replace("<ANNOTATION_DOCUMENT", '<!DOCTYPE x [<!ENTITY a "' + "x" * 1000 + '">' + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi")) + "]>\n<ANNOTATION_DOCUMENT", 1).replace("Dog", "&i;").encode()
        if kind == 4: return ("<a>" * rng.choice([100, 300_000])).encode()
        if kind == 5: return text.replace('TIME_VALUE="', f'TIME_VALUE="{rng.choice(["-5", "1e9", "x", "", "9" * 5000, "nan"])}', 1).encode()
        tag = rng.choice(["TIME_SLOT_REF1", "TIME_SLOT_ID", "TIER_ID", "ANNOTATION_VALUE", "TIME_VALUE", "LINGUISTIC_TYPE_REF", "TIME_ORDER", "TIER "])
        return text.replace(tag, "ODD", rng.choice([1, 2, 10_000])).encode()
    if suffix in (".csv", ".txt", ".tsv", ".vtt"):
        lines = data.decode().splitlines()
        n = rng.randrange(len(lines))
        tab = "\t" if "\t" in lines[0] else ","
        cells = lines[n].split(tab)
        cells[rng.randrange(len(cells))] = rng.choice(["", "nan", "inf", "-1", "1e400", "9" * 400, "0x10", "x" * 300_000, '"', "\0", "a\rb", "Unicorn", "-5", "1,5", "٣", "=1+1", "1_0", "1e-400", "  "])
        if kind == 3: lines[n] = tab.join(cells * rng.choice([2, 3000]))
        elif kind == 4: lines[0] = tab.join(rng.choice([["a"], cells * 2, list("abcdef"), lines[0].split(tab)[:-1]]))
        elif kind == 5: lines += [lines[-1]] * rng.choice([1, 20_000])
        else: lines[n] = tab.join(cells)
        return "\n".join(lines).encode("utf-8", "surrogatepass")
    if suffix == ".npy":
        x = rng.choice([np.ones((10, 128)) * np.nan, np.ones((10, 128)) * 1j, np.full((10, 128), "a"), np.zeros((10, 128), "M8[s]"), np.array([{}], object), np.zeros((0, 128)), np.zeros(()), np.zeros((10, 128), [("a", "f4")]), np.full((10, 128), 1e300)])
        b = io.BytesIO()
        np.save(b, x, allow_pickle=True)
        whole = b.getvalue()
        if kind > 5: return data.replace(b"(10, 128)", rng.choice([b"(9999999999, 128)", b"(10, -128)", b"(10, 2**60)", b"(1e9, 128)", b"([10], 12)"]), 1)
        return whole
    if suffix == ".npz":
        with np.load(io.BytesIO(data)) as f: x = {k: f[k] for k in f.files}
        name = rng.choice(list(x))
        if kind == 3: x.pop(name)
        elif kind == 4: x[name] = rng.choice([np.array([{}], object), np.zeros(3), np.zeros((6, 10, 25)) * np.nan, np.array(["a"] * 6), np.zeros((0,)), x[name][:-1], x[name] * 1j if x[name].dtype.kind != "U" else np.array([b"a"] * 6)])
        elif kind == 5:
            b = io.BytesIO()
            with zipfile.ZipFile(b, "w", zipfile.ZIP_DEFLATED) as z:
                with z.open(f"{name}.npy", "w", force_zip64=True) as m:                                       # a bomb: 600 MB of zeros in 600 KB
                    head = b"{'descr': '|b1', 'fortran_order': False, 'shape': (2400000000,), }"
                    m.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
                    for _ in range(60): m.write(bytes(1_000_000))
            return b.getvalue()
        else: x[name] = np.frombuffer(rng.randbytes(x[name].nbytes), x[name].dtype).reshape(x[name].shape)
        b = io.BytesIO()
        np.savez(b, **x)
        return b.getvalue()
    if suffix == ".safetensors":
        size = int.from_bytes(data[:8], "little")
        if kind == 3: return (2**rng.choice([40, 62])).to_bytes(8, "little") + data[8:]
        head = json.loads(data[8:8 + size])
        if kind == 4: head["__metadata__"] = rng.choice([{}, {"backbone": "none"}, {"backbone": "han", "config": "{"}, {"backbone": "han", "config": '{"d_model": 1000000}'}, {"backbone": "han", "config": "[]"}, {"backbone": "han", "config": '{"n_layers": 100000}'}])
        elif kind == 5: return data[:8 + size] + b"\xff" * (len(data) - 8 - size)                             # every weight is NaN
        else:
            t = rng.choice([k for k in head if k != "__metadata__"])
            head[t] = rng.choice([{}, head[t] | dict(shape=[10**12]), head[t] | dict(data_offsets=[0, 2**60]), head[t] | dict(dtype="X9"), None])
        new = json.dumps(head).encode()
        return len(new).to_bytes(8, "little") + new + data[8 + size:]
    b, at = bytearray(data), rng.randrange(len(data))                                                        # any other file
    n = min(rng.choice([8, 64, 4000]), len(data) - at)
    if kind == 3: b[at:at + n] = bytes(n)
    elif kind == 4: b[at:at + n] = rng.randbytes(n)
    elif kind == 5: b[at:at] = rng.randbytes(n)
    elif kind == 6: del b[at:at + n]
    elif kind == 7: b[at:at + 8] = b"\xff" * rng.choice([4, 8])
    else: return data[::-1]
    return bytes(b)


def judge(read):
    "Read in a forked child: what came of it, seconds of processor time (after a minute on the clock it is killed), and megabytes beyond what the parent had."
    a, b = os.pipe()
    if not (pid := os.fork()):
        os.close(a)
        signal.alarm(60)
        import warnings
        warnings.simplefilter("ignore")
        start, base = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try: read(); said = "read"
        except ParameterError as e: said = "refused"; assert str(e)
        except BaseException as e: said = f"{type(e).__name__}: {str(e)[:150]} " + " < ".join(f"{f.name}:{f.lineno}" for f in traceback.extract_tb(e.__traceback__)[-3:])
        os.write(b, json.dumps([said, time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024]).encode()[:60_000])
        os._exit(0)
    os.close(b)
    with open(a, "rb") as f: said = f.read()
    status = os.waitpid(pid, 0)[1]
    return json.loads(said) if said else [f"died with {status}", 60., 0.]

def run(n=300, seed=0, show=print) -> dict:
    "n hostile files, spread over the readers; what is wrong, and the figures."
    rng, wrong, times, megabytes, counts = random.Random(seed), [], [], [], dict(read=0, refused=0)
    with tempfile.TemporaryDirectory() as t:
        found = examples(Path(t))
        for name, (path, read) in found.items():
            said, *_ = judge(read)
            assert said == "read", f"{name}: the whole file is not read: {said}"
        names = list(found)
        for k in range(n):
            name = names[k % len(names)]
            path, read = found[name]
            whole = path.read_bytes()
            bad = hostile(whole, path.suffix, rng)
            path.write_bytes(bad)
            said, seconds, mb = judge(read)
            path.write_bytes(whole)
            times.append(seconds), megabytes.append(mb)
            if said in counts: counts[said] += 1
            if said not in counts or seconds > 10 or mb > 2048:
                wrong.append((name, k, said, round(seconds, 1), round(mb)))
                show(f"{name} {k}: {said} ({seconds:.1f} s, {mb:.0f} MB); begins {bad[:60]!r}")
    return dict(files=n, readers=len(names), **counts, wrong=len(wrong), slowest_s=round(max(times), 2), largest_mb=round(max(megabytes)))

if __name__ == "__main__":
    found = run(int(sys.argv[1]) if len(sys.argv) > 1 else 300, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(json.dumps(found))
    sys.exit(bool(found["wrong"]))
