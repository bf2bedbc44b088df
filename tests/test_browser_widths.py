"""The points of trust at 1280, 1440 and 1920 px: each test loads one page and changes the size of its window. Point 1, wide tables, a lone
wrong segment among 400 (point 6) and where rows, flips and the first Tab lie (point 7) have their three widths in `test_browser_trust`."""
import numpy as np
import pytest

from bare import bare
from browser import CHROMIUM, MISSING, settled, sync_playwright
from test_browser_desk import BAD, job, run
from test_browser_trust import WIDTHS, fresh, labelings, lane, long_clip, opens, paints, says, table, texts, tuning, zoom, zoomed

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.skipif(sync_playwright is None, reason="no playwright here: pip install playwright")]
pytest.importorskip("anywidget")
from valor_lab.workbench import BrowseBench, CompareBench, Launcher, Player, TuneBench


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    return tmp_path


def widths(page, height=1000):
    "Each width in turn; what is drawn has settled."
    for width in WIDTHS:
        page.set_viewport_size(dict(width=width, height=height))
        settled(page), settled(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, width       # the page itself never scrolls sideways
        yield width


def inside(page, *selectors):
    "These can be seen whole, from left to right."
    wide = page.viewport_size["width"]
    for s in selectors:
        box = page.locator(f"{s} >> visible=true").first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= wide + 1 and box["width"] > 10, (s, wide, box)


titled = lambda page, text: page.wait_for_function("t => document.querySelector('.vl-player h3').textContent === t", arg=text)


def test_empty_tables_and_a_dead_kernel_are_said_at_every_width(chromium):
    with bare(chromium, CompareBench(labelings(), ["model-1", "model-2"], n=20)) as page:
        table(page, "Events").locator(".vl-line").first.wait_for()
        for width in widths(page):
            for name in ("model-1", "model-2"): page.click(f'button[data-name="{name}"]')
            for name in ("Methods", "Events"): table(page, name).locator(".vl-nothing", has_text="No labeling is chosen").wait_for()
            inside(page, ".vl-nothing")
            for name in ("model-1", "model-2"): page.click(f'button[data-name="{name}"]')
            table(page, "Events").locator('.vl-line [data-cell="difference"]').first.wait_for()
        page.desk.die()
        page.wait_for_selector(".vl-gone:visible")
        for width in widths(page):
            for line in page.locator(".vl-gone").all():
                box = line.bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] >= 20


def test_tune_names_what_made_the_labels_on_the_disk_at_every_width(chromium):
    from valor_lab.harvest import Thresholds, elaborate
    from valor_lab.metrics import fidelity
    from valor_lab.workbench import begin_tuning
    clips = labelings(more=0)
    clips.scores = tuning(clips).scores
    clips.add("harvested", elaborate(clips.scores, clips.weak, Thresholds(*(14 + np.random.default_rng(5).normal(0, 1, (2, 6))), clips.vocab)))
    clips.made = dict(thresholds=dict(method="best F of each event", split="the first half"))
    with bare(chromium, TuneBench(clips, begin_tuning(clips))) as page:
        page.wait_for_selector(".vl-tr")
        for width in widths(page):
            assert texts(page.locator(".vl-sums b"))[:3] == [f"{v:.1f}" for v in fidelity(clips.labelings["harvested"], clips.labelings["truth"]).values()]
            assert "the labels on the disk (best F of each event, tuned on the first half)" in page.inner_text(".vl-saved")
            inside(page, ".vl-saved", ".vl-sums", ".vl-tr .vl-f", ".vl-tr > :last-child")


