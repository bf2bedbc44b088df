"Time, right on every kind of file: each segment sees and hears the second that it is, or is missing."
from pathlib import Path

import numpy as np, pytest

av = pytest.importorskip("av")
from hypothesis import HealthCheck, given, settings, strategies as st

from films import RATE, film, joined, second_heard, second_seen
from valor_lab.core import ParameterError
from valor_lab.datasets import cut, shorter
from valor_lab.grid import Grid, Window, put_together, windows
from valor_lab.harvest import Teacher, harvest
from valor_lab.media import MediaError, measure, read_audio, read_clip, read_frames

EVEN = np.arange(250)/25
SLOW = np.array([0, 1, 2, 3, 4, *5 + np.arange(125)/25])


def seen(clip): return np.array([second_seen(f) for f in clip.frames])


def heard(clip, length=10):
    "Which second is heard in the middle of each second; None where it is silent."
    x = clip.sound(length)
    return [second_heard(x[round((k + .3)*clip.rate):round((k + .7)*clip.rate)], clip.rate) for k in range(length)]


def right(clip, length=10, tolerance=.05):
    "At the centres every picture is the one of its second, and every sound."
    reached = Grid(length, 1.).reached(clip.spans.get("visual", ()))
    assert np.abs(seen(clip)[reached] - (np.arange(length) + .5)[reached]).max(initial=0) <= tolerance
    for k, (s, has) in enumerate(zip(heard(clip, length), Grid(length, 1.).reached(clip.spans.get("audio", ())))): assert s is None if not has else abs(s - k) < .3, (k, s)


STARTS = [("x.mp4", None, ("libx264", "aac")), ("x.mkv", None, ("libx264", "aac")), ("x.ts", "mpegts", ("libx264", "aac")), ("x.webm", None, ("libvpx", "libopus")), ("x.mov", None, ("libx264", "aac"))]


@pytest.mark.parametrize("start", [0, 1.46, 3, 7.6, 1000])
@pytest.mark.parametrize("name,container,codecs", STARTS, ids=[s[0] for s in STARTS])
def test_a_file_that_starts_at_any_time_is_whole_and_its_axis_begins_at_zero(tmp_path, name, container, codecs, start):
    clip = read_clip(film(tmp_path/name, EVEN, (0, 10), start, container, codecs), sampling="centres", rate=RATE)
    assert clip.reasons == {} and clip.duration == pytest.approx(10, abs=.12) and clip.start == pytest.approx(start, abs=.1)
    right(clip, tolerance=.09)


def test_slow_then_fast_is_seen_as_ffmpeg_shows_it(tmp_path):
    file = film(tmp_path/"x.mp4", SLOW)
    assert np.allclose(seen(read_clip(file)), [0, 1, 2, 3, 4, 5.36, 6.48, 7.48, 8.6, 9.72], atol=.05)
    assert np.allclose(seen(read_clip(file, sampling="centres")), [0, 1, 2, 3, 4, 5.48, 6.48, 7.48, 8.48, 9.48], atol=.05)


def test_a_picture_that_begins_late_is_seen_as_ffmpeg_shows_it_and_known_to_be_late(tmp_path):
    clip = read_clip(film(tmp_path/"x.mp4", 2 + np.arange(200)/25))
    assert np.allclose(seen(clip)[:4], [2, 2, 2.12, 3.08], atol=.05) and clip.spans["visual"][0] == pytest.approx((2, 10), abs=.05)
    assert Grid(10, 1.).reached(clip.spans["visual"]).tolist() == [False]*2 + [True]*8


def test_sound_that_ends_early_lies_where_it_lies(tmp_path):
    clip = read_clip(film(tmp_path/"x.mp4", EVEN, (0, 5)), sampling="centres", rate=RATE)
    assert clip.reasons == {} and clip.duration == pytest.approx(10, abs=.05) and clip.spans["audio"][-1][1] == pytest.approx(5, abs=.1)
    assert [None if s is None else round(s) for s in heard(clip)] == [0, 1, 2, 3, 4] + [None]*5
    right(clip)


def test_a_hole_in_the_sound_is_known_as_one(tmp_path):
    file = film(tmp_path/"x.mkv", EVEN, (0, 10))
    with av.open(str(file)) as src, av.open(str(tmp_path/"hole.mkv"), "w") as out:
        pairs = {s: out.add_stream_from_template(s) for s in src.streams}
        for p in src.demux():
            if p.dts is None or p.stream.type == "audio" and 3 <= p.pts*p.time_base < 7: continue
            p.stream = pairs[p.stream]
            out.mux(p)
    clip = read_clip(tmp_path/"hole.mkv", sampling="centres", rate=RATE)
    assert Grid(10, 1.).reached(clip.spans["audio"]).tolist() == [True]*3 + [False]*4 + [True]*3
    right(clip)


