"""The house: which room may import from which. Every import is seen, at the top of a file and inside functions, relative or absolute."""
import ast, importlib, re
from pathlib import Path

import pytest

import valor_lab

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT/"valor_lab"
FLOORS = [                                                      # from the ground up; wings of one floor do not know each other
    ["core", "files", "vocab", "grid", "nodes", "engines"],
    ["labels", "media", "models"], ["metrics"], ["harvest", "methods", "plots"], ["demo", "datasets"], ["training"],
    ["tasks", "workbench"], ["cli"]]
ORDER = {                                                       # inside a wing, from the ground up
    "": FLOORS[0],
    "labels": ["labels", "overlays", "marks", "agreement"],
    "media": ["files", "packets", "decode", "clips", "copies"],
    "models": ["pooling", "options", "han", "registry", "checkpoints", "protocols", "zoo"],
    "metrics": ["avvp", "detection", "intervals", "seeds", "calibration"],
    "harvest": ["teachers", "clip", "clap", "extractors", "scores", "rows", "captions", "convert", "kept", "source", "search", "store",
                "published", "pipeline", "statistics", "thresholds", "live", "suggest", "sentences", "generator"],
    "methods": ["offers", "objectives", "changes", "flips", "removals", "prototypes", "soft", "vplan", "labeler", "bags", "networks", "evidential",
                "families"],
    "plots": ["look", "content", "scores", "changes", "literature", "curves", "lanes", "paper"],
    "demo": ["plan", "pen", "beings", "machines", "instruments", "figures", "sounds", "scenes", "simple", "render", "teachers"],
    "datasets": ["fetch", "tables", "description", "labelings", "features", "formats", "exchange", "own", "harvesting", "dataset", "new", "maps"],
    "training": ["tasks", "config", "runs", "results", "parsing", "capture", "loop", "recipes", "plans", "comparison", "papers",
                 "records", "pooling", "together", "trials"],
    "tasks": ["heads", "places", "ave", "videos", "madeup", "tal", "unav"],
    "workbench": ["tuning", "jobs", "page", "clipset", "sources", "player", "table", "panel", "bench", "compare", "launcher", "home",
                  "gate", "server", "app", "share", "words", "annotators"],
    "cli": ["frame", "init", "fetch", "harvest", "parse", "app", "doctor", "new", "cut", "runs", "train", "labels", "share", "sets"]}
FLOOR = {name: n for n, floor in enumerate(FLOORS) for name in floor}
WINGS = [w for w in ORDER if w]


def place(path, library=LIBRARY):
    "`(wing, room)` of a file: `('harvest', 'store')`, `('harvest', '')` for its door, `('', 'core')`; a folder inside a wing is one room."
    parts = list(path.relative_to(library).with_suffix("").parts)
    if parts[-1] == "__init__": parts = [*parts[:-1], ""]
    if len(parts) == 1: return "", parts[0]
    return parts[0], parts[1]


def imports(path, library=LIBRARY):
    "`(module, name, line)` of everything a file imports from the library, as full names; `name` is None for `import module`."
    package = ["valor_lab", *path.relative_to(library).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module.split(".")[0] == "valor_lab": yield from ((module, a.name, node.lineno) for a in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, None, node.lineno) for a in node.names if a.name.split(".")[0] == "valor_lab")
        elif isinstance(node, ast.Call) and getattr(node.func, "attr",
                                                    getattr(node.func, "id", "")) in ("import_module", "__import__") and node.args:
            word = node.args[0]
            if isinstance(word, ast.Constant) and str(word.value).split(".")[0] == "valor_lab": yield word.value, None, node.lineno


def faults(path, library=LIBRARY, order=ORDER):
    "Each import of a file that the law of the house forbids, in words."
    wing, room = place(path, library)
    me = f"{wing}.{room}".strip(".")
    own = FLOOR.get(wing or room)
    for module, name, line in imports(path, library):
        parts = module.split(".")[1:]
        if not parts:                                                                    # from valor_lab import X
            if name is None or name == "__version__": continue
            parts, name = [name], None
        target, back = parts[0], parts[1] if len(parts) > 1 else ""
        where = f"{me}:{line} imports {'.'.join(parts)}{f'.{name}' if name else ''}"
        if name and name.startswith("_") and not name.startswith("__"): yield f"{where}: a private name"
        if target not in FLOOR: yield f"{where}: no floor is known for {target}"; continue
        if target == wing and wing:
            seen = back or (name if name in order[wing] else "")
            if not seen: yield f"{where}: inside its own wing a room is named"
            elif room and seen != room and order[wing].index(seen) > order[wing].index(room): yield f"{where}: upwards inside the wing"
        elif target in order[""]:
            if not wing and order[""].index(target) >= order[""].index(room): yield f"{where}: upwards"
        elif FLOOR[target] >= own: yield f"{where}: floor {FLOOR[target] + 1} from floor {own + 1}"
        elif back or name in order.get(target, ()): yield f"{where}: by the back room instead of the door of {target}"


FILES = sorted(p for p in LIBRARY.rglob("*.py") if p.name != "_modidx.py" and p != LIBRARY/"__init__.py")


def name(path): return ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_room_imports_only_downwards_and_through_doors(path):
    wing, room = place(path)
    assert not wing or not room or room in ORDER[wing], f"{wing}.{room} has no place: give it one here and in the design"
    assert not list(faults(path))


