"""What only a GPU can show: that a recorded step changes no bit, that a training can be resumed, that half precision stays near.
Skipped where there is none."""
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from valor_lab.core import ParameterError
from valor_lab.training import fit, override, preset
from valor_lab.training.tasks import toy_set

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]
SMALL = dict(epochs=4, batch_size=16, warmup=2, features="simple", network={"d_model": 32, "d_ff": 48, "n_heads": 4})

def weights(run): return {k: v.cpu() for k, v in run.model().state_dict().items()}

def same(a, b): return all(torch.equal(v, b[k]) for k, v in a.items())

@pytest.mark.parametrize("name", ["han", "valor"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_recorded_step_gives_the_same_weights_to_the_last_bit(tmp_path, name, precision):
    # 70: the last batch is smaller
    data, val, config = toy_set(70, 0), toy_set(20, 1), override(preset(name), dict(SMALL, precision=precision))
    runs = [fit(config, data, tmp_path/str(captured), val, device="cuda", captured=captured, progress=False) for captured in (False, True)]
    assert same(*map(weights, runs))

def test_an_objective_that_counts_its_steps_is_not_recorded(tmp_path):
    config = override(preset("jomold"), SMALL)
    with pytest.raises(ParameterError, match="not the same in every step"):
        fit(config, toy_set(40, 0), tmp_path/"a", toy_set(20, 1), device="cuda", captured=True, progress=False)
    assert fit(config, toy_set(40, 0), tmp_path/"b", toy_set(20, 1), device="cuda", progress=False).model() is not None

def test_a_recorded_training_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    from valor_lab.training import loop
    data, val, config = toy_set(64, 0), toy_set(20, 1), override(preset("valor"), SMALL)
    whole = fit(config, data, tmp_path/"whole", val, device="cuda", progress=False)
    seen, real = [], loop.train_epoch
    def dies(t, epoch):
        if epoch == 3 and not seen: seen.append(1); raise KeyboardInterrupt
        return real(t, epoch)
    monkeypatch.setattr(loop, "train_epoch", dies)
    with pytest.raises(KeyboardInterrupt): fit(config, data, tmp_path/"cut", val, device="cuda", progress=False, save_every=0)
    assert same(weights(whole), weights(fit(config, data, tmp_path/"cut", val, device="cuda", progress=False, save_every=0)))

def test_half_precision_stays_near_full(tmp_path):
    data, val = toy_set(70, 0), toy_set(40, 1)
    loss = [float((Path(r.path)/"metrics.csv").read_text().splitlines()[-1].split(",")[3]) for r in
            (fit(override(preset("valor"), dict(SMALL, precision=p)), data, tmp_path/p, val, device="cuda", progress=False)
             for p in ("32-true", "bf16-mixed"))]
    assert abs(loss[0] - loss[1]) < .02*abs(loss[0])
