"""The Python API: load a trained run, and ask it.

>>> model = load("runs/001")  # doctest: +SKIP
>>> model.reverse([4, 8, 2, 9])  # doctest: +SKIP
[9, 2, 8, 4]
"""

import os
from collections.abc import Sequence
from pathlib import Path

from seqrev.checkpoints import Checkpoint, best_first, largest_file
from seqrev.config import Config
from seqrev.decoding import Decoded, decode
from seqrev.devices import choose_device
from seqrev.errors import InputError
from seqrev.interpret import Attention, attend
from seqrev.model.transformer import Transformer, least_weights
from seqrev.resources import check_memory
from seqrev.runs import Run, find_run
from seqrev.task import check, vocabulary_size
from seqrev.training import checkpoint_shapes, load_weights


class Reverser:
    """A trained model, ready to answer."""

    def __init__(
        self, run: Run, config: Config, model: Transformer, checkpoint: Checkpoint, problems: Sequence[str] = ()
    ) -> None:
        """``problems``: what was wrong with better checkpoints that had to be passed over."""
        self.run, self.config, self.model, self.checkpoint = run, config, model, checkpoint
        self.problems = list(problems)

    @property
    def longest_source(self) -> int:
        """Symbols in the longest sequence that the model takes."""
        return self.model.longest_source

    def reverse(self, sequence: Sequence[int]) -> list[int]:
        """What the model answers to one sequence of symbols; it may be wrong.

        Raises:
            UsageError: an empty sequence, a symbol out of range, or more symbols than the model can take.
        """
        return self.decode([sequence])[0].output

    def decode(self, sequences: Sequence[Sequence[int]], beam: int = 1) -> list[Decoded]:
        """Answers with their log-probabilities, in order; a beam of 1 is greedy decoding."""
        for sequence in sequences:
            check(sequence, self.config.task.symbols, self.longest_source)
        return decode(self.model, sequences, beam)

    def attention(self, sequence: Sequence[int], beam: int = 1) -> Attention:
        """The answer to one sequence, and where every layer and head looked."""
        check(sequence, self.config.task.symbols, self.longest_source)
        return attend(self.model, sequence, beam)


def load(run: str | Path | Run, device: str = "auto") -> Reverser:
    """The best checkpoint of a run (highest exact match, then lowest validation loss), in evaluation mode.

    A damaged checkpoint is passed over for the next best.

    Args:
        run: a run folder.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        InputError: no such run, or no checkpoint in it can be used.
        UsageError: the device is not there.
    """
    if not isinstance(run, Run):
        run = find_run(str(run), Path(os.environ.get("SEQREV_RUNS", "runs")), Run.has_checkpoint, "a checkpoint")
    config = run.config()
    where = choose_device(device)
    check_memory(4 * least_weights(config.model, vocabulary_size(config.task.symbols)), f"The model of {run}")
    shapes = checkpoint_shapes(config)["model"]
    check_memory(2 * largest_file(shapes), f"The model of {run}")
    problems: list[str] = []
    for checkpoint in best_first(run.checkpoints, problems):
        try:
            weights = checkpoint.load("model", shapes)
        except InputError as error:
            problems.append(str(error))
            continue
        model = Transformer(config.model, vocabulary_size(config.task.symbols))
        load_weights(model, weights)
        return Reverser(run, config, model.to(where).eval(), checkpoint, problems)
    raise InputError(" ".join([f"No checkpoint of {run} can be used.", *problems]), f"seqrev train --run {run}")
