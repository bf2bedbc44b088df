"""A workbench for weakly-supervised audio-visual video parsing.

Modules load when they are first used: `valor_lab.metrics.avvp_scores` works after `import valor_lab`."""
__version__ = "0.1.0"

import importlib as _importlib

_MODULES = ("core", "vocab", "labels", "metrics", "detection", "media", "fetch", "demo_plan", "pen", "figures", "sounds", "scenes", "simple", "demo", "extractors", "teachers", "demo_teachers", "clips", "scores", "store", "published", "harvest", "thresholds", "models",
            "objectives", "denoise", "bags", "datasets", "tasks", "config", "runs", "results", "parsing", "train", "recipes", "ave", "tal", "overlays", "tuning", "jobs", "methods", "plots", "page", "clipset", "player", "table", "panel", "workbench", "launcher", "widgets", "app")

def __getattr__(name):
    if name in _MODULES: return _importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

def __dir__(): return sorted([*globals(), *_MODULES])
