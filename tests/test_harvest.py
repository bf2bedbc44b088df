import json, subprocess, sys, warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("av")

from toy_teachers import TOY, Ear, Eye, same_store, toy_clip, toy_set
from valor_lab.harvest import (pipeline as H, kept, rows as disk, begin_store, FeatureStore, Scores, elaborate, export_published, harvest, open_published,
                               read_array)
from valor_lab.cli import harvest as C, main
from valor_lab.core import ParameterError
from valor_lab.media import find_clips
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.vocab import LLP

@pytest.fixture(scope="module")
def videos(tmp_path_factory): return toy_set(tmp_path_factory.mktemp("videos"), 10)

@pytest.fixture(scope="module")
def store(videos, tmp_path_factory): return harvest(videos, Eye(), Ear(), tmp_path_factory.mktemp("stores")/"toy", vocab=TOY, progress=False)

def quiet(clips, out, eye=None, ear=None, **more): return harvest(clips, eye or Eye(), ear or Ear(), out, vocab=TOY, progress=False, **more)

# ---- which clips

def test_a_file_belongs_to_the_full_id_or_to_its_first_eleven_characters(tmp_path):
    for name in ("BjCEufrlXm4.mp4", "abcdefghijk_0_10.webm", "notes.txt", "abcdefghijk_0_10.info.json"): (tmp_path/name).touch()
    found = find_clips(["BjCEufrlXm4_20_30", "abcdefghijk_0_10", "nobody"], tmp_path)
    assert [p and Path(p).name for p in found.path.where(found.path.notna(), None)] == ["BjCEufrlXm4.mp4", "abcdefghijk_0_10.webm", None]

def test_two_rows_of_one_video_share_its_file(tmp_path):
    (tmp_path/"BjCEufrlXm4.mp4").touch()
    assert find_clips(["BjCEufrlXm4/Bark", "BjCEufrlXm4/Goat"], tmp_path).path.map(lambda p: p.name).tolist() == ["BjCEufrlXm4.mp4"]*2

@pytest.mark.parametrize("names", [("x.mp4", "x.webm"), ("BjCEufrlXm4.mp4", "BjCEufrlXm4_20_30.mp4")])
def test_two_files_for_one_id_are_refused_by_name(tmp_path, names):
    for n in names: (tmp_path/n).touch()
    with pytest.raises(ValueError, match=names[1]): find_clips([Path(names[1]).stem], tmp_path)
    with pytest.raises(ValueError, match="more than once"): find_clips(["a/x.mp4", "b/x.mp4"])

def test_repeated_ids_in_a_list_are_refused(tmp_path):
    with pytest.raises(ValueError, match="b, c"): find_clips(["a", "b", "b", "c", "c"], tmp_path)

def test_official_lists_and_plain_tables_are_read(tmp_path):
    (tmp_path/"v").mkdir()
    (tmp_path/"list.csv").write_text("filename\tevent_labels\nb_0_10\tSpeech,Dog\na_0_10\tCat\n")
    (tmp_path/"plain.csv").write_text("id,path\n1,one.mp4\n007,two.mp4\n")
    assert find_clips(tmp_path/"list.csv", tmp_path/"v").id.tolist() == ["b_0_10", "a_0_10"]
    assert find_clips(tmp_path/"plain.csv").id.tolist() == ["1", "007"]
    with pytest.raises(ValueError, match="list.csv|path"): find_clips(tmp_path/"list.csv")
    (tmp_path/"wrong.csv").write_text("name\na\n")
    with pytest.raises(ValueError, match="wrong.csv, line 1.*filename"): find_clips(tmp_path/"wrong.csv", tmp_path/"v")
    (tmp_path/"hole.csv").write_text("id,path\na,x\n,y\n")
    with pytest.raises(ValueError, match="hole.csv, line 3"): find_clips(tmp_path/"hole.csv")

@pytest.mark.parametrize("text, words", [
    ("", "line 1.*empty"), ("\n \n", "line 1.*empty"), ("id,path\na,x\n\n\nb\n", r"line 5: expected 2 cells \(id, path\), found 1: \['b'\]"), ("id,path\na,x,y\n", "line 2: expected 2 cells.*found 3"),
    ("id\na\n\nb\na\n", "line 5: the clip 'a'.*first in line 2"), ("id,path\na,x\n\n,y\n", "line 4: no clip id"), ("id,path\na,\"x\ny\"\n,z\n", "line 4: no clip id"),
    ("id\na\nb\u00e4r\n".encode("latin-1"), r"line 3: expected UTF-8, found the byte 0xe4 in b'b\\xe4r'"), ("id\n\"a\n", "line 2: not a row")])
