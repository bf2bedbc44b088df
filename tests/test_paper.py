"""What goes into a paper: figures with TrueType letters in a venue's width, tables in LaTeX that compiles."""
import io, re

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")
from valor_lab import plots as P
from valor_lab.core import ParameterError
from valor_lab.plots import figure_bytes, for_paper, latex_table, latex_text

EVIL = r"""50% & _x_ {y} $z$ #1 ~ ^ \input{/etc/passwd} <b> | "q" − ± … · – — × ≥ ≤ → Δ κ τ é"""


def figures():
    "One figure of each room."
    t = pd.DataFrame({"epoch": [1, 2, 3], "loss/total": [3., 2., 1.], "val/segment/type": [1., 2., 3.]})
    bars = pd.DataFrame(dict(audio=[50., 60.], visual=[30., 20.]), index=["Dog", EVIL])
    forest = {n: pd.DataFrame(dict(value=[50.], low=[45.], high=[55.]), index=["segment/type"]) for n in ("ours", "base")}
    yield P.learning_curves({"a": t, EVIL: t}, ["segment/type"])
    yield P.forest(forest, differences={"ours": forest["ours"]}, against=EVIL)
    with P.canvas(None, "light", 5, 2) as (ax, look): P.grouped_bars(ax, bars, look)
    yield ax.figure


@pytest.mark.parametrize("venue", list(P.VENUES))
def test_figures_for_a_venue_have_its_width_and_only_true_type(venue):
    pikepdf = pytest.importorskip("pikepdf")
    with for_paper(venue) as paper:
        for fig in figures():
            assert round(fig.get_figwidth(), 3) in P.VENUES[venue] and fig.get_figheight() <= 9
            with pikepdf.open(io.BytesIO(figure_bytes(fig))) as pdf:
                kinds = {str(o.get("/Subtype")) for o in pdf.objects if isinstance(o, pikepdf.Dictionary) and o.get("/Type") == "/Font"}
                width = float(pdf.pages[0].mediabox[2]) / 72
            assert kinds and not kinds & {"/Type3", "/Type1"} and "/CIDFontType2" in kinds and abs(width - fig.get_figwidth()) < .02
    assert next(figures()).get_figwidth() not in P.VENUES[venue]      # it ended with the context


def test_a_figure_saved_without_any_preset_is_true_type_too(tmp_path):
    pikepdf = pytest.importorskip("pikepdf")
    next(figures()).savefig(tmp_path/"a.pdf")
    with pikepdf.open(tmp_path/"a.pdf") as pdf:
        assert not any(o.get("/Subtype") == "/Type3" for o in pdf.objects if isinstance(o, pikepdf.Dictionary))
    assert P.save_figure(next(figures()), tmp_path/"b.png").read_bytes()[:4] == b"\x89PNG"
    svg = P.save_figure(next(figures()), tmp_path/"b.svg").read_text()
    assert "<script" not in svg and "<svg" in svg
    with pytest.raises(ParameterError, match="gif"): P.save_figure(next(figures()), tmp_path/"b.gif")


def test_the_hues_of_a_paper_are_told_apart_on_a_grey_printer():
    from matplotlib.colors import to_rgb
    def light(colour):
        linear = [c / 12.92 if c <= .04045 else ((c + .055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return 116 * np.dot(linear, (.2126, .7152, .0722)) ** (1 / 3) - 16
    grey = sorted(light(h) for h in P.HUES["paper"].values())
    assert np.diff(grey).min() > 15
    with for_paper("acm"), P.canvas(None, "light", 3, 2) as (ax, look): assert look["audio"] == P.HUES["paper"]["audio"]


def grammar(text):
    "A reading of LaTeX as TeX does it: braces balance, environments nest, every row has as many cells as columns, no letter is special by accident."
    commands = set(re.findall(r"\\([a-zA-Z]+)", text)) - {"begin", "end", "toprule", "midrule", "bottomrule", "centering", "caption", "label", "usepackage"}
    assert commands <= {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar", "pm", "ldots", "cdot", "times", "geq", "leq", "rightarrow", "Delta", "kappa", "tau", "sigma", "approx"}, commands
    lines = text.splitlines()
    assert lines[0].startswith("%") and not any(re.search(r"(?<!\\)%", l) for l in lines[1:])          # nothing else is a comment
    bare = re.sub(r"\\[\\&%$#_{}]", "", "\n".join(lines[1:]))
    assert bare.count("{") == bare.count("}") and "#" not in bare and "_" not in bare and "^" not in bare
    assert bare.count("$") % 2 == 0 and all(len(m) < 15 for m in re.findall(r"\$([^$]*)\$", bare))
    stack = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if what == "begin": stack.append(name)
        else: assert stack.pop() == name
    assert not stack
    columns = len(re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1])
    rows = [l for l in lines if l.rstrip().endswith(r"\\")]
    assert rows and all(len(re.findall(r"(?<!\\)&", r)) == columns - 1 for r in rows)
    return rows


def test_a_table_is_latex_whatever_its_names_are():
    frame = pd.DataFrame({EVIL: ["55.4 ± 1.6", "–"], "b": [EVIL, "line\nend"], "c": [1.5, np.nan]}, index=pd.Index([EVIL, "<script>"], name="method"))
    assert len(grammar(latex_table(frame, EVIL, EVIL))) == 3
    assert len(grammar(latex_table(pd.DataFrame(columns=["a", "b"])))) == 1
    assert latex_text("\\") == r"\textbackslash{}" and latex_text("a\x00b\n\nc") == "a b c"
    many = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("here", "F"), ("paper", "F")]))
    assert "here F & paper F" in latex_table(many)
