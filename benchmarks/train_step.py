"""Training step on pooled inputs against the same step on raw inputs, as the released code takes them.

    python benchmarks/train_step.py [--batch 64] [--steps 10] [--threads 2] [--networks valor++] [--bf16]

Both networks start from the same weights and see the same made-up clips: 80 frames and 64 CLAP tokens raw, ten segments pooled. A step is forward, VALOR loss, backward,
clipping and AdamW. Prints milliseconds of the fastest step on the clock, the ratio, the ratio of processor time (which does not count the neighbours of a busy machine), and how
far logits and losses are apart.
"""
import argparse, sys, time
from dataclasses import asdict
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]/"tests"))
from released import SIZES, Released, raw_batch
from valor_lab.models import HAN, PUBLISHED, HANOutput, pool_clap_tokens, pool_frames
from valor_lab.objectives import make_objective


def stepper(model, inputs, batch, bf16):
    "A function that takes one training step and returns its loss."
    optimiser, objective = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(.5, .999), weight_decay=1e-3), make_objective("valor")

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16): output = HANOutput(*(x.float() for x in model(*inputs)[:4]))
        loss = sum(objective.loss(model, batch, output).values())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.)
        optimiser.step()
        return loss.item()

    return step


def timed(step, steps, warm=2):
    "Fastest step on the clock and in processor time, in ms; all losses."
    losses, took = [step() for _ in range(warm)], []
    for _ in range(steps):
        start = time.perf_counter(), time.process_time()
        losses.append(step())
        took.append((1000*(time.perf_counter()-start[0]), 1000*(time.process_time()-start[1])))
    return [min(x) for x in zip(*took)], torch.tensor(losses)


def compare(name, n, steps, bf16):
    torch.manual_seed(0)
    theirs = Released(**SIZES[name], dropout=0.)
    ours = HAN(**{**asdict(PUBLISHED[name]), "dropout": 0.})
    ours.load_state_dict(HAN.from_published(theirs.state_dict()).state_dict())
    raw = raw_batch(name, n)
    pooled = [pool_clap_tokens(raw[0]), raw[1], raw[2]] if name == "valor++" else [raw[0], pool_frames(raw[1]), raw[2]]
    y = (torch.rand(n, 25) < .1).float()
    batch = dict(weak=y, **{f"labels_{m}": y[:, None]*(torch.rand(n, 10, 25) < .5) for m in ("audio", "visual")})
    with torch.no_grad(): logits = (ours.eval()(*pooled).segment_logits - theirs.eval()(*raw)[3]).abs().max().item()
    (ms, cpu), curve = timed(stepper(ours.train(), pooled, batch, bf16), steps)
    (raw_ms, raw_cpu), raw_curve = timed(stepper(theirs.train(), raw, batch, bf16), steps)
    print(f"{name:8} {n:5} {ms:10.0f} {raw_ms:10.0f} {raw_ms/ms:8.1f}x {raw_cpu/cpu:14.1f}x {logits:14.1e} {(curve-raw_curve).abs().max():14.1e}", flush=True)



if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--networks", nargs="*", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast for both")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{'network':8} {'batch':>5} {'pooled ms':>10} {'raw ms':>10} {'ratio':>9} {'processor time':>15} {'logits differ':>14} {'losses differ':>14}")
    for name in args.networks: compare(name, args.batch, args.steps, args.bf16)
