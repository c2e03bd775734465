"""docs/hooks.md: its example runs, and its table names what a hook reaches."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seqrev.model.transformer import Transformer
from tests.model.models import VOCABULARY, small_config
from tests.model.test_hooks import ATTENTIONS, SOURCE, TARGET, hookable

PAGE = Path(__file__).parents[2] / "docs" / "hooks.md"


def test_the_example_of_the_page_runs_and_its_head_had_an_effect() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    exec(compile(code, PAGE.name, "exec"), names)
    assert float(names["change"]) > 0
    assert [tuple(weights.shape) for weights in names["weights"]] == [(1, 4, 5, 6)] * 2
    maps = names["model"].attention_maps(names["source"], names["target"])
    torch.testing.assert_close(names["weights"][-1], maps.cross[1])


def test_the_page_names_only_what_a_hook_reaches() -> None:
    """Every module of the table is there, and has the input or the output with the dimensions that the table says."""
    model, shapes = Transformer(small_config(), VOCABULARY).eval(), dict[tuple[str, str], int]()

    def record(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            shapes[name, "input"] = inputs[0].ndim
            shapes[name, "output"] = (output if isinstance(output, Tensor) else output[0]).ndim

        return hook

    for name, module in hookable(model).items():
        module.register_forward_hook(record(name))
    model(SOURCE, TARGET)
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if "| `" in line]
    assert len(rows) == 13
    for _, modules, sides, shape in rows:
        for module_name in re.findall(r"`(.+?)`", modules):
            prefixes = [name for name in ATTENTIONS if "cross" in name] if module_name[:1] == "A" else ["decoder.layers.0"]
            path = re.sub(r"^[AL]\b", prefixes[0], module_name)
            for side in re.findall("input 0|output", sides):
                assert shapes[path, side.split()[0]] == shape.count(",") + 1, path
