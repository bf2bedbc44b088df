import errno, json, os, subprocess, sys, threading, time, warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lance")
pa = pytest.importorskip("pyarrow")

import kill_store as K
from toy_teachers import TOY, Ear, Eye
from valor_lab.core import CannotWrite, ParameterError
from valor_lab.files import Held
from valor_lab.harvest import (FeatureStore, KeptScores, Row, StoreConverted, add_rows, begin_store, forget, has_store, index_ids,
                               keep_captions, nearest, read_captions, rows as disk, settings_of, store as room, tidy)

TEN = settings_of(Eye(), Ear(), [], 10, "published")

def unit(x): return (x/np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float16)

def row(clip, *modalities, seed=0, **reasons):
    made = np.random.default_rng([seed, *clip.encode()])
    arrays = {m: unit(made.normal(size=(10, 3))) for m in modalities}
    return Row(clip, f"{clip}.mp4", 10., {m: (0., 10.) for m in modalities}, arrays, reasons)

def both(*clips, seed=0): return [row(c, "audio", "visual", seed=seed) for c in clips]

def made(folder, rows, settings=TEN):
    begin_store(folder, settings)
    add_rows(folder, rows, settings)
    return FeatureStore.open(folder)

# ---- rows

def test_the_better_of_several_attempts_counts_whoever_comes_first(tmp_path):
    half, whole, none = row("a", "visual", audio="no audio stream"), row("a", "audio", "visual"), row("a", audio="empty", visual="empty")
    for k, order in enumerate(([half, whole, none], [whole, none, half], [none, half, whole], [none, whole, half])):
        for together in (True, False):
            folder = tmp_path/f"{k}{together}"
            begin_store(folder, TEN)
            for part in [order] if together else [[r] for r in order]: add_rows(folder, part, TEN)
            s = FeatureStore.open(folder)
            assert s.ids == ("a",) and s.has_audio.all() and s.failures.empty and np.array_equal(s.audio[0], whole.arrays["audio"])

def test_an_attempt_with_something_else_instead_is_not_better(tmp_path):
    s = made(tmp_path/"s", [row("a", "visual", audio="x")])
    add_rows(tmp_path/"s", [row("a", "audio", visual="y")], TEN)
    assert not FeatureStore.open(tmp_path/"s").has_audio.any() and s.ids == ("a",)

def test_of_two_that_gave_nothing_the_later_reasons_stay(tmp_path):
    made(tmp_path/"s", [row("a", audio="empty", visual="empty")])
    add_rows(tmp_path/"s", [row("a", audio="cut short", visual="cut short")], TEN)
    s = FeatureStore.open(tmp_path/"s")
    assert len(s) == 0 and s.failures.reason.tolist() == ["cut short"]*2

def test_rows_are_found_by_place_after_others_were_replaced_and_taken_out(tmp_path):
    made(tmp_path/"s", [row("a", "visual", audio="x"), *both("b", "it's", "d%'\u00fc", "e")])
    add_rows(tmp_path/"s", both("a", "f"), TEN)
    assert forget(tmp_path/"s", ["b", "nobody"]) == 1
    s = FeatureStore.open(tmp_path/"s")
    assert s.ids == ("it's", "d%'\u00fc", "e", "a", "f")
    for part in (s, s.select(s.ids[::-1]), s.select(["a", "a", "it's"]), FeatureStore.open(tmp_path/"s").select(["f"])):
        for r, i in enumerate(part.ids): assert np.array_equal(part.visual[r], both(i)[0].arrays["visual"]), i
        assert all(np.array_equal(part.audio[rows], found["audio"]) for rows, found in part.batches("audio", size=2))

def test_a_few_of_many_are_looked_up_by_id_and_strangers_named(tmp_path):
    s = made(tmp_path/"s", both(*(f"clip{i:04d}" for i in range(300)), "it's"))
    few = s.select(["it's", "clip0200"])
    assert "everything" not in vars(s.source) and few.ids == ("it's", "clip0200")
    assert np.array_equal(few.visual[1], both("clip0200")[0].arrays["visual"])
    with pytest.raises(KeyError, match="1 clip without stored features: nobody"): s.select(["it's", "nobody"])
    again = FeatureStore.open(tmp_path/"s").select(s.ids).select(few.ids)
    for some in (FeatureStore.open(tmp_path/"s"), few, again):
        assert len(some.select([])) == 0 and some.select([]).visual.shape == (0, 10, 3)
    assert few.select(["clip0200"]).ids == ("clip0200",) and few.fingerprint == again.fingerprint

