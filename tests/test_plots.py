"""Figures show the numbers they are given; names are shown as they are; right and wrong are told apart by shape."""
import io, warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure
from valor_lab import metrics as M
import valor_lab.plots as P
from valor_lab.core import ParameterError, shipped
from valor_lab.labels import SegmentLabels, WeakLabels, runs
from valor_lab.vocab import LLP, Vocab


def made_up(n=30, seed=0, density=.15):
    audio, visual = np.random.default_rng(seed).random((2, n, 10, 25)) < density
    return SegmentLabels([f"clip{i}" for i in range(n)], audio, visual)


TRUTH, PRED, OTHER = made_up(), made_up(seed=1), made_up(seed=2)


def bars(ax, i): return [b.get_width() for b in ax.containers[i]]
def names(ax): return [t.get_text() for t in ax.get_yticklabels()]
def texts(fig): return [t.get_text() for a in fig.axes for t in a.texts]


def draw(fig):
    "Render, with every warning of matplotlib an error."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig.savefig(io.BytesIO(), format="png", dpi=40)
    return fig


@pytest.mark.parametrize("unit, want", [("clips", lambda x: x.any(1).sum(0)), ("segments", lambda x: x.sum((0, 1))),
                                        ("events", lambda x: np.bincount(runs(x)[1], minlength=25))])
def test_event_counts_are_the_lengths_of_the_bars(unit, want):
    ax = draw(P.event_counts(TRUTH, unit)).axes[0]
    for i, m in enumerate(M.MODALITIES):
        count = dict(zip(LLP.events, want(getattr(TRUTH, m))))
        assert bars(ax, i) == [count[n] for n in names(ax)]
    totals = [sum(b) for b in zip(*(bars(ax, i) for i in range(3)))]
    assert totals == sorted(totals, reverse=True)


def test_durations_count_every_event_at_its_length():
    ax = draw(P.durations(TRUTH)).axes[0]
    for i, m in enumerate(M.MODALITIES):
        _, _, start, end = runs(getattr(TRUTH, m))
        assert [b.get_height() for b in ax.containers[i]] == np.bincount(end - start, minlength=11)[1:].tolist()


def test_durations_of_clips_with_other_lengths_are_in_seconds():
    x = replace(TRUTH, durations=np.full(len(TRUTH), 30.))
    ax = draw(P.durations(x)).axes[0]
    assert [b.get_height() for b in ax.containers[0]] == [b.get_height() for b in P.durations(TRUTH).axes[0].containers[0]]
    assert ax.get_xlim()[1] > 30


def test_cooccurrence_counts_clips():
    weak = TRUTH.weak()
    table = P.cooccurrence_table(TRUTH)
    assert table.loc["Dog", "Cat"] == (weak.mask[:, LLP.index("Dog")] & weak.mask[:, LLP.index("Cat")]).sum()
    image = draw(P.cooccurrence(weak)).axes[0].images[0].get_array()
    assert np.isclose(image[3, 4], 100 * table.iloc[3, 4] / table.iloc[3, 3]) and np.diag(image).max() == 0


def test_alignment_adds_up_to_a_hundred():
    table, ax = P.alignment_table(TRUTH), draw(P.alignment(TRUTH)).axes[0]
    assert np.allclose(table.sum(axis=1), 100)
    assert np.isclose(dict(zip(names(ax), bars(ax, 1)))["Dog"], table.loc["Dog", "audio_visual"])


def test_event_bars_and_gains_show_the_scores():
    ours, base = M.event_scores(PRED, TRUTH), M.event_scores(OTHER, TRUTH)
    ax = draw(P.event_bars(ours)).axes[0]
    for i, m in enumerate(M.MODALITIES): assert bars(ax, i) == [ours.loc[(n, m), "F"] for n in names(ax)]
    table = M.bootstrap_difference(M.event_scores, PRED, OTHER, TRUTH, n=50)
    fig = draw(P.event_gains(ours, base, interval=table))
    for ax, m in zip(fig.axes, ("audio", "visual")):
        shown = [n.rsplit(" (", 1) for n in names(ax)]
        assert np.allclose(bars(ax, 0), [ours.loc[(n.strip(), m), "F"] - base.loc[(n.strip(), m), "F"] for n, _ in shown])
        assert all(int(k.rstrip(")")) == table.loc[(n.strip(), m, "F"), "clips"] for n, k in shown)
        assert bars(ax, 0) == sorted(bars(ax, 0), reverse=True)
    with pytest.raises(ParameterError): P.event_gains(ours, base.iloc[3:])
    with pytest.raises(ParameterError, match="score='f1'"): P.event_bars(ours, "f1")


