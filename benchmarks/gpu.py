"""All that wants a GPU, in one script of under eight minutes: tests, trainings at LLP's size, five seeds at once, a harvest with large teachers.

    python benchmarks/gpu.py [--parts tests training seeds harvest] [--epochs 60] [--presets han,valor,valor++] [--out gpu.json]
    python benchmarks/gpu.py --dry            # the same on a CPU and a tiny set, to see that it runs

`training`: made-up features and labels of 10,000 training and 649 validation clips; each row is a training through `fit`, as a user starts one.
Steps as they are run for a few epochs (they take minutes otherwise), recorded ones for those and for all; `difference` is the greatest difference of
a weight from the same epochs as they are. `seeds`: five seeds as one batched model beside one. `harvest`: clips of ten seconds with CLIP ViT-L/14 and
CLAP at random weights, and how long the decoding alone takes. A part that fails is reported, and the others go on. Ends with tables to paste into
benchmarks/README.md.
"""
import argparse, json, os, subprocess, sys, tempfile, time, traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from train import made_up

from valor_lab.training import fit, fit_together, override, preset

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = {"valor++": (768, 768, 512), "valor+": (768, 768, 512)}
TINY = dict(network=dict(d_model=32, d_ff=32, n_heads=2, n_layers=1), batch_size=16)


def wait(): torch.cuda.synchronize() if torch.cuda.is_available() else None

def data_of(name, a):
    "Training and validation split for a preset."
    widths = WIDTHS.get(name, (128, 2048, 512))
    if a.dry: widths = tuple(w//16 for w in widths)
    return [made_up(n, seed, widths) for seed, n in enumerate((48, 16) if a.dry else (10_000, 649))]

def config_of(name, epochs, precision, a):
    return override(preset(name), dict(epochs=epochs, precision=precision) | (TINY if a.dry else {}))

def timed(f):
    wait()
    start = time.perf_counter()
    out = f()
    wait()
    return out, time.perf_counter() - start


def run_tests(a):
    "The tests that only a GPU can pass."
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    r = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", str(ROOT/"tests/test_cuda.py")],
                       capture_output=True, text=True, env=env)
    if r.returncode not in (0, 5): print(r.stdout[-3000:])
    return [dict(tests="tests/test_cuda.py -m cuda", ended=(r.stdout.strip().splitlines() or [r.stderr[-200:]])[-1])]


def run_training(a):
    "As it is, recorded, recorded in half precision."
    rows, few = [], min(5, a.epochs)
    for name in a.presets.split(","):
        data, val = data_of(name, a)
        plain = {}
        for precision, captured, epochs in (("32-true", False, few), ("32-true", True, few), ("32-true", True, a.epochs),
                                            ("bf16-mixed", False, few), ("bf16-mixed", True, few), ("bf16-mixed", True, a.epochs)):
            with tempfile.TemporaryDirectory() as d:
                config = config_of(name, epochs, precision, a)
                run, wall = timed(lambda: fit(config, data, Path(d)/"run", val, device=a.device, captured=captured and not a.dry, progress=False, save_every=1e9))
                metrics, weights = pd.read_csv(run.path/"metrics.csv"), load_file(run.path/"last.safetensors")
            if epochs == few: plain.setdefault(precision, weights)
            apart = max(float((weights[k].float() - v.float()).abs().max()) for k, v in plain[precision].items()) if epochs == few else np.nan
            rows.append(dict(preset=name, step="recorded" if captured else "as it is", precision=precision, epochs=epochs, seconds=round(wall, 1),
                             epoch=round(float(metrics.seconds.median()), 3), loss=round(float(metrics["loss/total"].iloc[-1]), 6), difference=apart))
            print(json.dumps(rows[-1]), flush=True)
    return rows


def run_seeds(a):
    "Five seeds at once beside one seed, by the epoch; what they say apart, without dropout."
    rows, epochs, many = [], min(8, a.epochs), 2 if a.dry else 5
    for name in a.presets.split(","):
        data, val = data_of(name, a)
        config = config_of(name, epochs, "32-true", a)
        still = override(config, {"network": config.network | dict(dropout=0., audio_head_dropout=0., visual_head_dropout=0.)})
        with tempfile.TemporaryDirectory() as d:
            how, captured = dict(device=a.device, progress=False, save_every=1e9), not a.dry
            one, alone = timed(lambda: fit(replace(config, seed=0), data, f"{d}/one", val, captured=captured, **how))
            for recorded in {False, captured}:
                runs, wall = timed(lambda: fit_together(config, data, f"{d}/many-{recorded}", range(many), val, captured=recorded, **how))
                pace = many*float(pd.read_csv(runs[0].path/"metrics.csv").seconds.median())
                rows.append(dict(preset=name, seeds=many, step="recorded" if recorded else "as it is", epochs=epochs, seconds=round(wall, 1), in_turn=round(many*alone, 1),
                                 times=round(many*alone/wall, 2), epoch_of_all=round(pace, 3)))
            short = replace(still, epochs=2)
            a_, b_ = fit(replace(short, seed=1), data, f"{d}/a", val, captured=captured, **how), fit_together(short, data, f"{d}/b", (0, 1), val, captured=captured, **how)[1]
            said = [np.load(r.path/"predictions"/"val.npz")["segment_prob"] for r in (a_, b_)]
            rows[-1]["difference"] = float(np.abs(said[0] - said[1]).max())
        for r in rows[-len({False, captured}):]: print(json.dumps(r), flush=True)
    return rows


