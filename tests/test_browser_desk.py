"""The launcher, the table of methods, what goes into a paper, a page to share: in a bare page (see `bare`)."""
import json

import numpy as np
import pandas as pd
import pytest

from bare import bare
from browser import CHROMIUM, MISSING, settled, sync_playwright
from test_browser_trust import labelings, table, texts, tuning

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason=MISSING), pytest.mark.skipif(sync_playwright is None, reason="no playwright here: pip install playwright")]
pytest.importorskip("anywidget")
from valor_lab.labels import SegmentLabels
from valor_lab.training import override, preset, to_toml
from valor_lab.workbench import Launcher

BAD = "<img src=x onerror=window.hacked=1>"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VALOR_ROOT", str(tmp_path))
    return tmp_path


# ---- the launcher: refused at once, named by what it is, and how far it is

def job(home, name, state, seeds="0", log="", **parameters):
    (folder := home/"runs/jobs"/name).mkdir(parents=True)
    about = dict(notebook="train.ipynb", parameters=dict(preset="valor", seeds=seeds, **parameters), started="2020-01-01T00:00:00+00:00", path="train.ipynb", root=str(home))
    (folder/"job.json").write_text(json.dumps(about | (dict(end=state, ended="2090-01-01T00:10:00+00:00") if state else {})))
    (folder/"log.txt").write_text(log)


def run(home, name, epochs, of, labels="a1", said=None, **values):
    (folder := home/"runs"/name).mkdir(parents=True)
    (folder/"config.toml").write_text(to_toml(override(preset("valor"), dict(epochs=of, warmup=1, **values))))
    (folder/"data.json").write_text(json.dumps(dict(dataset="demo (tiny)", train=dict(clips=4, labels=labels))))
    if said: (folder/"environment.json").write_text(json.dumps(dict(labels=said)))
    score = lambda e: 40 - (e - 5) ** 2 / 10
    (folder/"metrics.csv").write_text("\n".join(["epoch,seconds,loss/total,val/segment/type", *(f"{e},2,{1 / e:.5f},{score(e)}" for e in range(1, epochs + 1))]))


def test_what_cannot_work_is_refused_at_once_and_a_job_says_what_it_is_and_how_far(chromium, home):
    (home/"nbs").mkdir()
    (home/"nbs/train.ipynb").write_text("{}")
    job(home, "valor-lr-3e-3", "failed", "0,1", "".join(f"line {n}\n" for n in range(300)) + "ValueError: this is why\n", overrides="lr = 3e-3", labels=BAD)
    run(home, "valor-demo-tiny-s0-aaaaaa", 12, 12, lr=3e-3, said=BAD)
    run(home, "valor-demo-tiny-s0-bbbbbb", 7, 12, labels="b2", said="suggested")
    desk = Launcher(size="tiny", root=str(home/"data"), out=str(home/"runs"))
    with bare(chromium, desk) as page:
        page.wait_for_selector(".vl-job")
        assert texts(page.locator(".vl-job span"))[:2] == [f"valor · {BAD} · lr = 3e-3 · seeds 0,1", "failed"]
        # the log opens where the cause is
        page.wait_for_function("() => { const e = document.querySelector('.vl-log'); return e.scrollHeight > e.clientHeight && e.scrollTop + e.clientHeight >= e.scrollHeight - 2 && e.textContent.includes('this is why') }")
        # runs by name, with their epochs, the best one, and their folder
        rows = [texts(r.locator("td")) for r in page.locator(".vl-runs tbody tr").all()]
        assert rows == [[f"valor · {BAD} · lr 0.003 · s1000", "12 of 12", "5 (segment/type 40.0)", "runs/valor-demo-tiny-s0-aaaaaa"],
                        ["valor · suggested · lr 0.0001 · s1000", "7 of 12", "5 (segment/type 40.0)", "runs/valor-demo-tiny-s0-bbbbbb"]]
        assert page.inner_text(".vl-left") == "epoch 19 of 24"
        # values under the pointer, smoothing, a log axis, both runs in one plot
        curve = page.locator(".vl-curve").first
        curve.scroll_into_view_if_needed()
        b = curve.bounding_box()
        page.mouse.move(b["x"] + 46 + (b["width"] - 54) * 3 / 11, b["y"] + 90)
        page.wait_for_function("() => document.querySelector('.vl-hover:not([hidden])')?.textContent.startsWith('epoch 4')")
        assert "0.25" in page.inner_text(".vl-hover:not([hidden])") and page.inner_text(".vl-hover:not([hidden])").count("\n") == 2
        page.locator(".vl-smooth").fill("80"), page.check(".vl-log-axis")
        curve.focus(), page.keyboard.press("ArrowRight"), page.keyboard.press("ArrowRight")
        said = page.inner_text(".vl-hover:not([hidden])")
        assert said.startswith("epoch 2") and "0.7222" in said            # (0.2 · 0.5 + 0.8 · 0.2 · 1) / (1 - 0.8²)
        # what cannot work does not start
        for field, value, why in ((".vl-seeds", "x", "seeds='x'"), (".vl-overrides", "lr =", "not a TOML file"), (".vl-overrides", "no_such = 1", "no_such"), (".vl-epochs", "1.5", "whole number")):
            was = page.input_value(field)
            page.fill(field, value), page.click(".vl-start")
            page.wait_for_function("w => document.querySelector('.vl-message').textContent.includes(w)", arg=why)
            page.fill(field, was)
        assert [p.name for p in (home/"runs/jobs").iterdir() if p.is_dir()] == ["valor-lr-3e-3"] and not page.evaluate("() => window.hacked")
