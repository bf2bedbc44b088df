"""The plain Python behind the workbench, without a browser."""
import ast, json
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

anywidget = pytest.importorskip("anywidget")
from valor_lab import workbench as w
from valor_lab.core import ParameterError
from valor_lab.labels import SegmentLabels
from valor_lab.plots import HUES
from valor_lab.vocab import LLP


def clips(n=6, t=10, **kw):
    rng, ids = np.random.default_rng(0), [f"clip{i}" for i in range(n)]
    a, v = (np.zeros((n, t, 25), bool) for _ in range(2))
    a[..., :3], v[..., 1:4] = rng.random((n, t, 3)) > .5, rng.random((n, t, 3)) > .5
    truth = SegmentLabels(ids, a, v, LLP, np.full(n, 8.5))
    return w.Clips(dict(truth=truth, harvested=SegmentLabels(ids, v, a, LLP, np.full(n, 8.5))), truth.weak(), **kw)


@pytest.fixture(autouse=True)
def no_browser(monkeypatch):
    for k in ("JPY_SESSION_NAME", "VOILA_REQUEST_URL", "VSCODE_PID"): monkeypatch.delenv(k, raising=False)


def test_cells_say_right_false_and_missed():
    pred, truth = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], bool)
    assert w.cells(pred, truth) == "rfm." and w.cells(pred) == "oo.."


@pytest.mark.parametrize("t", [1, 7, 10, 64])
def test_lanes_have_every_segment_and_only_events_that_occur(t):
    c = clips(t=t)
    for clip in c.ids:
        found = w.lanes(c, clip)
        assert all(len(l["cells"]) == t for l in found)
        n = c.place[clip]
        some = [e for i, e in enumerate(LLP.events) if any((l.audio | l.visual)[n, :, i].any() for l in c.labelings.values())]
        assert list(dict.fromkeys(l["event"] for l in found)) == some
        assert [l["modality"] for l in found if l["event"] == some[0] and l["kind"] != "weak"] == ["audio"] * 2 + ["visual"] * 2 + ["audio_visual"] * 2 if some else True


def test_a_clip_is_shown_without_looking_at_the_others(monkeypatch):
    def whole(self): raise AssertionError("heard and seen at once was computed for all clips")
    c = clips()
    expected = w.lanes(c, "clip2")
    monkeypatch.setattr(SegmentLabels, "audio_visual", property(whole))
    assert w.lanes(c, "clip2") == expected and any(l["modality"] == "audio_visual" for l in expected)


def test_labelings_over_other_clips_or_events_are_refused():
    c = clips()
    with pytest.raises(KeyError, match="clip5"): c.add("short", c.labelings["truth"].select(c.ids[:5]))
    other = LLP.with_event("Rain", "a", "b")
    with pytest.raises(ParameterError): c.add("wide", SegmentLabels(c.ids, np.zeros((6, 10, 26)), np.zeros((6, 10, 26)), other))


def test_media_outside_the_data_folders_never_leaves(tmp_path):
    (tmp_path/"in").mkdir()
    (tmp_path/"in/a.mp4").write_bytes(b"inside"), (tmp_path/"key").write_bytes(b"secret")
    (tmp_path/"in/link.mp4").symlink_to(tmp_path/"key")
    c = clips(files={"clip0": tmp_path/"in/a.mp4", "clip1": tmp_path/"key", "clip2": tmp_path/"in/link.mp4", "clip3": tmp_path/"in/../key"}, folders=[tmp_path/"in"])
    player, sent = w.Player(c), []
    player.send = lambda m, b=(): sent.append((m, b))
    for clip in ("clip0", "clip1", "clip2", "clip3", "clip4", "nobody"): player._asked(player, dict(ask="media", clip=clip), [])
    assert [m["kind"] for m, _ in sent] == ["media"] + ["refused"] * 5 and sent[0][1] == [b"inside"]
    assert all(b"secret" not in b"".join(b) for _, b in sent)


def test_media_is_never_in_the_state():
    state = w.Player(clips()).get_state()
    assert not any(isinstance(v, (bytes, memoryview)) for v in state.values()) and "base64" not in str({k: v for k, v in state.items() if k not in ("_esm", "_css")})


