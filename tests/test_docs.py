"""What the pages say: every command is run by a test or listed with the reason, every line of Python works, every public name has its words."""
import importlib, json, re, shlex, sys, tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/"docs"/"tools"))
import drawing, gallery, licences, links, reference

PAGES = [ROOT/"README.md", ROOT/"CONTRIBUTING.md", *sorted((ROOT/"docs").glob("*.md"))]
NOT_RUN = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in (ROOT/"docs"/"commands.txt").read_text(encoding="utf-8").splitlines() if line)
RUN_BY = {                                                      # how a command begins: the test that runs it
    "valor init": "test_cli.py::test_init_writes_a_workspace_with_every_notebook",
    "valor new": "test_own.py::test_the_harvest_of_fourteen_recordings_keeps_each_with_what_it_has",
    "valor harvest --list": "test_engine_harvest.py::", "valor harvest kitchen": "test_own.py::test_the_harvest_of_fourteen_recordings_keeps_each_with_what_it_has",
    "valor app": "test_wheel.py::test_the_installed_package_makes_a_workspace_trains_in_it_and_serves_its_pages",
    "valor train": "test_own.py::test_two_corrected_segments_reach_the_training_and_elan",
    "valor labels import": "test_own.py::test_two_corrected_segments_reach_the_training_and_elan",
    "valor labels export": "test_own.py::test_two_corrected_segments_reach_the_training_and_elan",
    "valor parse": "test_own.py::test_a_new_recording_is_parsed_as_the_store_was_made",
    "valor runs": "test_cli.py::test_runs_are_listed_one_row_a_method_with_deviation_and_interval",
    "papermill nbs/train.ipynb out.ipynb -p dataset toys": "test_docs.py::test_the_plug_ins_of_the_page_can_be_used",
    "valor doctor": "test_cli.py::", "valor share": "test_browser_workbench.py::",
    "python -m pytest": "test_project.py::", "python tests/run.py core": "test_project.py::test_a_notebook_that_raises_is_counted_as_failed", "GC_STORM=1 python tests/run.py": "test_threads.py::test_every_test_can_be_asked_to_run_so", "nbdev_export": "run.py::check_clean", "make docs": "test_site.py::",
}


def fenced(path, kind):
    "The blocks of a kind in a page."
    return re.findall(rf"^```{kind}\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


def commands(path):
    "Each command of a page's blocks, without remarks; what stands beside another (`&&`) is one of its own."
    for block in fenced(path, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.sub(r"\s+#\s.*$", "", line).split("&&"):
                if part.strip() and not part.strip().startswith("#"): yield part.strip()


COMMANDS = sorted({c for p in PAGES for c in commands(p)})


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_run_by_a_test_or_listed_with_the_reason(command):
    if command.split()[0] in ("cd", "."): return
    listed = [c for c in NOT_RUN if command.startswith(c)]
    run = [t for c, t in RUN_BY.items() if command.startswith(c)]
    assert bool(listed) != bool(run), f"{command!r}: name the test that runs it in RUN_BY, or the reason in docs/commands.txt, not both"
    for t in run:
        name, _, function = t.partition("::")
        text = (ROOT/"tests"/name).read_text(encoding="utf-8")
        assert not function or f"def {function}(" in text, f"{t} is not there"


def test_what_is_listed_as_not_run_stands_in_a_page():
    assert not [c for c in NOT_RUN if not any(command.startswith(c) for command in COMMANDS)] and all(NOT_RUN.values())


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("valor ")])
def test_a_command_of_the_pages_is_understood_as_it_stands(command, tmp_path, monkeypatch):
    from typer.main import get_command
    from valor_lab.cli import open_rooms, valor
    open_rooms()
    monkeypatch.chdir(tmp_path)
    group, words = get_command(valor), [re.sub("^~", str(tmp_path), w) for w in shlex.split(command)[1:]]
    while hasattr(group, "commands"):
        name = words.pop(0)
        assert name in group.commands, f"there is no {name} in {command!r}"
        group = group.commands[name]
    group.make_context(name, words).close()                     # parsed and checked, and not called


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("papermill ")])
def test_a_papermill_command_names_a_notebook_and_parameters_that_it_has(command):
    from valor_lab.training import list_presets
    words = shlex.split(command)
    cells = json.loads((ROOT/words[1]).read_text(encoding="utf-8"))["cells"]
    own = {}
    exec("".join(next(c for c in cells if "parameters" in c["metadata"].get("tags", []))["source"]), own)
    given = {words[i + 1]: words[i + 2] for i, w in enumerate(words) if w == "-p"}
    assert set(given) <= set(own), f"{words[1]} has no {sorted(set(given) - set(own))}"
    known = set(list_presets().index)
    assert not [p for p in given.get("preset", "").split(",") if p and not p.startswith("published:") and p not in known]


