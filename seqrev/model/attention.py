"""Scaled dot-product attention, and several heads of it.

Source: Vaswani et al., "Attention Is All You Need" (2017), sections 3.2.1 and 3.2.2.
"""

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqrev.model.cache import KeyValueCache
from seqrev.model.positions import NO_POSITIONS, PositionInputs, ScoreBias, apply_rotary
from seqrev.model.randomness import Dropout, current_generator, drop

FUSED_DEVICES = {"cuda"}  # where the fused kernel is always the faster one
FUSED_SCORES = 65_536  # scores of a head from which it is on a CPU, too: 256 queries and as many keys
SCORES_AT_ONCE = 8_388_608  # scores that are in memory together where no gradient needs them
SHORT_ROW = 16  # keys; PyTorch's CPU softmax is up to ten times slower on fewer than on exactly so many
FEW_SCORES = 256  # of which that does not matter


class AttentionOutput(NamedTuple):
    """What attention returns."""

    states: Tensor
    """``[batch, tgt, d_model]``"""
    weights: Tensor | None
    """Before dropout, ``[batch, head, tgt, src]``; None where they were not asked for."""


def attention_scores(
    query: Tensor, key: Tensor, bias: Tensor | None = None, noise: Tensor | None = None, addresses: int = 1
) -> Tensor:
    """How well each query fits each key: ``Q Kᵀ / √d_head`` (equation 1, inside the softmax), ``[batch, head, tgt, src]``.

    With several ``addresses``, each key can be found by any of them: its score is ``log Σ exp`` of the scores of its
    addresses, each over the root of its own width. That is the same as one softmax over all addresses of all keys, in which
    those of a key share its value.

    Args:
        query: ``[batch, head · address, tgt, d_head / addresses]``; the addresses of a head are side by side.
        key: ``[batch, head · address, src, d_head / addresses]``.
        bias: added to the scores, to which it broadcasts.
        noise: standard deviation of Gaussian noise that is added to the scores, a number.
        addresses: of each key.
    """
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)
    if addresses > 1:
        by_address = scores.view(len(scores), -1, addresses, *scores.shape[2:]).unbind(dim=2)
        scores = functools.reduce(torch.logaddexp, by_address)
    if bias is not None:
        scores = scores + bias
    if noise is not None:
        scores = scores + noise * torch.empty_like(scores).normal_(generator=current_generator())
    return scores