def test_messages_of_a_broken_page_do_no_harm(tmp_path):
    player = w.Player(clips(), folder=tmp_path)
    player.correct("truth", "mine", "Ada")
    for m in (dict(event="Unicorn", modality="audio"), dict(event="Dog", modality="smell"), dict(event="Dog", modality="audio", **{"from": -4, "to": 99})):
        player._asked(player, {"do": "paint", "from": 0, "to": 1, "value": True, **m}, [])
        assert player.correction["message"] and not player.overlay.edits
    player._asked(player, {"do": "paint", "clip": ["x"], "event": "Unicorn", "modality": "audio", "from": 0, "to": 1, "value": True}, [])
    assert not player.overlay.edits
    with pytest.raises(ParameterError): player.correct("nothing", "mine")
    with pytest.raises(ParameterError): player.correct("truth", "harvested")       # a labeling's own name


def test_table_filters_sorts_and_pages_as_pandas_does():
    rng, n = np.random.default_rng(0), 500
    frame = pd.DataFrame(dict(weak=rng.choice(["Dog", "Cat, Dog", "Speech"], n), F=np.where(rng.random(n) < .1, np.nan, rng.random(n))), index=[f"c{i}" for i in range(n)])
    t = w.Table(frame, [w.Column("F")], dict(event=dict(Dog=frame.weak.str.contains("Dog").to_numpy())), subtitle="weak")
    t.where("c1", event="Dog")
    t.sort = ["F", True]
    want = frame[frame.weak.str.contains("Dog") & frame.index.str.contains("c1")].sort_values("F", ascending=False, kind="stable")
    assert t.view.index.tolist() == want.index.tolist() and t.count == len(want)
    rows = t.rows(0, 1000)
    assert [r["id"] for r in rows] == want.index.tolist() and rows[-1]["cells"]["F"] is None


def test_the_open_clip_is_marked_from_the_start_and_the_first_arrow_leads_to_the_first_row():
    from unittest.mock import patch
    bench = w.BrowseBench(clips())
    with patch("IPython.display.display", lambda *a, **kw: None): bench.show()
    order, key = list(bench.table.view.index), lambda by: bench.table._asked(bench.table, dict(do="move", by=by), [])
    assert bench.table.selected == bench.player.id == order[0]
    key(1)
    assert bench.player.id == order[0]                      # as a list does that nobody touched
    key(1), key(1)
    assert bench.player.id == order[2] == bench.table.selected
    again = w.BrowseBench(clips())
    with patch("IPython.display.display", lambda *a, **kw: None): again.show()
    again.table._asked(again.table, dict(do="open", id=order[0]), [])     # clicked: now it is touched
    again.table._asked(again.table, dict(do="move", by=1), [])
    assert again.player.id == order[1]


def test_stills_go_with_every_widget_and_escape_what_they_show():
    c = clips()
    assert "image/png" in w.Player(c)._repr_mimebundle_()[0]
    t = w.Table(pd.DataFrame(dict(what=["<b>x</b>"]), index=["<script>1</script>"]), [w.Column("what", words=True)], title="<i>")
    text = t._repr_mimebundle_()[0]["text/html"]
    assert "<script>" not in text and "<b>x" not in text and "<i>" not in text


def test_the_widget_and_its_still_are_always_sent_together(monkeypatch):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG", "VOILA_REQUEST_URL"): monkeypatch.delenv(name, raising=False)
    shown = w.Player(clips())._repr_mimebundle_()[0]
    assert shown["image/png"] and shown["application/vnd.jupyter.widget-view+json"]["model_id"]


def test_the_player_is_told_in_parts_that_can_be_read_alone_and_are_all_loaded():
    "Each part is one function of `p`; none is forgotten, and none is longer than a screen or two."
    there = sorted(f.name for f in (files("valor_lab.workbench")/"static").iterdir() if f.name.startswith("player_") and f.name.endswith(".js"))
    assert there == sorted(w.SCRIPTS)
    for name in (*w.SCRIPTS, "player.js"):
        text = w.static(name)
        assert text.startswith("//") and len(text.splitlines()) <= 200 and max(map(len, text.splitlines())) <= 140, name
        assert text in w.Player._esm


def test_only_the_clock_knows_where_a_clip_lies_in_its_file():
    times = {name: w.static(name).count("video.currentTime") for name in (*w.SCRIPTS, "player.js")}
    assert {name for name, n in times.items() if n} == {"player_time.js"}


