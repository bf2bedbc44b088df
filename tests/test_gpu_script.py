"The script for a GPU runs to its end on a CPU at a tiny size, and a part that fails is reported beside those that went on."
import importlib.util, json, sys
from pathlib import Path

import pytest

pytest.importorskip("torch"), pytest.importorskip("lance"), pytest.importorskip("av")
BENCHMARKS = Path(__file__).resolve().parent.parent/"benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("gpu_script", BENCHMARKS/"gpu.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_script", module)
    spec.loader.exec_module(module)
    return module


def test_the_script_for_a_gpu_runs_dry_on_a_cpu(script, tmp_path, capsys):
    assert not script.main(["--dry", "--parts", "training", "seeds", "harvest", "--out", str(tmp_path/"gpu.json")])
    found = json.loads((tmp_path/"gpu.json").read_text())
    assert {r["precision"] for r in found["training"]} == {"32-true", "bf16-mixed"} and found["seeds"][-1]["difference"] < 1e-6
    assert found["harvest"][0]["clips"] == 2 and found["harvest"][0]["share_of_decoding"].endswith("%")
    assert "| preset | step | precision |" in capsys.readouterr().out


def test_a_part_that_fails_is_reported_and_the_others_go_on(script, monkeypatch, capsys):
    def broken(a): raise ValueError("no such kernel")
    monkeypatch.setitem(script.PARTS, "seeds", broken)
    monkeypatch.setitem(script.PARTS, "training", lambda a: [dict(fine=1)])
    assert script.main(["--dry", "--parts", "seeds", "training"])
    out = capsys.readouterr().out
    assert "| seeds | ValueError: no such kernel |" in out and "| fine |" in out