def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax over the keys that may be seen, ``[batch, head, tgt, src]`` to the same shape; every row sums to one.

    ``mask``: boolean, True = may attend, broadcasts to the scores; None: everything may be seen. A masked key has a weight
    of exactly zero. (A query that may see no key at all gets equal weights, not NaN.)
    """
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    missing = SHORT_ROW - scores.shape[-1]
    if missing <= 0 or scores.device.type != "cpu" or scores.numel() < FEW_SCORES:
        return scores.softmax(dim=-1)
    # Short rows are padded: the kernel would take them number by number.
    return functional.pad(scores, (0, missing), value=-math.inf).softmax(dim=-1)[..., :-missing]


def attention_weights(
    query: Tensor, key: Tensor, mask: Tensor | None = None, bias: Tensor | None = None, addresses: int = 1
) -> Tensor:
    """How much each query attends to each key: ``softmax(Q Kᵀ / √d_head)`` (equation 1), ``[batch, head, tgt, src]``."""
    return masked_softmax(attention_scores(query, key, bias, addresses=addresses), mask)


def plain_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    dropout: float = 0.0,
    addresses: int = 1,
) -> Tensor:
    """The values, ``[batch, head, src, d_head]``, weighted by ``attention_weights``, with ``dropout`` on the weights."""
    return drop(attention_weights(query, key, mask, bias, addresses), dropout).to(value.dtype) @ value


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, bias: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """``plain_attention`` in one kernel, with the weights never in memory (FlashAttention, Dao et al. 2022).

    Every query must see at least one key.
    """
    if bias is not None:
        bias = bias.to(query)
        mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)


class MaskedSoftmax(nn.Module):
    """``masked_softmax`` as a module: a hook sees, and may change, the scores (its input) and the weights (its output)."""

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        """``[batch, head, tgt, src]`` to the same shape."""
        return masked_softmax(scores, mask)


class MultiHeadAttention(nn.Module):
    """``heads`` attentions side by side, each in its own ``d_model / heads`` dimensions (section 3.2.2).

    Self-attention and cross-attention are this one module: the states that attend (``states``) and those attended to
    (``context``) are arguments.

    ``noise_scale``, from 0 to 1, multiplies the noise: it may grow during training (``train.noise_warmup_steps``).

    Every part is a module that a hook reaches (docs/hooks.md). Where a hook on ``softmax`` or ``dropout`` wants the
    weights, they are computed, however long the sequence.
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        dropout: float = 0.0,
        query_dropout: float = 0.0,
        noise: float = 0.0,
        addresses: int = 1,
    ) -> None:
        """``dropout`` on the weights, ``query_dropout``, and ``noise`` on the scores act only in training.

        With several ``addresses``, queries and keys have a part for each of them (``attention_scores``).

        Noise makes attention crisp: a choice that must survive it needs scores that are far apart, and then all of the
        weight is in one place (binary codes are learned in the same way: Salakhutdinov and Hinton, "Semantic Hashing",
        2009). Dropout on the weights asks for less: it is also survived by attending to several copies.

        A score is a sum over the features of the query. Dropout on them punishes the sum of their squared shares (as
        dropout on the inputs of a linear model does: Wager et al., "Dropout Training as Adaptive Regularization", 2013),
        so that no few of them, with rotary positions no few frequencies, decide it.

        Raises:
            ValueError: the heads cannot share ``d_model`` equally, or the addresses what a head has of it.
        """
        super().__init__()
        if d_model % (heads * addresses):
            each = "" if addresses == 1 else f" of {addresses} addresses"
            raise ValueError(f"d_model is {d_model}, which {heads} heads{each} cannot share equally")
        self.heads = heads
        self.addresses = addresses
        self.noise = noise
        self.noise_scale: Tensor | None
        self.register_buffer("noise_scale", torch.ones(()) if noise else None, persistent=False)
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.query_dropout = Dropout(query_dropout)
        self.softmax = MaskedSoftmax()
        self.dropout = Dropout(dropout)
        self.out_proj = nn.Linear(d_model, d_model)

    def forward(
        self,
        states: Tensor,
        context: Tensor | None,
        mask: Tensor | None = None,
        positions: PositionInputs = NO_POSITIONS,
        cache: KeyValueCache | None = None,
        need_weights: bool = False,
    ) -> AttentionOutput:
        """Let every position of ``states`` attend to the positions of ``context``.

        Args:
            states: that give the queries, ``[batch, tgt, d_model]``.
            context: that gives the keys and values, ``[batch, src, d_model]``; None: what is in the cache, nothing new.
            mask: as in ``masked_softmax``.
            positions: where both of them are.
            cache: keys and values of the context so far; those of ``context`` are added.

        Raises:
            ValueError: there is neither a context nor anything in the cache.
        """
        query = self._split(self.q_proj(states), self.heads * self.addresses)
        if positions.query_rotation is not None:
            query = apply_rotary(query, positions.query_rotation)
        if positions.query_scale is not None:
            query = (query * positions.query_scale).to(query.dtype)
        query = self.query_dropout(query)
        if context is not None:
            key = self._split(self.k_proj(context), self.heads * self.addresses)
            value = self._split(self.v_proj(context), self.heads)
            if positions.key_rotation is not None:
                key = apply_rotary(key, positions.key_rotation)
            if cache is not None:
                key, value = cache.append(key, value)
        elif cache is not None:
            key, value = cache.all()
        else:
            raise ValueError("there is nothing to attend to: neither a context nor a cache")
        found, weights = self._attend(query, key, value, mask, positions.bias, need_weights)
        return AttentionOutput(self.out_proj(found.transpose(1, 2).flatten(2)), weights if need_weights else None)

    def _split(self, states: Tensor, parts: int) -> Tensor:
        """``[batch, length, d_model]`` to ``[batch, part, length, d_model / parts]``."""
        return states.view(*states.shape[:2], parts, -1).transpose(1, 2)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bias: ScoreBias | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """What each head finds, ``[batch, head, tgt, d_head]``, and the weights, if somebody wants them."""
        noise = self.noise * self.noise_scale if self.training and self.noise_scale is not None else None
        dropout = self.dropout.p if self.training else 0.0
        rows, keys = query.shape[2], key.shape[2]
        explicit = need_weights or noise is not None or has_hooks(self.softmax) or has_hooks(self.dropout)
        explicit = explicit or (dropout > 0 and current_generator() is not None)  # from which the kernel cannot draw
        worth_it = query.device.type in FUSED_DEVICES or (rows > 1 and rows * keys >= FUSED_SCORES)
        fused = worth_it and not explicit and self.addresses == 1  # more than one the kernel does not know
        block = rows
        if not (explicit or torch.is_grad_enabled() or (fused and bias is None)):
            block = max(1, SCORES_AT_ONCE // (query.shape[0] * query.shape[1] * keys))
        if block < rows:
            attend = fused_attention if fused else functools.partial(plain_attention, addresses=self.addresses)
            found = []
            for some in (slice(start, start + block) for start in range(0, rows, block)):
                some_mask = mask if mask is None or mask.shape[-2] == 1 else mask[..., some, :]
                some_bias = None if bias is None else bias.rows(some)
                found.append(attend(query[:, :, some], key, value, some_mask, some_bias, dropout))
            return torch.cat(found, dim=2), None
        whole_bias = None if bias is None else bias.whole
        if fused:
            return fused_attention(query, key, value, mask, whole_bias, dropout), None
        weights = self.softmax(attention_scores(query, key, whole_bias, noise, self.addresses), mask)
        return self.dropout(weights).to(value.dtype) @ value, weights


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody watches a module."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks)
