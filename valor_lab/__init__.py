"""A workbench for weakly-supervised audio-visual video parsing.

Wings load when they are first used: `valor_lab.metrics.avvp_scores` works after `import valor_lab`."""
__version__ = "0.2.0"

import lazy_loader as _lazy

_WINGS = ("cli", "datasets", "demo", "harvest", "labels", "media", "methods", "metrics", "models", "plots", "tasks", "training",
          "workbench")
_ROOMS = ("core", "vocab", "grid", "nodes", "engines")

__getattr__, __dir__, __all__ = _lazy.attach(__name__, submodules=[*_WINGS, *_ROOMS])