def test_a_shared_page_knows_every_trait_that_the_player_reads():
    import re
    script = (files("valor_lab.workbench")/"static/share.js").read_text(encoding="utf-8")
    state = re.search(r"const state = \{(.*?)\};", script, re.S)[1]
    synced = {n for n, t in w.Player.class_traits(sync=True).items() if not n.startswith("_") and n not in ("layout", "tabbable", "tooltip")}
    assert synced and synced <= set(re.findall(r"(\w+):", state)), synced - set(re.findall(r"(\w+):", state))


def test_scripts_write_text_never_markup():
    for f in (files("valor_lab.workbench")/"static").iterdir():
        if f.name.endswith(".js"):
            text = f.read_text(encoding="utf-8")
            assert "innerHTML" not in text and "insertAdjacentHTML" not in text and "document.write" not in text and "http://" not in text.replace('"http://www.w3.org/2000/svg"', "")


def test_hues_are_those_of_the_figures():
    css = w.static("common.css")
    light, dark = css.split('[data-dark="true"]')[:2]
    for theme, part in (("light", light), ("dark", dark)):
        for modality, hue in HUES[theme].items(): assert f"--vl-{modality.replace('_', '-')}: {hue}" in part


def test_what_the_script_asks_for_is_what_python_answers():
    tree = ast.parse((files("valor_lab.workbench")/"player.py").read_text(encoding="utf-8"))
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    player = w.static(*w.SCRIPTS, "player.js")
    for word in ("step", "show_event", "lanes", "correct", "paint", "undo", "redo", "save", "export"): assert f'"{word}"' in player and word in strings


def test_a_labeling_of_some_clips_has_no_lane_and_no_score_elsewhere():
    c = clips()
    c.add("run", c.labelings["truth"].select(["clip4", "clip1"]), partial=True)
    assert c.knows("run").tolist() == [False, True, False, False, True, False] and c.labelings["run"].ids == c.ids
    assert "run" in {l["name"] for l in w.lanes(c, "clip1")} and "run" not in {l["name"] for l in w.lanes(c, "clip2")}
    frame = w.clip_frame(c, pair=("run", "harvested"))
    assert frame["run"].notna().tolist() == c.knows("run").tolist() == frame["disagreement"].notna().tolist() and (frame["run"].dropna() == 100).all()
    known = c.labelings["truth"].select(["clip1", "clip4"])
    from valor_lab.metrics import avvp_scores
    bench = w.CompareBench(c, ["harvested", "run"], n=20)
    assert "2 of 6" in bench.choice.note
    assert np.isclose(w.compare_scores(c, ["harvested", "run"], 20)["harvested"].loc["segment/audio"].value, avvp_scores(c.labelings["harvested"].select(known.ids), known)["segment/audio"])


def test_a_clip_lasts_as_long_as_the_labeling_that_knows_it_says():
    c = clips()
    short = c.labelings["truth"].select(["clip1"])
    short.durations = np.array([3.25])
    long = w.Clips({"a": short, "b": SegmentLabels(c.ids, *(getattr(c.labelings["truth"], m) for m in ("audio", "visual")), LLP, np.arange(1., 7.))}, c.weak, partial=True)
    assert long.duration("clip1") == 3.25 and long.duration("clip5") == 6


@pytest.mark.parametrize("t", [1, 7, 1000])
def test_a_strip_of_scores_stays_short_and_keeps_the_highest(t):
    c = clips(t=t)
    from valor_lab.harvest import Scores
    x = np.random.default_rng(0).normal(size=(6, t, 25))
    c.scores = Scores(c.ids, x, x, LLP)
    strip = w.heat(c, "clip2", "audio", 3)
    assert len(strip["scores"]) == min(t, 240) and np.isclose(max(strip["scores"]), x[2, :, 3].max(), atol=1e-3) and strip["threshold"] is None


