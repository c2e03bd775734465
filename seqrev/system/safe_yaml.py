"""YAML as plain settings need it, and no more: a stranger's file can neither run code nor fill the memory."""

from typing import Any

import yaml

LARGEST_TEXT = 20_000  # characters; a configuration has a few hundred
DEEPEST_NESTING = 16  # levels; a configuration has two


def parse_yaml(text: str) -> Any:
    """Read YAML; raise ``ValueError``, with a message that continues "The file …", if it is none, or of a kind unwanted."""
    try:
        unwanted = _find_unwanted(text)
        if not unwanted:
            return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # also a date that does not exist, or 1:30 too large
        mark = getattr(error, "problem_mark", None)
        raise ValueError("is not valid YAML" + (f" (line {mark.line + 1})" if mark else "")) from None
    raise ValueError(f"{unwanted}, which no configuration needs")


def _find_unwanted(text: str) -> str | None:
    """Aliases (a few lines of them unfold to gigabytes), tags, and what is too deep or too long."""
    if len(text) > LARGEST_TEXT:
        return f"has more than {LARGEST_TEXT:,} characters"
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):  # lazy: what is refused is not read to its end
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            return "uses YAML aliases (*name)"
        if getattr(event, "tag", None) is not None:
            return "uses YAML tags (!name)"
        if depth > DEEPEST_NESTING:
            return f"is nested more than {DEEPEST_NESTING} levels deep"
    return None