def test_an_event_that_never_occurs_has_no_bar():
    empty = replace(TRUTH, audio=TRUTH.audio & (np.arange(25) != 3), visual=TRUTH.visual & (np.arange(25) != 3))
    ax = draw(P.event_bars(M.event_scores(empty, empty))).axes[0]
    assert names(ax)[-1] == LLP.events[3] and np.isnan(bars(ax, 0)[-1])


def test_nonaligned_takes_plain_scores_and_intervals():
    plain, table = M.nonaligned_scores(PRED, TRUTH), M.bootstrap(M.nonaligned_scores, OTHER, TRUTH, n=50)
    ax = draw(P.nonaligned({"a": plain, "b": table})).axes[0]
    groups = {c.get_label(): [b.get_width() for b in c] for c in ax.containers if hasattr(c, "patches")}
    assert groups["only heard"] == [plain["audible_only"], table.loc["audible_only", "value"]]


def test_forest_draws_each_value_in_its_interval():
    tables = {n: M.bootstrap(M.avvp_scores, x, TRUTH, n=50) for n, x in (("a", PRED), ("b", OTHER))}
    fig = draw(P.forest(tables, ["segment/type", "event/visual"], {"a": M.bootstrap_difference(M.avvp_scores, PRED, OTHER, TRUTH, n=50)},
                        "b"))
    points = [l.get_xdata()[0] for l in fig.axes[0].lines if len(l.get_xdata()) == 1]
    assert points == [tables[n].loc[k, "value"] for k in ("segment/type", "event/visual") for n in "ab"]
    assert len(fig.axes) == 2
    with pytest.raises(KeyError, match="segment/sound"): P.forest(tables, ["segment/sound"])


def test_significance_is_bold_where_the_interval_is_clear_of_zero():
    table = P.pairwise({"pred": PRED, "other": OTHER, "truth": TRUTH}, TRUTH, n=50)
    fig = draw(P.significance(table))
    bold = sum(t.get_weight() == "bold" for t in fig.axes[0].texts)
    assert bold == 2 * ((table.low > 0) | (table.high < 0)).sum() >= 4 and len(fig.axes[0].texts) == 2 * len(table)
    assert f"{table.value[0]:+.1f}" in texts(fig)
    with pytest.raises(KeyError, match="a score of fidelity"): P.pairwise({"a": PRED, "b": OTHER}, TRUTH, metric=M.fidelity, n=5)


def test_confusion_matrix_shows_shares_of_the_row():
    table = M.confusion(PRED, TRUTH)
    image = draw(P.confusion_matrix(table)).axes[0].images[0].get_array()
    assert image.shape == (25, 26) and np.isclose(image[0, 1], 100 * table.iloc[0, 1] / table.iloc[0].sum())


def test_published_results_and_ours_stand_in_one_order():
    table = pd.read_csv(shipped("published_results.csv"))
    rows = P.published_rows(table)
    fig = draw(P.published(table, {"mine": M.avvp_scores(PRED, TRUTH)}, top=10))
    lines = fig.axes[0].lines
    assert sorted(lines[0].get_xdata(), reverse=True) == rows["value"].head(10).tolist()
    assert lines[1].get_xdata().tolist() == [M.avvp_scores(PRED, TRUTH)["segment/type"]]
    assert sum(n.endswith(" *") for n in names(fig.axes[0])) == (rows["remark"].head(10) != "").sum()
    assert rows["value"].is_monotonic_decreasing and not rows["name"].duplicated().any()


def test_learning_curves_draw_each_run_in_each_panel():
    t = pd.DataFrame({"epoch": [1, 2, 3], "loss/total": [3., 2, 1], "val/segment/type": [40., 50, 55]})
    fig = draw(P.learning_curves({"a": t, "b": t.assign(**{"loss/total": 1.}), "without validation": t.drop(columns="val/segment/type")},
                                 ("segment/type",)))
    assert [len(a.lines) for a in fig.axes] == [3, 2] and fig.axes[1].lines[0].get_ydata().tolist() == [40, 50, 55]
    assert len(draw(P.learning_curves(t.head(1), ("segment/type",))).axes) == 2
    with pytest.raises(KeyError, match="loss/total"): P.learning_curves(t.drop(columns="loss/total"))


def test_histogram_counts_known_scores_only_and_marks_the_threshold():
    scores, true = np.array([1., 2, 3, np.nan, 9]), np.array([0, 0, 1, 1, 1], bool)
    fig = draw(P.score_histogram(scores, true, 2.5, "visual", published=2., best=3.))
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["without the event (2)", "with it (2)", "published 2.0", "best 3.0"]
    assert ax.lines[0].get_xdata()[0] == 2.5
    with pytest.raises(ParameterError): P.score_histogram(scores, true[:3], 2.5, "visual")


