"""What is due at a step: learning rate, attention noise, a line in the metrics, a validation. Steps taken count from 1."""

import math

from seqrev.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up to ``lr``, then the ``schedule``, for the step after ``step`` steps (so it counts from 0).

    ``linear`` and ``cosine`` (Loshchilov and Hutter, "SGDR", 2017, without restarts) fall towards zero.
    """
    rising = (step + 1) / max(1, config.warmup_steps)
    left = min(1.0, (config.steps - step) / max(1, config.steps - config.warmup_steps))
    falling = {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}[config.schedule]
    return config.lr * min(1.0, rising, falling)


def noise_scale(step: int, config: TrainConfig) -> float:
    """Which share of ``model.attention_noise`` the step after ``step`` steps has."""
    return min(1.0, (step + 1) / max(1, config.noise_warmup_steps))


def is_logged(step: int, config: TrainConfig) -> bool:
    """Whether the loss of a step goes into ``metrics.jsonl``."""
    return step % config.log_every == 0 or step in (1, config.steps)


def is_validated(step: int, config: TrainConfig) -> bool:
    """Whether the model is validated after a step."""
    return step == config.steps or (step > 0 and step % config.validate_every == 0)
