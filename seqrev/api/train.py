"""``seqrev.train``: from a configuration to a trained model, in memory.

>>> model = train("fast", seed=1)  # doctest: +SKIP
>>> model.reverse([4, 8, 2, 9])  # doctest: +SKIP
[9, 2, 8, 4]
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import SupportsIndex

import torch

from seqrev.api.progress import shown
from seqrev.api.reverser import Reverser
from seqrev.config import Config, load_config
from seqrev.training.events import Event
from seqrev.training.state import check_fits
from seqrev.training.trainer import Trainer, TrainingRows


def train(
    config: str | Path | Config = "small",
    *,
    seed: SupportsIndex | None = None,
    overrides: Sequence[str] = (),
    rows: TrainingRows | None = None,
    device: str | torch.device = "auto",
    progress: bool | Callable[[Event], object] | None = None,
) -> Reverser:
    """Train a model. Nothing is written until ``save`` makes a run of it.

    Args:
        config: a YAML file, the name of a configuration that is part of the package (``small``, ``fast``, ``extrapolate``,
            ``base``), or a ``Config``.
        seed: in place of that of the configuration.
        overrides: fields to change, as after ``--set``: ``["train.steps=100"]``.
        rows: the sequences to train on; None: sampled as the configuration says.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``, or a ``torch.device``.
        progress: None: a bar and the loss curve in a notebook, elsewhere nothing; True: on a terminal a bar as well;
            False: nothing; or a function that is called with every event.

    Raises:
        InputError: the file cannot be read.
        UsageError: the configuration is not valid, cannot be fulfilled, or is too much for this machine.
        TrainingError: the loss is not finite.
    """
    configuration = load_config(config, overrides, seed)
    check_fits(configuration, device)
    trainer = Trainer(configuration, rows, device)
    with shown(progress, configuration.train.steps) as tell:
        for event in trainer:
            tell(event)
    return Reverser.from_trainer(trainer)
