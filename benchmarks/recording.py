"""A long recording, by windows: rendered scenes on a known plan, harvested, parsed and put together; labels, sums and memory.

    python benchmarks/recording.py [--minutes 10 120] [--run FOLDER]

The scenes of the small demo set are rendered once (or taken from --scenes) and their packets put one behind the other. Each length runs in a
process of its own, which says its peak memory. `--run` is a finished run on the demo set; without it a network with random weights parses.
"""
import argparse, json, resource, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np


def join(out, parts, seconds=10):
    "The packets of clips one behind the other, each moved to its place."
    import av
    with av.open(str(parts[0])) as first, av.open(str(out), "w") as copy:
        into = {s.type: copy.add_stream_from_template(s) for s in first.streams}
        last = {}
        for k, part in enumerate(parts):
            with av.open(str(part)) as src:
                for p in src.demux():
                    if p.dts is None or p.pts is None or p.pts*p.time_base >= seconds or p.pts < 0: continue
                    ticks = round(k*seconds/p.time_base)
                    p.pts, p.dts = p.pts + ticks, max(p.dts + ticks, last.get(p.stream.type, -10**9) + 1)
                    last[p.stream.type], p.stream = p.dts, into[p.stream.type]
                    copy.mux(p)
    return Path(out)


def unskilled(folder):
    "A run with random weights for the demo set's simple features."
    import torch
    from valor_lab.datasets import Dataset
    from valor_lab.demo import SIMPLE_SHAPES
    from valor_lab.labels import SegmentLabels
    from valor_lab.models import HAN, save_model
    from valor_lab.training import Run, claim, identity, override, preset, resolved, write_json
    from valor_lab.vocab import LLP
    run, config = Run(folder), resolved(override(preset("valor"), dict(features="simple", d_model=32, d_ff=32, epochs=0)))
    claim(run, config, identity(config, dict(val=Dataset((), SegmentLabels((), *np.zeros((2, 0, 10, 25))).weak(), name="demo (tiny)", vocab=LLP))))
    torch.manual_seed(0)
    save_model(HAN(n_events=25, **{f"d_{m}": SIMPLE_SHAPES[m][1] for m in ("audio", "visual", "motion")}, **config.network), run.path/"best.safetensors")
    write_json(run.path/"scores.json", dict(gates=None))
    return run


def counts(said, truth):
    "[3] true positives, false positives, false negatives of both modalities."
    pairs = [(getattr(said, m), getattr(truth, m)) for m in ("audio", "visual")]
    return [int(sum(f(a, b).sum() for a, b in pairs)) for f in (lambda a, b: a & b, lambda a, b: a & ~b, lambda a, b: ~a & b)]


def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(folder, minutes, run):
    "Harvest, label and parse a recording; everything that is to be equal is compared."
    from valor_lab.demo import demo_teachers
    from valor_lab.grid import put_together, windows
    from valor_lab.harvest import elaborate, harvest, tune_global
    from valor_lab.labels import SegmentLabels, read_segments, read_weak
    from valor_lab.media import measure
    from valor_lab.training import open_run, parse_clips
    folder, found = Path(folder), {}
    ids = [p.stem for p in sorted((folder/"scenes"/"videos").glob("*.mp4"))]
    n = round(minutes*6)
    order = [ids[k % len(ids)] for k in range(n)]
    video = join(folder/f"recording{minutes}.mp4", [folder/"scenes"/"videos"/f"{i}.mp4" for i in order])
    parts = windows(video, measure(video)[1], 10)[:n]
    known = {}
    for kind in ("train", "eval"):
        here = [i for s in dict(train=["train"], eval=["val_pd", "test_pd"])[kind] for i in read_weak(folder/"scenes"/f"AVVP_{s}.csv").ids]
        truth = read_segments(*(folder/"scenes"/f"AVVP_{kind}_{m}.csv" for m in ("audio", "visual")), here)
        known |= {i: (truth.audio[k], truth.visual[k]) for k, i in enumerate(truth.ids)}
    truth = SegmentLabels([w.id for w in parts], *(np.stack([known[i][m] for i in order]) for m in (0, 1)))
    t = time.perf_counter()
    store = harvest(parts, *demo_teachers(device="cpu"), folder/f"store{minutes}", progress=False, workers=1)
    found["harvest, s"] = time.perf_counter() - t
    scores = store.scores()
    labels = elaborate(scores, None, tune_global(scores, truth.select(scores.ids)))
    starts = [w.start for w in parts]
    whole = [put_together(starts, getattr(labels, m)) > .5 for m in ("audio", "visual")]
    found["harvested labels equal"] = all(np.array_equal(x, getattr(labels, m).reshape(x.shape)) for x, m in zip(whole, ("audio", "visual")))
    one_clip = lambda x, y: SegmentLabels(["recording"], x[None], y[None])
    whole_truth = one_clip(*(getattr(truth, m).reshape(-1, 25) for m in ("audio", "visual")))
    sums = lambda windows_, recording: (counts(windows_, truth), counts(recording, whole_truth))
    found["harvested tp fp fn"], again = sums(labels, one_clip(*whole))
    found["their sums equal"] = found["harvested tp fp fn"] == again
    found["peak after harvest, MB"] = peak()
    run, t = open_run(run), time.perf_counter()
    said = parse_clips(run, [video], "ungated" if run.name == "unskilled" else None, device="cpu", window=10)
    found["parse, s"] = time.perf_counter() - t
    found["peak after parse, MB"] = peak()
    each = parse_clips(run, parts, "ungated" if run.name == "unskilled" else None, device="cpu")
    cut = lambda m: getattr(said, m)[0][:10*n]
    found["parsed labels equal"] = all(np.array_equal(cut(m), getattr(each, m).reshape(-1, 25)) for m in ("audio", "visual"))
    found["parsed tp fp fn"], again = sums(each, one_clip(cut("audio"), cut("visual")))
    found["their sums equal, too"] = found["parsed tp fp fn"] == again
    from valor_lab.media import copied_packets
    t = time.perf_counter()
    data = copied_packets(parts[-2])[0]
    found["a window near the end for the browser, s"], found["its bytes, MB"] = time.perf_counter() - t, len(data) / 1e6
    found["the recording, MB"] = video.stat().st_size / 1e6
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", nargs="+", type=float, default=[10, 120])
    parser.add_argument("--run", help="a finished run on the demo set")
    parser.add_argument("--scenes", help="a rendered demo set")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one: return print(json.dumps(one(args.one[0], float(args.one[1]), args.one[2])))
    with tempfile.TemporaryDirectory() as folder:
        if args.scenes: (Path(folder)/"scenes").symlink_to(Path(args.scenes).absolute())
        else:
            from valor_lab.demo import render_demo
            render_demo(Path(folder)/"scenes", "tiny")
        run = args.run or unskilled(Path(folder)/"unskilled").path
        columns = {}
        for m in args.minutes:
            done = subprocess.run([sys.executable, __file__, "--one", folder, str(m), str(run)], capture_output=True, text=True)
            if done.returncode: sys.exit(done.stderr[-3000:])
            columns[f"{m:g} min"] = json.loads(done.stdout.splitlines()[-1])
            print(f"{m:g} min: {columns[f'{m:g} min']}", flush=True)
        for k in next(iter(columns.values())): print(f"{k:46s}" + "".join(f"{(f'{c[k]:.2f}' if isinstance(c[k], float) else str(c[k])):>26s}" for c in columns.values()))


if __name__ == "__main__": main()
