"""A share of `kill_writers.py` and of `hostile.py`; the scripts do all of it."""
import json, os, subprocess, sys
from pathlib import Path

import pytest

pytest.importorskip("psutil"), pytest.importorskip("torch")
HERE = Path(__file__).resolve().parent

def run(code):
    "In a process of its own: the harness forks, and pytest's process has threads."
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE, timeout=900, env=dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=f"{HERE.parent}{os.pathsep}{HERE}"))
    assert out.returncode == 0, out.stderr[-2000:]
    return json.loads(out.stdout.splitlines()[-1]), out.stdout

@pytest.mark.parametrize("writer", ["labels", "overlay", "preset", "run", "fetch", "queue"])
def test_a_writer_that_is_killed_or_raced_loses_nothing_it_reported(writer):
    found, text = run(f"import json, kill_writers as k; f = k.trial({writer!r}, 4, 6, disk=False); print(json.dumps(f | dict(faults=k.faults(f))))")
    assert found["faults"] == 0, text

def test_hostile_files_are_refused_in_words_in_little_time_and_memory():
    found, text = run("import json, hostile; print(json.dumps(hostile.run(80, seed=1)))")
    assert found["wrong"] == 0 and found["refused"] > 20, text

def test_a_full_disk_leaves_what_was_there():
    if os.geteuid(): pytest.skip("only root can mount a small file system")
    found, text = run("import json, tempfile; from pathlib import Path; import kill_writers as k\nwith tempfile.TemporaryDirectory() as d: print(json.dumps(k.full_disk(k.Preset(), Path(d))))")
    assert "not tried" in found["full"] or found["full_lost"] == 0, text
