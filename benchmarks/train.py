"""How an epoch of training is spent, what a validation costs, and what bfloat16 gains.

    python benchmarks/train.py [--clips 640] [--preset valor] [--device cpu]
    python benchmarks/train.py --device cuda --clips 10000 --epochs 60

The second line also runs a whole training of that many epochs through `fit`, as a user would, and on a GPU says which part of an epoch the card was computing. Made-up features of LLP's sizes; 649 validation clips, as LLP has. An epoch is `train_epoch`, `validate`, `record` and `save_state`, the last as if every epoch wrote its state. On a CPU
time is processor time of this process, which on a busy machine does not count the neighbours.
"""
import argparse, contextlib, math, tempfile, time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch

from valor_lab.training import tasks, loop as train
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
    def timed(self, inner, label):
        def timed(*a, **k):
            self.wait()
            start = self.now()
            out = inner(*a, **k)
            self.wait()
            self.spent[label] = self.spent.get(label, 0) + self.now() - start
            return out
        return timed
    @contextlib.contextmanager
    def around(self, *places):
        "While open, count the time of each (owner, name of the function) under its label."
        with contextlib.ExitStack() as stack:
            for owner, name, label in places: stack.enter_context(mock.patch.object(owner, name, self.timed(getattr(owner, name), label)))
            yield
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
        inside = (t.task, "forward", "forward"), (t.objective, "loss", "forward"), (t.fabric, "backward", "backward"), (t.optimizer, "step", "optimizer"), (t.fabric, "clip_gradients", "clipping"), (tasks, "forward_all", "validation forward")
        with clock.around(*inside):
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

def whole(preset, device, data, val, folder, epochs):
    "Seconds of a training as a user starts it; the first epoch of a GPU holds the compilation."
    start = time.perf_counter()
    run = train.fit(train.override(train.preset(preset), dict(epochs=epochs)), data, folder, val, device=device, progress=False)
    seconds = run.metrics.seconds
    return {"whole training, s": time.perf_counter() - start, "all epochs, s": seconds.sum(), "first epoch, s": seconds[0], "median epoch, s": seconds.median(), "steps per epoch": math.ceil(len(data)/run.config.batch_size)}

def busy(preset, data, val, folder):
    "Part of an epoch's time in which the GPU computes; what is missing to 1 is spent waiting for Python."
    t = prepare(preset, "cuda", "32-true", data, val, folder)
    train.train_epoch(t, 1)
    torch.cuda.synchronize()
    start = time.perf_counter()
    train.train_epoch(t, 2)                                               # ends with a copy to the host
    seconds = time.perf_counter() - start
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile: train.train_epoch(t, 3)
    return sum(e.self_device_time_total for e in profile.key_averages())/1e6/seconds

if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--clips", type=int, default=640)
    p.add_argument("--preset", default="valor")
    p.add_argument("--device", default="cpu")
    p.add_argument("--epochs", type=int, default=0, help="also a whole training of so many epochs")
    a = p.parse_args()
    widths = (768, 768, 512) if train.preset(a.preset).features == "clipclap" else (128, 2048, 512)
    data, val = made_up(a.clips, 0, widths), made_up(649, 1, widths)
    card = f" ({torch.cuda.get_device_name()})" if a.device == "cuda" else ""
    print(f"{a.preset}, {a.clips} clips, batch {train.preset(a.preset).batch_size}, {a.device}{card}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as d:
        if a.epochs: print(pd.Series(whole(a.preset, a.device, data, val, Path(d)/"whole", a.epochs)).round(2).to_string())
        if a.epochs and a.device == "cuda": print(f"the GPU computes during {busy(a.preset, data, val, Path(d)/'busy'):.0%} of an epoch")
        print(measure(a.preset, a.device, data, val, Path(d)).round(3).to_string())
