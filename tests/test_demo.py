"""The demo set: the same seed gives the same files, whoever renders them and however often he is interrupted."""
import json, os, re, shutil, signal, subprocess, sys, time
from pathlib import Path

import numpy as np
import pytest

from valor_lab.demo import (render as demo, TEACHER_SEED, draw_event, event_rng, measure_rates, plan_demo, render_demo, simple_features,
                            synth_event)
from valor_lab.core import ParameterError, fingerprint
from valor_lab.labels import audit, concat, read_segments, read_weak
from valor_lab.media import read_clip, write_clip
from valor_lab.vocab import LLP

FEW = dict(train=5, val=2, test=2, pixels=48, fps=4, rate=16_000)

def digest(folder):
    return {p.relative_to(folder).as_posix(): fingerprint(p) for p in sorted(folder.rglob("*")) if p.is_file() and p.name[0] != "."}

@pytest.fixture(scope="module")
def few(tmp_path_factory):
    "A set of nine clips, rendered in one go by one process."
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(demo.SIZES, "tiny", FEW)
        yield render_demo(tmp_path_factory.mktemp("few"), "tiny", workers=1, progress=False)

# --- seeds, figures, sounds

def test_every_event_has_a_figure_and_a_sound(): assert set(demo.FIGURES) == set(demo.SOUNDS) == set(LLP.events)

@pytest.mark.parametrize("event", LLP.events)
def test_a_figure_moves_and_a_sound_is_there_and_both_follow_their_generator(event):
    first, later, again, other = (draw_event(event, 48, t, event_rng(s, "figure"), backdrop=False)
                                  for s, t in ((1, 0.), (1, .37), (1, 0.), (2, 0.)))
    assert first.shape == (48, 48, 3) and first.dtype == np.uint8
    assert (first == again).all() and (first != other).any()
    assert (first != later).any(), "the figure stands still"
    x, y, z = (synth_event(event, .5, event_rng(s, "sound"), rate=16_000) for s in (1, 1, 2))
    assert x.shape == (8000,) and x.dtype == np.float32 and np.isfinite(x).all() and .03 < np.sqrt((x**2).mean()) < .11
    assert (x == y).all() and (x != z).any()

@pytest.mark.parametrize("event", LLP.events)
def test_no_second_of_a_sound_is_silent(event):
    for k in range(3):
        x = synth_event(event, 6, event_rng(0, "silence", k), rate=16_000)
        loud = (x[:16_000*5]**2).reshape(-1, 16_000).mean(1)
        assert loud.min() > 1e-5, "a whole second without a sound"

def test_other_seeds_and_other_paths_give_other_numbers():
    states = [event_rng(seed, *path).bit_generator.state["state"]["state"] for seed in (0, 1, 2**31, 2**32 - 1, TEACHER_SEED)
              for path in ((), ("clip",), ("clip", 1), ("clip", 2), ("figure", "Dog"))]
    assert len(set(states)) == len(states)

def test_no_set_can_have_the_teachers_seed():
    for seed in (TEACHER_SEED, 2**32, -1, 1.5, "0"):
        with pytest.raises(ParameterError, match="seed"): plan_demo("tiny", seed)
    assert TEACHER_SEED >= 2**32

def test_unknown_event_and_size_are_refused():
    with pytest.raises(ParameterError, match="Wolf"): draw_event("Wolf", 48, 0., event_rng(0))
    with pytest.raises(ParameterError, match="Wolf"): synth_event("Wolf", 1., event_rng(0))
    with pytest.raises(ParameterError, match="huge"): plan_demo("huge")

# --- the plan

@pytest.mark.parametrize("size", demo.SIZES)
def test_the_plan_has_its_clips_and_its_weak_labels_are_the_union_of_its_segments(size):
    plan = plan_demo(size, 3)
    for split, p in plan.items():
        assert len(p.truth) == len(p.weak) == demo.SIZES[size][split]
        assert p.weak.mask.any(1).all() and (p.weak.mask == (p.truth.audio | p.truth.visual).any(1)).all()
        assert all(re.fullmatch(r"demo\d{7}_0_10", i) for i in p.weak.ids)
    assert len(set(concat(*[p.weak for p in plan.values()]).ids)) == sum(demo.SIZES[size][s] for s in demo.SPLITS)

def test_another_seed_is_another_script_and_the_same_seed_the_same():
    a, b, c = (plan_demo("tiny", s)["train"].truth for s in (0, 0, 1))
    assert (a.audio == b.audio).all() and (a.visual == b.visual).all() and (a.audio != c.audio).any()

def test_every_event_is_in_enough_training_clips_of_small():
    for seed in range(3): assert plan_demo("small", seed)["train"].weak.mask.sum(0).min() >= 8

