"""The model computes what it computed before it was restructured.

``golden.safetensors`` holds logits and attention weights of the last commit before that. Nothing was trained: NumPy drew
the weights, each parameter's from a generator whose seed is the CRC-32 of its name (the names of today; where the old ones
were others, they were translated first).
"""

import functools
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from seqrev.config import ModelConfig
from seqrev.model.transformer import Transformer
from seqrev.model.weights import load_weights, weight_shapes

VOCABULARY = 11
SHAPE = {"d_model": 16, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "d_ff": 24}
EXTRAPOLATE = {
    "positions": "rotary",
    "source_from": "end",
    "position_base": 6.0,
    "length_scaling": True,
    "tie_embeddings": True,
}
SCHEMES: dict[str, dict[str, object]] = {
    "sinusoidal": {},
    "sinusoidal from the end": {"source_from": "end"},
    "sinusoidal, random positions": {"random_positions": 64},
    "learned": {"positions": "learned", "max_positions": 32},
    "rotary": {"positions": "rotary"},
    "rotary, as in extrapolate.yaml": {**EXTRAPOLATE},
    "rotary, random positions": {"positions": "rotary", "random_positions": 64},
    "alibi": {"positions": "alibi"},
    "alibi from the end": {"positions": "alibi", "source_from": "end"},
    "relative": {"positions": "relative"},
    "none": {"positions": "none"},
}
SOURCE = torch.tensor([[1, 4, 7, 3, 9, 5, 2], [1, 6, 3, 2, 0, 0, 0], [1, 8, 2, 0, 0, 0, 0]])
TARGET = torch.tensor([[1, 5, 9, 3, 7, 4], [1, 3, 6, 2, 0, 0], [1, 8, 2, 0, 0, 0]])

each_scheme = pytest.mark.parametrize("scheme", SCHEMES)


def weights_from_name(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = np.random.default_rng(zlib.crc32(name.encode())).normal(0.0, 0.4, shape)
    return (values + ("norm.weight" in name)).astype(np.float32)


@functools.cache
def model_of(scheme: str) -> Transformer:
    config = ModelConfig.model_validate({**SHAPE, **SCHEMES[scheme]})
    model = Transformer(config, VOCABULARY).eval().requires_grad_(False)
    shapes = weight_shapes(config, VOCABULARY)
    load_weights(model, {name: weights_from_name(name, shape) for name, shape in shapes.items()})
    return model


@functools.cache
def golden() -> dict[str, Tensor]:
    return load_file(Path(__file__).parent / "golden.safetensors")


def assert_golden(name: str, actual: Tensor) -> None:
    torch.testing.assert_close(actual, golden()[name], rtol=0, atol=1e-5)


def test_every_golden_value_is_compared() -> None:
    kinds = ("padded", "unpadded", "cached", "encoder", "decoder", "cross")
    assert golden().keys() == {f"{scheme}/{kind}" for scheme in SCHEMES for kind in kinds}


@each_scheme
def test_the_logits_are_the_golden_ones(scheme: str) -> None:
    model = model_of(scheme)
    assert_golden(f"{scheme}/padded", model(SOURCE, TARGET))
    assert_golden(f"{scheme}/unpadded", model(SOURCE[:1], TARGET[:1], padded=False))


@each_scheme
def test_the_logits_from_a_cache_are_the_golden_ones(scheme: str) -> None:
    model = model_of(scheme)
    memory, cache = model.encode(SOURCE), model.new_cache()
    parts = [model.decode(token, memory, cache) for token in torch.split(TARGET, 1, dim=1)]
    assert_golden(f"{scheme}/cached", torch.cat(parts, dim=1))


@each_scheme
@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_the_attention_weights_are_the_golden_ones(scheme: str, kind: str) -> None:
    maps = model_of(scheme).attention_maps(SOURCE, TARGET)
    assert_golden(f"{scheme}/{kind}", torch.stack(getattr(maps, kind)))
