"""The documentation site, built once as `make docs` builds it. `python tests/run.py core` leaves it out: a minute of work."""
import json, os, re, subprocess, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
for module in ("sphinx", "myst_nb", "pydata_sphinx_theme", "latex2mathml"): pytest.importorskip(module)
sys.path.insert(0, str(ROOT/"docs"/"tools"))
import links, reference


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "Built without a warning, with every link checked: the command ends with 1 otherwise. $VALOR_SITE names one that was just built."
    if os.environ.get("VALOR_SITE"): return Path(os.environ["VALOR_SITE"])
    out = tmp_path_factory.mktemp("docs")/"site"
    done = subprocess.run([sys.executable, str(ROOT/"docs"/"tools"/"build.py"), "--out", str(out)], cwd=ROOT, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return out


def test_the_site_is_small_and_has_a_page_for_every_notebook(site):
    assert sum(p.stat().st_size for p in site.rglob("*") if p.is_file()) < 60e6
    assert not [p for p in (ROOT/"nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts and not (site/p.relative_to(ROOT)).with_suffix(".html").is_file()]


def test_no_link_is_dead_and_nothing_is_loaded_from_elsewhere(site): assert not list(links.faults(site))


def test_what_a_newcomer_wants_is_two_clicks_away(site):
    away = links.clicks(site)
    for place in [("start.html", "two-commands"), ("own-clips.html", ""), ("reference/metrics.html", "valor_lab.metrics.avvp_scores"), ("annotators.html", ""), ("questions.html", "")]:
        assert away.get(place, 9) <= 2, (place, away.get(place))
    assert "make demo" in re.sub("<[^>]+>", "", (site/"start.html").read_text(encoding="utf-8"))


def test_every_public_name_has_a_place_of_its_own(site):
    for wing, entries in reference.reference().items():
        page = links.page(site/"reference"/f"{wing}.html")
        assert not [e.path for e in entries if e.path not in page.ids]


def test_the_search_knows_names_and_words(site):
    text = (site/"searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("{"):text.rindex("}") + 1])
    assert "avvp_scores" in str(index["objects"]) and (site/"search.html").is_file()
    assert all(any(t.startswith(word) for t in index["terms"]) for word in ("interv", "threshold", "annot"))


def test_notebooks_are_shown_without_housekeeping(site):
    text = (site/"nbs"/"api"/"metrics"/"00_avvp.html").read_text(encoding="utf-8")
    assert "#| export" not in re.sub("<[^>]+>", "", text) and "default_exp" not in text and "class=\"output" in text
    assert "widget-view" not in text and "MathJax" not in text


def test_formulas_are_drawn_by_the_browser(site):
    assert "<math" in (site/"nbs"/"api"/"methods"/"09_bags.html").read_text(encoding="utf-8")
