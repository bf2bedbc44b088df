"""Two people and the same clips: how far they agree, where they differ, a third labeling, and its way out."""
import numpy as np
import pandas as pd
import pytest

from browser import BAD, browser, home

pytest.importorskip("anywidget")
from valor_lab.core import ParameterError
from valor_lab.datasets import label_origin, load_labels
from valor_lab.labels import Marks, Overlay, SegmentLabels
from valor_lab.vocab import Vocab
from valor_lab.workbench import BOTH_DONE, KNOWN_TO_BOTH, TOUCHED, AnnotatorsBench, Clips, looked_at, people

pytestmark = pytest.mark.usefixtures("home")
VOCAB = Vocab("pair", ["Dog", BAD], ["a", "b"], ["a", "b"], [1, 1], [1, 1])


def annotated(n=6):
    "Six clips of ten seconds. Ada and Ben correct the harvested labels: they agree in a, differ in b by 2 and in c by 5 segments."
    ids = list("abcdef")[:n]
    base = SegmentLabels(ids, np.zeros((n, 10, 2), bool), np.zeros((n, 10, 2), bool), VOCAB, np.full(n, 10.))
    base.audio[:, 0, 1] = True
    clips = Clips(dict(harvested=base), base.weak(), name="pair")
    for who, strokes in (("Ada", [("a", 2, 6), ("b", 0, 4), ("c", 0, 5)]), ("Ben", [("a", 2, 6), ("b", 0, 6)])):
        o = Overlay(who.lower(), base, "harvested", who)
        for clip, start, end in strokes: o.paint(clip, "Dog", "audio", start, end)
        o.save()
        clips.add(o.name, o.apply())
        clips.corrected[o.name] = "harvested"
    return clips


def test_agreement_counts_the_clips_that_somebody_looked_at():
    clips = annotated()
    assert people(clips) == ["ada", "ben"]
    assert looked_at(clips, "ada", "ben") == {TOUCHED: ["a", "b", "c"], KNOWN_TO_BOTH: list("abcdef")}
    for who, done in (("Ada", "abcd"), ("Ben", "abd"), ("Eve", "f")):
        for c in done: Marks("pair", who).set(c, "done")
    Marks("other", "Ben").set("f", "done"), Marks("other", "Ada").set("f", "done")
    assert looked_at(clips, "ada", "ben")[BOTH_DONE] == ["a", "b", "d"]      # both looked at d and changed nothing: that counts
    bench = AnnotatorsBench(clips)
    dog = bench.events.frame.loc["Dog, audio"]
    x, y = (clips.labelings[n].select(["a", "b", "d"]).audio[..., 0].ravel() for n in ("ada", "ben"))
    po, pe = (x == y).mean(), x.mean() * y.mean() + (1 - x.mean()) * (1 - y.mean())
    assert np.isclose(dog.kappa, (po - pe)/(1 - pe)) and np.isclose(dog.F, 200*8/(8 + 10)) and (dog.both, dog["first"], dog["second"]) == (8, 0, 2)
    bench.pair.over = TOUCHED
    assert bench.table.view.differ.tolist() == [5, 2, 0] and bench.table.view.index.tolist() == ["c", "b", "a"]


def test_a_decision_for_an_event_goes_before_that_of_the_clip_and_that_before_the_rule():
    bench = AnnotatorsBench(annotated())
    bench.pair.over = KNOWN_TO_BOTH
    bench.player.show("c"), bench.take("first")
    bench.player.show("b"), bench.open_row("Dog, audio"), bench.take("either"), bench.open_row("Dog, audio"), bench.take("first")
    bench._asked(bench.pair, dict(do="rule", rule="second"), [])
    out = bench.resolve("agreed")
    at = lambda c: out.select([c]).audio[0, :, 0].sum()
    assert (at("a"), at("b"), at("c"), at("d")) == (4, 6, 5, 0) and out.audio[:, 0, 1].all()
    about = label_origin("agreed")
    assert about["resolved"] == ["ada", "ben"] and about["rule"] == "second" and about["decided"] == ["c: first", "b: first", "b, Dog, audio: either"]
    assert bench.player.names == ["ada", "ben", "agreed"] and (load_labels("agreed").audio == out.audio).all()
    bench.open_row("Dog, audio"), bench.take("")                             # taken back: the clip's decision holds
    assert bench.resolve("agreed").select(["b"]).audio[0, :, 0].sum() == 4
    for taken in ("ada", "harvested"):
        with pytest.raises(ParameterError, match="taken"): bench.resolve(taken)
    bench._asked(bench.pair, dict(do="resolve", name="../up"), [])
    assert "../up" in bench.pair.said


def test_one_labeling_against_itself_and_a_lone_one_are_sentences():
    bench = AnnotatorsBench(annotated())
    bench.pair.second = "ada"
    assert "two different" in bench.pair.said and bench.table.count == 0
    bench._asked(bench.pair, dict(do="resolve", name="x"), [])
    bench._asked(bench.pair, dict(do="export", kind="csv"), [])
    assert "resolve the two first" in bench.pair.said
    lone = bench.clips
    with pytest.raises(ParameterError, match="two labelings"): AnnotatorsBench(Clips(dict(harvested=lone.labelings["harvested"]), lone.weak))


