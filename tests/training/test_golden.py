"""Twelve steps of seven configurations, with the numbers that they had when they were recorded."""

import json
from pathlib import Path
from typing import Any

import pytest

from seqrev.config import load_config
from seqrev.training.events import Step, Validation
from seqrev.training.trainer import Trainer

RECORDED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "golden.json").read_text())


@pytest.mark.parametrize("name", RECORDED)
def test_losses_gradients_and_validation_are_those_on_record(name: str) -> None:
    recorded = RECORDED[name]
    *steps, validation = Trainer(load_config(overrides=recorded["set"]), device="cpu")
    assert isinstance(validation, Validation)
    norms = [event.gradient_norm for event in steps if isinstance(event, Step)]
    assert [event.loss for event in steps] == pytest.approx(recorded["losses"], rel=1e-4)
    assert norms == pytest.approx(recorded["gradient_norms"], rel=1e-4)
    expected = recorded["validation"]
    assert validation.step == expected["step"]
    assert validation.loss == pytest.approx(expected["loss"], rel=1e-4)
    assert validation.mass == pytest.approx(expected["mass"], abs=1e-3)
    for share in ("hit", "exact_match", "token_accuracy"):  # another processor may decide a tie otherwise
        assert getattr(validation, share) == pytest.approx(expected[share], abs=0.02), share
