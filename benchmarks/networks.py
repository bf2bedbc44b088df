"""A training step of every network of the field beside HAN's: the same clips, features and batch, processor time.

    python benchmarks/networks.py [--batch 16] [--turns 3] [--threads 1] [--networks mgn leap]

A step is what the loop does: the objective's work on the batch, forward, loss, backward, clipping where the preset clips, and the
optimiser, at the sizes of the papers, on made-up clips of ten segments (CMPAE, CoLeaF and NREP: of 80 pictures). The networks take turns.
Prints the number of weights, milliseconds of processor time of the fastest step, how many times HAN's that is; then the same step as the
released code goes about it (pictures projected before they are averaged, a loop over events), how much longer it takes, and how far the
probabilities are apart.
"""
import argparse, sys, time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]/"tests"))
from released import needlessly
from valor_lab.methods import Context, make_objective
from valor_lab.models import count_parameters, make_model, pool_frames
from valor_lab.training import learning_rate, make_optimizer, preset

NETWORKS = ("han", "lsld-classic", "mgn", "mm-pyramid", "leap", "mm-cse", "cmpae", "coleaf", "nrep-classic")
D = dict(d_audio=128, d_visual=2048, d_motion=512)


def clips(n):
    "Made-up clips: features, 80 pictures of each, labels."
    torch.manual_seed(0)
    frames, y = torch.randn(n, 80, 2048), (torch.rand(n, 25) < .1).float()
    dense = {f"labels_{m}": y[:, None]*(torch.rand(n, 10, 25) < .5) for m in ("audio", "visual")}
    return dict(audio=torch.randn(n, 10, 128), frames=frames, visual=pool_frames(frames), motion=torch.randn(n, 10, 512), weak=y, **dense)


class Step:
    "One training step of a preset, as the loop runs it."
    def __init__(self, name, data, released=False):
        self.config = c = preset(name)
        torch.manual_seed(0)
        words = dict(label_embeddings=torch.randn(25, 300)) if c.backbone == "leap" else {}
        self.model = make_model(c.backbone, **c.network, **D, **words)
        unpooled = c.features == "frames"
        if released: needlessly(self.model, data["frames"])
        self.batch = data | dict(index=torch.arange(len(data["weak"])), visual=data["frames" if unpooled else "visual"])
        self.objective, self.optimizer = make_objective(c.objective, **c.options), make_optimizer(c, self.model)
        self.objective.start(Context(model=self.model, data=self.batch, epochs=c.epochs, steps_per_epoch=1, batch_size=len(data["weak"]),
                                     rate=lambda epoch: learning_rate(c, epoch)))
        self.objective.start_epoch(2)

    def probabilities(self):
        with torch.no_grad(): return self.model.eval()(*(self.batch[f] for f in ("audio", "visual", "motion"))).segment_prob

    def __call__(self):
        self.model.train()
        start = time.process_time()
        batch = self.objective.before_batch(self.model, self.batch)
        output = self.model(*(batch[f] for f in ("audio", "visual", "motion")))
        sum(self.objective.loss(self.model, batch, output).values()).backward()
        if self.config.clip_norm: torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step(), self.optimizer.zero_grad()
        return 1000*(time.process_time() - start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data, han = clips(args.batch), None
    print(f"{'preset':14} {'weights':>11} {'ms':>7} {'of han':>7} {'released way, ms':>17} {'ratio':>6} {'apart':>8}")
    for name in dict.fromkeys(["han", *args.networks]):
        ours, theirs = Step(name, data), Step(name, data, released=True)
        apart = (ours.probabilities() - theirs.probabilities()).abs().max().item()
        same = not getattr(theirs.model, "needless", False)
        ms = [min(step() for _ in range(args.turns)) for step in ((ours,) if same else (ours, theirs))]
        han = han or ms[0]
        way = f"{'the same way':>17} {'':6} {'':8}" if same else f"{ms[1]:17.0f} {ms[1]/ms[0]:5.1f}x {apart:8.0e}"
        print(f"{name:14} {count_parameters(ours.model):11,} {ms[0]:7.0f} {ms[0]/han:6.1f}x {way}", flush=True)
        del ours, theirs
