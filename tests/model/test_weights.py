"""Names, shapes and loading of a model's weights."""

import subprocess
import sys

import numpy as np
import pytest

from seqrev.config import ModelConfig
from seqrev.model.transformer import Transformer
from seqrev.model.weights import load_weights, weight_shapes
from tests.model.models import VOCABULARY, small_config, source_batch, target_batch


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "relative"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_shapes_are_those_of_the_model(tied: bool, positions: str) -> None:
    config = ModelConfig.model_validate({"tie_embeddings": tied, "positions": positions})
    shapes = weight_shapes(config, VOCABULARY)
    model = Transformer(config, VOCABULARY)
    assert shapes == {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    assert ("output.weight" in shapes) is not tied


def test_shapes_come_without_the_compiler() -> None:
    """It takes seconds to import, and every command asks for the shapes."""
    code = (
        "import sys; from seqrev.config import ModelConfig; from seqrev.model.weights import weight_shapes; "
        "weight_shapes(ModelConfig(), 13); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_with_loaded_weights_is_the_model_they_came_from(tied: bool) -> None:
    config = small_config(tie_embeddings=tied, positions="relative")
    one, other = Transformer(config, VOCABULARY), Transformer(config, VOCABULARY)
    source, target = source_batch([4, 5, 6]), target_batch([6, 5])
    assert not one(source, target).equal(other(source, target))
    weights = {name: weight.detach().numpy() for name, weight in one.named_parameters()}
    load_weights(other, weights)
    assert one(source, target).equal(other(source, target))
    weights["output.bias" if not tied else "encoder.embedding.tokens.weight"] += 1  # a copy was taken
    assert not one(source, target).equal(other(source, target))


def test_weights_that_do_not_fit_are_refused() -> None:
    model = Transformer(small_config(), VOCABULARY)
    weights = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    with pytest.raises(RuntimeError, match="size"):
        load_weights(model, {**weights, "output.weight": np.zeros((VOCABULARY, 15), dtype=np.float32)})
    del weights["output.bias"]
    with pytest.raises(KeyError, match=r"output\.bias"):
        load_weights(model, weights)