def test_the_ten_lines_give_what_the_pages_say(data, monkeypatch, capsys):
    "On LLP's own annotations."
    folder = data("llp")
    monkeypatch.setenv("VALOR_TEST_DATA", str(folder.parent))
    from valor_lab import datasets
    read = datasets.read_split
    for page in (ROOT/"README.md", ROOT/"docs"/"start.md"):
        block, = [b for b in fenced(page, "python") if "fidelity" in b]
        space = {}
        exec(block.replace('read_split("llp", "test")', f'read_split("llp", "test", {str(folder.parent)!r})'), space)
        said = capsys.readouterr().out
        printed = next(b for b in fenced(page, "text") + fenced(page, "") if "79.35" in b)
        assert eval(printed.splitlines()[0]) == pytest.approx(eval(said.splitlines()[0]), abs=1e-9)


def test_the_plug_ins_of_the_page_can_be_used(registries):
    space = {}
    from valor_lab import datasets, methods, models
    for block in fenced(ROOT/"docs"/"extend.md", "python"): exec(block, space)
    assert len(datasets.load_dataset("toys", split="train").ids) == 24 and "weak-only" in methods.list_objectives().index and "narrow" in models.backbones().index
    from valor_lab.training import TrainConfig, override
    asked = [shlex.split(c)[-1] for c in commands(ROOT/"docs"/"extend.md")]
    assert [override(TrainConfig(), a) for a in asked] and len(asked) == 2


def test_every_block_of_toml_is_toml():
    for p in PAGES:
        for block in fenced(p, "toml"): tomllib.loads(block)


# the reference

WINGS = reference.wings()


@pytest.fixture(scope="module")
def ref(): return reference.reference()


@pytest.mark.parametrize("wing", WINGS)
def test_the_reference_holds_every_name_of_every_door(wing, ref):
    assert sorted(e.path.rpartition(".")[2] for e in ref[wing]) == sorted(importlib.import_module(f"valor_lab.{wing}").__all__)


def test_the_reference_reads_a_signature_as_python_does(ref):
    import inspect
    from valor_lab import metrics
    for e in ref["metrics"]:
        if e.kind == "function": assert [p.name.lstrip("*") for p in e.parameters] == list(inspect.signature(getattr(metrics, e.name)).parameters), e.name


def test_every_public_name_has_a_docstring_and_every_array_a_shape(ref):
    found = [f"{where}: {what}" for where, what in reference.gaps(ref)]
    assert not found, "\n".join(found)


