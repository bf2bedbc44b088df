"""What a type checker makes of the library. Two levels, both with mypy:

- the public face, as users' checkers see it (stubs from the source, shipped in the wheel): mypy's default level, nothing switched off;
- the bodies: mypy's default level without the codes in LEFT_OUT, which our doors, patched methods and late imports make meaningless inside the house.

Other packages are not followed: their types alone would take minutes."""
import subprocess, sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/"docs"/"tools"))
import stubs

LEFT_OUT = ("arg-type assignment attr-defined call-arg call-overload func-returns-value index misc name-defined operator return return-value "
            "truthy-function union-attr var-annotated").split()


def mypy(folder, *what):
    "What mypy says of files below `folder`, a line each."
    out = subprocess.run([sys.executable, "-m", "mypy", "--follow-imports=skip", "--ignore-missing-imports", "--no-error-summary", f"--cache-dir={folder/'.cache'}", *map(str, what)],
                         cwd=folder, capture_output=True, text=True, timeout=900)
    assert out.returncode in (0, 1) and not out.stderr, out.stderr[-3000:]
    return [line for line in out.stdout.splitlines() if ": note:" not in line]


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    folder = tmp_path_factory.mktemp("face")
    stubs.write(folder)
    (folder/"tornado").mkdir()                                   # two bases of classes come from there
    (folder/"tornado"/"__init__.pyi").touch(), (folder/"tornado"/"web.pyi").write_text("class RequestHandler: ...\nclass Application: ...\ndef __getattr__(name): ...\n")
    return folder


def test_the_public_face_is_sound(face):
    said = mypy(face, "valor_lab", "tornado")
    assert not said, "\n".join(said[:40])


def test_a_right_program_passes_and_a_wrong_one_is_told(face):
    (face/"right.py").write_text("""
import valor_lab
from valor_lab.labels import Overlay, SegmentLabels, WeakLabels, audit
from valor_lab.metrics import avvp_scores, bootstrap
from valor_lab.models import HAN
def look(weak: WeakLabels, truth: SegmentLabels, overlay: Overlay) -> str:
    copied = weak.copied()
    print(bootstrap(avvp_scores, copied, truth), audit(weak, truth), overlay.paint("clip", "Dog", "audio", 0, 3))
    return valor_lab.__version__
""")
    (face/"wrong.py").write_text("""
from valor_lab.labels import Overlay
from valor_lab.metrics import avvp_score
def look(overlay: Overlay):
    overlay.paint("clip", "Dog", "audio", "first", 3)
    overlay.pant("clip")
""")
    assert not mypy(face, "right.py", "valor_lab")
    wrong = sorted(line.rpartition("[")[2].rstrip("]") for line in mypy(face, "wrong.py", "valor_lab") if line.startswith("wrong.py"))
    assert wrong == ["arg-type", "attr-defined", "attr-defined"]


def test_the_bodies_pass_at_their_level(tmp_path):
    said = mypy(tmp_path, "--implicit-optional", *(f"--disable-error-code={c}" for c in LEFT_OUT), ROOT/"valor_lab")
    assert not said, "\n".join(said[:40])


def test_stubs_say_methods_that_are_patched_defaults_that_are_none_and_names_of_doors(tmp_path):
    library = tmp_path/"valor_lab"
    (library/"w").mkdir(parents=True)
    (library/"__init__.py").touch()
    (library/"w"/"__init__.py").write_text('"A wing."\nimport lazy_loader\n__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=dict(a=["C", "N"]))\n')
    (library/"w"/"a.py").write_text('torch = need("torch", "models")\nN = 3\nclass C:\n    "A thing."\n    def __init__(self, who:str=None): self.who = who\n@patch\ndef grow(self:C, by:int=1) -> int:\n    return by\n')
    stubs.write(tmp_path/"out", tmp_path)
    text = (tmp_path/"out"/"valor_lab"/"w"/"a.pyi").read_text()
    assert "def __init__(self, who: str | None = ...): ..." in text and "    def grow(self, by: int = ...) -> int: ..." in text and "import torch" in text and "N: int" in text
    assert (tmp_path/"out"/"valor_lab"/"w"/"__init__.pyi").read_text().splitlines()[1:] == ["from .a import C as C", "from .a import N as N"]
