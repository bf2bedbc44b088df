"""The command `valor`: what it loads, how it ends, what it says; and the workspace it works in."""
import os, subprocess, sys, time, warnings
from pathlib import Path

import pytest

import valor_lab
from valor_lab import core
from valor_lab.cli import TARGETS, file_arguments, main, valor, write_workspace
from valor_lab.core import ParameterError, Settings, load_plugins, read_settings, shipped, workspace

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("init", "fetch", "harvest", "parse", "app", "doctor", "runs")

@pytest.fixture
def home(tmp_path, monkeypatch):
    "A workspace that nothing outside points at."
    monkeypatch.delenv("VALOR_ROOT", raising=False)
    monkeypatch.setattr(core, "_PLUGINS", {})
    monkeypatch.chdir(tmp_path)
    (tmp_path/"valor.toml").write_text("")
    return tmp_path

def lines(capsys): return [line for line in capsys.readouterr().err.splitlines() if not line.startswith("workspace: ")]

# ---- the command

def test_help_names_every_command_and_loads_neither_torch_nor_pandas():
    code = """
import sys
from valor_lab.cli import main
status = main(["--help"])
print([m for m in ("torch", "pandas", "av", "matplotlib", "pyarrow", "open_clip", "nbformat") if m in sys.modules], status)"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.stdout.splitlines()[-1] == "[] 0", out.stderr[-500:]
    assert all(f"\n  {c} " in out.stdout for c in COMMANDS)

@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name, capsys):
    assert main([name, "--help"]) == 0 and f"Usage: valor {name}" in capsys.readouterr().out

def test_the_version_is_told_in_any_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--version"]) == 0
    out = capsys.readouterr()
    assert out.out == f"valor_lab {valor_lab.__version__}\n" == "valor_lab 0.2.0\n" and out.err == ""

def test_what_can_be_fetched_is_what_the_library_fetches():
    from valor_lab.datasets import RELEASES
    assert set(TARGETS) == {"llp-annotations", "llp-videos", *RELEASES}

@pytest.mark.parametrize("words", [["fetch", "moon"], ["fetch", "llp-videos", "--split", "tset"], ["harvest", "--out", "s"], ["parse", "x.mp4", "--run", "none"],
                                   ["harvest", "x.mp4", "--out", "s", "--precision", "fp8"], ["app", "--port", "99999", "--no-browser"], ["app", "--theme", "pink", "--no-browser"]])
def test_a_wrong_argument_is_one_line_and_status_2(home, words, capsys):
    (home/"x.mp4").touch()
    assert main(words) == 2
    said = [line for line in lines(capsys) if line.startswith(f"valor {words[0]}: ")]
    assert len(said) == 1 and "Traceback" not in said[0]

@pytest.mark.parametrize("words, why", [
    (["--device", "tpu"], "device='tpu' is not known"), (["--device", "cuda:x"], "choose 'cpu' or 'auto'"), (["--batch", "0"], "at least 1, found 0"),
    (["--workers", "-2"], "workers must be at least 0, found -2"), (["--n-segments", "0"], "at least 1"), (["--features", "ears"], "features='ears' is not known"),
    (["--segment-seconds", "0"], "segment_seconds must be positive"), (["--alignment", "left"], "alignment='left' is not known"), (["--window", "inf"], "end somewhere, found inf s"),
    (["--window", "10", "--hop", "0"], "hop must lie between 0 and the window"), (["--hop", "5"], "hop=5 without a window")])
def test_a_harvest_refuses_what_cannot_be_meant_before_it_asks_for_weights(home, monkeypatch, words, why, capsys):
    import valor_lab.cli.harvest as room
    monkeypatch.setattr(room, "choose_teachers", lambda *a: pytest.fail("the teachers were asked for"))
    (home/"x.mp4").touch()
    assert main(["harvest", "x.mp4", "--out", "s", *words]) == 2
    assert why in lines(capsys)[-1] and not (home/"s").exists()

def test_a_harvest_of_a_data_set_refuses_what_the_file_of_the_set_says(home, monkeypatch, capsys):
    import valor_lab.cli.harvest as room
    monkeypatch.setattr(room, "choose_teachers", lambda *a: pytest.fail("the teachers were asked for"))
    (home/"data/mine").mkdir(parents=True)
    (home/"data/mine/dataset.toml").write_text('task = "avvp"\nsegment_seconds = 1.0\nmedia = "videos"\n[events.Dog]\n[splits]\ntrain = "weak.csv"\n')
    assert main(["harvest", "mine", "--window", "5", "--n-segments", "4"]) == 2
    assert "--n-segments, --window with the data set mine" in lines(capsys)[-1]

@pytest.mark.parametrize("words", [["harvest", "--out", "s", "--demo"], ["cut", "--out", "s"]])
def test_a_folder_without_a_recording_is_said_at_once(home, words, capsys):
    (home/"empty").mkdir()
    assert main([words[0], "empty", *words[1:]]) == 2 and lines(capsys)[-1] == f"valor {words[0]}: no recording lies in {home/'empty'}"
    assert not (home/"s").exists()

@pytest.mark.parametrize("words, why", [
    (["init", "file/x"], "is a file; name a folder"), (["cut", "file", "--out", "c", "--window", "inf"], "found inf s"),
    (["cut", "file", "--out", "file"], "is a file; name a folder"),
    (["fetch", "llp-annotations", "--url", "here"], "begins with http"), (["fetch", "llp-annotations", "--root", "file"], "is a file; name the data folder"),
    (["parse", "file", "--run", "none", "--window", "0"], "longer than 0 s and end somewhere"),
    (["runs", "runs", "--split", "tset"], "split='tset' is not known"), (["app", "demo", "--dataset", "llp", "--no-browser"], "name one data set"),
    (["labels", "import", "file", "--as", "a", "--set", "demo", "--kind", "none"], "--kind='none' is not known")])
def test_a_wrong_place_or_number_is_said_as_it_is(home, words, why, capsys):
    (home/"file").touch(), (home/"empty").mkdir()
    assert main(words) == 2 and why in lines(capsys)[-1]

@pytest.mark.parametrize("words", [["nothing"], ["parse", "x.mp4"], ["harvest", "--batch", "two", "--out", "s"]])
def test_a_command_that_is_not_there_or_called_wrongly_ends_with_2(words, capsys):
    assert main(words) == 2 and "Traceback" not in capsys.readouterr().err

def test_a_missing_installation_is_one_line_and_status_2():
    code = "import sys; sys.modules['torch'] = None; from valor_lab.cli import main; sys.exit(main(['parse', 'x.mp4', '--run', 'r']))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 2 and out.stderr.splitlines()[-1] == "valor parse: this needs 'torch', which is not installed: pip install 'valor_lab[models]'", out.stderr

def test_a_stopped_command_ends_with_130_and_a_fault_of_ours_keeps_its_traceback(home, monkeypatch, capsys):
    import valor_lab.datasets as door
    def stop(*a, **k): raise KeyboardInterrupt
    monkeypatch.setattr(door, "fetch_annotations", stop)
    assert main(["fetch", "llp-annotations"]) == 130 and "goes on from here" in lines(capsys)[-1]
    def fault(*a, **k): raise ZeroDivisionError
    monkeypatch.setattr(door, "fetch_annotations", fault)
    with pytest.raises(ZeroDivisionError): main(["fetch", "llp-annotations"])

def test_a_terminated_command_ends_what_it_started(home):
    code = """
