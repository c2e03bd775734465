"""Attention as a page to explore: one HTML file that needs no network. Drawn by Bokeh, which is an optional extra.

What happens when a control is used or the mouse moves is in ``explorer.js``; everything else is here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqrev.errors import UsageError

if TYPE_CHECKING:
    from bokeh.models import Axis, Column, CustomJS, Div, GlyphRenderer, HoverTool, Slider, TabPanel
    from bokeh.plotting import figure

MOST_WEIGHTS = 20_000_000  # in one page: about 55 MB
SIDE, STRIP, SIDEBAR = 410, 70, 270  # pixels: a map, the bars above it, the text beside them
MOST_LABELS = 60  # along a side; a map of more tokens names some of them, and all when zoomed in
MARK = "#D55E00"  # of Okabe and Ito's palette
SCRIPT = Path(__file__).with_name("explorer.js")
HELP = (
    "Point at a row of the map to see where that token looks, and how strongly; else it is the row of the decoding step. "
    "The encoder has read the whole source before the first step."
)


@dataclass(frozen=True)
class _View:
    """One type of attention: who looks (rows) at whom (columns)."""

    name: str
    weights: NDArray[np.floating[Any]]
    """``[layer, head, rows, columns]``"""
    rows: Sequence[str]
    columns: Sequence[str]
    row_title: str
    column_title: str
    decoding: bool
    """Whether the rows come one by one, a token of the output each."""
    captions: Sequence[str]
    """For each layer, of the mean of its heads and then of each head."""

    @property
    def row_names(self) -> list[str]:
        """Who looks."""
        return _numbered(self.rows, self.row_title)

    @property
    def column_names(self) -> list[str]:
        """Who is looked at."""
        return _numbered(self.columns, self.column_title)


def _numbered(tokens: Sequence[str], title: str) -> list[str]:
    """Steps of the target are counted from 1, positions of the source from 0, which is ``<BOS>``."""
    word, first = ("step", 1) if title.startswith("target step") else ("position", 0)
    return [f"{token} ({word} {number})" for number, token in enumerate(tokens, start=first)]


def page(
    arrays: Mapping[str, NDArray[Any]],
    captions: Sequence[str],
    title: str,
    kind: str = "cross",
    layer: int | None = None,
    head: int | None = None,
) -> str:
    """An HTML page: type of attention, layer and head to choose, rows to point at, decoding to step through.

    Args:
        arrays: what ``--arrays`` saves: ``encoder``, ``decoder`` and ``cross``, each ``[layer, head, tgt, src]``, and the
            labels ``source_tokens``, ``target_tokens`` and ``emitted_tokens``.
        captions: what stands above the cross-attention of each layer: of the mean of its heads, then of each head.
        title: plain text.
        kind: which of the maps is shown first.
        layer: of that kind, counted from 1, shown first; None: the last.
        head: likewise; None: the mean.

    Raises:
        UsageError: Bokeh is not installed, or there are more weights than a browser can be asked to hold.
    """
    weights = sum(arrays[kind].size for kind in ("encoder", "decoder", "cross"))
    if weights > MOST_WEIGHTS:
        raise UsageError(
            f"The maps have {weights:,} weights; a page takes {MOST_WEIGHTS:,}. A picture has room for them.",
            "seqrev attention --out map.png",
        )
    try:
        from bokeh.document import Document
    except ImportError:
        raise UsageError(
            "A page to explore needs Bokeh, which is not installed; a picture (.png, .svg, .pdf) does not.",
            "pip install 'seqrev[explorer]'",
        ) from None
    from bokeh.embed import file_html
    from bokeh.events import DocumentReady
    from bokeh.layouts import row
    from bokeh.models import Slider, Tabs
    from bokeh.resources import INLINE

    source, emitted = arrays["source_tokens"].tolist(), arrays["emitted_tokens"].tolist()
    last = len(emitted)
    step = Slider(name="step", title="decoding step", start=1, end=max(2, last), value=last, width=SIDEBAR)
    views = _views(arrays, captions)
    panels, updates = zip(
        *(_panel(view, step, layer, head) if name == kind else _panel(view, step) for name, view in views.items()),
        strict=True,
    )
    tabs = Tabs(tabs=list(panels), active=list(views).index(kind), name="tabs")
    document = Document()
    document.add_root(row(_sidebar(title, source, emitted, step), tabs))
    for update in updates:
        document.js_on_event(DocumentReady, update)
    html: str = file_html(document, INLINE, title)
    return html


def _views(arrays: Mapping[str, NDArray[Any]], captions: Sequence[str]) -> dict[str, _View]:
    """The three types of attention, the one that says most first."""
    source, given, emitted = (arrays[f"{name}_tokens"].tolist() for name in ("source", "target", "emitted"))
    emits, reads, gets = "target step (token emitted)", "source position (token read)", "target step (token read)"
    looks = "source position (token that looks)"
    plain = [""] * max(layers * (heads + 1) for layers, heads, *_ in (arrays["encoder"].shape, arrays["decoder"].shape))
    return {
        "cross": _View("cross-attention", arrays["cross"], emitted, source, emits, reads, True, captions),
        "decoder": _View("decoder self-attention", arrays["decoder"], emitted, given, emits, gets, True, plain),
        "encoder": _View("encoder self-attention", arrays["encoder"], source, source, looks, reads, False, plain),
    }


def _sidebar(title: str, source: Sequence[str], emitted: Sequence[str], step: "Slider") -> "Column":
    """What is decoded, and the controls that step through it."""
    from bokeh.layouts import column, row
    from bokeh.models import Button, CustomJS

    size = "20px" if len(source) <= 24 else "13px"
    output = _text(" ".join(emitted), size, name="output")
    show = "output.text = emitted.slice(0, step.value).join(' ')"
    step.js_on_change("value", CustomJS(args={"step": step, "emitted": list(emitted), "output": output}, code=show))
    back = Button(label="◀ back", width=SIDEBAR // 2 - 5, name="back")
    back.js_on_click(CustomJS(args={"step": step}, code="step.value = Math.max(1, step.value - 1)"))
    forth = Button(label="next token ▶", width=SIDEBAR // 2 - 5, name="next")
    code = "step.value = step.value % last + 1"  # after the last token the first one again
    forth.js_on_click(CustomJS(args={"step": step, "last": len(emitted)}, code=code))
    texts = [_text(title, "16px"), _text("source"), _text(" ".join(source), size), _text("output so far"), output]
    return column(*texts, step, row(back, forth), _text(HELP), width=SIDEBAR + 20)


def _text(text: str, size: str = "13px", name: str | None = None, width: int = SIDEBAR) -> "Div":
    """Text as it is: neither HTML nor mathematics is looked for in it."""
    from bokeh.models import Div

    styles = {"font-size": size, "overflow-wrap": "anywhere", "max-height": "180px", "overflow-y": "auto"}
    return Div(text=text, render_as_text=True, disable_math=True, width=width, align="center", styles=styles, name=name)


def _panel(view: _View, step: "Slider", layer: int | None = None, head: int | None = None) -> tuple["TabPanel", "CustomJS"]:
    """A map with its controls, the row that is pointed at as bars above it, and what brings them up to date."""
    from bokeh.layouts import column, row
    from bokeh.models import ColumnDataSource, CustomJS, RadioButtonGroup, TabPanel

    layers, heads, rows, columns = view.weights.shape
    names = [str(number + 1) for number in range(max(layers, heads))]
    layer_choice = RadioButtonGroup(labels=names[:layers], active=(layer or layers) - 1)
    head_choice = RadioButtonGroup(labels=["mean", *names[:heads]], active=head or 0)
    cells = ColumnDataSource({"image": [np.zeros((rows, columns), np.float32)]})
    looking = ColumnDataSource({"row": [0]})
    bars = ColumnDataSource({"column": list(range(columns)), "weight": [0.0] * columns, "name": view.column_names})
    heatmap = _heatmap(view, cells, looking)
    strip = _strip(heatmap, bars)

    models = {"layer": layer_choice, "head": head_choice, "step": step if view.decoding else None}
    drawn = {"cells": cells, "looking": looking, "bars": bars, "map_title": heatmap.title, "strip_title": strip.title}
    values = {"weights": _compact(view.weights), "captions": list(view.captions), "row_names": view.row_names}
    update = CustomJS(args={**models, **drawn, **values}, code=SCRIPT.read_text(encoding="utf-8"))
    layer_choice.js_on_change("active", update)
    head_choice.js_on_change("active", update)
    if view.decoding:
        step.js_on_change("value", update)
    heatmap.js_on_event("mousemove", update)
    heatmap.js_on_event("mouseleave", update)
    controls = row(_text("layer", width=40), layer_choice, _text("head", width=40), head_choice)
    return TabPanel(title=view.name, child=column(controls, strip, heatmap, name=view.name)), update


def _compact(weights: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """The mean over the heads and then each head, in steps of 1/65535: two bytes a weight."""
    with_mean = np.concatenate((weights.mean(axis=1, keepdims=True), weights), axis=1)
    return np.round(with_mean * 65_535).astype(np.uint16)


def _heatmap(view: _View, cells: Any, looking: Any) -> "figure":
    """The map, as ``heatmaps.attention_figure`` draws it; rows that are not decoded yet (NaN) are white."""
    from bokeh.models import ColorBar, LinearColorMapper, Range1d
    from bokeh.plotting import figure

    *_, rows, columns = view.weights.shape
    plot = figure(
        frame_width=SIDE,
        frame_height=SIDE,
        x_range=Range1d(-0.5, columns - 0.5),
        y_range=Range1d(rows - 0.5, -0.5),
        tools="pan,box_zoom,wheel_zoom,reset,save",
        min_border_left=75,
        title=" ",  # explorer.js writes it; without any there would be no room
        x_axis_label=view.column_title,
        y_axis_label=view.row_title,
    )
    colours = LinearColorMapper("Viridis256", low=0.0, high=1.0, nan_color="white")
    image = plot.image("image", x=-0.5, y=-0.5, dw=columns, dh=rows, color_mapper=colours, source=cells)
    middle = (columns - 1) / 2
    plot.rect(middle, "row", columns, 1, fill_color=None, line_color=MARK, line_width=2, source=looking)
    plot.add_layout(ColorBar(color_mapper=colours, title="attention weight", width=12), "right")
    plot.add_tools(_hover(view, image))
    plot.toolbar.logo = None
    plot.grid.visible = False
    _label(plot.xaxis[0], view.columns)
    _label(plot.yaxis[0], view.rows)
    return plot


def _strip(heatmap: "figure", bars: Any) -> "figure":
    """One row of the map as bars, above its columns."""
    from bokeh.plotting import figure

    plot = figure(
        frame_width=SIDE,
        frame_height=STRIP,
        x_range=heatmap.x_range,
        y_range=(0, 1),
        tools="hover",
        tooltips=[("to", "@name"), ("weight", "@weight{0.0000}")],
        toolbar_location=None,
        min_border_left=75,
        title=" ",
        y_axis_label="weight",
    )
    plot.vbar("column", top="weight", width=0.8, color=MARK, source=bars)
    plot.xaxis.visible = False
    plot.yaxis.ticker = [0, 0.5, 1]
    plot.grid.visible = False
    return plot


def _hover(view: _View, image: "GlyphRenderer[Any]") -> "HoverTool":
    """Names the cell under the mouse."""
    from bokeh.models import CustomJSHover, HoverTool

    formatters = {}
    for axis, names in (("x", view.column_names), ("y", view.row_names)):
        formatters[f"${axis}"] = CustomJSHover(args={"names": names}, code=f"return names[Math.round(special_vars.{axis})]")
    tooltips = [("from", "$y{custom}"), ("to", "$x{custom}"), ("weight", "@image{0.0000}")]
    return HoverTool(renderers=[image], tooltips=tooltips, formatters=formatters)


def _label(axis: "Axis", tokens: Sequence[str]) -> None:
    """Name every position as long as there is room for its label."""
    from bokeh.models import AdaptiveTicker, NoOverlap

    axis.ticker = AdaptiveTicker(min_interval=1, desired_num_ticks=min(len(tokens), MOST_LABELS), num_minor_ticks=0)
    axis.major_label_overrides = dict(enumerate(tokens))
    axis.major_label_policy = NoOverlap(min_distance=1)
