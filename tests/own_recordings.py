"Fourteen recordings as people have them, drawn and sounded by the demo world: for the story of one's own clips."
from fractions import Fraction
from pathlib import Path

import numpy as np

EVENTS = ("Dog", "Cat", "Cello", "Banjo", "Chainsaw", "Helicopter")      # the demo's teachers know these words
FILES = (                                                             # name, seconds, what is in it, what is special
    ("Hof Süd.mp4", 10, "Dog", ""), ("garden.mp4", 10, "Cat", ""), ("hall one.mp4", 14, "Cello", "5.1"), ("porch.mp4", 12, "Banjo", ""),
    ("short.mp4", 3, "Dog", ""), ("portrait.mp4", 10, "Chainsaw", "portrait"), ("uneven.mp4", 10, "Helicopter", "vfr"),
    ("silent film.mp4", 10, "Cat", "no sound"), ("Tonspur.m4a", 20, "Cello", "sound only"), ("field.wav", 10, "Helicopter", "sound only"),
    ("long walk.mp4", None, "Dog", ""), ("workshop.mkv", 11, "Chainsaw", ""), ("Straße.mp4", 10, "Banjo", ""), ("quiet.mp4", 10, "", ""))


def recording(path, seconds, event, special="", seed=0, pixels=64, fps=4):
    "One file: the event sounds and is seen in its middle third, or all along where it is short."
    import av
    from valor_lab.demo import draw_event, synth_event
    rng, rate = np.random.default_rng(seed), 16_000 if seconds > 60 else 48_000
    on, off = (0., seconds) if seconds < 6 else (seconds/3, 2*seconds/3)
    audio = rng.normal(0, .002, round(seconds*rate)).astype(np.float32)
    piece = synth_event(event or "Car", min(off - on, 4.), np.random.default_rng([seed, 1]), rate)*(2. if event else 0.)
    for start in np.arange(on, off - .01, len(piece)/rate):
        x = audio[round(start*rate):round(start*rate) + len(piece)]
        x += piece[:len(x)]
    style = lambda: np.random.default_rng([seed, 2])
    cache = {}
    def picture(t):
        key = event if on <= t < off and event else ""
        if key not in cache: cache[key] = draw_event(event or "Car", pixels, 1., style(), scale=.4) if key else np.full((pixels, pixels, 3), 190, np.uint8)
        return cache[key]
    size = (pixels, pixels + 32) if special == "portrait" else (pixels, pixels)
    with av.open(str(path), "w") as out:
        v = a = None
        if special != "sound only":
            v = out.add_stream("libx264", rate=25, options=dict(preset="ultrafast", crf="23", bf="0"))
            v.width, v.height, v.pix_fmt, v.codec_context.thread_count = *size, "yuv420p", 1
            v.codec_context.time_base = Fraction(1, 1000)
        layout = "5.1" if special == "5.1" else "mono"
        if special != "no sound": a = out.add_stream("pcm_s16le" if path.suffix == ".wav" else "aac", rate=rate, layout=layout)
        packets = []
        if v:
            times = np.arange(0, seconds, 1/(1 if seconds > 60 else fps))
            if special == "vfr": times = np.sort(np.concatenate([times[::3], times[1::7] + .03]))
            for t in times:
                p = picture(t)
                if special == "portrait": p = np.concatenate([np.full((32, pixels, 3), 190, np.uint8), p])
                f = av.VideoFrame.from_ndarray(p, format="rgb24")
                f.pts, f.time_base = round(1000*t), Fraction(1, 1000)
                packets += v.encode(f)
            packets += v.encode(None)
        if a:
            n, wav = 6 if layout == "5.1" else 1, path.suffix == ".wav"
            for i in range(0, len(audio), 1024):
                x = np.repeat(audio[None, i:i + 1024], n, 0)
                f = av.AudioFrame.from_ndarray((x.clip(-1, 1)*32767).astype(np.int16) if wav else x, format="s16" if wav else "fltp", layout=layout)
                f.sample_rate, f.time_base, f.pts = rate, Fraction(1, rate), i
                packets += a.encode(f)
            packets += a.encode(None)
        for p in sorted(packets, key=lambda p: float(p.dts*p.time_base)): out.mux(p)
    return Path(path)


def render(folder, long=600):
    "All fourteen; `long`: seconds of the long one."
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [recording(Path(folder)/name, seconds or long, event, special, n) for n, (name, seconds, event, special) in enumerate(FILES)]


def spreadsheet(path):
    "What Excel exports: semicolons, a byte order mark, Windows line ends, names with and without endings."
    rows = ["Dateiname;Ereignisse;Bemerkung"]
    for n, (name, _, event, _) in enumerate(FILES):
        rows.append(f"{name if n % 2 else name.rpartition('.')[0]};{event};Kamera {n % 3}")
    Path(path).write_bytes("\r\n".join([*rows, ""]).encode("utf-8-sig"))
    return Path(path)
