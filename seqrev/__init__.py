"""seqrev: an encoder-decoder Transformer that learns to reverse sequences, and shows how it does it.

Names are loaded when they are used, so that ``import seqrev`` does not import PyTorch.

>>> import seqrev
>>> config = seqrev.Config()
>>> config.model.d_model
64
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqrev.api import Reverser, load
    from seqrev.config import Config, load_config
    from seqrev.errors import SeqrevError
    from seqrev.training import Step, TrainingState, Validation, fit

__version__ = metadata.version("seqrev")
__all__ = ["Config", "Reverser", "SeqrevError", "Step", "TrainingState", "Validation", "fit", "load", "load_config"]

_HOMES = {
    "Config": "config",
    "Reverser": "api",
    "SeqrevError": "errors",
    "Step": "training",
    "TrainingState": "training",
    "Validation": "training",
    "fit": "training",
    "load": "api",
    "load_config": "config",
}


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"seqrev.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'seqrev' has no attribute {name!r}")
