"""What is due at a step: the learning rate, a line in the metrics, a validation. Steps taken count from 1."""

from seqrev.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up to ``lr``, then linear decay towards zero, for the step after ``step`` steps (so it counts from 0)."""
    rising = (step + 1) / max(1, config.warmup_steps)
    falling = (config.steps - step) / max(1, config.steps - config.warmup_steps)
    return config.lr * min(1.0, rising, falling)


def is_logged(step: int, config: TrainConfig) -> bool:
    """Whether the loss of a step goes into ``metrics.jsonl``."""
    return step % config.log_every == 0 or step in (1, config.steps)


def is_validated(step: int, config: TrainConfig) -> bool:
    """Whether the model is validated after a step."""
    return step == config.steps or (step > 0 and step % config.validate_every == 0)
