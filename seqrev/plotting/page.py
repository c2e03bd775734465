"""Attention as an interactive page: one HTML file that needs no network. Drawn by Bokeh, which is an optional extra."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqrev.errors import UsageError
from seqrev.interpret.attention_kinds import ATTENTION_NAMES, Kind
from seqrev.plotting.heatmaps import Map, axis_labels

MAX_WEIGHTS = 20_000_000  # in one page: about 55 MB


def attention_page(
    arrays: Mapping[str, NDArray[Any]],
    captions: Sequence[str],
    title: str,
    kind: Kind = "cross",
    layer: int | None = None,
    head: int | None = None,
) -> str:
    """An HTML page: kind of attention, layer and head to choose, rows to point at, decoding to step through.

    It shows first the ``layer`` (None: the last) and ``head`` (None: the mean) of that ``kind``, counted from 1.

    Args:
        arrays: what ``--arrays`` saves: ``encoder``, ``decoder`` and ``cross``, each ``[layer, head, tgt, src]``, and the
            labels ``source_tokens``, ``target_tokens`` and ``emitted_tokens``.
        captions: text above the cross-attention of each layer: of the mean of its heads, then of each head.
        title: plain text.

    Raises:
        UsageError: Bokeh is not installed, or there are more weights than a browser can be asked to hold.
    """
    weights = sum(arrays[name].size for name in ATTENTION_NAMES)
    if weights > MAX_WEIGHTS:
        raise UsageError(
            f"The maps have {weights:,} weights; a page takes {MAX_WEIGHTS:,}. A picture has room for them.",
            "seqrev attention --out map.png",
        )
    try:
        from bokeh.embed import file_html
        from bokeh.resources import INLINE

        from seqrev.plotting.page_parts import View, document
    except ImportError:
        raise UsageError(
            "A page to explore needs Bokeh, which is not installed; a picture (.png, .svg, .pdf) does not.",
            "pip install 'seqrev[explorer]'",
        ) from None
    source, target, emitted = (arrays[f"{name}_tokens"].tolist() for name in ("source", "target", "emitted"))
    views = [
        View("cross", _compact(arrays["cross"]), *axis_labels("cross", emitted, source), captions),
        View("decoder", _compact(arrays["decoder"]), *axis_labels("decoder", emitted, target)),
        View("encoder", _compact(arrays["encoder"]), *axis_labels("encoder", source, source)),
    ]
    html: str = file_html(document(views, title, kind, layer, head), INLINE, title)
    return html


def _compact(weights: Map) -> NDArray[np.uint16]:
    """The mean over the heads and then each head, in steps of 1/65535: two bytes a weight."""
    with_mean = np.concatenate((weights.mean(axis=1, keepdims=True), weights), axis=1)
    return np.round(with_mean * 65_535).astype(np.uint16)
