"""Which picture is honest: how well each of them predicts the influence of the symbols, over many sequences."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqrev.inference.batching import Sources
from seqrev.interpret.alignment import teacher_forced_ids
from seqrev.interpret.attribution import gradient_times_input, rollout, value_weighted
from seqrev.interpret.influence import correlation, source_influence
from seqrev.model.tensors import to_array
from seqrev.model.transformer import Transformer
from seqrev.task import FIRST_SYMBOL

CHANGED_TOKENS = 50_000  # of the sources that a report changes: 100 of up to ten symbols
Name = tuple[str, int, int]  # of a picture: which, layer and head, from 1; head 0: all of them together


@dataclass(frozen=True)
class Agreement:
    """Of a layer or a head of the cross-attention: the correlation of its pictures with the influence, over all cells."""

    layer: int
    head: int | None
    """None for all heads together: the mean of their weights, the sum of what they add."""
    attention: float
    """The weights."""
    value_weighted: float
    """Weight times value, as it reaches the residual stream."""
    rollout: float
    """The weights, followed back through the encoder."""


@dataclass(frozen=True)
class AgreementReport:
    """All heads of the cross-attention, and the one picture that is not of a head."""

    sequences: int
    heads: list[Agreement]
    gradient_times_input: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what is not known is null."""
        values = asdict(self)
        for one in (values, *values["heads"]):
            one.update({name: None for name, value in one.items() if value != value})  # NaN is not itself
        return values


def affordable(model: Transformer, sources: Sources) -> int:
    """How many of the first sources may all be changed in a second or so; none where there is one symbol only."""
    others = model.vocabulary_size - FIRST_SYMBOL - 1
    tokens = itertools.accumulate(len(source) * others * (len(source) + 2) for source in sources)
    return sum(1 for total in tokens if 0 < total <= CHANGED_TOKENS)


def report_agreement(model: Transformer, sources: Sources) -> AgreementReport:
    """Change every symbol of every source, while the decoder is given the right answer, and compare.

    Raises:
        UsageError: there is no sequence, or only one symbol.
    """
    effects, pictures, count = [], defaultdict(list), 0
    for symbols, source, answer in teacher_forced_ids(model, sources):
        effects.append(to_array(source_influence(model, source, answer)).ravel())
        for name, picture in _pictures(model, source, answer):
            pictures[name].append(to_array(picture[..., 1:-1]).ravel())  # of the symbols
        count += len(symbols)
    effect = np.concatenate(effects)
    found = {name: correlation(np.concatenate(parts), effect) for name, parts in pictures.items()}
    heads = [
        Agreement(layer, head or None, *(found[which, layer, head] for which in ("attention", "value_weighted", "rollout")))
        for layer in range(1, model.config.decoder_layers + 1)
        for head in range(model.config.heads + 1)
    ]
    return AgreementReport(count, heads, found["gradient_times_input", 0, 0])


def _pictures(model: Transformer, source: Tensor, answer: Tensor) -> Iterator[tuple[Name, Tensor]]:
    """Every picture of some sequences, ``[batch, tgt, src]``."""
    target = answer[:, :-1]
    with torch.no_grad():
        maps = model.attention_maps(source, target)
    flow = rollout(maps.encoder) if maps.encoder else torch.eye(source.shape[1], device=source.device).to(maps.cross[0])
    of_heads, of_layers = value_weighted(model, source, target)
    for index, weights in enumerate(maps.cross):
        both = torch.cat((weights.mean(dim=1, keepdim=True), weights), dim=1)
        added = torch.cat((of_layers[index][:, None], of_heads[index]), dim=1)
        for head in range(both.shape[1]):
            yield ("attention", index + 1, head), both[:, head]
            yield ("value_weighted", index + 1, head), added[:, head]
            yield ("rollout", index + 1, head), both[:, head] @ flow
    yield ("gradient_times_input", 0, 0), gradient_times_input(model, source, target, answer[:, 1:])
