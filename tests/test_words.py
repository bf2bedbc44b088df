"""Search by words: the seconds that fit a sentence, in a table and in a page. Two toy teachers know three colours and three pitches."""
import subprocess, sys, threading

import numpy as np
import pytest

from browser import BAD, REPO, browser, home, settled
from toy_teachers import Ear, Eye, TOY, toy_clip, unit
from valor_lab.core import ParameterError
from valor_lab.harvest import FeatureStore
from valor_lab.labels import SegmentLabels
from valor_lab.workbench import BrowseBench, Clips, TuneBench, WordSearch, begin_tuning, fitting_seconds, joined_seconds

pytest.importorskip("anywidget")
pytestmark = pytest.mark.usefixtures("home")
TEN = 10


def store(n=6, seed=0):
    "Embeddings of `n` clips near the three words; the last clip has neither picture nor sound, the one before no sound."
    rng = np.random.default_rng(seed)
    near = lambda: unit(np.eye(3)[rng.integers(3, size=(n, TEN))] + .2 * rng.random((n, TEN, 3))).astype(np.float16)
    seen, heard = near(), near()
    seen[-1], heard[-2:] = np.nan, np.nan
    said = lambda t: dict(name=t.name, fingerprint=t.fingerprint, scale=t.scale, width=3)
    settings = dict(visual=said(Eye), audio=said(Ear), n_segments=TEN, sampling="uniform", rate=1.)
    return FeatureStore.of_arrays(settings, [f"clip{i}" for i in range(n)], np.full(n, 10.), heard, seen)


class Words:
    "The toy teachers, which are asked for a sentence by its first word only."
    def __init__(self): self.asked = []
    def __call__(self, m):
        teacher = (Ear if m == "audio" else Eye)()
        read = teacher.embed_text
        teacher.embed_text = lambda c: (self.asked.append((m, *c)), read([x.split()[0] for x in c]))[1]
        return teacher


def clips(s, **kw):
    on = np.zeros((len(s.ids), TEN, 3), bool)
    truth = SegmentLabels(s.ids, on, on, TOY, np.full(len(s.ids), 10.))
    weak = truth.weak()
    weak.mask[np.arange(len(s.ids)), np.arange(len(s.ids)) % 3] = True
    return Clips(dict(truth=truth), weak, store=s, **kw)


@pytest.mark.parametrize("where,m,word", [("seen", "visual", "green"), ("heard", "audio", "high")])
def test_the_seconds_come_in_the_order_of_their_scores_and_what_is_missing_fits_nothing(where, m, word):
    s = store()
    s.remember(TOY, Eye(), Ear())
    score = getattr(s.scores(TOY), m)[..., ["red", "green", "blue"].index(word) if m == "visual" else ["low", "middle", "high"].index(word)]
    found = fitting_seconds(s, word, where, 1000)
    there = np.isfinite(score)
    assert len(found) == there.sum() and "clip5" not in set(found["clip"]) and ("clip4" in set(found["clip"])) == (m == "visual")
    best = np.argsort(-np.where(there, score, -np.inf).ravel(), kind="stable")[:20]
    assert list(zip(found["clip"], found.segment))[:20] == [(f"clip{i // TEN}", i % TEN) for i in best]
    assert np.allclose(found.score[:20], score.ravel()[best]) and np.allclose(found.above[0], (score[there].max() - score[there].mean())/score[there].std(), atol=1e-4)
    assert set(found.modality) == {m} and fitting_seconds(s, word, where, 7)["clip"].tolist() == found["clip"].tolist()[:7]


def test_heard_and_seen_in_one_list_are_judged_by_how_far_they_stand_out():
    s, words = store(), Words()
    s.settings["audio"]["scale"] = 1000.                                     # another unit changes no place in the list
    both = fitting_seconds(s, "green", "heard or seen", 50, lambda m: Words()(m) if m == "visual" else type("T", (Ear,), dict(words=["low", "green", "high"], scale=1000.))())
    assert set(both.modality) == {"audio", "visual"} and both.above.is_monotonic_decreasing
    for m, w in (("audio", "heard"), ("visual", "seen")):
        assert both[both.modality == m].segment.tolist() == fitting_seconds(s, "green", w, 50, words).segment.tolist()
    assert words.asked == []                                                 # known by now: nobody is asked again
    with pytest.raises(ParameterError, match="'purple'.*no teacher"): fitting_seconds(s, "purple", "seen")
    with pytest.raises(ParameterError, match="where='smelt'"): fitting_seconds(s, "green", "smelt")


