"""Letters that Matplotlib's own font lacks, as in names of folders: from a font that is installed, or written out."""

from collections.abc import Set
from functools import cache

from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

from seqrev.system.text import printable

FAMILY = "DejaVu Sans"  # which Matplotlib brings along
BOXES = "last resort"  # in the name of a font of macOS that has a box for everything


def drawable(text: str) -> str:
    r"""Text with its control characters, and those that no font here has, written out: ``\u6f22``; line ends stay."""
    return "".join(char if char == "\n" or _family_with(char) else ascii(char)[1:-1] for char in printable(text))


def families(text: str) -> list[str]:
    """The font of all pictures, and others that a drawable text needs; each letter comes from the first that has it."""
    found = (_family_with(char) for char in text)
    return list(dict.fromkeys((FAMILY, *(family for family in found if family))))


@cache
def _family_with(char: str) -> str | None:
    """The first that has it; other fonts are opened only if that of all pictures has not."""
    if ord(char) in _letters(findfont(FontProperties(family=FAMILY))):
        return FAMILY
    plain = [font for font in fontManager.ttflist if (font.style, font.variant, font.weight) == ("normal", "normal", 400)]
    plain.sort(key=lambda font: ("sans" not in font.name.lower(), font.name))
    named = (font for font in plain if BOXES not in font.name.lower())
    return next((font.name for font in named if ord(char) in _letters(font.fname)), None)


@cache
def _letters(path: str) -> Set[int]:
    try:
        return get_font(path).get_charmap().keys()
    except (OSError, RuntimeError):  # it is gone, or damaged
        return frozenset()
