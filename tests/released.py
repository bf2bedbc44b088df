"""The released VALOR network written down plainly, with its own names, on raw inputs: what `valor_lab.models` must agree with."""
import torch
from torch import nn
from torch.nn import functional as F


class Layer(nn.Module):
    def __init__(self, d, heads, ff, dropout):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(d, heads, dropout, batch_first=True)
        self.cm_attn = nn.MultiheadAttention(d, heads, dropout, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(d, ff), nn.Linear(ff, d)
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.p = dropout

    def forward(self, q, o):
        drop = lambda x: F.dropout(x, self.p, self.training)
        h = self.norm1(q + drop(self.cm_attn(q, o, o)[0]) + drop(self.self_attn(q, q, q)[0]))
        return self.norm2(h + drop(self.linear2(drop(F.relu(self.linear1(h))))))


class Encoder(nn.Module):
    def __init__(self, d, layers, heads, ff, dropout):
        super().__init__()
        self.layers = nn.ModuleList(Layer(d, heads, ff, dropout) for _ in range(layers))
        self.final_norm_a, self.final_norm_v = nn.LayerNorm(d), nn.LayerNorm(d)   # idle with post-norm

    def forward(self, a, v):
        for layer in self.layers:
            a = layer(a, v)
            v = layer(v, a)
        return a, v


class Released(nn.Module):
    "Raw inputs: audio [B,10,128] or CLAP tokens [B,64,768]; visual [B,80,2048] or [B,10,768]; motion [B,10,512]."

    def __init__(self, da=128, dv=2048, d=512, layers=1, heads=8, ff=1024, dropout=.1, C=25):
        super().__init__()
        self.fc_a, self.fc_v, self.fc_st, self.fc_fusion = nn.Linear(da, d), nn.Linear(dv, d), nn.Linear(512, d), nn.Linear(2*d, d)
        self.fc_prob, self.fc_frame_att, self.fc_av_att = (nn.Linear(d, C) for _ in range(3))
        self.hat_encoder = Encoder(d, layers, heads, ff, dropout)

    def audio(self, x):
        if x.shape[1] != 64: return self.fc_a(x)
        x = x.transpose(1, 2).reshape(len(x), -1, 2, 32)                                   # [B,768,2,32]
        x = F.interpolate(x, size=(2, 1024), mode="bicubic", align_corners=False)          # [B,768,2,1024]
        x = self.fc_a(x.permute(0, 2, 3, 1)).mean(1)                                       # [B,1024,d]
        return F.adaptive_avg_pool1d(x.transpose(1, 2), 10).transpose(1, 2)                # [B,10,d]

    def visual(self, x, motion):
        s = self.fc_v(x)                                                                   # [B,80,d] or [B,10,d]
        if s.shape[1] == 80: s = F.avg_pool1d(s.transpose(1, 2), 8, 8).transpose(1, 2)     # [B,10,d]
        return self.fc_fusion(torch.cat([s, self.fc_st(motion)], -1))

    def forward(self, audio, visual, motion):
        a, v = self.hat_encoder(self.audio(audio), self.visual(visual, motion))
        x = torch.stack([a, v], 2)                                                         # [B,10,2,d]
        logits = self.fc_prob(x)
        alpha, beta = torch.softmax(self.fc_frame_att(x), 1), torch.softmax(self.fc_av_att(x), 2)
        p = torch.sigmoid(logits)
        each = (alpha*p).sum(1)                                                            # [B,2,25]
        return (beta*alpha*p).sum((1, 2)), each[:, 0], each[:, 1], logits


SIZES = {"valor": dict(), "valor+": dict(d=256, layers=4), "valor++": dict(d=256, layers=4, da=768, dv=768)}


def raw_batch(name, n, seed=0):
    "Made-up raw features as the published folders hold them."
    g = torch.Generator().manual_seed(seed)
    if name == "valor++": shapes = (64, 768), (10, 768), (10, 512)
    else: shapes = (10, 128), (80, 2048), (10, 512)
    return [torch.randn(n, *s, generator=g) for s in shapes]


class FramesFirst(torch.nn.Module):
    "A projection of 80 pictures that are averaged afterwards, as released code does it; what it is handed is not looked at."
    def __init__(self, linear, frames):
        super().__init__()
        self.linear, self.frames = linear, frames
    def forward(self, pooled): return self.linear(self.frames).unflatten(1, (pooled.shape[1], -1)).mean(2)


class OneByOne(torch.nn.Module):
    "MM-CSE's heads, one event after the other."
    def __init__(self, heads):
        super().__init__()
        self.fc = heads.fc
    def forward(self, x): return torch.cat([f(x[..., j, :]) for j, f in enumerate(self.fc)], -1)


def needlessly(model, frames):
    "Let a network do what its released code does and ours does not; `model.needless` says whether there is anything."
    model.needless = False
    for name in ("fc_v", "visual_in"):
        linear = getattr(model, name, None)
        if isinstance(linear, torch.nn.Linear): setattr(model, name, FramesFirst(linear, frames)); model.needless = True
    if hasattr(model, "a_unmix"):
        for name in ("fc_prob", "fc_frame_att", "fc_av_att"): setattr(model, name, OneByOne(getattr(model, name)))
        model.apart = lambda a, v: tuple(torch.stack([u(x) for u in nets], 2) for x, nets in ((a, model.a_unmix), (v, model.v_unmix)))
    return model