@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_plan_has_llps_rates(seed):
    truth = concat(*[p.truth for p in plan_demo("full", seed).values()])
    a, v = truth.audio.any(1), truth.visual.any(1)
    here = (a | v).sum()
    assert abs((a & ~v).sum()/here - .349) < .03 and abs((v & ~a).sum()/here - .046) < .015
    assert abs(truth.audio.sum(1)[a].mean() - 7.04) < .3 and abs(truth.visual.sum(1)[v].mean() - 8.15) < .3
    rates = measure_rates(truth)
    for column, tolerance in (("audible_only", .03), ("visible_only", .03), ("audio_throughout", .06), ("visual_throughout", .06)):
        assert (rates[column] - demo.RATES[column]).abs().mean() < tolerance, column
    assert abs((truth.audio == truth.visual).all(1)[a & v].mean() - .604) < .05

def test_the_written_rates_are_those_of_llps_files(data):
    root = data("llp")
    ids = [i for s in ("val", "test") for i in read_weak(root/f"AVVP_{s}_pd.csv").ids]
    found = measure_rates(read_segments(root/"AVVP_eval_audio.csv", root/"AVVP_eval_visual.csv", ids))
    assert (found.round(3) - demo.RATES).abs().max().max() < 1e-9

# --- the set on disk

def test_the_official_readers_read_the_set_strictly_and_find_the_plan(few):
    plan = plan_demo("tiny")
    for split, name in (("train", "AVVP_train.csv"), ("val", "AVVP_val_pd.csv"), ("test", "AVVP_test_pd.csv")):
        weak = read_weak(few/name, strict=True)
        assert weak.ids == plan[split].weak.ids and (weak.mask == plan[split].weak.mask).all()
    held_out = concat(plan["val"].truth, plan["test"].truth)
    for truth, parts in ((held_out, "eval"), (plan["train"].truth, "train")):
        read = read_segments(few/f"AVVP_{parts}_audio.csv", few/f"AVVP_{parts}_visual.csv", truth.ids, strict=True)
        assert (read.audio == truth.audio).all() and (read.visual == truth.visual).all()
        assert not len(audit(truth.weak(), read))
    assert len(read_weak(few/"AVVP_dataset_full.csv", strict=True)) == 9

def test_every_clip_is_a_whole_video_with_its_features(few):
    for split in plan_demo("tiny").values():
        for clip in split.weak.ids:
            got = read_clip(few/"videos"/f"{clip}.mp4", n=10)
            assert not got.reasons and abs(got.duration - 10) < .15 and got.frames.shape == (10, 48, 48, 3)
            for kind, shape in demo.SIMPLE_SHAPES.items():
                x = np.load(few/"feats"/f"simple_{kind}"/f"{clip[:11]}.npy", allow_pickle=False)
                assert x.shape == shape and x.dtype == np.float32 and np.isfinite(x).all()

def test_what_is_heard_and_seen_follows_the_truth():
    "Of one clip, once as it is and once without its picture's events, only the picture changes; likewise for the sound."
    truth = plan_demo("tiny")["train"].truth
    clip = truth.ids[int((truth.audio & truth.visual).any((1, 2)).argmax())]
    one = truth.select([clip])
    blind, deaf = (demo.SegmentLabels([clip],
                                      *(np.zeros_like(x) if m == off else x for m, x in (("audio", one.audio), ("visual", one.visual))))
                                      for off in ("visual", "audio"))
    frames, sound = (lambda l: demo.draw_clip(l, clip, 0, 48, 4)), (lambda l: demo.mix_clip(l, clip, 0, 16_000))
    assert (frames(one) != frames(blind)).any() and (frames(one) == frames(deaf)).all()
    assert (sound(one) != sound(deaf)).any() and (sound(one) == sound(blind)).all()

def test_the_number_of_workers_and_the_place_do_not_matter_but_the_seed_does(few, tmp_path):
    assert digest(render_demo(tmp_path/"two", "tiny", workers=2, progress=False)) == digest(few)
    other = render_demo(tmp_path/"other", "tiny", seed=1, workers=1, progress=False)
    a, b = (read_clip(folder/"videos"/"demo0000000_0_10.mp4") for folder in (few, other))
    assert (a.frames != b.frames).any() and (a.audio != b.audio).any()

def test_a_finished_set_is_left_alone_and_lost_files_come_back_the_same(few, tmp_path):
    copy, before = tmp_path/"copy", digest(few)
    shutil.copytree(few, copy)
    times = {p: p.stat().st_mtime_ns for p in copy.rglob("*.mp4")}
    render_demo(copy, "tiny", workers=1, progress=False)
    assert {p: p.stat().st_mtime_ns for p in copy.rglob("*.mp4")} == times
    for lost in (("AVVP_train.csv",), ("videos/demo0000003_0_10.mp4", "feats/simple_audio/demo0000001.npy", "manifest.json")):
        for name in lost: (copy/name).unlink()
        render_demo(copy, "tiny", workers=1, progress=False)
        assert digest(copy) == before

def test_another_set_in_the_same_folder_is_refused_before_anything_is_written(few):
    before = digest(few)
    with pytest.raises(ParameterError, match="another demo set"): render_demo(few, "tiny", seed=1, progress=False)
    assert digest(few) == before

