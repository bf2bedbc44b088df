"""Tables that compare methods, on real small runs and by hand, and the method of your own with which the notebook `methods` ends."""
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from test_denoise import toy_splits
from valor_lab import datasets
from valor_lab.training import comparison as methods, recipes, loop as train
from valor_lab.methods import objectives, change_quality
from valor_lab.core import ParameterError
from valor_lab.labels import SegmentLabels, WeakLabels
from valor_lab.metrics import avvp_scores, bootstrap_difference
from valor_lab.vocab import LLP

ROOT = Path(__file__).resolve().parent.parent
SMALL = dict(d_model=16, n_heads=2, d_ff=16, epochs=2, batch_size=8, schedule="constant", lr=1e-3)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    "Three methods with two seeds each, trained on made-up clips; `jomold` removes labels, `pld` flips them."
    folder, splits = tmp_path_factory.mktemp("runs"), toy_splits(datasets.Dataset)
    make = lambda name, seed: train.fit(replace(train.override(train.preset(name), SMALL), seed=seed), splits[0], folder/f"{name}-{seed}", splits[1], splits[2], device="cpu", progress=False)
    return {n: [make(n, s) for s in (0, 1)] for n in ("valor", "pld", "jomold")}, splits


def test_the_main_table_counts_the_time_of_helpers_and_prints_mean_and_deviation(done):
    runs, _ = done
    table = methods.main_table(runs)
    x = [r.scores["test"]["segment/type"] for r in runs["pld"]]
    assert table.loc["pld", "segment/type"] == f"{np.mean(x):.1f} ± {np.std(x, ddof=1):.1f}" and table.loc["jomold", "protocol"] == "per_modality" and table.loc["jomold", "chosen_by"] == "event/audio"
    run, = {r.path: r for r in runs["pld"][:1]}.values()
    helper, = run.path.glob("helpers/*/scores.json")
    assert methods.training_seconds(run) == run.scores["seconds"] + json.loads(helper.read_text())["seconds"] and methods.training_seconds(runs["valor"][0]) == runs["valor"][0].scores["seconds"]


def test_paired_differences_are_those_of_the_mean_over_seeds_and_of_the_known_bootstrap(done):
    runs, (_, _, test) = done
    scores = methods.clip_scores(runs, test.truth)
    t = methods.paired(scores, "event/type").set_index(["a", "b"])
    mean = lambda n: np.mean([r.scores["test"]["event/type"] for r in runs[n]])
    assert list(t.index) == [("valor", "pld"), ("valor", "jomold"), ("pld", "jomold")] and t.value["valor", "jomold"] == pytest.approx(mean("valor") - mean("jomold"))
    single = methods.clip_scores({n: r[:1] for n, r in runs.items()}, test.truth)
    ours = methods.paired(single).set_index(["a", "b"]).loc[("valor", "jomold")]
    theirs = bootstrap_difference(avvp_scores, *(train.run_labels(runs[n][0]) for n in ("valor", "jomold")), test.truth, n=4000).loc["segment/type"]
    assert ours.value == pytest.approx(theirs.value) and ours.low == pytest.approx(theirs.low, abs=1) and ours.high == pytest.approx(theirs.high, abs=1)
    assert (t.holm >= t.p).all()
    with pytest.raises(ParameterError, match="alone"): methods.paired({"valor": scores["valor"]})


def test_a_verdict_needs_several_seeds_and_an_interval_clear_of_zero():
    import pandas as pd
    rng = np.random.default_rng(0)
    base = pd.DataFrame({"segment/type": rng.uniform(20, 80, 60), "event/type": rng.uniform(20, 80, 60)})
    runs = lambda change: [base + change() + rng.normal(0, 1, base.shape) for _ in range(3)]
    scores = {"base": runs(lambda: 0), "better": runs(lambda: 5), "noisy": runs(lambda: rng.normal(0, 20, base.shape)), "worse": runs(lambda: -5), "moody": [base + d for d in (-4, 8, 8)]}
    t = methods.versus(scores, "base")
    assert t["segment/type is"].tolist() == ["", "above", "not told apart", "below", "not told apart"] and t.loc["better", "segment/type"].startswith(("+4.", "+5."))
    one = methods.versus({n: r[:1] for n, r in scores.items()}, "base")
    assert set(one["segment/type is"]) == {"", "one seed: not judged"} and one.loc["better", "segment/type"].startswith("+")
    with pytest.raises(ParameterError, match="velour"): methods.versus({"base": [base]}, "velour")


