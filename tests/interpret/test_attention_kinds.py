"""The kinds of attention, and which layers and heads a model has."""

import pytest

from seqrev.config import ModelConfig
from seqrev.errors import UsageError
from seqrev.interpret.attention_kinds import ATTENTION_NAMES, Kind, check_layer_and_head

CONFIG = ModelConfig(d_model=12, heads=3, encoder_layers=1, decoder_layers=2)


@pytest.mark.parametrize(("kind", "layers"), [("cross", 2), ("encoder", 1), ("decoder", 2)])
def test_layers_and_heads_are_counted_from_one(kind: Kind, layers: int) -> None:
    check_layer_and_head(CONFIG, kind)
    for layer in range(1, layers + 1):
        for head in (None, 1, 2, 3):
            check_layer_and_head(CONFIG, kind, layer, head)
    for layer in (-1, 0, layers + 1):
        with pytest.raises(UsageError) as caught:
            check_layer_and_head(CONFIG, kind, layer, 1)
        name = ATTENTION_NAMES[kind]
        assert str(caught.value) == f"There is no layer {layer} of {name}; this model has layers 1 to {layers}."
        assert caught.value.hint == f"--layer {layers}"


@pytest.mark.parametrize("head", [-1, 0, 4])
def test_a_head_that_is_not_there_is_refused(head: int) -> None:
    with pytest.raises(UsageError) as caught:
        check_layer_and_head(CONFIG, "cross", None, head)
    assert str(caught.value) == f"There is no head {head} of cross-attention; this model has heads 1 to 3."
    assert caught.value.hint == "--head 3"


def test_an_encoder_without_layers_has_no_attention() -> None:
    config = CONFIG.model_copy(update={"encoder_layers": 0})
    with pytest.raises(UsageError, match=r"no encoder self-attention: model\.encoder_layers is 0") as caught:
        check_layer_and_head(config, "encoder")
    assert caught.value.hint == "--type cross"
    check_layer_and_head(config, "decoder", 2, 3)