def test_the_index_of_ids_finds_what_is_there_through_replacing_removing_and_tidying(tmp_path):
    ids, folder = [f"clip{i:03d}" for i in range(120)], tmp_path/"s"
    begin_store(folder, TEN)
    for k in range(0, 120, 20): add_rows(folder, [row(c, "visual", audio="x") for c in ids[k:k + 20]], TEN)
    held = lambda: len(disk.open_table(folder/disk.TABLE).describe_indices())
    index_ids(folder)
    assert not held()                                                        # a small table needs none
    index_ids(folder, least=50)
    assert held() == 1
    new = [*ids, "it's"]
    steps = [lambda: add_rows(folder, both(*ids[10:30], "it's"), TEN), lambda: tidy(folder, fragments=2), lambda: forget(folder, ids[:3]),
             lambda: index_ids(folder, least=5), lambda: add_rows(folder, both("last"), TEN), lambda: tidy(folder, fragments=1)]
    for step in steps:
        step()
        there = set(FeatureStore.open(folder).ids)
        for wanted in (["clip011", "clip100"], ["it's", "clip029"], ["last"], ["clip002"]):
            few = FeatureStore.open(folder)
            if not set(wanted) <= there:
                with pytest.raises(KeyError): few.select(wanted)
                continue
            part = few.select(wanted)
            assert "everything" not in vars(few.source) and part.ids == tuple(wanted)
            for r, c in enumerate(wanted):
                right = both(c)[0] if part.has_audio[r] else row(c, "visual")
                assert np.array_equal(part.visual[r], right.arrays["visual"])
            assert all(part.has_audio == [c in (*ids[10:30], "it's", "last") for c in wanted])

def test_an_index_that_is_damaged_or_gone_hides_no_clip(tmp_path):
    ids, folder = [f"clip{i:03d}" for i in range(100)], tmp_path/"s"
    made(folder, both(*ids))
    index_ids(folder, least=5)
    files = [f for f in (folder/disk.TABLE/"_indices").rglob("*") if f.is_file()]
    whole = {f: f.read_bytes() for f in files}
    for f in files:
        for damaged in (b"", whole[f][:40], whole[f].replace(b"clip050", b"clip\xff50"), whole[f][::-1], None):
            f.unlink() if damaged is None else f.write_bytes(damaged)
            part = FeatureStore.open(folder).select(["clip050", "clip003"])
            assert np.array_equal(part.visual, np.stack([r.arrays["visual"] for r in both("clip050", "clip003")]))
            f.write_bytes(whole[f])

def test_arrays_come_as_they_lie_on_the_disk_whatever_share_and_order_is_asked_for(tmp_path):
    ids, folder = [f"clip{i:03d}" for i in range(300)], tmp_path/"s"
    begin_store(folder, TEN)
    for k in range(0, 300, 50): add_rows(folder, [row("empty%d" % k, audio="x", visual="x"), *both(*ids[k:k + 50])], TEN)
    right = {r.id: r.arrays["visual"] for r in both(*ids)}
    order = np.random.default_rng(0).permutation(ids).tolist()
    whole = FeatureStore.open(folder)
    assert whole.ids == tuple(ids)
    for wanted in (order, order[:200], order[:290] + order[:10], order[:3], ids[::-1]):
        part = whole.select(wanted)
        assert np.array_equal(part.visual, np.stack([right[c] for c in wanted]))
        assert np.array_equal(np.concatenate([found["visual"] for _, found in part.batches("visual", size=7)]), part.visual)
        if len(set(wanted)) < len(wanted): continue
        part = FeatureStore.open(folder).select(wanted)
        part.remember(TOY, Eye(), Ear())
        found = part.scores(TOY).visual
        assert np.array_equal(found, np.concatenate([x["visual"] for _, x in part.score_batches(TOY, size=11)]))
        assert np.allclose(found[:2], whole.select(wanted[:2]).scores(TOY).visual)

