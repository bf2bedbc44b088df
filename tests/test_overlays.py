"""Corrections are kept beside the labels, with who and when, and are refused where they do not fit."""
import json, warnings

import numpy as np
import pytest

from valor_lab.core import ParameterError
from valor_lab.labels import SegmentLabels, read_segments, EDIT_COLUMNS, Overlay, corrected_labelings, open_overlay, list_overlays
from valor_lab.vocab import LLP


@pytest.fixture
def truth():
    on = np.random.default_rng(0).random((3, 10, 25)) < .1
    return SegmentLabels(["a", "b", "c"], on, ~on)


def test_the_original_never_changes_and_undo_leads_back(truth):
    before = truth.audio.copy()
    o = Overlay("mine", truth, who="Ada")
    rng, states = np.random.default_rng(1), []
    for _ in range(30):
        states.append(o.apply())
        a, b = sorted(rng.choice(11, 2, replace=False))
        if not o.paint("abc"[rng.integers(3)], LLP.events[rng.integers(25)], ("audio", "visual")[rng.integers(2)], int(a), int(b),
                       bool(rng.integers(2))):
            states.pop()
    while o.edits:
        assert o.undo()
        want = states.pop()
        assert (o.apply().audio == want.audio).all() and (o.apply().visual == want.visual).all()
    assert not o.undo() and (truth.audio == before).all()


def test_file_says_who_when_what_and_reads_back_the_same(truth, tmp_path):
    o = Overlay("mine", truth, who="Ada")
    o.paint("a", "Dog", "visual", 0, 10, False)
    o.save(tmp_path)
    body = json.loads((tmp_path/"mine.json").read_text())
    assert set(body["edits"][0]) == set(EDIT_COLUMNS) and body["edits"][0]["who"] == "Ada" and body["edits"][0]["when"].startswith("20")
    again = open_overlay("mine", truth, "Bob", tmp_path)
    assert (again.apply().visual == o.apply().visual).all() and list_overlays(tmp_path) == ["mine"] and not again.unsaved


def test_somebody_elses_save_is_not_overwritten(truth, tmp_path):
    one, two = Overlay("mine", truth), Overlay("mine", truth)
    one.paint("a", "Dog", "audio", 0, 1, not truth.audio[0, 0, LLP.index("Dog")])
    two.paint("b", "Cat", "audio", 0, 1, not truth.audio[1, 0, LLP.index("Cat")])
    one.save(tmp_path)
    with pytest.raises(ParameterError, match="was saved by"): two.save(tmp_path)
    assert len(open_overlay("mine", truth, folder=tmp_path)) == 1


def test_labels_that_changed_since_are_an_error_and_other_clips_are_not(truth, tmp_path):
    o = Overlay("mine", truth)
    o.paint("a", "Dog", "audio", 0, 10, True)
    changed = truth.select(["a", "b"])
    changed.visual[0, 0, 0] ^= True
    with pytest.raises(ParameterError, match="not those that were corrected"): o.apply(changed)
    assert (o.apply(truth.select(["b"])).audio == truth.select(["b"]).audio).all()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "x", "base": "truth", "seen": {}, "edits": [{}]}',
                                  '{"name": "x", "base": "truth", "seen": {}, "n_segments": 9, "edits": []}',
    '{"name": "x", "base": "truth", "seen": {}, "n_segments": 10, "edits": [{"clip": "a", "event": "Unicorn", "modality": "audio", '
    '"start": 0, "end": 1, "value": true, "who": "", "when": ""}]}'])
def test_damaged_files_are_named(truth, tmp_path, text):
    (tmp_path/"x.json").write_text(text)
    with pytest.raises(ParameterError): open_overlay("x", truth, folder=tmp_path)