import subprocess, sys, typer
from valor_lab.cli import command, main
@command("sleep", at_home=False)
def valor_sleep(): print("begun", flush=True); subprocess.call([sys.executable, "-c", "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"])
sys.exit(main(["sleep"]))"""
    p = subprocess.Popen([sys.executable, "-c", code], cwd=home, env=dict(os.environ, PYTHONPATH=str(ROOT)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not ((home/"pid").exists() and (home/"pid").read_text()) and p.poll() is None: time.sleep(.05)
    p.terminate()
    assert p.wait(60) == 130 and "valor sleep: stopped" in p.stderr.read()
    psutil = pytest.importorskip("psutil")
    try:
        child, end = psutil.Process(int((home/"pid").read_text())), time.monotonic() + 60
        while child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end: time.sleep(.05)      # not every machine buries its dead
        assert child.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess: pass

def test_files_that_begin_with_a_dash_are_taken_behind_two_dashes_and_from_a_list(home, monkeypatch, capsys):
    import valor_lab.training as door
    monkeypatch.setattr(door, "open_run", lambda folder: None)
    asked = []
    monkeypatch.setattr(door, "parse_clips", lambda run, paths, *a, **k: asked.append(paths) or (_ for _ in ()).throw(ParameterError("stop")))
    (home/"list.txt").write_text("\ufeff-b.mp4\n\n--run\n", encoding="utf-8")
    assert main(["parse", "--run", "r", "--", "-a.mp4"]) == 2 and main(["parse", "--run", "r", "--list", "list.txt", "--", "-a.mp4", "c.mp4"]) == 2
    assert asked == [home/"-a.mp4", [home/n for n in ("-a.mp4", "c.mp4", "-b.mp4", "--run")]]
    with pytest.raises(ParameterError, match="no file was named"): file_arguments([], None)

def test_the_list_may_come_from_the_pipe(monkeypatch, home):
    import io
    monkeypatch.setattr(sys, "stdin", io.StringIO("a.mp4\nb.mp4\n"))
    assert file_arguments(None, "-") == [home/"a.mp4", home/"b.mp4"]

@pytest.mark.parametrize("command", [["share"], ["parse", "--run", "r"]])
def test_a_list_that_is_no_text_is_one_line(home, monkeypatch, command, capsys):
    import io
    (home/"list").write_bytes(b"\xff\xfe\xc2x")
    assert main([*command, "--list", "list"]) == 2 and any("list: not a text" in line for line in lines(capsys))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xc2x"), encoding="utf-8"))
    assert main([*command, "--list", "-"]) == 2 and any("standard input: not a text" in line for line in lines(capsys))

def test_the_data_folder_is_no_data_set_and_a_page_is_no_file(home, capsys):
    (home/"data").mkdir(), (home/"f").touch()
    for word in ("data/", ".", str(home/"data")):
        assert main(["new", word, "--videos", ".", "--events", "Dog"]) == 2 and any("name the data set" in line for line in lines(capsys))
    assert main(["share", "a", "-o", "f"]) == 2 and any("f is a file; name a folder" in line for line in lines(capsys))

def test_the_doctor_says_that_a_named_folder_is_not_there(home, capsys):
    (home/"f").touch()
    assert main(["doctor", "--root", "nowhere", "--out", "f"]) == 1
    out = capsys.readouterr().out
    assert "nowhere does not exist" in out and "f is no folder" in out

def test_a_list_of_windows_that_is_damaged_is_said_before_anything_is_cut(home, monkeypatch, capsys):
    from valor_lab import datasets
    monkeypatch.setattr(datasets, "cut", lambda *a: pytest.fail("a window was cut"))
    (home/"c").mkdir(), (home/"c/windows.csv").write_text("name\nx\n"), (home/"x.mp4").touch()
    assert main(["cut", "x.mp4", "--out", "c"]) == 2 and any("windows.csv, line 1" in line for line in lines(capsys))

def test_the_file_of_a_set_that_is_no_text_is_one_line(home, capsys):
    (home/"data/x").mkdir(parents=True), (home/"data/x/dataset.toml").write_bytes(b"\xc2x")
    assert main(["sets", "x"]) == 2 and any("dataset.toml: not a text" in line for line in lines(capsys))

def test_a_command_says_which_workspace_it_found(home, monkeypatch, capsys):
    (home/"nbs").mkdir()
    monkeypatch.chdir(home/"nbs")
    main(["fetch", "moon"])
    assert capsys.readouterr().err.splitlines()[0] == f"workspace: {home/'valor.toml'}"
    (home/"valor.toml").unlink()
    main(["fetch", "moon"])
    assert "without valor.toml" in capsys.readouterr().err.splitlines()[0]

# ---- the workspace

def test_a_workspace_is_found_upwards_or_named(home, monkeypatch):
    (home/"data"/"deep").mkdir(parents=True)
    monkeypatch.chdir(home/"data"/"deep")
    assert workspace() == home and core.resolve("runs") == home/"runs"
    monkeypatch.setenv("VALOR_ROOT", str(home/"data"))
    assert workspace() == home/"data"

def test_the_repository_is_a_workspace(monkeypatch):
    monkeypatch.delenv("VALOR_ROOT", raising=False)
    monkeypatch.chdir(ROOT/"nbs"/"api")
    assert workspace() == ROOT and read_settings() == Settings()

def test_init_writes_a_workspace_with_every_notebook(home, capsys):
    assert main(["init", "work"]) == 0
    work = home/"work"
    assert {p.name for p in (work/"nbs").iterdir()} == {p.name for p in (ROOT/"nbs").glob("*.ipynb")} and (work/"data").is_dir() and (work/"runs").is_dir()
    assert all((work/"nbs"/p.name).read_bytes() == p.read_bytes() for p in (ROOT/"nbs").glob("*.ipynb")) and read_settings(work) == Settings()
    assert "files written" in lines(capsys)[-1]

def test_init_writes_over_nothing_unless_forced_and_never_over_valor_toml(home, capsys):
    (home/"nbs").mkdir(), (home/"nbs"/"train.ipynb").write_text("mine"), (home/"valor.toml").write_text("plugins = ['mine.py']")
    assert main(["init", "."]) == 2 and "--force" in lines(capsys)[-1]
    assert [p.name for p in (home/"nbs").iterdir()] == ["train.ipynb"] and not (home/"data").exists()
    assert main(["init", ".", "--force"]) == 0
    assert (home/"nbs"/"train.ipynb").read_text() != "mine" and (home/"valor.toml").read_text() == "plugins = ['mine.py']"
    (home/"file").touch()
    with pytest.raises(ParameterError, match="is a file"): write_workspace(home/"file")

@pytest.mark.parametrize("text,why", [("plugin = []", "key='plugin' is not known; choose one of 'plugins', 'media_folders', 'engine'"), ("plugins = 'a.py'", "plugins must be a list of names"),
                                      ("plugins = [1]", "must be a list of names"), ("engine = ['ray']", "engine must be a name"), ("engine = ", "cannot be read")])
def test_a_valor_toml_that_says_something_unknown_is_refused_with_its_path(home, text, why, capsys):
    (home/"valor.toml").write_text(text)
    with pytest.raises(ParameterError) as e: read_settings()
    assert why in str(e.value) and str(home/"valor.toml") in str(e.value)
    assert main(["fetch", "llp-videos"]) == 2 and why in lines(capsys)[-1]

def test_media_folders_are_meant_from_the_workspace(home):
    (home/"valor.toml").write_text("media_folders = ['clips', '/mnt/more']\nengine = 'ray'")
    assert read_settings() == Settings((), (home/"clips", Path("/mnt/more")), "ray")

# ---- plug-ins

def test_plugins_are_imported_once_before_a_name_is_called_unknown(home):
    (home/"valor.toml").write_text("plugins = ['mine.py']")
    (home/"mine.py").write_text("""
