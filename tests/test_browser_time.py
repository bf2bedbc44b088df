"""One time axis in the browser, too: at the playhead the video, the film strip and the lanes show the same second, wherever a file begins."""
import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("anywidget")
from bare import bare
from browser import CHROMIUM, MISSING, sync_playwright
from films import BITS, film
from valor_lab.grid import Window
from valor_lab.labels import SegmentLabels
from valor_lab.workbench import Clips, Player

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.skipif(sync_playwright is None, reason="no playwright here: pip install playwright")]

PLACES = (.5, 2.5, 4.5, 7.5, 9.5)          # the middle of a second, where a strip of seconds shows it; the last one among them
VIDEO = """() => { const v = document.querySelector('video'), c = document.createElement('canvas'); c.width = 120; c.height = 30;
  const g = c.getContext('2d', { willReadFrequently: true }); g.drawImage(v, 0, 0, 120, 30); return [...g.getImageData(0, 15, 120, 1).data] }"""
STRIP = """([t, n, ratio]) => { const c = document.querySelector('.vl-film canvas'), g = c.getContext('2d'), wide = c.width / n, k = Math.floor(t);
  const row = g.getImageData(Math.round(k * wide), Math.floor(c.height / 2), Math.floor(wide) - 1, 1).data, tile = c.height * ratio, cut = Math.max(0, (tile - wide) / 2);
  return [...Array(12).keys()].map(b => { const x = Math.round((b + .5) * Math.max(tile, wide) / 12 - cut); return x < 0 || x >= wide - 1 ? null : row[4 * x] }) }"""
LANES = """() => { const x = document.querySelector('.vl-head').getBoundingClientRect().left;
  return [...document.querySelectorAll('.vl-lane[data-name=truth] i')].filter(i => { const b = i.getBoundingClientRect(); return b.left <= x + 1 && x < b.right }).map(i => i.parentElement.dataset.event) }"""


def second_of(bars): return sum(1 << b for b, v in enumerate(bars) if v is not None and v > 127)/25


def staircase(ids):
    "Event k is heard in second k: the lanes tell which second they stand at."
    heard = np.zeros((len(ids), 10, 25), bool)
    heard[:, np.arange(10), np.arange(10)] = True
    return SegmentLabels(ids, heard, np.zeros_like(heard), durations=np.full(len(ids), 10.))


def shown_at(page, player, t):
    "`(video, strip, lanes)` in seconds with the playhead at `t`."
    player.time = float(t)
    page.wait_for_function("t => { const v = document.querySelector('video'); return !v.seeking && v.readyState > 1 && Math.abs(document.querySelector('.vl-ticks').getAttribute('aria-valuenow') - t) < .02 }", arg=t)
    page.wait_for_timeout(120)
    page.wait_for_function("() => { const v = document.querySelector('video'); return !v.seeking && v.readyState > 1 }")
    px = page.evaluate(VIDEO)
    video = second_of([px[4*int((b + .5)*120/BITS)] for b in range(BITS)])
    lanes = page.evaluate(LANES)
    return video, second_of(page.evaluate(STRIP, [t, 10, 3])), [player.clips.vocab.index(e) for e in dict.fromkeys(lanes)]


@pytest.mark.parametrize("name,codecs", [("x.mp4", ("libx264", "aac")), ("x.webm", ("libvpx", "libopus"))], ids=["mp4", "webm"])
def test_video_strip_and_lanes_show_the_second_at_the_playhead_wherever_the_file_begins(chromium, tmp_path, name, codecs):
    files = {}
    for start in (0, 3, 7.6):
        (folder := tmp_path/str(start)).mkdir()
        files[f"from {start}"] = film(folder/name, np.arange(250)/25, (0, 10), start, None, codecs)
    (folder := tmp_path/"long").mkdir()
    files["window"] = Window(film(folder/name, np.arange(1000)/25, (0, 40), 3, None, codecs, gop=50), 21, 31)
    player = Player(Clips(dict(truth=staircase(list(files))), files=files, folders=(tmp_path,)))
    with bare(chromium, player) as page:
        for clip in files:
            player.show(clip)
            page.wait_for_function("c => document.querySelector('.vl-player').dataset.pictures === c && document.querySelector('video').readyState > 1", arg=clip)
            begin = 21. if clip == "window" else 0.
            for t in PLACES:
                video, strip, lanes = shown_at(page, player, t)
                assert abs(video - begin - t) <= .2 and abs(strip - begin - t) <= .2 and lanes == [int(t)], (clip, t, video, strip, lanes)


def test_what_is_missing_is_drawn_as_missing_and_said_in_the_legend(chromium, tmp_path):
    files = {"short": film(tmp_path/"short.mp4", np.arange(200)/25, (0, 5)), "whole": film(tmp_path/"whole.mp4", np.arange(250)/25, (0, 10))}
    truth = staircase(list(files))
    player = Player(Clips(dict(truth=truth, run=truth), files=files, folders=(tmp_path,)))
    cells = lambda page, modality: {row.get_attribute("data-cells") for row in page.locator(f".vl-lane[data-name=run][data-modality={modality}]").all()}
    with bare(chromium, player) as page:
        page.wait_for_selector(".vl-track i.vl-absent")
        assert all(c[5:] == "xxxxx" for c in cells(page, "audio")) and all(c[8:] == "xx" and "x" not in c[:8] for c in cells(page, "visual"))
        assert page.locator(".vl-legend >> text=no sound or picture there").is_visible()
        assert "5 to 10 s nothing to hear or see" in page.locator(".vl-lane[data-name=run][data-modality=audio]").first.get_attribute("aria-label")
        player.show("whole")
        page.wait_for_function("() => !document.querySelector('.vl-track i.vl-absent')")
        assert page.locator(".vl-legend >> text=no sound or picture there").is_hidden()