def test_a_faulty_list_is_refused_with_file_line_and_value(tmp_path, text, words):
    (tmp_path/"list.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ParameterError, match=f"list.csv, {words}"): find_clips(tmp_path/"list.csv", tmp_path)

def test_ids_and_paths_of_a_list_are_taken_as_they_stand(tmp_path, monkeypatch):
    (tmp_path/"lists").mkdir()
    (tmp_path/"lists/l.csv").write_bytes(f"\ufefffilename,id,path\r\nx,NA,one.mp4\r\ny,null,\r\nz,007,{tmp_path/'three.mp4'}\r\n".encode())
    monkeypatch.chdir(tmp_path)
    found = find_clips(tmp_path/"lists/l.csv")
    assert found.id.tolist() == ["NA", "null", "007"] and found.path.tolist() == [tmp_path/"lists/one.mp4", None, tmp_path/"three.mp4"]
    with pytest.raises(ValueError, match="row 1 .*no id"): find_clips(pd.DataFrame(dict(id=["a", None], path=["x", "y"])))

def test_labels_name_clips_and_a_single_file_is_a_list_of_one(videos):
    assert find_clips(WeakLabels(["clip03"], np.zeros((1, 25)), LLP), videos).path[0].name == "clip03.mp4"
    assert find_clips(videos/"clip03.mp4").id.tolist() == ["clip03"]
    with pytest.raises(ValueError, match="not a folder"): find_clips(["a"], videos/"nothing")

# ---- the harvest

def test_each_second_is_embedded_in_order(store):
    s = store.scores(TOY)
    assert store.ids == tuple(f"clip{i:02d}" for i in range(10)) and s.audio.shape == (10, 10, 3) and s.audio.dtype == np.float32
    for i in range(10):
        assert s.visual[i].argmax(1).tolist() == [(i + 3*t//10) % 3 for t in range(10)]
        assert s.audio[i].argmax(1).tolist() == [(i + 2*t//10) % 3 for t in range(10)]
    assert np.allclose(store.durations, 10, atol=.1) and store.failures.empty

def test_embeddings_are_read_when_they_are_asked_for_and_cannot_be_written_to(store):
    again = FeatureStore.open(store.path)
    assert repr(again) and len(again.ids) == 10 and again.fingerprint and not again._arrays
    assert again.audio.dtype == np.float16 and not again.audio.flags.writeable and list(again._arrays) == ["audio"]
    assert {p.name for p in store.path.iterdir()} == {"clips.lance", "captions.lance"}

def test_batches_workers_and_shards_do_not_change_a_bit(videos, store, tmp_path):
    for k, how in enumerate([dict(batch=1, workers=0, shard=1), dict(batch=3, workers=3, shard=4), dict(batch=100, workers=1, shard=100)]):
        assert same_store(quiet(videos, tmp_path/str(k), **how), store)

def test_a_second_harvest_asks_nobody(videos, store):
    eye, ear = Eye(), Ear()
    assert same_store(quiet(videos, store.path, eye, ear), store) and eye.clips == ear.clips == eye.texts == 0

def test_new_clips_cost_only_themselves_and_follow_the_old_ones(videos, store, tmp_path):
    files = sorted(videos.glob("*.mp4"))
    quiet(files[4:8], tmp_path/"s")
    eye = Eye()
    more = quiet(files, tmp_path/"s", eye, shard=2)
    assert more.ids == tuple(p.stem for p in [*files[4:8], *files[:4], *files[8:]]) and eye.clips == 6
    assert same_store(more.select(store.ids), store) or np.array_equal(more.select(store.ids).audio, store.audio)

@pytest.mark.parametrize("change", [dict(n_segments=5), dict(sampling="centres"), dict(ear="other"), dict(eye="other"), dict(ear=None)])
def test_other_settings_are_refused_with_both_sides_named(videos, store, change):
    eye, ear = Eye(), Ear()
    for name, t in (("eye", eye), ("ear", ear)):
        if change.get(name) == "other": t.fingerprint, t.name = "toy-2", "better one"
    before = sorted(p.name for p in store.path.iterdir())
    with pytest.raises(ValueError, match="other settings.*there.*asked for"):
        harvest(videos, eye, None if "ear" in change and change["ear"] is None else ear, store.path, vocab=TOY, progress=False, **{k: v for k, v in change.items() if k not in ("ear", "eye")})
    assert sorted(p.name for p in store.path.iterdir()) == before

def test_arguments_are_checked(videos, tmp_path):
    with pytest.raises(ValueError, match="toy eye is a teacher of visual, expected one of audio"): harvest(videos, Ear(), Eye(), tmp_path/"s", progress=False)
    with pytest.raises(ValueError, match="at least one teacher or student feature"): harvest(videos, None, None, tmp_path/"s", progress=False)
    with pytest.raises(ValueError, match="batch"): quiet(videos, tmp_path/"s", batch=0)
    (tmp_path/"x").mkdir(); (tmp_path/"x/00000-00000.arrow").touch()
    with pytest.raises(ValueError, match="no manifest.json"): quiet(videos, tmp_path/"x")

def test_one_teacher_alone_makes_half_a_store(videos, tmp_path):
    s = harvest(videos, Eye(), None, tmp_path/"s", vocab=TOY, progress=False)
    assert s.audio is None and not s.has_audio.any() and s.visual.shape == (10, 10, 3) and s.failures.empty
    with pytest.warns(H.MissingModalityWarning, match="sound has to be harvested"): scores = s.scores(TOY)
    assert np.isnan(scores.audio).all() and elaborate(scores).visual.any() and not elaborate(scores).audio.any()

def test_any_duration_and_any_number_of_segments(tmp_path):
    toy_clip(tmp_path/"v/short.mp4", [0, 1, 2], [2, 1, 0])
    s = quiet(tmp_path/"v", tmp_path/"s", n_segments=3, sampling="centres")
    scores = s.scores(TOY)
    assert s.audio.shape == (1, 3, 3) and abs(s.durations[0] - 3) < .1 and scores.audio[0].argmax(1).tolist() == [2, 1, 0] and scores.visual[0].argmax(1).tolist() == [0, 1, 2]
    assert elaborate(scores).to_frame().offset.max() == pytest.approx(3, abs=.1)

class Lines:
    "A student feature: the mean of each of the 80 frames."
    name, modality, shape, fingerprint = "lines", "visual", (80, 3), "lines-1"
    def __call__(self, frames): return frames.mean((1, 2))

class Loud:
    name, modality, shape, fingerprint, rate = "loud", "audio", (1,), "loud-1", 16_000
    def __call__(self, audio):
        if len(audio) < 16_000*5: raise ParameterError("too short")
        return np.array([len(audio)/16_000])

@pytest.mark.parametrize("how", [dict(), dict(sampling="centres"), dict(n_segments=7)])
def test_student_features_lie_beside_the_same_embeddings(videos, tmp_path, how):
    toy_clip(tmp_path/"v/short.mp4", [0, 1, 2], [0, 1, 2]), toy_clip(tmp_path/"v/mute.mp4", [0, 1, 2], [])
    clips = [*sorted(videos.glob("*.mp4"))[:3], *sorted((tmp_path/"v").iterdir())]
    bare, rich = quiet(clips, tmp_path/"bare", **how), quiet(clips, tmp_path/"rich", features=[Lines(), Loud()], **how)
    assert np.array_equal(bare.visual, rich.visual) and np.array_equal(bare.audio, rich.audio, equal_nan=True)
    assert rich.features["lines"].shape == (5, 80, 3) and np.isfinite(rich.features["lines"]).all()
    assert rich.features["loud"][:3, 0].tolist() == [10]*3 and np.isnan(rich.features["loud"][3:]).all()
    assert rich.failures.values.tolist() == [["mute", "audio", "no audio stream"], ["short", "audio", "loud: too short"]]
    with pytest.raises(ValueError, match="features"): quiet(clips, tmp_path/"rich", **how)

@pytest.mark.parametrize("wrong, reason", [(lambda x: np.full((80, 3), np.nan), "240 of 240 values are NaN"), (lambda x: x[:7].mean((1, 2)), r"expected shape \(80, 3\), found \(7, 3\)"),
                                           (lambda x: np.full((80, 3), 1e6), "240 of 240 values are too large for float16"), (lambda x: "x", "expected shape")])
def test_student_features_of_another_shape_or_without_end_cost_one_clip_its_feature(videos, tmp_path, wrong, reason):
    class Odd(Lines):
        seen = 0
        def __call__(self, frames):
            self.seen += 1
            return wrong(frames) if self.seen == 2 else super().__call__(frames)
    s = quiet(sorted(videos.glob("*.mp4"))[:3], tmp_path/"s", features=[Odd()])
    assert s.failures[["id", "modality"]].values.tolist() == [["clip01", "visual"]] and s.failures.reason.str.contains(f"lines: {reason}").all()
    assert np.isnan(s.features["lines"][1]).all() and np.isfinite(s.features["lines"][[0, 2]]).all() and np.isfinite(s.visual).all()

def test_student_features_need_no_teacher(videos, tmp_path):
    s = harvest(videos, None, None, tmp_path/"s", features=[Lines()], progress=False)
    assert s.visual is None and s.has_visual.all() and not s.has_audio.any() and set(s.features) == {"lines"}
    assert np.array_equal(harvest(videos, None, None, tmp_path/"s", features=[Lines()], progress=False).features["lines"], s.features["lines"])
    with pytest.raises(ValueError, match="clap_tokens need"): harvest(videos, None, None, tmp_path/"t", features="clap_tokens", progress=False)
    with pytest.raises(ValueError, match="'hog'.*vggish"): harvest(videos, None, None, tmp_path/"t", features=["hog"], progress=False)

# ---- broken clips

def break_clips(folder, whole):
    "Every broken kind; the reason that each must get."
    data = whole.read_bytes()
    for tenth in range(1, 10): (folder/f"cut{tenth}.mp4").write_bytes(data[:len(data)*tenth//10])
    (folder/"empty.mp4").touch()
    (folder/"text.mp4").write_text("a text that calls itself a film\n"*50)
    (folder/"random.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    toy_clip(folder/"mute.mp4", [0, 1, 2], [])
    toy_clip(folder/"blind.m4a", [], [0, 1, 2])
    return {**{f"cut{t}": "truncated" for t in range(1, 10)}, "empty": "empty", "text": "not a video", "random": "not a video", "missing": "no such file", "nowhere": "no file for this id"}

def test_every_broken_kind_is_recorded_and_the_rest_is_intact(videos, store, tmp_path):
    reasons = break_clips(tmp_path, videos/"clip00.mp4")
    good = sorted(videos.glob("*.mp4"))
    paths = [*good[:3], *sorted(tmp_path.glob("*.m*")), tmp_path/"missing.mp4", *good[3:]]
    table = pd.concat([pd.DataFrame(dict(id=[p.stem for p in paths], path=paths)), pd.DataFrame(dict(id=["nowhere"], path=[None]))])
    s = quiet(table, tmp_path/"s", batch=4, shard=6)
    assert set(s.ids) == {*store.ids, "mute", "blind"}
    intact = s.select(store.ids)
    assert np.array_equal(intact.audio, store.audio) and np.array_equal(intact.visual, store.visual)
    assert list(s.failures.columns) == ["id", "modality", "reason"] and set(s.failures.id) == {*reasons, "mute", "blind"}
    for i, reason in reasons.items():
        rows = s.failures[s.failures.id == i]
        assert rows.modality.tolist() == ["audio", "visual"] and rows.reason.str.contains(reason).all(), (i, rows)
    assert "14 failed, 2 have one modality only" in H.summary(s)

def test_a_clip_with_one_stream_is_stored_with_nan_and_gets_no_labels_there(tmp_path):
    toy_clip(tmp_path/"v/mute.mp4", [0, 1, 2], []), toy_clip(tmp_path/"v/blind.m4a", [], [0, 1, 2])
    s = quiet(tmp_path/"v", tmp_path/"s")
    scores = s.scores(TOY)
    for i, m, other in ((s.ids.index("mute"), "visual", "audio"), (s.ids.index("blind"), "audio", "visual")):
        assert getattr(s, f"has_{m}")[i] and not getattr(s, f"has_{other}")[i]
        assert np.isnan(getattr(s, other)[i]).all() and np.isnan(getattr(scores, other)[i]).all() and np.isfinite(getattr(scores, m)[i]).all()
        labels = elaborate(scores)
        assert getattr(labels, m)[i].any() and not getattr(labels, other)[i].any()
    assert dict(zip(s.failures.id, s.failures.modality)) == {"mute": "audio", "blind": "visual"}

def test_a_teacher_that_refuses_one_clip_loses_only_that_one(videos, tmp_path, monkeypatch):
    from valor_lab import media
    real = media.read_clip
    def short(path, *a, **k):
        clip = real(path, *a, **k)
        if path.stem == "clip03": clip.audio = clip.audio[:3]
        if path.stem == "clip05": clip.frames = np.zeros_like(clip.frames)          # its mean has no direction: NaN
        if path.stem == "clip07": raise RuntimeError("a decoder fell over")
        return clip
    monkeypatch.setattr(media, "read_clip", short)
    with np.errstate(invalid="ignore"): s = quiet(videos, tmp_path/"s", batch=4, alignment="published")
    assert s.failures[["id", "modality"]].values.tolist() == [["clip03", "audio"], ["clip05", "visual"], ["clip07", "audio"], ["clip07", "visual"]]
    assert s.failures.reason.tolist() == ["audio has 3 samples, 10 are needed", "toy eye: 30 of 30 values are NaN or infinite, expected finite numbers of shape (10, 3)", *["RuntimeError: a decoder fell over"]*2]
    assert len(s) == 9 and s.has_audio.sum() == 8 and s.has_visual.sum() == 8

def test_failures_are_tried_again_only_when_asked(videos, tmp_path):
    v = tmp_path/"v"
    v.mkdir()
    data = (videos/"clip00.mp4").read_bytes()
    (v/"a.mp4").write_bytes(data[:9]); (v/"b.mp4").write_bytes(data)
    s = quiet(v, tmp_path/"s")
    assert s.ids == ("b",) and set(s.failures.id) == {"a"}
    (v/"a.mp4").write_bytes(data)
    assert same_store(quiet(v, tmp_path/"s"), s)
    s = quiet(v, tmp_path/"s", retry=True)
    assert s.ids == ("b", "a") and s.failures.empty

def test_a_clip_that_lacked_a_modality_is_tried_again_and_only_a_better_row_replaces_it(videos, tmp_path):
    v = tmp_path/"v"
    for i in range(3): toy_clip(v/f"{i}.mp4", [0, 1, 2], [] if i == 1 else [0, 1, 2])
    old = quiet(v, tmp_path/"s")
    eye = Eye()
    assert same_store(quiet(v, tmp_path/"s", eye), old) and eye.clips == 0
    assert same_store(quiet(v, tmp_path/"s", eye, retry=True), old) and eye.clips == 1           # nothing gained: nothing changed
    (v/"1.mp4").write_bytes(b"")
    assert same_store(quiet(v, tmp_path/"s", retry=True), old)                                       # nothing is lost either
    toy_clip(v/"1.mp4", [2, 1, 0], [2, 1, 0])
    s = quiet(v, tmp_path/"s", retry=True)
    assert s.ids == ("0", "2", "1") and s.failures.empty and s.has_audio.all() and np.isfinite(s.audio).all()
    assert np.array_equal(s.select(["0", "2"]).audio, old.select(["0", "2"]).audio) and not np.array_equal(s.visual[2], old.visual[1])
    assert disk.open_table(s.path/"clips.lance").count_rows() == 3
    assert "0 failed, 0 have" in H.summary(s) and "attempted" not in H.summary(s) and "(3 attempted now)" in H.summary(s, 3)

def test_a_store_without_any_good_clip_opens_and_grows(videos, tmp_path):
    (tmp_path/"v").mkdir(); (tmp_path/"v/bad.mp4").touch()
    s = quiet(tmp_path/"v", tmp_path/"s")
    assert len(s) == 0 and s.audio.shape == (0, 10, 3) and len(s.failures) == 2 and s.scores(TOY).audio.shape == (0, 10, 3)
    assert len(quiet(videos, tmp_path/"s", shard=4)) == 10

def test_real_clips_of_many_codecs(data, tmp_path):
    s = quiet(sorted(data("media").iterdir()), tmp_path/"s")
    assert "BjCEufrlXm4" in s.ids and set(s.failures.id) <= {i for i, a, v in zip(s.ids, s.has_audio, s.has_visual) if not a & v}
    i = s.ids.index("BjCEufrlXm4")
    assert abs(s.durations[i] - 10.03) < .1 and np.isfinite(s.audio[i]).all() and np.isfinite(s.visual[i]).all()

# ---- interruptions

def test_killed_at_random_moments_and_before_every_commit_it_ends_the_same(tmp_path):
    toy_set(tmp_path/"v", 11, seconds=2)
    (tmp_path/"v/clip04.mp4").write_bytes(b"")
    toy_clip(tmp_path/"v/clip06.mp4", [0, 1], [])
    done = subprocess.run([sys.executable, Path(__file__).with_name("kill_harvest.py"), tmp_path/"v", tmp_path, "0", "3"], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == [] and found["rows"] == 10 and found["stored_before_commits"] == [0, 3, 5, 8]

def test_a_keyboard_interrupt_leaves_a_store_that_goes_on(videos, store, tmp_path):
    class Tired(Eye):
        def embed_clips(self, clips):
            if self.clips >= 6: raise KeyboardInterrupt
            return super().embed_clips(clips)
    with pytest.raises(KeyboardInterrupt): quiet(videos, tmp_path/"s", Tired(), batch=2, shard=4)
    part = FeatureStore.open(tmp_path/"s")
    assert part.ids == store.ids[:4] and np.array_equal(part.audio, store.audio[:4])
    eye = Eye()
    assert same_store(quiet(videos, tmp_path/"s", eye, batch=2, shard=4), store) and eye.clips == 6

def test_two_harvests_at_once_make_one_store(videos, store, tmp_path):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as pool: list(pool.map(lambda batch: quiet(videos, tmp_path/"s", batch=batch, shard=2, workers=0), (1, 2)))
    both = FeatureStore.open(tmp_path/"s")
    assert sorted(both.ids) == list(store.ids) and both.fingerprint == store.fingerprint and np.array_equal(both.select(store.ids).audio, store.audio)

def test_a_resume_with_nothing_new_writes_nothing(videos, tmp_path):
    quiet(videos, tmp_path/"s")
    state = lambda: {p: p.stat().st_mtime_ns for p in (tmp_path/"s").rglob("*")}
    before = state()
    assert len(quiet(videos, tmp_path/"s")) == 10 and state() == before

# ---- the store

def test_what_is_no_store_is_refused(store, tmp_path):
    with pytest.raises(FileNotFoundError, match="no feature store"): FeatureStore.open(tmp_path)
    for text in ("{", "[]", '{"format": 99}'):
        (tmp_path/"manifest.json").write_text(text)
        with pytest.raises(ValueError, match="manifest"): FeatureStore.open(tmp_path)

def test_the_fingerprint_depends_on_content_and_the_one_of_teachers_does_not(videos, store, tmp_path):
    again = FeatureStore.open(store.path)
    assert "fingerprint" not in vars(again) and again.fingerprint == store.fingerprint and "fingerprint" in vars(again)
    assert store.select(store.ids[::-1]).fingerprint == store.fingerprint                       # the order of clips is not content
    moved = store.select(store.ids)
    assert moved.fingerprint == store.fingerprint
    visual = store.visual.copy()
    visual[3, 0, 0] += .25
    moved = FeatureStore.of_arrays(store.settings, store.ids, store.durations, store.audio, visual)
    assert FeatureStore.of_arrays(store.settings, store.ids, store.durations, store.audio, store.visual).fingerprint == store.fingerprint
    assert moved.fingerprint != store.fingerprint and moved.teachers_fingerprint == store.teachers_fingerprint
    half = store.select(store.ids[:3])
    assert half.fingerprint != store.fingerprint and half.teachers_fingerprint == store.teachers_fingerprint and half.scores(TOY).source == half.fingerprint
    ear = Ear()
    ear.fingerprint = "toy-ear-2"
    other = quiet(sorted(videos.glob("*.mp4"))[:2], tmp_path/"s", ear=ear)
    assert other.teachers_fingerprint != store.teachers_fingerprint

def test_select_keeps_rows_together_and_names_strangers(store):
    some = store.select(["clip07", "clip02"])
    assert np.array_equal(some.visual, store.visual[[7, 2]]) and some.paths == (store.paths[7], store.paths[2])
    s = store.scores(TOY)
    assert np.array_equal(some.scores(TOY).audio, s.select(["clip07", "clip02"]).audio)
    for x in (store, s):
        with pytest.raises(KeyError, match="2 clips without.*y, z"): x.select(["clip01", "y", "z"])

def test_known_captions_need_no_teacher_and_new_ones_cost_one_embedding(videos, tmp_path):
    s = quiet(videos, tmp_path/"s")
    again = FeatureStore.open(tmp_path/"s")
    assert np.array_equal(again.scores(TOY).audio, s.scores(TOY).audio)
    wider = TOY.with_event("Dark", "dark", "low", 7, 7)
    with pytest.raises(ValueError, match="'dark'.*toy eye"): again.scores(wider)
    eye = Eye()
    eye.words = [*eye.words, "dark"]
    eye.embed_text = lambda captions: (setattr(eye, "texts", eye.texts + len(captions)), np.ones((len(captions), 3), np.float32))[1]
    assert again.scores(wider, clip=eye).visual.shape == (10, 10, 4) and eye.texts == 1
    assert np.array_equal(FeatureStore.open(tmp_path/"s").scores(wider).visual, again.scores(wider).visual)

def test_only_the_teacher_that_made_the_embeddings_may_score_them(store):
    other = Eye()
    other.fingerprint = "another"
    with pytest.raises(ValueError, match="toy-eye-1.*another"): store.scores(TOY, clip=other)
    with pytest.raises(ValueError, match="teacher of audio"): store.scores(TOY, clip=Ear())

def test_half_precision_on_disk_moves_scores_by_less_than_a_hundredth():
    rng = np.random.default_rng(0)
    x, y = (v/np.linalg.norm(v, axis=-1, keepdims=True) for v in (rng.normal(size=(50, 10, 768)), rng.normal(size=(25, 768))))
    x = (x + y[rng.integers(25, size=(50, 10))]*.2)                      # cosines as CLIP's: up to .2
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    assert np.abs(kept.logits(x.astype(np.float16), y.astype(np.float32), np.float32(100)) - 100*x @ y.T).max() < .01

def test_the_demo_teachers_are_the_same_whenever_they_are_loaded(tmp_path):
    "A store that was harvested yesterday goes on today: the restored weights have one hash."
    D = pytest.importorskip("valor_lab.demo.teachers")
    for name in ("clip", "clap"):
        for k in range(6): D.restore(D.packaged()/f"{name}.safetensors", tmp_path/f"{name}{k}")
        assert len({(tmp_path/f"{name}{k}").read_bytes() for k in range(6)}) == 1

# ---- scores and labels

def some_scores(n=6, c=3, seed=0):
    rng = np.random.default_rng(seed)
    return Scores([f"c{i}" for i in range(n)], *rng.normal(7, 2, (2, n, 10, c)), TOY)

def test_a_label_needs_a_score_strictly_above_the_threshold():
    s = some_scores()
    s.audio[0, :, 0], s.visual[1, :, 1] = 7, np.nextafter(np.float32(7), np.float32(8))
    labels = elaborate(s)
    assert not labels.audio[0, :, 0].any() and labels.visual[1, :, 1].all()

def test_the_gate_is_found_by_id_and_silences_other_events():
    s = some_scores()
    mask = np.random.default_rng(1).random((6, 3)) < .5
    weak = WeakLabels(s.ids[::-1], mask[::-1], TOY)
    free, gated = elaborate(s), elaborate(s, weak)
    for m in ("audio", "visual"): assert np.array_equal(getattr(gated, m), getattr(free, m) & mask[:, None])
    with pytest.raises(KeyError, match="1 clip without weak labels: c5"): elaborate(s, weak.select(s.ids[:5]))
    with pytest.raises(ValueError, match="llp"): elaborate(s, WeakLabels(s.ids, np.zeros((6, 25)), LLP))

def test_missing_thresholds_are_refused_by_name():
    s = some_scores()
    s.vocab = TOY.with_thresholds([7, np.nan, 7], [7, 7, 7])
    with pytest.raises(ValueError, match="visual threshold for Green"): elaborate(s)

def test_scores_of_the_wrong_shape_or_without_end_are_refused():
    x = np.zeros((2, 10, 3))
    for a, b, words in ((x, x[:, :9], "shape"), (x, x[..., :2], "shape"), (x[0], x[0], "shape"), (x, np.full_like(x, np.inf), "infinite")):
        with pytest.raises(ValueError, match=words): Scores(["a", "b"], a, b, TOY)
    with pytest.raises(ValueError, match="repeated"): Scores(["a", "a"], x, x, TOY)

# ---- the published layout

def released(root, ids, vocab=LLP, seed=0):
    "Released files as VALOR's authors laid them out."
    rng = np.random.default_rng(seed)
    shapes = {"CLIP/features": (10, 768), "CLAP/features": (64, 768), "feats/vggish": (10, 128), "feats/res152": (80, 2048), "feats/r2plus1d_18": (10, 512)}
    for folder in (*shapes, *H.PUBLISHED_LABELS.values()):
        (root/folder).mkdir(parents=True)
        for i in ids: np.save(root/folder/f"{i[:11]}.npy", rng.normal(size=shapes[folder]).astype(np.float32) if folder in shapes else rng.integers(0, 2, (10, len(vocab))))
    return root

IDS = ["BjCEufrlXm4_20_30", "abcdefghijk_0_10"]

def test_released_files_open_as_features_labels_and_visual_scores(tmp_path):
    store, labels = open_published(released(tmp_path, IDS), IDS)
    assert {k: v.shape for k, v in store.features.items()} == {"clip": (2, 10, 768), "clap_tokens": (2, 64, 768), "vggish": (2, 10, 128), "res152": (2, 80, 2048), "r2plus1d_18": (2, 10, 512)}
    assert isinstance(labels, SegmentLabels) and np.array_equal(labels.audio[0], np.load(tmp_path/"CLAP/segment_pseudo_labels/BjCEufrlXm4.npy").astype(bool))
    big = Eye()
    big.width, big.scale = 768, 100.
    big.embed_text = lambda captions: np.eye(len(captions), 768, dtype=np.float32)
    with pytest.warns(H.MissingModalityWarning, match="sound"): s = store.scores(LLP, clip=big)
    assert np.isnan(s.audio).all() and np.allclose(s.visual[1], 100*np.load(tmp_path/"CLIP/features/abcdefghijk.npy")[:, :25], atol=.2)
    with pytest.warns(H.MissingModalityWarning): again, part = store.scores(LLP), store.select(IDS[1:]).scores(LLP)       # the scale is known by now
    assert np.array_equal(again.visual, s.visual) and np.array_equal(part.visual, s.visual[1:])
    with pytest.warns(H.MissingModalityWarning), pytest.raises(ValueError, match="768 wide, those of toy eye 3"): store.scores(TOY, clip=Eye())
    other = Eye()
    other.width, other.fingerprint = 768, "another"
    with pytest.warns(H.MissingModalityWarning), pytest.raises(ValueError, match="toy-eye-1.*another"): store.scores(LLP, clip=other)
    fresh = open_published(tmp_path, IDS)[0]
    assert "assumed released CLIP ViT-L/14" in repr(fresh) and fresh.settings["visual"]["scale"] is None
    with pytest.warns(H.MissingModalityWarning), pytest.raises(ValueError, match="pass clip="): fresh.scores(LLP)

def test_parts_of_the_layout_open_and_nothing_at_all_does_not(tmp_path):
    released(tmp_path/"r", IDS)
    store, labels = open_published(tmp_path/"r", IDS, features=["vggish"])
    assert set(store.features) == {"vggish"} and store.visual is None and labels is not None
    with pytest.raises(KeyError, match="1 clip without a file.*nobody"): open_published(tmp_path/"r", [*IDS, "nobody"])
    with pytest.raises(FileNotFoundError, match="published layout"): open_published(tmp_path, IDS)

@pytest.mark.parametrize("x, words", [(np.zeros((8, 768)), r"expected shape \(10, 768\), found \(8, 768\)"), (np.zeros((10, 512)), r"expected shape \(10, 768\), found \(10, 512\)"),
                                      (np.full((10, 768), np.nan), "7680 of 7680 values are NaN"), (np.full((10, 768), -np.inf), "infinite"), (np.full((10, 768), 1e5), "7680 of 7680 values are too large for float16"), (np.full((10, 768), "x"), "expected numbers")])
def test_released_files_of_another_shape_or_with_nan_are_refused_by_name(tmp_path, x, words):
    released(tmp_path, IDS)
    np.save(tmp_path/"CLIP/features/abcdefghijk.npy", x)
    with pytest.raises(ValueError, match=f"abcdefghijk.npy.*{words}"): open_published(tmp_path, IDS)

def test_pickled_arrays_and_files_that_are_none_are_refused(tmp_path):
    class Bomb:
        def __reduce__(self): return (tmp_path/"ran").touch, ()
    np.save(tmp_path/"bomb.npy", np.array([Bomb()], object), allow_pickle=True)
    (tmp_path/"text.npy").write_text("no array")
    (tmp_path/"empty.npy").touch()
    np.savez(tmp_path/"z.npz", a=1)
    (tmp_path/"z.npz").rename(tmp_path/"z.npy")
    for name in ("bomb", "text", "empty", "z"):
        with pytest.raises(ValueError, match=f"{name}.npy"): read_array(tmp_path/f"{name}.npy", (10, None))
    assert not (tmp_path/"ran").exists()

def test_export_and_import_give_the_same_back(store, tmp_path):
    labels = elaborate(store.scores(TOY))
    assert export_published(store, labels, tmp_path).empty
    again, back = open_published(tmp_path, store.ids, TOY)
    assert np.array_equal(again.visual, store.visual) and np.array_equal(back.audio, labels.audio) and np.array_equal(back.visual, labels.visual)
    assert np.load(tmp_path/"CLIP/segment_pseudo_labels/clip00.npy").dtype == np.int64 and np.load(tmp_path/"CLIP/features/clip00.npy").dtype == np.float32

def test_an_export_remembers_its_teacher_and_who_lacks_what(store, videos, tmp_path):
    toy_clip(tmp_path/"v/mute.mp4", [0, 1, 2], []), toy_clip(tmp_path/"v/blind.m4a", [], [0, 1, 2])
    s = quiet([*sorted(videos.glob("*.mp4"))[:2], *sorted((tmp_path/"v").iterdir())], tmp_path/"s")
    out = export_published(s, elaborate(s.scores(TOY)), tmp_path/"r")
    assert sorted(out.values.tolist()) == [["blind", "visual", "CLIP/features"], ["mute", "audio", ""]]
    again, labels = open_published(tmp_path/"r", s.ids, TOY)
    assert again.settings["visual"] == s.settings["visual"] and np.array_equal(again.visual, s.visual, equal_nan=True) and np.array_equal(again.has_visual, s.has_visual)
    assert sorted(again.failures[["id", "modality"]].values.tolist()) == [["blind", "visual"], ["mute", "audio"]] and len(labels) == 4
    export_published(store, elaborate(store.scores(TOY)), tmp_path/"r")                               # another split joins
    assert len(open_published(tmp_path/"r", [*store.ids, "mute", "blind"], TOY)[0].failures) == 2
    eye = Eye()
    eye.fingerprint = "toy-eye-2"
    with pytest.warns(H.MissingModalityWarning), pytest.raises(ValueError, match="toy-eye-1.*toy-eye-2"): again.scores(TOY, clip=eye)
    other = quiet(sorted(videos.glob("*.mp4"))[:2], tmp_path/"other", eye)
    with pytest.raises(ValueError, match="toy eye .toy-eye-1.*toy-eye-2.*another folder"): export_published(other, elaborate(other.scores(TOY)), tmp_path/"r")
    (tmp_path/"r"/H.NOTE).unlink()
    with pytest.raises(ValueError, match=r"expected shape \(10, 768\), found \(10, 3\)"): open_published(tmp_path/"r", ["clip00"], TOY)

def test_an_export_has_ten_segments(videos, tmp_path):
    s = quiet(sorted(videos.glob("*.mp4"))[:2], tmp_path/"s", n_segments=5)
    with pytest.raises(ValueError, match="10 segments, the store has 5"): export_published(s, elaborate(s.scores(TOY)), tmp_path/"r")
    assert not (tmp_path/"r").exists()

def test_export_refuses_ids_that_would_share_a_file(tmp_path):
    s = FeatureStore.of_arrays(dict(n_segments=10, audio=None, visual=None, features={}), ("abcdefghijk_1", "abcdefghijk_2"), np.ones(2))
    with pytest.raises(ValueError, match="first 11 characters"): export_published(s, SegmentLabels(s.ids, *np.zeros((2, 2, 10, 3)), TOY), tmp_path)

# ---- the command

def test_the_command_harvests_and_lists_failures(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(C, "choose_teachers", lambda *a: (Eye(), Ear()))
    monkeypatch.setattr(Eye, "embed_text", lambda self, captions: np.ones((len(captions), 3), np.float32))
    monkeypatch.chdir(tmp_path)
    (tmp_path/"list.csv").write_text("filename\nclip01\nclip02\ngone\n")
    assert main(["harvest", "list.csv", "--folder", str(videos), "--out", "store", "--quiet", "--batch", "2"]) == 0
    assert FeatureStore.open(tmp_path/"store").ids == ("clip01", "clip02")
    assert capsys.readouterr().out.splitlines() == ["gone\taudio\tno file for this id", "gone\tvisual\tno file for this id"]

def test_the_command_explains_itself_in_one_line(tmp_path, capsys):
    assert main(["harvest", str(tmp_path/"no.csv"), "--out", str(tmp_path/"s")]) == 2
    assert main(["harvest", str(tmp_path), "--folder", str(tmp_path/"nowhere"), "--out", str(tmp_path/"s")]) == 2
    err = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("workspace: ")]
    assert len(err) == 2 and all(e.startswith("valor harvest: ") for e in err) and "no.csv" in err[0]

def test_the_command_passes_what_teachers_take(monkeypatch, tmp_path, capsys):
    from valor_lab.harvest import clip
    asked = []
    monkeypatch.setattr(clip, "find_clip", lambda *a: asked.append(a) or (_ for _ in ()).throw(ParameterError("stop")))
    (tmp_path/"x.mp4").touch()
    words = ["harvest", str(tmp_path/"x.mp4"), "--out", str(tmp_path/"s")]
    real_ones = ["--no-quick-gelu", "--precision", "bf16", "--preprocess", "model", "--tokenizer", "t", "--clip-weights", "w.pt"]
    assert main([*words, *real_ones]) == 2 and "valor harvest: stop" in capsys.readouterr().err
    assert asked == [("ViT-L-14", "w.pt", False, False)]
    made = []
    import inspect, valor_lab.harvest as door
    for name in ("ClipTeacher", "ClapTeacher"):
        real = inspect.signature(getattr(door, name))
        monkeypatch.setattr(door, name, lambda *a, real=real: made.append(real.bind(*a).arguments), raising=False)
    monkeypatch.setattr(door, "harvest", lambda *a, **k: (_ for _ in ()).throw(ParameterError("stop")), raising=False)
    assert main([*words, *real_ones]) == 2
    assert made == [dict(model="ViT-L-14", pretrained="w.pt", device="auto", preprocess="model", precision="bf16", quick_gelu=False), dict(checkpoint="630k-fusion-best.pt", device="auto", tokenizer=Path("t"))]
    assert main([*words, *"--demo --precision fp16 --preprocess model --tokenizer t".split()]) == 2
    assert "--precision, --preprocess, --tokenizer with --demo" in capsys.readouterr().err

def test_the_command_says_when_nothing_was_stored_or_something_is_not_installed(tmp_path, monkeypatch, capsys):
    def missing(*a): raise ImportError("install valor_lab[teachers]")
    (tmp_path/"a.mp4").touch()
    monkeypatch.setattr(C, "choose_teachers", missing)
    assert main(["harvest", str(tmp_path), "--out", str(tmp_path/"s"), "--quiet"]) == 2
    seen = []
    monkeypatch.setattr(Eye, "embed_text", lambda self, captions: seen.extend(captions) or np.ones((len(captions), 3), np.float32))
    monkeypatch.setattr(C, "choose_teachers", lambda *a: (Eye(), Ear()))
    assert main(["harvest", str(tmp_path), "--out", str(tmp_path/"s"), "--quiet", "--vocab", "ave"]) == 1
    err = capsys.readouterr().err.splitlines()
    from valor_lab.vocab import AVE
    said = [e for e in err if "valor_lab[teachers]" in e or "not one clip" in e]
    assert len(said) == 2 and "not one clip" in err[-1] and set(seen) == {*AVE.clip_captions, *AVE.clap_captions}
