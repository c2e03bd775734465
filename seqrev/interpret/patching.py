"""Activation patching: which activation of one run, put into another run, brings the answer of the first one back.

Two sources, a *clean* and a *corrupt* one. The model reads the corrupt source, and one of its activations after another is
replaced by that of the clean run: an activation that brings the clean answer back carries what the two sources differ in
("causal tracing", Meng et al., "Locating and Editing Factual Associations in GPT", 2022). In both runs the decoder is given
the answer to the clean source so far, so that their steps are the same.

What comes back at a step is measured with the logits of the two tokens that the two runs emit there: 0 is their difference
in the corrupt run, 1 that in the clean run. Steps at which both emit the same token do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqrev.errors import UsageError
from seqrev.inference.batching import rows_for_maps
from seqrev.inference.search import decode
from seqrev.interpret.attention_kinds import ATTENTION_NAMES
from seqrev.interpret.interventions import (
    Cache,
    Intervention,
    check_points,
    from_cache,
    head_points,
    intervene,
    record,
    residual_points,
)
from seqrev.model.tensors import to_array
from seqrev.model.transformer import Transformer
from seqrev.task import EOS, FIRST_SYMBOL, add_special_tokens

Recovery = NDArray[np.float32]
INPUTS = ("query", "key", "value")
Site = tuple[tuple[str, ...], int | None]
"""Points that are patched together, and a position at them; None: all positions."""


@dataclass(frozen=True)
class Map:
    """Recovery of one kind of activations."""

    points: list[str]
    """Heads, or the residual stream at each layer."""
    whole: Recovery
    """Over all steps that count, with all positions patched together, ``[point]``."""
    recovery: Recovery
    """The same with one position patched, ``[point, position]``: of the source in the encoder, a step in the decoder."""
    by_step: Recovery
    """At each step, ``[point, position, tgt]``; NaN where it does not count."""


@dataclass(frozen=True)
class Patching:
    """What every activation of the clean run brings back."""

    clean: list[int]
    corrupt: list[int]
    emitted: list[str]
    """The tokens that the clean run emits."""
    instead: list[str]
    """Those that the corrupt run emits at the same steps."""
    maps: dict[str, Map]
    """``residual.encoder``, ``residual.decoder``, ``encoder``, ``decoder`` and ``cross``; of sources of different lengths
    only those of the decoder, since their positions are not the same."""


@dataclass(frozen=True)
class PathPatching:
    """What one head of the clean run brings back through the queries, the keys or the values of each later head."""

    sender: str
    receivers: list[str]
    """All later heads together first, then each of them."""
    emitted: list[str]
    instead: list[str]
    recovery: Recovery
    """``[receiver, 3]``: query, key, value."""
    by_step: Recovery
    """``[receiver, 3, tgt]``; NaN where a step does not count."""


class _Runs(NamedTuple):
    """The two runs."""

    clean: Tensor
    corrupt: Tensor
    target: Tensor
    """What the decoder is given, ``[1, tgt]``."""
    clean_logits: Tensor
    corrupt_logits: Tensor

    @property
    def tokens(self) -> tuple[Tensor, Tensor]:
        """What they emit, ``[tgt]`` each."""
        return self.clean_logits.argmax(-1), self.corrupt_logits.argmax(-1)

    def names(self) -> tuple[list[str], list[str]]:
        """The same as text."""
        clean, corrupt = ([_name(token) for token in tokens.tolist()] for tokens in self.tokens)
        return clean, corrupt

    def recovery(self, logits: Tensor) -> tuple[Recovery, Recovery]:
        """Of logits ``[…, tgt, vocabulary]``: over all steps, ``[…]``, and at each of them, ``[…, tgt]``."""
        right, wrong = self.tokens
        clean, corrupt, patched = (
            _difference(some, right, wrong) for some in (self.clean_logits, self.corrupt_logits, logits)
        )
        counts = right != wrong
        whole, part = (clean - corrupt)[counts].sum(), (patched - corrupt)[..., counts].sum(-1)
        by_step = ((patched - corrupt) / (clean - corrupt)).masked_fill(~counts, torch.nan)
        return to_array(part / whole), to_array(by_step)


def _name(token: int) -> str:
    return str(token - FIRST_SYMBOL) if token >= FIRST_SYMBOL else {EOS: "<EOS>"}.get(token, "<BOS>")


def _difference(logits: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    steps = torch.arange(len(right), device=right.device)
    return logits[..., steps, right] - logits[..., steps, wrong]


@torch.no_grad()
def patch(model: Transformer, clean: Sequence[int], corrupt: Sequence[int]) -> Patching:
    """Patch every head's output, and the residual stream at every layer, one position at a time.

    All activations of a kind are patched in one batched pass (in several where that would take too much memory).

    Raises:
        UsageError: the model gives the same answer to both sources.
    """
    runs = _run_both(model, clean, corrupt)
    groups: dict[str, list[str]] = {kind: head_points(model.config, kind) for kind in ATTENTION_NAMES}
    groups |= {f"residual.{stack}": residual_points(model.config, stack) for stack in ("encoder", "decoder")}
    if len(clean) != len(corrupt):
        groups = {kind: names for kind, names in groups.items() if "encoder" not in kind}
    cache = record(model, runs.clean, runs.target, [name for names in groups.values() for name in names])
    maps = {}
    for kind, names in groups.items():
        positions = (runs.clean if "encoder" in kind else runs.target).shape[1]
        sites: list[Site] = [((name,), position) for name in names for position in (None, *range(positions))]
        recovery, by_step = runs.recovery(_patched(model, runs, sites, cache))
        recovery = recovery.reshape(len(names), -1)
        by_step = by_step.reshape(len(names), 1 + positions, -1)
        maps[kind] = Map(names, recovery[:, 0], recovery[:, 1:], by_step[:, 1:])
    return Patching(list(clean), list(corrupt), *runs.names(), maps)


@torch.no_grad()
def path_patch(model: Transformer, clean: Sequence[int], corrupt: Sequence[int], sender: str) -> PathPatching:
    """Patch one head, but let only one input of one other head know of it.

    First the sender is patched and all other heads are kept as in the corrupt run: what then reaches the queries, keys and
    values of a head, it was sent directly, through the residual stream and feed-forward blocks, and not by way of another
    head. Then the corrupt run is given that one input (Wang et al., "Interpretability in the Wild", 2022, section 3.1).

    Args:
        sender: the point of a head, such as ``cross.1.1``.

    Raises:
        UsageError: as ``patch``; or there is no such head, or no head after it.
    """
    heads = [name for kind in ATTENTION_NAMES for name in head_points(model.config, kind)]
    check_points(model.config, [sender])
    receivers = [name for name in heads if _comes_after(name, sender)] if sender in heads else []
    if not receivers:
        raise UsageError(f"{sender} is no head that has another one after it.", "--path cross.1.1")
    runs = _run_both(model, clean, corrupt)
    if sender.startswith("encoder") and len(clean) != len(corrupt):
        raise UsageError("The two sources are not equally long; a head of the decoder was expected.", "--path cross.1.1")
    frozen = record(model, runs.corrupt, runs.target, heads) | record(model, runs.clean, runs.target, [sender])
    inputs = [f"{name}.{what}" for name in receivers for what in INPUTS]
    with intervene(model, {name: from_cache(name) for name in heads}, frozen):
        received = record(model, runs.corrupt, runs.target, inputs)
    groups = [tuple(receivers), *((name,) for name in receivers)]
    sites: list[Site] = [(tuple(f"{name}.{what}" for name in group), None) for group in groups for what in INPUTS]
    recovery, by_step = runs.recovery(_patched(model, runs, sites, received))
    shape = (len(groups), len(INPUTS))
    names = ["all of them", *receivers]
    return PathPatching(sender, names, *runs.names(), recovery.reshape(shape), by_step.reshape(*shape, -1))


def _comes_after(receiver: str, sender: str) -> bool:
    """Whether a head may read what another one wrote: it is in a later layer of its stack, or a later block of its layer.

    In the decoder, only cross-attention reads what the encoder wrote.
    """
    (kind, layer, _), (from_kind, from_layer, _) = receiver.split("."), sender.split(".")
    if from_kind == "encoder" or kind == "encoder":
        return from_kind == "encoder" and (kind == "cross" or (kind == "encoder" and int(layer) > int(from_layer)))
    return (int(layer), kind == "cross") > (int(from_layer), from_kind == "cross")


def _run_both(model: Transformer, clean: Sequence[int], corrupt: Sequence[int]) -> _Runs:
    (answer,) = decode(model, [clean])
    sources = [torch.from_numpy(add_special_tokens(np.array([one]))).to(model.device) for one in (clean, corrupt)]
    target = torch.from_numpy(add_special_tokens(np.array([answer.output], dtype=np.int64))).to(model.device)
    target = target[:, : len(answer.output) + answer.finished]
    logits = [model(source, target)[0] for source in sources]
    runs = _Runs(sources[0], sources[1], target, logits[0], logits[1])
    if torch.equal(*runs.tokens):
        raise UsageError(
            "The model gives the same answer to both sources, so nothing can come back.",
            'seqrev attention --patch "4 8 2 9" "4 8 5 9"',
        )
    return runs


def _patched(model: Transformer, runs: _Runs, sites: Sequence[Site], cache: Cache) -> Tensor:
    """Logits of the corrupt run, ``[site, tgt, vocabulary]``, each with what is in the cache at one site."""
    size = max(1, rows_for_maps(model, max(runs.corrupt.shape[1], runs.target.shape[1])))
    found = []
    for start in range(0, len(sites), size):
        some = sites[start : start + size]
        rows: dict[str, list[int]] = {}
        for row, (names, _) in enumerate(some):
            for name in names:
                rows.setdefault(name, []).append(row)
        functions = {name: _put(name, [(row, some[row][1]) for row in own]) for name, own in rows.items()}
        with intervene(model, functions, cache):
            found.append(model(runs.corrupt.expand(len(some), -1), runs.target.expand(len(some), -1)))
    return torch.cat(found)


def _put(name: str, places: Sequence[tuple[int, int | None]]) -> Intervention:
    """What is in the cache, at a position (None: at all of them) of some rows."""

    def function(value: Tensor, cache: Cache) -> Tensor:
        value = value.clone()
        for row, position in places:
            where = slice(None) if position is None else position
            value[row, where] = cache[name][0, where]
        return value

    return function
