"""Clips a second and core for `media.read_clip`, and for the plain way: write 8 fps JPEGs and a wav, then load ten pictures and the sound.

    python benchmarks/decode.py [folder-or-file ...] [--seconds 10]

Without arguments the clip of `data/media` (or $VALOR_TEST_DATA/media) is taken, and one clip of 160x160 at 12 fps is rendered. One thread, warm; each way
is timed for about --seconds on each file, the ways taking turns, in processor time of this process: on an idle machine that is the time on the clock, and on a
busy one the neighbours do not count.
"""
import argparse, tempfile, time, wave
from pathlib import Path

import av
import numpy as np
from PIL import Image

from valor_lab.core import find_data
from valor_lab.media import read_audio, read_clip, write_clip


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


WAYS = {"read_clip": lambda p: read_clip(p, threads=1), "pictures alone": lambda p: read_clip(p, rate=None, threads=1), "sound alone": read_audio, "JPEGs and wav": dumped}


def measure(path, seconds):
    "Median processor milliseconds of each way, the ways taking turns."
    times, begin = {w: [] for w in WAYS}, time.perf_counter()
    for way in WAYS.values(): way(path)
    while time.perf_counter() - begin < seconds:
        for name, way in WAYS.items():
            t = time.process_time()
            way(path)
            times[name].append(1e3*(time.process_time() - t))
    return {name: np.median(t) for name, t in times.items()}


def rendered(folder):
    "A clip of the demo set's size: moving squares and noise."
    rng, x = np.random.default_rng(0), np.arange(160)
    frames = np.stack([((x[:, None, None] + x[None, :, None])//2 + 20*np.sin([k/9, k/7, k/5]) + 40).astype(np.uint8) for k in range(120)])
    for k in range(120): frames[k, 60:90, k:k + 30] = 250
    return write_clip(folder/"rendered 160x160.mp4", frames, (.1*rng.standard_normal(480_000)).astype(np.float32), fps=12)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = [f for p in args.paths for f in (sorted(p.iterdir()) if p.is_dir() else [p])]
        if not files:
            files = [rendered(Path(folder))] + [m/"BjCEufrlXm4.mp4" for m in [find_data("media")] if m]
        print(f"{'file':22s}{'way':16s}{'ms per clip':>12s}{'clips/s/core':>14s}{'as many as JPEGs and wav':>26s}")
        for f in files:
            found = measure(f, args.seconds)
            for way, ms in found.items(): print(f"{f.name[:21]:22s}{way:16s}{ms:12.1f}{1e3/ms:14.1f}{found['JPEGs and wav']/ms:25.2f}x")


if __name__ == "__main__": main()
