"Seeds that step as one model are the runs of one after the other, each with its own order, best epoch and folder."
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
from valor_lab.training import fit, fit_together, override, preset, together, toy_set

SMALL = dict(epochs=4, batch_size=16, warmup=2, features="simple", network=dict(d_model=32, d_ff=48, n_heads=4, dropout=0.))
DATA, VAL = toy_set(42, 0), toy_set(20, 1)                              # the last batch is smaller
HOW = dict(device="cpu", progress=False)


def said(run):
    with np.load(run.path/"predictions"/"val.npz") as f: return np.concatenate([f[k].ravel() for k in ("video_prob", "segment_prob")])


def same(a, b): return np.abs(said(a) - said(b)).max() < 1e-6


@pytest.mark.parametrize("name", ["valor", "han"])
def test_seeds_together_say_what_they_say_in_turn(tmp_path, name):
    config = override(preset(name), SMALL)
    in_turn = [fit(replace(config, seed=s), DATA, tmp_path/f"turn-s{s}", VAL, **HOW) for s in (3, 5)]
    runs = fit_together(config, DATA, tmp_path/"both", (3, 5), VAL, **HOW)
    for a, b in zip(in_turn, runs):
        assert same(a, b) and a.scores["best_epoch"] == b.scores["best_epoch"] and a.config == b.config
        x, y = (pd.read_csv(r.path/"metrics.csv")["loss/total"] for r in (a, b))
        assert np.abs(x/y - 1).max() < 1e-5
    assert not same(*runs)
    assert [r.path for r in runs] == [tmp_path/"both-s3", tmp_path/"both-s5"]


def test_what_was_interrupted_goes_on_together_or_alone_and_what_is_finished_stays(tmp_path, monkeypatch):
    config = override(preset("valor"), SMALL)
    whole = fit_together(config, DATA, tmp_path/"whole", (0, 1), VAL, **HOW)
    real = together.joined_epoch
    def dies(j, epoch, step):
        if epoch == 3: raise KeyboardInterrupt
        return real(j, epoch, step)
    for name in ("again", "alone"):
        monkeypatch.setattr(together, "joined_epoch", dies)
        with pytest.raises(KeyboardInterrupt): fit_together(config, DATA, tmp_path/name, (0, 1), VAL, save_every=0, **HOW)
        monkeypatch.setattr(together, "joined_epoch", real)
    runs = fit_together(config, DATA, tmp_path/"again", (0, 1), VAL, **HOW)
    one = fit(replace(config, seed=1), DATA, tmp_path/"alone-s1", VAL, **HOW)
    assert same(runs[0], whole[0]) and same(runs[1], whole[1]) and same(one, whole[1])
    before = (whole[0].path/"scores.json").stat().st_mtime_ns
    more = fit_together(config, DATA, tmp_path/"whole", (0, 1, 2), VAL, **HOW)                # one is left, and has nobody to step with
    assert (whole[0].path/"scores.json").stat().st_mtime_ns == before and more[2].finished
    assert same(more[2], fit(replace(config, seed=2), DATA, tmp_path/"two", VAL, **HOW))


def test_dropout_draws_otherwise_and_what_has_steps_of_its_own_is_trained_in_turn(tmp_path):
    config = override(preset("valor"), SMALL | dict(epochs=2, network=dict(SMALL["network"], dropout=.2)))
    runs = fit_together(config, DATA, tmp_path/"drop", (0, 1), VAL, **HOW)
    assert all(r.finished for r in runs) and not same(*runs)
    config = override(preset("jomold"), SMALL | dict(epochs=1))
    a, b = fit_together(config, DATA, tmp_path/"steps", (0, 1), VAL, **HOW)
    alone = fit(replace(config, seed=1), DATA, tmp_path/"x", VAL, **HOW)
    assert all(torch.equal(v, alone.model().state_dict()[k]) for k, v in b.model().state_dict().items())


def test_half_precision_stays_within_two_percent_of_full(tmp_path):
    runs = [fit(override(preset("valor"), SMALL | dict(precision=p)), DATA, tmp_path/p, VAL, **HOW) for p in ("32-true", "bf16-mixed")]
    loss = [pd.read_csv(r.path/"metrics.csv")["loss/total"] for r in runs]
    assert (np.abs(loss[1]/loss[0] - 1) < .02).all()
    short = override(preset("valor"), SMALL | dict(precision="bf16-mixed", epochs=1))
    half = fit_together(short, DATA, tmp_path/"both", (1000, 1), VAL, **HOW)
    assert abs(pd.read_csv(half[0].path/"metrics.csv")["loss/total"][0]/loss[1][0] - 1) < 1e-3      # in turn