def test_the_reference_is_written_for_the_words_of_the_source(tmp_path):
    (tmp_path/"valor_lab"/"w").mkdir(parents=True)
    (tmp_path/"valor_lab"/"w"/"__init__.py").write_text('"A wing."\nimport lazy_loader\n__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=dict(a=["f", "K", "C"], b=["g"]))\n')
    (tmp_path/"valor_lab"/"w"/"b.py").write_text("from .a import g\n")
    (tmp_path/"valor_lab"/"w"/"a.py").write_text('K = 3   # how many\nclass C:\n    "A thing."\n    x:int = 1   # its size\n@patch\ndef grow(self:C, by:int=1):\n    "Grow."\n'
        'def f(\n    a,              # scores [N,T], *any*\n    b:int=2,        # how many\n    *, c=None,      # else\n) -> int:            # a number\n    "Do it."\ndef g(): pass\n')
    for room in reference.GROUND: (tmp_path/"valor_lab"/f"{room}.py").write_text("__all__ = []\n")
    by = {e.name: e for e in reference.reference(tmp_path)["w"]}
    assert [(p.name, p.comment) for p in by["f"].parameters] == [("a", "scores [N,T], *any*"), ("b", "how many"), ("c", "else")] and by["f"].returns.comment == "a number"
    assert by["K"].doc == "how many" and by["C"].members[0].name == "grow" and by["C"].parameters[0].comment == "its size" and not by["g"].doc
    assert ("valor_lab.w.g", "function without a docstring") in list(reference.gaps(reference.reference(tmp_path)))
    page = reference.pages(tmp_path)["w.md"]
    assert ":param a: scores \\[N,T\\], \\*any\\*" in page and "{py:function} valor_lab.w.f(a, b: int = 2, c=None) -> int" in page


# drawings and figures

def test_the_house_is_drawn_from_the_imports_and_the_same_twice():
    svg = drawing.house()
    uses = drawing.uses()
    assert svg == drawing.house() and ("training", "metrics") in uses and ("metrics", "training") not in uses
    assert all(f">{name}</text>" in svg for floor in drawing.floors() for name in floor)


def test_every_figure_has_a_place_in_the_gallery():
    there = gallery.examples()
    assert len(names := gallery.drawing_names()) > 12 and not [e.name for e in names if e.name not in there]


def test_a_link_without_an_end_and_a_thing_from_elsewhere_are_found(tmp_path):
    (tmp_path/"b.html").write_text('<p id="here">x</p>')
    (tmp_path/"index.html").write_text('<a href="b.html#here"></a><a href="b.html#gone"></a><a href="c.html"></a><a href="https://example.org">out</a><img src="https://example.org/x.png"><script src="//cdn.example.org/x.js"></script>')
    (tmp_path/"x.css").write_text("@import url('https://example.org/font.css');")
    found = list(links.faults(tmp_path))
    assert len(found) == 5 and sum("loads" in f for f in found) == 3 and sum("gone" in f for f in found) == 1
    assert links.clicks(tmp_path)["b.html", "here"] == 1 and ("c.html", "") not in links.clicks(tmp_path)


def test_the_licence_of_every_package_that_is_needed_is_listed():
    page = (ROOT/"docs"/"licences.md").read_text(encoding="utf-8")
    listed = {licences.plain(n) for n in re.findall(r"^\| ([\w.-]+) \| [^|]+\|", page, re.M)}
    gone = sorted(set(licences.wanted()) - listed)
    assert not gone, f"python docs/tools/licences.py > docs/licences.md: it lacks {gone}"
    assert "x264 (GPL" in page and "x265 (GPL" in page and len(listed) > 200


# the pages as they stand in the repository

@pytest.mark.parametrize("path", [p for p in PAGES if p.name != "index.md"], ids=lambda p: p.stem)
def test_links_between_files_of_the_repository_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    there = lambda t: (path.parent/t).exists() or path.parent.name == "docs" and t.startswith(("_static/", "reference/", "gallery"))
    assert not [t for t in re.findall(r"\]\(([^)#\s]+)", text) if not re.match(r"[a-z]+:", t) and not there(t)]


def test_the_gallery_shows_the_lines_that_draw_and_no_assertions():
    cell = 'a = 1   # kept\nf = bars(a)\nleft, right = (x.title for x in f.axes)\nassert left == right\ntry: bars(None)\nexcept KeyError as e: print(e)\nf'
    assert gallery.to_copy(cell, "bars") == "a = 1   # kept\nf = bars(a)\nf"
    assert gallery.to_copy("f = bars(1)\nassert f", "bars") == "f = bars(1)"
    assert gallery.to_copy("assert bars(1)", "bars") == "assert bars(1)", "the only line that draws stays"
