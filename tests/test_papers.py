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
