"""The parts of the interactive page: a sidebar, and a panel for each kind of attention. ``page.js`` updates them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bokeh import models
from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.layouts import column, row
from bokeh.plotting import figure
from numpy.typing import NDArray

from seqrev.interpret.attention_kinds import ATTENTION_NAMES, Kind
from seqrev.plotting.heatmaps import AxisLabels
from seqrev.plotting.style import HIGHLIGHT_COLOUR, palette_colours

SIDE, STRIP, SIDEBAR = 410, 70, 270  # pixels: a map, the bars above it, the text beside them
SHARED = {"frame_width": SIDE, "min_border_left": 75, "title": " "}  # page.js writes the title, for which there is room
TOOLS = "pan,box_zoom,wheel_zoom,reset,save"
MAX_LABELS = 60  # along a side; of more tokens only some are named, and all when zoomed in
HELP = (
    "Point at a row of the map to see the attention weights of that token; else it is the row of the decoding step. "
    "The encoder has read the whole source before the first step."
)


@dataclass(frozen=True)
class View:
    """One kind of attention."""

    kind: Kind
    weights: NDArray[np.uint16]
    """``[layer, 1 + head, tgt, src]``, the mean of the heads before each of them, in steps of 1/65535."""
    rows: AxisLabels
    columns: AxisLabels
    captions: Sequence[str] = ()  # of all these maps


def document(views: Sequence[View], title: str, kind: Kind, layer: int | None, head: int | None) -> Document:
    """The page, with cross-attention first among the views; at first it shows a layer and a head of one ``kind``."""
    page, last = Document(), len(views[0].rows.tokens)
    step = models.Slider(title="decoding step", start=1, end=max(2, last), value=last, width=SIDEBAR)
    panels = [_panel(page, view, step, *((layer, head) if view.kind == kind else (None, None))) for view in views]
    tabs = models.Tabs(tabs=panels, active=[view.kind for view in views].index(kind))
    page.add_root(row(_sidebar(title, views[0], step), tabs))
    return page


def _sidebar(title: str, cross: View, step: models.Slider) -> models.Column:
    """The sequences, and the controls that step through decoding."""
    source, emitted = cross.columns.tokens, cross.rows.tokens
    size = "20px" if len(source) <= 24 else "13px"
    output = _text(" ".join(emitted), size)
    show = "output.text = emitted.slice(0, step.value).join(' ')"
    step.js_on_change("value", models.CustomJS(args={"step": step, "emitted": emitted, "output": output}, code=show))
    back, forth = (models.Button(label=label, width=SIDEBAR // 2 - 5) for label in ("◀ back", "next token ▶"))
    back.js_on_click(models.CustomJS(args={"step": step}, code="step.value = Math.max(1, step.value - 1)"))
    code = f"step.value = step.value % {len(emitted)} + 1"  # after the last token the first one again
    forth.js_on_click(models.CustomJS(args={"step": step}, code=code))
    texts = [_text(title, "16px"), _text("source"), _text(" ".join(source), size), _text("output so far"), output]
    return column(*texts, step, row(back, forth), _text(HELP), width=SIDEBAR + 20)


def _text(text: str, size: str = "13px", width: int = SIDEBAR) -> models.Div:
    """Text as it is: neither HTML nor mathematics."""
    styles = {"font-size": size, "overflow-wrap": "anywhere", "max-height": "180px", "overflow-y": "auto"}
    return models.Div(text=text, render_as_text=True, disable_math=True, width=width, align="center", styles=styles)


def _panel(page: Document, view: View, step: models.Slider, layer: int | None, head: int | None) -> models.TabPanel:
    """A map with its controls, above it the selected row as bars, and the script that updates them."""
    layers, maps, rows, columns = view.weights.shape
    layer_choice = models.RadioButtonGroup(labels=[str(n) for n in range(1, layers + 1)], active=(layer or layers) - 1)
    head_choice = models.RadioButtonGroup(labels=["mean", *(str(n) for n in range(1, maps))], active=head or 0)
    cells = models.ColumnDataSource({"image": [np.zeros((rows, columns), np.float32)]})
    highlight = models.ColumnDataSource({"row": [0]})
    empty = {"column": list(range(columns)), "weight": [0.0] * columns, "name": _numbered(view.columns)}
    bars = models.ColumnDataSource(empty)
    heatmap = _heatmap(view, cells, highlight)
    strip = _strip(heatmap, bars)
    decoding = view.kind != "encoder"  # rows come one by one, a token of the output each
    choices = {"layer": layer_choice, "head": head_choice, "step": step if decoding else None}
    drawn = {"cells": cells, "highlight": highlight, "bars": bars, "map_title": heatmap.title, "strip_title": strip.title}
    values = {"weights": view.weights, "captions": list(view.captions), "row_names": _numbered(view.rows)}
    script = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    update = models.CustomJS(args={**choices, **drawn, **values}, code=script)
    page.js_on_event(DocumentReady, update)
    layer_choice.js_on_change("active", update)
    head_choice.js_on_change("active", update)
    if decoding:
        step.js_on_change("value", update)
    heatmap.js_on_event("mousemove", update)
    heatmap.js_on_event("mouseleave", update)
    controls = row(_text("layer", width=40), layer_choice, _text("head", width=40), head_choice)
    name = ATTENTION_NAMES[view.kind]
    return models.TabPanel(title=name, child=column(controls, strip, heatmap, name=name))


def _heatmap(view: View, cells: models.ColumnDataSource, highlight: models.ColumnDataSource) -> figure:
    """The map, as ``heatmaps.attention_figure`` draws it; rows that are not decoded yet (NaN) are white."""
    *_, rows, columns = view.weights.shape
    plot = figure(x_range=(-0.5, columns - 0.5), y_range=(rows - 0.5, -0.5), tools=TOOLS, frame_height=SIDE, **SHARED)
    colours = models.LinearColorMapper(palette=palette_colours(), low=0.0, high=1.0, nan_color="white")
    image = plot.image("image", x=-0.5, y=-0.5, dw=columns, dh=rows, color_mapper=colours, source=cells)
    middle = (columns - 1) / 2
    plot.rect(middle, "row", columns, 1, fill_color=None, line_color=HIGHLIGHT_COLOUR, line_width=2, source=highlight)
    plot.add_layout(models.ColorBar(color_mapper=colours, title="attention weight", width=12), "right")
    plot.toolbar.logo = None
    plot.grid.visible = False
    formatters = {}
    for axis, variable, labels in ((plot.xaxis, "x", view.columns), (plot.yaxis, "y", view.rows)):
        axis.axis_label = f"{labels.title} ({labels.meaning})"
        count = min(len(labels.tokens), MAX_LABELS)
        axis.ticker = models.AdaptiveTicker(min_interval=1, desired_num_ticks=count, num_minor_ticks=0)
        axis.major_label_overrides = dict(enumerate(labels.tokens))
        axis.major_label_policy = models.NoOverlap(min_distance=1)
        code = f"return names[Math.round(special_vars.{variable})]"
        formatters[f"${variable}"] = models.CustomJSHover(args={"names": _numbered(labels)}, code=code)
    tooltips = [("from", "$y{custom}"), ("to", "$x{custom}"), ("weight", "@image{0.0000}")]
    plot.add_tools(models.HoverTool(renderers=[image], tooltips=tooltips, formatters=formatters))
    return plot


def _strip(heatmap: figure, bars: models.ColumnDataSource) -> figure:
    """One row of the map as bars, above its columns."""
    tooltips = [("to", "@name"), ("weight", "@weight{0.0000}")]
    plot = figure(x_range=heatmap.x_range, y_range=(0, 1), tools="hover", tooltips=tooltips, frame_height=STRIP, **SHARED)
    plot.vbar("column", top="weight", width=0.8, color=HIGHLIGHT_COLOUR, source=bars)
    plot.toolbar_location = None
    plot.xaxis.visible = False
    plot.yaxis.axis_label = "weight"
    plot.yaxis.ticker = [0, 0.5, 1]
    plot.grid.visible = False
    return plot


def _numbered(labels: AxisLabels) -> list[str]:
    """Tokens with their positions or steps."""
    word = labels.title.split()[-1]
    return [f"{token} ({word} {number})" for number, token in enumerate(labels.tokens, labels.first)]
