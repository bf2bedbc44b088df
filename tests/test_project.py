"""The house itself: what imports what, what a thin install can do, and that the notebooks can run anywhere."""
import importlib.util, json, re, shutil, subprocess, sys
from pathlib import Path

import numpy as np, pytest

import valor_lab
from valor_lab import core
from valor_lab.vocab import AVE, LLP, LLP_CORRECTED, VOCABS, Vocab

ROOT = Path(__file__).resolve().parent.parent
@pytest.mark.parametrize("printed,status,wanted,counts", [
    ("- Completed a\n- Completed b\nSuccess.", 0, 2, (2, 0)),
    ("- Completed a\n- Completed b\nnbdev Tests Failed On The Following Notebooks:\n==\n\tb.ipynb", 1, 2, (1, 1)),
    ("- Completed a\n", 0, 2, (1, 1)), ("No files were eligible for testing", 0, 0, (0, 1)), ("- Completed a\n", 1, 1, (0, 1))])
def test_a_notebook_that_raises_is_counted_as_failed(printed, status, wanted, counts):
    assert load_test_command().notebook_counts(printed, status, wanted) == counts

def load_test_command():
    spec = importlib.util.spec_from_file_location("run", ROOT/"tests"/"run.py")
    run = importlib.util.module_from_spec(spec); spec.loader.exec_module(run)
    return run

