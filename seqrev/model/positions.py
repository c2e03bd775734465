"""Where a token is: attention by itself sees a set, positions make it a sequence.

Every scheme is a pure function of integer positions. There are three ways in: added to the embedding (``sinusoidal``; a
learned table is part of ``TokenEmbedding``), rotating queries and keys (``apply_rotary``), or biasing the scores
(``alibi_bias``, ``relative_bias``). Angles are in float64: ``sin`` of a large float32 angle has few correct digits left.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqrev.config import ModelConfig
from seqrev.model.randomness import current_generator


class ScoreBias:
    """A bias of the scores, computed from the positions of queries and keys, ``[batch or none, length]`` each.

    As a whole it grows with the product of both lengths; long sequences ask for a few rows at a time.
    """

    def __init__(self, compute: Callable[[Tensor, Tensor], Tensor], queries: Tensor, keys: Tensor) -> None:
        self._compute, self._queries, self._keys = compute, queries, keys

    @functools.cached_property
    def whole(self) -> Tensor:
        """For all queries, ``[batch or none, head, tgt, src]``; the layers of a stack share it."""
        return self._compute(self._queries, self._keys)

    def rows(self, some: slice) -> Tensor:
        """For some queries, ``[batch or none, head, some, src]``."""
        return self._compute(self._queries[..., some], self._keys)


class Rotation(NamedTuple):
    """By how much each pair of dimensions is rotated at each position; from ``rotation``."""

    cos: Tensor
    """``cos θ`` of both dimensions of each pair, ``[length, d_head]`` or ``[batch, 1 or part, length, d_head]``."""
    sin: Tensor
    """``−sin θ`` of the first dimension of each pair, ``sin θ`` of the second."""


class PositionInputs(NamedTuple):
    """The positions of queries and keys, as attention uses them; None: it does not."""

    query_rotation: Rotation | None = None
    key_rotation: Rotation | None = None
    bias: ScoreBias | None = None
    """Added to the scores."""
    query_scale: Tensor | None = None
    """Multiplies the queries, ``[batch or 1, 1, 1, 1]``."""


NO_POSITIONS = PositionInputs()
BUCKETS = 32  # of offsets, for relative biases: 16 for each direction


def position_inputs(
    config: ModelConfig,
    queries: Tensor,
    keys: Tensor,
    new_keys: Tensor | None = None,
    relative: Tensor | None = None,
    lengths: Tensor | None = None,
) -> PositionInputs:
    """What a configuration's position scheme gives to attention.

    **A new scheme** gets its name in ``ModelConfig.positions``. It is added here if it rotates or biases, and in
    ``embedding.py`` if it is added to the embedding. Its weights, if it has any, belong to ``Encoder`` and ``Decoder``.

    Args:
        queries: positions of the queries, ``[tgt]`` or ``[batch, tgt]``.
        keys: positions of the keys, ``[src]``, ``[batch, src]``, or ``[batch, address, src]``.
        new_keys: positions of those keys that are not cached yet; None: all of them.
        relative: the learned biases of this kind of attention, ``[bucket, head]``; None: the scheme has none. They are
            multiplied by √d_head: Adam moves a weight by about its learning rate a step, and left to itself a single
            number would fall far behind the products of queries and keys.
        lengths: in cross-attention, the number of keys that each row has, ``[batch or 1, 1]``; only there does length
            scaling act.
    """
    d_head = config.d_model // config.heads
    inputs = NO_POSITIONS
    if config.positions == "rotary":
        new_keys = keys if new_keys is None else new_keys
        width = d_head
        if keys.ndim == 3:
            width //= keys.shape[1]
            new_keys = new_keys.repeat(1, config.heads, 1)
        query_rotation = rotation(queries, width, config.position_base)
        key_rotation = query_rotation if new_keys is queries else rotation(new_keys, width, config.position_base)
        inputs = inputs._replace(query_rotation=query_rotation, key_rotation=key_rotation)
    if config.positions == "alibi":
        inputs = inputs._replace(bias=ScoreBias(functools.partial(alibi_bias, heads=config.heads), queries, keys))
    if relative is not None:
        biases = relative * math.sqrt(d_head)
        inputs = inputs._replace(bias=ScoreBias(functools.partial(relative_bias, biases=biases), queries, keys))
    if config.length_scaling and lengths is not None:
        inputs = inputs._replace(query_scale=length_scale(lengths)[:, :, None, None])
    return inputs


def source_positions(lengths: Tensor, width: int, source_from: str) -> Tensor:
    """Number the source tokens, ``[batch, width]``, from their ``start`` or their ``end``; ``both``: ``[batch, 2, width]``.

    From the end, the last real token of each row is 0 and the numbers go up towards the start; "the token to emit next"
    is then at a constant offset from the target position, whatever the length (Kim et al. 2023 count likewise). Padding
    gets negative numbers. ``lengths``: real source tokens of each row, ``[batch, 1]``.
    """
    from_start = torch.arange(width, device=lengths.device).expand(len(lengths), width)
    from_end = lengths - 1 - from_start
    return {"start": from_start, "end": from_end, "both": torch.stack((from_start, from_end), dim=1)}[source_from]


def randomized_positions(lengths: Tensor, longest: int, training: bool) -> Tensor:
    """Positions for the tokens 0, 1, 2, …, spread over ``longest`` positions (Ruoss et al. 2023, section 3).

    In training a sorted random subset of all positions, one for the whole batch, so that every position becomes familiar
    however short the sequences. In evaluation evenly spread, as far apart as a random subset is on average.

    ``lengths``: real source tokens of each row, ``[batch, 1]``. Returns ``[1 or batch, tokens]``, in evaluation with room
    for a target that is longer than its source.
    """
    if training:
        order = torch.randperm(longest, generator=current_generator(), device=lengths.device)
        return order[: int(lengths.max())].sort().values[None]
    tokens = 2 * int(lengths.max()) + 64
    return torch.arange(tokens, device=lengths.device) * (longest // lengths.clamp(min=1)).clamp(min=1)


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
    an encoding. Wavelengths much longer than the sequences distinguish little.

    Integer positions ``[..., length]`` to ``[..., length, d_model]``, float32; ``d_model`` is even.
    """
    angle = angles(positions, d_model, base)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(-2).to(positions.device, torch.float32)


