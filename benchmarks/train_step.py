"""Training step on pooled inputs against the same step on raw inputs, as the released code takes them.

    python benchmarks/train_step.py [--batch 64] [--turns 3] [--threads 2] [--networks valor++] [--bf16] [--dropout 0.1]

Both networks start from the same weights and see the same made-up clips: 80 frames and 64 CLAP tokens raw, ten segments pooled. A step is forward, VALOR loss, backward,
clipping and AdamW, the last two as the training loop runs them. The networks take turns of four steps. Prints milliseconds of the fastest step of each on the clock, the ratio, the
fastest in processor time (which does not count the neighbours of a busy machine) and its ratio, and how far logits and losses are apart: the latter only without dropout, since with it each draws its own.
The last column is the bound: the ratio if the pooled step were nothing but its matrix products, one after the other.
"""
import argparse, sys, time
from dataclasses import asdict
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parents[1]/"tests"))
from released import SIZES, Released, raw_batch
from valor_lab.models import HAN, PUBLISHED, HANOutput, pool_clap_tokens, pool_frames
from valor_lab.methods import make_objective
from valor_lab.training import make_optimizer, preset


def stepper(model, inputs, batch, bf16):
    "A function that takes one training step and returns its loss."
    optimiser, objective = make_optimizer(preset("valor"), model), make_objective("valor")

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16): output = HANOutput(*(x.float() for x in model(*inputs)[:4]))
        loss = sum(objective.loss(model, batch, output).values())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimiser.step()
        return loss.item()

    return step


def timed(step):
    "One step: milliseconds on the clock and of the processor, and its loss."
    start = time.perf_counter(), time.process_time()
    loss = step()
    return 1000*(time.perf_counter()-start[0]), 1000*(time.process_time()-start[1]), loss


class Products(TorchDispatchMode):
    "Remember the matrix products of what runs inside, with their operands."
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if op.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm): self.calls.append((op, args))
        return op(*args, **(kwargs or {}))

    def again(self):
        with torch.no_grad():
            for op, args in self.calls: op(*args)
        return 0.


def compare(name, n, turns, bf16, dropout):
    torch.manual_seed(0)
    theirs = Released(**SIZES[name], dropout=dropout)
    ours = HAN(**{**asdict(PUBLISHED[name]), "dropout": dropout})
    ours.load_state_dict(HAN.from_published(theirs.state_dict()).state_dict())
    raw = raw_batch(name, n)
    pooled = [pool_clap_tokens(raw[0]), raw[1], raw[2]] if name == "valor++" else [raw[0], pool_frames(raw[1]), raw[2]]
    y = (torch.rand(n, 25) < .1).float()
    batch = dict(weak=y, **{f"labels_{m}": y[:, None]*(torch.rand(n, 10, 25) < .5) for m in ("audio", "visual")})
    with torch.no_grad(): logits = (ours.eval()(*pooled).segment_logits - theirs.eval()(*raw)[3]).abs().max().item()
    pair = stepper(ours.train(), pooled, batch, bf16), stepper(theirs.train(), raw, batch, bf16)
    taken = torch.tensor([[[timed(step) for _ in range(4)] for step in pair] for _ in range(turns)], dtype=torch.float64)     # [turns,2,4,3]
    (ms, cpu), (raw_ms, raw_cpu) = taken[:, :, 1:, :2].amin((0, 2)).tolist()                                                  # a turn's first step finds the caches full of the other's
    with Products() as products: pair[0]()
    bound = raw_cpu/min(timed(products.again)[1] for _ in range(4))
    apart = "-" if dropout else f"{(taken[:, 0, :, 2]-taken[:, 1, :, 2]).abs().max():.1e}"
    print(f"{name:8} {n:5} {ms:10.0f} {raw_ms:8.0f} {raw_ms/ms:6.1f}x {cpu:14.0f} {raw_cpu:8.0f} {raw_cpu/cpu:6.1f}x {logits:14.1e} {apart:>14} {bound:6.1f}x", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3, help="of four steps each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast for both")
    parser.add_argument("--dropout", type=float, default=0., help="of both networks; published: 0.1")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{'network':8} {'batch':>5} {'pooled ms':>10} {'raw ms':>8} {'ratio':>7} {'pooled CPU ms':>14} {'raw':>8} {'ratio':>7} {'logits differ':>14} {'losses differ':>14} {'bound':>7}")
    for name in args.networks: compare(name, args.batch, args.turns, args.bf16, args.dropout)
