"""The player with whatever people have: codecs that no browser plays, names with anything in them, one clip and none, one segment and many."""
import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("anywidget")
from bare import bare
from browser import CHROMIUM, MISSING, settled, sync_playwright
from odd_films import odd_film
from valor_lab.labels import SegmentLabels
from valor_lab.workbench import Clips, Player

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.skipif(sync_playwright is None, reason="no playwright here: pip install playwright")]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    return tmp_path


ODD = {   # name -> codecs of picture and sound, pixels
    "tv.mpg": ("mpeg2video", "mp2"), "camera.mov": ("prores_ks", "pcm_s16le", "yuv422p10le"), "disc.mkv": ("libx264", "ac3"), "phone.mp4": ("hevc", "aac"),
    "old.avi": ("mpeg4", "libmp3lame"), "still.avi": ("mjpeg", "pcm_s16le", "yuvj420p"), "lossless.m4a": (None, "alac"), "plain.mp4": ("libx264", "aac")}


def test_what_no_browser_plays_is_encoded_anew_with_picture_and_sound(chromium, home):
    files = {name: odd_film(home/name, *codecs) for name, codecs in ODD.items()}
    none = np.zeros((len(files), 2, 25), bool)
    player = Player(Clips(dict(truth=SegmentLabels(list(files), none, none, durations=np.full(len(files), 2.))), files=files, folders=(home,)))
    state = "() => { const v = document.querySelector('video'); return [v.videoWidth, v.webkitVideoDecodedByteCount > 0, v.webkitAudioDecodedByteCount > 0] }"
    with bare(chromium, player) as page:
        for clip in files:
            player.show(clip)
            page.wait_for_function("c => document.querySelector('.vl-player h3').textContent === c && document.querySelector('video').readyState >= 2 && !document.querySelector('.vl-play').disabled", arg=clip)
            page.click(".vl-play")
            page.wait_for_function("() => document.querySelector('video').currentTime > .2")
            page.wait_for_function("() => document.querySelector('video').webkitAudioDecodedByteCount > 0")
            seen = page.evaluate(state)
            assert seen == ([0, False, True] if clip.endswith("m4a") else [128, True, True]), (clip, seen)
            assert page.inner_text(".vl-screen p") == ("This file has sound and no picture." if clip.endswith("m4a") else "")
        assert not [m for m in page.desk.heard if m.get("again")]              # Python knew; the browser had to complain of none


def test_a_clip_that_fails_in_this_browser_is_asked_for_once_more_and_a_long_one_gets_a_sentence(chromium, home, monkeypatch):
    from valor_lab.media import copies
    from valor_lab.workbench import player as room
    file = odd_film(home/"tv.mp4", "mpeg4", "aac")
    none = np.zeros((1, 2, 25), bool)
    make = lambda: Player(Clips(dict(truth=SegmentLabels(["tv"], none, none, durations=[2.])), files={"tv": file}, folders=(home,)))
    monkeypatch.setattr(copies, "_KNOWN", {*copies._KNOWN, "mpeg4"})               # as if a list of codecs were behind the times
    with bare(chromium, make()) as page:
        page.wait_for_function("() => document.querySelector('video').videoWidth === 128 && !document.querySelector('.vl-play').disabled")
        assert len([m for m in page.desk.heard if m.get("again")]) == 1 and page.inner_text(".vl-screen p") == ""
    monkeypatch.undo(), monkeypatch.setenv("VALOR_ROOT", str(home)), monkeypatch.setattr(room, "ENCODED", 1)
    with bare(chromium, make()) as page:
        page.wait_for_function("() => document.querySelector('.vl-screen p').textContent.includes('valor cut tv.mp4')")
        assert "do not play mpeg4, and its 2 s are too long" in page.inner_text(".vl-screen p")
        assert page.locator(".vl-play").is_enabled() and page.locator(".vl-lane, .vl-events p").count()      # its labels can be read all the same


HOSTILE = ["<img src=x onerror=window.hacked=1>", "Tom & \"Jerry\" 'x'", "A"*60, "a, b", "$x_1$ 100%", "Ä/ö\\ü", "=1+2", "event #1"]
CLIPS = ["clip one", "a#b", "50%25", "ümläut", "<b>bold</b>", "x'y\"z", "=cmd", "a,b"]