def test_precision_recall_marks_the_point_of_the_threshold():
    curve = pd.DataFrame(dict(threshold=[1., 2, 3], precision=[20., 50, np.nan], recall=[100., 60, 0]))
    ax = draw(P.precision_recall(curve, "audio", 1.9)).axes[0]
    assert (ax.lines[-1].get_xdata()[0], ax.lines[-1].get_ydata()[0]) == (60, 50)


def count(fig, kind): return sum(p.get_gid() == kind for a in fig.axes for p in a.patches)


def marks(labelings, truth, row):
    "Runs of right, false and missed segments, counted from the arrays."
    pairs = [(getattr(x, m)[[row]], getattr(truth, m)[[row]]) for x in labelings for m in M.MODALITIES]
    n = lambda f: sum(len(runs(f(p, t))[0]) for p, t in pairs)
    return n(lambda p, t: p & t), n(lambda p, t: p & ~t), n(lambda p, t: t & ~p)


def test_timelines_mark_right_false_and_missed():
    fig = draw(P.timelines({"pred": PRED, "other": OTHER}, "clip3", TRUTH, TRUTH.weak()))
    right, false, missed = marks([PRED, OTHER], TRUTH, 3)
    of_truth = marks([TRUTH], TRUTH, 3)[0]
    weak = TRUTH.weak().mask[3].sum()
    assert (count(fig, "false alarm"), count(fig, "missed")) == (false, missed)
    assert count(fig, "right") == right + of_truth + weak
    hatched = [p for a in fig.axes for p in a.patches if p.get_hatch()]
    assert len(hatched) == false and all(p.get_facecolor()[3] == 0 for p in hatched)
    assert all(p.get_linestyle() not in ("solid", "-") for a in fig.axes for p in a.patches if p.get_gid() == "missed")


def test_timelines_without_truth_are_solid_and_one_axes_per_clip():
    fig = draw(P.timelines({"parsed": PRED}, PRED.ids[:3]))
    assert len(fig.axes) == 3 and count(fig, "false alarm") == count(fig, "missed") == 0 and not fig.legends
    assert count(fig, "right") == sum(marks([PRED], PRED, i)[0] for i in range(3))


def test_timelines_show_only_the_events_asked_for():
    fig = draw(P.timelines({"pred": PRED}, "clip3", TRUTH, events=["Dog", "Cat"]))
    shown = [t for t in texts(fig) if t in LLP.events]
    assert set(shown) <= {"Dog", "Cat"}


def test_an_empty_clip_says_so():
    nothing = SegmentLabels(["a"], np.zeros((1, 10, 25)), np.zeros((1, 10, 25)))
    assert "no event" in texts(draw(P.timelines({"pred": nothing}, truth=nothing)))


class Scores:
    ids, vocab = TRUTH.ids, LLP
    audio = np.where(TRUTH.audio, LLP.clap_thresholds + 3, LLP.clap_thresholds - 3)
    visual = np.where(TRUTH.visual, LLP.clip_thresholds + 3, np.nan)


def test_strips_pictures_and_sound_are_drawn():
    events = LLP.events[:2]
    fig = draw(P.timelines({"pred": TRUTH}, "clip3", TRUTH, scores={"pred": Scores}, events=events,
                           pictures={"clip3": [np.zeros((8, 8, 3), np.uint8)] * 4}, sound={"clip3": np.ones(50)}))
    ax, shown = fig.axes[0], [c for c in range(2) if (TRUTH.audio | TRUTH.visual)[3, :, c].any()]
    cells = [p for p in ax.patches if p.get_gid() == "score"]
    assert len(cells) == sum(10 + TRUTH.visual[3, :, c].sum() for c in shown)          # NaN leaves a gap
    assert {p.get_alpha() > .5 for p in cells} == {True, False} and len(ax.images) == 4 and len(ax.collections) == 1


def test_timelines_refuse_what_they_cannot_lay_side_by_side():
    with pytest.raises(KeyError, match="nowhere"): P.timelines({"pred": PRED}, ["nowhere"])
    with pytest.raises(KeyError, match="harvested"): P.timelines({"pred": PRED}, "clip1", scores={"harvested": Scores})
    with pytest.raises(ParameterError, match="nothing to draw"): P.timelines({})
    with pytest.raises(ParameterError, match="no clips"): P.timelines({"pred": PRED}, [])
    with pytest.raises(ParameterError, match="60 clips to draw: name 1 to 50"): P.timelines({"pred": made_up(60)})
    with pytest.raises(ParameterError, match="5 segments"):
        P.timelines({"pred": replace(PRED, audio=PRED.audio[:, :5], visual=PRED.visual[:, :5])}, "clip1", TRUTH)
    v = Vocab("other", [f"e{i}" for i in range(25)], ["x"] * 25, ["x"] * 25, [0] * 25, [0] * 25)
    with pytest.raises(ParameterError, match="other events"): P.timelines({"pred": replace(PRED, vocab=v)}, "clip1", TRUTH)


