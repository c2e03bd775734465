"""What was seen of one sequence, ready to be shown: as a picture, or as a page to explore."""

import html
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seqrev.api.causes import SeenInfluence, SeenResidual, Shown
from seqrev.errors import UsageError
from seqrev.interpret.attention import Attention
from seqrev.interpret.attention_kinds import Kind
from seqrev.interpret.influence import influence
from seqrev.interpret.residual import read_residual
from seqrev.system.threads import limit_threads

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from seqrev.api.reverser import Reverser
    from seqrev.plotting.style import Theme, ThemeName


@dataclass(frozen=True, eq=False, repr=False)
class SeenAttention(Shown, Attention):
    """The answer of a model to one sequence, and where every layer and head looked; a notebook shows the picture."""

    reverser: "Reverser | None" = None
    """That answered."""
    can_answer_again: bool = False
    """Whether its weights alone, in a page, give this answer."""

    @property
    def name(self) -> str:
        """Of the model, in titles."""
        return "a model" if self.reverser is None else self.reverser.name

    def plot(
        self,
        kind: Kind = "cross",
        layer: int | None = None,
        head: int | None = None,
        guide: bool = True,
        *,
        theme: "Theme | ThemeName" = "paper",
    ) -> "Figure":
        """A Matplotlib figure: the head mean of the last layer, large, above every head of every layer.

        A ``layer``, counted from 1, is drawn without the others, and a ``head`` alone. The ``guide`` frames the cells where
        a perfect model would look. ``theme``: ``paper``, ``slide`` or ``dark``.

        Raises:
            UsageError: there is no such kind, layer, head or theme.
        """
        from seqrev.plotting.attention import draw_attention  # Matplotlib: whoever only computes need not wait for it

        return draw_attention(self, self.name, kind, layer, head, guide, theme=theme)

    def page(
        self,
        kind: Kind = "cross",
        layer: int | None = None,
        head: int | None = None,
        on_warning: Callable[[str], None] = warnings.warn,
    ) -> "Page":
        """A page in which the model lives, HTML that needs no network; it begins with this sequence, kind, layer and head.

        After a beam search, which a page does not have, it shows the maps of this answer only, and so it does where
        ``ablate`` or a hook changed the model. ``on_warning`` is told of stages of the training that are damaged; the page
        does without them.

        Raises:
            UsageError: there is no such kind, layer or head; or there is too much for a page.
        """
        from seqrev.plotting.attention import draw_page

        stages = self.reverser.stages(on_warning) if self.reverser and self.can_answer_again else ()
        longest = self.reverser.config.task.max_length if self.reverser else None
        return Page(draw_page(self, self.name, stages, kind, layer, head, longest))

    def influence(self) -> SeenInfluence:
        """Change every symbol of the source, and see which tokens of this answer that changes.

        Raises:
            UsageError: there is no other symbol, or too much to try.
        """
        reverser = self._answered()
        with limit_threads(reverser.config.train.threads):
            return SeenInfluence(**vars(influence(reverser.model, self)), name=self.name)

    def residual(self) -> SeenResidual:
        """What the residual stream of the decoder says at every layer, and what each part adds to the logits."""
        reverser = self._answered()
        with limit_threads(reverser.config.train.threads):
            return SeenResidual(**vars(read_residual(reverser.model, self)), name=self.name)

    def _answered(self) -> "Reverser":
        if self.reverser is None:
            raise UsageError("The model that answered is not known.", "seqrev.load(…).attention(…)")
        return self.reverser


class Page(str):
    """A page of HTML; a notebook shows the page itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Page: {len(self):,} characters of HTML; save it with .save('map.html')>"

    def save(self, path: str | Path) -> Path:
        """Write it to a file that ends in ``.html``; errors as those of ``seqrev.plotting.export``."""
        from seqrev.plotting.export import save_page

        save_page(self, Path(path))
        return Path(path)

    def _repr_html_(self) -> str:
        """In a frame of its own, out of whose sandbox its script cannot reach the notebook."""
        frame = 'sandbox="allow-scripts allow-forms" style="width: 100%; height: 46em; border: 0"'
        return f'<iframe srcdoc="{html.escape(self)}" {frame}></iframe>'