def test_scores_in_batches_read_no_list_of_clips(tmp_path):
    s = made(tmp_path/"s", [*both("a", "b"), row("none", audio="x", visual="x"), *both("c")])
    s.remember(TOY, Eye(), Ear())
    s = FeatureStore.open(tmp_path/"s")
    found = [(rows, x["visual"]) for rows, x in s.score_batches(TOY, size=2)]
    assert "everything" not in vars(s.source) and np.array_equal(np.concatenate([x for _, x in found]), s.scores(TOY).visual)
    assert [(r.start, r.stop) for r, _ in found][-1][1] == 3 == len(s)

def test_student_features_of_any_name_are_kept(tmp_path):
    class Odd: name, modality, fingerprint, shape = "my.net `v2` 50%", "visual", "1", (3, 2)
    settings = settings_of(None, None, [Odd()], 10, "published")
    x = np.arange(6, dtype=np.float16).reshape(3, 2)
    s = made(tmp_path/"s", [Row("a", arrays={f"feature {Odd.name}": x}), Row("b", reasons=dict(visual="no"))], settings)
    assert list(s.features) == [Odd.name] and np.array_equal(s.features[Odd.name], x[None]) and s.has_visual.all() and s.audio is None
    with pytest.raises(KeyError): s.features["other"]

def test_small_fragments_are_written_together_and_nothing_changes(tmp_path):
    begin_store(tmp_path/"s", TEN)
    for i in range(12): add_rows(tmp_path/"s", both(f"c{i}"), TEN)
    before = FeatureStore.open(tmp_path/"s")
    assert tidy(tmp_path/"s") == 0 and tidy(tmp_path/"s", fragments=5) == 12
    after = FeatureStore.open(tmp_path/"s")
    assert after.ids == before.ids and np.array_equal(after.audio, before.audio) and after.fingerprint == before.fingerprint
    assert len(disk.open_table(tmp_path/"s/clips.lance").get_fragments()) == 1

def test_a_version_is_kept_as_long_as_somebody_may_have_opened_it(tmp_path):
    begin_store(tmp_path/"s", TEN), add_rows(tmp_path/"s", both("a"), TEN)
    assert abs(disk.open_table(tmp_path/"s/clips.lance").versions()[-1]["timestamp"] - datetime.now()) < timedelta(minutes=30)      # one clock
    class Table:                                                                   # of yesterday, and written into just now
        def versions(self): return [dict(version=k, timestamp=datetime.now() - timedelta(hours=h)) for k, h in ((3, .2), (1, 30), (2, 24), (4, .1))]
        def cleanup_old_versions(self, versions): self.gone = versions
    table = Table()
    disk._forget_versions(table, timedelta(hours=1))
    assert table.gone == [1]                                                       # whoever came twenty minutes ago found version 2

