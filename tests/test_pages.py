"The pages: what they may load, what they say about a disk that is not tidy, and the front door."
import datetime, json, os, subprocess, sys
from pathlib import Path

import numpy as np
import pytest

pd = pytest.importorskip("pandas")
pytest.importorskip("anywidget")
from valor_lab.core import fingerprint, find_data
from valor_lab.datasets import read_split, save_labels
from valor_lab.labels import SegmentLabels
from valor_lab.workbench import BrowseBench, Clips, load_clips, run_labelings
from valor_lab.workbench.clipset import invented

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "open_clip", "laion_clap", "transformers", "lightning_fabric", "scipy", "sklearn", "plotly")


def write_run(folder, labels, weak, record='objective = "base"\n', split="test"):
    "A finished run as `fit` leaves it, written by hand: no network is needed to read what it predicted."
    (folder/"predictions").mkdir(parents=True)
    (folder/"config.toml").write_text(record)
    (folder/"scores.json").write_text("{}")
    v = labels.vocab
    about = dict(name=v.name, events=list(v.events), clip_captions=list(v.clip_captions), clap_captions=list(v.clap_captions),
                 clip_thresholds=list(map(float, v.clip_thresholds)), clap_thresholds=list(map(float, v.clap_thresholds)))
    (folder/"data.json").write_text(json.dumps(dict(dataset="demo", vocab=about, **{split: dict(weak=fingerprint(weak.select(labels.ids).mask))})))
    np.savez(folder/"predictions"/f"{split}.npz", ids=np.array(labels.ids, str), audio=labels.audio, visual=labels.visual)




def two_runs(root):
    from valor_lab.datasets import describe_shipped
    from valor_lab.vocab import LLP
    folder = root/"data"/"llp"
    folder.mkdir(parents=True)
    clips, first = [f"clip{i:07d}_{i}_{i+10}" for i in range(12)], dict(train="a", val="v", test="t")
    for s, path in describe_shipped("llp").splits.items():
        name = path.name
        (folder/name).write_text("filename\tevent_labels\n" + "".join(f"{first[s]}{c[1:]}\t{LLP.events[i % 25]}\n" for i, c in enumerate(clips)))
    for m in ("audio", "visual"):
        rows = "".join(f"{s}{c[1:]}\t{i % 5}\t{i % 5 + 3}\t{LLP.events[i % 25]}\n" for s in "vt" for i, c in enumerate(clips))
        (folder/f"AVVP_eval_{m}.csv").write_text("filename\tonset\toffset\tevent_labels\n" + rows)
    return root


PROCESS = '''
import json, sys, time
def peak():
    # of this program alone: the figure of getrusage begins with that of the process that forked it
    return next((int(l.split()[1])/1024 for l in open('/proc/self/status') if l.startswith('VmHWM')), 0)
import valor_lab.workbench
from valor_lab.workbench import BrowseBench, CompareBench, load_clips
clips = load_clips("llp", "test")
BrowseBench(clips), CompareBench(load_clips("llp", "test"))
print(json.dumps(dict(heavy=[m for m in HEAVY if m in sys.modules], runs=len(clips.runs), said=list(clips.complaints), cpu=time.process_time(),
                      mb=peak())))
'''


