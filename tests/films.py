"Films whose every picture and every piece of sound tell which second they are: made with PyAV, for tests about time."
from fractions import Fraction
from pathlib import Path

import numpy as np

WIDTH, HEIGHT, BITS, RATE = 96, 32, 12, 48_000


def picture(second):
    "A picture that carries its second in twelve bars, 1/25 s a step."
    n, out = round(second*25), np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    for b in range(BITS):
        if n >> b & 1: out[:, b*8:b*8 + 8] = 235
    return out


def second_seen(frame):
    x = ((np.arange(BITS) + .5)*frame.shape[1]/BITS).astype(int)
    bars = frame.astype(float).mean(2)[len(frame)//4:3*len(frame)//4][:, x].mean(0)
    return sum(1 << b for b in range(BITS) if bars[b] > 127)/25


def tones(seconds, rate=RATE):
    "Second k sounds at 300 + 50 k Hz."
    t = np.arange(round(seconds*rate))/rate
    return (.3*np.sin(2*np.pi*(300 + 50*np.floor(t))*t)).astype(np.float32)


def second_heard(audio, rate):
    "Which second a piece of sound is, None for silence."
    if not len(audio) or np.abs(audio).max() < .02: return None
    s = np.abs(np.fft.rfft(audio*np.hanning(len(audio)), 1 << 17))
    return (s.argmax()*rate/(1 << 17) - 300)/50


def film(path, times=None, sound=(0, 10), start=0., container=None, codecs=("libx264", "aac"), gop=25):
    "Write pictures at `times` and sound over `sound`, in seconds; the file's clock says `start` at second 0."
    import av
    options = {"preset": "ultrafast", "crf": "28", "g": str(gop), "bf": "2", "b-adapt": "0"} if codecs[0] == "libx264" else {"deadline": "realtime", "cpu-used": "8", "g": str(gop)}
    with av.open(str(path), "w", format=container, options={"mpegts_flags": "+resend_headers"} if container == "mpegts" else {}) as out:
        v = a = None
        if times is not None:
            v = out.add_stream(codecs[0], rate=25, options=options)
            v.width, v.height, v.pix_fmt, v.codec_context.thread_count = WIDTH, HEIGHT, "yuv420p", 1
            v.codec_context.time_base = Fraction(1, 1000)
        if sound is not None: a = out.add_stream(codecs[1], rate=48_000 if codecs[1] == "libopus" else RATE, layout="mono")
        packets = []
        for n, t in enumerate(times if times is not None else ()):
            f = av.VideoFrame.from_ndarray(picture(t), format="rgb24")
            f.pts, f.time_base = round(1000*(t + start)), Fraction(1, 1000)
            packets += v.encode(f)
        if v: packets += v.encode(None)
        if a:
            rate = a.rate
            x = tones(sound[1], rate)[round(sound[0]*rate):]
            for i in range(0, len(x), rate//50):
                t = sound[0] + i/rate
                f = av.AudioFrame.from_ndarray(x[None, i:i + rate//50], format="fltp", layout="mono")
                f.sample_rate, f.time_base, f.pts = rate, Fraction(1, rate), round((t + start)*rate)
                packets += a.encode(f)
            packets += a.encode(None)
        for p in sorted(packets, key=lambda p: float((p.dts if p.dts is not None else p.pts)*p.time_base)): out.mux(p)
    return Path(path)


def joined(path, *parts):
    "Files put one behind the other, as `cat` does."
    Path(path).write_bytes(b"".join(Path(p).read_bytes() for p in parts))
    return Path(path)