def random_teachers(folder, a):
    "CLIP ViT-L/14 and CLAP's HTSAT with random weights, from files as anybody's are."
    if a.dry:
        from valor_lab.demo import demo_teachers
        return demo_teachers(device=a.device)
    import open_clip
    from valor_lab.harvest import ClapTeacher, ClipTeacher
    from valor_lab.harvest.clap import build_clap, clap_module
    torch.manual_seed(0)
    state = lambda m: {k: v.detach().clone().contiguous() for k, v in m.state_dict().items()}
    save_file(state(open_clip.create_model("ViT-L-14", pretrained=None)), folder/"clip.safetensors")
    clap_module()
    config = json.loads(json.dumps(sys.modules["clap_module.factory"]._MODEL_CONFIGS["HTSAT-tiny"]))
    config["text_cfg"]["model_type"] = "transformer"                     # whose words need no file
    config |= dict(enable_fusion=True, fusion_type="aff_2d")
    save_file(state(build_clap(config)), folder/"clap.safetensors", metadata=dict(clap_config=json.dumps(config)))
    return ClipTeacher("ViT-L-14", folder/"clip.safetensors", a.device, quick_gelu=False), ClapTeacher(folder/"clap.safetensors", a.device)


def made_clips(folder, many):
    "Clips of ten seconds, 320 wide: a few that are coded, the others links to them."
    from valor_lab.media import write_clip
    rng, paths = np.random.default_rng(0), []
    for k in range(min(many, 8)):
        base = rng.integers(0, 255, (24, 32, 3), np.uint8).repeat(10, 0).repeat(10, 1)
        frames = np.stack([np.roll(base, 2*i, 1) for i in range(250)])
        paths.append(write_clip(folder/f"{k:04d}.mp4", frames, (.1*rng.standard_normal(480_000)).astype(np.float32), fps=25))
    for k in range(len(paths), many): os.link(paths[k % 8], folder/f"{k:04d}.mp4")
    return sorted(folder.glob("*.mp4"))


def run_harvest(a):
    "Clips per second of a whole harvest, of the decoding alone and of the teachers alone."
    from valor_lab.harvest import harvest
    from valor_lab.media import read_clip
    with tempfile.TemporaryDirectory() as d:
        (folder := Path(d)/"clips").mkdir()
        files, workers = made_clips(folder, a.clips), len(os.sched_getaffinity(0))
        clip, clap = random_teachers(Path(d), a)
        harvest(files[:2], clip, clap, Path(d)/"warm", vocab=None, progress=False)
        with ThreadPoolExecutor(workers) as pool: _, decoding = timed(lambda: sum(1 for _ in pool.map(lambda p: bool(read_clip(p, threads=1)), files)))
        store, whole = timed(lambda: harvest(files, clip, clap, Path(d)/"store", vocab=None, workers=workers, progress=False))
        n = len(store)
    return [dict(clips=n, processors=workers, seconds=round(whole, 1), clips_per_second=round(n/whole, 2), decoding_alone=round(decoding, 1),
                 decoded_per_second=round(n/decoding, 1), share_of_decoding=f"{100*decoding/whole:.0f} %")]


PARTS = dict(tests=run_tests, training=run_training, seeds=run_seeds, harvest=run_harvest)

def table(rows):
    t = pd.DataFrame(rows).fillna("")
    return "\n".join(["| " + " | ".join(t.columns) + " |", "|---"*len(t.columns) + "|", *("| " + " | ".join(map(str, r)) + " |" for r in t.itertuples(index=False))])


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    p.add_argument("--epochs", type=int, default=60), p.add_argument("--presets", default="han,valor,valor++")
    p.add_argument("--clips", type=int, default=200), p.add_argument("--out", default="")
    p.add_argument("--device", default="cuda"), p.add_argument("--dry", action="store_true")
    a = p.parse_args(argv)
    if a.dry: a.device, a.epochs, a.clips, a.presets = "cpu", 1, 2, a.presets.split(",")[0]
    elif a.device == "cuda" and not torch.cuda.is_available(): raise SystemExit("no GPU can be used here; --dry shows on a CPU that the script runs")
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    print(f"{card}, {len(os.sched_getaffinity(0))} processors, torch {torch.__version__}", flush=True)
    start, found, bad = time.perf_counter(), {}, []
    for name in a.parts:
        began = time.perf_counter()
        try: found[name] = PARTS[name](a)
        except Exception as e:
            bad.append(name)
            found[name] = [dict(part=name, ended=f"{type(e).__name__}: {str(e)[:200]}")]
            traceback.print_exc()
        print(f"-- {name}: {time.perf_counter() - began:.0f} s", flush=True)
    for name, rows in found.items(): print(f"\n{name}\n\n{table(rows)}")
    print(f"\n{time.perf_counter() - start:.0f} s in all")
    if a.out: Path(a.out).write_text(json.dumps(found))
    return bool(bad)


if __name__ == "__main__": sys.exit(main())
