"""What a GPU makes of a training at LLP's size: steps as they are, recorded steps, and half precision.

    python benchmarks/gpu.py [--epochs 60] [--presets han,valor,valor++] [--out gpu.json]

Made-up features and labels of 10,000 training and 649 validation clips. Each row is a whole training through `fit`, as a user
starts one; `difference` is the greatest difference of a weight from the same training without recording. Ends with a table to
paste into benchmarks/README.md. Run `pytest -m cuda tests/test_cuda.py` beside it.
"""
import argparse, json, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import pandas as pd
import torch
from safetensors.torch import load_file
from train import made_up

from valor_lab.training import fit, override, preset

WIDTHS = {"valor++": (768, 768, 512), "valor+": (768, 768, 512)}

def training(name, captured, precision, epochs, data, val):
    config = override(preset(name), dict(epochs=epochs, precision=precision))
    with tempfile.TemporaryDirectory() as d:
        torch.cuda.synchronize()
        start = time.perf_counter()
        fit(config, data, Path(d)/"run", val, device="cuda", captured=captured, progress=False, save_every=1e9)
        torch.cuda.synchronize()
        wall = time.perf_counter() - start
        return wall, pd.read_csv(Path(d)/"run"/"metrics.csv"), load_file(Path(d)/"run"/"last.safetensors")

def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--epochs", type=int, default=60)
    p.add_argument("--presets", default="han,valor,valor++")
    p.add_argument("--out", default="")
    a = p.parse_args()
    if not torch.cuda.is_available(): raise SystemExit("no GPU can be used here")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {a.epochs} epochs of 10,000 clips", flush=True)
    rows = []
    for name in a.presets.split(","):
        widths = WIDTHS.get(name, (128, 2048, 512))
        data, val, plain = made_up(10_000, 0, widths), made_up(649, 1, widths), {}
        for precision in ("32-true", "bf16-mixed"):
            for captured in (False, True):
                wall, metrics, weights = training(name, captured, precision, a.epochs, data, val)
                plain.setdefault(precision, weights)
                difference = max(float((weights[k].float() - v.float()).abs().max()) for k, v in plain[precision].items())
                rows.append(dict(preset=name, step="recorded" if captured else "as it is", precision=precision, wall=round(wall, 1),
                                 epoch=round(float(metrics.seconds.median()), 3), loss=round(float(metrics["loss/total"].iloc[-1]), 6),
                                 difference=difference))
                print(json.dumps(rows[-1]), flush=True)
    table = pd.DataFrame(rows)
    print("\n| " + " | ".join(table.columns) + " |\n" + "|---"*len(table.columns) + "|")
    for row in table.itertuples(index=False): print("| " + " | ".join(map(str, row)) + " |")
    if a.out: Path(a.out).write_text(json.dumps(rows))

if __name__ == "__main__": main()