def test_a_store_of_one_modality_answers_for_that_one_and_says_so_of_the_other():
    s = store()
    s.settings["audio"] = None
    box = WordSearch(clips(s), teachers=Words())
    assert box.places == ["seen"] and box.where == "seen"
    box.search("blue").result()
    assert box.found and {r["modality"] for r in box.found} == {"visual"}
    with pytest.raises(ParameterError, match="heard here"): fitting_seconds(s, "blue", "heard")


def test_seconds_that_follow_one_another_are_one_row_that_opens_at_the_best():
    s = store()
    found = fitting_seconds(s, "red", "seen", 1000, Words())
    rows = joined_seconds(found)
    assert rows.above.is_monotonic_decreasing and (rows["first"] <= rows.segment).all() and (rows.segment <= rows["last"]).all()
    assert len(set(zip(rows["clip"], rows.segment))) == len(rows) and (rows.above > 0).all()
    covered = [(r.clip, t) for r in rows.itertuples() for t in range(r.first, r.last + 1)]
    assert len(covered) == len(set(covered)) and set(covered) == {(c, t) for c, t in zip(found["clip"], found.segment) if found.above[(found["clip"] == c) & (found.segment == t)].iloc[0] > 0}


def test_a_search_changes_no_file_and_only_clips_in_view_are_found(home, tmp_path):
    from valor_lab.harvest import harvest
    from toy_teachers import toy_set
    pytest.importorskip("torch"), pytest.importorskip("av")
    (home/"clips").mkdir()
    toy_set(home/"clips", 2)
    made = harvest(sorted((home/"clips").glob("*.mp4")), Eye(), Ear(), home/"store", vocab=TOY)
    files = lambda: {p: p.stat().st_mtime_ns for p in (home/"store").rglob("*")}
    before, opened = files(), FeatureStore.open(home/"store")
    on = np.zeros((1, TEN, 3), bool)
    one = Clips(dict(truth=SegmentLabels(["clip01"], on, on, TOY, [10.])), store=opened)
    box = WordSearch(one, teachers=Words())
    box.search("green things", "seen").result()
    assert {r["clip"] for r in box.found} == {"clip01"} and files() == before and len(made) == 2
    assert "green things" in box.store.captions["visual"] and "green things" not in FeatureStore.open(home/"store").captions["visual"]


def test_without_a_store_or_a_teacher_one_sentence_says_what_to_do():
    box = WordSearch(Clips(clips(store()).labelings, name="kitchen"))
    assert "valor harvest" in box.why and box.search("a dog") is None and not box.busy
    def nobody(m): raise FileNotFoundError("cannot fetch 'x': put it into data/weights/x/")
    box = WordSearch(clips(store()), teachers=nobody)
    box.search("a  red   car").result()
    assert box.said.startswith("“a red car” is new here") and "data/weights/x/" in box.said and not box.found and not box.busy
    half = WordSearch(clips(store()), teachers=lambda m: Words()(m) if m == "visual" else nobody(m))
    half.search("red car").result()                                          # one teacher is enough for its half
    assert half.found and {r["modality"] for r in half.found} == {"visual"} and "Not heard" in half.doubt and "data/weights/x/" in half.doubt


def test_what_was_asked_last_is_what_is_answered():
    gate, words = threading.Event(), Words()
    def slowly(m):
        gate.wait(60)
        return words(m)
    box = WordSearch(clips(store()), teachers=slowly)
    first, second = box.search("red car", "seen"), box.search("green tree", "seen")
    assert box.busy
    gate.set()
    first.result(), second.result()
    assert box.asked == "green tree" and box.found and not box.busy
    box.search("")
    assert box.found == [] and box.asked == ""


def test_a_sentence_that_a_demo_teacher_does_not_know_is_read_as_the_event_it_names():
    s, knowing = store(), Words()
    def few(m):
        t = knowing(m)
        t.unknown_captions = lambda c: [x for x in c if x not in t.words]
        return t
    c = clips(s)
    box = WordSearch(c, teachers=few)
    box.search("a GREEN tree", "seen").result()
    assert "read as “green”" in box.doubt and box.asked == "a GREEN tree" and box.found
    assert [(r["clip"], r["segment"]) for r in box.found] == list(joined_seconds(fitting_seconds(box.store, "green", "seen"))[["clip", "segment"]].itertuples(index=False, name=None))


