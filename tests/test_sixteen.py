"""A small set of one's own, of another grid than the benchmark's: three events, sixteen segments, features from the store, no motion, no test."""
import sys, time
from pathlib import Path

import numpy as np, pytest

pytest.importorskip("torch"), pytest.importorskip("av"), pytest.importorskip("papermill")

from own_recordings import recording
from valor_lab.cli import main
from valor_lab.core import shipped
from valor_lab.datasets import describe_set, load_dataset, load_labels
from valor_lab.training import open_run

SMALL = "d_model = 16\nd_ff = 16\nn_heads = 2"


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    "Six recordings of four seconds and a table with a column for the split; harvested, and a seventh that nobody knows."
    base, mp = tmp_path_factory.mktemp("doors"), pytest.MonkeyPatch()
    (base/"clips").mkdir()
    rows = ["file;label;start;stop;part"]
    for n, event in enumerate(("Dog", "Cat", "Cello")*2):
        recording(base/f"clips/door {n}.mp4", 4, event, "", n)
        rows.append(f"door {n};{event};0;4;{'validation' if n > 3 else 'training'}")
    recording(base/"new door.mp4", 4, "Dog", "", 9)
    (base/"table.csv").write_text("\n".join(rows))
    mp.delenv("VALOR_ROOT", raising=False)
    assert main(["init", str(base/"ws")]) == 0
    mp.chdir(base/"ws")
    assert main(["new", "doors", "--videos", str(base/"clips"), "--labels", str(base/"table.csv"), "--events", "Dog,Cat,Cello", "--n-segments", "16"]) == 0
    assert main(["harvest", "doors", "--demo", "--quiet"]) == 0
    yield base
    mp.undo()


def test_sixteen_segments_and_three_events_come_out_of_the_store(doors):
    d, train, val = describe_set("doors"), load_dataset("doors", features="own"), load_dataset("doors", split="val", features="own")
    assert d.parts == 16 and list(d.splits) == ["train", "val"] and len(d.vocab) == 3
    assert {m: x.shape[:2] for m, x in train.features.items()} == dict(audio=(4, 16), visual=(4, 16)) and "motion" not in val.features
    assert val.truth.audio.shape == (2, 16, 3) and np.allclose(val.truth.durations, 4, atol=.2) and train.labels.n_segments == 16


def test_papermill_trains_on_it_and_says_that_there_is_no_test(doors):
    import papermill
    out = doors/"train.ipynb"
    papermill.execute_notebook(str(shipped("notebooks")/"train.ipynb"), str(out), dict(preset="han,valor", dataset="doors", epochs=1, overrides=SMALL, device="cpu"),
                               cwd=str(doors/"ws"), progress_bar=False, log_output=False)
    assert "No test split with truth" in out.read_text() and "Traceback" not in out.read_text()
    runs = {p.parent.name.split("-")[0]: open_run(p.parent) for p in Path("runs").glob("*/config.toml")}
    assert set(runs) == {"han", "valor"} and all(r.finished and "val" in r.scores and "test" not in r.scores for r in runs.values())
    assert load_labels("doors-harvested").n_segments == 16


def test_the_launcher_trains_on_it_in_a_job(doors):
    pytest.importorskip("anywidget")
    from valor_lab.workbench import Launcher
    launcher = Launcher("doors")
    assert "han" in launcher.presets and "doors-harvested" in launcher.labels
    job = launcher.start("han", "doors-harvested", SMALL, 1, "1", "cpu")
    until = time.monotonic() + 400
    while job.state in ("waiting", "running") and time.monotonic() < until: time.sleep(1)
    assert job.state == "finished", job.log
    assert len(list(Path("runs").glob("han-doors-s1-*/metrics.csv"))) == 1


def test_a_new_recording_is_parsed_by_it_into_sixteen_parts(doors, capsys):
    run = next(p.parent for p in sorted(Path("runs").glob("valor-doors-*/config.toml")))
    assert main(["parse", str(doors/"new door.mp4"), "--run", run.name, "--out", "parsed"]) == 0
    labels = load_labels("parsed")
    assert labels.ids == ("new door",) and labels.audio.shape == (1, 16, 3) and labels.durations == pytest.approx([4], abs=.2)
    assert main(["labels", "export", "parsed", "--as", "csv", "--to", "out.csv"]) == 0 and Path("out.csv").is_file()
