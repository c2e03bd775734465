"""Writing figures, animations, arrays and pages. A file appears whole or not at all.

All ``save_*`` raise ``UsageError`` for a suffix that is not theirs and ``InputError`` where the file cannot be written.
"""

import io
import shlex
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seqrev.errors import InputError, PictureError, SeqrevError, StorageError, UsageError
from seqrev.system.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS, ARRAYS = ("png", "svg", "pdf"), ("npz",)
FIGURE_DPI, ANIMATION_DPI = 160, 100  # pixels per inch
_NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same bytes every time


@contextmanager
def picture_errors() -> Iterator[None]:
    """Import what draws, draw and save in here: whatever fails is a known error, and no fault of what was computed.

    Raises:
        PictureError: in place of an error that is not for users: a cache that cannot be written, a library that is broken.
    """
    try:
        yield
    except SeqrevError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise PictureError(f"The picture cannot be drawn ({type(error).__name__}: {reason[:300]}).") from error


def check_format(path: Path, formats: Sequence[str] = FORMATS) -> str:
    """The format that a file's suffix asks for.

    Raises:
        UsageError: it is none of ``formats``.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in formats:
        option = "--arrays" if formats == ARRAYS else "--out"
        hint = shlex.join((option, str(path.parent / f"{path.stem or 'map'}.{formats[0]}")))
        raise UsageError(f"{path} must end in {', '.join('.' + name for name in formats)}.", hint)
    return suffix


def save_figure(figure: "Figure", path: Path) -> None:
    """Draw a figure in the format of the path's suffix: the same figure gives the same bytes.

    SVG has its words as text, PDF has TrueType fonts.
    """
    _write(path, _draw(figure, check_format(path), FIGURE_DPI).getvalue())


def save_animation(figures: Iterable["Figure"], path: Path, seconds: float = 0.6, pause: float = 3.0) -> None:
    """Write figures of one size as a GIF that repeats for ever: ``seconds`` for each, ``pause`` seconds for the last."""
    check_format(path, ("gif",))
    pictures = (Image.open(_draw(figure, "png", ANIMATION_DPI)).convert("RGB") for figure in figures)
    images = [picture.quantize(dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    durations = [round(1000 * seconds)] * (len(images) - 1) + [round(1000 * pause)]
    images[0].save(buffer, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    _write(path, buffer.getvalue())


def save_arrays(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
    """Write named arrays to a compressed ``.npz``."""
    check_format(path, ARRAYS)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    _write(path, buffer.getvalue())


def save_page(html: str, path: Path) -> None:
    """Write an HTML page."""
    check_format(path, ("html",))
    _write(path, html.encode())


def _draw(figure: "Figure", kind: str, dpi: int) -> io.BytesIO:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi, metadata=_NO_DATE.get(kind))
    return buffer


def _write(path: Path, content: bytes) -> None:
    try:
        atomic_write(path, content)
    except StorageError as error:
        elsewhere = Path(tempfile.gettempdir() if path.resolve().parent == Path.cwd() else "") / path.name
        option = "--arrays" if path.suffix.lower() == ".npz" else "--out"
        raise InputError(str(error), shlex.join((option, str(elsewhere)))) from None
