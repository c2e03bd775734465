"""Who may attend to whom: the only place where masks are made.

Every mask in this project is boolean, **True = may attend**, and broadcasts to ``[batch, head, tgt, src]``: rows are the
positions that look (queries), columns the positions looked at (keys). ``None`` stands for "everything may be seen" and
costs nothing.

Padding stands at the end of a row (right padding). The decoder therefore needs no padding mask of its own: a real
target position sees only what comes before it, and padding comes after.
"""

import torch
from torch import Tensor

from seqrev.task import PAD


def padding_mask(ids: Tensor) -> Tensor:
    """True where a source token is real, False where it is padding.

    Args:
        ids: token ids, ``[batch, src]``.

    Returns:
        ``[batch, 1, 1, src]``: the same for every head and every query.
    """
    return (ids != PAD)[:, None, None, :]


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Tensor:
    """The lower triangle: a position sees itself and what comes before it ("Attention Is All You Need", section 3.2.3).

    With ``queries < keys`` the queries are the last ones, as in decoding over cached keys: the first query is position
    ``keys - queries``.

    Returns:
        ``[1, 1, queries, keys]``.
    """
    rows = torch.arange(keys - queries, keys, device=device)[:, None]
    return (torch.arange(keys, device=device)[None, :] <= rows)[None, None]