def test_an_hour_is_an_hour_on_the_day_when_summer_time_begins(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin"), time.tzset()
    now = datetime(2026, 3, 29, 1, 5, tzinfo=timezone.utc).timestamp()             # five past three, ten minutes after five to two
    class Table:
        gone = ()
        def versions(self): return [dict(version=k, timestamp=datetime.fromtimestamp(now - 60*m)) for k, m in ((1, 20), (2, 10))]
        def cleanup_old_versions(self, versions): self.gone = versions
    monkeypatch.setattr(disk.time, "time", lambda: now)
    try:
        disk._forget_versions(table := Table(), timedelta(hours=1))
        assert table.gone == ()
    finally: monkeypatch.undo(), time.tzset()

def test_writers_that_tidy_at_one_moment_do_not_trip_over_each_other(tmp_path):
    begin_store(tmp_path/"s", TEN)
    fell = []
    def one():
        try: tidy(tmp_path/"s", timedelta(0), fragments=1)
        except Exception as e: fell.append(e)
    for n in range(6):
        for i in range(4): add_rows(tmp_path/"s", both(f"c{4*n + i}"), TEN)
        several = [threading.Thread(target=one) for _ in range(4)]
        for t in several: t.start()
        for t in several: t.join(60)
    assert not fell and len(FeatureStore.open(tmp_path/"s").audio) == 24
    assert {p.name for p in (tmp_path/"s").iterdir()} == {"clips.lance"}

def test_a_reader_that_was_left_behind_is_told_to_open_the_store_again(tmp_path):
    begin_store(tmp_path/"s", TEN)
    for i in range(6): add_rows(tmp_path/"s", both(f"c{i}"), TEN)
    ids, audio = FeatureStore.open(tmp_path/"s"), FeatureStore.open(tmp_path/"s")
    assert len(audio) == 6
    tidy(tmp_path/"s", timedelta(0), fragments=2)
    for read in (lambda: ids.ids, lambda: audio.audio, lambda: audio.select(["c3"]).visual):
        with pytest.raises(ParameterError, match="somebody else after it was opened here: open it again"): read()
    assert FeatureStore.open(tmp_path/"s").audio.shape[0] == 6

def test_the_bytes_written_are_hardly_more_than_the_data(tmp_path):
    teacher = lambda name, width: dict(name=name, fingerprint=name, scale=1., width=width, config=None)
    settings = TEN | dict(audio=teacher("ear", 512), visual=teacher("eye", 768))
    def written(): return next(int(line.split()[1]) for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar"))
    if not Path("/proc/self/io").exists(): pytest.skip("no count of bytes written on this system")
    x = {m: np.ones((10, w), np.float16) for m, w in (("audio", 512), ("visual", 768))}
    begin_store(tmp_path/"s", settings)
    before = written()
    for k in range(0, 640, 64): add_rows(tmp_path/"s", [Row(f"{i:05d}", arrays=x) for i in range(k, k + 64)], settings); tidy(tmp_path/"s")
    assert (written() - before)/(640*25_600) < 1.3

# ---- damage

def flip(folder, where, what, bit=1):
    "Turn a bit of the bytes `what` in the files below `folder`, in the `where`-th byte of them."
    for p in sorted(Path(folder).rglob("*.lance")):
        if p.is_file() and (at := (data := bytearray(p.read_bytes())).find(what)) >= 0:
            data[at + where] ^= bit
            p.write_bytes(data)
            return
    raise AssertionError("the bytes were not found")

@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_a_flipped_bit_is_named_with_its_clip_on_first_use(tmp_path, modality):
    s = made(tmp_path/"s", both(*"abcdef"))
    flip(tmp_path/"s", 7, both("d")[0].arrays[modality].tobytes())
    s = FeatureStore.open(tmp_path/"s")
    assert s.ids == tuple("abcdef")
    words = f"damaged: the {modality} of 1 clip is not what was written: d. .*forget"
    with pytest.raises(ParameterError, match=words): getattr(s, modality)
    with pytest.raises(ParameterError, match=words): list(s.batches(modality, size=1))
    others = np.stack([r.arrays[modality] for r in both("c", "e")])
    assert np.array_equal(getattr(s.select(["c", "e"]), modality), others)
    forget(tmp_path/"s", ["d"]), add_rows(tmp_path/"s", both("d"), TEN)
    assert FeatureStore.open(tmp_path/"s").audio.shape[0] == 6

def test_a_flipped_bit_in_the_small_columns_is_named(tmp_path):
    made(tmp_path/"s", [row("one", "visual", audio="a reason that nobody else has given"), *both("two")])
    flip(tmp_path/"s", 2, b"nobody else")
    with pytest.raises(ParameterError, match="row of 1 clip is not what was written: one"): FeatureStore.open(tmp_path/"s").ids
    batch, columns = disk.batch_of(both("a", "b"), TEN), disk.small_columns(TEN)
    for name in columns:                                                           # every one of them counts
        c = batch.column(name)
        other = c.take(pa.array([1, 0])) if c[0] != c[1] else pa.array(["y" if c[0].as_py() == "{}" else 7.]*2, c.type)
        changed = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), other)
        assert (disk.small_marks(changed, columns) != batch.column("mark").to_numpy()).all(), name

def test_a_flipped_bit_in_a_caption_is_named(tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 30)).astype(np.float32)
    keep_captions(tmp_path, "audio", {"a bark": x[0], "rain": x[1]})
    assert np.array_equal(read_captions(tmp_path)["audio"]["rain"], x[1])
    flip(tmp_path, 9, x[1].tobytes())
    with pytest.raises(ParameterError, match="embedding of the caption of 1 clip is not what was written: audio rain"):
        read_captions(tmp_path)

