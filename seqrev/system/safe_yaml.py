"""YAML as plain settings need it, and no more: a stranger's file can neither run code nor fill the memory."""

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from seqrev.system.text import shorten

LARGEST_TEXT = 20_000  # characters; a configuration has a few hundred
DEEPEST_NESTING = 16  # levels; a configuration has two
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
READ_OTHERWISE = re.compile(r"[-+]?0[0-7_]*[1-7][0-7_]*|.*:.*")  # octal, and to the base of sixty
MOST_VALUES = 20_000  # with aliases written out; a sweep has some hundreds


def parse_yaml(text: str, aliases: bool = False) -> Any:
    """Read YAML; raise ``ValueError``, with a message that continues "The file …", if it is none, or of a kind unwanted.

    ``aliases``: whether one part may refer to another by name, as long as it is not too much with every part written out.
    """
    try:
        unwanted, ambiguous = _find_unwanted(text, aliases), None
        if not unwanted:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            unwanted = _find_unfolded(root) if aliases else None
            ambiguous = None if unwanted else _find_ambiguous(root)
        if not unwanted and not ambiguous:
            return root and SafeConstructor().construct_document(root)
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # also a date that does not exist
        mark = getattr(error, "problem_mark", None)
        raise ValueError("is not valid YAML" + (f" (line {mark.line + 1})" if mark else "")) from None
    raise ValueError(ambiguous or f"{unwanted}, which no configuration needs")


def _find_unwanted(text: str, aliases: bool) -> str | None:
    """Tags, what is too deep or too long, and ``aliases``, if they are not allowed: a few lines unfold to gigabytes."""
    if len(text) > LARGEST_TEXT:
        return f"has more than {LARGEST_TEXT:,} characters"
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):  # lazy: what is refused is not read to its end
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) and not aliases:
            return "uses YAML aliases (*name)"
        if getattr(event, "tag", None) is not None:
            return "uses YAML tags (!name)"
        if depth > DEEPEST_NESTING:
            return f"is nested more than {DEEPEST_NESTING} levels deep"
    return None


def _find_ambiguous(root: yaml.Node | None) -> str | None:
    """A name that is there twice, of which YAML drops the first; ``0100``, which is 64 to YAML; ``1:30``, which is 90."""
    nodes, seen = [root], set()
    while nodes:
        node = nodes.pop()
        if node is None or id(node) in seen:  # the latter by an alias
            continue
        seen.add(id(node))
        nodes += reversed([*_children([node])])  # the first in the text comes first
        if isinstance(node, yaml.MappingNode):
            names: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in names:
                    return f"has {shorten(key.value)} twice (line {key.start_mark.line + 1})"
                names |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        elif node.tag in NUMBERS and READ_OTHERWISE.fullmatch(node.value):
            place = f"line {node.start_mark.line + 1}"
            return (
                f"has {shorten(node.value)} in it ({place}), which YAML reads as another number; plain digits were expected"
            )
    return None


def _find_unfolded(root: yaml.Node | None) -> str | None:
    """What has aliases that unfold to too much, or to no end. Of the level below, no more is listed than is allowed."""
    level, count = [root], 0
    for _ in range(DEEPEST_NESTING + 1):
        count += len(level)
        level = list(itertools.islice(_children(level), MOST_VALUES + 1 - count))
        if count + len(level) > MOST_VALUES:
            return f"unfolds to more than {MOST_VALUES:,} values"
        if not level:
            return None
    return f"is nested more than {DEEPEST_NESTING} levels deep"


def _children(nodes: Iterable[yaml.Node | None]) -> Iterator[yaml.Node]:
    for node in nodes:
        if isinstance(node, yaml.MappingNode):
            yield from itertools.chain.from_iterable(node.value)
        elif isinstance(node, yaml.SequenceNode):
            yield from node.value
