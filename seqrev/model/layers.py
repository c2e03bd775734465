"""Encoder and decoder layers, pre-norm: every block normalises its input and adds its output to the residual stream.

Pre-norm ("On Layer Normalization in the Transformer Architecture", Xiong et al. 2020) trains at once at a high learning
rate, where the post-norm layers of the original paper need a long warm-up.
"""

from torch import Tensor, nn

from seqrev.model.attention import KeyValueCache, MultiHeadAttention
from seqrev.model.positions import NOWHERE, Places


class FeedForward(nn.Sequential):
    """``max(0, x W₁ + b₁) W₂ + b₂``, each position for itself ("Attention Is All You Need", equation 2)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__(nn.Linear(d_model, d_ff), nn.ReLU(), nn.Linear(d_ff, d_model))


class EncoderLayer(nn.Module):
    """Every source position looks at the whole source, then thinks for itself."""

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_ff: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        self_query_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads, attention_dropout, self_query_dropout)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.self_attention_norm = nn.LayerNorm(d_model)
        self.feed_forward_norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, states: Tensor, mask: Tensor | None = None, places: Places = NOWHERE, with_weights: bool = True
    ) -> tuple[Tensor, Tensor]:
        """``states``: ``[batch, src, d_model]``; ``mask``: which source positions are real, ``[batch, 1, 1, src]``.

        Returns:
            New states of the same shape, and the weights ``[batch, head, src, src]``, if asked for.
        """
        normed = self.self_attention_norm(states)
        mixed, weights = self.self_attention(normed, normed, mask, places, with_weights)
        return self._finish(states, mixed), weights

    def keys_and_values(self, states: Tensor, places: Places = NOWHERE) -> tuple[Tensor, Tensor]:
        """What the whole source, ``[batch, src, d_model]``, offers: two of ``[batch, head, src, d_head]``."""
        return self.self_attention.keys_and_values(self.self_attention_norm(states), places)

    def look(
        self, states: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, places: Places = NOWHERE
    ) -> Tensor:
        """New states for some positions, ``[batch, some, d_model]``, that look at the keys and values of all."""
        query = self.self_attention.queries(self.self_attention_norm(states), places)
        mixed, _ = self.self_attention.mix(query, key, value, mask, places.bias, with_weights=False)
        return self._finish(states, mixed)

    def _finish(self, states: Tensor, mixed: Tensor) -> Tensor:
        states = states + self.dropout(mixed)
        thought: Tensor = self.dropout(self.feed_forward(self.feed_forward_norm(states)))
        return states + thought


class LayerCache:
    """What one decoder layer remembers while decoding: keys and values of the target so far, and of the source."""

    def __init__(self, one_query: bool = True) -> None:
        """``one_query``: see ``KeyValueCache``."""
        self.target = KeyValueCache(one_query)
        self.source = KeyValueCache(one_query)

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order."""
        self.target.select(rows)
        self.source.select(rows)


class DecoderLayer(nn.Module):
    """Every target position looks at the target before it, then at the whole source, then thinks for itself."""

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_ff: int,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        self_query_dropout: float = 0.0,
        query_dropout: float = 0.0,
        attention_noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads, attention_dropout, self_query_dropout)
        self.cross_attention = MultiHeadAttention(d_model, heads, attention_dropout, query_dropout, attention_noise)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.self_attention_norm = nn.LayerNorm(d_model)
        self.cross_attention_norm = nn.LayerNorm(d_model)
        self.feed_forward_norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        states: Tensor,
        memory: Tensor,
        causal_mask: Tensor | None = None,
        source_mask: Tensor | None = None,
        cache: LayerCache | None = None,
        target_places: Places = NOWHERE,
        source_places: Places = NOWHERE,
        with_weights: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Args:
            states: target positions, ``[batch, tgt, d_model]``; with a cache only the new ones.
            memory: the encoded source, ``[batch, src, d_model]``.
            causal_mask: ``[1, 1, tgt, tgt so far]``.
            source_mask: ``[batch, 1, 1, src]``.
            cache: remembers keys and values; None: nothing was seen before.
            target_places: where queries and keys of the self-attention stand; the keys that are new.
            source_places: the same of the cross-attention.
            with_weights: whether the weights are asked for; else they may be empty.

        Returns:
            New states ``[batch, tgt, d_model]``, the self-attention weights ``[batch, head, tgt, tgt so far]`` and the
            cross-attention weights ``[batch, head, tgt, src]``.
        """
        normed = self.self_attention_norm(states)
        query, key, value = self.self_attention.queries_keys_values(normed, target_places)
        if cache is not None:
            key, value = cache.target.append(key, value)
        mixed, self_weights = self.self_attention.mix(query, key, value, causal_mask, target_places.bias, with_weights)
        states = states + self.dropout(mixed)

        if cache is None or not cache.source.length:
            key, value = self.cross_attention.keys_and_values(memory, source_places)
            if cache is not None:
                cache.source.append(key, value)
        else:
            key, value = cache.source.all()
        query = self.cross_attention.queries(self.cross_attention_norm(states), source_places)
        mixed, cross_weights = self.cross_attention.mix(query, key, value, source_mask, source_places.bias, with_weights)
        states = states + self.dropout(mixed)
        return states + self.dropout(self.feed_forward(self.feed_forward_norm(states))), self_weights, cross_weights
