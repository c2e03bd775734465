"""Small models in float64 whose weights all matter, and batches for them."""

import functools
import itertools

import pytest
import torch
from torch import Tensor

from seqrev.config import ModelConfig
from seqrev.model.transformer import Transformer
from seqrev.task import BOS, EOS, PAD

VOCABULARY = 13


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Normal random numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small_config(**changes: object) -> ModelConfig:
    small = {"d_model": 16, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "d_ff": 24, "max_positions": 64}
    return ModelConfig.model_validate(small | changes)


def random_model(seed: int, config: ModelConfig) -> Transformer:
    """In evaluation mode, float64, and with weights so large that everything has an effect on the logits."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Transformer(config, VOCABULARY).double().eval()
        for name, parameter in model.named_parameters():
            if "embedding" not in name:
                parameter.data += 0.25 * torch.randn_like(parameter)
    return model.requires_grad_(False)


@functools.cache
def sinusoidal_model(seed: int) -> Transformer:
    return random_model(seed, small_config())


SCHEMES: dict[str, dict[str, str | int | bool]] = {
    f"{positions}-{source_from}-{spread}-{scaling}": {
        "positions": positions,
        "source_from": source_from,
        "random_positions": spread,
        "length_scaling": scaling,
    }
    for (positions, source_from), spread, scaling in itertools.product(
        [
            *itertools.product(("sinusoidal", "learned", "rotary", "alibi", "relative", "none"), ("start", "end")),
            ("rotary", "both"),
        ],
        (0, 100),
        (False, True),
    )
}
each_scheme = pytest.mark.parametrize("scheme", SCHEMES)


@functools.cache
def scheme_model(scheme: str) -> Transformer:
    config = small_config(**SCHEMES[scheme], position_base=50.0, max_positions=2048)
    return random_model(list(SCHEMES).index(scheme), config)


def with_special_tokens(source: list[int]) -> list[int]:
    return [BOS, *source, EOS]


def source_batch(*rows: list[int]) -> Tensor:
    """Ids of sources between ``<BOS>`` and ``<EOS>``, padded at the end."""
    width = max(map(len, rows)) + 2
    return torch.tensor([with_special_tokens(row) + [PAD] * (width - len(row) - 2) for row in rows])


def target_batch(*rows: list[int]) -> Tensor:
    """Ids of targets of one length, after ``<BOS>``."""
    return torch.tensor([[BOS, *row] for row in rows])


def random_rows(*lengths: int, seed: int = 0) -> list[list[int]]:
    """Ids of symbols, a row for each length."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]