def rotation(positions: Tensor, d_head: int, base: float) -> Rotation:
    """The rotations of queries or keys at some positions, ``[length]``, ``[batch, length]`` or ``[batch, part, length]``.

    ``θ = pos / base^(2i / d_head)`` for pair ``i`` ("RoFormer", Su et al. 2021, equation 15); float32.
    """
    angle = angles(positions, d_head, base)
    if positions.ndim == 2:
        angle = angle[:, None]  # the same for all heads
    cos, sin = angle.cos().to(positions.device, torch.float32), angle.sin().to(positions.device, torch.float32)
    return Rotation(torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1))


def apply_rotary(states: Tensor, rotation: Rotation) -> Tensor:
    """Rotate every pair of dimensions of queries or keys by an angle that grows with their position.

    ``(x₁, x₂) → (x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ)``: the product of a query and a key then depends on the
    difference of their positions only ("RoFormer", Su et al. 2021, equation 34). Pair ``i`` is dimensions ``i`` and
    ``i + d_head / 2``. ``states``: ``[batch, head, length, d_head]``, d_head even; ``rotation``: of the same positions.
    """
    cos, sin = rotation.cos.to(states.dtype), rotation.sin.to(states.dtype)
    swapped = states.roll(states.shape[-1] // 2, dims=-1)  # (x₂, x₁): so two products do for all four
    return states * cos + swapped * sin


def alibi_bias(query_positions: Tensor, key_positions: Tensor, heads: int) -> Tensor:
    """A penalty that grows linearly with distance, in each head at another rate.

    ``−2^(−8h / heads) · |query position − key position|`` ("Train Short, Test Long", Press et al. 2022, section 3;
    symmetric, since encoder and cross-attention see both sides). Positions ``[tgt]`` and ``[src]`` to
    ``[head, tgt, src]``, float32; each may have a ``batch`` in front.
    """
    distance = (query_positions[..., :, None] - key_positions[..., None, :]).abs().float()
    like: dict[str, Any] = {"dtype": distance.dtype, "device": distance.device}
    slopes = torch.tensor([2 ** (-8 * (head + 1) / heads) for head in range(heads)], **like)
    return -slopes[:, None, None] * (distance[:, None] if distance.ndim == 3 else distance)


def relative_bias(query_positions: Tensor, key_positions: Tensor, biases: Tensor) -> Tensor:
    """A learned number for each bucket of offsets and each head ("T5", Raffel et al. 2020, section 2.1).

    Shapes as in ``alibi_bias``; ``biases``: ``[bucket, head]``.
    """
    offset = key_positions[..., None, :] - query_positions[..., :, None]
    return biases[offset_buckets(offset)].movedim(-1, -3)


def offset_buckets(offset: Tensor) -> Tensor:
    """Number the offsets (key position less query position): near ones each by itself, far ones in ever wider groups.

    A distance ``d`` has bucket ``d`` up to 8, and from there ``8 + ⌊8 log(d / 8) / log(128 / 8)⌋``, at most 15; keys
    after their query have the 16 buckets that follow (the published code of T5, for attention that sees both sides).
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