def test_the_test_command_installs_chromium_where_it_can_and_else_says_why(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    browser, ran, there = load_test_command().browser, [], {"apt-get"}
    def run(command, **options):
        ran.append(command[1])
        if command[1] == "install": there.add("chromium")
        return subprocess.CompletedProcess(command, 0, "")
    which = lambda name: name if name in there else None
    assert "only root" in browser(which, lambda: False, run) and not ran
    assert browser(which, lambda: True, run) == "" and ran == ["update", "install"]
    assert browser(which, lambda: True, run) == "" and len(ran) == 2                 # it is there now
    assert "no apt-get" in browser(lambda name: None, lambda: True, run)
    assert "no route" in browser(lambda name: name if name == "apt-get" else None, lambda: True,
                                 lambda command, **options: subprocess.CompletedProcess(command, 100, "Err\nno route"))

def test_the_version_is_the_same_wherever_it_stands():
    assert f"version = {valor_lab.__version__}\n" in (ROOT/"settings.ini").read_text()

def test_importing_the_package_loads_neither_torch_nor_pandas():
    heavy = ("torch", "pandas", "numpy", "matplotlib", "open_clip", "laion_clap")
    code = f"import sys, valor_lab; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == "[]"

def test_labels_and_metrics_work_with_the_base_install_alone():
    code = """
import sys
for m in ("torch", "matplotlib", "scipy", "av", "pyarrow", "soxr", "plotly", "ipywidgets", "fastcore", "nbdev"): sys.modules[m] = None
import valor_lab, numpy as np
w = valor_lab.labels.WeakLabels(["a", "b"], np.eye(2, 25))
print(valor_lab.metrics.avvp_scores(w.copied(), w.copied())["segment/type"])
try: valor_lab.models.HAN
except ImportError as e: print(e)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.stdout.splitlines()[0] == "100.0" and "valor_lab[models]" in out.stdout, out.stdout + out.stderr[-600:]


@pytest.mark.parametrize("path", sorted((ROOT/"nbs").rglob("*.ipynb")), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_notebook_says_its_kernel_and_holds_no_path_of_a_machine(path):
    nb = json.loads(path.read_text())
    assert nb["metadata"]["kernelspec"]["name"] == "python3" and "widgets" not in nb["metadata"]
    assert not re.search(r"/(home|root|Users)/\w|site-packages|/tmp/\w", json.dumps([c.get("outputs", []) for c in nb["cells"]]))
    assert path.stat().st_size < 3_000_000

@pytest.mark.parametrize("path", sorted((ROOT/"nbs"/"api").rglob("*.ipynb")), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_each_library_notebook_exports_the_module_of_its_name_and_asserts_something(path):
    cells = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    wing = "".join(f"{folder}." for folder in path.relative_to(ROOT/"nbs"/"api").parts[:-1])
    assert (f"#| default_exp {wing}{'__init__' if path.stem == 'index' else re.sub(r'^[0-9]+_', '', path.stem)}" in cells
            and any("assert " in c for c in cells))

def test_the_captions_and_thresholds_are_the_published_ones():
    assert (LLP.clip_captions[LLP.index("Vacuum_cleaner")] == "A photo of a vaccum cleaner."
            and LLP.clip_captions[LLP.index("Acoustic_guitar")] == "A photo of a acoustic guiter.")
    assert LLP.clap_captions[LLP.index("Frying_(food)")] == "This is a sound of frying (food)"
    assert LLP.clip_thresholds.tolist() == [20, 15, 18, 14, 15, 18, 18, 15, 15, 15, 15, 18, 15, 15, 15, 15, 15, 15, 15, 16,
                                            14, 15, 15, 15, 18]
    assert LLP.clap_thresholds.tolist() == [0, 0, 1, 4, 6, -2, 4, 4, 2, 2, 2, 1, 2, 3, 0, 2, 2, 2, 0, 2, -1, 2, 3, 3, 0]
    assert "vaccum" not in "".join(LLP_CORRECTED.clip_captions) and LLP_CORRECTED.events == LLP.events

def test_ave_has_28_events_in_the_order_of_its_file(data):
    assert (tuple(dict.fromkeys(line.split("&")[0] for line in (data("ave")/"Annotations.txt").read_text().splitlines())) == AVE.events
            and len(AVE) == 28)
    assert np.isnan(AVE.clip_thresholds).all() and np.isnan(AVE.clap_thresholds).all()

def test_a_vocabulary_grows_and_stays_what_it_was():
    v = LLP.with_event("Rain", "A photo of rain.", "This is a sound of rain", 15, 1)
    assert len(v) == 26 and v.index("Rain") == 25 and len(LLP) == 25 and v != LLP and VOCABS["llp"] is LLP
    with pytest.raises(core.ParameterError): v.with_event("Rain", "", "")
    with pytest.raises(ValueError): LLP.clip_thresholds[0] = 3

def test_a_file_is_whole_or_absent(tmp_path):
    with pytest.raises(ZeroDivisionError), core.atomic_path(tmp_path/"x.txt") as p:
        p.write_text("half")
        1 / 0
    assert not list(tmp_path.iterdir())

@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "-rf", "a\0", "é", "a" * 200, "a\n"])
def test_a_name_that_could_leave_its_folder_is_refused(name):
    with pytest.raises(core.ParameterError): core.safe_name(name)

def test_published_results_use_the_keys_of_our_scores():
    import pandas as pd
    from valor_lab.metrics import avvp_scores
    from valor_lab.labels import WeakLabels
    df = pd.read_csv(core.shipped("published_results.csv"), keep_default_na=False)
    w = WeakLabels(["a"], np.eye(1, 25)).copied()
    valor = df[(df.method == "VALOR") & (df.source == "VALOR Table 1")].set_index("metric")["value"]
    assert set(valor.index) == set(avvp_scores(w, w)) and valor["segment/type"] == 62.0
    assert (df.remark != "").sum() > 100 and df["value"].between(0, 100).all()

STUB = """#!/bin/sh
case "$*" in
  *"-m venv --clear .venv") rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp "$0" .venv/bin/uv; echo made >> log;;
  *"import torch, jupyterlab, valor_lab"*) test ! -e broken;;
  *"pip install --python"*) echo "$*" >> asked; case "$*" in *--dry-run*) test ! -e unreached;; esac;;
