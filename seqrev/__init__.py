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
    from seqrev import workflows
    from seqrev.api.reverser import Reverser, load
    from seqrev.api.train import train
    from seqrev.config import Config, load_config
    from seqrev.errors import SeqrevError
    from seqrev.training.events import Step, Validation
    from seqrev.training.trainer import Trainer

__version__ = metadata.version("seqrev")
__all__ = [
    "Config",
    "Reverser",
    "SeqrevError",
    "Step",
    "Trainer",
    "Validation",
    "load",
    "load_config",
    "train",
    "workflows",
]

_MODULES = {
    "Config": "config",
    "Reverser": "api.reverser",
    "SeqrevError": "errors",
    "Step": "training.events",
    "Trainer": "training.trainer",
    "Validation": "training.events",
    "load": "api.reverser",
    "load_config": "config",
    "train": "api.train",
}


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"seqrev.{_MODULES[name]}"), name)
    if name == "workflows":
        return import_module("seqrev.workflows")
    raise AttributeError(f"module 'seqrev' has no attribute {name!r}")
