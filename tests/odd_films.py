"Small films in codecs and containers of all kinds, made with PyAV."
from fractions import Fraction
from pathlib import Path

import numpy as np


def odd_film(path, video, audio, pixels="yuv420p", seconds=2):
    "Grey pictures that grow brighter with the seconds, and a tone."
    import av
    with av.open(str(path), "w") as out:
        v = out.add_stream(video, rate=25) if video else None
        if v: v.width, v.height, v.pix_fmt = 128, 96, pixels
        a = out.add_stream(audio, rate=48_000) if audio else None
        if a: a.layout = "stereo"
        packets = []
        for k in range(25*seconds if v else 0):
            f = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 20 + k*200//(25*seconds), np.uint8), format="rgb24").reformat(format=pixels)
            f.pts, f.time_base = k, Fraction(1, 25)
            packets += v.encode(f)
        if v: packets += v.encode(None)
        if a:
            x = (.4*np.sin(np.arange(48_000*seconds)/20)).astype(np.float32)
            f = av.AudioFrame.from_ndarray(np.stack([x, x]), format="fltp", layout="stereo")
            f.sample_rate, f.pts, f.time_base = 48_000, 0, Fraction(1, 48_000)
            to = av.AudioResampler(format=a.codec_context.format, layout="stereo", rate=48_000, frame_size=a.codec_context.frame_size or 1024)
            for g in [*to.resample(f), *to.resample(None)]: packets += a.encode(g)
            packets += a.encode(None)
        for p in sorted(packets, key=lambda p: float((p.dts if p.dts is not None else p.pts or 0)*p.time_base)): out.mux(p)
    return Path(path)
