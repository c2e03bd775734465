"""Scaled dot-product attention, several heads of it, and the cache that makes decoding cheap.

Source: Vaswani et al., "Attention Is All You Need" (2017), sections 3.2.1 and 3.2.2.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from seqrev.model.positions import NOWHERE, Places, turn

FUSED_DEVICES = {"cuda"}  # where the fused kernel is always the faster one

MANY = 65_536  # scores of a head from which it is on a CPU too: 256 queries and as many keys

SHORT = 16  # keys; PyTorch's CPU softmax is ten times slower on fewer than on exactly so many


def attention_weights(
    query: Tensor, key: Tensor, mask: Tensor | None = None, noise: float = 0.0, bias: Tensor | None = None
) -> Tensor:
    """How strongly each query looks at each key: ``softmax(Q Kᵀ / √d_head)`` (equation 1).

    Args:
        query: ``[batch, head, tgt, d_head]``.
        key: ``[batch, head, src, d_head]``.
        mask: boolean, True = may attend, broadcasts to ``[batch, head, tgt, src]``; None: everything may be seen.
        noise: standard deviation of Gaussian noise that is added to the scores.
        bias: added to the scores, broadcasts to ``[batch, head, tgt, src]``.

    Returns:
        ``[batch, head, tgt, src]``; every row sums to one. A masked key has a weight of exactly zero. (A query that may
        see no key at all gets equal weights, not NaN.)
    """
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    if noise:
        scores = scores + noise * torch.randn_like(scores)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return _softmax(scores)


def _softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis; on a CPU short rows are padded, because the kernel takes them number by number."""
    missing = SHORT - scores.shape[-1]
    if missing <= 0 or scores.device.type != "cpu":
        return scores.softmax(dim=-1)
    return functional.pad(scores, (0, missing), value=-math.inf).softmax(dim=-1)[..., :-missing]


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0, bias: Tensor | None = None
) -> Tensor:
    """The values mixed by ``attention_weights``, which are never in memory: one kernel (FlashAttention, Dao et al. 2022).

    Args:
        query: ``[batch, head, tgt, d_head]``.
        key: ``[batch, head, src, d_head]``.
        value: ``[batch, head, src, d_head]``.
        mask: boolean, True = may attend, broadcasts to ``[batch, head, tgt, src]``; every query sees at least one key.
        dropout: on the weights.
        bias: added to the scores, broadcasts to ``[batch, head, tgt, src]``.

    Returns:
        ``[batch, head, tgt, d_head]``.
    """
    if bias is not None:
        bias = bias.to(query)
        mask = bias if mask is None else bias.masked_fill(~mask, -math.inf)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)


class KeyValueCache:
    """Keys and values of the positions that were already seen, in buffers that double when full.

    Doubling keeps the memory linear and the copying amortised: each new position costs one write.
    """

    def __init__(self, one_query: bool = True) -> None:
        """``one_query``: made for one query at a time. On a CPU the numbers of one feature then lie side by side, ``[batch,
        head, d_head, room]``: the products of a single query with many keys, and of its weights with the values, run
        along the memory. Fused attention, which is for many queries, wants those of one position side by side.
        """
        self._by_feature = one_query
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self.length = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add new positions ``[batch, head, new, d_head]``; returns all so far, ``[batch, head, length, d_head]``."""
        end = self.length + key.shape[2]
        self._keys = self._room(self._keys, key, end)
        self._values = self._room(self._values, value, end)
        self._keys[:, :, self.length : end] = key
        self._values[:, :, self.length : end] = value
        self.length = end
        return self.all()

    def _room(self, buffer: Tensor | None, new: Tensor, end: int) -> Tensor:
        if buffer is not None and buffer.shape[2] >= end:
            return buffer
        batch, head, _, d_head = new.shape
        room = max(16, end) if buffer is None else max(2 * buffer.shape[2], end)
        if self._by_feature and new.device.type == "cpu":
            grown = new.new_empty(batch, head, d_head, room).transpose(-2, -1)
        else:
            grown = new.new_empty(batch, head, room, d_head)
        if buffer is not None:
            grown[:, :, : self.length] = buffer[:, :, : self.length]
        return grown

    def all(self) -> tuple[Tensor, Tensor]:
        """Keys and values so far, ``[batch, head, length, d_head]`` each.

        Raises:
            ValueError: nothing was appended yet.
        """
        if self._keys is None or self._values is None:
            raise ValueError("the cache is empty")
        return self._keys[:, :, : self.length], self._values[:, :, : self.length]

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order (``rows``: integer indices, repeats allowed)."""
        if self._keys is not None and self._values is not None:
            self._keys, self._values = self._keys[rows], self._values[rows]


