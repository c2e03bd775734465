"""Where a token stands: attention by itself sees a set, positions make it a sequence."""

import torch
from torch import Tensor


def sinusoidal(positions: Tensor, d_model: int, base: float = 10_000.0) -> Tensor:
    """Sines and cosines of geometrically growing wavelength, from 2π to almost ``base``·2π.

    ``PE[pos, 2i] = sin(pos / base^(2i / d_model))``, ``PE[pos, 2i + 1] = cos(pos / base^(2i / d_model))``
    ("Attention Is All You Need", section 3.5, where the base is 10,000). It is a function, not a table: any position has
    an encoding. The angles are computed in float64, since ``sin`` of a large float32 angle has few correct digits left.

    Args:
        positions: integer positions, ``[..., length]``.
        d_model: width of the model, even.
        base: the longest wavelength is almost ``base``·2π. Dimensions that turn much slower than the sequences are
            long tell little apart.

    Returns:
        ``[..., length, d_model]``, float32.
    """
    exponents = torch.arange(0, d_model, 2, device=positions.device, dtype=torch.float64) / d_model
    angles = positions.to(torch.float64)[..., None] * base**-exponents
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2).to(torch.float32)
