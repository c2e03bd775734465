"""Reading the residual stream of the decoder: what would be emitted at each layer, and which part says so.

Every block adds to the residual stream, and the logits are a norm and a matrix of their sum. So the stream can be read at
every layer as if it were the last one (nostalgebraist, "interpreting GPT: the logit lens", 2020); and, with the scale of
that last norm as it is, each logit is a sum of what each head and block gave to it (Elhage et al., "A Mathematical
Framework for Transformer Circuits", 2021).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqrev.interpret.attention import Attention
from seqrev.interpret.interventions import from_cache, intervene, record, residual_points
from seqrev.model.tensors import to_array
from seqrev.model.transformer import Transformer
from seqrev.task import FIRST_SYMBOL, add_special_tokens

Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ResidualReading:
    """What is in the residual stream while one sequence is answered."""

    seen: Attention
    emitted: list[int]
    """Ids of the emitted tokens, ``[tgt]``."""
    lens: Numbers
    """Probabilities of all tokens if the stream were read there, ``[1 + layer, tgt, vocabulary]``; 0: before layer 1."""
    parts: list[str]
    """What adds to the logits: points, ``bias.…`` of their ``out_proj``, and ``bias``, that of the last norm and matrix."""
    attribution: Numbers
    """What each part adds to the logits, ``[part, tgt, vocabulary]``; the sum over the parts is the logits."""

    def of_emitted(self, against: int | None = None) -> Numbers:
        """What each part adds to the logit of the token that is emitted, ``[part, tgt]``.

        Less what it adds to that of another one, ``against`` (an id), or, None, to the mean over all tokens: what is
        added to all logits alike changes no probability.
        """
        steps = np.arange(len(self.emitted))
        other = self.attribution.mean(axis=-1) if against is None else self.attribution[..., against]
        difference: Numbers = self.attribution[:, steps, self.emitted] - other
        return difference

    def most_probable(self) -> list[list[tuple[str, float]]]:
        """The token that would be emitted at each layer and step, and its probability."""
        best = self.lens.argmax(axis=-1)
        return [
            [(_name(int(token)), float(row[step, token])) for step, token in enumerate(tokens)]
            for row, tokens in zip(self.lens, best, strict=True)
        ]


def _name(token: int) -> str:
    return str(token - FIRST_SYMBOL) if token >= FIRST_SYMBOL else ("<PAD>", "<BOS>", "<EOS>")[token]


@torch.no_grad()
def read_residual(model: Transformer, seen: Attention) -> ResidualReading:
    """Read the stream at every layer, and attribute every logit."""
    source = torch.from_numpy(add_special_tokens(np.array([seen.source]))).to(model.device)
    answer = torch.from_numpy(add_special_tokens(np.array([seen.answer.output], dtype=np.int64))).to(model.device)
    steps = len(seen.emitted_tokens)
    target = answer[:, :steps]
    emitted = answer[0, 1:].tolist()[:steps]
    attribution = attribute_logits(model, source, target)
    values = np.stack([to_array(value[0]) for value in attribution.values()])
    return ResidualReading(seen, emitted, to_array(logit_lens(model, source, target)[:, 0]), list(attribution), values)


@torch.no_grad()
def logit_lens(model: Transformer, source: Tensor, target: Tensor) -> Tensor:
    """Probabilities if each layer of the decoder were the last one, ``[1 + layer, batch, tgt, vocabulary]``.

    An intervention: the stream at a layer is put in the place of that at the last one. ``source`` and ``target``: ids,
    ``[batch, src]`` and ``[batch, tgt]``.
    """
    names = residual_points(model.config, "decoder")
    cache = record(model, source, target, names)
    found = []
    for name in names:
        with intervene(model, {names[-1]: from_cache(name)}, cache):
            found.append(model(source, target).softmax(-1))
    return torch.stack(found)


@torch.no_grad()
def attribute_logits(model: Transformer, source: Tensor, target: Tensor) -> dict[str, Tensor]:
    """What each part of the decoder adds to the logits, ``[batch, tgt, vocabulary]``; together they are the logits.

    Each head of both attentions, each feed-forward block, and what the stream begins with (``residual.decoder.0``).
    """
    config = model.config
    layers = range(1, config.decoder_layers + 1)
    heads = {
        (kind, layer): [f"{kind}.{layer}.{head}" for head in range(1, config.heads + 1)]
        for layer in layers
        for kind in ("decoder", "cross")
    }
    whole = ["residual.decoder.0", *(f"feed_forward.decoder.{layer}" for layer in layers)]
    last = f"residual.decoder.{config.decoder_layers}"
    cache = record(model, source, target, [last, *whole, *(name for names in heads.values() for name in names)])
    parts = {name: cache[name] for name in whole[:1]}
    for layer, block in enumerate(model.decoder.layers, start=1):
        for kind, attention in (("decoder", block.self_attention), ("cross", block.cross_attention)):
            names = heads[kind, layer]
            columns = torch.split(attention.out_proj.weight, config.d_model // config.heads, dim=1)
            parts |= {name: cache[name] @ column.T for name, column in zip(names, columns, strict=True)}
            parts[f"bias.{kind}.{layer}"] = attention.out_proj.bias.expand_as(cache[last])
        parts[f"feed_forward.decoder.{layer}"] = cache[f"feed_forward.decoder.{layer}"]
    norm = model.decoder.norm
    stream = cache[last]
    scale = norm.weight / (stream.var(dim=-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    matrix = model.output.weight / (math.sqrt(config.d_model) if config.tie_embeddings else 1.0)
    logits = {name: ((part - part.mean(dim=-1, keepdim=True)) * scale) @ matrix.T for name, part in parts.items()}
    logits["bias"] = (norm.bias @ matrix.T + model.output.bias).expand_as(next(iter(logits.values())))
    return logits
