"""Who may attend to whom.

Every mask in this project is boolean, **True = may attend**, and broadcasts to ``[batch, head, tgt, src]``: rows are
queries, columns are keys. ``None`` means that everything may be seen, and costs nothing. Padding is at the end of a row;
the decoder needs no padding mask of its own, since a real target position sees only what comes before it.
"""

import torch
from torch import Tensor

from seqrev.task import PAD


def padding_mask(ids: Tensor) -> Tensor:
    """True where a source token is real: ids ``[batch, src]`` to ``[batch, 1, 1, src]``, for every head and every query."""
    return (ids != PAD)[:, None, None, :]


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """The lower triangle: a position sees itself and what comes before it ("Attention Is All You Need", section 3.2.3).

    ``[1, 1, queries, keys]``; with ``queries < keys`` the queries are the last ones, as in decoding over cached keys.
    """
    rows = torch.arange(keys - queries, keys, device=device)[:, None]
    return (torch.arange(keys, device=device)[None, :] <= rows)[None, None]
