"""What is wrong with a configuration, in words, and the ``--set`` assignments that mend it."""

import difflib
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from seqrev.config_files import HINT, assign
from seqrev.errors import UsageError
from seqrev.system.text import shorten

MOST_PROBLEMS = 20  # in one message
MOST_ROUNDS = 10  # one problem may hide another


class MisfitError(ValueError):
    """Fields that do not go together; ``change`` is an assignment after which they do."""

    def __init__(self, message: str, change: str) -> None:
        super().__init__(message)
        self.change = change


def explain(error: ValidationError, known: Sequence[str]) -> list[str]:
    """Each error of a tree as a phrase that begins with the dotted name of the field; ``known``: the fields that it has."""
    return [_explain(detail, known) for detail in error.errors(include_url=False)]


def not_valid(name: str, problems: Sequence[str], hint: str = HINT) -> UsageError:
    """The error that names them all, or the first of very many."""
    more = [f"and {len(problems) - MOST_PROBLEMS:,} more"] if len(problems) > MOST_PROBLEMS else []
    return UsageError(f"{name} is not valid: " + "; ".join([*problems[:MOST_PROBLEMS], *more]) + ".", hint)


def assigned(tree: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """A tree of plain values with ``--set`` assignments; raise ``UsageError`` for one that is none."""
    changed = {name: dict(value) if isinstance(value, Mapping) else value for name, value in tree.items()}
    for assignment in assignments:
        assign(changed, assignment)
    return changed


def mending(
    tree: Mapping[str, Any],
    assignments: Sequence[str],
    check: Callable[[Mapping[str, Any]], object],
    defaults: Mapping[str, str],
) -> str:
    """What to ``--set`` instead, or as well, so that ``check`` takes the tree with its assignments; else ``HINT``.

    ``defaults``: of every field. A field that there is not becomes the one that it is most like, and a value that its field
    does not take the nearest that it takes.
    """
    kept: list[str] = []
    changes: dict[str, str] = {}
    for assignment in assignments:
        name = assignment.partition("=")[0].strip()
        try:
            assigned(tree, [*kept, assignment])
            kept.append(assignment)
        except UsageError:
            is_section = any(field.startswith(f"{name}.") for field in defaults)
            if is_section or not (close := closest(name, list(defaults))):
                return HINT
            changes[close[0]] = defaults[close[0]]
    for _ in range(MOST_ROUNDS):
        try:
            check(assigned(tree, [*kept, *map("=".join, changes.items())]))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                name = ".".join(map(str, detail["loc"]))
                if detail["type"] == "extra_forbidden":
                    mine = [one for one in kept if one.partition("=")[0].strip() == name]
                    if not mine or not (close := closest(name, list(defaults))):  # of a file, which --set cannot mend
                        return HINT
                    kept = [one for one in kept if one not in mine]
                    changes[close[0]] = mine[-1].partition("=")[2]
                elif isinstance(misfit := detail.get("ctx", {}).get("error"), MisfitError):
                    field, _, value = misfit.change.partition("=")
                    changes[field] = value
                elif name in defaults:
                    changes[name] = _nearest(detail, defaults[name])
                else:
                    return HINT
        else:
            break
    else:
        return HINT
    return shlex.join(word for change in changes.items() for word in ("--set", "=".join(change)))


def closest(name: str, known: Sequence[str]) -> list[str]:
    """The fields that were perhaps meant by a name, the likeliest first."""
    leaf = name.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return close + [field for field in known if field.rsplit(".", 1)[-1] == leaf and field not in close]


def _nearest(detail: ErrorDetails, default: str) -> str:
    """The value of a field that is nearest to one that it does not take."""
    context, text = detail.get("ctx", {}), shorten(detail["input"], 100)
    choices = re.findall("'([^']+)'", context.get("expected", ""))
    return str(context.get("ge", next(iter(difflib.get_close_matches(text, choices, n=1)), default)))


def _explain(detail: ErrorDetails, known: Sequence[str]) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        close = closest(name, known)
        return f"there is no field {shorten(name, 60)[1:-1]}" + (f" (did you mean {' or '.join(close)}?)" if close else "")
    if detail["type"] == "missing":
        return f"{name} is missing"
    if detail["type"] == "invalid_key":
        return f"{shorten(detail['input'], 60)} is not the name of a field"
    if detail["type"] == "value_error":
        return f"{name + ': ' if name else ''}{detail['ctx']['error']}"
    return f"{name} is {shorten(detail['input'], 40)}, and should be {detail['msg'].removeprefix('Input should be ')}"
