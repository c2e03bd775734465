"""A model without some of its parts, for as long as ``with`` lasts."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, NoReturn

from seqrev.inference.batching import Sources
from seqrev.interpret.ablation import How, ablate
from seqrev.system.threads import limit_threads

if TYPE_CHECKING:
    from seqrev.api.reverser import Reverser


class Ablation(AbstractContextManager["Reverser"]):
    """What ``Reverser.ablate`` gives: inside of ``with`` the model answers without these points, outside as ever."""

    def __init__(self, reverser: "Reverser", points: Sequence[str], how: How, sources: Sources | None, seed: int) -> None:
        """Nothing is switched off yet; the arguments are those of ``seqrev.interpret.ablation.ablate``."""
        self._reverser, self._arguments = reverser, (points, how, sources, seed)
        self._off: list[ExitStack] = []  # one for each `with` that has not ended

    def __repr__(self) -> str:
        return f"<Ablation of {', '.join(map(str, self._arguments[0]))}: in effect inside of `with model.ablate(…):`>"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"An ablation has no {name}. Ask the model itself, inside of `with model.ablate(…):`.")

    def __enter__(self) -> "Reverser":
        with limit_threads(self._reverser.config.train.threads), ExitStack() as stack:  # it may look at the sequences now
            stack.enter_context(ablate(self._reverser.model, *self._arguments))
            self._off.append(stack.pop_all())
        return self._reverser

    def __exit__(self, *_error: object) -> None:
        self._off.pop().close()
