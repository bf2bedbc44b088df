"""Plug-ins that are wrong, missing, or raise when they are called: each is named, and the pages, the launcher, notebooks and commands live on."""
import warnings

import pytest

pytest.importorskip("torch")
from valor_lab import core, training
from valor_lab.cli import main
from valor_lab.core import ParameterError, load_plugins
from valor_lab.datasets import dataset as sets, load_dataset
from valor_lab.methods import objectives
from valor_lab.training import TrainConfig, fit, override, toy_set

BAD = dict(broken="def half(:\n", missing=None, raising="1/0", quits="raise SystemExit(3)", taken="from valor_lab.datasets import register_dataset\nregister_dataset('llp', print)",
           wrong="from valor_lab.methods import register_objective\nregister_objective('wrong', 7)")
LATE = """
from valor_lab import datasets, methods
class Late(methods.Objective):
    def loss(self, model, batch, output): raise RuntimeError("the loss of a plug-in")
def load(*a): raise RuntimeError("the loader of a plug-in")
methods.register_objective("late", Late)
datasets.register_dataset("later", load, reader=load, stock=load)
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    "A workspace with plug-ins of every bad kind, one that raises when it is called, and a described set beside them."
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    monkeypatch.setattr(core, "_PLUGINS", {}), monkeypatch.setattr(sets, "REGISTERED", dict(sets.REGISTERED))
    for name, text in BAD.items():
        if text is not None: (tmp_path/f"{name}.py").write_text(text)
    (tmp_path/"late.py").write_text(LATE)
    (tmp_path/"valor.toml").write_text(f"plugins = {[f'{n}.py' for n in (*BAD, 'late')]}")
    (tmp_path/"data/kitchen").mkdir(parents=True)
    (tmp_path/"data/kitchen/dataset.toml").write_text('n_segments = 4\n[events.Dog]\n[splits]\ntrain = "weak.csv"\n')
    (tmp_path/"data/kitchen/weak.csv").write_text("clip,event\na,Dog\n")
    yield tmp_path
    objectives.OBJECTIVES.pop("late", None)


def named(text): return {n for n in BAD if f"{n}.py" in text}


def test_browse_compare_and_the_front_door_name_them_and_show_the_clips(home):
    pytest.importorskip("anywidget")
    from valor_lab.workbench import BrowseBench, home_facts, load_clips
    clips = load_clips("kitchen", "train")
    assert len(clips) == 1 and named("\n".join(clips.complaints)) == set(BAD)
    bench = BrowseBench(clips)
    assert named(bench.table.note) == set(BAD) and named("\n".join(home_facts("kitchen").look)) == set(BAD)


def test_the_launcher_names_them_and_offers_what_there_is(home):
    pytest.importorskip("anywidget")
    from valor_lab.workbench import Launcher
    launcher = Launcher("kitchen")
    assert named(launcher.message) == set(BAD) and "han" in launcher.presets and launcher.jobs == []


def test_a_notebook_begins_and_warns_of_each(home):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        training.check_parameters(["", 'dataset = "kitchen"\nsplit = "train"\nsize = ""'], "dataset split size")
    assert named("\n".join(str(w.message) for w in said)) == set(BAD)


def test_commands_name_them_and_do_their_work(home, capsys):
    assert main(["sets"]) == 0
    out, err = capsys.readouterr()
    assert "kitchen\tavvp, 1 events" in out and "later\tregistered by a plug-in" in out and named(err) == set(BAD)


def test_a_loss_that_raises_ends_its_training_with_its_own_words(home):
    with warnings.catch_warnings(action="ignore"): load_plugins()
    config = override(TrainConfig(objective="late", epochs=1), dict(d_model=16, d_ff=16, n_heads=2, warmup=0))
    with pytest.raises(RuntimeError, match="the loss of a plug-in"): fit(config, toy_set(8, 1), home/"runs/late", device="cpu", progress=False)


def test_a_data_set_that_raises_is_a_sentence_where_it_is_shown_and_hides_no_other(home, capsys):
    pytest.importorskip("anywidget")
    from valor_lab.workbench import Launcher, home_facts, load_clips
    with warnings.catch_warnings(action="ignore"): load_plugins()
    with pytest.raises(ParameterError, match="data set 'later': the loader that a plug-in registered raised RuntimeError: the loader"): load_dataset("later")
    facts = home_facts("later")
    assert "the loader of a plug-in" in str(facts) and len(load_clips("kitchen", "train")) == 1
    assert Launcher("later").presets
    assert main(["labels", "import", str(home/"x.csv"), "--as", "x", "--set", "later"]) == 2
    err = capsys.readouterr().err
    assert "the loader of a plug-in" in err and "Traceback" not in err