def test_a_flipped_bit_in_kept_scores_is_named(tmp_path):
    s = made(tmp_path/"s", both(*"abc"))
    s.remember(TOY, Eye(), Ear())
    kept = s.keep_scores(TOY)
    flip(kept.path, 5, s.scores(TOY).visual[1, :, 2].tobytes())
    with pytest.raises(ParameterError, match="kept scores .visual 2. of 1 clip is not what was written: b"):
        FeatureStore.open(tmp_path/"s").scores(TOY)

def test_a_table_that_is_cut_or_emptied_is_one_sentence(tmp_path):
    made(tmp_path/"s", both(*"abc"))
    (file,) = (tmp_path/"s/clips.lance/data").iterdir()
    data = file.read_bytes()
    for content in (b"", data[:100], data[100:], bytes(len(data))):
        file.write_bytes(content)
        with pytest.raises(ParameterError, match="clips.lance"): FeatureStore.open(tmp_path/"s").audio
    file.unlink()
    with pytest.raises(ParameterError, match="clips.lance"): FeatureStore.open(tmp_path/"s").audio

# ---- disks

def test_a_folder_without_hard_links_is_refused_in_one_sentence(tmp_path, monkeypatch):
    def no(*a): raise OSError(1, "Operation not permitted")
    monkeypatch.setattr(disk.os, "link", no)
    with pytest.raises(CannotWrite, match="no hard links.*another disk"): begin_store(tmp_path/"s", TEN)
    assert not has_store(tmp_path/"s") and list((tmp_path/"s").iterdir()) == []

@pytest.mark.parametrize("number", (errno.ENOSPC, errno.EDQUOT, errno.EIO))
def test_a_disk_that_is_full_is_not_called_one_without_links(tmp_path, monkeypatch, number):
    def no(*a): raise OSError(number, os.strerror(number))
    monkeypatch.setattr(disk.os, "link", no)
    assert disk.can_link(tmp_path) and list(tmp_path.iterdir()) == []

def test_others_who_are_faster_again_and_again_are_no_damage(tmp_path, monkeypatch):
    begin_store(tmp_path/"s", TEN), add_rows(tmp_path/"s", [row("a", "visual", audio="x"), *both("b")], TEN)
    early = disk.open_table(tmp_path/"s"/disk.TABLE)
    add_rows(tmp_path/"s", both("a"), TEN)                                        # somebody was faster, and we may not try again
    monkeypatch.setattr(disk, "open_table", lambda *a: early)
    with pytest.raises(Held, match="so many others at this moment that this was not added.*is safe, run again") as e:
        disk.merge_rows(tmp_path/"s"/disk.TABLE, disk.batch_of(both("a"), TEN), disk._better_here(TEN), tries=0)
    assert "damaged" not in str(e.value)
    monkeypatch.undo()
    s = FeatureStore.open(tmp_path/"s")
    assert sorted(s.ids) == ["a", "b"] and s.has_audio.all()

@pytest.mark.parametrize("words, why", [("Disk quota exceeded (os error 122)", "may use no more"), ("Too many open files (os error 24)", "more open files")])
def test_a_process_or_person_with_a_bound_is_told_so_and_not_of_damage(words, why):
    with pytest.raises(CannotWrite, match=why):
        with disk.plain_errors("s"): raise OSError(f"LanceError(IO): Generic LocalFileSystem error: {words}, /home/x/y.rs:1")

def test_a_store_behind_a_link_is_written_and_read(tmp_path):
    (tmp_path/"elsewhere").mkdir()
    (tmp_path/"s").symlink_to(tmp_path/"elsewhere")
    assert made(tmp_path/"s", both("a")).ids == FeatureStore.open(tmp_path/"elsewhere").ids == ("a",)

def test_a_store_that_cannot_be_written_opens_and_keeps_new_captions_in_memory(tmp_path, monkeypatch):
    made(tmp_path/"s", both("a"))
    def no(*a): raise CannotWrite("read-only")
    monkeypatch.setattr(room, "keep_captions", no)
    s = FeatureStore.open(tmp_path/"s")
    with pytest.warns(UserWarning, match="3 captions are known for this session only: read-only"): s.remember(TOY, Eye())
    assert s.select(["a"]).embed_captions("visual", ["red"]).shape == (1, 3)

