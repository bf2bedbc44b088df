"""Python that runs inside garbage collection, while every test runs: `GC_STORM=1 python tests/run.py core`.

Hypothesis and others install a callback of the collector; with CPython 3.11's `ast` and threads that once broke `numpy.load`. Here the callback lets other
threads go on, collections are frequent, and threads change places at once. About two to three times as slow as without."""
import gc, sys
from contextlib import contextmanager
from time import sleep                                                             # its own: a test may put another in its place

SEEN = [0]

def callback(phase, info):
    SEEN[0] += 1
    sleep(0)                                                                       # the lock of the interpreter goes to another thread

@contextmanager
def storm(*thresholds, interval=1e-6):
    "Frequent collections with Python in each of them."
    old, before = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(callback), gc.set_threshold(*thresholds), sys.setswitchinterval(interval)
    try: yield
    finally: gc.callbacks.remove(callback), gc.set_threshold(*old), sys.setswitchinterval(before)

def pytest_configure(config):
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"): return      # the tests run elsewhere
    config.storm = storm(10, 3, 5)
    config.storm.__enter__()

def pytest_unconfigure(config):
    if not hasattr(config, "storm"): return
    config.storm.__exit__(None, None, None)
    if not hasattr(config, "workerinput"): print(f"\n{SEEN[0]:,} times Python ran inside garbage collection")

def pytest_report_header(): return "garbage collection: frequent, with Python in it (gc_storm)"
