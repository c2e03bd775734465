"""Ablation: a model without one of its parts, to see what breaks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor

from seqrev.errors import UsageError
from seqrev.inference.batching import Sources
from seqrev.interpret.alignment import teacher_forced_ids
from seqrev.interpret.interventions import Cache, Intervention, check_points, intervene, record
from seqrev.model.transformer import Transformer
from seqrev.system.text import shorten

How = Literal["zero", "mean", "resample"]


@contextmanager
def ablate(
    model: Transformer, names: Sequence[str], how: How = "zero", sources: Sources | None = None, seed: int = 0
) -> Iterator[None]:
    """Inside of ``with`` the model is without these points: heads, whole blocks, or anything else that has a name.

    Args:
        names: as in ``seqrev.interpret.interventions``; all of them are ablated together.
        how: ``zero``: nothing is there; ``mean``: what is there on average, the same for every token of every sequence;
            ``resample``: at each token what is there at another, random token of a random sequence. A zero may be
            something that the model never sees otherwise, which breaks more than what the part does; what the others put
            there is always familiar (Wang et al. 2022, section 2.1).
        sources: symbols of the sequences over which ``mean`` and ``resample`` look, teacher-forced.
        seed: of ``resample``.

    Raises:
        UsageError: there is no such point or way, or no sequence.
    """
    if how not in get_args(How):
        raise UsageError(f"{shorten(how)} is no way to ablate; {', '.join(get_args(How))} are.", "--how mean")
    check_points(model.config, names)
    if how == "zero":
        functions: dict[str, Intervention] = dict.fromkeys(names, _zero)
    else:
        if not sources:
            raise UsageError(f"The {how} is that over sequences, and there are none.", "--how zero")
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        for _, source, target in teacher_forced_ids(model, sources):
            for name, values in record(model, source, target[:, :-1], names).items():
                found[name].append(_tokens(name, values))
        functions = {name: _other(how, torch.cat(values), seed) for name, values in found.items()}
    with intervene(model, functions):
        yield


def _tokens(name: str, values: Tensor) -> Tensor:
    """``[batch, length, …]`` to ``[token, …]``."""
    if name.endswith(".weights"):
        raise UsageError(f"{name} has another shape for each length; only zero can be put there.", "--how zero")
    return values.flatten(0, 1)


def _zero(value: Tensor, _cache: Cache) -> Tensor:
    return torch.zeros_like(value)


def _other(how: How, tokens: Tensor, seed: int) -> Intervention:
    if how == "mean":
        mean = tokens.mean(dim=0)
        return lambda value, _cache: mean.expand_as(value)
    generator = torch.Generator("cpu").manual_seed(seed)

    def draw(value: Tensor, _cache: Cache) -> Tensor:
        chosen = torch.randint(len(tokens), value.shape[:-1], generator=generator, device="cpu")
        return tokens[chosen.to(tokens.device)]

    return draw
