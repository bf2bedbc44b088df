"""How cost and memory grow with the number of clips, from a thousand to a million.

    OMP_NUM_THREADS=1 python benchmarks/scale.py [--sizes 1000,10000,100000] [--out FOLDER]

Every size runs in a process of its own, on made-up clips of LLP's shape (10 segments, 25 events, 1.5 events a clip) and a made-up store with embeddings of 8 and 8 numbers, whose
width the rows measured here do not read. A row's time is processor time, the best of some repeats; its memory is the peak above what the process held before it. The last column is
the cost per clip at the largest size over that at 10,000: a law that grows with the data and no faster keeps it below 2. The figure, `scale.png`, has the linear law beside each row.
"""
import argparse, json, os, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

AT = 10_000                                                     # where the law is anchored


def world(n, seed=0):
    "Truth, weak labels, scores that know something of it, and a wrong labeling."
    from valor_lab.harvest import Scores
    from valor_lab.labels import SegmentLabels, WeakLabels
    rng, c = np.random.default_rng(seed), 25
    ids = [f"clip{i:08d}" for i in range(n)]
    mask = np.zeros((n, c), bool)
    mask[np.arange(n), rng.integers(0, c, n)] = True
    mask |= rng.random((n, c)) < .02
    true = [np.repeat(rng.random((n, 5, c), np.float32) < .5, 2, 1) & mask[:, None] for _ in "av"]
    none = ~(true[0] | true[1]).any((1, 2))
    true[0][none, 0] |= mask[none]
    weak = WeakLabels(ids, (true[0] | true[1]).any(1))
    truth = SegmentLabels(ids, *true, durations=np.full(n, 10.))
    score = lambda t: rng.standard_normal(t.shape, np.float32) + 2*t + 12
    return weak, truth, Scores(ids, score(true[0]), score(true[1]), truth.vocab, np.full(n, 10.))


def made_store(folder, n):
    "A store of n clips with narrow embeddings; written in blocks."
    from store import block, settings
    from valor_lab.harvest import begin_store, rows as table
    made = settings(8, 8)
    begin_store(folder, made)
    for first in range(0, n, 8192): table.merge_rows(folder/table.TABLE, block(range(first, min(n, first + 8192)), made))
    table.tidy(folder)


def status(key): return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key + ":"))/1024


def cost(f, repeats):
    "`(what f returns, processor seconds, MB above what was held before)`."
    Path("/proc/self/clear_refs").write_text("5")              # the peak begins anew
    held, best = status("VmRSS"), np.inf
    for _ in range(repeats):
        out = None                                             # before the next one is made
        start = time.process_time()
        out = f()
        best = min(best, time.process_time() - start)
    return out, best, status("VmHWM") - held