def test_official_csv_reads_back_as_the_corrected_labels(truth, tmp_path):
    o = Overlay("mine", truth)
    o.paint("c", "Singing", "visual", 3, 4, not truth.visual[2, 3, LLP.index("Singing")])
    labels = o.apply()
    labels.to_csv(tmp_path/"a.csv", tmp_path/"v.csv")
    again = read_segments(tmp_path/"a.csv", tmp_path/"v.csv", truth.ids)
    assert (again.audio == labels.audio).all() and (again.visual == labels.visual).all()
    o.save(tmp_path/"o")
    assert list(corrected_labelings({"truth": truth}, tmp_path/"o")) == ["mine"]


EDIT = dict(clip="a", event="Dog", modality="audio", start=0, end=1, value=True, who="", when="")
BODY = dict(name="x", base="truth", n_segments=10, seen={"a": "0"}, edits=[EDIT])

@pytest.mark.parametrize("change", [dict(start=-5, end=-1), dict(start=3, end=3), dict(end=11), dict(start=0.5), dict(start=True),
                                    dict(end=10**30), dict(value=1), dict(clip=7), dict(clip="b"), dict(modality="smell"),
                                    dict(event=None), dict(event=["Dog"])])
def test_a_stroke_that_cannot_have_been_painted_is_named(truth, tmp_path, change):
    (tmp_path/"x.json").write_text(json.dumps(BODY | dict(edits=[EDIT, EDIT | change])))
    with pytest.raises(ParameterError, match="stroke 2|Dog|None"): open_overlay("x", truth, folder=tmp_path)


def test_one_bad_overlay_hides_no_other(truth, tmp_path):
    o = Overlay("good", truth)
    o.paint("a", "Dog", "audio", 0, 1, not truth.audio[0, 0, LLP.index("Dog")])
    o.save(tmp_path)
    for n, text in enumerate(("", "[" * 5000, "7", json.dumps(BODY | dict(edits=[EDIT | dict(start=-5)])))):
        (tmp_path/f"bad{n}.json").write_text(text)
    (tmp_path/".good.0123456789ab.json").write_text("{")                     # what a killed writer of version 0.1 left
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = corrected_labelings({"truth": truth}, tmp_path)
    assert [f"bad{n}.json" in str(w.message) for n, w in enumerate(said)] == [True] * 4
    assert list(found) == ["good"] and list_overlays(tmp_path) == ["bad0", "bad1", "bad2", "bad3", "good"]


def test_a_save_can_be_taken_back_and_says_who_made_it(truth, tmp_path):
    from valor_lab.files import kept, restore
    o = Overlay("mine", truth, who="Ada")
    for clip in "ab":
        o.paint(clip, "Dog", "audio", 0, 1, not truth.audio["ab".index(clip), 0, LLP.index("Dog")])
        o.save(tmp_path)
    restore(tmp_path/"mine.json", 1)
    assert len(open_overlay("mine", truth, folder=tmp_path)) == 1 and [v["who"] for v in kept(tmp_path/"mine.json")][:2] == ["Ada", "Ada"]
    with pytest.raises(ParameterError, match="was saved by"): o.save(tmp_path)


# which labels an overlay corrects, in a data set and in a training

@pytest.fixture
def kitchen(tmp_path, monkeypatch):
    "Two described clips of 16 segments, weakly labelled, without a store."
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    (tmp_path/"data/kitchen/f").mkdir(parents=True)
    part = '{ folder = "f", shape = [16, 4] }'
    (tmp_path/"data/kitchen/dataset.toml").write_text('n_segments = 16\n[events.Dog]\n[events.Rain]\n[splits]\ntrain = "weak.csv"\n'
                                                      f"[features]\naudio = {part}\nvisual = {part}\n")
    (tmp_path/"data/kitchen/weak.csv").write_text("clip,event\na,Dog\nb,Rain\n")
    for c in "ab": np.save(tmp_path/f"data/kitchen/f/{c}.npy", np.ones((16, 4), np.float32))
    return tmp_path