def test_time_stamps_that_begin_anew_go_on_where_they_were(tmp_path):
    parts = [film(tmp_path/f"{k}.ts", times, sound, -times[0], "mpegts") for k, times, sound in ((0, EVEN[:125], (0, 5)), (1, EVEN[125:], (5, 10)))]
    clip = read_clip(joined(tmp_path/"x.ts", *parts), sampling="centres", rate=RATE)
    assert clip.duration == pytest.approx(10, abs=.3) and np.abs(seen(clip) - np.arange(10) - .5).max() < .2
    assert [round(s) for s in heard(clip)] == list(range(10))


@pytest.mark.parametrize("jump", [40, 12, -3, 3600])
def test_time_stamps_that_jump_go_on_where_they_were(tmp_path, jump):
    parts = [film(tmp_path/f"{k}.ts", times, sound, 5 + k*jump, "mpegts") for k, times, sound in ((0, EVEN[:125], (0, 5)), (1, EVEN[125:], (5, 10)))]
    clip = read_clip(joined(tmp_path/"x.ts", *parts), sampling="centres", rate=RATE)
    assert clip.duration == pytest.approx(10, abs=.3) and np.abs(seen(clip) - np.arange(10) - .5).max() < .2
    assert [round(s) for s in heard(clip)] == list(range(10))


def test_a_slide_show_in_matroska_is_no_jump(tmp_path):
    clip = read_clip(film(tmp_path/"x.mkv", np.array([0., 15, 30]), (0, 40)), n=40, sampling="centres", rate=RATE)
    assert clip.reasons == {} and seen(clip).tolist() == [0]*15 + [15]*15 + [30]*10 and clip.duration == pytest.approx(40, abs=.1)


@pytest.mark.parametrize("name", ["x.mp3", "x.aac"])
def test_raw_sound_is_not_called_truncated_by_a_guess(tmp_path, name):
    "Five seconds of silence at a low rate, then noise: FFmpeg's guess of the duration is many times too long."
    x = np.concatenate([np.zeros(5*48_000), np.random.default_rng(0).uniform(-.5, .5, 5*48_000)]).astype(np.float32)
    with av.open(str(tmp_path/name), "w", options={"write_xing": "0"} if name == "x.mp3" else {}) as out:
        a = out.add_stream("libmp3lame" if name == "x.mp3" else "aac", rate=48_000, layout="mono", options={"q": "2", "b": "0"} if name == "x.mp3" else {})
        if name == "x.mp3": a.codec_context.options = {"global_quality": "236"}
        f = av.AudioFrame.from_ndarray(x[None], format="fltp", layout="mono")
        f.sample_rate, f.pts = 48_000, 0
        for p in [*a.encode(f), *a.encode(None)]: out.mux(p)
    clip = read_clip(tmp_path/name)
    assert clip.reasons == {"visual": "no video stream"} and clip.duration == pytest.approx(10, abs=.1)


