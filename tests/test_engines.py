"Engines: pieces of work go where they are told, come back in order, survive their processes, and refuse in one sentence."
import json, os, signal, stat, subprocess, sys, time
from pathlib import Path

import pytest

from valor_lab import engines, nodes
from valor_lab.core import ParameterError
from valor_lab.engines import WorkFailed, check_engine, find_engine, private_folder, run_all

HERE = Path(__file__).parent


@pytest.fixture
def work(tmp_path, monkeypatch):
    "A module that only its path makes known, as a user's own would be."
    (tmp_path/"piece_of_work.py").write_text(
        "import os, pathlib, signal\n"
        "def square(n): print('noise'); return n*n\n"
        "def pid(n): return os.getpid()\n"
        "def die_once(folder, n):\n"
        "    p = pathlib.Path(folder)/f'seen{n}'\n"
        "    if not p.exists(): p.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return n\n"
        "def die(n): os.kill(os.getpid(), signal.SIGKILL)\n"
        "def fail(n):\n"
        "    if n == 1: raise ZeroDivisionError('by one')\n"
        "    return n\n"
        "def threads(n): return os.environ['OMP_NUM_THREADS']\n"
        "def nap(folder, n):\n"
        "    (pathlib.Path(folder)/f'{n}-{os.getpid()}').touch(); __import__('time').sleep(600)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(HERE.parent)]))
    return tmp_path


@pytest.mark.parametrize("engine", ["local", "local:processes=2", "slurm:cluster=debug", "slurm:cluster=local"])
def test_results_come_back_in_order_whatever_the_engine(work, engine):
    if engine.startswith("slurm"): pytest.importorskip("submitit")
    assert run_all("piece_of_work:square", [dict(n=n) for n in range(5)], engine, work/"logs") == [0, 1, 4, 9, 16]


def test_workers_are_other_processes_and_keep_to_their_threads(work):
    found = run_all("piece_of_work:pid", [dict(n=n) for n in range(6)], "local:processes=2")
    assert os.getpid() not in found and 1 <= len(set(found)) <= 2
    assert run_all("piece_of_work:threads", [dict(n=0)], "local:processes=1,cpus=3") == ["3"]


def test_what_a_killed_process_had_in_hand_is_done_again(work):
    assert run_all("piece_of_work:die_once", [dict(folder=str(work), n=n) for n in range(4)], "local:processes=2") == [0, 1, 2, 3]


def test_work_that_always_kills_its_process_fails_alone(work):
    with pytest.raises(WorkFailed, match="was killed 3 times"): run_all("piece_of_work:die", [dict(n=0)], "local:processes=1")


def test_a_worker_that_cannot_even_begin_is_said_however_much_it_was_to_be_told(work, monkeypatch):
    dead = lambda cpus: subprocess.Popen([sys.executable, "-c", ""], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    monkeypatch.setattr(engines, "_worker", dead)
    with pytest.raises(WorkFailed, match="was killed 3 times"): run_all("piece_of_work:square", [dict(n="x"*1_000_000)], "local:processes=1")


def test_ctrl_c_ends_the_workers_and_no_work_is_begun_again(work):
    psutil = pytest.importorskip("psutil")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"   # whoever runs the tests in the background has them deaf to it
    code += f"from valor_lab.engines import run_all; run_all('piece_of_work:nap', [dict(folder={str(work)!r}, n=n) for n in range(5)], 'local:processes=2')"
    p = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stderr=subprocess.PIPE, text=True)
    while len(begun := list(work.glob("[0-9]-*"))) < 2 and p.poll() is None: time.sleep(.05)
    os.killpg(p.pid, signal.SIGINT)                                                # as a terminal does: to all of them
    try: said = p.communicate(timeout=120)[1]
    finally: p.kill()
    assert said.count("Traceback") == 1 and "KeyboardInterrupt" in said.splitlines()[-1], said
    assert {*work.glob("[0-9]-*")} == {*begun}
    alive = lambda pid: psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    assert not [q for q in begun if alive(int(q.name[2:]))]


def test_jobs_that_are_stopped_by_hand_are_taken_back(work, monkeypatch):
    submitit = pytest.importorskip("submitit")
    def stop(job): raise KeyboardInterrupt
    monkeypatch.setattr(engines, "_result_of", stop)
    taken = []
    monkeypatch.setattr(submitit.local.debug.DebugJob, "cancel", lambda self, check=True: taken.append(self.job_id))
    with pytest.raises(KeyboardInterrupt): run_all("piece_of_work:square", [dict(n=n) for n in range(3)], "slurm:cluster=debug", work/"logs")
    assert len(taken) == 2 and not list(work.glob("logs/*/*.pkl"))                  # one had ended


def test_work_done_here_leaves_this_process_as_it_was(work, monkeypatch):
    monkeypatch.delenv("VALOR_ROOT", raising=False)
    for engine in ("local", "slurm:cluster=debug") if engines.importlib.util.find_spec("submitit") else ("local",):
        run_all("piece_of_work:square", [dict(n=2)], engine, work/"logs")
        assert "VALOR_ROOT" not in os.environ


def test_one_failure_takes_no_other_work_with_it_and_is_named(work):
    for engine in ("local", "local:processes=2"):
        with pytest.raises(WorkFailed, match="1 of 3 pieces of work failed, the others are done; number 2: ZeroDivisionError: by one"):
            run_all("piece_of_work:fail", [dict(n=n) for n in range(3)], engine)


@pytest.mark.parametrize("said,why", [
    ("rya", "engine='rya' is not known"), ("local:procesess=2", "is not known"), ("local:processes=many", "expected a whole number"),
    ("local:processes=-1", "expected 0 or more"), ("slurm:cpus=0", "expected 1 or more"), ("slurm:cluster=moon", "is not known"),
    ("local:processes=2,processes=3", "processes stands there twice"), ("ray:here:1,address=there:1", "address stands there twice")])
def test_a_wrong_engine_is_refused_in_one_sentence(said, why):
    with pytest.raises(ParameterError, match=why) as e: find_engine(said)
    assert "\n" not in str(e.value)


def test_a_wrong_engine_of_a_workspace_is_said_with_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    assert find_engine().name == "local"
    (tmp_path/"valor.toml").write_text("engine = 'local:processes=2'")
    assert find_engine("").processes == 2
    (tmp_path/"valor.toml").write_text("engine = 'rya'")
    with pytest.raises(ParameterError, match="valor.toml.*engine='rya' is not known"): find_engine(None)
    (tmp_path/"valor.toml").write_text("engine = ''")
    assert find_engine().here


def test_what_is_not_there_is_said(monkeypatch):
    with pytest.raises(ParameterError, match="no cluster answers at 127.0.0.1:9"): check_engine("ray:127.0.0.1:9")
    with pytest.raises(ParameterError, match="expected HOST:PORT"): check_engine("ray:somewhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ParameterError, match="there is no `sbatch`"): check_engine("slurm")
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    for name in ("ray", "slurm"):
        with pytest.raises(ParameterError, match=r"pip install 'valor_lab\[cluster\]'"): check_engine(name)


def test_work_that_is_no_name_is_refused_before_it_starts():
    with pytest.raises(ParameterError, match="named by text and numbers alone"): run_all("math:sqrt", [dict(x=object())])


def test_the_folder_in_which_pickles_lie_is_private_and_left_without_them(work):
    pytest.importorskip("submitit")
    run_all("piece_of_work:square", [dict(n=2)], "slurm:cluster=debug", work/"logs")
    (folder,) = (work/"logs").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((work/"logs").stat().st_mode) == 0o700 and not list(folder.glob("*.pkl"))
    (work/"link").symlink_to(work)
    with pytest.raises(ParameterError, match="not a folder of yours"): private_folder(work/"link")


def test_a_machine_of_slurm_without_the_package_is_said_at_once(work, monkeypatch):
    pytest.importorskip("submitit")
    (work/"bare").mkdir()
    (work/"bare"/"valor_lab.py").write_text("raise ModuleNotFoundError(\"No module named 'valor_lab'\")\n")
    monkeypatch.setenv("PYTHONPATH", str(work/"bare"))                              # what a job's machine finds
    monkeypatch.chdir(work)
    with pytest.raises(WorkFailed, match="cannot run where it was sent: .*No module named 'valor_lab'; install it there") as e:
        run_all("posixpath:basename", [dict(p="a/b")], "slurm:cluster=local", work/"logs")
    assert "\n" not in str(e.value) and len(list((work/"logs").iterdir())) == 1 and len(list(work.glob("logs/*/*_log.err"))) == 1


FAKE = """#!/bin/sh
cp "$1" "{folder}/directives.sh"
echo "Submitted batch job 4711"
"""

def test_the_directives_of_slurm_are_what_was_asked_for(tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit")
    for name in ("sbatch", "srun"):
        (tmp_path/name).write_text(FAKE.format(folder=tmp_path))
        (tmp_path/name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    engine = check_engine("slurm:partition=gpu,account=lab,minutes=90,cpus=8,memory_gb=32,gpus=1,jobs=4")
    executor = submitit.AutoExecutor(private_folder(tmp_path/"logs"), cluster="slurm")
    executor.update_parameters(**engines.slurm_parameters(engine, 100))
    executor.submit(engines.answer, "math:sqrt", "{}")
    said = (tmp_path/"directives.sh").read_text()
    for line in ("--partition=gpu", "--account=lab", "--time=90", "--cpus-per-task=8", "--mem=32GB", "--gpus-per-node=1"):
        assert f"#SBATCH {line}" in said, line


def test_opening_the_library_or_asking_for_an_engine_loads_neither_ray_nor_submitit():
    code = ("import sys, valor_lab, valor_lab.engines as e, valor_lab.training, valor_lab.harvest; e.find_engine('ray'); "
            "e.run_all('math:sqrt', [dict()][:0]); print([m for m in ('ray', 'submitit', 'torch') if m in sys.modules])")
    env = dict(os.environ, PYTHONPATH=str(HERE.parent))
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env).stdout.strip() == "[]"


def test_runs_trained_by_an_engine_have_the_weights_of_one_after_the_other(tmp_path, monkeypatch):
    "What travels is text; the processes themselves are tried above and by benchmarks/engines.py."
    torch = pytest.importorskip("torch")
    from valor_lab.training import Splits, override, plan_runs, plans, recipes, toy_set, train_all
    sets = dict(train=toy_set(48, 1), val=toy_set(24, 2), test=toy_set(24, 3))
    monkeypatch.setattr(recipes, "load_splits", lambda dataset, root, size, features, labels: sets)
    asked = []
    def run_here(function, calls, engine, folder, gpus, told):
        asked.extend(calls)
        return [engines.call(function, json.loads(json.dumps(c))) for c in calls if told(1) is None]
    monkeypatch.setattr(plans, "run_all", run_here)
    plan = {n: (override(c, dict(epochs=2)), m) for n, (c, m) in plan_runs("han,valor", "demo", "tiny").items()}
    how = dict(seeds=(0, 1), name="toy", device="cpu", progress=False)
    splits = Splits("demo", tmp_path, "tiny")
    one = train_all(plan, splits, tmp_path/"one", **how)
    many = train_all(plan, splits, tmp_path/"many", engine="local:processes=2", **how)
    assert len(asked) == 4 and {c["source"]["dataset"] for c in asked} == {"demo"}
    for n in one:
        for a, b in zip(one[n], many[n]):
            x, y = a.model().state_dict(), b.model().state_dict()
            assert a.name == b.name and all(torch.equal(x[k], y[k]) for k in x)
    train_all(plan, splits, tmp_path/"many", engine="local:processes=2", **how)
    assert len(asked) == 4                                  # what is finished is not asked for again


def test_splits_that_only_this_process_knows_are_refused_by_an_engine(tmp_path):
    pytest.importorskip("torch")
    from valor_lab.training import plan_runs, toy_set, train_all
    sets = dict(train=toy_set(8, 1), val=toy_set(8, 2), test=None)
    with pytest.raises(ParameterError, match="these splits stand in this process alone"):
        train_all(plan_runs("han", "demo", "tiny"), lambda features: sets, tmp_path, engine="local:processes=2", device="cpu")


def test_the_launcher_refuses_an_engine_that_is_not_there(tmp_path):
    pytest.importorskip("anywidget")
    from valor_lab.workbench.launcher import check_start
    fixed = dict(dataset="demo", size="tiny", data_root=str(tmp_path), out=str(tmp_path))
    with pytest.raises(ParameterError, match="no cluster answers"): check_start(fixed, "han", engine="ray:127.0.0.1:9")
    with pytest.raises(ParameterError, match="engine='rya' is not known"): check_start(fixed, "han", engine="rya")


WRONG = [("rya", "engine='rya' is not known"), ("ray:127.0.0.1:9", "no cluster answers at 127.0.0.1:9"),
         ("ray://127.0.0.1:1", "without ray://"), ("ray:127.0.0.1:9,cpus=2", "no cluster answers at 127.0.0.1:9"),
         ("slurm", "there is no `sbatch`"), ("local:processes=x", "expected a whole number")]

@pytest.mark.parametrize("engine,why", WRONG)
def test_the_commands_take_an_engine_and_refuse_a_wrong_one_before_anything_is_made(engine, why, tmp_path, monkeypatch, capsys):
    from valor_lab.cli import main
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    (tmp_path/"a.mp4").touch()
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    file = ["harvest", str(tmp_path/"a.mp4"), "--out", str(tmp_path/"out"), "--demo"]
    for words in (file, ["harvest", "demo", "--demo"], ["train", "demo"]):
        assert main([*words, "--engine", engine]) == 2
        (line,) = [l for l in capsys.readouterr().err.splitlines() if why in l]
        assert len(line) < 300
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4"]


def test_a_data_set_that_is_named_is_harvested_by_the_engine_that_is_named(monkeypatch, tmp_path, capsys):
    import pandas as pd
    from types import SimpleNamespace
    from valor_lab import cli, datasets
    asked = {}
    class Store(list):
        failures = pd.DataFrame(columns=["id", "modality", "reason"])
    monkeypatch.setattr("valor_lab.cli.harvest._set_name", lambda clips, listed: "mine")
    monkeypatch.setattr("valor_lab.cli.harvest.choose_teachers", lambda *a: (None, None))
    monkeypatch.setattr(datasets, "describe_set", lambda name: SimpleNamespace(splits={"train": ""}, vocab=[1], media=tmp_path))
    monkeypatch.setattr(datasets, "harvest_set", lambda name, *teachers, **options: asked.update(options) or Store())
    cli.main(["harvest", "mine", "--engine", "local:processes=2"])
    assert asked["engine"] == "local:processes=2"


def test_what_listens_but_is_no_ray_is_said_and_not_waited_for():
    import socket, threading
    from valor_lab.engines import _reach
    with socket.create_server(("127.0.0.1", 0)) as server:                        # takes the call and never speaks
        at = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ParameterError, match=f"no cluster answers at {at} .timed out"): _reach(at, .2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        def web():
            c, _ = server.accept()
            with c: c.recv(100), c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        threading.Thread(target=web, daemon=True).start()
        with pytest.raises(ParameterError, match="what listens there is no Ray"): _reach(f"127.0.0.1:{server.getsockname()[1]}", 5)


class FakeRay:
    "A cluster whose nodes say what they are told to say."
    class exceptions: RayError = OSError
    def __init__(self, **said): self.said = said                                  # node -> (version or None, words)
    def nodes(self): return [dict(Alive=True, NodeID=n, NodeManagerAddress=n, NodeManagerPort=1) for n in self.said]
    def remote(self, f):
        class Task:
            def options(task, scheduling_strategy, **more): task.node = scheduling_strategy; return task
            def remote(task, package): return task.node
        return Task()
    def wait(self, refs, timeout): return refs[:1], refs[1:]
    def get(self, ref):
        if isinstance(self.said[ref], Exception): raise self.said[ref]
        return self.said[ref]


def test_a_node_without_the_package_or_with_another_version_is_named_in_one_sentence(monkeypatch):
    from types import ModuleType
    from valor_lab import __version__
    for name in ("ray", "ray.util", "ray.util.scheduling_strategies"): monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["ray.util.scheduling_strategies"].NodeAffinitySchedulingStrategy = lambda node, soft: node
    good = (__version__, "n")
    nodes.check_nodes(FakeRay(a=good, b=good, went=OSError()))
    for said, why in (((None, "No module named 'valor_lab'"), "the node b:1 cannot import valor_lab .*install it there"),
                      (("0.0.1", "b"), f"the node b:1 has valor_lab 0.0.1, this machine {__version__}")):
        with pytest.raises(ParameterError, match=why) as e: nodes.check_nodes(FakeRay(a=good, b=said))
        assert "\n" not in str(e.value)


def test_every_notebook_that_trains_takes_an_engine_checks_it_first_and_uses_it():
    found = []
    for path in sorted((HERE.parent/"nbs").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        calls = [s for s in "\n".join(code).replace("\n    ", " ").splitlines() if "train_all(" in s]
        if not calls or path.name == "plugins.ipynb": continue
        given = "".join(next(c["source"] for c in cells if "parameters" in c["metadata"].get("tags", [])))
        assert 'engine = ""' in given and "ready_engine(engine or None)" in code[1], path.name
        assert all("engine=engine" in s for s in calls), path.name
        found.append(path.stem)
    assert {"train", "ablations", "methods", "papers"} <= set(found)


def test_the_launcher_starts_the_job_with_the_engine_of_the_page(tmp_path, monkeypatch):
    pytest.importorskip("anywidget")
    from valor_lab.workbench import launcher
    asked = []
    class Started:
        name, says = "job", "It waits."
    monkeypatch.setattr(launcher, "launch", lambda notebook, parameters, name, folder: asked.append((parameters, name)) or Started())
    desk = launcher.Launcher(size="tiny", root=str(tmp_path/"data"), out=str(tmp_path/"runs"))
    form = dict(do="start", preset="han", labels="", overrides="", epochs=1, seeds="0", device="cpu")
    desk._asked(None, form | dict(engine="local:processes=2"), None)
    assert asked[0][0]["engine"] == "local:processes=2" and "local:processes=2" in desk.message
    desk._asked(None, form | dict(engine=""), None)
    assert "engine" not in asked[1][0]
    desk._asked(None, form | dict(engine="ray:127.0.0.1:9"), None)
    assert len(asked) == 2 and "no cluster answers at 127.0.0.1:9" in desk.message
    assert "engine: engine.value" in (HERE.parent/"valor_lab/workbench/static/launcher.js").read_text()
