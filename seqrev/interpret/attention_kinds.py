"""The three kinds of attention, and which layers and heads a model has."""

from typing import Literal

from seqrev.config import ModelConfig
from seqrev.errors import UsageError
from seqrev.system.text import shorten

Kind = Literal["cross", "encoder", "decoder"]
ATTENTION_NAMES: dict[Kind, str] = {
    "cross": "cross-attention",
    "encoder": "encoder self-attention",
    "decoder": "decoder self-attention",
}


def check_kind(kind: Kind) -> None:
    """Raise ``UsageError`` for what is no kind of attention."""
    if kind not in ATTENTION_NAMES:
        raise UsageError(f"{shorten(kind)} is not a kind of attention; {', '.join(ATTENTION_NAMES)} are.", "cross")


def check_layer_and_head(config: ModelConfig, kind: Kind, layer: int | None = None, head: int | None = None) -> None:
    """Refuse a kind, a layer or a head that a model does not have; a None is not checked.

    Raises:
        UsageError: naming those that it has.
    """
    check_kind(kind)
    layers = config.encoder_layers if kind == "encoder" else config.decoder_layers
    if not layers:
        raise UsageError("This model has no encoder self-attention: model.encoder_layers is 0.", "--type cross")
    for name, value, most in (("layer", layer, layers), ("head", head, config.heads)):
        if value is not None and not (isinstance(value, int) and 1 <= value <= most):
            raise UsageError(
                f"There is no {name} {shorten(value)} of {ATTENTION_NAMES[kind]}; this model has {name}s 1 to {most}.",
                f"--{name} {most}",
            )
