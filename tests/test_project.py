"""The house itself: what imports what, what a thin install can do, and that the notebooks can run anywhere."""
import ast, importlib.util, json, re, subprocess, sys
from pathlib import Path

import numpy as np, pytest

import valor_lab
from valor_lab import core
from valor_lab.vocab import AVE, LLP, LLP_CORRECTED, VOCABS, Vocab

ROOT = Path(__file__).resolve().parent.parent
FLOORS = [{"core", "page"}, {"vocab"}, {"labels", "media", "models"}, {"metrics", "detection", "objectives", "fetch", "overlays", "demo_plan", "clips", "scores"}, {"pen", "teachers", "extractors", "plots", "store"}, {"figures", "sounds", "published"}, {"scenes", "simple"}, {"demo"}, {"demo_teachers"}, {"harvest"},
          {"thresholds", "denoise", "bags", "datasets"}, {"tasks"}, {"config"}, {"runs"}, {"results", "parsing"}, {"train"}, {"recipes"}, {"ave", "tal", "tuning", "jobs", "methods", "clipset", "app"}, {"player", "table", "panel", "launcher"}, {"workbench"}, {"widgets"}]
FLOOR = {m: n for n, floor in enumerate(FLOORS) for m in floor}
MODULES = sorted(p.stem for p in (ROOT/"valor_lab").glob("*.py") if not p.stem.startswith("_"))

def imported(path):
    "Names of valor_lab's modules that a file imports at its top; exported files use relative imports."
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "valor_lab"):
            name = (node.module or "").removeprefix("valor_lab").strip(".")
            yield from [name.split(".")[0]] if name else (a.name for a in node.names if a.name != "__version__")
        elif isinstance(node, ast.Import): yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("valor_lab."))

def test_the_walker_sees_the_imports_of_exported_files(): assert {"core", "vocab"} <= set(imported(ROOT/"valor_lab"/"labels.py"))

@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_floors_below_its_own(module):
    assert module in FLOOR, f"{module} has no floor: give it one here and in the design"
    above = sorted(m for m in set(imported(ROOT/"valor_lab"/f"{module}.py")) if FLOOR[m] >= FLOOR[module])
    assert not above, f"{module} (floor {FLOOR[module]}) imports {above}"

def test_the_package_names_all_its_modules_and_each_has_a_notebook():
    notebooks = {re.sub(r"^[0-9]+[a-z]?_", "", p.stem) for p in (ROOT/"nbs"/"api").glob("*.ipynb")}
    assert sorted(valor_lab._MODULES) == MODULES == sorted(notebooks)

def test_the_guide_to_the_library_links_every_notebook_once_and_nothing_else():
    table = (ROOT/"nbs"/"api"/"README.md").read_text().partition("| about |")[2]
    assert sorted(re.findall(r"\]\(([^)]+)\)", table)) == sorted(p.name for p in (ROOT/"nbs"/"api").glob("*.ipynb"))

@pytest.mark.parametrize("module,names", [
    ("demo", "TEACHER_SEED event_rng Pen INK figure_style FIGURES figure draw_event SOUNDS sound synth_event measure_rates RATES EVENTS_PER_CLIP RUNS EDGE PAIRS LEAST_SHARE event_shares "
             "SPLITS SIZES plan_demo VERSION DIFFICULTY draw_clip mix_clip SIMPLE_SHAPES simple_features render_demo"),
    ("harvest", "SUFFIXES find_clips FORMAT read_manifest FeatureStore open_store MissingModalityWarning Scores thresholds_of gate_of elaborate PUBLISHED HEARD NOTE PUBLISHED_LABELS RELEASED "
                "read_array read_note open_published export_published harvest summary TokenMap main")])
def test_a_module_gives_the_names_of_the_parts_it_is_made_of(module, names):
    pytest.importorskip("PIL"), pytest.importorskip("pyarrow")
    assert not [n for n in names.split() if not hasattr(getattr(valor_lab, module), n)]