def test_strokes_are_opened_painted_refused_and_saved_at_every_width(chromium, home):
    from valor_lab.labels import Overlay, list_overlays
    player = fresh(home)
    Overlay("taken", player.clips.labelings["truth"], "truth", "Bob").save(player.folder)
    asks = "() => { const e = new Event('beforeunload', { cancelable: true }); window.dispatchEvent(e); return e.defaultPrevented }"
    with bare(chromium, player) as page:
        page.click(".vl-edit-button")
        for width in widths(page):
            opens(page, f"mine-{width}")
            page.wait_for_selector(f".vl-edit[data-name='mine-{width}']")          # not the lanes of the width before
            paints(page, 3)
            page.wait_for_function("() => document.querySelector('.vl-safe').textContent === 'not saved'")
            assert page.evaluate(asks)
            inside(page, ".vl-editor .vl-save", ".vl-safe", ".vl-correction", ".vl-overlay-name")
            page.fill(".vl-overlay-name", "taken"), page.click(".vl-editor .vl-save")
            says(page, "taken")
            page.fill(".vl-overlay-name", f"own-{width}"), page.click(".vl-editor .vl-save")
            says(page, f"saved as own-{width}.json")
            assert not page.evaluate(asks)
    assert list_overlays(player.folder) == [*(f"own-{w}" for w in WIDTHS), "taken"]


@pytest.mark.parametrize("dark", (False, True))
def test_the_launcher_refuses_at_once_names_jobs_and_shows_the_cause_at_every_width(chromium, home, dark):
    (home/"nbs").mkdir()
    (home/"nbs/train.ipynb").write_text("{}")
    job(home, "valor-lr-3e-3", "failed", "0,1", "".join(f"line {n}\n" for n in range(300)) + "ValueError: this is why\n", overrides="lr = 3e-3", labels=BAD)
    run(home, "valor-demo-tiny-s0-aaaaaa", 12, 12, lr=3e-3, said=BAD)
    run(home, "valor-demo-tiny-s0-bbbbbb", 7, 12, labels="b2", said="suggested")
    (home/"runs/jobs/valor-lr-3e-3/runs.json").write_text('["valor-demo-tiny-s0-aaaaaa", "valor-demo-tiny-s0-bbbbbb"]')
    with bare(chromium, Launcher(size="tiny", root=str(home/"data"), out=str(home/"runs")), dark=dark) as page:
        page.wait_for_selector(".vl-job")
        for width in widths(page):
            inside(page, ".vl-job", ".vl-runs", ".vl-left", ".vl-log", ".vl-curve", ".vl-start", ".vl-stop")
            assert texts(page.locator(".vl-job span"))[:2] == [f"valor · {BAD} · lr = 3e-3 · seeds 0,1", "failed"] and page.inner_text(".vl-left") == "epoch 19 of 24"
            assert page.evaluate("() => { const e = document.querySelector('.vl-log'); return e.scrollTop + e.clientHeight >= e.scrollHeight - 2 && e.textContent.trimEnd().endsWith('this is why') }")
            assert page.locator(".vl-runs tbody tr").count() == 2 and page.locator(".vl-curve").first.get_attribute("data-points") == "19"
            page.fill(".vl-seeds", "x"), page.click(".vl-start")
            page.wait_for_function("() => document.querySelector('.vl-message').textContent.includes(\"seeds='x'\")")
            inside(page, ".vl-message")
            page.fill(".vl-seeds", "0")
    assert [p.name for p in (home/"runs/jobs").iterdir() if p.is_dir()] == ["valor-lr-3e-3"]


def test_a_long_clip_is_zoomed_followed_and_left_again_at_every_width(chromium):
    with bare(chromium, Player(long_clip())) as page:
        page.wait_for_selector(lane)
        for width in widths(page):
            ticks = page.locator(".vl-ticks").bounding_box()
            point = lambda f: (ticks["x"] + f * ticks["width"], ticks["y"] + ticks["height"] / 2)
            page.mouse.move(*point(.5)), page.mouse.down(), page.mouse.move(*point(.6), steps=4), page.mouse.move(*point(.75), steps=4), page.mouse.up()
            zoomed(page, 3.9, 4.1)
            inside(page, ".vl-pane", ".vl-map", ".vl-zoom-in", ".vl-zoom-whole", ".vl-follow")
            page.mouse.move(*point(.25))
            page.keyboard.down("Control"), page.mouse.wheel(0, -300), page.keyboard.up("Control")
            zoomed(page, 8)
            page.click(".vl-zoom-whole")
            zoomed(page, 1, 1)
            assert zoom(page) == 1