def hostile(n=8, t=10, c=8, seed=0):
    "Clips, events and labelings that are called whatever people call them."
    from valor_lab.vocab import Vocab
    rng, names, ids = np.random.default_rng(seed), (HOSTILE + [f"event {k}" for k in range(c)])[:c], (CLIPS + [f"c{i}" for i in range(n)])[:n]
    vocab, mask = Vocab("odd", *[names]*3, *[[1.]*c]*2), rng.random((n, 1, c)) < .6
    on = lambda: mask & (rng.random((n, t, c)) < .5)
    labels = {k: SegmentLabels(ids, on(), on(), vocab, np.full(n, 10.)) for k in ("truth", "L"*80, "<i>other</i>")}
    return Clips(labels, labels["truth"].weak())


def test_names_with_anything_in_them_are_shown_opened_painted_saved_and_linked_to(chromium, home):
    from valor_lab.labels import open_overlay
    from valor_lab.workbench import BrowseBench
    clips = hostile()
    bench = BrowseBench(clips)
    bench.player.folder = str(home/"overlays")
    titled = "t => document.querySelector('.vl-player h3').textContent === t"
    with bare(chromium, bench, width=1280) as page:
        page.wait_for_selector(".vl-line")
        for clip in CLIPS:
            page.locator(".vl-line").nth([l.get_attribute("data-id") for l in page.locator(".vl-line").all()].index(clip)).click()
            page.wait_for_function(titled, arg=clip)
            shown = page.locator(".vl-event").all_inner_texts()
            assert shown == [e for e in HOSTILE if e in shown] and shown, (clip, shown)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 1280, clip
        page.click(".vl-link-button")                                          # a link to this clip, and back to it from another
        page.wait_for_function("() => document.querySelector('.vl-code').value.length > 8")
        code = page.input_value(".vl-code")
        bench.player.show(CLIPS[1])
        page.wait_for_function(titled, arg=CLIPS[1])
        page.fill(".vl-code", code), page.keyboard.press("Enter")
        page.wait_for_function(titled, arg=CLIPS[-1])
        page.select_option('select[data-filter="event"]', HOSTILE[0])
        page.wait_for_function("() => document.querySelector('.vl-count').textContent.includes(' of ')")
        page.focus(".vl-player"), page.keyboard.press("1")
        page.wait_for_selector(".vl-edit")
        page.focus(".vl-player"), page.keyboard.press("Control+s")
        page.wait_for_function("() => document.querySelector('.vl-correction').textContent.includes('saved as')")
        assert not page.evaluate("() => window.hacked") and page.locator("#desk img[src=x]").count() == 0 and page.locator("#desk b:not(.vl-interval b)").count() == 0
    stroke = open_overlay("corrected", clips.labelings["truth"], folder=str(home/"overlays")).edits[0]
    assert stroke["clip"] == CLIPS[-1] and stroke["event"] in HOSTILE


@pytest.mark.parametrize("n,t,c", [(1, 10, 1), (1, 1, 1), (3, 400, 2), (3, 10, 100)])
def test_one_clip_one_segment_four_hundred_and_a_hundred_events_are_shown(chromium, home, n, t, c):
    from valor_lab.workbench import BrowseBench, CompareBench
    with bare(chromium, BrowseBench(hostile(n, t, c)), CompareBench(hostile(n, t, c), n=20), width=1440) as page:
        page.wait_for_selector(".vl-line")
        first = page.locator(".vl-player").first
        first.focus()
        for key in ("+", "ArrowRight", "End", "-", "Home", "n"): page.keyboard.press(key)
        settled(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 1440
        lanes = first.locator(".vl-events .vl-lane")
        cells = lanes.first.get_attribute("data-cells") if lanes.count() else "."*t
        assert len(cells) == t and float(first.get_attribute("data-zoom")) >= 1


def test_no_clips_and_nothing_to_compare_are_sentences(home):
    from valor_lab.core import ParameterError
    from valor_lab.workbench import BrowseBench, CompareBench
    none = hostile()
    none = Clips({k: l.select([]) for k, l in none.labelings.items()}, none.weak.select([]), name="kitchen", split="val")
    for bench in (BrowseBench, CompareBench):
        with pytest.raises(ParameterError, match="no clips in kitchen, val: choose another split"): bench(none)
