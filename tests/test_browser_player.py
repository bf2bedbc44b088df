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