def mounted(folder, *how): return os.name == "posix" and subprocess.run(["mount", *how, folder], capture_output=True).returncode == 0

def test_a_read_only_disk_opens_and_refuses_in_one_sentence(tmp_path):
    made(tmp_path/"s", both("a"))
    if not mounted(tmp_path/"s", "--bind", tmp_path/"s") : pytest.skip("mounting is not allowed here")
    try:
        if not mounted(tmp_path/"s", "-o", "remount,ro,bind"): pytest.skip("mounting is not allowed here")
        assert FeatureStore.open(tmp_path/"s").audio.shape == (1, 10, 3)
        with pytest.raises(CannotWrite, match="read-only"): add_rows(tmp_path/"s", both("b"), TEN)
    finally: subprocess.run(["umount", tmp_path/"s"])

def test_a_full_disk_loses_nothing_that_was_reported(tmp_path):
    (tmp_path/"s").mkdir()
    if not mounted(tmp_path/"s", "-t", "tmpfs", "-o", "size=2m", "tmpfs"): pytest.skip("mounting is not allowed here")
    try:
        begin_store(tmp_path/"s", TEN)
        there = []
        with pytest.raises(CannotWrite, match="full"):
            for k in range(1000): add_rows(tmp_path/"s", both(*(names := [f"{k}-{i}" for i in range(50)])), TEN); there += names
        s = FeatureStore.open(tmp_path/"s")
        assert there and set(there) == set(s.ids) and len(s.ids) == len(there) and np.isfinite(s.audio).all()
    finally: subprocess.run(["umount", tmp_path/"s"])

# ---- version 0.1

