"""Jobs live without their starter, end when told to, and say how they ended."""
import json, os, subprocess, sys

import nbformat
import pytest

pytest.importorskip("papermill")
from valor_lab.core import ParameterError
from valor_lab.workbench import Job, guardian, list_jobs, launch


@pytest.fixture
def nap(tmp_path):
    cells = [nbformat.v4.new_code_cell("seconds = 0", metadata=dict(tags=["parameters"])), nbformat.v4.new_code_cell("import time, os; print(os.environ.get('JPY_SESSION_NAME'), os.environ.get('IN_TEST')); time.sleep(seconds)")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=dict(kernelspec=dict(name="python3", display_name="Python 3", language="python"))), tmp_path/"nap.ipynb")
    return tmp_path/"nap.ipynb"


def test_a_job_outlives_its_starter_is_found_again_and_stopped(nap, tmp_path):
    code = "import sys; from valor_lab.workbench import launch; launch(sys.argv[1], {'seconds': 600}, 'long', sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, str(nap), str(tmp_path/"jobs")], check=True, env=dict(os.environ, JPY_SESSION_NAME="a", IN_TEST="1"))
    job = Job(tmp_path/"jobs/long")
    assert list_jobs(tmp_path/"jobs").state.tolist() == ["running"]
    family = guardian(job.about).children(recursive=True)
    job.stop()
    assert job.state == "stopped" and guardian(job.about) is None and not any(p.is_running() and p.status() != "zombie" for p in family)
    with pytest.raises(ParameterError): launch(nap, {}, "long", tmp_path/"jobs")


def test_a_failure_keeps_its_log_and_a_vanished_job_is_lost(nap, tmp_path):
    bad = launch(nap, dict(seconds="soon"), "bad", tmp_path/"jobs")
    assert bad.wait(240) == "failed" and "TypeError" in bad.log()
    assert "None None" in (bad.path/"nap.ipynb").read_text()        # neither a front end nor a test, as far as the notebook can tell
    about = json.loads((bad.path/"job.json").read_text())
    for k in ("end", "ended", "code"): del about[k]
    (bad.path/"job.json").write_text(json.dumps(about))
    assert bad.state == "lost"


def test_bad_names_and_missing_notebooks_are_refused(nap, tmp_path):
    with pytest.raises(ParameterError): launch(nap, {}, "../up", tmp_path)
    with pytest.raises(ParameterError): launch(tmp_path/"none.ipynb", {}, "x", tmp_path)


def test_jobs_without_a_name_get_names_of_their_own(nap, tmp_path):
    two = [launch(nap, dict(seconds=600), folder=tmp_path/"jobs") for _ in range(2)]
    assert len({j.name for j in two}) == 2 and all(j.name.startswith("nap-") for j in two)
    for j in two: j.stop()
    assert list_jobs(tmp_path/"jobs").state.tolist() == ["stopped"]*2
