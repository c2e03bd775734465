"""Other pictures of where an answer comes from than the attention weights; each of them is ``[…, tgt, src]``.

What they show is computed from one run. Whether they show causes is measured against what really happens when a symbol is
changed (``seqrev.interpret.influence``).
"""

import functools

import torch
from torch import Tensor

from seqrev.interpret.interventions import Cache, intervene, record
from seqrev.model.transformer import Transformer
from seqrev.task import FIRST_SYMBOL


@torch.no_grad()
def value_weighted(model: Transformer, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Length of what each position adds to the residual stream in the cross-attention: weight × value × ``out_proj``.

    A large weight on a value near zero has no effect (Kobayashi et al., "Attention is Not Only a Weight", 2020). ``source``
    and ``target``: ids, ``[batch, src]`` and ``[batch, tgt]``.

    Returns:
        Of each head, ``[layer, batch, head, tgt, src]``, and of the sum of all heads, ``[layer, batch, tgt, src]``.
    """
    config = model.config
    heads = range(1, config.heads + 1)
    names = [f"cross.{layer}.{head}" for layer in range(1, config.decoder_layers + 1) for head in heads]
    found = record(model, source, target, [f"{name}.{what}" for name in names for what in ("value", "weights")])
    of_heads, of_layers = [], []
    for layer, part in enumerate(model.decoder.layers, start=1):
        columns = torch.split(part.cross_attention.out_proj.weight, config.d_model // config.heads, dim=1)
        total = torch.zeros((), device=source.device)
        lengths = []
        for head, column in zip(heads, columns, strict=True):
            weights, value = (found[f"cross.{layer}.{head}.{what}"] for what in ("weights", "value"))
            added = weights[..., None] * (value @ column.T)[:, None]  # [batch, tgt, src, d_model]
            lengths.append(added.norm(dim=-1))
            total = total + added
        of_heads.append(torch.stack(lengths, dim=1))
        of_layers.append(total.norm(dim=-1))
    return torch.stack(of_heads), torch.stack(of_layers)


def rollout(layers: tuple[Tensor, ...]) -> Tensor:
    """How much of each token is at each position after some layers of self-attention, ``[batch, src, src]``.

    A position keeps half of what it has, and takes half from where it attends, in the mean over the heads (Abnar and
    Zuidema, "Quantifying Attention Flow in Transformers", 2020). ``layers``: their weights, ``[batch, head, src, src]``.
    """
    steps = [
        (weights.mean(dim=1) + torch.eye(weights.shape[-1], device=weights.device).to(weights)) / 2 for weights in layers
    ]
    return functools.reduce(lambda before, step: step @ before, steps)


def gradient_times_input(model: Transformer, source: Tensor, target: Tensor, emitted: Tensor) -> Tensor:
    """How much of each emitted token's logit is due to each source symbol, to first order, ``[batch, tgt, src]``.

    The gradient of the logit by the embedding of a symbol, times the difference of this embedding to the mean of the other
    symbols: what a small step towards another symbol would do, drawn out to the whole way. (Plain gradient × input draws it
    out to zero, where no symbol is; a norm, which does not see how large its input is, then hides what is there.)

    Args:
        source: ids, ``[batch, src]``.
        target: ids, ``[batch, tgt]``.
        emitted: ids, whose logits are meant, ``[batch, tgt]``.
    """
    batch, steps = emitted.shape
    rows = torch.arange(batch, device=source.device).repeat_interleave(steps)  # a row for each step, so one backward pass
    step = torch.arange(steps, device=source.device).repeat(batch)
    leaves: list[Tensor] = []

    def leaf(value: Tensor, _cache: Cache) -> Tensor:
        leaves.append(value.detach().requires_grad_())
        return leaves[0]

    with torch.enable_grad(), intervene(model, {"tokens.encoder": leaf}):
        logits = model(source[rows], target[rows])
        chosen = logits[torch.arange(len(rows), device=source.device), step, emitted.flatten()]
        (gradient,) = torch.autograd.grad(chosen.sum(), leaves)
    symbols = model.encoder.embedding.tokens.weight[FIRST_SYMBOL:].detach()
    count = max(1, len(symbols) - 1)
    embedded = leaves[0].detach()
    others = (symbols.sum(dim=0) - embedded) / count
    return (gradient * (embedded - others)).sum(dim=-1).view(batch, steps, -1)