esac
"""

def test_an_environment_is_ready_only_when_its_packages_can_be_imported_and_is_else_made_anew(tmp_path):
    make = shutil.which("make")
    if make is None: pytest.skip("no make here")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"): shutil.copy(ROOT/name, tmp_path)
    (tmp_path/"stub").write_text(STUB), (tmp_path/"stub").chmod(0o755)
    run = lambda: subprocess.run([make, "PYTHON=./stub", ".venv/.ready"], cwd=tmp_path, capture_output=True, text=True).returncode
    (tmp_path/"broken").touch()
    assert run() != 0 and not (tmp_path/".venv"/".ready").exists()
    (tmp_path/".venv"/"half-installed").touch(), (tmp_path/"broken").unlink()
    assert run() == 0 and (tmp_path/".venv"/".ready").exists() and not (tmp_path/".venv"/"half-installed").exists()
    assert run() == 0 and (tmp_path/"log").read_text() == "made\n"*2                       # nothing to do
    import os
    os.utime(tmp_path/"constraints.txt", (2e9, 2e9))                                        # the pins change: what is there is brought up to date
    assert run() == 0 and (tmp_path/"log").read_text() == "made\n"*2
    os.utime(tmp_path/"constraints.txt", (2.1e9, 2.1e9)), (tmp_path/"broken").touch()
    assert run() != 0 and not (tmp_path/".venv"/".ready").exists()

def no_gpu():
    "Whether this machine has no NVIDIA GPU, as the Makefile asks."
    return shutil.which("nvidia-smi") is None and not Path("/proc/driver/nvidia/version").exists()

@pytest.mark.parametrize("said,reached,gpu,env,takes,says", [
    ((), True, False, {}, "--torch-backend cpu", "about 3 GB"),                          # no GPU, and the index has a build without CUDA
    ((), False, False, {}, "", "was not reached"),                                       # PyPI alone: said before anything is downloaded
    ((), True, True, {}, "", "an NVIDIA GPU is here"),
    ((), True, False, {"UV_TORCH_BACKEND": "cu130"}, "", "UV_TORCH_BACKEND=cu130"),
    (("TORCH_BACKEND=default",), True, False, {}, "", "about 7 GB"), (("TORCH_BACKEND=cpu",), False, False, {}, "--torch-backend cpu", "about 3 GB")])
def test_the_bootstrap_takes_torch_without_cuda_where_it_can_and_says_what_it_costs(tmp_path, said, reached, gpu, env, takes, says):
    import os
    make = shutil.which("make")
    if make is None: pytest.skip("no make here")
    if not gpu and not no_gpu(): pytest.skip("a machine with an NVIDIA GPU")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"): shutil.copy(ROOT/name, tmp_path)
    (tmp_path/"stub").write_text(STUB), (tmp_path/"stub").chmod(0o755)
    if not reached: (tmp_path/"unreached").touch()
    (tmp_path/"bin").mkdir()
    if gpu: shutil.copy(tmp_path/"stub", tmp_path/"bin"/"nvidia-smi")
    space = {k: v for k, v in os.environ.items() if k not in ("TORCH_BACKEND", "UV_TORCH_BACKEND", "MAKEFLAGS")} | env | {"PATH": f"{tmp_path/'bin'}{os.pathsep}{os.environ['PATH']}"}
    out = subprocess.run([make, "PYTHON=./stub", *said, ".venv/.ready"], cwd=tmp_path, capture_output=True, text=True, env=space)
    asked = (tmp_path/"asked").read_text().splitlines()
    assert out.returncode == 0 and says in out.stdout, out.stdout + out.stderr
    assert "-e .[all,dev]" in asked[-1] and ("--torch-backend" in asked[-1]) == bool(takes) and takes in asked[-1]
    assert bool([a for a in asked[:-1] if "--dry-run" in a]) == (not said and not gpu and not env)

def test_the_demo_says_at_its_start_how_long_and_how_much():
    make = shutil.which("make")
    if make is None: pytest.skip("no make here")
    said = subprocess.run([make, "--no-print-directory", "about"], cwd=ROOT, capture_output=True, text=True).stdout
    assert "minutes" in said and "GB" in said