def test_the_sweep_takes_our_leftovers_and_never_a_file_of_somebody_else(few, tmp_path):
    from valor_lab.core import process
    out, me = tmp_path/"swept", process()
    shutil.copytree(few, out)
    clip, tag, gone = plan_demo("tiny")["train"].truth.ids[0], "0123456789ab", f"{me['machine']}-{me['pid']}-1-01234567"
    ours = [f".manifest.{gone}.json", f".AVVP_train.{gone}.csv", f"videos/.{clip}.{gone}.mp4",
            f"feats/simple_audio/.{clip[:11]}.{gone}.npy"]
    foreign = [".gitignore", ".env", ".bashrc", ".manifest.json", f".notes.{tag}.json", f".AVVP_train.{gone[:-1]}.csv",
               f".{clip}.{tag}.mp4",
               "videos/.gitkeep", f"videos/.holiday.{tag}.mp4", "feats/.gitkeep", "feats/simple_audio/.tmpabcd1234.npy", "feats/mine/.x"]
    (out/"feats/mine").mkdir()
    for name in (*ours, *foreign): (out/name).write_text("x")
    works = out/f".AVVP_train.{me['machine']}-{me['pid']}-{me['began']}-01234567.csv"    # a living process is at work on it
    works.touch()
    (out/"manifest.json").unlink()                                  # so that there is something to finish
    render_demo(out, "tiny", workers=1, progress=False)
    assert not [n for n in ours if (out/n).exists()] and not [n for n in foreign if not (out/n).exists()] and works.exists()

def test_a_run_killed_at_any_moment_is_continued_to_the_same_set(few, tmp_path):
    out = tmp_path/"killed"
    script = f"from valor_lab import demo; demo.SIZES['tiny'] = {FEW!r}; demo.render_demo({str(out)!r}, 'tiny', workers=1, progress=False)"
    for files in (1, 4, 7):
        job = subprocess.Popen([sys.executable, "-c", script])
        while job.poll() is None and len(list(out.glob("videos/demo*.mp4"))) < files: time.sleep(.005)
        job.send_signal(signal.SIGKILL)
        job.wait()
    render_demo(out, "tiny", workers=1, progress=False)
    assert digest(out) == digest(few)
    assert json.loads((out/"manifest.json").read_text())["version"] == demo.VERSION

def test_sets_of_two_sizes_under_one_name_are_two_sets_in_one_process(tmp_path, monkeypatch):
    for n in (1, 2):
        monkeypatch.setitem(demo.SIZES, "tiny", dict(train=n, val=1, test=1, pixels=32, fps=2, rate=8_000))
        out = render_demo(tmp_path/str(n), "tiny", workers=1, progress=False)
        assert len(read_weak(out/"AVVP_train.csv").ids) == n and len(list(out.glob("videos/*.mp4"))) == n + 2

def parent(stat):
    "The parent's id in a file /proc/ID/stat, None if the process has ended meanwhile."
    try: return int(stat.read_text().rsplit(")", 1)[1].split()[1])
    except OSError: return None

@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux for the children of a process")
def test_workers_end_when_the_run_is_killed(tmp_path):
    job = subprocess.Popen([sys.executable, "-c",
                            f"from valor_lab import demo; demo.render_demo({str(tmp_path)!r}, 'tiny', workers=2, progress=False)"])
    while job.poll() is None and not list(tmp_path.glob("videos/demo*.mp4")): time.sleep(.02)
    children = [p.parent for p in Path("/proc").glob("[0-9]*/stat") if parent(p) == job.pid]
    assert len(children) >= 2
    job.send_signal(signal.SIGKILL)
    job.wait()
    for _ in range(6000):
        if not any(p.exists() for p in children): break
        time.sleep(.02)
    assert not any(p.exists() for p in children)

# --- features of any video

def test_simple_features_of_a_file_with_one_stream_leave_the_other_out(tmp_path):
    frames, audio = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3), np.uint8), synth_event("Dog", 5, event_rng(0))
    assert simple_features(write_clip(tmp_path/"mute.mp4", frames, None, 8))["audio"] is None
    deaf = simple_features(write_clip(tmp_path/"blind.m4a", None, audio, 8))
    assert deaf["visual"] is None and deaf["motion"] is None and deaf["audio"].shape == (10, 128)

def test_simple_features_refuse_what_is_not_eighty_frames_and_a_sound():
    frames = np.zeros((80, 16, 16, 3), np.uint8)
    for bad in ((frames[:10], None), (frames.astype(float), None), (None, np.zeros(0, np.float32))):
        with pytest.raises(ParameterError): simple_features(bad)

def test_motion_features_of_a_still_picture_are_zero_and_visual_ones_do_not_change():
    frames = np.repeat(draw_event("Dog", 64, 0., event_rng(0))[None], 80, 0)
    still = simple_features((frames, None))
    assert not still["motion"].any() and (still["visual"] == still["visual"][0]).all()

def test_simple_features_of_a_real_video(data):
    got = simple_features(data("media")/"BjCEufrlXm4.mp4")
    assert {m: x.shape for m, x in got.items()} == demo.SIMPLE_SHAPES and all(np.isfinite(x).all() for x in got.values())
