"""Keys and values that decoding need not compute again."""

from torch import Tensor


class KeyValueCache:
    """Keys and values of the positions so far, in buffers that double when full: each position is copied about once."""

    def __init__(self, single_query: bool = True) -> None:
        """``single_query``: laid out for one query at a time.

        On a CPU the numbers of one feature then lie side by side, ``[batch, head, d_head, capacity]``: the products of a
        single query with many keys, and of its weights with the values, run along the memory. Fused attention, which is
        for many queries, wants those of one position side by side.
        """
        self._by_feature = single_query
        self._keys: Tensor | None = None
        self._values: Tensor | None = None
        self.length = 0
        """Positions in the cache."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add new positions ``[batch, head, new, d_head]``; returns all so far, ``[batch, head, length, d_head]``."""
        end = self.length + key.shape[2]
        self._keys = self._grow(self._keys, key, end)
        self._values = self._grow(self._values, value, end)
        self._keys[:, :, self.length : end] = key
        self._values[:, :, self.length : end] = value
        self.length = end
        return self.all()

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

    def _grow(self, buffer: Tensor | None, new: Tensor, end: int) -> Tensor:
        """A buffer with at least ``end`` positions that begins with what is in this one."""
        if buffer is not None and buffer.shape[2] >= end:
            return buffer
        batch, head, _, d_head = new.shape
        capacity = max(16, end) if buffer is None else max(2 * buffer.shape[2], end)
        if self._by_feature and new.device.type == "cpu":
            grown = new.new_empty(batch, head, d_head, capacity).transpose(-2, -1)
        else:
            grown = new.new_empty(batch, head, capacity, d_head)
        if buffer is not None:
            grown[:, :, : self.length] = buffer[:, :, : self.length]
        return grown


class LayerCache:
    """What one decoder layer keeps while decoding: keys and values of the target so far, and of the source."""

    def __init__(self, single_query: bool = True) -> None:
        self.target = KeyValueCache(single_query)
        self.source = KeyValueCache(single_query)

    def select(self, rows: Tensor) -> None:
        """Keep these rows of the batch, in this order."""
        self.target.select(rows)
        self.source.select(rows)
