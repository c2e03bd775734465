"""Named points inside the model, to read and to change there what it computes.

A *point* is a place that an ordinary hook of PyTorch reaches (docs/hooks.md), or the part of it that belongs to one head. A
*cache* has the values at some points in one pass. An *intervention* is a function of the value at a point and of a cache;
what it returns is put in place of the value. Everything that is done to a model here is made of these three.

| point | what | shape |
|---|---|---|
| ``cross.2.1``, ``encoder.…``, ``decoder.…`` | output of a head, before ``out_proj`` | ``[batch, tgt, d_head]`` |
| ``cross.2.1.query``, ``.key``, ``.value`` | of this head, before any rotation | ``[batch, tgt or src, d_head]`` |
| ``cross.2.1.weights`` | of this head | ``[batch, tgt, src]`` |
| ``cross.2`` | what all its heads, and the bias of ``out_proj``, add to the residual stream | ``[batch, tgt, d_model]`` |
| ``feed_forward.decoder.2`` | what that block adds | ``[batch, length, d_model]`` |
| ``residual.decoder.2`` | the residual stream after layer 2; 0: before all layers | ``[batch, length, d_model]`` |
| ``tokens.encoder`` | embeddings of the tokens, without positions | ``[batch, length, d_model]`` |
| ``logits`` | | ``[batch, tgt, vocabulary]`` |
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from seqrev.config import ModelConfig
from seqrev.errors import UsageError, command_line
from seqrev.interpret.attention_kinds import ATTENTION_NAMES, Kind
from seqrev.model.transformer import Transformer
from seqrev.system.text import shorten

Cache = Mapping[str, Tensor]
Intervention = Callable[[Tensor, Cache], Tensor]
Index = tuple[Any, ...]


class Point(NamedTuple):
    """Where a value is."""

    module: str
    """Its name in the model."""
    part: Index = (...,)
    """Which part of the module's output is meant."""
    of_input: bool = False
    """Of its first input instead."""

    def hook(self, model: nn.Module, change: Callable[[Tensor], Tensor]) -> RemovableHandle:
        """Call ``change`` with the value in every pass, and put what it returns, if it is another tensor, in its place."""
        module = model.get_submodule(self.module)
        if self.of_input:
            return module.register_forward_pre_hook(lambda _, inputs: (self._changed(inputs[0], change), *inputs[1:]))
        return module.register_forward_hook(lambda _module, _inputs, output: self._changed(output, change))

    def _changed(self, whole: Any, change: Callable[[Tensor], Tensor]) -> Any:
        if not isinstance(whole, Tensor):  # a layer returns its states with its weights
            return whole._replace(states=self._changed(whole.states, change))
        value = whole[self.part]
        new = change(value)
        if new is value:
            return whole
        whole = whole.clone()  # others may hold it: a residual stream has many readers
        whole[self.part] = new
        return whole


def layers_of(config: ModelConfig, kind: Kind) -> int:
    """How many layers have a kind of attention."""
    return config.encoder_layers if kind == "encoder" else config.decoder_layers


def head_points(config: ModelConfig, kind: Kind) -> list[str]:
    """The points of all heads of a kind, layer after layer."""
    numbers = range(1, config.heads + 1)
    return [f"{kind}.{layer}.{head}" for layer in range(1, layers_of(config, kind) + 1) for head in numbers]


def residual_points(config: ModelConfig, stack: str) -> list[str]:
    """The points of the residual stream of ``encoder`` or ``decoder``, from before the first layer to after the last."""
    layers = config.encoder_layers if stack == "encoder" else config.decoder_layers
    return [f"residual.{stack}.{layer}" for layer in range(layers + 1)]


def points(config: ModelConfig) -> dict[str, Point]:
    """Every point of a model by its name.

    >>> points(ModelConfig())["cross.2.1"]
    Point(module='decoder.layers.1.cross_attention.out_proj', part=(Ellipsis, slice(0, 16, None)), of_input=True)
    """
    found = {"logits": Point("output")}
    width = config.d_model // config.heads
    for kind in ATTENTION_NAMES:
        stack, block = "encoder" if kind == "encoder" else "decoder", "cross" if kind == "cross" else "self"
        for layer in range(layers_of(config, kind)):
            path = f"{stack}.layers.{layer}.{block}_attention"
            found[f"{kind}.{layer + 1}"] = Point(f"{path}_dropout")
            for head in range(config.heads):
                name, own = f"{kind}.{layer + 1}.{head + 1}", (..., slice(width * head, width * (head + 1)))
                found[name] = Point(f"{path}.out_proj", own, of_input=True)
                found |= {f"{name}.{what}": Point(f"{path}.{what[0]}_proj", own) for what in ("query", "key", "value")}
                found[f"{name}.weights"] = Point(f"{path}.softmax", (slice(None), head))
    for stack, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        found[f"tokens.{stack}"] = Point(f"{stack}.embedding.tokens")
        found[f"residual.{stack}.0"] = Point(f"{stack}.embedding")
        for layer in range(layers):
            found[f"residual.{stack}.{layer + 1}"] = Point(f"{stack}.layers.{layer}")
            found[f"feed_forward.{stack}.{layer + 1}"] = Point(f"{stack}.layers.{layer}.feed_forward_dropout")
    return found


def check_points(config: ModelConfig, names: Collection[str]) -> None:
    """Raise ``UsageError`` for a name that is no point of a model, naming those that are most like it."""
    known = points(config)
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, 3, cutoff=0.5) or ["cross.1", "cross.1.1", "residual.decoder.1"]
            heads = f"{config.encoder_layers} + {config.decoder_layers} layers of {config.heads} heads"
            raise UsageError(
                f"{shorten(name)} is no point of this model, which has {heads}; {', '.join(near)} are some.",
                command_line("attention", "--ablate", near[0]),
            )


@contextmanager
def intervene(model: Transformer, interventions: Mapping[str, Intervention], cache: Cache | None = None) -> Iterator[None]:
    """In every pass inside of ``with``, what is at these points is what the functions return.

    ``cache`` is what the functions are given beside the value: that of another pass, in most cases. Where several
    interventions are on at one point, each is given what the one before it returned.

    Raises:
        UsageError: there is no such point.
    """
    check_points(model.config, interventions)
    known, others = points(model.config), cache or {}
    with ExitStack() as stack:
        for name, function in interventions.items():

            def change(value: Tensor, function: Intervention = function) -> Tensor:
                return function(value, others)

            stack.callback(known[name].hook(model, change).remove)
        yield


def from_cache(name: str) -> Intervention:
    """The intervention that puts there what the cache has at a point."""
    return lambda _value, cache: cache[name]


@torch.no_grad()
def record(model: Transformer, source: Tensor, target: Tensor, names: Collection[str]) -> dict[str, Tensor]:
    """One pass, teacher-forced, and the values at some points in it.

    Args:
        source: ids with ``<BOS>`` and ``<EOS>``, padded at the end, ``[batch, src]``.
        target: ids from ``<BOS>`` on, ``[batch, tgt]``.
        names: of the points.

    Raises:
        UsageError: there is no such point.
    """
    taken: dict[str, Tensor] = {}

    def take(name: str) -> Intervention:
        def function(value: Tensor, _cache: Cache) -> Tensor:
            taken[name] = value
            return value

        return function

    with intervene(model, {name: take(name) for name in names}):
        model(source, target)
    return taken
