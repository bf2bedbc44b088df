"""How an epoch of training is spent, what a validation costs, and what bfloat16 gains.

    python benchmarks/train.py [--clips 640] [--preset valor] [--device cpu]

Made-up features of LLP's sizes; 649 validation clips, as LLP has. An epoch is `train_epoch`, `validate`, `record` and `save_state`, the last as if every epoch wrote its state. On a CPU
time is processor time of this process, which on a busy machine does not count the neighbours.
"""
import argparse, math, tempfile, time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from valor_lab import train
from valor_lab.datasets import Dataset
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.metrics import avvp_scores
from valor_lab.vocab import LLP

def made_up(n, seed, widths):
    rng = np.random.default_rng(seed)
    y = np.repeat(rng.random((n, 2, 2, 25)) < .03, 5, 2)
    ids = [f"{seed}-{i:05d}" for i in range(n)]
    labels = SegmentLabels(ids, y[:, 0], y[:, 1], LLP)
    features = {m: rng.normal(size=(n, 10, w)).astype(np.float16) for m, w in zip(("audio", "visual", "motion"), widths)}
    return Dataset(tuple(ids), WeakLabels(ids, y.any((1, 2)), LLP), labels, labels, features, LLP, name="made up", total=n)

class Clock:
    "Seconds spent inside named functions."
    def __init__(self, device):
        self.spent, cuda = {}, device == "cuda"
        self.wait, self.now = (torch.cuda.synchronize, time.perf_counter) if cuda else ((lambda: None), time.process_time)
    def around(self, owner, name, label):
        inner = getattr(owner, name)
        def timed(*a, **k):
            self.wait()
            start, key = self.now(), label if torch.is_grad_enabled() else f"validation {label}"
            out = inner(*a, **k)
            self.wait()
            self.spent[key] = self.spent.get(key, 0) + self.now() - start
            return out
        setattr(owner, name, timed)
    def of(self, function, *a):
        "Seconds that one call takes."
        self.wait(); start = self.now()
        out = function(*a)
        self.wait()
        return self.now() - start, out

def prepare(preset, device, precision, data, val, folder):
    config = train.resolved(train.override(train.preset(preset), dict(precision=precision)))
    run = train.Run(folder)
    run.path.mkdir(parents=True, exist_ok=True)
    return train.setup(train.make_fabric(device, precision=precision), config, run, data, val)

def one_epoch(t, epoch):
    "A whole epoch as the loop runs it: batches, validation, history, files."
    losses = train.train_epoch(t, epoch)
    train.record(t, epoch, losses, train.validate(t), 0.)
    train.save_state(t)

def measure(preset, device, data, val, folder):
    rows = {}
    for precision in ("32-true", "bf16-mixed"):
        t, clock = prepare(preset, device, precision, data, val, folder/precision), Clock(device)
        one_epoch(t, 1)                                                   # warm-up
        for owner, name, label in ((t.module, "forward", "forward"), (t.objective, "loss", "forward"), (t.fabric, "backward", "backward"), (t.optimizer, "step", "optimizer"), (t.fabric, "clip_gradients", "clipping")):
            clock.around(owner, name, label)
        total, _ = clock.of(one_epoch, t, 2)
        s, steps = dict(clock.spent), math.ceil(len(data)/t.config.batch_size)
        scored = train.score_split(t.module, val, t.val[1])
        scoring, _ = clock.of(avvp_scores, scored.labels, val.truth)
        clock.spent.clear()
        validation, _ = clock.of(train.validate, t)
        besides, forward = validation - clock.spent["validation forward"], s["validation forward"]
        step = (total - validation)/steps
        work = s["forward"] + s["backward"] + s["optimizer"] + s["clipping"]
        rows[precision] = {"ms per step": 1e3*step, "share of forward": s["forward"]/total, "backward": s["backward"]/total, "clipping": s["clipping"]/total, "optimizer": s["optimizer"]/total,
                           "validation forward": forward/total, "the rest": 1 - (work + forward)/total, "validation besides its forward, ms": 1e3*besides, "of which scoring": 1e3*scoring}
    return pd.DataFrame(rows)

if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--clips", type=int, default=640)
    p.add_argument("--preset", default="valor")
    p.add_argument("--device", default="cpu")
    a = p.parse_args()
    widths = (768, 768, 512) if train.preset(a.preset).features == "clipclap" else (128, 2048, 512)
    with tempfile.TemporaryDirectory() as d:
        table = measure(a.preset, a.device, made_up(a.clips, 0, widths), made_up(649, 1, widths), Path(d))
    print(f"{a.preset}, {a.clips} clips, batch {train.preset(a.preset).batch_size}, {a.device}, {torch.get_num_threads()} threads")
    print(table.round(3).to_string())
