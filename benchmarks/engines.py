"""Ten trainings one after the other, in two processes, and on Ray with two processors: wall time, and whether the weights are the same.

    python benchmarks/engines.py [--root data] [--size small] [--epochs 60] [--runs 10] [--ways serial ray serial-2 processes]

Each way is a command of its own, from its start to its end, so that Ray's own start counts, too. `serial` and the engines use one thread for a run,
`serial-2` two. Each way but `serial-2` trains the same runs into a folder of its own, and every tensor of every run is compared with `serial`'s.
On two quiet processors the first two ways take about four minutes, each of the others one to two more.
"""
import argparse, os, subprocess, sys, tempfile, time
from pathlib import Path

ENGINES = {"serial": ("local", 1), "serial-2": ("local", 2), "processes": ("local:processes=2", 1), "ray": ("ray:processors=2", 1),
           "slurm-local": ("slurm:cluster=local,cpus=1,jobs=2", 1)}


def train(engine, root, size, epochs, runs, out):
    import torch
    from valor_lab.training import Splits, plan_runs, train_all
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    plan = plan_runs("valor", "demo", size, "", epochs, root)
    train_all(plan, Splits("demo", root, size), out, range(runs), "bench", engine=engine, device="cpu", progress=False)


def same(a, b):
    from safetensors.torch import load_file
    import torch
    names = sorted(p.name for p in a.glob("valor-*"))
    if names != sorted(p.name for p in b.glob("valor-*")): return False
    pairs = [(load_file(a/n/f), load_file(b/n/f)) for n in names for f in ("best.safetensors", "last.safetensors")]
    return all(x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x) for x, y in pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="data"), parser.add_argument("--size", default="small")
    parser.add_argument("--epochs", type=int, default=60), parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--ways", nargs="+", default=["serial", "ray", "serial-2", "processes"], choices=ENGINES)
    parser.add_argument("--one"), parser.add_argument("--out")
    a = parser.parse_args()
    root = str(Path(a.root).resolve())
    if a.one: train(ENGINES[a.one][0], root, a.size, a.epochs, a.runs, a.out); return
    with tempfile.TemporaryDirectory() as d:
        took = {}
        for way in a.ways:
            env, load, before = dict(os.environ, OMP_NUM_THREADS=str(ENGINES[way][1])), os.getloadavg()[0], os.times()
            begin = time.perf_counter()
            one = subprocess.run([sys.executable, __file__, "--one", way, "--out", f"{d}/{way}", "--root", root, "--size", a.size,
                                  "--epochs", str(a.epochs), "--runs", str(a.runs)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            if one.returncode: sys.exit(f"{way} ended with {one.returncode}:\n{one.stderr[-3000:]}")
            took[way], now = time.perf_counter() - begin, os.times()
            cpu = now.children_user + now.children_system - before.children_user - before.children_system
            first = a.ways[0]
            equal = "" if way == first or way == "serial-2" else f", the weights of {first}: {same(Path(d)/first, Path(d)/way)}"
            print(f"{way:12s}{took[way]:8.1f} s, {took[first]/took[way]:.2f} times as fast as {first}, {cpu:.0f} s of its own processors, "
                  f"load before {load:.1f}{equal}", flush=True)


if __name__ == "__main__": main()
