"""Clips a second and core of a harvest with the demo teachers, what part of it is neither decoding nor a forward pass, and how quick a store and a threshold are.

    OMP_NUM_THREADS=1 python benchmarks/harvest.py [--videos FOLDER] [--clips 40]

Without --videos the demo set in data/demo is taken, small before tiny. The harvest runs on one thread, without decoding ahead, in processor time of this process: on an idle machine that is the time
on the clock, and on a busy one the neighbours do not count. "JPEGs and wav" is the plain way: dump 8 pictures a second and a wav file, load ten of the pictures and the sound, ask the same teachers. The
store of 10,000 clips has the sizes of CLIP ViT-L/14 and CLAP and random numbers; opening it and moving a threshold are measured on the clock, the median of many and the slowest.
"""
import argparse, contextlib, itertools, json, tempfile, time, wave
from pathlib import Path

import numpy as np
import torch

from PIL import Image
import av
from valor_lab.demo import demo_teachers
from valor_lab.harvest import FORMAT, FeatureStore, LiveLabels, Row, Scores, add_rows, begin_store, harvest, tidy
import valor_lab.media as media
from valor_lab.core import find_data
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.vocab import LLP


def plain_pipeline(path, folder):
    "What the published features were made from: a dump of 8 JPEGs a second and a wav file, then ten of the pictures and the sound read back."
    with av.open(str(path)) as file:
        file.streams.video[0].thread_count = 1
        due, count = 0., 0
        for frame in file.decode(video=0):
            if frame.time < due: continue
            frame.to_image().save(folder/f"{count:08d}.jpg", quality=95)
            due, count = due + 1/8, count + 1
    with av.open(str(path)) as file, wave.open(str(folder/"sound.wav"), "wb") as out:
        out.setnchannels(1), out.setsampwidth(2), out.setframerate(48_000)
        resampler = av.AudioResampler("s16", "mono", 48_000)
        for frame in file.decode(audio=0):
            for part in resampler.resample(frame): out.writeframes(part.to_ndarray().tobytes())
    names = sorted(folder.glob("*.jpg"))
    frames = np.stack([np.asarray(Image.open(names[i])) for i in np.round(np.linspace(0, len(names) - 1, 10)).astype(int)])
    with wave.open(str(folder/"sound.wav")) as f: audio = np.frombuffer(f.readframes(f.getnframes()), np.int16).astype(np.float32)/32_768
    return frames, audio


def dumped(path):
    with tempfile.TemporaryDirectory() as d: return plain_pipeline(path, Path(d))


class Timed:
    "A teacher whose time is counted."
    def __init__(self, teacher, clock): self.teacher, self.clock = teacher, clock
    def __getattr__(self, name):
        x = getattr(self.teacher, name)
        return self.clock(x) if name in ("embed_clips", "embed_text") else x


class Clock:
    "Adds up the processor time of the functions that it wraps."
    def __init__(self): self.seconds = 0.
    def __call__(self, f):
        def timed(*a, **k):
            start = time.process_time()
            try: return f(*a, **k)
            finally: self.seconds += time.process_time() - start
        return timed


def whole_harvest(files, clip, clap, out):
    "Processor seconds of a harvest: in all, decoding, in the teachers."
    decoding, asking, real = Clock(), Clock(), media.read_clip
    media.read_clip = decoding(real)
    start = time.process_time()
    try: harvest(files, Timed(clip, asking), Timed(clap, asking), out, workers=0, progress=False)
    finally: media.read_clip = real
    return time.process_time() - start, decoding.seconds, asking.seconds


def plain_way(files, clip, clap):
    "Processor seconds of dumping, loading and asking."
    start = time.process_time()
    for f in files:
        frames, audio = dumped(f)
        clip.embed_clips([frames]), clap.embed_clips([audio], 10)
    return time.process_time() - start


def clock_ms(f, n):
    "Median and slowest milliseconds on the clock."
    times = []
    for _ in range(n):
        start = time.perf_counter()
        f()
        times.append(1e3*(time.perf_counter() - start))
    return np.median(times), max(times)


def large_store(folder, n=10_000):
    "A finished store of `n` clips."
    rng = np.random.default_rng(0)
    teacher = lambda name, width: dict(name=name, fingerprint=name, scale=100., width=width, config=None)
    settings = dict(format=FORMAT, n_segments=10, sampling="published", rate=48_000, audio=teacher("ear", 512), visual=teacher("eye", 768), features={})
    begin_store(folder, settings)
    for k in range(0, n, 64):                                     # as a harvest commits them
        some = range(k, min(n, k + 64))
        arrays = {m: rng.standard_normal((len(some), 10, d), np.float32).astype(np.float16) for m, d in (("audio", 512), ("visual", 768))}
        add_rows(folder, [Row(f"{i:011d}_0_10", f"videos/{i:011d}.mp4", 10., {}, {m: x[i - k] for m, x in arrays.items()}) for i in some], settings)
    tidy(folder)


def live_labels(n=10_000):
    "Live labels of `n` clips with 25 events, truth and gate."
    rng, ids, shape = np.random.default_rng(0), [f"{i}" for i in range(n)], (n, 10, 25)
    scores = Scores(ids, *rng.standard_normal((2, *shape), np.float32))
    return LiveLabels(scores, None, SegmentLabels(ids, rng.random(shape) < .1, rng.random(shape) < .1), WeakLabels(ids, rng.random((n, 25)) < .1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--clips", type=int, default=40)
    args = parser.parse_args()
    torch.set_num_threads(1)
    folder = args.videos or next(p for s in ("small", "tiny") if (p := find_data(f"demo/{s}/videos")))
    files = sorted(folder.glob("*.mp4"))[:args.clips]
    clip, clap = demo_teachers()
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        harvest(files[:4], clip, clap, tmp/"warm", workers=0, progress=False)
        rounds = [(*whole_harvest(files, clip, clap, tmp/f"{k}"), plain_way(files, clip, clap)) for k in range(3)]
        total, decoding, asking, plain = np.median(rounds, 0)/len(files)
        print(f"{len(files)} clips of {folder.parent.name}, demo teachers\n{'':34s}{'ms/clip':>9s}{'clips/s/core':>14s}{'share':>8s}")
        for name, s in (("decoding", decoding), ("both teachers", asking), ("everything else", total - decoding - asking), ("the whole harvest", total), ("JPEGs and wav, then teachers", plain)):
            print(f"{name:34s}{1e3*s:9.1f}{1/s:14.1f}{s/total:8.1%}")
        print(f"the harvest does {plain/total:.2f} times as many clips as JPEGs and wav\n")
        (tmp/"large").mkdir()
        large_store(tmp/"large")
        live = live_labels()
        events = itertools.cycle(itertools.product(LLP.events, ("audio", "visual"), np.linspace(-2, 2, 7)))
        rows = {"open a store of 10,000 clips": clock_ms(lambda: FeatureStore.open(tmp/"large"), 20),
                "open it and list its clips": clock_ms(lambda: FeatureStore.open(tmp/"large").ids, 20),
                "move a threshold on 10,000 clips": clock_ms(lambda: live.move(*next(events)), 300)}
        print(f"{'':34s}{'median ms':>11s}{'slowest':>9s}")
        for name, (median, slowest) in rows.items(): print(f"{name:34s}{median:11.2f}{slowest:9.2f}")


if __name__ == "__main__": main()