def measure(n):
    "Every row at one size: name -> (seconds, MB)."
    from valor_lab.harvest import FeatureStore, elaborate, tune
    from valor_lab.datasets import load_labels, save_labels
    from valor_lab.labels import audit, read_segments, read_weak
    from valor_lab.metrics import avvp_scores, bootstrap
    from valor_lab.workbench import Clips, Tuning, clip_frame
    from valor_lab.vocab import LLP
    found, many = {}, max(2, min(20, 100_000//n))
    def row(name, f, repeats=many):
        out, seconds, mb = cost(f, repeats)
        found[name] = (seconds, mb)
        print(f"{n:>9,} {name:<22} {1e6*seconds/n:9.2f} µs a clip {mb:8.0f} MB", file=sys.stderr, flush=True)
        return out
    with tempfile.TemporaryDirectory() as work:
        os.environ["VALOR_ROOT"] = work
        work = Path(work)
        weak, truth, scores = world(n)
        warm = world(50, 1)
        elaborate(warm[2], warm[0]), tune(warm[2], warm[1], warm[0]), bootstrap(avvp_scores, warm[1], warm[1], 20)      # imports and tables, once
        row("elaborate", lambda: elaborate(scores, weak))
        thresholds = row("tune", lambda: tune(scores, truth, weak), max(2, many//3))
        row("tune, no gate", lambda: tune(scores, truth), 1)
        pred = elaborate(scores, weak, thresholds)
        row("ten scores", lambda: avvp_scores(pred, truth))
        row("bootstrap", lambda: bootstrap(avvp_scores, pred, truth, 1000), 1)
        row("audit", lambda: audit(weak, truth), max(2, many//3))
        bench = row("open tune", lambda: Tuning(scores, truth, weak, thresholds), max(2, many//3))
        event, at = LLP.events[0], iter(np.linspace(12, 14, 1000))
        row("move", lambda: bench.move(event, "clip", next(at), settled=False))
        row("numbers", bench.numbers)
        bench.move(event, "clip", 13.)
        row("sums", bench.sums, 1)
        row("flips", bench.flips, max(2, many//3))
        del bench
        row("save labels", lambda: save_labels(pred, f"p{time.perf_counter_ns()}", work), 1)
        name = next((work/"labels").iterdir()).name
        row("load labels", lambda: load_labels(name, work), 1)
        truth.to_csv(work/"a.csv", work/"v.csv"), weak.to_csv(work/"w.csv")
        row("read", lambda: (read_weak(work/"w.csv"), read_segments(work/"a.csv", work/"v.csv", weak.ids)), 1)
        row("list of clips", lambda: clip_frame(Clips(dict(truth=truth, harvested=pred), weak, scores=scores)), 1)
        del pred, scores, truth, weak
        made_store(work/"store", n)
        store = row("open store", lambda: (s := FeatureStore.open(work/"store"), len(s.ids))[0])
        store._captions = {m: {c: np.ones(8, np.float32) for c in getattr(LLP, f"{w}_captions")} for m, w in (("audio", "clap"), ("visual", "clip"))}
        row("scores of the store", lambda: sum(1 for _ in store.score_batches(LLP)), 1)
    return found


def draw(table, path):
    "One line a row over the sizes, on log axes; the linear law from 10,000 clips dashed beside it."
    import matplotlib; matplotlib.use("agg")
    import matplotlib.pyplot as plt
    names, sizes = list(next(iter(table.values()))), sorted(table)
    cols = 4
    fig, axes = plt.subplots(-(-len(names)//cols), cols, figsize=(11, 2.1*(-(-len(names)//cols))), sharex=True, layout="constrained")
    for ax, name in zip(axes.flat, names):
        y = [table[n][name][0] for n in sizes]
        anchor = table.get(AT, table[sizes[0]])[name][0]/(AT if AT in table else sizes[0])
        ax.loglog(sizes, y, "o-", ms=3, lw=1.4, color="#0072b2"), ax.loglog(sizes, [anchor*n for n in sizes], "--", lw=.9, color="#777777")
        ax.set_title(name, fontsize=8), ax.tick_params(labelsize=7), ax.grid(alpha=.25)
    for ax in axes.flat[len(names):]: ax.axis("off")
    fig.supxlabel("clips", fontsize=8), fig.supylabel("processor seconds; dashed: linear from 10,000 clips", fontsize=8)
    fig.savefig(path, dpi=110)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sizes", default="1000,10000,100000")
    p.add_argument("--out", default=".")
    p.add_argument("--one", type=int)
    a = p.parse_args()
    if a.one: return print(json.dumps(measure(a.one)))
    table = {}
    for n in map(int, a.sizes.split(",")):
        r = subprocess.run([sys.executable, __file__, "--one", str(n)], stdout=subprocess.PIPE, text=True, check=True)
        table[n] = json.loads(r.stdout)
    last, base = max(table), AT if AT in table else min(table)
    print("| | " + " | ".join(f"µs a clip, {n:,}" for n in table) + f" | MB, {last:,} | growth |\n|---|" + "---|"*(len(table) + 2))
    for name in table[last]:
        each = {n: 1e6*t[name][0]/n for n, t in table.items()}
        print(f"| {name} | " + " | ".join(f"{v:.2f}" for v in each.values()) + f" | {table[last][name][1]:.0f} | {each[last]/each[base]:.2f} |")
    draw(table, Path(a.out)/"scale.png")


if __name__ == "__main__": main()