def test_implied_thresholds_give_the_labels_back():
    from valor_lab.workbench import implied_thresholds
    from valor_lab.harvest import Scores, elaborate
    from valor_lab.harvest import Thresholds
    c, rng = clips(40), np.random.default_rng(1)
    scores = Scores(c.ids, rng.normal(size=(40, 10, 25)), rng.normal(size=(40, 10, 25)), LLP)
    labels = elaborate(scores, c.weak, Thresholds(np.full(25, .3), np.full(25, -.2), LLP, {}))
    found = implied_thresholds(scores, labels, c.weak)
    some = c.weak.mask.any(0)
    assert some.any() and np.allclose(found["visual"][some], .3, atol=.1) and np.allclose(found["audio"][some], -.2, atol=.1)
    again = elaborate(scores, c.weak, Thresholds(*(np.where(some, found[m], 0) for m in ("visual", "audio")), LLP, {}))
    assert (again.audio == labels.audio).all() and (again.visual == labels.visual).all()
    assert np.isnan(implied_thresholds(scores, SegmentLabels(c.ids, ~labels.audio, ~labels.visual), c.weak)["audio"]).all()


def test_events_get_the_interval_of_the_pair_that_is_chosen():
    from valor_lab.metrics import bootstrap_difference, event_scores
    c = clips()
    c.add("other", SegmentLabels(c.ids, c.labelings["truth"].audio, c.labelings["harvested"].visual, LLP, np.full(6, 8.5)))
    bench = w.CompareBench(c, ["harvested", "other"], n=50)
    assert bench.events.switch("difference") == "other − harvested"
    t = bootstrap_difference(event_scores, c.labelings["other"], c.labelings["harvested"], c.labelings["truth"], 50).xs("F", level=-1)
    row = bench.events.frame.iloc[0]
    first = t.loc[(LLP.events[0], "audio")]
    says = f"{first.low:+.1f} … {first.high:+.1f}".replace("-", "−") if np.isfinite(first.low) else "too few clips"
    assert np.isclose(row.difference, first.value) and row.interval == says


def test_what_counts_as_truth_can_be_a_correction(tmp_path):
    c = clips()
    player = w.Player(c, folder=tmp_path)
    o = player.correct("truth", "mine", "Ada")
    o.paint("clip0", "Dog", "audio", 0, 10, True)
    player._corrected()
    bench = w.CompareBench(c, n=20)
    assert bench.choice.truths == ["truth", "mine"]
    bench.choice.truth = "mine"
    assert c.truth == "mine" and "truth" in bench.choice.options and "mine" not in bench.names
    assert w.clip_frame(c)["truth"].iloc[0] < 100 == w.clip_frame(c)["truth"].iloc[1]


def test_an_overlay_that_does_not_fit_is_a_sentence_and_no_fault(tmp_path, monkeypatch):
    from valor_lab.workbench.sources import _gather
    c, d = clips(), tmp_path/"data"
    o = w.Player(c, folder=d/"overlays").correct("truth", "mine", "Ada")
    o.paint("clip0", "Dog", "audio", 0, 10, True)
    o.save(d/"overlays")
    truth = c.labelings["truth"]
    fresh = w.Clips({}, c.weak, partial=True, name="llp")
    _gather(fresh, {"val": (c.weak, truth, None)}, d, "small", None, c.weak)
    assert fresh.labelings["mine"].audio[0, :, LLP.index("Dog")].all() and fresh.corrected == {"mine": "truth"} and not fresh.complaints
    truth.audio[0, 0, 0] ^= True                                   # somebody changed what was corrected
    fresh = w.Clips({}, c.weak, partial=True, name="llp")
    _gather(fresh, {"val": (c.weak, truth, None)}, d, "small", None, c.weak)
    assert "mine" not in fresh.labelings and "not those that were corrected" in fresh.complaints[0]


def test_a_table_keeps_a_filter_that_is_still_there_and_drops_one_that_is_not():
    frame, on = pd.DataFrame(dict(F=[1., 2.]), index=["a", "b"]), np.array([True, False])
    t = w.Table(frame, [w.Column("F")], dict(event=dict(Dog=on), split=dict(val=on)))
    t.where(event="Dog", split="val")
    t.replace(frame, dict(event=dict(Dog=on, Rain=~on)))
    assert [(f["name"], f["value"]) for f in t.filters] == [("event", "Dog")] and t.count == 1
    t.sort = ["F", True]
    t.replace(frame.rename(columns=dict(F="G")))
    assert t.count == 1                                            # sorted by what is gone: the list's own order


