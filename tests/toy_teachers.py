"""Teachers that fit into a few lines: one sees the mean colour of a frame, the other hears which of three bands is loudest. And clips for them."""
import numpy as np

from valor_lab.core import ParameterError
from valor_lab.media import write_clip
from valor_lab.vocab import Vocab

TOY = Vocab("toy", ["Red", "Green", "Blue"], ["red", "green", "blue"], ["low", "middle", "high"], [7, 7, 7], [7, 7, 7])

def unit(x): return (x/np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)

class Eye:
    modality, name, fingerprint, scale, width, words = "visual", "toy eye", "toy-eye-1", 10., 3, ["red", "green", "blue"]
    def __init__(self): self.clips, self.texts = 0, 0
    def embed_text(self, captions):
        self.texts += len(captions)
        return np.eye(3, dtype=np.float32)[[self.words.index(c) for c in captions]]
    def embed_clips(self, clips):
        self.clips += len(clips)
        return [unit(frames.mean((1, 2), dtype=np.float64)) for frames in clips]

class Ear(Eye):
    modality, name, fingerprint, words = "audio", "toy ear", "toy-ear-1", ["low", "middle", "high"]
    def embed_clips(self, clips, n_segments):
        if short := [len(a) for a in clips if len(a) < n_segments]: raise ParameterError(f"audio has {short[0]} samples, {n_segments} are needed")
        self.clips += len(clips)
        spectra = [np.abs(np.fft.rfft(a[:len(a)//n_segments*n_segments].reshape(n_segments, -1)))**2 for a in clips]
        return [unit(np.stack([p.sum(-1) for p in np.array_split(s[:, :4000*(s.shape[-1] - 1)//24_000], 3, -1)], -1) + 1e-3) for s in spectra]

def toy_clip(path, seen, heard, fps=8, size=32):
    "A clip with one second of each colour of `seen` and of each pitch of `heard`."
    colours = 200*np.eye(3, dtype=np.uint8) + 20
    frames = np.concatenate([np.broadcast_to(colours[c], (fps, size, size, 3)) for c in seen]) if len(seen) else None
    t = np.arange(48_000)/48_000
    audio = np.concatenate([.3*np.sin(2*np.pi*(300 + 1200*p)*t) for p in heard]).astype(np.float32) if len(heard) else None
    return write_clip(path, frames, audio, fps=fps)

def toy_set(folder, n, seconds=10):
    "Clips whose picture and sound change in other orders."
    for i in range(n): toy_clip(folder/f"clip{i:02d}.mp4", [(i + 3*s//seconds) % 3 for s in range(seconds)], [(i + 2*s//seconds) % 3 for s in range(seconds)])
    return folder

def same_store(a, b):
    "Whether two stores hold the same rows with the same bits and the same failures."
    equal = lambda x, y: np.array_equal(np.asarray(x), np.asarray(y), equal_nan=True)
    return (a.ids == b.ids and equal(a.durations, b.durations) and equal(a.audio, b.audio) and equal(a.visual, b.visual) and equal(a.has_audio, b.has_audio)
            and equal(a.has_visual, b.has_visual) and a.paths == b.paths and a.failures.equals(b.failures) and a.fingerprint == b.fingerprint)
