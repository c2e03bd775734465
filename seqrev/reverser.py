"""A trained model that answers: load it from a run, or take it from a ``Trainer``.

>>> model = load("runs/001")  # doctest: +SKIP
>>> model.reverse([4, 8, 2, 9])  # doctest: +SKIP
[9, 2, 8, 4]
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqrev.config import Config
from seqrev.data.sequences import Sequences
from seqrev.errors import InputError, UsageError
from seqrev.inference.evaluation import Evaluation, Protocol, evaluate
from seqrev.inference.search import Hypothesis, decode
from seqrev.interpret.attention import Attention, record_attention
from seqrev.model.transformer import Transformer
from seqrev.model.weights import load_weights, weight_shapes
from seqrev.runs.checkpoints import Checkpoint, best_first, largest_file
from seqrev.runs.folders import Run, find_run
from seqrev.system.devices import choose_device
from seqrev.system.resources import check_memory
from seqrev.system.text import shorten
from seqrev.system.threads import limit_threads
from seqrev.task import check_sequence, vocabulary_size

Symbols = Sequence[int] | NDArray[np.integer] | Tensor
"""One sequence, as it may be asked: a list, an array or a tensor of whole numbers."""


@dataclass(eq=False, repr=False)
class Reverser:
    """A trained model, ready to answer.

    A sequence is a list, an array or a tensor of symbols. Every method refuses one that is empty, a symbol out of range,
    more symbols than the model can take, and a beam below 1 or above 1,000, with a ``UsageError``. A beam of 1 is greedy
    decoding. All compute with the threads that the run was trained with
    (``train.threads``); those of the caller are the same afterwards.
    """

    config: Config
    """What it was trained with."""
    model: Transformer
    """In evaluation mode."""
    run: Run | None = None
    """Where it comes from."""
    checkpoint: Checkpoint | None = None
    """Of that run."""
    problems: list[str] = field(default_factory=list)
    """What was wrong with better checkpoints that had to be passed over."""

    def __repr__(self) -> str:
        origin = f"{self.run}, step {self.checkpoint.step}" if self.run and self.checkpoint else "not saved"
        task = self.config.task
        return f"<Reverser: {origin}; {task.symbols} symbols, trained on lengths {task.min_length} to {task.max_length}>"

    @property
    def longest_source(self) -> int:
        """Symbols in the longest sequence that the model takes."""
        return self.model.longest_source

    def reverse(self, sequence: Symbols) -> list[int]:
        """What the model answers to one sequence of symbols; it may be wrong."""
        return self.decode([sequence])[0].output

    def decode(self, sequences: Iterable[Symbols], beam: int = 1) -> list[Hypothesis]:
        """Answers with their log-probabilities, in order."""
        sources = self._read(sequences)
        with limit_threads(self.config.train.threads):
            return decode(self.model, sources, beam)

    def evaluate(self, sequences: Iterable[Symbols], beam: int = 1, protocol: Protocol = "free") -> Evaluation:
        """Count what the model gets exactly right; ``protocol`` as in ``seqrev.inference.evaluation.evaluate``."""
        sources = self._read(sequences)
        with limit_threads(self.config.train.threads):
            return evaluate(self.model, sources, beam, protocol)

    def attention(self, sequence: Symbols, beam: int = 1) -> Attention:
        """The answer to one sequence, and where every layer and head looked.

        Raises:
            UsageError: also where the maps would take too much memory.
        """
        (source,) = self._read([sequence])
        with limit_threads(self.config.train.threads):
            return record_attention(self.model, source, beam)

    def _read(self, sequences: Iterable[Symbols]) -> Sequence[Sequence[int]]:
        """The sequences as lists, if the model takes them; those of a dataset, which may have answers, as they are."""
        sources = sequences if isinstance(sequences, Sequences) else [_as_list(sequence) for sequence in _items(sequences)]
        for source in sources:
            check_sequence(source, self.config.task.symbols, self.longest_source)
        return sources


def _as_list(sequence: object) -> list[int]:
    """One sequence as a list of Python's own numbers, where it holds numbers."""
    return [symbol.item() if isinstance(symbol, np.integer) else symbol for symbol in _items(sequence)]


def _items(value: object) -> list[Any]:
    """What is in a list, an array or a tensor.

    Raises:
        UsageError: it is none of them.
    """
    items = value.tolist() if isinstance(value, np.ndarray | Tensor) else value
    if isinstance(items, Iterable) and not isinstance(items, str):
        return [item.tolist() if isinstance(item, Tensor) else item for item in items]
    raise UsageError(
        f"{shorten(value)} is not a sequence; one like [4, 8, 2, 9] was expected.", "model.decode([[4, 8, 2, 9]])"
    )


def load(run: str | Path | Run, device: str = "auto") -> Reverser:
    """The best checkpoint of a run (highest exact match, then lowest validation loss), in evaluation mode.

    A damaged one is passed over for the next best. ``run``: a folder, a number, or ``latest``; ``device``: ``auto``,
    ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: no such run, or no checkpoint in it can be used.
        UsageError: the device is not there, or the model does not fit in memory.
    """
    if not isinstance(run, Run):
        run = find_run(str(run), None, Run.has_checkpoint, "a checkpoint")
    else:
        run.check()
    config = run.config()
    target = choose_device(device)
    vocabulary = vocabulary_size(config.task.symbols)
    shapes = weight_shapes(config.model, vocabulary)
    check_memory(2 * largest_file(shapes), f"The model of {run}")  # the file, and the model
    problems: list[str] = []
    for checkpoint in best_first(run.checkpoints, problems):
        try:
            weights = checkpoint.load("model", shapes)
        except InputError as error:
            problems.append(str(error))
            continue
        model = Transformer(config.model, vocabulary, config.task.rule, config.task.max_answer)
        load_weights(model, weights)
        return Reverser(config, model.to(target).eval(), run, checkpoint, problems)
    raise InputError(" ".join([f"No checkpoint of {run} can be used.", *problems]), f"seqrev train --run {run}")
