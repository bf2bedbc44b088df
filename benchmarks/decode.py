"""How fast `media.read_clip` decodes, beside the code before and other readers, on the same files in one process.

    python benchmarks/decode.py [--old FOLDER] [--seconds 10] [file ...]

`--old` is a checkout of an older version (flat or with wings); its reader is loaded beside this one, and what both give must be the same bytes.
Without files the clip of `data/media` (or $VALOR_TEST_DATA/media) is taken, and one clip is rendered in each of three sizes with x264's usual settings.
One thread, warm; the ways take turns, in processor time of this process. torchcodec, decord2 and `ffmpeg -benchmark` are measured where they are installed.
"""
import argparse, importlib, re, shutil, subprocess, sys, tempfile, time
from pathlib import Path

import numpy as np

from valor_lab.core import find_data
from valor_lab.media import read_audio, read_clip, write_clip


def older(folder):
    "`read_clip` and `read_audio` of another checkout, loaded under its own module names and then put aside."
    mine = {k: sys.modules.pop(k) for k in list(sys.modules) if k.split(".")[0] == "valor_lab"}
    sys.path.insert(0, str(Path(folder).resolve()))
    try:
        module = importlib.import_module("valor_lab.media")
        return module.read_clip, module.read_audio
    finally:
        sys.path.pop(0)
        for k in [k for k in sys.modules if k.split(".")[0] == "valor_lab"]: del sys.modules[k]
        sys.modules.update(mine)


def ways(read, audio):
    return {"pictures and sound": lambda p: read(p, threads=1), "pictures": lambda p: read(p, rate=None, threads=1), "sound": audio}


def torchcodec():
    from torchcodec.decoders import AudioDecoder, VideoDecoder
    def pictures(p):
        d = VideoDecoder(str(p), num_ffmpeg_threads=1, seek_mode="exact")
        m = d.metadata
        return d.get_frames_played_at([m.begin_stream_seconds + (k + .5)*(m.end_stream_seconds - m.begin_stream_seconds)/10 for k in range(10)]).data
    return {"pictures": pictures, "sound": lambda p: AudioDecoder(str(p), sample_rate=48_000, num_channels=1).get_all_samples().data}


def decord():
    import decord as d
    def pictures(p):
        r = d.VideoReader(str(p), num_threads=1)
        return r.get_batch(np.round(np.linspace(0, len(r) - 1, 10)).astype(int).tolist()).asnumpy()
    return {"pictures": pictures}


def ffmpeg(path):
    "Processor milliseconds of ffmpeg for a whole decoding of pictures and sound, as it says itself."
    said = subprocess.run(["ffmpeg", "-benchmark", "-threads", "1", "-i", str(path), "-f", "null", "-"], capture_output=True, text=True).stderr
    t = re.search(r"bench: utime=([\d.]+)s stime=([\d.]+)s", said)
    return 1e3*(float(t[1]) + float(t[2]))


def measure(path, readers, seconds):
    "Median processor milliseconds of each way, the ways taking turns."
    todo = [(who, what, f) for who, w in readers.items() for what, f in w.items()]
    times = {(who, what): [] for who, what, _ in todo}
    for who, what, f in todo: f(path)
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(next(iter(times.values()))) < 5:
        for who, what, f in todo:
            t = time.process_time()
            f(path)
            times[who, what].append(1e3*(time.process_time() - t))
    return {k: float(np.median(t)) for k, t in times.items()}


def rendered(folder, size, fps):
    "A scene of the demo set, ten seconds, coded as most clips are."
    from valor_lab.demo import draw_clip, mix_clip, plan_demo
    truth = plan_demo("tiny", 0)["train"].truth
    clip = max(truth.ids, key=lambda i: truth.select([i]).visual.sum())
    labels = truth.select([clip])
    options = {"preset": "medium", "crf": "23"}
    return write_clip(folder/f"scene {size} at {fps}.mp4", draw_clip(labels, clip, 0, size, fps), mix_clip(labels, clip, 0, 16_000), fps, 16_000, options=options)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--old", help="a checkout of an older version")
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    readers = {"valor_lab": ways(read_clip, read_audio)}
    if args.old:
        old_read, old_audio = older(args.old)
        readers["before"] = ways(old_read, old_audio)
    for name, make in (("torchcodec", torchcodec), ("decord2", decord)):
        try: readers[name] = make()
        except Exception as e: print(f"{name}: not measured ({type(e).__name__})")
    with tempfile.TemporaryDirectory() as folder:
        files = args.paths or [rendered(Path(folder), *s) for s in ((160, 12), (320, 25), (640, 30))] + [m/"BjCEufrlXm4.mp4" for m in [find_data("media")] if m]
        print(f"{'file':24s}{'way':20s}{'reader':12s}{'ms':>9s}{'times as fast as before':>26s}")
        for f in files:
            if args.old:
                a, b = read_clip(f), old_read(f)
                assert np.array_equal(a.frames, b.frames) and np.array_equal(a.audio, b.audio), f"{f.name}: other bytes than before"
            found = measure(f, readers, args.seconds)
            for (who, what), ms in found.items():
                ratio = f"{found['before', what]/ms:.2f}x" if ("before", what) in found and who != "before" else ""
                print(f"{f.name[:23]:24s}{what:20s}{who:12s}{ms:9.1f}{ratio:>26s}")
            if shutil.which("ffmpeg"): print(f"{f.name[:23]:24s}{'all of both, no RGB':20s}{'ffmpeg':12s}{ffmpeg(f):9.1f}")


if __name__ == "__main__": main()
