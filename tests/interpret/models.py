"""Models and attention maps for the tests of this folder."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqrev.config import ModelConfig
from seqrev.inference.search import Hypothesis
from seqrev.interpret.alignment import AntiDiagonal
from seqrev.interpret.attention import Attention
from seqrev.model.transformer import AttentionMaps, Transformer
from seqrev.task import EOS, vocabulary_size


def random_model(seed: int = 0, eos: float = 0.0, **changes: int) -> Transformer:
    """An untrained model in float64 that attends to some positions more than to others."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        shape = {"d_model": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 2, "d_ff": 16, "max_positions": 128}
        model = Transformer(ModelConfig.model_validate(shape | changes), vocabulary_size(10))
        for name, parameter in model.named_parameters():
            if "embedding" not in name:
                parameter.data += 0.4 * torch.randn_like(parameter)
        model.output.bias.data[EOS] += eos
    return model.double().eval().requires_grad_(False)


def attention_of(source: list[int], answer: Hypothesis, *cross: NDArray[np.float64]) -> Attention:
    """What is recorded of a sequence, with cross-attention made by hand: one ``[head, tgt, src]`` for each layer."""
    config = ModelConfig(d_model=8, heads=len(cross[0]), encoder_layers=1, decoder_layers=len(cross))
    nothing = (torch.zeros(1, 1, 1, 1),)
    maps = AttentionMaps(nothing, nothing, tuple(torch.tensor(layer)[None] for layer in cross))
    return Attention(config, "reverse", source, answer, maps)


# Source 4 8 2: columns <BOS> 4 8 2 <EOS>, rows 2 8 4 <EOS>; the rule is columns 3, 2, 1.
FIRST_HEAD = [
    [0.0, 0.1, 0.2, 0.7, 0.0],  # 2: right
    [0.1, 0.5, 0.3, 0.0, 0.1],  # 8: looks at the 4
    [0.0, 0.6, 0.1, 0.1, 0.2],  # 4: right
    [0.0, 0.0, 0.0, 0.9, 0.1],  # <EOS> does not count
]
SECOND_HEAD = [
    [0.9, 0.1, 0.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0, 0.0],
    [0.2, 0.1, 0.2, 0.2, 0.3],
    [0.0, 1.0, 0.0, 0.0, 0.0],
]
MEAN = AntiDiagonal(1, None, mass=(0.35 + 0.65 + 0.35) / 3, hit=2 / 3)  # row 1 of the mean looks at <BOS>
BY_HEAD = [
    AntiDiagonal(1, 1, mass=(0.7 + 0.3 + 0.6) / 3, hit=2 / 3),
    AntiDiagonal(1, 2, mass=(0.0 + 1.0 + 0.1) / 3, hit=1 / 3),
]


def check_scores(scores: list[AntiDiagonal], expected: list[AntiDiagonal]) -> None:
    assert [(score.layer, score.head) for score in scores] == [(score.layer, score.head) for score in expected]
    for score, other in zip(scores, expected, strict=True):
        assert score.mass == pytest.approx(other.mass, abs=1e-6)
        assert score.hit == pytest.approx(other.hit, abs=1e-6)