def mend(name, base, labels, clip="a", event="Rain", at=3):
    o = Overlay(name, labels, base, "Ada")
    assert o.paint(clip, event, "audio", at, at + 1)
    o.save()
    return o.apply()


def test_an_overlay_over_copied_weak_labels_is_shown_and_trained_on(kitchen):
    pytest.importorskip("torch")
    from valor_lab.datasets import load_dataset
    from valor_lab.training import choose_labels
    from valor_lab.workbench import load_clips
    copied = load_clips("kitchen", "train").labelings["weak label, copied"]
    assert copied.n_segments == 16
    mend("first", "weak label, copied", copied)
    clips = load_clips("kitchen", "train")
    assert clips.labelings["first"].audio[0, 3].tolist() == [True, True] and clips.corrected == {"first": "weak label, copied"}
    labels = choose_labels(load_dataset("kitchen", features="own"), "first").labels
    assert labels.n_segments == 16 and (labels.audio == clips.labelings["first"].audio).all()


def test_overlays_find_their_base_in_the_order_in_which_they_depend_on_each_other(kitchen):
    "Named so that the alphabet is the wrong order; the lowest corrects labels that were kept in tune."
    pytest.importorskip("torch")
    from valor_lab.datasets import load_dataset, save_labels
    from valor_lab.labels import WeakLabels
    from valor_lab.training import choose_labels
    from valor_lab.vocab import Vocab
    from valor_lab.workbench import load_clips
    vocab = load_clips("kitchen", "train").vocab
    tuned = WeakLabels(["a", "b"], np.eye(2, dtype=bool), vocab).copied(16)
    save_labels(tuned, "tuned", about=dict(kept_by="tune"))
    c = mend("c", "tuned", tuned, at=1)
    b = mend("b", "c", c, at=2)
    a = mend("a", "b", b, clip="b", event="Dog")
    clips = load_clips("kitchen", "train")
    assert not clips.complaints and {"tuned", "a", "b", "c"} <= set(clips.labelings)
    assert (clips.labelings["a"].audio == a.audio).all() and clips.corrected == dict(a="b", b="c", c="tuned")
    data = load_dataset("kitchen", features="own")
    assert (choose_labels(data, "a").labels.audio == a.audio).all()


def test_overlays_in_a_circle_or_without_a_base_are_named_and_stop_nothing(kitchen):
    pytest.importorskip("torch")
    from valor_lab.datasets import load_dataset
    from valor_lab.training import choose_labels
    from valor_lab.workbench import load_clips
    copied = load_clips("kitchen", "train").labelings["weak label, copied"]
    for name, base in (("x", "y"), ("y", "x"), ("z", "gone")): mend(name, base, copied)
    mend("good", "weak label, copied", copied)
    clips = load_clips("kitchen", "train")
    assert "good" in clips.labelings and not {"x", "y", "z"} & set(clips.labelings)
    assert sorted(c.split(".json")[0] for c in clips.complaints) == ["overlays/x", "overlays/y", "overlays/z"] and "'gone'" in "".join(clips.complaints)
    data = load_dataset("kitchen", features="own")
    with pytest.raises(ParameterError, match="circle"): choose_labels(data, "x")
    with pytest.raises(ParameterError, match="'z' correct 'gone'"): choose_labels(data, "z")


def test_an_overlay_over_nothing_yet_is_trained_on(kitchen):
    pytest.importorskip("torch")
    from valor_lab.datasets import load_dataset
    from valor_lab.training import choose_labels
    from valor_lab.workbench import load_clips
    path = kitchen/"data/kitchen/dataset.toml"
    path.write_text("weak = false\n" + path.read_text())
    empty = load_clips("kitchen", "train").labelings["nothing yet"]
    mend("first", "nothing yet", empty)
    assert load_clips("kitchen", "train").labelings["first"].audio.sum() == 1
    labels = choose_labels(load_dataset("kitchen", features="own"), "first").labels
    assert labels.audio.sum() == 1 and labels.n_segments == 16
