"""The notebooks that people and papermill run: their parameters, and what they leave on the disk."""
import json
from pathlib import Path

import pytest

from valor_lab.core import ParameterError
from valor_lab.training import check_parameters, report_folder

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT/"nbs").glob("*.ipynb"))

def cells(path):
    "The parameters cell, and the cell that checks them."
    code = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    own = next("".join(c["source"]) for c in code if "parameters" in c["metadata"].get("tags", []))
    return own, next((line for c in code for line in "".join(c["source"]).splitlines() if "check_parameters(" in line), "")

@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_misspelt_parameter_is_refused_and_every_parameter_is_known(path):
    own, check = cells(path)
    valid = check.partition('globals().get("In", []), "')[2].partition('"')[0]
    names = {}
    exec(own, names)
    assert set(valid.split()) == set(names) - {"__builtins__"}
    check_parameters([own, f"# Parameters\n{valid.split()[0]} = 'x'\n"], valid)
    with pytest.raises(ParameterError, match="parameter='datset' is not known"): check_parameters([own, "# Parameters\ndatset = 'own'\n"], valid)

@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_writes_its_report_into_a_folder_of_its_own(path):
    text = "".join("".join(c["source"]) for c in json.loads(path.read_text())["cells"])
    assert "report-" not in text and ("keep_table(" not in text and "keep_figure(" not in text or "report_folder(" in text)

def test_two_executions_never_share_a_report_and_none_is_written_over(tmp_path, monkeypatch):
    import time
    monkeypatch.setattr(time, "strftime", lambda *a: "20261127-120000")              # within one second
    made = [report_folder("train-demo-small", root=tmp_path) for _ in range(3)]
    assert [p.name for p in made] == ["train-demo-small-20261127-120000", "train-demo-small-20261127-120000-2", "train-demo-small-20261127-120000-3"]
    (tmp_path/"mine").mkdir(), (tmp_path/"mine"/"train.ipynb").touch()
    assert report_folder("x", tmp_path/"mine") == tmp_path/"mine"                    # the executed notebook may lie there already
    (tmp_path/"mine"/"scores.csv").touch()
    with pytest.raises(ParameterError, match="holds a report already"): report_folder("x", tmp_path/"mine")
    with pytest.raises(ParameterError): report_folder("../up", root=tmp_path)
