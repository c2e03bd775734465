"""The whole program against another one that reads the same files: logits, answers, scores, maps and training steps."""

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqrev.api.reverser import load
from seqrev.inference.teacher_forcing import teacher_forced
from seqrev.interpret.attention_kinds import ATTENTION_NAMES
from seqrev.runs.folders import Run
from seqrev.training.trainer import Trainer, TrainingRows
from tests.helpers import tiny_config
from tests.oracle import MOMENTS, Oracle, read_tensors

SYMBOLS = 5
SOURCES = [[3], [1, 4], [2, 2, 0], [0, 4, 1, 3], [4, 3, 2, 1, 0, 1, 2, 3, 4, 0, 0, 1]]  # the last longer than in training
SCHEMES = [*itertools.product(("sinusoidal", "learned", "rotary", "alibi", "relative", "none"), ("start", "end"))]
SCHEMES.append(("rotary", "both"))
CASES = [
    (*scheme, spread, scaling)
    for scheme, spread, scaling in itertools.product(SCHEMES, (0, 40), (False, True))
    if not (spread and scheme[0] == "learned")
]


def save_random(folder: Path, **model: Any) -> Run:
    """A run whose weights are so large that everything matters."""
    changes = [f"model.{name}={value}" for name, value in model.items()]
    trainer = Trainer(tiny_config("data.train=9", "data.validation=4", "data.test=4", *changes), device="cpu")
    generator = torch.Generator().manual_seed(random.Random(str(model)).getrandbits(32))
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return trainer.save(folder)


@pytest.mark.parametrize(("positions", "source_from", "spread", "scaling"), CASES)
def test_answers_scores_and_maps_are_those_of_another_program(
    tmp_path: Path, positions: str, source_from: str, spread: int, scaling: bool
) -> None:
    chosen = random.Random(f"{positions} {source_from} {spread} {scaling}")
    run = save_random(
        tmp_path,
        positions=positions,
        source_from=source_from,
        random_positions=spread,
        length_scaling=scaling,
        encoder_layers=chosen.choice([0, 1, 2]),
        decoder_layers=chosen.choice([1, 2]),
        tie_embeddings=chosen.choice([False, True]),
        position_base=50.0,
        d_model=16,
    )
    model, oracle = load(run, "cpu"), Oracle(run.path)
    for beam in (1, 3):
        for source, answer in zip(SOURCES, model.decode(SOURCES, beam), strict=True):
            output, score, finished = oracle.search(source, beam)
            assert (answer.output, answer.finished) == (output, finished)
            assert answer.log_probability == pytest.approx(score, rel=1e-4, abs=1e-4)
    for source, answer in zip(SOURCES, teacher_forced(model.model, SOURCES), strict=True):
        assert answer.log_probability == pytest.approx(oracle.forced(source, source[::-1]), rel=1e-4, abs=1e-4)
    for source in SOURCES:
        seen = model.attention(source)
        ids = [3 + symbol for symbol in source]
        read = [1, *(3 + symbol for symbol in seen.answer.output)][: len(seen.emitted_tokens)]
        _, maps = oracle.run([1, *ids, 2], read)
        for kind in ATTENTION_NAMES:
            assert len(maps[kind]) == len(seen.all_weights(kind))
            for layer, weights in enumerate(maps[kind], start=1):
                np.testing.assert_allclose(seen.weights(kind, layer), weights, atol=2e-5)


def test_these_models_end_at_once_and_late_and_never_and_beams_find_more(tmp_path: Path) -> None:
    """Otherwise they would be compared on little."""
    found = []
    for positions, source_from in SCHEMES:
        model = load(save_random(tmp_path, positions=positions, source_from=source_from, d_model=16), "cpu")
        found += list(zip(model.decode(SOURCES), model.decode(SOURCES, 3), strict=True))
    assert {answer.finished for answer, _ in found} == {True, False}
    assert any(answer.output != better.output for answer, better in found)
    assert len({tuple(answer.output) for answer, _ in found}) > len(found) // 3


@pytest.mark.parametrize(("positions", "source_from"), SCHEMES[::2])
def test_steps_of_training_are_those_of_another_program(tmp_path: Path, positions: str, source_from: str) -> None:
    layers, steps = (0, 1) if source_from == "both" else (1, 2 if positions == "none" else 1)
    changes = {
        "model.d_model": 4,
        "model.heads": 1,
        "model.d_ff": 4,
        "model.max_positions": 6,
        "model.encoder_layers": layers,
        "model.positions": positions,
        "model.source_from": source_from,
        "model.tie_embeddings": positions == "alibi",
        "train.schedule": "constant",
        "train.optimizer": "adamw",
        "train.weight_decay": 0.1,
        "train.batch_size": 3,
        "train.max_grad_norm": 0.3,
    }
    rows = TrainingRows([[3], [1, 4], [2, 2, 0]], [[0, 1]], [[1, 0]])  # an epoch is a batch
    trainer = Trainer(tiny_config(*(f"{name}={value}" for name, value in changes.items())), rows, "cpu")
    oracle = Oracle(trainer.save(tmp_path).path)
    events = [next(trainer) for _ in range(steps)]
    trained = Oracle(trainer.save(tmp_path).path)
    assert rows.train is not None
    tokens = sum(len(row) + 1 for row in rows.train)
    expected = -sum(oracle.forced(row, row[::-1]) for row in rows.train) / tokens
    assert events[0].loss == pytest.approx(expected, rel=1e-5)
    moments = oracle.train(rows.train, steps)
    found = read_tensors(trained.checkpoint / "optimizer.safetensors")
    for name, weights in oracle.weights.items():
        for kind in MOMENTS:
            np.testing.assert_allclose(found[f"{kind}.{name}"], moments[f"{kind}.{name}"], rtol=1e-3, atol=1e-7)
        sure = np.abs(moments[f"exp_avg.{name}"]) > 1e-5  # Adam makes a step of what is nothing but rounding, too
        np.testing.assert_allclose(trained.weights[name][sure], weights[sure], rtol=1e-5, atol=1e-5)
    assert events[0].loss > 1
