"""Untrained models that answer, and what they should answer, computed naively."""

import functools
from collections.abc import Sequence

import torch

from seqrev.config import ModelConfig
from seqrev.inference.search import Hypothesis
from seqrev.model.transformer import Transformer
from seqrev.task import BOS, EOS, FIRST_SYMBOL, PAD, vocabulary_size

SEEDS = range(8)
CLOSE = 1e-4  # log-probabilities are float32


@functools.cache
def random_model(seed: int, symbols: int = 5, max_positions: int = 64, positions: str = "sinusoidal") -> Transformer:
    """An untrained model in float64, with weights so large that answers differ from source to source."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        shape = {"d_model": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 2, "d_ff": 16}
        extrapolating = {"source_from": "end", "length_scaling": True} if positions != "sinusoidal" else {}
        settings = {"max_positions": max_positions, "positions": positions} | extrapolating
        model = Transformer(ModelConfig.model_validate(shape | settings), vocabulary_size(symbols))
        for name, parameter in model.named_parameters():
            if "embedding" not in name:
                parameter.data += 0.4 * torch.randn_like(parameter)
    return model.double().eval().requires_grad_(False)


def with_bias(model: Transformer, **biases: float) -> Transformer:
    """A copy that gives special tokens other biases: more or less probability."""
    copy = Transformer(model.config, model.vocabulary_size).double().eval().requires_grad_(False)
    copy.load_state_dict(model.state_dict())
    for name, bias in biases.items():
        copy.output.bias[{"PAD": PAD, "BOS": BOS, "EOS": EOS}[name]] = bias
    return copy


def random_sources(symbols: int = 5, longest: int = 8, count: int = 12, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return [torch.randint(symbols, (length,), generator=generator).tolist() for length in lengths]


def source_ids(source: Sequence[int]) -> torch.Tensor:
    return torch.tensor([[BOS, *(symbol + FIRST_SYMBOL for symbol in source), EOS]])


def log_probability(model: Transformer, source: Sequence[int], tokens: Sequence[int]) -> float:
    """What the model gives to a sequence of emitted ids, in one parallel pass."""
    scores = model(source_ids(source), torch.tensor([[BOS, *tokens[:-1]]])).log_softmax(-1)[0]
    return sum(float(scores[step, token]) for step, token in enumerate(tokens))


def emitted(answer: Hypothesis) -> list[int]:
    return [symbol + FIRST_SYMBOL for symbol in answer.output] + [EOS] * answer.finished
