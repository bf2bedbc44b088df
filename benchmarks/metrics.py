"""How long scoring takes: the ten scores of 1,200 clips (T = 10, C = 25), beside the plain reference of tests/reference_metrics.py, and 1,000 bootstrap resamples.

    OMP_NUM_THREADS=1 python benchmarks/metrics.py

One core, warm, median of 60 calls, in processor time of this process, which on an idle machine is the time on the clock and on a busy one does not count the neighbours. Labels are random at four densities, ungated, and gated by the weak label of LLP's test split where it is there (else by 1 to 3 random events)."""
import os
os.environ["OMP_NUM_THREADS"] = "1"

import statistics, sys, time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]/"tests"))
from reference_metrics import avvp_reference, mean_over_clips
from valor_lab.metrics import avvp as M, bootstrap, bootstrap_difference
from valor_lab.core import find_data
from valor_lab.labels import SegmentLabels, read_weak
from valor_lab.vocab import LLP

N, T, C = 1200, 10, len(LLP)


def milliseconds(f, n=60):
    times = []
    for _ in range(n + 2):
        start = time.process_time()
        f()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times[2:])


def gate():
    llp = find_data("llp")
    if llp is not None: return read_weak(llp/"AVVP_test_pd.csv").mask, "LLP's test split"
    rng = np.random.default_rng(0)
    return rng.random((N, C)).argsort(1) < rng.integers(1, 4, (N, 1)), "1 to 3 random events"


def labels(density, mask, seed):
    audio, visual = np.random.default_rng(seed).random((2, N, T, C)) < density
    return SegmentLabels([f"clip{i}" for i in range(N)], audio & mask[:, None], visual & mask[:, None], LLP)


def main():
    if hasattr(os, "sched_setaffinity"): os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    weak, name = gate()
    start = time.perf_counter()
    M._pattern_tables(T)
    print(f"first call: {1000 * (time.perf_counter() - start):.0f} ms once for the table of patterns; weak labels: {name}\n")
    print("| positives | gate | ten scores, ms | reference, ms | ratio | same to 1e-9 | general route, ms |\n|---|---|---|---|---|---|---|")
    for gated in (True, False):
        for density in (.02, .1, .5, .9):
            mask = weak if gated else np.ones_like(weak)
            pred, truth = labels(density, mask, 1), labels(density, mask, 2)
            fast = milliseconds(lambda: M.avvp_scores(pred, truth))
            slow = milliseconds(lambda: avvp_reference(pred, truth), 1)
            want, got = mean_over_clips(avvp_reference(pred, truth)), M.avvp_scores(pred, truth)
            same = max(abs(want[k] - got[k]) for k in want) < 1e-9
            M.LOOKUP_T = 0
            general = milliseconds(lambda: M.avvp_scores(pred, truth), 10)
            M.LOOKUP_T = 10
            print(f"| {density:.0%} | {'weak label' if gated else 'none'} | {fast:.2f} | {slow:.0f} | {slow / fast:.0f}× | {'yes' if same else 'NO'} | {general:.1f} |")
    pred, truth = labels(.5, weak, 1), labels(.5, weak, 2)
    print("\n| 1,000 resamples of 1,200 clips | ms |\n|---|---|")
    for metric in (M.avvp_scores, M.fidelity, M.nonaligned_scores, M.exclusive_scores, M.event_scores):
        print(f"| {metric.__name__} | {milliseconds(lambda: bootstrap(metric, pred, truth), 3):.0f} |")
    print(f"| paired difference of avvp_scores | {milliseconds(lambda: bootstrap_difference(M.avvp_scores, pred, truth, truth), 3):.0f} |")


if __name__ == "__main__": main()
