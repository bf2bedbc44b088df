"A harvest by an engine is the harvest of one process, to the last bit; teachers travel by name."
import os
from pathlib import Path

import pytest

pytest.importorskip("lance"), pytest.importorskip("av")
from toy_teachers import TOY, Ear, Eye, same_store, toy_set

from valor_lab.core import ParameterError
from valor_lab.engines import find_engine
from valor_lab.grid import Window
from valor_lab.harvest import harvest, pipeline

HERE = Path(__file__).parent


def named(cls):
    teacher = cls()
    teacher.made_by = f"toy_teachers:{cls.__name__}", {}
    return teacher


@pytest.fixture
def videos(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent)]))
    toy_set(tmp_path/"videos", 7, 2)
    (tmp_path/"videos"/"empty.mp4").touch()
    return tmp_path/"videos"


def test_processes_side_by_side_make_the_store_of_one_process(videos, tmp_path):
    how = dict(n_segments=2, vocab=TOY, batch=2, shard=3, workers=1, progress=False)
    alone = harvest(videos, named(Eye), named(Ear), tmp_path/"alone", **how)
    both = harvest(videos, named(Eye), named(Ear), tmp_path/"both", engine="local:processes=2", **how)
    assert len(both.ids) == len(set(both.ids)) == 7 and same_store(both.select(alone.ids), alone.select(alone.ids))
    assert sorted(both.failures["id"]) == sorted(alone.failures["id"])


@pytest.mark.parametrize("said,seen", [("local:processes=2", [2, 4, 5]), ("slurm:cluster=debug,jobs=2", [4, 5]), ("local:processes=9", [2, 4, 5])])
def test_a_harvest_in_parts_is_seen_part_by_part_up_to_the_number_of_clips(tmp_path, monkeypatch, said, seen):
    from tqdm import tqdm
    clips, at, parts = [pipeline._Task(f"clip{n}", None) for n in range(5)], [], []
    def run_all(function, calls, engine, folder, told):
        parts.extend(row[0] for c in calls for row in c["rows"])
        for _ in calls: told(1), at.append(bar.n - 7)
    monkeypatch.setattr(pipeline, "run_all", run_all)
    with tqdm(total=12, initial=7, file=open(os.devnull, "w")) as bar:
        pipeline._in_parts(clips, dict(out=str(tmp_path), batch=2, shard=2, workers=1), find_engine(said), bar)
    assert at == seen and parts == [c.id for c in clips]                         # the last part is the smaller one; seven were there before


def test_a_worker_makes_its_teachers_once_and_a_long_harvest_is_tidied_on_the_way(videos, tmp_path, monkeypatch):
    import json
    made, tidied = [], []
    def run_all(function, calls, engine, folder, told):
        from valor_lab.engines import call
        return [call(function, json.loads(json.dumps(c))) for c in calls]
    plan_of = pipeline.plan_of
    monkeypatch.setattr(pipeline, "run_all", run_all), monkeypatch.setattr(pipeline, "FRAGMENTS", 2)
    monkeypatch.setattr(pipeline, "plan_of", lambda r: made.append(1) or plan_of(r)), pipeline._kept_plan.cache_clear()
    monkeypatch.setattr(pipeline, "tidy", tidied.append)
    store = harvest(videos, named(Eye), named(Ear), tmp_path/"a", 2, vocab=TOY, batch=1, shard=1, workers=0, progress=False, engine="local:processes=2")
    assert len(store.ids) == 7 and made == [1] and len(tidied) == 4 + 1           # eight parts, and the end
    pipeline._kept_plan.cache_clear()


def test_what_ray_is_given_makes_the_rows_of_one_process(videos, tmp_path, monkeypatch):
    "Both stages in this process, in Ray's order; the flow itself is tried by kill_ray.py."
    from valor_lab.engines import call
    import json
    def stream(first, second, broken, shared, batches, engine):
        use = call(second, dict(shared=json.loads(json.dumps(shared))))
        for b in batches: yield use(call(first, dict(shared=shared, batch=json.loads(json.dumps(b)))))
    monkeypatch.setattr(pipeline, "stream", stream)
    how = dict(n_segments=2, vocab=TOY, batch=2, shard=3, workers=0, progress=False)
    alone = harvest(videos, named(Eye), named(Ear), tmp_path/"alone", **how)
    assert same_store(harvest(videos, named(Eye), named(Ear), tmp_path/"ray", engine="ray", **how), alone)


def test_a_teacher_that_does_not_say_how_it_is_made_is_refused_before_the_store_is_begun(videos, tmp_path):
    with pytest.raises(ParameterError, match="toy eye does not say how it is made"):
        harvest(videos, Eye(), named(Ear), tmp_path/"out", n_segments=2, vocab=None, progress=False, engine="local:processes=2")
    assert not (tmp_path/"out").exists()


def test_another_teacher_on_another_machine_is_refused(videos, tmp_path):
    eye = named(Eye)
    eye.fingerprint = "toy-eye-2"
    with pytest.raises(ParameterError, match="the teacher made here is toy eye"):
        harvest(videos, eye, named(Ear), tmp_path/"out", n_segments=2, vocab=None, progress=False, engine="local:processes=1")


def test_a_clip_travels_as_words_whatever_it_is():
    tasks = [pipeline._Task("a", Path("/x/a.mp4")), pipeline._Task("b", None, had=frozenset(["audio"])), pipeline._Task("r_0_10", Window("/x/r.mp4", 0, 10))]
    assert pipeline._of_words(pipeline._in_words(tasks)) == tasks


def test_a_clip_whose_decoder_is_killed_is_a_row_with_that_reason():
    (task,) = pipeline.broken_batch(dict(settings=dict(audio=dict(name="x"), visual=None)), [["a", ["/x/a.mp4"], []]])
    assert task.row().reasons == dict(audio="its decoder was killed again and again")