def test_an_event_and_a_flip_open_their_clips_in_view_at_every_width(chromium):
    clips = labelings()
    bench = CompareBench(clips, ["model-1", "model-3"], n=20)
    seen = "() => { const b = document.querySelector('.vl-player h3').getBoundingClientRect(); return b.top >= -60 && b.bottom <= window.innerHeight }"
    with bare(chromium, bench) as page:
        table(page, "Events").locator(".vl-line").first.wait_for()
        for k, width in enumerate(widths(page, 900)):
            line = table(page, "Events").locator(".vl-line").nth(k)
            row = line.get_attribute("data-id")
            line.click()
            found = table(page, f"Clips with {row}")
            found.locator('[data-cell="decisive"]').first.wait_for()
            titled(page, found.locator('.vl-line[aria-rowindex="1"]').get_attribute("data-id"))
            page.wait_for_function(seen)


def test_space_in_the_list_plays_the_player_beside_it_alone_at_every_width(chromium):
    one, two = Player(long_clip(seconds=30.)), BrowseBench(long_clip(seconds=30.))
    with bare(chromium, one, two) as page:
        page.wait_for_selector(".vl-line")
        playing = lambda n: page.wait_for_function("n => [...document.querySelectorAll('.vl-play')].map(e => e.getAttribute('aria-pressed')).join() === n", arg=n)
        for width in widths(page):
            page.locator(".vl-play").nth(0).click()
            playing("true,false")
            page.focus(".vl-scroll")
            before = page.evaluate("() => window.scrollY")
            page.keyboard.press("Space")
            playing("false,true")
            assert page.evaluate("() => document.querySelector('.vl-scroll').scrollTop") == 0 and page.evaluate("() => window.scrollY") == before
            page.keyboard.press("Space")
            playing("false,false")


@pytest.mark.parametrize("dark", (False, True))
def test_browse_begins_with_the_worst_and_forced_colours_keep_the_marks_apart_at_every_width(chromium, dark):
    clips = labelings()
    bench = BrowseBench(clips)
    bench.table.picture, bench.table.pictures = (lambda clip: None), True
    with bare(chromium, bench, dark=dark) as page:
        page.wait_for_function("() => document.querySelectorAll('.vl-line .vl-picture').length > 5")
        for width in widths(page):
            lowest = bench.table.frame["model-1"].idxmin()
            assert page.locator('.vl-line[aria-rowindex="1"]').get_attribute("data-id") == lowest and page.inner_text(".vl-player h3") == lowest
            assert page.locator(".vl-line img").count() == 0                   # no picture, and no broken one
            inside(page, ".vl-player h3", ".vl-play", ".vl-ticks", ".vl-table .vl-sort")
        page.emulate_media(forced_colors="active")
        for width in widths(page):
            kinds = page.evaluate("""() => ['right', 'false', 'missed'].map(k => { const e = document.querySelector(`.vl-events .vl-${k}`); if (!e) return k; const c = getComputedStyle(e); return [c.backgroundImage, c.backgroundColor, c.borderStyle].join('|') })""")
            assert len(set(kinds)) == 3, kinds


def test_what_a_field_says_while_it_is_empty_can_be_read_whole(chromium, home):
    from valor_lab.workbench import WordSearch
    bench = BrowseBench(labelings())
    bench.search = WordSearch(bench.clips, bench.player.show)
    cut = """() => [...document.querySelectorAll('input[placeholder]')].filter(e => e.offsetParent).filter(e => { const c = getComputedStyle(e), g = document.createElement('canvas').getContext('2d');
        g.font = `${c.fontSize} ${c.fontFamily}`; return g.measureText(e.placeholder).width > e.clientWidth - parseFloat(c.paddingLeft) - parseFloat(c.paddingRight) - (e.list ? 22 : 0) }).map(e => e.placeholder)"""
    with bare(chromium, bench, Launcher(size="tiny", root=str(home/"data"), out=str(home/"runs"))) as page:
        page.wait_for_selector(".vl-line"), page.wait_for_selector(".vl-words-text")
        for width in (*WIDTHS, 390):
            page.set_viewport_size(dict(width=width, height=1000))
            settled(page), settled(page)
            assert page.evaluate(cut) == [], width