def test_changes_are_judged_by_clips_for_removals_and_by_segments_for_flips(done):
    runs, (data, _, _) = done
    flips = methods.change_table(runs["pld"], data.labels, data.truth, data.weak)
    want = [change_quality(data.labels.visual, methods.own_labels(r, data.vocab).visual, data.truth.visual).loc["all"] for r in runs["pld"]]
    assert flips.loc["visual", "changed"] == np.mean([w.changed for w in want])
    removals = methods.change_table(runs["jomold"], data.weak, data.truth, data.weak)
    y, t = data.weak.mask, data.truth.visual.any(1)
    assert removals.loc["visual", "wrong"] == (y & ~t).sum() and removals.loc["visual", "chance"] == pytest.approx(100*(y & ~t).sum()/y.sum())
    assert removals.loc["both", "changed"] == removals.loc[["audio", "visual"], "changed"].sum()


def test_precision_and_recall_of_a_removal_by_hand(tmp_path):
    ids, y = ["a", "b", "c"], np.zeros((3, 25), bool)
    y[:, 0] = y[0, 1] = True
    true = np.zeros((3, 10, 25), bool)
    true[0, 2:4, 0] = true[1, :, 0] = True                                    # clip c never shows event 0, clip a never event 1
    left = y.copy()
    left[2, 0] = left[1, 0] = False                                          # one removal right, one wrong, one wrong label stays
    spread = lambda m: np.repeat(m[:, None], 10, 1)
    datasets.save_labels(SegmentLabels(ids, spread(y), spread(left), LLP), "train", tmp_path)
    (tmp_path/"config.toml").write_text("")
    t = methods.change_table([train.Run(tmp_path)], WeakLabels(ids, y), SegmentLabels(ids, spread(y), true, LLP), WeakLabels(ids, y))
    assert t.loc["visual", ["changed", "wrong", "precision", "recall", "chance"]].tolist() == [2, 2, 50, 50, 50] and t.loc["audio", "changed"] == 0


def test_labels_of_one_method_train_another_and_a_run_without_labels_says_so(done, tmp_path):
    runs, splits = done
    with pytest.raises(ParameterError, match="no labels of its own"): methods.own_labels(runs["valor"][0])
    get = methods.with_labels(lambda features: dict(train=splits[0], val=splits[1], test=splits[2]), runs["pld"][0])
    assert np.array_equal(get("classic")["train"].labels.visual, methods.own_labels(runs["pld"][0], splits[0].vocab).visual) and get("classic")["val"] is splits[1]
    assert np.array_equal(recipes.choose_labels(splits[0], f"run:{runs['pld'][0].path}").labels.visual, get("classic")["train"].labels.visual)
    config = train.override(train.preset("vplan-given"), SMALL)
    assert train.fit(config, get("classic")["train"], tmp_path/"run", splits[1], device="cpu", progress=False).finished


def test_quality_before_and_after_covers_the_methods_that_made_labels(done):
    runs, (data, _, _) = done
    table = methods.quality_table({"weak": data.weak, "dense": data.labels}, runs, data.truth)
    assert table.index.tolist() == ["weak", "dense", "pld", "jomold"] and table.loc["dense"].round(9).tolist() == [100]*5
    assert methods.most_changed(data.labels, data.labels, data.weak) == []


def test_the_sweeps_name_presets_and_printed_rows_that_exist():
    plan = methods.sweep_plan("llp")
    assert len(plan) == len(methods.SWEEPS) == len({f"{g}: {l}" for g, l, *_ in methods.SWEEPS})
    assert methods.printed({str(i): place for i, (*_, place) in enumerate(methods.SWEEPS) if place})["segment/type"].notna().all()
    assert methods.printed(methods.PRINTED)["segment/type"].notna().all() and set(methods.PRINTED) <= set(train.PRESETS)
    with pytest.raises(KeyError): methods.printed({"x": ("VALOR Table 1", "nobody")})
    small = methods.sweep_plan("demo", "small", clips=240)
    steps = lambda c: c.epochs*240/c.batch_size
    assert "JoMoLD: batch 32" in small and "JoMoLD: batch 64" not in small and {steps(c) for c, _ in small.values()} == {30*240/16} and {steps(plan[f"JoMoLD: batch {b}"][0]) for b in (32, 128)} == {25*240/32, 25*240/128}