from dataclasses import dataclass
from pathlib import Path
from valor_lab.training import TrainConfig, preset, register_preset
Path('count').open('a').write('x')
@dataclass
class Own: a:int = 1
try: preset("not-there-either")      # asks for an unknown name while it is itself imported
except ValueError: pass
register_preset("plugged-in", TrainConfig())
""")
    pytest.importorskip("torch")
    from valor_lab.training import PRESETS, preset
    try:
        assert preset("plugged-in").objective and (home/"count").read_text() == "x"
        with pytest.raises(ParameterError): preset("not-there")
        assert (home/"count").read_text() == "x"
    finally: PRESETS.pop("plugged-in", None)

def test_a_plugin_that_fails_is_named_and_stops_nothing(home, capsys):
    (home/"valor.toml").write_text("plugins = ['bad.py', 'no_such_module_of_tomorrow', 'gone.py', 'quits.py', 'good.py']")
    (home/"bad.py").write_text("1/0"), (home/"good.py").write_text("import sys; sys.valor_good = True"), (home/"quits.py").write_text("raise SystemExit(3)")
    assert main(["fetch", "moon"]) == 2
    said = "\n".join(lines(capsys))
    assert all(f"the plug-in {p} of {home/'valor.toml'} could not be imported" in said for p in ("bad.py", "no_such_module_of_tomorrow", "gone.py", "quits.py")) and "ZeroDivisionError" in said
    assert sys.valor_good and said.count("good.py") == 0
    with warnings.catch_warnings(): warnings.simplefilter("error"); assert [bool(v) for v in load_plugins().values()] == [True] * 4 + [False]      # said once

def test_a_data_folder_runs_no_code(home, monkeypatch):
    kitchen = home/"data"/"kitchen"
    kitchen.mkdir(parents=True)
    (kitchen/"dataset.toml").write_text(""), (kitchen/"valor.toml").write_text("plugins = ['evil.py']"), (kitchen/"evil.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(kitchen)
    assert workspace() == home and load_plugins() == {}

@pytest.mark.skipif(not hasattr(os, "getuid"), reason="owners of files are a matter of POSIX")
def test_the_plugins_of_somebody_elses_valor_toml_are_run_only_if_it_is_named(home, monkeypatch):
    (home/"valor.toml").write_text("plugins = ['mine.py']"), (home/"mine.py").write_text("")
    mine = (home/"valor.toml").stat().st_uid
    if mine == 0:                                   # as root: give the file away
        os.chown(home/"valor.toml", 12345, -1)
    else: monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    with pytest.warns(UserWarning, match="belongs to another user"): load_plugins()
    monkeypatch.setattr(core, "_PLUGINS", {})
    monkeypatch.setenv("VALOR_ROOT", str(home))
    assert [*load_plugins().values()] == [""]

def test_the_published_results_are_in_the_package_and_nowhere_else():
    assert shipped("published_results.csv").parent.name == "valor_lab" and not [p for d in ("valor_lab", "nbs", "docs", "data", "benchmarks") for p in (ROOT/d).rglob("published_results.csv") if p.parent.name != "valor_lab"]
    with pytest.raises(FileNotFoundError, match="install"): shipped("no-such-file")

# ---- runs

def test_runs_are_listed_one_row_a_method_with_deviation_and_interval(home, capsys, monkeypatch):
    import numpy as np
    pytest.importorskip("torch")
    from valor_lab import training
    from valor_lab.training import override, preset, resolved
    from test_train import by_hand
    data = training.toy_set(48, 3)
    for name, wrong, seed in [("good", .02, 0), ("good", .02, 1), ("good", .02, 2), ("bad", .2, 0), ("bad", .2, 1), ("alone", .1, 0)]:
        by_hand(home/"runs"/f"{name}-s{seed}", name, wrong, seed, data)
    by_hand(home/"runs"/"copied", "good", .02, 0, data)
    assert main(["runs"]) == 0
    said = capsys.readouterr()
    rows = {line.split()[0]: line for line in said.out.splitlines() if line.startswith(("good", "bad", "alone"))}
    assert rows["good"].split()[1] == "3" and rows["bad"].split()[1] == "2" and "±" in rows["good"] and "±" not in rows["alone"] and "[" not in said.out
    assert "7 runs, 3 methods" in said.err
    from valor_lab.training import pooling
    monkeypatch.setattr(training, "truth_of", lambda *a: data.truth)
    assert main(["runs", "--against", "bad", "--scores", "event/type", "--csv", str(home/"t.csv")]) == 0
    out = capsys.readouterr().out
    assert "event/type is" in out and "above" in out and "one seed: not judged" in out and out.count("[") >= 5
    assert "segment/audio" in (home/"t.csv").read_text() and main(["runs", "--against", "nobody"]) == 2

def test_a_training_names_the_runs_that_it_asked_for_and_no_others(home, monkeypatch, capsys):
    papermill = pytest.importorskip("papermill")
    (home/"runs/valor-demo-tiny-s0-000000").mkdir(parents=True)
    asked = lambda *a, **k: Path(os.environ["VALOR_RUNS_FILE"]).write_text('["han-demo-tiny-s1-aaaaaa"]')
    monkeypatch.setattr(papermill, "execute_notebook", asked)
    monkeypatch.delenv("VALOR_RUNS_FILE", raising=False)
    assert main(["train", "demo", "--size", "tiny", "--preset", "han", "--seeds", "1"]) == 0 and "VALOR_RUNS_FILE" not in os.environ
    out, err = capsys.readouterr()
    assert out.split() == ["runs/han-demo-tiny-s1-aaaaaa"] and err.splitlines()[-1] == "next: valor parse FILES --run han-demo-tiny-s1-aaaaaa, or valor app demo"

def test_seeds_that_are_no_numbers_are_refused_before_a_notebook_starts(home, capsys):
    assert main(["train", "demo", "--size", "tiny", "--preset", "han", "--seeds", "x"]) == 2
    assert "seeds='x', expected whole numbers" in lines(capsys)[-1] and not (home/"reports").exists()

def test_the_doctor_finds_nothing_wrong_with_a_run_of_no_epochs(home, capsys):
    pytest.importorskip("torch")
    from valor_lab.training import fit, override, preset, toy_set
    small = override(preset("han"), dict(epochs=0, d_model=16, d_ff=16, n_heads=2, features="simple"))
    fit(small, toy_set(8, 1), home/"runs/scored", None, toy_set(4, 2), device="cpu", progress=False)
    main(["doctor"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.split()[1] == "run:"] == ["ok"]