def test_a_page_with_the_search_box_loads_no_torch():
    code = """import sys; sys.path.insert(0, 'tests')
import test_words as t
c = t.clips(s := t.store())
s.captions['visual']['green'] = t.np.eye(3, dtype=t.np.float32)[1]
b = t.BrowseBench(c); b.search = t.WordSearch(c, b.player.show)
b.search.search('green', 'seen').result(); assert b.search.found
print([m for m in ('torch', 'open_clip', 'laion_clap') if m in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]


@browser
@pytest.mark.parametrize("dark", (False, True))
def test_words_are_typed_and_a_result_opens_its_clip_at_that_second(chromium, home, dark):
    from bare import bare
    from valor_lab.harvest import Scores
    s = store()
    toy_clip(home/"data/clip0.mp4", [0, 1, 2, 0, 1, 2, 0, 1, 2, 0], [0] * 10)
    c = clips(s, files=dict(clip0=home/"data/clip0.mp4"))
    seen, heard = (np.where(np.isnan(x), np.nan, 8.) for x in (s.visual, s.audio))
    c.scores = Scores(c.ids, heard, seen, TOY, np.full(len(c), 10.))
    bench = TuneBench(c, begin_tuning(c)) if dark else BrowseBench(c)
    bench.search = WordSearch(c, bench.player.show, Words())
    with bare(chromium, bench, dark=dark) as page:
        page.wait_for_selector(".vl-line")
        box = page.get_by_label("search by words", exact=True)
        assert box.get_attribute("placeholder") == "a dog barking" and page.locator(".vl-words-found").is_hidden()
        box.fill("green trees"), page.keyboard.press("Enter")
        page.locator(".vl-words-found button").first.wait_for()
        page.locator(".vl-words-said", has_text="“green trees” heard or seen, best first").wait_for()
        page.locator(".vl-words-doubt", has_text="Not heard").wait_for()       # the other teacher does not know the word
        rows = page.locator(".vl-words-found button")
        assert [(r.get_attribute("data-clip"), float(r.get_attribute("data-at"))) for r in rows.all()] == [(r["clip"], r["at"]) for r in bench.search.found]

        page.get_by_label("where the words should fit").select_option("seen")
        page.locator(".vl-words-said", has_text="“green trees” seen, best first").wait_for()
        best = bench.search.found
        assert {r["modality"] for r in best} == {"visual"} and "clip5" not in {r["clip"] for r in best}
        if any(r["clip"] == "clip0" for r in best): page.locator('.vl-words-found button[data-clip="clip0"] img').first.wait_for()
        box.focus(), page.keyboard.press("ArrowDown"), page.keyboard.press("ArrowDown"), page.keyboard.press("Enter")
        page.wait_for_function("t => document.querySelector('.vl-player h3').textContent === t", arg=best[1]["clip"])
        page.wait_for_function("t => Math.abs(+document.querySelector('.vl-ticks').getAttribute('aria-valuenow') - t) < .01", arg=best[1]["at"])
        assert rows.nth(1).get_attribute("aria-current") == "true" and page.evaluate("() => document.activeElement.dataset.clip") == best[1]["clip"]
        page.keyboard.press("ArrowUp"), page.keyboard.press("ArrowUp")
        assert page.evaluate("() => document.activeElement.classList.contains('vl-words-text')")
        box.fill(f"red {BAD}"), page.keyboard.press("Enter")
        page.locator(".vl-words-said", has_text=f"“red {BAD}” seen, best first").wait_for()
        assert not page.evaluate("() => window.hacked") and page.locator(".vl-words-search img[src=x]").count() == 0
        page.keyboard.press("Escape")
        page.locator(".vl-words-found button").first.wait_for(state="detached")
        assert box.input_value() == ""
        from importlib.resources import files
        if (axe := pytest.importorskip("axe_playwright_python")):
            box.fill("blue"), page.keyboard.press("Enter"), rows.first.wait_for(), settled(page)
            page.evaluate((files(axe.__name__)/"axe.min.js").read_text(encoding="utf-8"))
            found = page.evaluate("() => window.axe.run(document.querySelector('.vl-words-search'))")["violations"]
            assert not found, [(v["id"], [n["html"][:200] + n.get("failureSummary", "")[:200] for n in v["nodes"][:2]]) for v in found]


@browser
def test_a_set_that_was_not_harvested_says_so_where_one_would_type(chromium, home):
    from bare import bare
    c = Clips(clips(store()).labelings, name="kitchen")
    bench = BrowseBench(c)
    bench.search = WordSearch(c, bench.player.show)
    with bare(chromium, bench, width=1000) as page:
        page.locator(".vl-words-said", has_text="no feature store").wait_for()
        assert page.get_by_label("search by words", exact=True).is_disabled() and page.locator(".vl-words-go").is_disabled()
