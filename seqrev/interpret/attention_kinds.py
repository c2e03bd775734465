"""The three kinds of attention, and which layers and heads a model has."""

import re
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


def check_layer_and_head(config: ModelConfig, kind: Kind, layer: int | None = None, head: int | None = None) -> None:
    """Refuse a kind, a layer or a head that a model does not have; a None is not checked.

    Raises:
        UsageError: naming those that it has.
    """
    if kind not in ATTENTION_NAMES:
        raise UsageError(f"{shorten(kind)} is not a kind of attention; {', '.join(ATTENTION_NAMES)} are.", "cross")
    layers = config.encoder_layers if kind == "encoder" else config.decoder_layers
    if not layers:
        raise UsageError("This model has no encoder self-attention: model.encoder_layers is 0.", "--type cross")
    for name, value, most in (("layer", layer, layers), ("head", head, config.heads)):
        if value is not None and not (isinstance(value, int) and 1 <= value <= most):
            raise UsageError(
                f"There is no {name} {shorten(value)} of {ATTENTION_NAMES[kind]}; this model has {name}s 1 to {most}.",
                f"--{name} {most}",
            )


def parse_head(name: str) -> tuple[Kind, int, int]:
    """Kind, layer and head of a name such as ``cross.2.1``; whether a model has it is not checked.

    Raises:
        UsageError: it is not such a name.

    >>> parse_head("cross.2.1")
    ('cross', 2, 1)
    """
    kind, *numbers = str(name).split(".")
    for known in ATTENTION_NAMES:
        if kind == known and len(numbers) == 2 and all(re.fullmatch(r"[0-9]{1,9}", number) for number in numbers):
            layer, head = map(int, numbers)
            return known, layer, head
    problem = f"{shorten(name)} is not a head; one like cross.2.1 was expected: the kind, the layer and the head."
    raise UsageError(problem, f'"cross.2.1", or another of {", ".join(ATTENTION_NAMES)}')