@browser
@pytest.mark.parametrize("dark", (False, True))
def test_two_annotators_in_a_browser_disagreement_found_resolved_exported(chromium, home, dark):
    from bare import bare
    from valor_lab.cli import main
    bench = AnnotatorsBench(annotated())
    with bare(chromium, bench, dark=dark) as page:
        page.wait_for_selector(".vl-line")
        table = lambda title: page.locator(".vl-table", has=page.locator("h3", has_text=title)).first
        found, clips = table("Agreement"), table("Clips")
        # found: kappa and F of each event, and the clip that differs most on top and in the player
        found.locator('.vl-line[data-id="Dog, audio"]').wait_for()
        row = bench.events.frame.loc["Dog, audio"]
        cell = lambda name: found.locator(f'.vl-line[data-id="Dog, audio"] [data-cell="{name}"]').inner_text()
        assert cell("kappa") == f"{row.kappa:.2f}".replace("-", "−") and cell("F") == f"{row.F:.1f}" and cell("first") == "5"
        page.locator(".vl-pair-over").select_option(KNOWN_TO_BOTH)
        clips.locator(".vl-line").nth(5).wait_for()
        assert clips.locator(".vl-line").evaluate_all("all => all.map(e => e.dataset.id)")[:3] == ["c", "b", "a"]
        page.wait_for_function("() => document.querySelector('.vl-player h3').textContent === 'c'")
        found.locator('.vl-line[data-id="Dog, audio"]').click()              # an event lists the clips in which it differs
        page.wait_for_function("() => [...document.querySelectorAll('.vl-table h3')].some(e => e.textContent.startsWith('Clips, by Dog, audio 2'))")
        clips = table("Clips")
        clips.locator('.vl-line[data-id="b"]').click()
        page.wait_for_function("() => document.querySelector('.vl-player h3').textContent === 'b'")
        here = table("In b")
        here.locator(".vl-line", has_text="0 to 6 s").wait_for()              # no row of the clip before
        assert here.locator(".vl-line .vl-cell").all_inner_texts() == ["0 to 4 s", "0 to 6 s", "both"]
        lanes = page.locator('.vl-lane[data-event="Dog"][data-modality="audio"]').evaluate_all("all => Object.fromEntries(all.map(e => [e.dataset.name, e.dataset.cells]))")
        assert lanes == {"ada": "oooo......", "ben": "oooooo...."}
        # resolved: this clip as Ben says, the rest by the rule, by keys
        page.locator('[data-take="second"]').focus(), page.keyboard.press("Enter")
        page.locator('[data-take="second"][aria-pressed="true"]').wait_for()
        assert page.evaluate("() => document.activeElement.dataset.take") == "second" and page.inner_text(".vl-target") == "b"
        page.locator(".vl-rule").select_option("either")
        assert page.locator(".vl-export-agreed").is_disabled()
        page.fill(".vl-agreed-name", "ada"), page.click(".vl-resolve")
        page.locator(".vl-pair-said", has_text="'ada' is taken").wait_for()
        page.fill(".vl-agreed-name", "third-one"), page.keyboard.press("Enter")
        page.locator(".vl-pair-said", has_text="saved as third-one: 7 segments differed in 2 clips").wait_for()
        page.locator('.vl-lane[data-event="Dog"][data-modality="audio"][data-name="third-one"]').wait_for()
        # exported
        page.locator(".vl-kind").select_option("csv"), page.click(".vl-export-agreed")
        page.locator(".vl-pair-said", has_text="written: third-one-csv.csv in exports").wait_for()
        page.click(".vl-export-agreed")
        page.locator(".vl-pair-said", has_text="third-one-csv-2").wait_for()  # nothing is written over
        assert not page.evaluate("() => window.hacked") and page.locator("img[src=x]").count() == 0
        from importlib.resources import files
        if (axe := pytest.importorskip("axe_playwright_python")):
            page.evaluate((files(axe.__name__)/"axe.min.js").read_text(encoding="utf-8"))
            bad = page.evaluate("() => window.axe.run(document.querySelector('.vl-pair'))")["violations"]
            assert not bad, [(v["id"], [n["html"][:200] + n.get("failureSummary", "")[:200] for n in v["nodes"][:2]]) for v in bad]
    third = load_labels("third-one")
    assert [int(third.select([c]).audio[0, :, 0].sum()) for c in "abcd"] == [4, 6, 5, 0]
    rows = pd.read_csv(home/"exports/third-one-csv.csv")
    assert sorted(map(tuple, rows[rows.event == "Dog"][["clip", "onset", "offset"]].values.tolist())) == [("a", 2, 6), ("b", 0, 6), ("c", 0, 5)]
    assert main(["labels", "export", "third-one", "--as", "audacity", "--to", str(home/"out")]) == 0