def test_browse_and_compare_are_built_without_torch_and_stay_small(tmp_path):
    root = two_runs(tmp_path)
    weak, truth = read_split("llp", "test", root/"data")
    for name in ("han-llp-s0-000001", "valor-llp-s0-000002"): write_run(root/"runs"/name, truth, weak)
    env = {**os.environ, "VALOR_ROOT": str(root), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    env.pop("VALOR_TEST_DATA", None)
    done = subprocess.run([sys.executable, "-c", f"HEAVY = {HEAVY!r}\n" + PROCESS], env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["heavy"] == [] and told["runs"] == 2 and told["said"] == []
    assert told["mb"] < 400, told                     # 193 MB when this was written


@pytest.mark.parametrize("ask", ["import valor_lab.workbench as w; w.load_clips, w.BrowseBench, w.CompareBench, w.Launcher",
                                 "from valor_lab.training import PRESETS, presets_for, recipe, find_task, open_run; presets_for('ave'); find_task('tal'); recipe('thumos14').task"])
def test_names_of_presets_tasks_and_pieces_cost_no_torch(ask):
    code = f"import sys; {ask}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_presets_become_records_only_when_they_are_asked_for():
    pytest.importorskip("torch")
    from valor_lab.training import PRESETS, Presets, TrainConfig, preset
    kept = Presets()
    kept["mine"], kept["same"], kept["made"] = dict(preset="mine", lr=2e-4, task="avvp"), "mine", TrainConfig(task="avvp")
    assert [kept.task(n) for n in kept] == ["avvp"]*3 and isinstance(kept.kept["mine"], dict)
    assert kept["same"] is kept["mine"] and kept["mine"].lr == 2e-4 and isinstance(kept.kept["mine"], TrainConfig)
    kept["wrong"] = dict(objective="velour")
    with pytest.raises(ValueError, match="velour"): kept["wrong"]
    assert preset("t2-none") is preset("han") and PRESETS.task("t2-none") == "avvp"


# -- a disk that is not tidy

@pytest.fixture
def untidy(tmp_path, monkeypatch):
    root = two_runs(tmp_path)
    monkeypatch.setenv("VALOR_ROOT", str(root))
    monkeypatch.delenv("VALOR_TEST_DATA", raising=False)
    weak, truth = read_split("llp", "test")
    write_run(root/"runs"/"han-llp-s0-000001", truth, weak)
    return root, weak, truth


@pytest.mark.parametrize("record, says", [('objective = "focal"\n', "objective 'focal' is not known here"), ('backbone = "mamba"\n', "backbone 'mamba' is not known here"),
                                          ('task = "counting"\n', "task='counting' is not known"), ("objective = \n", "TOMLDecodeError")])
def test_a_run_of_an_unknown_method_stops_no_page_and_is_named(untidy, record, says):
    root, weak, truth = untidy
    write_run(root/"runs"/"mine", truth, weak, record)
    clips = load_clips("llp", "test")
    assert "han-llp-s0-000001" in clips.runs and BrowseBench(clips).player.id
    assert len(clips.complaints) == 1 and "runs/mine" in clips.complaints[0] and says in clips.complaints[0]


def test_what_an_unknown_loss_predicted_is_shown_all_the_same(untidy):
    root, weak, truth = untidy
    write_run(root/"runs"/"mine", truth, weak, 'objective = "focal"\n')
    assert "mine" in load_clips("llp", "test").runs


DAMAGE = {"runs/han-llp-s0-000001/predictions/test.npz": b"PK no", "runs/han-llp-s0-000001/data.json": b"{", "runs/han-llp-s0-000001/config.toml": b"\xff",
          "labels/mine/about.json": b"[]", "labels/mine/events.csv": b"", "labels/mine/clips.csv": b"clip\n", "overlays/mine.json": b"{", "overlays/odd name.json": b"{}"}

@pytest.mark.parametrize("path", DAMAGE)
def test_whatever_cannot_be_read_is_a_sentence_that_names_it(untidy, path):
    root, weak, truth = untidy
    save_labels(truth, "mine"), save_labels(truth, "whole")
    place = root/path if path.startswith("runs") else root/"data"/path
    if place.suffix == ".csv": place = place.parent/json.loads((place.parent/"about.json").read_text())["files"]/place.name   # the tables that it names
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(DAMAGE[path])
    clips = load_clips("llp", "test")
    what = "/".join(path.split("/")[:2])
    assert "whole" in clips.labelings and len(clips.complaints) == 1 and what in clips.complaints[0], clips.complaints


def test_without_a_list_to_complain_to_the_fault_is_raised(untidy):
    root, weak, truth = untidy
    (root/"runs"/"han-llp-s0-000001"/"data.json").write_text("{")
    with pytest.raises(ValueError): run_labelings(weak, ["test"])


def test_a_clip_of_which_only_the_weak_label_is_known_has_a_still_picture():
    c = invented(3)
    bare = Clips({}, c.weak)
    from valor_lab.workbench import Player
    assert Player(bare).still()[0]["image/png"]


@pytest.mark.skipif(find_data("llp/AVVP_train.csv") is None, reason="needs the annotations of LLP in $VALOR_TEST_DATA")
def test_papermill_reads_all_of_llp_to_its_end_and_the_report_stays_small(tmp_path):
    papermill = pytest.importorskip("papermill")
    env = {**os.environ, "VALOR_ROOT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    out = tmp_path/"out.ipynb"
    done = subprocess.run([sys.executable, "-m", "papermill", str(ROOT/"nbs"/"browse.ipynb"), str(out), "-p", "dataset", "llp", "-p", "split", "all", "--no-progress-bar"],
                          env=env, cwd=tmp_path, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    shown = [o["data"] for c in json.loads(out.read_text())["cells"] for o in c.get("outputs", ()) if "application/vnd.jupyter.widget-view+json" in o.get("data", {})]
    assert len(shown) == 1 and "no still picture" not in "".join(shown[0]["text/plain"]) and "<img" in "".join(shown[0]["text/html"])
    assert out.stat().st_size < 500_000


# -- the front door

BAD = '"><script>alert(1)</script>'

def door(look=(), theme="light"):
    from valor_lab.workbench import Facts, home_page
    return home_page(Facts(BAD, f"1 clip {BAD}", dict(browse=BAD), [(BAD, 1, 2, f"valor fetch {BAD}"), ("videos", 0, 3, "valor fetch llp-videos (what is still there)")], [BAD, *look]), theme)

def test_the_front_door_escapes_every_text_and_holds_no_script():
    page = door()
    assert "<script" not in page and "javascript:" not in page and "http" not in page.replace("http-equiv", "") and " on" not in "".join(t for t in page.split("<")[1:] if "=" in t.split(">")[0] and " on" in t.split(">")[0])
    assert page.count("&lt;script&gt;") == 7 and "<code>valor fetch llp-videos</code>" in page and 'data-theme="light"' in page

def test_the_front_door_links_every_page_with_a_sentence_and_a_picture():
    from html.parser import HTMLParser
    from valor_lab.workbench import PAGES, PAGE_WORDS, write_pages
    class Links(HTMLParser):
        def __init__(self): super().__init__(); self.links, self.pictures = [], 0
        def handle_starttag(self, tag, attrs):
            if tag == "a": self.links.append(dict(attrs)["href"])
            self.pictures += tag == "svg"
    found = Links()
    found.feed(door(theme="dark"))
    assert found.links == [f"voila/render/{p}.ipynb" for p in PAGE_WORDS] and found.pictures == 4 and set(PAGES) == set(PAGE_WORDS)

def test_every_page_that_the_door_links_is_written_and_sends_no_stills(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    from valor_lab.workbench import PAGE_WORDS, write_pages
    folder = write_pages(tmp_path/"pages", dataset="demo", size="tiny")
    assert {p.stem for p in folder.iterdir()} == set(PAGE_WORDS)
    for path in folder.iterdir(): assert "STILLS['sent'] = False" in nbformat.read(path, 4).cells[0].source

def test_a_workspace_without_the_notebooks_is_told_how_to_get_them(tmp_path, monkeypatch):
    from valor_lab.core import ParameterError
    from valor_lab.workbench import write_pages
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    with pytest.raises(ParameterError, match="browse.ipynb is not here; `valor init --force"): write_pages(dataset="demo")

def test_the_front_door_says_what_is_here_and_what_needs_a_look(untidy):
    root, weak, truth = untidy
    write_run(root/"runs"/"mine", truth, weak, 'objective = "focal"\n')
    from valor_lab.workbench import home_facts
    facts = home_facts("llp")
    assert facts.title == "llp" and facts.line.startswith("36 clips · 25 events") and facts.states["train"] == "2 finished runs"
    here = {what: (n, of) for what, n, of, _ in facts.here}
    assert here["annotations"] == (36, 36) and here["truth"] == (24, 36) and here["recordings"] == (0, 36)
    assert any("runs/mine" in s and "focal" in s for s in facts.look)
    nothing = home_facts("demo", "tiny")
    assert nothing.look and nothing.line == "nothing to look at yet"


def test_the_front_door_says_when_labels_were_last_corrected_or_marked(untidy):
    root, weak, truth = untidy
    from valor_lab.labels import Marks, Overlay
    from valor_lab.workbench import home_facts
    at = lambda path, day: os.utime(path, (when := datetime.datetime(2031, 1, day, 12).timestamp(), when))
    o = Overlay("better", truth, "truth", "Ada")
    o.paint(truth.ids[0], truth.vocab.events[0], "audio", 0, 1, not truth.audio[0, 0, 0])
    at(o.save(root/"data/overlays"), 2)
    assert home_facts("llp").line.endswith("changed 2031-01-02 12:00")
    marks = Marks("llp", folder=root/"data/marks")
    marks.set(truth.ids[0], "done"), at(marks.path, 3)
    assert home_facts("llp").line.endswith("changed 2031-01-03 12:00")


def test_the_front_door_is_served_in_both_themes_at_every_width_and_by_keyboard(tmp_path, chromium):
    from browser import SHOTS, WAIT, free_port, server_environment, serving
    pytest.importorskip("voila")
    from valor_lab.workbench.app import command, write_pages
    root = two_runs(tmp_path)
    weak, truth = read_split("llp", "test", root/"data")
    write_run(root/"runs"/"mine", truth, weak, 'objective = "<b>focal</b>"\n')
    SHOTS.mkdir(exist_ok=True)
    folder, env = write_pages(root/"pages", dataset="llp"), server_environment(root)
    env.pop("VALOR_TEST_DATA", None)
    for theme in ("light", "dark"):
        port = free_port()
        url = f"http://127.0.0.1:{port}/"
        with serving(command(folder, port, theme, False, "llp"), url, env, folder, root/f"{theme}.log"):
            for width in (1440, 390):
                page, faults = chromium.new_page(viewport=dict(width=width, height=900)), []
                page.set_default_timeout(WAIT)
                page.on("pageerror", lambda e: faults.append(str(e)))
                page.on("console", lambda m: m.type == "error" and faults.append(m.text))
                page.goto(url)
                assert page.inner_text("h1") == "llp" and page.locator("a.open").count() == 4 and page.locator("script").count() == 0
                assert "<b>focal</b>" in page.inner_text(".look") and page.locator(".look b").count() == 0
                assert page.evaluate("document.documentElement.scrollWidth") <= width and page.evaluate("document.documentElement.dataset.theme") == theme
                reached = []
                for _ in range(4):
                    page.keyboard.press("Tab")
                    reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
                assert reached == ["Open Browse", "Open Tune", "Open Compare", "Open Train"] and not [f for f in faults if "favicon" not in f]
                page.screenshot(path=str(SHOTS/f"home-{theme}-{width}.png"), full_page=True)
                page.close()
            page = chromium.new_page()
            assert page.goto(url + "voila/tree").status == 404 and page.goto(url + "voila/api/contents").status == 404       # no list of files
            page.close()