def test_a_table_searches_the_names_and_words_of_the_rows_that_are_there_now():
    frame = pd.DataFrame(dict(F=[1., 2.], weak=["Dog", "Rain"]), index=["a", "b"])
    t = w.Table(frame, [w.Column("F")], subtitle="weak")
    found = lambda text: (setattr(t, "text", text), list(t.view.index))[1]
    assert found("dog") == ["a"]
    t.replace(frame.assign(F=[5., 3.]))                            # other numbers, the same names
    assert found("dog") == ["a"] and t.frame.F["a"] == 5 and t.place == dict(a=0, b=1)
    t.replace(frame.assign(weak=["Rain", "Dog"]))                  # other words under the same names
    assert found("dog") == ["b"]
    t.replace(frame.iloc[::-1])                                    # another order of the rows
    assert found("dog") == ["a"] and t.place == dict(b=0, a=1)
    frame.index = ["c", "d"]                                       # and other names
    t.replace(frame)
    assert found("c") == ["c"] and t.place == dict(c=0, d=1)
    frame["weak"] = ["Cat", "Car"]                                 # changed in place, while it is shown
    t.replace(frame)
    assert found("cat") == ["c"]


def test_the_launcher_offers_what_the_data_set_can_be_trained_with(tmp_path):
    assert "valor" in w.Launcher(out=tmp_path, root=tmp_path).presets
    desk = w.Launcher(out=tmp_path, root=tmp_path)
    (tmp_path/"thresholds").mkdir()
    (tmp_path/"thresholds/mine.toml").write_text("")
    desk.now()
    assert "mine" in desk.labels                                   # thresholds that were saved after the launcher was opened


def test_pages_have_no_cells_for_coders_and_speak_of_the_set_that_is_asked_for(tmp_path):
    import nbformat
    from valor_lab.workbench.app import PAGES, command, write_pages
    folder = write_pages(tmp_path, dataset="llp")
    assert sorted(p.name for p in folder.iterdir()) == sorted(f"{p}.ipynb" for p in PAGES)
    for p in folder.iterdir():
        nb = nbformat.read(p, 4)
        assert not any("for-coders" in c.metadata.get("tags", []) or c.get("outputs") for c in nb.cells) and any('dataset = "llp"' in c.source for c in nb.cells)
    assert "--Voila.ip=127.0.0.1" in command(folder)
    for bad in (dict(port=0), dict(theme="<b>")):
        with pytest.raises(ParameterError): command(folder, **bad)

def test_scores_that_a_data_set_brings_are_shown_where_no_store_is():
    from valor_lab.workbench.sources import _scores
    from valor_lab.labels import WeakLabels
    from valor_lab.harvest import Scores
    rng = np.random.default_rng(0)
    given = [Scores(ids, *rng.normal(size=(2, len(ids), 10, 25)), LLP) for ids in (["a", "b"], ["c"])]
    both = _scores(None, WeakLabels(["a", "b", "c"], np.eye(3, 25)), given)
    assert both.ids == ("a", "b", "c") and np.array_equal(both.audio[2], given[1].audio[0]) and both.durations is None
    assert _scores(None, WeakLabels(["a"], np.eye(1, 25)), []) is None

def test_the_launcher_draws_the_score_that_the_runs_task_names_first(tmp_path):
    from valor_lab.workbench import Job
    from valor_lab.workbench import job_curves
    for name, record, score in (("han-x", "", "segment/type"), ("ave-han-x", 'task = "ave"', "accuracy")):
        (tmp_path/name).mkdir()
        (tmp_path/name/"config.toml").write_text(record)
        (tmp_path/name/"metrics.csv").write_text(f"epoch,loss/total,val/{score}\n1,.5,40.25\n2,.25,\n")
    (tmp_path/"job").mkdir()
    (tmp_path/"job/job.json").write_text(json.dumps(dict(notebook="train.ipynb", started="2020-01-01T00:00:00+00:00", parameters=dict(preset="han,ave-han"))))
    lines = {c["title"]: c["lines"] for c in job_curves(Job(tmp_path/"job"), tmp_path)}
    assert {l["name"] for l in lines["loss"]} == {"han-x", "ave-han-x"}
    assert lines["accuracy, validation, %"] == [dict(name="ave-han-x", x=[1, 2], y=[40.25, None])] and lines["segment/type, validation, %"][0]["name"] == "han-x"