NASTY = [r"$\frac{1}{0}$", r"\$x^2$", "a $ b", "<b>bold</b> & {x} %s", "x" * 300, "two\nlines", "_^~#$$"]


def test_names_of_users_are_shown_as_they_are():
    k = len(NASTY)
    v = Vocab("nasty", NASTY, NASTY, NASTY, np.zeros(k), np.zeros(k))
    audio = np.random.default_rng(0).random((k, 6, k)) < .4
    x = SegmentLabels(NASTY, audio, ~audio, v)
    tables = {n: M.bootstrap(M.avvp_scores, x, x, n=5) for n in NASTY}
    curve = pd.DataFrame({"epoch": [1], "loss/total": [1.], "val/segment/type": [2.], "val/event/type": [2.]})
    figures = [P.event_counts(x), P.durations(x), P.cooccurrence(x), P.alignment(x), P.event_bars(M.event_scores(x, x)),
               P.event_gains(M.event_scores(x, x), M.event_scores(x, x)),
               P.nonaligned({n: M.nonaligned_scores(x, x) for n in NASTY}), P.forest(tables, ["segment/type"], tables, NASTY[0]),
               P.significance(P.pairwise({n: x for n in NASTY}, x, n=5), NASTY[0]),
               P.confusion_matrix(M.confusion(x, x)), P.learning_curves({n: curve for n in NASTY}),
               P.score_histogram(audio, audio, .5, "audio", title=NASTY[0]), P.timelines({n: x for n in NASTY[:3]}, NASTY[:2], x, x.weak())]
    for fig in figures: draw(fig)
    assert P.plain(NASTY[0]) in names(figures[0].axes[0])


def test_plain_text_survives_rendering():
    from matplotlib.text import Text
    for name in NASTY:
        shown, math = Text(0, 0, P.plain(name))._preprocess_math(P.plain(name))
        assert not math and shown.replace("…", "") and ("$" in name) == ("$" in shown)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_modalities_have_the_hues_of_the_theme(theme):
    from matplotlib.colors import to_hex
    fig = P.event_counts(TRUTH, theme=theme)
    assert [to_hex(c[0].get_facecolor()) for c in fig.axes[0].containers] == list(P.HUES[theme].values())
    assert to_hex(fig.get_facecolor()) == P.theme(theme)["card"]


def test_a_given_axes_is_drawn_on_and_its_figure_returned():
    fig = Figure()
    ax = fig.subplots()
    assert P.alignment(TRUTH, ax=ax) is fig and len(ax.containers) == 3


def test_a_picture_shows_itself_and_is_no_pyplot_figure():
    import matplotlib.pyplot as plt
    before = plt.get_fignums()
    assert P.durations(TRUTH)._repr_png_().startswith(b"\x89PNG") and plt.get_fignums() == before


def test_settings_of_the_session_are_left_alone():
    import matplotlib
    before = dict(matplotlib.rcParams)
    P.durations(TRUTH, theme="dark")
    assert dict(matplotlib.rcParams) == before


def test_an_unknown_theme_or_unit_is_refused():
    with pytest.raises(ParameterError, match="theme='sepia'"): P.durations(TRUTH, theme="sepia")
    with pytest.raises(ParameterError, match="unit='frames'"): P.event_counts(TRUTH, "frames")


def test_a_sweep_marks_the_best_cell_and_frames_the_published_one():
    grid = pd.DataFrame([[70., 74, 73], [69, 75.5, 72]], pd.Index([2, 4], name="K"), pd.Index([3, 6, 10], name="alpha"))
    ax = draw(P.sweep_grid(grid, 72, [(4, 6)], title="F")).axes[0]
    assert ([t.get_text() for t in ax.texts if t.get_weight() == "bold"] == ["+3.5"]
            and [t.get_text() for t in ax.texts][:3] == ["-2.0", "+2.0", "+1.0"])
    assert sum(p.get_linewidth() > 1 for p in ax.patches) == 1 and "before 72.0" in ax.get_title(loc="left") + ax.get_title()
    with pytest.raises(KeyError): P.sweep_grid(grid, 72, [(5, 6)])


def test_change_dots_draw_nothing_for_a_method_that_changed_nothing():
    t = pd.DataFrame(dict(changed=[0., 30], precision=[np.nan, 60], recall=[0, 20], chance=[5, 35]), index=["audio", "visual"])
    ax = draw(P.change_dots({"one": t})).axes[0]
    assert [l.get_text() for l in ax.get_yticklabels()] == ["one, audio", "one, visual"]
    assert sorted(float(l.get_xdata()[0]) for l in ax.lines if len(l.get_xdata()) == 1) == [5, 20, 35, 60]
