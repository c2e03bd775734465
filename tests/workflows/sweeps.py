"""A sweep over tiny trainings."""

from pathlib import Path
from typing import Any

import yaml

from seqrev.config import load_config
from tests.helpers import TINY

VARIANTS: dict[str, Any] = {"plain": [], "rotary": ["model.positions=rotary", ["model.source_from=end"]]}


def write_sweep(folder: Path, **changes: Any) -> Path:
    """Two variants, two seeds and two lengths, in ``folder``, with its base; None takes a field away."""
    base = load_config(overrides=[*TINY, "train.steps=4", "train.validate_every=2", "data.train=100"])
    (folder / "base.yaml").write_text(yaml.safe_dump(base.model_dump()))
    content = {"base": "base.yaml", "seeds": [0, 1], "lengths": [8, 3], "sequences": 4, "variants": VARIANTS, **changes}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}, sort_keys=False))
    return path