class MultiHeadAttention(nn.Module):
    """``heads`` attentions side by side, each in its own ``d_model / heads`` dimensions (section 3.2.2).

    Self-attention and cross-attention are this one module: who looks (``states``) and who is looked at (``keys_of``)
    are arguments.
    """

    def __init__(
        self, d_model: int, heads: int, dropout: float = 0.0, query_dropout: float = 0.0, noise: float = 0.0
    ) -> None:
        """``dropout`` on the weights, ``query_dropout`` and ``noise`` on the scores act only in training.

        Noise makes attention crisp: a choice that must survive it needs scores that are far apart, and then all of the
        weight is in one place (binary codes are learned in the same way: Salakhutdinov and Hinton, "Semantic Hashing",
        2009). Dropout on the weights asks for less: it is also survived by looking at several copies.

        A score is a sum over the features of the query. Dropout on them punishes the sum of their squared shares (as
        dropout on the inputs of a linear model does: Wager et al., "Dropout Training as Adaptive Regularization", 2013),
        so that no few of them, with rotary positions no few frequencies, decide it.
        """
        super().__init__()
        self.heads, self.noise = heads, noise
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)
        self.query_dropout = nn.Dropout(query_dropout)

    def forward(
        self,
        states: Tensor,
        keys_of: Tensor,
        mask: Tensor | None = None,
        places: Places = NOWHERE,
        with_weights: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Mix the values of ``keys_of`` for every position of ``states``.

        Args:
            states: those who look, ``[batch, tgt, d_model]``.
            keys_of: those looked at, ``[batch, src, d_model]``.
            mask: boolean, True = may attend, broadcasts to ``[batch, head, tgt, src]``.
            places: where they stand.
            with_weights: whether the weights are asked for.

        Returns:
            The mixed values ``[batch, tgt, d_model]``, and the weights ``[batch, head, tgt, src]`` before dropout (where
            they were not asked for they may be empty).
        """
        if states is keys_of:
            query, key, value = self.queries_keys_values(states, places)
        else:
            query, (key, value) = self.queries(states, places), self.keys_and_values(keys_of, places)
        return self.mix(query, key, value, mask, places.bias, with_weights)

    def queries_keys_values(self, states: Tensor, places: Places = NOWHERE) -> tuple[Tensor, Tensor, Tensor]:
        """All three of self-attention, ``[batch, length, d_model]`` to ``[batch, head, length, d_head]`` each."""
        query, key, value = self._project(states, self.q_proj, self.k_proj, self.v_proj)
        return self._place_queries(query, places), self._place_keys(key, places), value

    def queries(self, states: Tensor, places: Places = NOWHERE) -> Tensor:
        """``[batch, tgt, d_model]`` to ``[batch, head, tgt, d_head]``, turned and scaled as their places ask."""
        (query,) = self._project(states, self.q_proj)
        return self._place_queries(query, places)

    def keys_and_values(self, states: Tensor, places: Places = NOWHERE) -> tuple[Tensor, Tensor]:
        """``[batch, src, d_model]`` to two of ``[batch, head, src, d_head]``, the keys turned as their places ask."""
        key, value = self._project(states, self.k_proj, self.v_proj)
        return self._place_keys(key, places), value

    def mix(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        bias: Tensor | None = None,
        with_weights: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Attention over keys and values that are already split into heads; the part that a cache leaves to do."""
        noise = self.noise if self.training else 0.0
        query = self.query_dropout(query)
        fused = query.device.type in FUSED_DEVICES or (query.shape[2] > 1 and query.shape[2] * key.shape[2] >= MANY)
        if fused and not with_weights and not noise:
            weights = query.new_empty(0)
            mixed = fused_attention(query, key, value, mask, self.dropout.p if self.training else 0.0, bias)
        else:
            weights = attention_weights(query, key, mask, noise, bias)
            mixed = self.dropout(weights) @ value
        return self.out_proj(mixed.transpose(1, 2).flatten(2)), weights

    def _project(self, states: Tensor, *projections: nn.Linear) -> tuple[Tensor, ...]:
        """Several projections in one matrix product, each split into heads: ``[batch, head, length, d_head]``."""
        weight = torch.cat([projection.weight for projection in projections])
        bias = torch.cat([projection.bias for projection in projections])
        joint = functional.linear(states, weight, bias).view(*states.shape[:2], len(projections), self.heads, -1)
        split: tuple[Tensor, ...] = joint.permute(2, 0, 3, 1, 4).contiguous().unbind(0)  # one copy, instead of one each
        return split

    @staticmethod
    def _place_queries(query: Tensor, places: Places) -> Tensor:
        if places.query_angles is not None:
            query = turn(query, places.query_angles)
        return query if places.query_scale is None else query * places.query_scale

    @staticmethod
    def _place_keys(key: Tensor, places: Places) -> Tensor:
        return key if places.key_angles is None else turn(key, places.key_angles)
