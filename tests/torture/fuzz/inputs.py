"""What is tried: random bytes, and valid content that was changed."""

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

TOKENS = [
    *(
        b"\x00",
        b"\xff",
        b"\x1b[31m",
        b"\x9b",
        b"\x7f",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"\xe2\x80\xae",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
    ),
    *(
        b"-1",
        b"0",
        b"1e999",
        b"NaN",
        b".nan",
        b"-.inf",
        b"9" * 5_000,
        b"9" * 30,
        b"0x" + b"f" * 4_000,
        b"1:" * 300 + b"1.5",
    ),
    *(b"[" * 1_500, b"{", b"}", b"[", b"]", b'"', b"'", b":", b",", b"=", b"#", b"- ", b"? ", b"|", b">", b"%", b"@", b"`"),
    *(b"&a ", b"*a", b"!!int ", b"!!python/object/apply:os.system ", b"<<: ", b"---\n", b"...", b"null", b"true", b"~"),
    *(
        b"$\\frac$",
        b"[red]",
        b"../../x",
        b"--",
        b"-",
        b"--json",
        b"\\u0000",
        b"\\ud800",
        b"2001-01-01",
        b"0000-00-00",
        b"a" * 9_000,
    ),
]
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**30, -(10**4_000), 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "1", "x", "\x1b[31m", "\u202e", "../../x", "9" * 5_000, "$\\frac$", [], {}, [[]], [1], {"": 0}, {"a": {"a": {}}}),
    *(json.loads("[" * 60 + "]" * 60), [0] * 2_000, {f"k{number}": number for number in range(300)}),
]
TEXTS = [json.dumps(value) for value in VALUES]
numbers = st.integers(0, 2**16)
edits = st.lists(st.tuples(st.integers(0, 5), numbers, numbers), min_size=1, max_size=4)
trees = st.lists(st.tuples(st.integers(0, 3), numbers, numbers), min_size=1, max_size=3)
Edits = list[tuple[int, int, int]]


def mutate(content: bytes, changes: Edits) -> bytes:
    """Valid content with something put in, taken out, doubled, overwritten, cut or flipped."""
    for kind, position, choice in changes:
        start = position % (len(content) + 1)
        token, end = TOKENS[choice % len(TOKENS)], start + choice % 40
        match kind:
            case 0:
                content = content[:start] + token + content[start:]
            case 1:
                content = content[:start] + content[end:]
            case 2:
                content = content[:end] + content[start:]
            case 3:
                content = content[:start] + token + content[start + len(token) :]
            case 4:
                content = content[:start]
            case 5:
                content = (
                    content[:start] + bytes([content[start] ^ 1 << choice % 8]) + content[start + 1 :]
                    if end < len(content)
                    else content
                )
    return content


def mutate_tree(tree: Any, changes: Edits) -> Any:
    """A document in which values have other types and sizes, keys are gone or have other names, or something is nested."""
    tree = json.loads(json.dumps(tree))
    for kind, position, choice in changes:
        nodes = list(_nodes(tree))
        parent, key = nodes[position % len(nodes)] if nodes else (None, None)
        value = json.loads(TEXTS[choice % len(TEXTS)])  # a new one: a value that is put into itself has no end
        if parent is None:
            return value
        match kind:
            case 0:
                parent[key] = value
            case 1:
                del parent[key]
            case 2:
                parent[key] = [parent[key]] if choice % 2 else {"a": parent[key]}
            case 3 if isinstance(parent, dict):
                parent[str(value)[:60]] = parent.pop(key)
            case 3:
                parent.insert(key, value)
    return tree


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        if len(tree) < 100:
            yield from _nodes(tree[key])
