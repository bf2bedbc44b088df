"""Tests that need the benchmark's files look in $VALOR_TEST_DATA, then in data/; they skip, and say how to get them, where neither has them."""
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "agg")

import pytest
from hypothesis import HealthCheck, settings

from valor_lab.core import find_data

settings.register_profile("valor_lab", derandomize=True, deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.load_profile("valor_lab")

if os.environ.get("GC_STORM"): pytest_plugins = ["gc_storm"]             # Python inside garbage collection, in every test

FETCH = {"llp": "valor fetch llp-annotations", "ave": "see data/README.md", "media": "set VALOR_TEST_DATA to a folder that holds media/", "thumos14": "see data/README.md"}

def pytest_configure(config):
    config.addinivalue_line("markers", "slow: builds a model of its real size")
    config.addinivalue_line("markers", "cuda: needs a GPU")

@pytest.fixture(scope="session")
def data():
    "`data('llp')` is the folder of that data set, or the test is skipped with the line that fetches it."
    def get(name):
        path = find_data(name)
        if path is None: pytest.skip(f"{name} is not here; get it with: {FETCH.get(name.split('/')[0], 'see data/README.md')}")
        return path
    return get

@pytest.fixture
def registries():
    "What a test registers is gone after it: presets, objectives, networks and data sets are what they were before."
    from valor_lab.datasets.dataset import REGISTERED
    from valor_lab.methods import OBJECTIVES
    from valor_lab.models import BACKBONES
    from valor_lab.training import PRESETS, list_presets
    list_presets()                                                       # rooms that add theirs when they are asked for have done so
    before = [(r, set(r)) for r in (REGISTERED, OBJECTIVES, BACKBONES, PRESETS)]
    yield
    for r, names in before:
        for name in set(r) - names: del r[name]

@pytest.fixture(scope="module")
def chromium():
    "A headless Chromium for the browser tests of a file. Two at once cannot be driven from one process, nor asyncio used beside one."
    from browser import CHROMIUM, FLAGS, MISSING, WAIT, sync_playwright
    if CHROMIUM is None or sync_playwright is None: pytest.skip(MISSING)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS, timeout=WAIT)     # one that did not come up would be remembered for the whole file
        yield browser
        browser.close()

def pytest_runtest_protocol(item, nextitem):
    "A real browser on a busy machine now and then misses a beat: a browser test that fails is run once more, and says so."
    if not (item.path.name.startswith("test_browser") or "chromium" in getattr(item, "fixturenames", ())): return None
    from _pytest.runner import runtestprotocol
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(r.failed for r in reports):
        why = "\n".join(str(r.longrepr)[-1500:] for r in reports if r.failed)
        item.warn(pytest.PytestWarning(f"the first try failed:\n{why}"))                 # shown at the end of the run, whatever the second does
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for r in reports: item.ihook.pytest_runtest_logreport(report=r)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
