"""Where a token stands: attention by itself sees a set, positions make it a sequence.

Every scheme is a pure function of integer positions. There are three ways in: added to the embedding (``sinusoidal``; a
learned table is the Transformer's own), turning queries and keys (``turn``), or biasing the scores (``alibi_bias``). Angles
are computed in float64: ``sin`` of a large float32 angle has few correct digits left.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqrev.config import ModelConfig


class Places(NamedTuple):
    """What attention is told about where its queries and keys stand; None: nothing."""

    query_angles: Tensor | None = None
    """``[tgt, d_head / 2]`` or ``[batch, 1, tgt, d_head / 2]``: by how much ``turn`` turns each query."""
    key_angles: Tensor | None = None
    """The same for the keys."""
    bias: Tensor | None = None
    """Added to the scores, ``[batch or 1, head, tgt, src]``."""
    query_scale: Tensor | None = None
    """Multiplies the queries, ``[batch or 1, 1, 1, 1]``."""


NOWHERE = Places()
BUCKETS = 32  # of offsets, for relative biases: 16 for each direction


def relate(
    config: ModelConfig,
    queries: Tensor,
    keys: Tensor,
    new_keys: Tensor | None = None,
    biases: Tensor | None = None,
    lengths: Tensor | None = None,
) -> Places:
    """Everything that a configuration wants attention to know of positions.

    Args:
        config: which scheme.
        queries: positions of the queries, ``[tgt]`` or ``[batch, tgt]``.
        keys: positions of the keys, ``[src]`` or ``[batch, src]``.
        new_keys: positions of those keys that are not cached yet; None: all of them.
        biases: the learned biases of this kind of attention, ``[bucket, head]``; None: the scheme has none. They are
            multiplied by √d_head: Adam moves a weight by about its learning rate a step, and left to itself a single
            number would fall far behind the products of queries and keys.
        lengths: in cross-attention, the number of keys that each row has, ``[batch or 1, 1]``; only there does length
            scaling act.
    """
    places = NOWHERE
    if config.positions == "rotary":
        pair = (queries, keys if new_keys is None else new_keys)
        turns = [angles(positions, config.d_model // config.heads, config.position_base) for positions in pair]
        query_turn, key_turn = (turn[:, None] if turn.ndim == 3 else turn for turn in turns)
        places = places._replace(query_angles=query_turn, key_angles=key_turn)
    if config.positions == "alibi":
        places = places._replace(bias=alibi_bias(queries, keys, config.heads))
    if biases is not None:
        places = places._replace(bias=relative_bias(queries, keys, biases * math.sqrt(config.d_model // config.heads)))
    if config.length_scaling and lengths is not None:
        places = places._replace(query_scale=length_scale(lengths)[:, :, None, None])
    return places


def source_positions(lengths: Tensor, width: int, source_from: str) -> Tensor:
    """Number the source tokens from their start, or from their end.

    From the end, the last real token of each row is 0 and the numbers go up towards the start; "the token to emit next"
    is then at a constant offset from the target position, whatever the length (Kim et al. 2023 count likewise).

    Args:
        lengths: real source tokens of each row, ``[batch, 1]``.
        width: how many positions to number, those of padding included.
        source_from: ``start`` or ``end``.

    Returns:
        ``[batch, src]``; padding gets negative numbers when counted from the end.
    """
    places = torch.arange(width, device=lengths.device).expand(len(lengths), width)
    return places if source_from == "start" else lengths - 1 - places


def place_table(lengths: Tensor, longest: int, training: bool) -> Tensor:
    """Positions for places 0, 1, 2, …, spread over ``longest`` positions (Ruoss et al. 2023, section 3).

    In training a sorted random subset of all positions, one for the whole batch, so that every position becomes familiar
    however short the sequences. In evaluation the same places evenly, as far apart as a random subset is on average.

    Args:
        lengths: real source tokens of each row, ``[batch, 1]``.
        longest: how many positions there are.
        training: which of the two.

    Returns:
        ``[1 or batch, places]``, with room for a target that is longer than its source.
    """
    places = 2 * int(lengths.max()) + 64
    if training:
        return torch.randperm(longest, device=lengths.device)[: int(lengths.max())].sort().values[None]
    return torch.arange(places, device=lengths.device) * (longest // lengths.clamp(min=1)).clamp(min=1)


def angles(positions: Tensor, dimensions: int, base: float) -> Tensor:
    """``pos / base^(2i / dimensions)`` for every pair ``i`` of dimensions, ``[..., length, dimensions / 2]``, float64."""
    if positions.device.type == "mps":  # which has no float64
        positions = positions.cpu()
    exponents = torch.arange(0, dimensions, 2, device=positions.device, dtype=torch.float64) / dimensions
    return positions.to(torch.float64)[..., None] * base**-exponents


def sinusoidal(positions: Tensor, d_model: int, base: float = 10_000.0) -> Tensor:
    """Sines and cosines of geometrically growing wavelength, from 2π to almost ``base``·2π.

    ``PE[pos, 2i] = sin(pos / base^(2i / d_model))``, ``PE[pos, 2i + 1] = cos(pos / base^(2i / d_model))``
    ("Attention Is All You Need", section 3.5, where the base is 10,000). It is a function, not a table: any position has
    an encoding.

    Args:
        positions: integer positions, ``[..., length]``.
        d_model: width of the model, even.
        base: the longest wavelength is almost ``base``·2π. Dimensions that turn much slower than the sequences are
            long tell little apart.

    Returns:
        ``[..., length, d_model]``, float32.
    """
    angle = angles(positions, d_model, base)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2).to(positions.device, torch.float32)


def turn(states: Tensor, angle: Tensor) -> Tensor:
    """Turn every pair of dimensions of a query or key by an angle that grows with its position.

    ``(x₁, x₂) → (x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ)``, ``θ = pos / base^(2i / d_head)``: the product of a query
    and a key then depends on the difference of their positions only ("RoFormer", Su et al. 2021, equation 34). Pair ``i``
    is dimensions ``i`` and ``i + d_head / 2``.

    Args:
        states: ``[batch, head, length, d_head]``, d_head even.
        angle: from ``angles``; broadcasts to ``[batch, head, length, d_head / 2]``.
    """
    cos, sin = angle.cos().to(states), angle.sin().to(states)
    swapped = states.roll(states.shape[-1] // 2, dims=-1)  # (x₂, x₁): so two products do for all four
    return states * torch.cat((cos, cos), dim=-1) + swapped * torch.cat((-sin, sin), dim=-1)


def alibi_bias(query_positions: Tensor, key_positions: Tensor, heads: int) -> Tensor:
    """A penalty that grows linearly with distance, in each head at another rate.

    ``−2^(−8h / heads) · |query position − key position|`` ("Train Short, Test Long", Press et al. 2022, section 3;
    symmetric, since encoder and cross-attention look both ways).

    Args:
        query_positions: ``[tgt]`` or ``[batch, tgt]``.
        key_positions: ``[src]`` or ``[batch, src]``.
        heads: number of heads.

    Returns:
        ``[head, tgt, src]``, or ``[batch, head, tgt, src]`` where positions differ between rows; float32.
    """
    distance = (query_positions[..., :, None] - key_positions[..., None, :]).abs().float()
    slopes = torch.tensor([2 ** (-8 * (head + 1) / heads) for head in range(heads)], device=distance.device)
    return -slopes[:, None, None] * (distance[:, None] if distance.ndim == 3 else distance)


def relative_bias(query_positions: Tensor, key_positions: Tensor, biases: Tensor) -> Tensor:
    """A learned number for each bucket of offsets and each head ("T5", Raffel et al. 2020, section 2.1).

    Args:
        query_positions: ``[tgt]`` or ``[batch, tgt]``.
        key_positions: ``[src]`` or ``[batch, src]``.
        biases: ``[bucket, head]``.

    Returns:
        ``[head, tgt, src]``, or ``[batch, head, tgt, src]`` where positions differ between rows.
    """
    offset = key_positions[..., None, :] - query_positions[..., :, None]
    return biases[offset_buckets(offset)].movedim(-1, -3)


def offset_buckets(offset: Tensor) -> Tensor:
    """Number the offsets (key position less query position): near ones each by itself, far ones in ever wider groups.

    A distance ``d`` has bucket ``d`` up to 8, and from there ``8 + ⌊8 log(d / 8) / log(128 / 8)⌋``, at most 15; keys that
    stand after their query have the 16 buckets that follow (the published code of T5, for attention that looks both
    ways).

    Returns:
        Integers from 0 to ``BUCKETS - 1``, of the same shape.
    """
    each = BUCKETS // 2
    exact = each // 2
    starts = [*range(1, exact), *(math.ceil(exact * 16 ** (step / exact)) for step in range(exact))]
    bucket = torch.bucketize(offset.abs(), torch.tensor(starts, device=offset.device), right=True)
    return bucket + each * (offset > 0)


def length_scale(keys: Tensor) -> Tensor:
    """``log(n + 1) / log(20)`` for a query that may see ``n`` keys: keeps the softmax as sharp among many as among few.

    With ``n`` equal scores but one, the weight of that one falls as ``n`` grows unless the gap grows like ``log n``
    (Chiang and Cholak 2022, section 5.3). 20 is where the scale is one.
    """
    return torch.log(keys.to(torch.float32) + 1) / math.log(20)