def test_matroska_that_breaks_off_is_known_by_its_bytes(tmp_path):
    data = film(tmp_path/"x.mkv", EVEN, (0, 10), 7).read_bytes()
    (tmp_path/"cut.mkv").write_bytes(data[:len(data)*6//10])
    clip = read_clip(tmp_path/"cut.mkv")
    assert clip.truncated and "bytes are lacking" in clip.reasons["truncated"]


@pytest.mark.parametrize("name,container", [("x.mp4", None), ("x.mkv", None), ("x.ts", "mpegts")])
@pytest.mark.parametrize("start", [0, 7.6])
def test_a_window_is_read_alone_and_holds_what_the_whole_holds_there(tmp_path, name, container, start):
    file = film(tmp_path/name, np.arange(1500)/25, (0, 60), start, container, gop=50)
    for a in (0, 20, 41.5, 50):
        clip = read_clip(Window(file, a, a + 10), sampling="centres", rate=RATE)
        assert clip.duration == pytest.approx(10, abs=.1) and np.abs(seen(clip) - a - np.arange(10) - .5).max() < .1
        got = [second_heard(clip.audio[round((k + .6)*RATE):round((k + .9)*RATE)], RATE) for k in range(10)]
        assert np.abs(np.array(got, float) - np.floor(a + np.arange(10) + .6)).max() < .4
    late = read_clip(Window(file, 55, 65), sampling="centres", rate=RATE)
    assert late.duration == pytest.approx(5, abs=.15) and Grid(10, 1.).reached(late.spans["visual"]).tolist() == [True]*5 + [False]*5
    with pytest.raises(MediaError, match="ends at"): read_clip(Window(file, 70, 80))


def test_a_window_reads_only_its_own_packets(tmp_path):
    from valor_lab.media.files import open_media
    from valor_lab.media.packets import wind
    file = film(tmp_path/"x.mp4", np.arange(7500)/25, (0, 300), gop=50)
    with open_media(file) as f: reel = wind(f, file, start=200, stop=210)
    assert sum(reel.counts.values()) < 900 and len(reel.packets) < 900     # of 21,563


def test_duration_is_measured_and_never_claimed(tmp_path):
    zero, duration, ends = measure(film(tmp_path/"x.mkv", EVEN, (0, 5), 7))
    assert zero == pytest.approx(7, abs=.1) and duration == pytest.approx(10, abs=.1) and ends["audio"] == pytest.approx(5, abs=.1)


def test_pictures_alone_and_sound_alone_lie_on_the_same_axis(tmp_path):
    file = film(tmp_path/"x.mp4", 2 + np.arange(200)/25, (0, 10))
    both, pictures, sound = read_clip(file, rate=RATE), read_clip(file, rate=None), read_clip(file, None, rate=RATE)
    assert np.array_equal(both.frame_times, pictures.frame_times) and np.array_equal(both.audio, sound.audio)
    assert both.duration == pytest.approx(pictures.duration, abs=.03) and both.duration == pytest.approx(sound.duration, abs=.03)


def test_what_is_skipped_changes_no_picture(tmp_path):
    rng = np.random.default_rng(0)
    frames = np.cumsum(rng.integers(-3, 4, (120, 64, 96, 3)), 0).clip(0, 255).astype(np.uint8)
    from valor_lab.media import write_clip
    file = write_clip(tmp_path/"x.mp4", frames, None, fps=12, options={"preset": "medium", "bf": "3", "b-pyramid": "normal"})
    with av.open(str(file)) as f: every = np.stack([x.to_ndarray(format="rgb24") for x in f.decode(video=0)])
    for n, sampling in ((10, "published"), (7, "centres"), (80, "published")):
        clip = read_clip(file, n, sampling)
        assert np.array_equal(clip.frames, np.stack([x for x in every])[np.round(clip.frame_times*12).astype(int)])


patterns = st.lists(st.tuples(st.sampled_from([.04, .12, .52, 1.]), st.integers(3, 30)), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(patterns, st.sampled_from([0., .5, 3., 7.6, 90.]), st.floats(0, 3).map(lambda x: round(x, 2)), st.floats(4, 12).map(lambda x: round(x, 2)), st.integers(0, 2),
       st.sampled_from([("x.mp4", None), ("x.mkv", None), ("x.ts", "mpegts")]), st.sampled_from([None, (0, 5), (3, 8.5), (2.4, 20)]))
def test_the_second_seen_and_heard_at_t_is_the_second_at_t(tmp_path_factory, pattern, start, begins, ends, late, kind, window):
    "Any start, rates, stream lengths and window. The picture begins at `late` seconds, the sound lies from `begins` to `ends`."
    times = late + np.concatenate([[0], np.cumsum(np.concatenate([[d]*n for d, n in pattern]))])
    times, last = times[:-1], times[-1]
    file = film(tmp_path_factory.mktemp("films")/kind[0], times, (begins, ends), start, kind[1])
    zero = min(times[0], begins)
    a, b = window or (0., max(last, ends) - zero)
    try: clip = read_clip(Window(file, a, b) if window else file, 12, "centres", rate=RATE)
    except MediaError as e:
        assert window and a + zero >= min(last, ends) - .2, e
        return
    at = a + zero + (np.arange(12) + .5)*((b - a) if window else clip.duration)/12
    here = (at > times[0] + .1) & (at < last - .1) if clip.frames is not None else np.zeros(12, bool)
    shown = times[np.searchsorted(times, at, side="right") - 1]
    for k in np.flatnonzero(here): assert min(abs(second_seen(clip.frames[k]) - times[max(0, np.searchsorted(times, at[k] + e, side="right") - 1)]) for e in (-.09, 0, .09)) < .045, (k, at[k])
    if clip.audio is None: return
    for t in np.arange(np.ceil(max(begins, a + zero)), np.floor(min(ends, b + zero))):
        i = round((t + .3 - zero - a)*RATE)
        piece = clip.audio[i:i + round(.4*RATE)] if i >= 0 else []
        if len(piece) == round(.4*RATE): assert abs(second_heard(piece, RATE) - t) < .4, t


# harvest

class Eye(Teacher):
    modality, name, fingerprint, scale, width, device, config = "visual", "eye", "eye1", 1., 2, "cpu", {}
    def embed_clips(self, clips): return [np.array([[second_seen(f), 1] for f in c], np.float32) for c in clips]
    def _embed_text(self, captions): return np.zeros((len(captions), 2), np.float32)


class Ear(Eye):
    modality, name, fingerprint = "audio", "ear", "ear1"
    def embed_clips(self, clips, n):
        out = []
        for x in clips:
            parts = [x[round(len(x)*k/n):round(len(x)*(k + 1)/n)] for k in range(n)]
            heard = [second_heard(p[round(.3*len(p)):round(.7*len(p))], 48_000) for p in parts]
            out.append(np.array([[-1 if s is None else s, 1] for s in heard], np.float32))
        return out


def stored(files, folder, **k):
    return harvest(files, Eye(), Ear(), folder/"store", vocab=None, progress=False, workers=0, **k)


def test_each_segment_sees_and_hears_its_second_or_is_missing_with_the_reason(tmp_path):
    files = [film(tmp_path/"early.mp4", EVEN, (0, 5)), film(tmp_path/"late.mp4", 2 + np.arange(200)/25), film(tmp_path/"slow.mp4", SLOW), film(tmp_path/"start.mkv", EVEN, (0, 10), 7)]
    for sampling in ("published", "centres"):
        (folder := tmp_path/sampling).mkdir()
        store = stored(files, folder, sampling=sampling)
        missing = dict(zip(store.ids, np.isnan(np.stack([store.audio[..., 0], store.visual[..., 0]], 1).astype(float))))
        assert missing["early"].tolist() == [[False]*5 + [True]*5, [False]*10] and missing["late"].tolist() == [[False]*10, [True]*2 + [False]*8]
        assert not missing["slow"].any() and not missing["start"].any()
        for n, i in enumerate(store.ids):
            seen = store.visual[n, :, 0].astype(float) - np.arange(10) - .5
            assert np.nanmax(np.abs(store.audio[n, :, 0].astype(float) - np.arange(10))) < .3 and np.nanmax(np.abs(seen)[5:] if i == "slow" else np.abs(seen)) < (.7 if sampling == "published" else .1), i
        said = dict(zip(store.failures.id, store.failures.reason))
        assert said == {"early": "the sound ends at 5.0 s: segments 6 to 10 of 10 missing", "late": "the picture begins at 2.0 s: segments 1 to 2 of 10 missing"}


@pytest.mark.parametrize("length", [3, 6, 12])
def test_a_clip_that_is_not_as_long_as_its_labels_is_a_finding_and_keeps_their_seconds(tmp_path, length):
    store = stored([film(tmp_path/"BjCEufrlXm4_20_30.mp4", np.arange(25*length)/25, (0, length))], tmp_path, sampling="centres")
    has = np.arange(10) < length
    assert store.failures.set_index("modality").reason["length"] == f"{length:.1f} s, labelled 10" and store.durations[0] == pytest.approx(length, abs=.05)
    assert np.allclose(store.visual[0, has, 0].astype(float), np.arange(10)[has] + .5, atol=.1) and np.isnan(store.visual[0, ~has].astype(float)).all()
    assert store.labelled.tolist() == [10.]


def test_the_published_alignment_stretches_by_name(tmp_path):
    store = stored([film(tmp_path/"x.mp4", EVEN, (0, 5))], tmp_path, alignment="published")
    assert np.round(store.audio[0, :, 0].astype(float)).tolist() in ([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], [0, 1, 1, 2, 2, 3, 3, 4, 4, 4]) and not len(store.failures)


def test_a_recording_is_harvested_by_windows_and_its_seconds_are_its_own(tmp_path):
    file = film(tmp_path/"talk.mkv", np.arange(25*34)/25, (0, 34), 3)
    store = stored([file], tmp_path, sampling="centres", window=10, hop=10)
    assert store.ids == ("talk_0_10", "talk_10_20", "talk_20_30", "talk_30_40")
    absolute = np.arange(40).reshape(4, 10) + .5
    seen, heard_ = store.visual[..., 0].astype(float), store.audio[..., 0].astype(float)
    assert np.isnan(seen[3, 4:]).all() and np.isnan(heard_[3, 4:]).all()
    assert np.nanmax(np.abs(seen - absolute)) < .12 and np.nanmax(np.abs(heard_ - absolute + .5)) < .3
    assert np.allclose(put_together([0, 10, 20, 30], store.visual)[:34, 0], np.arange(34) + .5, atol=.12)
    again = stored(windows(file, 34, 10), tmp_path/"again", sampling="centres")
    assert again.ids == store.ids and np.array_equal(again.visual, store.visual, equal_nan=True)


def test_scores_of_what_is_missing_are_nan_and_give_no_label(tmp_path):
    from valor_lab.harvest import elaborate
    from valor_lab.vocab import LLP
    store = harvest([film(tmp_path/"x.mp4", EVEN, (0, 5))], Eye(), Ear(), tmp_path/"store", progress=False, workers=0)
    scores = store.scores()
    assert np.isnan(scores.audio[0, 5:]).all() and not np.isnan(scores.audio[0, :5]).any()
    low = LLP.with_thresholds(clip=np.full(25, -9.), clap=np.full(25, -9.))
    labels = elaborate(store.scores(low))
    assert labels.audio[0, :5].all() and not labels.audio[0, 5:].any() and labels.visual.all()


# cut

def test_cut_gives_picture_and_sound_of_the_seconds_that_were_asked_for(tmp_path):
    for name, start, container, gop in (("a.ts", 1.46, "mpegts", 250), ("b.ts", 11.4, "mpegts", 250), ("c.mkv", 7, None, 25), ("d.mp4", 0, None, 250)):
        out = cut(film(tmp_path/name, np.arange(25*14)/25, (0, 14), start, container, gop=gop), tmp_path/f"{name}.mp4", 3, 13)
        clip = read_clip(out, sampling="centres", rate=RATE)
        assert clip.duration == pytest.approx(10, abs=.1) and np.abs(seen(clip) - np.arange(10) - 3.5).max() < .1, name
        assert clip.spans["visual"][0][0] < .05 and clip.spans["audio"][0][0] < .05
        assert [round(s) for s in heard(clip)] == list(range(3, 13)), name


def test_a_clip_that_is_shorter_than_its_id_says_is_named_in_the_ledger(tmp_path):
    out = cut(film(tmp_path/"nine.mp4", np.arange(225)/25, (0, 9)), tmp_path/"BjCEufrlXm4_3_13.mp4", 3, 13)
    assert shorter(out, "BjCEufrlXm4_3_13") == "6.0 s, labelled 10"
    with pytest.raises(ParameterError, match="ends before second 30"): cut(tmp_path/"nine.mp4", tmp_path/"y.mp4", 30, 40)


# labels and scores of another grid

def test_labels_of_one_grid_are_not_scored_against_another():
    from valor_lab.labels import SegmentLabels
    from valor_lab.metrics import avvp_scores
    empty = np.zeros((1, 10, 25), bool)
    with pytest.raises(ParameterError, match=r"the prediction: 10 segments of 1.2 s, the truth: of 1 s"):
        avvp_scores(SegmentLabels(["a"], empty, empty, durations=[12.]), SegmentLabels(["a"], empty, empty))


# the browser's pieces

def test_a_file_that_a_browser_cannot_play_to_its_end_is_copied_to_begin_at_zero(tmp_path):
    from valor_lab.media import copied_packets, needs_copy
    late, webm = film(tmp_path/"x.mp4", EVEN, (0, 10), 7.6), film(tmp_path/"x.webm", EVEN, (0, 10), 7.6, None, ("libvpx", "libopus"))
    assert needs_copy(late) and not needs_copy(webm) and not needs_copy(film(tmp_path/"zero.mp4", EVEN))
    data, kind, start = copied_packets(late)
    (tmp_path/"copy.mp4").write_bytes(data)
    assert kind == "video/mp4" and start == pytest.approx(0, abs=.1)
    right(read_clip(tmp_path/"copy.mp4", sampling="centres", rate=RATE), tolerance=.1)


def test_a_window_is_copied_alone(tmp_path):
    from valor_lab.media import copied_packets
    file = film(tmp_path/"x.mp4", np.arange(7500)/25, (0, 300), 3, gop=50)
    data, _, start = copied_packets(Window(file, 200, 210))
    (tmp_path/"copy.mp4").write_bytes(data)
    assert len(data) < file.stat().st_size/12
    clip = read_clip(Window(tmp_path/"copy.mp4", start, start + 9), n=9, sampling="centres", rate=RATE)
    assert np.abs(seen(clip) + 163.84 - 200.5 - np.arange(9)).max() < .15          # twelve bars count to 163.84 s


@pytest.mark.parametrize("length", [3, 12])
def test_the_film_strip_shows_the_seconds_under_which_it_is_drawn(tmp_path, length):
    from PIL import Image
    import io
    from valor_lab.workbench import clipset
    jpeg, wave = clipset.film(film(tmp_path/"x.mp4", np.arange(25*length)/25, (0, length)), 10, 10.)
    tiles = np.split(np.asarray(Image.open(io.BytesIO(jpeg))), 10, 1)
    here = [k for k in range(10) if k < length]
    assert np.abs([second_seen(tiles[k]) - k - .5 for k in here]).max() < .06 and all(tiles[k].mean() > 220 for k in range(10) if k >= length)
    loud = np.abs(np.frombuffer(wave, np.int8)).reshape(10, -1).max(1)
    assert (loud[:min(10, length)] > 30).all() and (loud[length:] < 3).all()


# names

def test_a_file_is_found_whatever_the_case_of_its_ending_the_form_of_its_umlauts_or_the_extension_in_the_table(tmp_path):
    import unicodedata, warnings
    from valor_lab.media import find_clips
    name = "Übung"
    for n in ("00001.MTS", unicodedata.normalize("NFD", name) + ".mp4", "c.xyz", "notes.txt"): (tmp_path/n).write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"1 files passed over.*c\.xyz"): found = find_clips(tmp_path)
    assert len(found) == 2 and "00001" in set(found.id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_id = find_clips(["00001.MTS", "00001.mts"[:5] + ".x", unicodedata.normalize("NFC", name)], tmp_path).set_index("id").path
    assert by_id["00001.MTS"].name == "00001.MTS" and by_id["00001.x"] is None and by_id[name].stem == unicodedata.normalize("NFD", name)


# long recordings

def test_a_long_recording_is_read_by_windows_in_memory_that_does_not_grow(tmp_path):
    "The packets that a window keeps are as many at the end of an hour as at its beginning, and no more than in five minutes."
    from valor_lab.media.files import open_media
    from valor_lab.media.packets import wind
    kept = {}
    for minutes in (5, 60):
        t = np.arange(minutes*60*2)/2
        file = film(tmp_path/f"{minutes}.mkv", t, (0, 30), gop=20)
        assert measure(file)[1] == pytest.approx(minutes*60, abs=1)
        for at in (0, minutes*60//2, minutes*60 - 10):
            with open_media(file) as f: reel = wind(f, file, start=at, stop=at + 10)
            kept[minutes, at] = sum(p.size for p in reel.packets), len(reel.packets)
            clip = read_clip(Window(file, at, at + 10), n=10, sampling="centres", rate=RATE)
            assert np.abs((seen(clip) - at - .5 - np.arange(10) + 80) % 163.84 - 80).max() < .6
    sizes = [n for (m, a), (_, n) in kept.items() if a]
    assert max(sizes) < 80, kept


def test_the_command_cut_writes_windows_as_files_and_says_what_is_short(tmp_path, capsys):
    from valor_lab.cli import main
    film(tmp_path/"walk.ts", np.arange(25*24)/25, (0, 24), 11.4, "mpegts", gop=250)
    assert main(["cut", str(tmp_path/"walk.ts"), "--out", str(tmp_path/"cut"), "--window", "10"]) == 0
    said = capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path/"cut").glob("*.mp4")) == ["walk_0_10.mp4", "walk_10_20.mp4", "walk_20_30.mp4"]
    assert "walk_20_30.mp4\t4.0 s, labelled 10" in said and (tmp_path/"cut"/"windows.csv").read_text().count("\n") == 4
    for k in range(2):
        clip = read_clip(tmp_path/"cut"/f"walk_{10*k}_{10*k + 10}.mp4", sampling="centres", rate=RATE)
        assert np.abs(seen(clip) - 10*k - np.arange(10) - .5).max() < .1 and [round(s) for s in heard(clip)] == list(range(10*k, 10*k + 10))
    (tmp_path/"note.mp4").write_text("no video")
    assert main(["cut", str(tmp_path/"walk.ts"), str(tmp_path/"note.mp4"), "--out", str(tmp_path/"cut")]) == 1 and "note.mp4\tnot cut" in capsys.readouterr().out


@pytest.mark.parametrize("name,container,codecs", [("x.mp4", None, ("libx264", "aac")), ("x.mkv", None, ("libx264", "aac")), ("x.webm", None, ("libvpx", "libopus")), ("x.flv", None, ("libx264", "aac"))], ids=["mp4", "mkv", "webm", "flv"])
def test_two_files_one_behind_the_other_are_refused_where_half_would_be_lost_or_seconds_mixed(tmp_path, name, container, codecs):
    parts = [film(tmp_path/f"{k}{name}", EVEN[:125] + 5*k, (5*k, 5 + 5*k), -5*k, container, codecs) for k in (0, 1)]
    read_clip(parts[0])
    both = joined(tmp_path/name, *parts)
    for read in (read_clip, measure, lambda p: read_clip(Window(p, 1, 3))):
        with pytest.raises(MediaError, match=f"a second one begins at byte {parts[0].stat().st_size:,}"): read(both)


def test_sound_put_one_behind_the_other_is_whole_or_refused(tmp_path):
    for name in ("x.wav", "x.flac", "x.mp3", "x.ogg"):
        parts = [film(tmp_path/f"{k}{name}", None, (5*k, 5 + 5*k), -5*k, None, (None, {"x.wav": "pcm_s16le", "x.flac": "flac", "x.mp3": "libmp3lame", "x.ogg": "libopus"}[name])) for k in (0, 1)]
        read_clip(parts[1])
        both = joined(tmp_path/name, *parts)
        if name in ("x.wav", "x.flac"):
            with pytest.raises(MediaError, match="two files one behind the other"): read_clip(both)
        else: assert read_clip(both).duration == pytest.approx(10, abs=.15) and [None if s is None else round(s) for s in heard(read_clip(both))][1:9] == list(range(1, 9))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_what_is_cut_is_as_upright_as_its_source(tmp_path, degrees):
    file = film(tmp_path/"x.mp4", EVEN, (0, 10))
    with av.open(str(file)) as src, av.open(str(tmp_path/"turned.mp4"), "w") as out:
        pairs = {s: out.add_stream_from_template(s) for s in src.streams}
        pairs[src.streams.video[0]].set_display_rotation(degrees)
        for p in src.demux():
            if p.dts is None: continue
            p.stream = pairs[p.stream]
            out.mux(p)
    whole, part = (read_clip(p, 4, "centres", rate=None) for p in (Window(tmp_path/"turned.mp4", 3, 7), cut(tmp_path/"turned.mp4", tmp_path/"cut.mp4", 3, 7)))
    assert whole.frames.shape == part.frames.shape == (4, *((96, 32) if degrees != 180 else (32, 96)), 3)
    assert np.abs(whole.frames.astype(int) - part.frames).mean() < 8


def test_a_transport_stream_is_unwrapped_for_the_browser_even_where_it_begins_in_the_middle(tmp_path):
    from valor_lab.media import copied_packets, needs_copy
    data = film(tmp_path/"x.ts", EVEN, (0, 10), 1.46, "mpegts", gop=50).read_bytes()
    (tmp_path/"torn.ts").write_bytes(data[len(data)//4//188*188:])
    for name, begin in (("x.ts", 0.), ("torn.ts", None)):
        assert needs_copy(tmp_path/name)
        copy, kind, start = copied_packets(tmp_path/name)
        (tmp_path/"copy.mp4").write_bytes(copy)
        ours, theirs = (read_clip(Window(p, at, at + 4), 8, "centres", rate=None) for p, at in ((tmp_path/name, 2), (tmp_path/"copy.mp4", 2 + start)))
        assert kind == "video/mp4" and np.array_equal(seen(ours), seen(theirs)), name
        with av.open(str(tmp_path/"copy.mp4")) as f: assert next(p for p in f.demux(video=0) if p.size).is_keyframe


class Turning(Eye):
    "An eye whose scores turn with the seconds that it sees: an event is on for some of them."
    def embed_clips(self, clips): return [np.array([[np.cos(second_seen(f)), np.sin(second_seen(f))] for f in c], np.float32) for c in clips]
    def _embed_text(self, captions): return np.random.default_rng(len(captions)).normal(size=(len(captions), 2)).astype(np.float32)


class Listening(Ear):
    "The same for what it hears."
    def embed_clips(self, clips, n): return [np.array([[np.cos(s), np.sin(s)] for s in x[:, 0]], np.float32) for x in super().embed_clips(clips, n)]
    def _embed_text(self, captions): return Turning._embed_text(self, captions)


def test_a_recording_put_together_has_the_labels_of_its_windows_and_their_sums(tmp_path):
    from valor_lab.harvest import Thresholds, elaborate
    file = film(tmp_path/"talk.mkv", np.arange(2*163)/2, (0, 150), 3, gop=20)             # 163 s; the sound ends at 150
    store = harvest([file], Turning(), Listening(), tmp_path/"store", sampling="centres", progress=False, workers=0, window=10)
    parts = elaborate(store.scores(), None, Thresholds(np.full(25, .2), np.full(25, .2)))
    truth, sums = np.random.default_rng(0).random((2, len(parts), 10, 25)) < .3, []
    counts = lambda said, true: [int((said & true).sum()), int((said & ~true).sum()), int((~said & true).sum())]
    assert len(parts) == 17
    for m, t in zip(("audio", "visual"), truth):
        each = getattr(parts, m)
        whole = put_together([10.*k for k in range(17)], each) > .5
        assert each.any() and np.array_equal(whole, each.reshape(170, 25))
        assert counts(whole, t.reshape(170, 25)) == np.sum([counts(a, b) for a, b in zip(each, t)], 0).tolist()
    assert not parts.audio.reshape(170, 25)[150:].any() and parts.visual.reshape(170, 25)[150:163].any() and not parts.visual.reshape(170, 25)[163:].any()


@pytest.mark.parametrize("codecs", [("mpeg4", "libmp3lame"), ("libx264", "ac3")], ids=["mp3", "ac3"])
def test_an_avi_whose_sound_is_counted_in_packets_is_cut(tmp_path, codecs):
    from odd_films import odd_film
    from valor_lab.media import measure
    part = cut(odd_film(tmp_path/"x.avi", *codecs, seconds=3), tmp_path/"cut.mp4", 1, 2)
    assert measure(part)[1] == pytest.approx(1, abs=.1)
    clip = read_clip(part, 4, "centres", rate=RATE)
    assert np.abs(clip.sound(1)).max() > .2 and np.diff(clip.frames.mean((1, 2, 3))).min() > 5 and 80 < clip.frames[0].mean() < 115


@pytest.mark.parametrize("name", ["x.mp4", "x.mov"])
@pytest.mark.parametrize("start", [-3.3, -.4, -4.04])
def test_an_edit_list_that_hides_a_key_picture_hides_no_more_than_it_says(tmp_path, name, start):
    "What `ffmpeg -ss -c copy` writes: decoding begins at a key picture that is not shown."
    file = film(tmp_path/name, EVEN, (0, 10), start=start, gop=100)
    clip = read_clip(file, 5, "centres", rate=RATE, length=5)
    assert clip.reasons == {} and clip.duration == pytest.approx(10 + start, abs=.05)
    assert clip.spans["visual"][0] == pytest.approx((0, 10 + start), abs=.05)
    assert np.allclose(seen(clip), np.arange(5) + .5 - start, atol=.07)
    window = read_clip(Window(file, 1, 3), 2, "centres", rate=None)
    assert np.allclose(seen(window), np.array([1.5, 2.5]) - start, atol=.07)
    silent = film(tmp_path/f"silent_{name}", EVEN, None, start=start, gop=100)
    assert measure(silent)[:2] == pytest.approx((read_clip(silent, rate=None).start, read_clip(silent, rate=None).duration), abs=1e-3)
    assert read_clip(Window(silent, 0, 2), 2, rate=None).start == read_clip(silent, rate=None).start


@pytest.mark.parametrize("before", range(44, 50))
def test_a_hole_in_the_pictures_does_not_lengthen_a_clip(tmp_path, before):
    "In the order of decoding another picture waits over the hole than in that of showing."
    file = film(tmp_path/"x.mp4", np.r_[np.arange(before)/25, 9 + np.arange(25)/25], (0, 10))
    clip = read_clip(file, sampling="centres", rate=None)
    assert clip.duration == pytest.approx(10, abs=.05) == clip.spans["visual"][0][1]
    assert measure(file)[1] == pytest.approx(10, abs=.05) and read_clip(Window(file, 5, 12), 7, rate=None).duration == pytest.approx(5, abs=.05)
    assert seen(clip)[-1] == pytest.approx(9.48)
