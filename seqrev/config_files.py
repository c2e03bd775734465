"""The text of a configuration: a YAML file, one of the package by its name, or ``--set``; as a tree of plain values."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqrev.errors import InputError, UsageError, command_line
from seqrev.system.files import is_file, is_folder, read_regular
from seqrev.system.safe_yaml import LARGEST_TEXT, parse_yaml
from seqrev.system.text import shorten

CONFIGS = ("small", "fast", "extrapolate", "base")
SWEEPS = ("ablation", "rules")
HINT = "seqrev generate --config small"  # whose run has a config.yaml with every field
_PACKAGE = Path(__file__).parent
# In the wheel they are a part of the package, in a clone they are beside it.
_FOLDER = (_PACKAGE if is_folder(_PACKAGE / "configs") else _PACKAGE.parent) / "configs"


def find_config(source: str | Path, names: Sequence[str] = CONFIGS) -> Path:
    """The file that is meant: a file that is there, else the one of the package with this name.

    >>> find_config("small").name
    'small.yaml'
    """
    return _FOLDER / f"{source}.yaml" if str(source) in names and not is_file(Path(source)) else Path(source)


def read_tree(path: Path, names: Sequence[str] = (), *, follow: bool = True, aliases: bool = False) -> dict[str, Any]:
    """The named values of a YAML file, in which ``aliases`` (``*name``) may be allowed.

    ``names``: what else could have been asked for, which is said where the file does not exist.

    Raises:
        InputError: it cannot be read, is not YAML, or is a link that is not to be followed.
        UsageError: it holds something else.
    """
    expected = f"a YAML file, or one of {', '.join(names)}," if names else "a YAML file"
    near = difflib.get_close_matches(path.stem, names, n=1)
    sweep = command_line("sweep", *(near or SWEEPS[:1]))
    hint = sweep if names is SWEEPS else f"--config {near[0]}" if near else ""
    try:
        tree = parse_yaml(read_regular(path, LARGEST_TEXT, expected, hint=hint, follow=follow).decode(), aliases)
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text; a YAML file was expected.", hint) from None
    except ValueError as error:
        raise InputError(f"{path} {error}.", hint) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise UsageError(f"{path} must hold named fields, such as `seed: 0`.", HINT)
    return tree


def assign(tree: dict[str, Any], assignment: str) -> None:
    """Put one ``dotted.name=value`` into the tree; the value is read as YAML, so ``3``, ``true`` and ``1e-3`` are typed.

    Raises:
        UsageError: it is no assignment.
    """

    def refusal(problem: str) -> UsageError:
        return UsageError(f"--set {shorten(assignment, 60)}{problem}", HINT)

    name, equals, text = assignment.partition("=")
    if not equals:
        raise refusal(" has no value; NAME=VALUE was expected.")
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise refusal(f": the value {str(error).replace(' (line 1)', '')}.") from None
    *sections, leaf = name.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise refusal(f": {shorten(section)[1:-1]} is a value, not a section.")
    tree[leaf] = value
