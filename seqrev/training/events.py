"""What happens in a training, as values."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One training step was taken."""

    step: int
    """Steps taken so far; the first is 1."""
    loss: float
    """Mean cross-entropy of the batch's target tokens, in nats. On a GPU it is read at the steps that are logged; at the
    others it is NaN, so that the program need not wait for the device."""
    lr: float
    """Learning rate."""
    gradient_norm: float
    """L2 norm of the gradient over all weights, before clipping; read when the loss is."""
    tokens: int
    """Target tokens in the batch, ``<EOS>`` included."""
    seconds: float = field(default=0.0, compare=False)
    """Training time so far, over all attempts."""


@dataclass(frozen=True)
class Validation:
    """The model was evaluated on the validation sequences."""

    step: int
    """Steps taken so far."""
    loss: float
    """Teacher-forced mean cross-entropy, in nats."""
    exact_match: float
    """Free-running."""
    token_accuracy: float
    """Free-running."""
    mass: float
    """Anti-diagonal of the last decoder layer's head mean, teacher-forced, over the first ``SCORED`` sequences."""
    hit: float
    """Of the same. Both are NaN where there is no rule (``task.rule: pairs``)."""
    seconds: float = field(default=0.0, compare=False)
    """Training time so far, over all attempts."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without those that are not known."""
        return {name: value for name, value in vars(self).items() if value == value}  # NaN is not itself


Event = Step | Validation


def to_row(event: Event) -> dict[str, Any]:
    """An event as a line of ``metrics.jsonl``."""
    if isinstance(event, Validation):
        return {"event": "validation", **event.to_dict()}
    return {"event": "train", **vars(event)}


SCORED = 64  # validation sequences whose attention is scored; scoring all would take as long as answering them