@pytest.mark.parametrize("printed,status,wanted,counts", [
    ("- Completed a\n- Completed b\nSuccess.", 0, 2, (2, 0)), ("- Completed a\n- Completed b\nnbdev Tests Failed On The Following Notebooks:\n==\n\tb.ipynb", 1, 2, (1, 1)),
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
    assert "no route" in browser(lambda name: name if name == "apt-get" else None, lambda: True, lambda command, **options: subprocess.CompletedProcess(command, 100, "Err\nno route"))

def test_the_version_is_the_same_wherever_it_stands():
    assert f"version = {valor_lab.__version__}\n" in (ROOT/"settings.ini").read_text()

def test_importing_the_package_loads_neither_torch_nor_pandas():
    code = "import sys, valor_lab; print([m for m in ('torch', 'pandas', 'numpy', 'matplotlib', 'open_clip', 'laion_clap') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == "[]"

def test_labels_and_metrics_work_with_the_base_install_alone():
    code = """
import sys
for m in ("torch", "matplotlib", "scipy", "av", "pyarrow", "soxr", "plotly", "ipywidgets", "fastcore", "nbdev"): sys.modules[m] = None
import valor_lab, numpy as np
w = valor_lab.labels.WeakLabels(["a", "b"], np.eye(2, 25))
print(valor_lab.metrics.avvp_scores(w.copied(), w.copied())["segment/type"])
try: valor_lab.models
except ImportError as e: print(e)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.stdout.splitlines()[0] == "100.0" and "valor_lab[models]" in out.stdout, out.stdout + out.stderr[-600:]

def test_a_command_says_in_one_line_what_is_not_installed():
    code = "import sys; sys.modules['torch'] = None; sys.argv = ['/x/valor_parse', '--help']; from valor_lab.core import valor_parse; sys.exit(valor_parse())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 2 and out.stderr == "valor_parse: this needs 'torch', which is not installed: pip install 'valor_lab[models]'\n", out.stderr

@pytest.mark.parametrize("path", sorted((ROOT/"nbs").rglob("*.ipynb")), ids=lambda p: p.stem)
def test_a_notebook_says_its_kernel_and_holds_no_path_of_a_machine(path):
    nb = json.loads(path.read_text())
    assert nb["metadata"]["kernelspec"]["name"] == "python3" and "widgets" not in nb["metadata"]
    assert not re.search(r"/(home|root|Users)/\w|site-packages|/tmp/\w", json.dumps([c.get("outputs", []) for c in nb["cells"]]))
    assert path.stat().st_size < 3_000_000

@pytest.mark.parametrize("path", sorted((ROOT/"nbs"/"api").glob("*.ipynb")), ids=lambda p: p.stem)
def test_each_library_notebook_exports_the_module_of_its_name_and_asserts_something(path):
    cells = ["".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    assert f"#| default_exp {re.sub(r'^[0-9]+[a-z]?_', '', path.stem)}" in cells and any("assert " in c for c in cells)

def test_the_captions_and_thresholds_are_the_published_ones():
    assert LLP.clip_captions[LLP.index("Vacuum_cleaner")] == "A photo of a vaccum cleaner." and LLP.clip_captions[LLP.index("Acoustic_guitar")] == "A photo of a acoustic guiter."
    assert LLP.clap_captions[LLP.index("Frying_(food)")] == "This is a sound of frying (food)"
    assert LLP.clip_thresholds.tolist() == [20, 15, 18, 14, 15, 18, 18, 15, 15, 15, 15, 18, 15, 15, 15, 15, 15, 15, 15, 16, 14, 15, 15, 15, 18]
    assert LLP.clap_thresholds.tolist() == [0, 0, 1, 4, 6, -2, 4, 4, 2, 2, 2, 1, 2, 3, 0, 2, 2, 2, 0, 2, -1, 2, 3, 3, 0]
    assert "vaccum" not in "".join(LLP_CORRECTED.clip_captions) and LLP_CORRECTED.events == LLP.events

def test_ave_has_28_events_in_the_order_of_its_file(data):
    assert tuple(dict.fromkeys(line.split("&")[0] for line in (data("ave")/"Annotations.txt").read_text().splitlines())) == AVE.events and len(AVE) == 28
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
    df = pd.read_csv(ROOT/"data"/"published_results.csv", keep_default_na=False)
    w = WeakLabels(["a"], np.eye(1, 25)).copied()
    valor = df[(df.method == "VALOR") & (df.source == "VALOR Table 1")].set_index("metric")["value"]
    assert set(valor.index) == set(avvp_scores(w, w)) and valor["segment/type"] == 62.0
    assert (df.remark != "").sum() > 100 and df["value"].between(0, 100).all()
