"""Text that holds what a stranger chose, made safe and short enough to be shown, in any encoding."""

import re
import statistics
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

IN_ASCII = {
    "→": "->",
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "λ": "lambda",
    "π": "pi",
    "█": "@",
    "▓": "#",
    "▒": "+",
    "░": ".",
}


def shorten(value: object, width: int = 24) -> str:
    """A value as it may be shown in a message: short, and with control characters made visible."""
    try:
        text = ascii(value)
    except (ValueError, RecursionError):  # Python prints no whole number of more than 4,300 digits, and no deep nesting
        text = f"a {type(value).__name__} too large to print"
    return text if len(text) <= width else text[: width - 1] + "…"


def shorten_sequence(symbols: Iterable[int], width: int = 44) -> str:
    """Symbols as they are typed, with what has no room in ``width`` characters left out at the end.

    >>> shorten_sequence([4, 8, 2, 9])
    '4 8 2 9'
    """
    return textwrap.shorten(" ".join(map(str, symbols)), width, placeholder=" …")


def printable(text: str) -> str:
    """Text with its control characters, which could steer a terminal, written out; line ends stay."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


def pasteable(line: str) -> str:
    r"""A line for a shell with the control characters in its quotes, a line end among them, as Bash and others read them.

    >>> print(pasteable("seqrev train --run 'two\nlines'"))
    seqrev train --run $'two\nlines'
    """
    return re.sub(r"""(?<!\w)(?:"'"|'([^']*)')""", _quote, line)  # of the first kind are those for a quote in a path


def _quote(found: re.Match[str]) -> str:
    if (found[1] or "").isprintable():
        return found[0]
    return "$'" + "".join(char if char.isprintable() and char != "\\" else _escape(char) for char in found[1]) + "'"


def _escape(char: str) -> str:
    if char.isascii():
        return ascii(char)[1:-1]
    of_no_text = "\udc80" <= char <= "\udcff"  # a byte of a path that is no text
    content = char.encode("utf-8", "surrogateescape" if of_no_text else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in content)  # not \u2028, which the Bash of macOS does not know


def spell(error: UnicodeError) -> tuple[str, int]:
    """For ``codecs.register_error``: what an encoding lacks, in ASCII, as people would write it; else a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    spelt = (
        IN_ASCII.get(char) or unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode() for char in missing
    )
    return "".join(text or "?" for text in spelt), error.end


def mean_and_range(values: Sequence[float], between: str = " ") -> str:
    """``0.35 (0.06–0.94)``: the mean, and the range where there is one; of nothing ``-``.

    >>> mean_and_range([0.0, 0.5])
    '0.25 (0.00–0.50)'
    """
    if not values:
        return "-"
    low, high = min(values), max(values)
    return f"{statistics.fmean(values):.2f}" + (f"{between}({low:.2f}–{high:.2f})" if low < high else "")
