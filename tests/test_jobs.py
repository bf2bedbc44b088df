"""Jobs wait for their turn, live without their starter, end when told to, and say how they ended."""
import contextlib, json, os, signal, subprocess, sys, time

import nbformat
import pandas as pd
import pytest

pytest.importorskip("papermill")
from valor_lab.core import ParameterError, process
from valor_lab.workbench import Job, guardian, list_jobs, launch
from valor_lab.workbench import jobs


@pytest.fixture
def nap(tmp_path, monkeypatch):
    monkeypatch.setenv("VALOR_JOBS", "4")
    cells = [nbformat.v4.new_code_cell("seconds = 0", metadata=dict(tags=["parameters"])), nbformat.v4.new_code_cell("import time, os; print(os.environ.get('JPY_SESSION_NAME'), os.environ.get('IN_TEST')); time.sleep(seconds)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=dict(name="python3", display_name="Python 3", language="python"))), tmp_path/"nap.ipynb")
    yield tmp_path/"nap.ipynb"
    for j in (Job(p.parent) for p in (tmp_path/"jobs").glob("*/job.json")):
        try: j.stop()
        except ParameterError: pass

@pytest.fixture
def asleep(nap, monkeypatch):
    "Jobs whose guardian sleeps instead of running papermill: what is tested is the queue."
    real = subprocess.Popen
    def popen(command, **kw): return real([sys.executable, "-c", "import time; time.sleep(600)"] if "valor_lab.workbench.jobs" in command else command, **kw)
    monkeypatch.setattr(jobs.subprocess, "Popen", popen)
    return nap

def members(job): return jobs.family(job.about["token"])[job.about["token"]]

def until(what, seconds=120):
    end = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < end: time.sleep(.1)
    return found


def commands(job):
    "The commands of a job's processes, as far as they have not just ended."
    for p in members(job):
        with contextlib.suppress(jobs.psutil.Error): yield p.cmdline()


def test_a_process_that_ends_while_it_is_looked_at_is_none(monkeypatch):
    class Gone:
        pid = -1
        def environ(self): return {jobs.TOKEN: "t"}
        def status(self): raise jobs.psutil.NoSuchProcess(self.pid)
    class Here(Gone):
        def status(self): return jobs.psutil.STATUS_RUNNING
    monkeypatch.setattr(jobs.psutil, "process_iter", lambda: [Gone(), Here(), Gone()])
    assert [type(p) for p in jobs.family("t", "u")["t"]] == [Here]


def test_a_job_outlives_its_starter_is_found_again_and_stopped(nap, tmp_path):
    code = "import sys; from valor_lab.workbench import launch; launch(sys.argv[1], {'seconds': 600}, 'long', sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, str(nap), str(tmp_path/"jobs")], check=True, env=dict(os.environ, JPY_SESSION_NAME="a", IN_TEST="1"))
    job = Job(tmp_path/"jobs/long")
    assert list_jobs(tmp_path/"jobs").state.tolist() == ["running"]
    assert until(lambda: len(members(job)) >= 3)                             # guardian, papermill, kernel
    job.stop()
    assert job.state == "stopped" and guardian(job.about) is None and not members(job)
    with pytest.raises(ParameterError): launch(nap, {}, "long", tmp_path/"jobs")


def test_a_failure_keeps_its_log_and_a_vanished_job_is_lost(nap, tmp_path):
    bad = launch(nap, dict(seconds="soon"), "bad", tmp_path/"jobs")
    assert bad.wait(240) == "failed" and "TypeError" in bad.log()
    assert "None None" in (bad.path/"nap.ipynb").read_text()        # neither a front end nor a test, as far as the notebook can tell
    about = json.loads((bad.path/"job.json").read_text())
    for k in ("end", "ended", "code"): del about[k]
    (bad.path/"job.json").write_text(json.dumps(about))
    assert bad.state == "lost" and "goes on where it was saved" in bad.says


def test_bad_names_and_missing_notebooks_are_refused(nap, tmp_path):
    with pytest.raises(ParameterError): launch(nap, {}, "../up", tmp_path)
    with pytest.raises(ParameterError): launch(tmp_path/"none.ipynb", {}, "x", tmp_path)


def test_the_same_job_twice_is_refused_with_the_first_and_others_have_names_of_their_own(asleep, tmp_path):
    two = [launch(asleep, dict(seconds=s), folder=tmp_path/"jobs") for s in (600, 601)]
    assert len({j.name for j in two}) == 2 and all(j.name.startswith("nap-") for j in two)
    with pytest.raises(jobs.SameJob, match=f"running already, as {two[0].name}") as e: launch(asleep, dict(seconds=600), folder=tmp_path/"jobs")
    assert e.value.job.name == two[0].name and len(list_jobs(tmp_path/"jobs")) == 2
    for j in two: j.stop()
    assert list_jobs(tmp_path/"jobs").state.tolist() == ["stopped"]*2
    assert launch(asleep, dict(seconds=600), folder=tmp_path/"jobs").state == "running"          # what has ended may be done again


def test_two_who_start_the_same_job_at_once_start_it_once(asleep, tmp_path):
    code = f"""
import sys, time; sys.path.insert(0, {str(os.path.dirname(__file__))!r})
from valor_lab.workbench import jobs
real = jobs.subprocess.Popen
jobs.subprocess.Popen = lambda command, **kw: real([sys.executable, '-c', 'import time; time.sleep(600)'], **kw)
while time.time() < float(sys.argv[3]): pass
try: jobs.launch(sys.argv[1], dict(seconds=600), folder=sys.argv[2]); print('started')
except jobs.SameJob: print('same')
"""
    at = str(time.time() + 15)
    both = [subprocess.Popen([sys.executable, "-c", code, str(asleep), str(tmp_path/"jobs"), at], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sorted(p.communicate(timeout=120)[0].strip() for p in both) == ["same", "started"] and len(list_jobs(tmp_path/"jobs")) == 1


def test_jobs_wait_for_their_turn_and_go_in_order(asleep, tmp_path, monkeypatch):
    monkeypatch.setenv("VALOR_JOBS", "2")
    made = [launch(asleep, dict(seconds=n), f"j{n}", tmp_path/"jobs") for n in range(5)]
    assert [j.state for j in made] == ["running"] * 2 + ["waiting"] * 3
    made[3].stop()                                                           # it never began
    made[0].stop()
    assert [j.state for j in made] == ["stopped", "running", "running", "stopped", "waiting"]
    os.kill(made[1].about["pid"], signal.SIGKILL)                            # its guardian, here all there is of it
    assert until(lambda: list_jobs(tmp_path/"jobs").set_index("name").state.to_dict() == dict(j0="stopped", j1="lost", j2="running", j3="stopped", j4="running"))


def test_with_gpus_each_job_has_its_own(asleep, tmp_path, monkeypatch):
    monkeypatch.delenv("VALOR_JOBS")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    made = [launch(asleep, dict(seconds=n), f"j{n}", tmp_path/"jobs") for n in range(3)]
    assert [j.state for j in made] == ["running", "running", "waiting"]
    assert [until(lambda: members(j))[0].environ()["CUDA_VISIBLE_DEVICES"] for j in made[:2]] == ["3", "5"]
    made[0].stop()
    assert until(lambda: members(made[2])) and members(made[2])[0].environ()["CUDA_VISIBLE_DEVICES"] == "3"


def test_the_queue_moves_on_without_anybody_looking(nap, tmp_path, monkeypatch):
    monkeypatch.setenv("VALOR_JOBS", "1")
    made = [launch(nap, dict(seconds=0, ), "a", tmp_path/"jobs"), launch(nap, dict(seconds=0.5), "b", tmp_path/"jobs")]
    about = lambda j: json.loads((j.path/"job.json").read_text())
    assert until(lambda: all(about(j).get("end") == "finished" for j in made), 300)


def test_a_killed_guardian_leaves_an_orphan_that_holds_its_place_and_can_be_stopped(nap, tmp_path, monkeypatch):
    monkeypatch.setenv("VALOR_JOBS", "1")
    job = launch(nap, dict(seconds=600), "long", tmp_path/"jobs")
    assert until(lambda: len(members(job)) >= 3)
    guardian(job.about).kill()
    assert until(lambda: job.state == "orphaned") and "stop ends it" in job.says
    assert launch(nap, dict(seconds=601), "next", tmp_path/"jobs").state == "waiting"
    with pytest.raises(jobs.SameJob, match="orphaned already"): launch(nap, dict(seconds=600), folder=tmp_path/"jobs")
    job.stop()
    assert job.state == "stopped" and not members(job)
    assert Job(tmp_path/"jobs/next").state == "running"


def test_a_clock_that_steps_changes_no_state_and_no_order(asleep, tmp_path, monkeypatch):
    first = launch(asleep, dict(seconds=1), "first", tmp_path/"jobs")
    later = jobs.utc().replace("20", "19", 1)                                # a hundred years back
    monkeypatch.setattr(jobs, "utc", lambda: later)
    second = launch(asleep, dict(seconds=2), "second", tmp_path/"jobs")
    found = list_jobs(tmp_path/"jobs")
    assert found.name.tolist() == ["second", "first"] and found.state.tolist() == ["running"] * 2
    second.stop(), first.stop()
    assert (list_jobs(tmp_path/"jobs").seconds >= 0).all()
    assert "began" in first.about and abs(float(first.about["began"]) - time.time()) > 1e6       # not a time of the clock


def test_a_process_that_was_given_the_same_number_is_another_one(asleep, tmp_path):
    job = launch(asleep, dict(seconds=1), "a", tmp_path/"jobs")
    about = json.loads((job.path/"job.json").read_text())
    job.stop()
    (job.path/"job.json").write_text(json.dumps(about | process(os.getpid()) | dict(began="1")))
    assert job.state == "lost"


def test_a_guardian_that_was_started_twice_runs_the_job_once(nap, tmp_path):
    job = launch(nap, dict(seconds=600), "a", tmp_path/"jobs")
    assert until(lambda: len(members(job)) >= 3)
    again = subprocess.run([sys.executable, "-m", "valor_lab.workbench.jobs", str(job.path)], timeout=120)
    assert again.returncode == 0 and job.state == "running" and until(lambda: sum("papermill" in c for c in commands(job)) == 1)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"notebook": 1, "parameters": {}, "started": 7}', '{"notebook": "x", "parameters": [], "started": "2026-01-01"}', "[" * 5000, '{"notebook": "x", "parameters": {}, "started": "2026-01-01", "pid": "x", "number": "y", "end": 3}'])
def test_one_damaged_job_hides_no_other(asleep, tmp_path, text):
    launch(asleep, dict(seconds=1), "good", tmp_path/"jobs")
    (tmp_path/"jobs/bad").mkdir()
    (tmp_path/"jobs/bad/job.json").write_text(text)
    found = list_jobs(tmp_path/"jobs").set_index("name").state
    assert found["good"] == "running" and found["bad"] == "damaged"
    assert launch(asleep, dict(seconds=2), "better", tmp_path/"jobs").state == "running"


def test_a_queue_of_200_is_listed_with_few_looks_at_the_machine(asleep, tmp_path, monkeypatch):
    "What takes time is counted, not timed: one reading of each file, at most one look at all processes."
    about = dict(notebook="nap.ipynb", parameters={}, started="2026-01-01T00:00:00+00:00", path=str(asleep), root=str(tmp_path))
    for n in range(200):
        (folder := tmp_path/"jobs"/f"j{n}").mkdir(parents=True)
        (folder/"job.json").write_text(json.dumps(about | dict(number=n, token=f"{n:032x}", key=str(n), **(dict(pid=1, machine="x", began="1") if n % 3 == 0 else {}), **(dict(end="finished", ended="2026-01-01T00:00:09+00:00") if n % 3 == 1 else {}))))
    monkeypatch.setattr(jobs, "capacity", lambda: 0)
    looks, reads = [], []
    iter_, read = jobs.psutil.process_iter, jobs.read_json
    monkeypatch.setattr(jobs.psutil, "process_iter", lambda *a: looks.append(1) or iter_(*a))
    monkeypatch.setattr(jobs, "read_json", lambda *a, **k: reads.append(1) or read(*a, **k))
    found = list_jobs(tmp_path/"jobs")
    assert len(found) == 200 and len(looks) == 1 and len(reads) == 200 and found.name.tolist()[:2] == ["j199", "j198"]
    assert found.state.value_counts().to_dict() == dict(lost=67, finished=67, waiting=66)


@pytest.fixture
def launcher(asleep, tmp_path):
    pytest.importorskip("anywidget")
    from valor_lab.workbench import Launcher
    return Launcher("demo", "tiny", tmp_path/"data", tmp_path/"runs", notebook=str(asleep))

CLICK = dict(do="start", preset="han", labels="", overrides="", epochs=None, seeds="0", device="cpu")

def test_a_double_click_starts_one_job_and_leads_to_it(launcher, tmp_path):
    try:
        launcher._asked(None, CLICK, None)
        first, launcher.selected = launcher.selected, ""
        launcher._asked(None, CLICK, None)
        assert launcher.selected == first and "not started twice" in launcher.message and [j["name"] for j in launcher.jobs] == [first]
    finally: Job(tmp_path/"runs/jobs"/first).stop()

def test_what_a_page_does_not_offer_is_not_started(launcher):
    launcher._asked(None, CLICK | dict(labels="run:/etc"), None)
    assert "not among those" in launcher.message and launcher.jobs == []

@pytest.mark.parametrize("wrong, why", [
    (dict(seeds="12345678901"), "at most nine digits"), (dict(seeds="٣"), "whole numbers"), (dict(epochs=1e300), "at most 100,000"),
    (dict(device="tpu"), "expected auto, cpu or cuda"), (dict(preset="han,han"), "'han' stands there twice"),
    (dict(overrides="lr = 1e-3; lr = 1e-4"), "lr stands there twice"), (dict(overrides="seed = 5"), "a field of its own, seeds"),
    (dict(overrides="epochs = 5"), "a field of its own, epochs"), (dict(overrides="preset = 'x'"), "a field of its own, preset"),
    (dict(overrides="lr = 0"), "more than 0"), (dict(overrides="lr ="), "not a TOML file"), (dict(overrides="dropout = 1.5; lr = 1e-3"), "less than 1")])
def test_what_would_be_ignored_or_could_not_work_is_refused_with_what_to_do(wrong, why):
    from valor_lab.workbench.launcher import check_start
    with pytest.raises(ValueError, match=why): check_start(dict(dataset="demo", size="tiny", data_root="data"), **{"preset": "han", **wrong})


def test_two_overrides_stand_in_one_field_with_a_semicolon_between_them():
    from valor_lab.workbench.launcher import check_start, override_lines
    assert override_lines("lr = 3e-4; dropout = 0.2;") == "lr = 3e-4\n dropout = 0.2"
    assert override_lines("a = 'x;y'; b = \"p;\\\"q\"  # c; d") == "a = 'x;y'\n b = \"p;\\\"q\"  # c; d"
    assert override_lines(" ") == "" and override_lines("lr = 1") == "lr = 1"
    assert check_start(dict(dataset="demo", size="tiny", data_root="data"), "han", overrides="lr = 3e-4; dropout = 0.2") == [0]


def test_a_table_of_epochs_that_is_half_written_stops_no_page(tmp_path, monkeypatch):
    from types import SimpleNamespace
    from valor_lab.training import Run
    from valor_lab.workbench import launcher as l
    folder = tmp_path/"runs/han-x-s0-000000"
    folder.mkdir(parents=True)
    (folder/"config.toml").write_text('preset = "han"\nepochs = 5\n'), (folder/"data.json").write_text("{}")
    monkeypatch.setattr(l, "runs_of", lambda job, out: [Run(folder)])
    for text, found in (("epoch,loss/total,seconds\n1,2.0,0.5\n2,", [(2, .5)]), ("epoch,seconds\n1,0.5\n,\n", [(1, .5)]), ("epoch,seconds\n1,x\n", [(1, None)]),
                        ("epoch,seconds\nx,1\n", []), ("epoch\n", []), ("", []), ("\0\0", [])):
        (folder/"metrics.csv").write_text(text)
        assert [(r["epochs"], r["pace"]) for r in l.job_runs(SimpleNamespace(), tmp_path/"runs")] == found, text
        l.job_curves(SimpleNamespace(), tmp_path/"runs")


def test_while_a_start_is_checked_the_refusal_of_an_earlier_one_is_gone(launcher):
    seen = []
    launcher.observe(lambda c: seen.append(c["new"]), "message")
    for _ in range(2): launcher._asked(None, CLICK | dict(seeds="x"), None)
    refused = "seeds='x': expected whole numbers with commas between them, such as 0, 1, 2"
    assert seen == ["checking …", refused] * 2 and launcher.jobs == []

def test_the_launcher_says_what_a_lost_or_damaged_job_is_and_opens_with_200(launcher, tmp_path):
    about = dict(notebook="nap.ipynb", parameters=dict(preset="han"), started="2026-01-01T00:00:00+00:00", path="x", root=str(tmp_path), token="0" * 32)
    for n in range(200):
        (folder := tmp_path/"runs/jobs"/f"j{n}").mkdir(parents=True)
        (folder/"job.json").write_text("{" if n == 7 else json.dumps(about | dict(number=n, pid=1, machine="x", began="1")))
    (tmp_path/"runs/han-x").mkdir()
    for f in ("metrics.csv", "config.toml"): (tmp_path/"runs/han-x"/f).write_text("\0[")
    launcher.now()
    assert len(launcher.jobs) == 200 and {j["state"] for j in launcher.jobs} == {"lost", "damaged"} and "vanished without a word" in launcher.log
    launcher.selected = "j7"
    assert "cannot be read" in launcher.log and launcher.curves == []


def test_a_training_says_which_runs_it_asks_for_also_those_that_are_there_already(tmp_path, monkeypatch):
    import json
    from valor_lab.training import override, plan_runs, train_all
    from valor_lab.training.tasks import toy_set
    sets = dict(train=toy_set(24, 1), val=toy_set(12, 2), test=toy_set(12, 3))
    monkeypatch.setenv("VALOR_RUNS_FILE", str(tmp_path/"runs.json"))
    plan = {n: (override(c, {"epochs": 1}), m) for n, (c, m) in plan_runs("han", "demo", "tiny").items()}
    for seeds in ((0,), (0, 1)):                              # the second time seed 0 is there
        done = train_all(plan, lambda features: sets, tmp_path/"runs", seeds, "toy", device="cpu", progress=False)
        assert json.loads((tmp_path/"runs.json").read_text()) == [r.name for r in done["han"]]
