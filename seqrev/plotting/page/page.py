"""The page as one file: HTML, style and scripts with a model or recorded maps in it, and nothing that it could fetch."""

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqrev.config import ModelConfig
from seqrev.errors import UsageError
from seqrev.interpret.attention_kinds import ATTENTION_NAMES, Kind
from seqrev.plotting.page.stages import Stage, why_not_live, write_stages
from seqrev.plotting.style import palette_colours
from seqrev.system.text import printable
from seqrev.task import FIRST_SYMBOL, RuleName

FOLDER = Path(__file__).parent
SCRIPTS = (  # in the order in which they need each other; model first, then what is seen of it
    *("tensors", "positions", "attention", "layers", "transformer", "weights", "task"),
    *("recording", "map", "pane", "heads", "link", "page"),
)
LONGEST = 100  # symbols of a sequence that is typed; the maps grow with the square of the length
MOST_RECORDED = 20_000_000  # weights of recorded maps: about 55 MB


@dataclass(frozen=True)
class Learned:
    """What a model has learned to answer."""

    rule: RuleName
    """By which its answers are right."""
    longest_source: int | None = None
    """Symbols in the longest sequence of its training; None: not known."""
    longest_answer: int | None = None
    """Symbols in the longest answer, where the rule does not say it."""


def attention_page(
    arrays: Mapping[str, NDArray[Any]],
    config: ModelConfig,
    learned: Learned,
    title: str,
    stages: Sequence[Stage] = (),
    shown: tuple[Kind, int | None, int | None] = ("cross", None, None),
) -> str:
    """An HTML page with a model that answers in it; where the model is not for a page, with the maps of one sequence.

    Args:
        arrays: what ``--arrays`` saves of a sequence, with which the page begins: ``encoder``, ``decoder`` and ``cross``,
            each ``[layer, head, tgt, src]``, and the labels ``source_tokens``, ``target_tokens`` and ``emitted_tokens``.
        config: of the model.
        learned: what the page says of its answers.
        title: plain text.
        stages: of the training; the last is shown first.
        shown: kind, layer (None: the last) and head (None: the mean) of the large map at first, counted from 1.

    Raises:
        UsageError: there are more recorded weights than a browser can be asked to hold.
    """
    kind, layer, head = shown
    source = arrays["source_tokens"].tolist()[1:-1]
    document: dict[str, Any] = {
        "title": printable(title),
        "palette": palette_colours(),
        "shown": {"kind": kind, "layer": layer, "head": head or 0},
        "config": config.model_dump(),
        "rule": learned.rule,
        "trained": learned.longest_source,
        "source": [int(symbol) for symbol in source],
        "longest": min(LONGEST, config.max_positions - 2),
        "longestAnswer": learned.longest_answer,
    }
    reason = why_not_live(config, stages)
    if not reason and len(source) > document["longest"]:
        reason = f"The sequence has {len(source):,} symbols; the page computes with up to {document['longest']:,}."
    if reason:
        document |= {"reason": reason, "recorded": _record(arrays)}
    else:
        document |= write_stages(config, stages)
        document["symbols"] = dict(document["shapes"])["output.bias"] - FIRST_SYMBOL
    return _assemble(document)


def _record(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Maps and labels of one sequence: two bytes a weight, in steps of 1/65535."""
    weights = sum(arrays[name].size for name in ATTENTION_NAMES)
    if weights > MOST_RECORDED:
        raise UsageError(
            f"The maps have {weights:,} weights; a page takes {MOST_RECORDED:,}. A picture has room for them.",
            "seqrev attention --out map.png",
        )
    maps = {name: np.round(arrays[name] * 65_535).astype("<u2") for name in ATTENTION_NAMES}
    return {
        "emitted": arrays["emitted_tokens"].tolist(),
        "maps": {
            name: {"shape": values.shape, "base64": base64.b64encode(values.tobytes()).decode()}
            for name, values in maps.items()
        },
    }


def _assemble(document: Mapping[str, Any]) -> str:
    """One file. Its security policy allows this style and this script, and no request at all."""
    style = _read("page.css")
    script = "\n".join(['"use strict"', *(_read(f"{name}.js") for name in SCRIPTS)])
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:"
    # What would end the element, "</script", or change how it is read, "<!--", does not occur without a "<".
    data = json.dumps(document, separators=(",", ":")).replace("<", "\\u003c")
    values = {"policy": f"{policy}; base-uri 'none'; form-action 'none'", "title": html.escape(document["title"])}
    return Template(_read("page.html")).substitute(values, style=style, script=script, data=data)


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
