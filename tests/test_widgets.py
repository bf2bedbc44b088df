"""The plain Python behind the workbench, without a browser."""
import ast
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

anywidget = pytest.importorskip("anywidget")
from valor_lab import widgets as w
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


def test_stills_stand_in_where_no_browser_is_and_escape_what_they_show():
    c = clips()
    assert "image/png" in w.Player(c)._repr_mimebundle_()[0]
    t = w.Table(pd.DataFrame(dict(what=["<b>x</b>"]), index=["<script>1</script>"]), [w.Column("what", words=True)], title="<i>")
    text = t._repr_mimebundle_()[0]["text/html"]
    assert "<script>" not in text and "<b>x" not in text and "<i>" not in text


def test_widgets_are_shown_where_a_browser_is(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    assert "application/vnd.jupyter.widget-view+json" in w.Player(clips())._repr_mimebundle_()[0]


def test_scripts_write_text_never_markup():
    for f in (files("valor_lab")/"static").iterdir():
        if f.name.endswith(".js"):
            text = f.read_text(encoding="utf-8")
            assert "innerHTML" not in text and "insertAdjacentHTML" not in text and "document.write" not in text and "http://" not in text.replace('"http://www.w3.org/2000/svg"', "")


def test_hues_are_those_of_the_figures():
    css = w.static("common.css")
    light, dark = css.split('[data-dark="true"]')[:2]
    for theme, part in (("light", light), ("dark", dark)):
        for modality, hue in HUES[theme].items(): assert f"--vl-{modality.replace('_', '-')}: {hue}" in part


def test_what_the_script_asks_for_is_what_python_answers():
    tree = ast.parse((files("valor_lab")/"player.py").read_text(encoding="utf-8"))
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    player = (files("valor_lab")/"static/player.js").read_text(encoding="utf-8")
    for word in ("step", "show_event", "lanes", "correct", "paint", "undo", "redo", "save", "export"): assert f'"{word}"' in player and word in strings