def test_the_method_with_which_the_notebook_ends_is_short_and_trains(tmp_path):
    cells = ["".join(c["source"]) for c in json.loads((ROOT/"nbs"/"methods.ipynb").read_text())["cells"] if c["cell_type"] == "code"]
    own, = (c for c in cells if "register_preset(" in c)
    assert len([l for l in own.splitlines() if l.strip()]) < 30 and cells.index(own) >= len(cells) - 2
    try:
        exec(own, space := {"__name__": "__main__"})
        data, val, test = toy_splits(datasets.Dataset)
        run = train.fit(train.override(train.preset("doubt"), {**SMALL, "sure": .5}), data, tmp_path/"run", val, test, device="cpu", progress=False)
        assert run.finished and (run.path/"labels"/"train"/"about.json").exists() and space["DoubtConfig"]().sure == .9
        mark = objectives.make_objective("doubt", sure=.5)
        helper, = run.path.glob("helpers/han-*")
        context = objectives.Context(model=None, data=train.on_device(data), epochs=1, steps_per_epoch=1, batch_size=8, train=lambda name: train.open_run(helper).model())
        mark.start(context)
        prob = context.predict(train.open_run(helper).model()).segment_prob
        wrong = torch.where(context.data["labels_visual"] > .5, 1-prob[:, :, 1], prob[:, :, 1]) > .5
        assert wrong.any() and torch.equal(mark.visual, torch.where(wrong, .5, context.data["labels_visual"]))      # doubted entries are halves, others as they were
    finally: objectives.OBJECTIVES.pop("doubt", None), train.PRESETS.pop("doubt", None)


def test_the_loop_knows_no_method_and_asks_objectives_only_for_the_hooks_that_all_share():
    import ast
    source = (ROOT/"valor_lab"/"training"/"loop.py").read_text()
    asked = {n.attr for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Attribute) and ast.unparse(n.value) in ("objective", "t.objective", "self.objective")}
    hooks = {k for k in vars(objectives.Objective) if not k.startswith("_")}
    assert {"before_batch", "loss", "start"} <= asked <= hooks, asked - hooks
    made_by_methods = {cls.__name__ for cls, _ in objectives.OBJECTIVES.values() if cls.__module__.split(".")[-1] != "objectives"}
    assert len(made_by_methods) >= 8 and not {n for n in (*made_by_methods, "removals", "bags") if n in source.replace("PRESETS", "")}


def test_no_objective_hides_a_hook_behind_a_value_or_a_value_behind_a_hook():
    "Hooks and attributes of `Objective` share one namespace: what the loop calls must be a function in every class, what it reads must not."
    import ast, importlib, inspect, pkgutil
    import valor_lab.methods
    for m in pkgutil.iter_modules(valor_lab.methods.__path__): importlib.import_module(f"valor_lab.methods.{m.name}")
    importlib.import_module("valor_lab.tasks.places")
    base = {k: v for k, v in vars(objectives.Objective).items() if not k.startswith("_")}
    hooks = {k for k, v in base.items() if inspect.isfunction(v)}
    values = {*base} - hooks
    assert {"loss", "start", "kept", "labels", "after_scores"} <= hooks and {"Config", "needs", "reads", "extra", "phases", "early"} == values
    def below(cls): return {cls}.union(*map(below, cls.__subclasses__()))
    known = {c for c in below(objectives.Objective) if c.__module__.startswith("valor_lab.")}
    assert len(known) >= 15 and {c for c, _ in objectives.OBJECTIVES.values() if c.__module__.startswith("valor_lab.")} <= known
    for cls in known:
        own = vars(cls)
        assert not [k for k in hooks & {*own} if not inspect.isfunction(own[k])], cls
        assert not [k for k in values & {*own} if inspect.isfunction(own[k]) or isinstance(own[k], (staticmethod, classmethod))], cls
        for k in hooks & {*own}:                                       # a hook takes what the loop gives
            inspect.signature(own[k]).bind(*["x"]*len([p for p in inspect.signature(base[k]).parameters.values() if p.default is p.empty]))
        stored = [n for n in ast.walk(ast.parse(inspect.getsource(cls))) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
        hidden = {n.attr for n in stored if ast.unparse(n.value) == "self"} & {*hooks, *values}
        assert not hidden, (cls, hidden)


def test_an_objective_whose_value_hides_a_hook_is_refused_when_it_is_registered():
    class Hiding(objectives.Supervision): labels = ("audio", "visual")
    with pytest.raises(ParameterError, match="Hiding.labels is .*a hook"): objectives.register_objective("hiding", Hiding)
    assert "hiding" not in objectives.OBJECTIVES


def test_a_method_has_one_year_in_the_registry_the_picture_and_the_published_rows():
    import pandas as pd
    from valor_lab.core import shipped
    from valor_lab.models import PAPERS
    printed = pd.read_csv(shipped("published_results.csv"))
    of = lambda name: set(printed[printed.method.isin([name, f"{name} (online)"]) & ~printed.source.str.contains("re-measured|UWAV Table [2-9A]")].year.dropna())
    for p in PAPERS:
        name = p.paper.split(",")[0]
        assert p.year in of(name) or not of(name), (name, of(name))
        if p.backbone in methods.YEARS and p.layout != "lsld" and name != "VALOR": assert methods.YEARS[p.backbone] == p.year, name
    assert methods.YEARS["nrep"] == 2023 and of("NREP") == {2023}                          # the year of its specification's title
