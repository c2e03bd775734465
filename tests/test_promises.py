"""What the shipped configurations are said to reach, over five seeds. Minutes each: ``make test-slow``."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from seqrev.api.reverser import Reverser
from seqrev.config import load_config
from seqrev.data.families import families, sequences_up_to
from seqrev.data.sampling import draw_split, fresh_sequences
from seqrev.inference.evaluation import evaluate
from seqrev.interpret.alignment import alignment_over
from seqrev.training.events import Validation
from seqrev.training.trainer import Trainer

CONFIGS = Path(__file__).parent.parent / "configs"
pytestmark = pytest.mark.slow


def trained(name: str, seed: int, changes: Sequence[str] = ()) -> Reverser:
    trainer = Trainer(load_config(CONFIGS / name, changes, seed), device="cpu")
    for _ in trainer:
        pass
    return Reverser.from_trainer(trainer)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["small.yaml", "fast.yaml"])
def test_held_out_sequences_are_answered_and_the_model_looks_where_it_should(name: str, seed: int) -> None:
    reverser = trained(name, seed)
    test = [row for chunk in draw_split("test", reverser.config.data.test, reverser.config) for row in chunk]
    assert len(test) == 1_000
    assert evaluate(reverser.model, test).overall.exact_match >= 0.999
    mean, *_ = alignment_over(reverser.model, test)
    assert mean.mass >= 0.95
    assert mean.hit >= 0.995


@pytest.mark.parametrize("seed", range(5))
def test_small_makes_no_mistake_where_everything_is_tried_and_its_loss_falls(seed: int) -> None:
    """Every sequence of up to five digits, the families, and four thousand more held-out ones."""
    trainer = Trainer(load_config(CONFIGS / "small.yaml", seed=seed), device="cpu")
    losses = [event.loss for event in trainer if isinstance(event, Validation)]
    assert all(loss <= 1.5 * min(losses[:index]) for index, loss in enumerate(losses) if index)
    model, config = trainer.model.eval(), trainer.config
    held_out = [row for chunk in draw_split("test", 5_000, config) for row in chunk]
    for rows in (held_out, *sequences_up_to(5, 10), *(rows for _, rows in families(config.task))):
        assert evaluate(model, rows).mistakes == []


@pytest.mark.parametrize("rule", ["reverse", "copy"])
@pytest.mark.parametrize("seed", range(5))
def test_extrapolate_is_exact_at_a_hundred_times_its_training_length(seed: int, rule: str) -> None:
    """One configuration, which does not say the direction."""
    reverser = trained("extrapolate.yaml", seed, [f"task.rule={rule}"])
    for length in (20, 50, 100, 200, 500, 1_000):
        result = evaluate(reverser.model, fresh_sequences(length, 64, reverser.config)).overall
        assert result.exact_match == 1.0, length
    for length in (10, 500):
        mean, *_ = alignment_over(reverser.model, fresh_sequences(length, 16, reverser.config))
        assert mean.hit == 1.0
        assert mean.mass >= 0.95


@pytest.mark.parametrize(
    ("seed", "changes"),
    [
        (3, ["task.max_length=5"]),  # with the queries of self-attention scaled as well, tokens were wrong at 1,000
        (1, ["task.max_length=20"]),  # here, too
        (1, ["task.symbols=2", "data.validation=3", "data.test=3"]),
        (1, ["task.symbols=1000"]),
        (1, ["task.symbols=300", "train.steps=2500"]),  # at twice the learning rate one of the symbols was lost
        (1, ["task.symbols=1000", "train.steps=5000"]),  # without noise on the target some of them were
        (1, ["task.max_length=5", "task.rule=copy"]),
        (1, ["task.symbols=1000", "task.rule=copy"]),
    ],
    ids=str,
)
def test_extrapolate_holds_for_other_alphabets_and_lengths(seed: int, changes: list[str]) -> None:
    """At eight and sixteen times the training length, and at 1,000."""
    reverser = trained("extrapolate.yaml", seed, changes)
    longest = reverser.config.task.max_length
    for length in (8 * longest, 16 * longest, 1_000):
        result = evaluate(reverser.model, fresh_sequences(length, 16, reverser.config)).overall
        assert result.exact_match == 1.0, length
