"""What experiments on a model have found, ready to be shown: each draws itself, as what was seen of a sequence does."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqrev.interpret.influence import Influence
from seqrev.interpret.patching import Patching, PathPatching
from seqrev.interpret.residual import ResidualReading
from seqrev.system.text import shorten_sequence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from seqrev.plotting.style import Theme, ThemeName


class Shown(ABC):
    """What a notebook shows as a picture."""

    @abstractmethod
    def plot(self, *, theme: "Theme | ThemeName" = "paper") -> "Figure":
        """A Matplotlib figure."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        from seqrev.plotting.figures import notebook_png

        return notebook_png(self.plot())


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class _Named(Shown):
    name: str
    """Of the model, in titles."""


@dataclass(frozen=True, eq=False, repr=False)
class SeenInfluence(_Named, Influence):
    """What changing each symbol of a source does to each emitted token."""

    def __repr__(self) -> str:
        return f"<Influence: of {len(self.seen.source)} symbols on {len(self.effect)} tokens>"

    def plot(self, layer: int | None = None, head: int | None = None, *, theme: "Theme | ThemeName" = "paper") -> "Figure":
        """Beside the cross-attention of a layer (None: the last) and head (None: the mean)."""
        from seqrev.plotting.causes import draw_influence

        return draw_influence(self, self.name, layer, head, theme=theme)


@dataclass(frozen=True, eq=False, repr=False)
class SeenPatching(_Named, Patching):
    """How much of the clean answer each activation brings back into the corrupt run."""

    def __repr__(self) -> str:
        return f"<Patching: {shorten_sequence(self.clean)} into {shorten_sequence(self.corrupt)}>"

    def plot(self, *, theme: "Theme | ThemeName" = "paper") -> "Figure":
        """A map of each kind of activation."""
        from seqrev.plotting.causes import draw_patching

        return draw_patching(self, self.name, theme=theme)


@dataclass(frozen=True, eq=False, repr=False)
class SeenPathPatching(_Named, PathPatching):
    """How much of the clean answer one head brings back, through the inputs of each later head."""

    def __repr__(self) -> str:
        return f"<PathPatching: from {self.sender} to {len(self.receivers) - 1} heads>"

    def plot(self, *, theme: "Theme | ThemeName" = "paper") -> "Figure":
        """A table of heads and inputs."""
        from seqrev.plotting.causes import draw_path

        return draw_path(self, self.name, theme=theme)


@dataclass(frozen=True, eq=False, repr=False)
class SeenResidual(_Named, ResidualReading):
    """What is in the residual stream of the decoder at every layer, and what each part adds to the logits."""

    def __repr__(self) -> str:
        return f"<ResidualReading: {len(self.parts)} parts, {len(self.emitted)} tokens>"

    def plot(self, *, theme: "Theme | ThemeName" = "paper") -> "Figure":
        """The logit lens, above what each part adds to the logit of the emitted token."""
        from seqrev.plotting.causes import draw_residual

        return draw_residual(self, self.name, theme=theme)