def test_a_store_of_version_0_1_is_converted_beside_and_says_so_once(tmp_path):
    K.old_store(tmp_path/"s", 100, 30)
    before = sorted(p.name for p in (tmp_path/"s").iterdir())
    assert has_store(tmp_path/"s")
    with pytest.warns(StoreConverted, match="version 0.1; its 104 clips were written anew"): s = FeatureStore.open(tmp_path/"s")
    assert s.ids == tuple(f"clip{i:05d}" for i in range(100)) and s.paths[7] == "7.mp4"
    assert set(before) < {p.name for p in (tmp_path/"s").iterdir()}
    for i in (0, 29, 30, 99): assert np.array_equal(s.visual[i], K.numbers(i, "visual"))
    assert s.has_audio.sum() == 90 and np.isnan(s.audio[3]).all() and np.array_equal(s.audio[4], K.numbers(4, "audio"))
    assert len(s.failures) == 10 + 4*2 and list(s.captions["visual"]) == ["red", "green"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert FeatureStore.open(tmp_path/"s").fingerprint == s.fingerprint
    begin_store(tmp_path/"new", K.settings())
    add_rows(tmp_path/"new", [r for i in range(100) for r in K.rows([i], half=i % 10 == 3)], K.settings())
    new = FeatureStore.open(tmp_path/"new")
    assert new.fingerprint == s.fingerprint and new.teachers_fingerprint == s.teachers_fingerprint       # the same content, the same name

def test_a_store_of_version_0_1_that_cannot_be_converted_is_refused_in_a_sentence(tmp_path, monkeypatch):
    K.old_store(tmp_path/"s", 10)
    monkeypatch.setattr("valor_lab.harvest.convert.os.access", lambda *a: False)
    with pytest.raises(CannotWrite, match="version 0.1.*copy it"): FeatureStore.open(tmp_path/"s")
    monkeypatch.undo()
    (tmp_path/"s/00000-00000.arrow").write_bytes(b"no arrow at all")
    with pytest.raises(ParameterError, match="00000-00000.arrow is not an Arrow file"): FeatureStore.open(tmp_path/"s")
    assert not [p for p in (tmp_path/"s").iterdir() if p.name.startswith(".")]

# ---- scores and search

def test_scores_in_batches_and_kept_ones_are_the_same_bits(tmp_path):
    s = made(tmp_path/"s", [*both(*(f"c{i}" for i in range(20))), row("mute", "visual", audio="no"), row("blind", "audio", visual="no")])
    s.remember(TOY, Eye(), Ear())
    whole = s.scores(TOY)
    for m in ("audio", "visual"):
        assert np.array_equal(np.concatenate([found[m] for _, found in s.score_batches(TOY, size=7)]), getattr(whole, m), equal_nan=True)
    kept = s.keep_scores(TOY)
    assert isinstance(kept, KeptScores) and np.array_equal(kept.dense().audio, whole.audio, equal_nan=True)
    assert np.array_equal(s.select(["mute", "c3"]).scores(TOY).visual, whole.select(["mute", "c3"]).visual)

def test_kept_scores_follow_the_embeddings(tmp_path, monkeypatch):
    made(tmp_path/"s", [*both("a"), row("b", "visual", audio="no")]).remember(TOY, Eye(), Ear())
    FeatureStore.open(tmp_path/"s").keep_scores(TOY)
    add_rows(tmp_path/"s", both("b", "c", seed=1), TEN)                       # a better attempt, and a new clip
    s, asked = FeatureStore.open(tmp_path/"s"), []
    assert s.kept_scores(TOY) is None
    expected, real = s.scores(TOY), room.logits
    monkeypatch.setattr(room, "logits", lambda x, *a: asked.append(len(x)) or real(x, *a))
    kept = s.keep_scores(TOY)
    assert sum(asked) == 4 and np.array_equal(kept.dense().visual, expected.visual)      # two clips, two modalities
    asked.clear()
    assert np.array_equal(s.keep_scores(TOY).dense().audio, s.scores(TOY).audio) and not asked

def test_search_finds_the_seconds_that_score_highest_best_first(tmp_path):
    s = made(tmp_path/"s", [*both(*(f"c{i:02d}" for i in range(40))), row("blind", "audio", visual="no")])
    s.remember(TOY, Eye(), Ear())
    score = s.scores(TOY).visual[..., 1]
    found = s.search("green", "visual", 25)
    order = np.argsort(-np.nan_to_num(score, nan=-99).reshape(-1), kind="stable")[:25]
    assert found["clip"].tolist() == [s.ids[i//10] for i in order] and found.segment.tolist() == (order % 10).tolist()
    assert found.second.tolist() == (order % 10).tolist() and np.allclose(found.score, score.reshape(-1)[order])
    assert len(s.search("green", "visual", 10_000)) == 400 and s.search("red", "visual", 0).empty
    with pytest.raises(ParameterError, match="'a dog'.*toy ear"): s.search("a dog", "audio")
    with pytest.raises(ParameterError, match="modality='both'"): s.search("red", "both")

def test_the_index_agrees_with_the_exact_answer_and_knows_when_it_is_old(tmp_path):
    s = made(tmp_path/"s", both(*(f"c{i:03d}" for i in range(200))))
    s.remember(TOY, Eye(), Ear())
    s.index("visual")
    assert s.has_index("visual") and not s.has_index("audio")
    exact, fast = (s.search("green", "visual", 20, exact=e) for e in (True, False))
    assert len({*zip(exact["clip"], exact.segment)} & {*zip(fast["clip"], fast.segment)}) >= 19 and fast.score.is_monotonic_decreasing
    add_rows(tmp_path/"s", both("new"), TEN)
    s = FeatureStore.open(tmp_path/"s")
    assert not s.has_index("visual")
    s.index("visual")
    assert s.has_index("visual")
    forget(tmp_path/"s", ["c007"])
    s = FeatureStore.open(tmp_path/"s")
    s.index("visual")
    assert s.has_index("visual") and "c007" not in set(s.search("green", "visual", 2000, exact=False)["clip"])

def test_a_segment_that_its_stream_does_not_reach_is_missing_everywhere(tmp_path):
    short = row("short", "audio", "visual")
    short.arrays["audio"] = short.arrays["audio"].copy()
    short.arrays["audio"][5:] = np.nan
    s = made(tmp_path/"s", [short, *both("b")])
    s.remember(TOY, Eye(), Ear())
    s.index("audio")
    assert s.has_audio.all() and np.isnan(s.audio[0, 5:]).all() and np.isfinite(s.audio[0, :5]).all() and s.has_index("audio")
    for found in (s.search("low", "audio", 100, exact=True), s.search("low", "audio", 100, exact=False)):
        assert len(found) == 15 and found.segment[found["clip"] == "short"].max() == 4
    scores = s.scores(TOY).audio
    assert np.array_equal(s.keep_scores(TOY).dense().audio, scores, equal_nan=True) and np.isnan(scores[0, 5:]).all()
    memory = FeatureStore.of_arrays(s.settings, s.ids, s.durations, s.audio, s.visual)
    assert memory.has_audio.all() and memory.fingerprint == s.fingerprint

def test_nearest_of_nothing_is_nothing(): assert [len(x) for x in nearest([], np.ones(3, np.float32), 1., 5)] == [0, 0, 0]

@pytest.mark.parametrize("key, value", [("audio", 7), ("audio", {"name": "x"}), ("n_segments", "ten"), ("n_segments", -1), ("n_segments", 10**12), ("n_segments", 9),
    ("features", [1]), ("features", {"x": {"shape": [1e9], "modality": "audio"}}), ("visual", {"name": "eye", "fingerprint": "x", "scale": "no", "width": 3}),
    ("visual", {"name": "eye", "fingerprint": "x", "scale": 1, "width": 4})])
def test_settings_that_no_store_has_are_refused_in_a_sentence(tmp_path, key, value):
    made(tmp_path/"s", both("a"))
    disk.open_table(tmp_path/"s"/disk.TABLE).update_schema_metadata({"valor_lab": json.dumps(TEN | {key: value})}, replace=True)
    with pytest.raises(ParameterError, match="not the settings of a store, see|is damaged: its columns lack"): FeatureStore.open(tmp_path/"s")
    (tmp_path/"old").mkdir()
    (tmp_path/"old/manifest.json").write_text(json.dumps(TEN | {"format": 1, key: value}))
    if value != 9 and "width" not in str(value):
        with pytest.raises(ParameterError): FeatureStore.open(tmp_path/"old").ids

def test_ids_that_no_list_can_hold_are_refused_and_a_folder_of_any_name_is_not(tmp_path):
    made(tmp_path/"s", both("a"))
    for odd in ("a\tb", "a\u2028b", "na\udcefve"):
        with pytest.raises(ParameterError, match="a store cannot hold"): add_rows(tmp_path/"s", [Row(odd)], TEN)
    odd = row("b", "audio", visual="/na\udcefve/b.mp4 is empty")
    odd.path = "/na\udcefve/b.mp4"
    add_rows(tmp_path/"s", [odd], TEN)
    s = FeatureStore.open(tmp_path/"s")
    assert s.paths[1] == "/na\\udcefve/b.mp4" and "udcefve" in s.failures.reason[0]

def test_of_two_who_begin_a_table_the_second_wipes_nothing(tmp_path):
    from valor_lab.files import lock
    path = tmp_path/"s"/disk.TABLE
    path.parent.mkdir()
    with lock(path):                                                          # the first one is at it
        second = threading.Thread(target=disk.create_table, args=(path, disk.schema_of(TEN)))
        second.start()
        made(tmp_path/"s", both("a"))
    second.join(60)
    assert FeatureStore.open(tmp_path/"s").ids == ("a",) and disk.open_table(path).version == 2

def test_a_file_that_somebody_tidies_away_does_not_stop_a_writer(tmp_path, monkeypatch):
    made(tmp_path/"s", both("a"))
    class Gone:
        path = str(tmp_path/"gone")
        def stat(self): raise FileNotFoundError(self.path)
        def is_file(self): return True
    real = os.scandir
    monkeypatch.setattr(disk.os, "scandir", lambda p: [*real(p), Gone()])
    assert add_rows(tmp_path/"s", both("b"), TEN) == (1, 0)

# ---- kills

def test_killed_writers_and_four_at_once_lose_and_double_nothing():
    done = subprocess.run([sys.executable, K.__file__, "--kills", "1", "--races", "2"], capture_output=True, text=True, timeout=1200)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, "\n".join([*(f"{f['kind']}: {w}" for f in found for w in f["wrong"] if f["faults"]), done.stderr[-2000:]])
    assert [f["kind"] for f in found] == ["append", "upsert", "compact", "convert", "index", "four writers", "races of two", "full disk"]
    assert not any(f["faults"] for f in found), found
