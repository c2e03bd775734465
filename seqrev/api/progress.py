"""How far a training is: in a notebook a bar and the loss curve, on a terminal a bar."""

import base64
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from seqrev.training.events import Event, Validation

BETWEEN_BARS, BETWEEN_CURVES = 0.5, 2.0  # seconds, at least
SHARE = 10  # a curve may take one in so many seconds


@contextmanager
def shown(progress: bool | Callable[[Event], object] | None, steps: int) -> Iterator[Callable[[Event], object]]:
    """What is to be told every event of a training of so many steps; ``progress`` as in ``seqrev.train``."""
    if callable(progress):
        yield progress
    elif in_notebook() and progress is not False:
        with closing(NotebookView(steps)) as view:
            yield view.tell
    elif progress:
        with _terminal_bar(steps) as tell:
            yield tell
    else:
        yield lambda event: None


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


class Summary:
    """The latest of everything, in one line."""

    def __init__(self, steps: int) -> None:
        self.step, self.steps, self.seconds = 0, steps, 0.0
        self._loss = self._exact = ""

    def add(self, event: Event) -> None:
        """Another event happened."""
        self.step, self.seconds = event.step, event.seconds
        if isinstance(event, Validation):
            self._exact = f" · exact match {event.exact_match:.3f}"
        elif event.loss == event.loss:  # NaN, which was not read, is not
            self._loss = f" · loss {event.loss:.4f}"

    def __str__(self) -> str:
        left = self.seconds / self.step * (self.steps - self.step) if self.step else 0.0
        time_left = f" · {left:.0f} s left" if left >= 1 else ""
        return f"step {self.step:,} of {self.steps:,}{self._loss}{self._exact} · {self.seconds:.0f} s{time_left}"


class NotebookView:
    """One output of a cell, which is replaced as the training goes on, and stays with the whole loss curve."""

    def __init__(self, steps: int) -> None:
        from IPython.display import display

        self._summary, self._rows = Summary(steps), list[dict[str, Any]]()
        self._curve = ""
        self._next_bar = time.monotonic() + BETWEEN_BARS
        self._next_curve = time.monotonic() + BETWEEN_CURVES
        shown: Any = display  # IPython does not annotate it
        self._handle = shown(self._content(), raw=True, display_id=True)

    def tell(self, event: Event) -> None:
        """Another event happened; shown if it is time."""
        self._summary.add(event)
        if event.loss == event.loss:
            kind = "validation" if isinstance(event, Validation) else "train"
            self._rows.append({"event": kind, "step": event.step, "loss": event.loss})
        now = time.monotonic()
        if now < self._next_bar:
            return
        if now >= self._next_curve:
            self._draw()
            drawn = time.monotonic()
            self._next_curve = drawn + max(BETWEEN_CURVES, SHARE * (drawn - now))
        self._next_bar = time.monotonic() + BETWEEN_BARS
        self._handle.update(self._content(), raw=True)

    def close(self) -> None:
        """The training has ended, as planned or not."""
        if self._rows:
            self._draw()
        self._handle.update(self._content(), raw=True)

    def _draw(self) -> None:
        from seqrev.plotting.curves import training_curves
        from seqrev.plotting.figures import notebook_png

        content, size = notebook_png(training_curves(self._rows, ""))
        source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        self._curve = f'<br><img alt="loss curve" src="{source}" width="{size["width"]}" height="{size["height"]}">'

    def _content(self) -> dict[str, str]:
        text = str(self._summary)
        bar = f'<progress value="{self._summary.step}" max="{self._summary.steps}"></progress>'
        return {"text/plain": text, "text/html": f"<div>{bar} {text}{self._curve}</div>"}


@contextmanager
def _terminal_bar(steps: int) -> Iterator[Callable[[Event], None]]:
    """On stderr; where that is no terminal, one line at the end."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    summary = Summary(steps)
    with Progress(BarColumn(), TextColumn("{task.description}", markup=False), console=Console(stderr=True)) as bar:
        task = bar.add_task(str(summary), total=steps)

        def tell(event: Event) -> None:
            summary.add(event)
            bar.update(task, completed=event.step, description=str(summary))

        yield tell
