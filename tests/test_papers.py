"""Every printed number has a place in nbs/papers.ipynb, and every row we can make names a preset."""
import json, re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from valor_lab import training
from valor_lab.core import ParameterError

ROOT = Path(__file__).resolve().parent.parent
CELLS = json.loads((ROOT/"nbs"/"papers.ipynb").read_text(encoding="utf-8"))["cells"]
SHOWN = [m for c in CELLS if c["cell_type"] == "code" for m in re.findall(r'^show\("([^"]+)"\)$', "".join(c["source"]), re.M)]


def test_no_printed_row_is_without_a_section_and_no_section_without_rows():
    rows = training.published_rows()
    place = {s.source: n for n, s in training.SECTIONS.items()}
    assert set(rows.source) == set(place) and len(place) == len(training.SECTIONS)
    assert sorted(SHOWN) == sorted(training.SECTIONS) and len(SHOWN) == len(set(SHOWN))
    told = sum(int(training.paper_table(n).drop(columns="command").notna().sum().sum()) for n in SHOWN)
    assert told == len(rows.drop_duplicates(["source", "method", "metric"]))


def test_every_row_of_the_research_notes_is_in_the_table_that_is_shipped():
    "Rows as they were collected: method, data set, split, features, metric, value, source; ours spells metrics out and shortens remarks about sources."
    shipped = training.published_rows()
    count = shipped.groupby("source").size()
    assert len(shipped) == 1128 and count["VALOR Table 1"] == 130 and count["UWAV Table 1"] == 120 and count["PPL supplement Table 5"] == 133
    assert shipped.value.map(float).between(0, 100).all() and not shipped.duplicated(["source", "method", "metric", "dataset", "split", "features", "about"]).any()


def test_every_figure_of_the_papers_is_drawn_or_said_to_be_a_drawing():
    drawn = [m for c in CELLS if c["cell_type"] == "code" for m in re.findall(r'^draw\("([^"]+)"\)$', "".join(c["source"]), re.M)]
    assert sorted(drawn) == sorted(training.FIGURES) and len(drawn) == len(set(drawn))
    for name, f in training.FIGURES.items():
        assert training.figure_command(name).startswith("papermill nbs/" if f.drawn else "a drawing")
        for preset in f.presets.split(",") if f.presets else (): training.preset(preset)
        text = json.dumps(json.loads((ROOT/"nbs"/f"{f.notebook}.ipynb").read_text(encoding="utf-8"))["cells"])
        assert not f.drawn or f.drawn.removesuffix(".png") in text, name
    with pytest.raises(ParameterError, match="figure='fig9'"): training.figure_command("fig9")


def test_each_section_of_the_notebook_has_a_heading_of_its_own():
    titles = [line for c in CELLS if c["cell_type"] == "markdown" for line in "".join(c["source"]).splitlines() if line.startswith("### ")]
    assert len(titles) == len(set(titles)) >= len(SHOWN)


def test_rows_name_presets_that_exist_and_the_others_are_published_only():
    from valor_lab import tasks                                        # registers the presets of AVE and THUMOS14
    for name, s in training.SECTIONS.items():
        methods = set(training.published_rows().query("source == @s.source").method)
        assert set(s.presets) <= methods, (name, set(s.presets) - methods)
        for preset in s.presets.values(): training.preset(preset)
    t = training.paper_table("1")
    assert t.loc[("MGN", "paper"), "command"] == "published only" and '-p preset "jomold"' in t.loc[("JoMoLD", "paper"), "command"]
    with pytest.raises(ParameterError, match="table='12'"): training.section("12")


def test_papermill_trains_han_as_labeler_on_the_labels_of_a_han(tmp_path, monkeypatch):
    "VALOR, Table 2: what the run was trained on is what its own helper says within the weak labels, and not the teachers' labels."
    pm = pytest.importorskip("papermill")
    import numpy as np
    from valor_lab.datasets import load_dataset
    from valor_lab.training import find_runs, open_run, own_labels, predict
    (tmp_path/"valor.toml").write_text("")
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    pm.execute_notebook(ROOT/"nbs"/"train.ipynb", tmp_path/"out.ipynb", dict(size="tiny", preset="t2-han-labeler", seeds="0", device="cpu", report=str(tmp_path/"report")),
                        cwd=tmp_path, kernel_name="python3", progress_bar=False)
    run, = find_runs(tmp_path/"runs")
    data = load_dataset("demo", tmp_path/"data", "train", "simple", size="tiny")
    got, helper = own_labels(run), open_run(next(run.path.glob("helpers/*/config.toml")).parent)
    said = predict(helper, data, device="cpu", protocol="ungated")
    assert run.config.objective == "han-labeler" and helper.config.objective != "valor"
    for m in ("audio", "visual"):
        own = getattr(said.select(got.ids), m) & data.weak.select(got.ids).mask[:, None]
        assert np.array_equal(getattr(got, m), own) and not np.array_equal(own, getattr(data.labels.select(got.ids), m))
