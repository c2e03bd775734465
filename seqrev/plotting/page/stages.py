"""The weights that a page holds: which models fit, how many stages of a training, and how they are written."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqrev.config import ModelConfig
from seqrev.runs.stages import MOST_WEIGHTS

MOST_BYTES = 4_300_000  # of all stages; as base64 a third more
SCHEMES = ("sinusoidal", "rotary")  # of positions, that the page computes
TIED = ("decoder.embedding.tokens.weight", "output.weight")  # by tie_embeddings, to the embedding of the encoder


@dataclass(frozen=True)
class Stage:
    """The model at one step of its training."""

    name: str
    """For people, such as ``step 64``."""
    weights: Mapping[str, NDArray[np.float32]]
    """By the names of the model's state dict."""


def why_not_live(config: ModelConfig, stages: Sequence[Stage]) -> str:
    """Why a page cannot compute with this model, a sentence; empty: it can."""
    if config.positions not in SCHEMES or config.random_positions:
        scheme = "random" if config.random_positions else config.positions
        return f"The model's positions are {scheme}; the page computes with {' and '.join(SCHEMES)} ones only."
    if not stages:
        return "The page was made without the model."
    weights = sum(tensor.size for tensor in own_weights(config, stages[-1]).values())
    if weights > MOST_WEIGHTS:
        return f"The model has {weights:,} weights; a page takes {MOST_WEIGHTS:,}."
    return ""


def write_stages(config: ModelConfig, stages: Sequence[Stage]) -> dict[str, Any]:
    """The stages that fit into a page, the last in any case, and the names and sizes of the tensors, in order."""
    written = [_write(own_weights(config, stage)) for stage in stages]
    room = MOST_BYTES - len(written[-1][1])
    fit = int(min(len(stages) - 1, room // max(map(len, (values for _, values in written[:-1])), default=1)))
    chosen = [*_spread(len(stages) - 1, max(0, fit)), len(stages) - 1]
    return {
        "shapes": [[name, tensor.size] for name, tensor in own_weights(config, stages[-1]).items()],
        "stages": [
            {"name": stages[i].name, "dtype": written[i][0], "base64": base64.b64encode(written[i][1]).decode()}
            for i in chosen
        ],
    }


def own_weights(config: ModelConfig, stage: Stage) -> dict[str, NDArray[np.float32]]:
    """The tensors by name, in the order of their names, each once."""
    twice = TIED if config.tie_embeddings else ()
    return {name: stage.weights[name] for name in sorted(stage.weights) if name not in twice}


def _write(tensors: Mapping[str, NDArray[np.float32]]) -> tuple[str, bytes]:
    """All tensors one after the other, and of which type: float16 where nothing is lost by it."""
    values = np.concatenate([tensor.ravel() for tensor in tensors.values()]).astype("<f4")
    with np.errstate(over="ignore"):
        halves = values.astype("<f2")
    if np.array_equal(halves.astype("<f4"), values):
        return "float16", halves.tobytes()
    return "float32", values.tobytes()


def _spread(number: int, chosen: int) -> list[int]:
    """So many of the indices below ``number``, as far apart as they can be, the last among them.

    >>> _spread(5, 2), _spread(3, 3), _spread(4, 0)
    ([2, 4], [0, 1, 2], [])
    """
    return [number - 1 - (number * back) // chosen for back in reversed(range(chosen))]