@pytest.mark.parametrize("code,why", [
    ("from ..training import fit", "floor 6 from floor 4"), ("def f():\n    from valor_lab.training import fit", "floor 6 from floor 4"),
    ("from .. import training", "floor 6 from floor 4"), ("import valor_lab.training.loop", "floor 6 from floor 4"),
    ("import importlib\nimportlib.import_module('valor_lab.workbench')", "floor 7 from floor 4"),
    ("from ..plots import forest", "floor 4 from floor 4"),
    ("from ..media.decode import read_clip", "back room"), ("from ..media import decode", "back room"),
    ("from valor_lab.media import decode as d", "back room"),
    ("from ..labels import _rows", "private name"), ("from .scores import _x", "private name"),
    ("from .pipeline import harvest", "upwards inside the wing"), ("from . import thresholds", "upwards inside the wing"),
    ("from ..harvest import elaborate", "a room is named")])
def test_a_planted_fault_is_found(tmp_path, code, why):
    (tmp_path/"harvest").mkdir()
    (path := tmp_path/"harvest"/"store.py").write_text(code)
    assert any(why in f for f in faults(path, tmp_path)), list(faults(path, tmp_path))


@pytest.mark.parametrize("code", ["from ..labels import SegmentLabels", "from .scores import Scores", "from ..core import need",
                                  "from .. import vocab", "def f():\n    from . import scores", "import numpy"])
def test_what_the_law_allows_is_allowed(tmp_path, code):
    (tmp_path/"harvest").mkdir()
    (path := tmp_path/"harvest"/"store.py").write_text(code)
    assert not list(faults(path, tmp_path))


@pytest.mark.parametrize("wing", WINGS)
def test_a_door_hands_on_names_that_exist_and_none_is_the_name_of_a_room(wing):
    door = importlib.import_module(f"valor_lab.{wing}")
    assert door.__all__ and not set(door.__all__) & set(ORDER[wing]) and not [n for n in door.__all__ if n.startswith("_")]
    assert not [n for n in door.__all__ if not hasattr(door, n)]


def test_opening_every_door_costs_no_heavy_import():
    import subprocess, sys
    code = (f"import sys, importlib; [importlib.import_module('valor_lab.' + w) for w in {WINGS!r}]; "
            "print([m for m in ('torch', 'pandas', 'numpy', 'matplotlib', 'av') if m in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout.strip() == "[]"


def test_the_order_names_every_room_and_nothing_else():
    for wing in WINGS:
        rooms = {place(p)[1] for p in FILES if place(p)[0] == wing} - {""}
        assert rooms == set(ORDER[wing]), wing


def test_each_room_has_its_notebook_and_each_wing_a_door():
    for wing in WINGS:
        names = {p.stem for p in (ROOT/"nbs"/"api"/wing).glob("*.ipynb")}
        assert "index" in names and {n.partition("_")[2] for n in names - {"index"}} == set(ORDER[wing]) - {"zoo"}, wing


def test_the_guide_links_every_door_from_the_ground_up_in_twelve_lines():
    text = (ROOT/"nbs"/"api"/"README.md").read_text()
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) == 12 and len(lines[-8:]) == len(FLOORS)
    for floor, line in zip(FLOORS[1:], lines[-7:]):
        assert set(re.findall(r"\]\((\w+)/index\.ipynb\)", line)) == set(floor), line
    assert all((ROOT/"nbs"/"api"/link).is_file() for link in re.findall(r"\]\(([^)]+)\)", text))


@pytest.mark.parametrize("wing", WINGS)
def test_a_door_links_every_room_of_its_wing_and_nothing_that_is_not_there(wing):
    folder = ROOT/"nbs"/"api"/wing
    links = set(re.findall(r"\]\(([^)#]+\.ipynb)\)", (folder/"index.ipynb").read_text(encoding="utf-8")))
    assert not [p.name for p in folder.glob("[0-9]*.ipynb") if p.name not in links], "rooms without a link"
    assert not [link for link in links if not (folder/link).is_file()], "links without a room"


def wide_lines(path): return [n for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1) if len(line) > 140]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_room_has_at_most_500_lines_of_at_most_140_characters(path):
    length, wide = len(path.read_text(encoding="utf-8").splitlines()), wide_lines(path)
    assert length <= 500, f"{length} lines: two rooms"
    assert not wide, f"lines over 140 characters: {wide[:9]}"


@pytest.mark.parametrize("wing", ["", *WINGS])
def test_the_notebooks_of_a_wing_are_numbered_from_00_in_the_order_of_the_house(wing):
    there = sorted(p.stem for p in (ROOT/"nbs"/"api"/wing).glob("[0-9]*.ipynb"))
    rooms = [r for r in ORDER[wing] if r != "zoo" and (wing or any(t.endswith(f"_{r}") for t in there))]
    assert there == [f"{n:02d}_{r}" for n, r in enumerate(rooms)]


@pytest.mark.parametrize("wing", WINGS)
def test_what_a_door_hands_on_is_defined_in_one_room_of_its_wing(wing):
    where = {n: [] for n in importlib.import_module(f"valor_lab.{wing}").__all__}
    for path in FILES:
        if place(path)[0] == wing and place(path)[1]:
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in where: where[node.name].append(name(path))
    assert not {n: rooms for n, rooms in where.items() if len(rooms) > 1}
