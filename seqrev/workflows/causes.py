"""``seqrev attention --influence``, ``--patch``, ``--path``, ``--lens`` and ``--ablate``: experiments, with pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqrev.api.reverser import Reverser
from seqrev.data.dataset import load_split
from seqrev.inference.evaluation import Counts, evaluate
from seqrev.interpret import influence as experiment
from seqrev.interpret.ablation import How, ablate
from seqrev.interpret.attention_kinds import check_layer_and_head
from seqrev.interpret.heads import ANSWERED
from seqrev.interpret.patching import Patching, PathPatching, patch, path_patch
from seqrev.interpret.residual import ResidualReading, read_residual
from seqrev.plotting.export import picture_errors, save_figure
from seqrev.system.threads import limit_threads
from seqrev.task import check_sequence
from seqrev.workflows.attention import held_out_example, picture_path
from seqrev.workflows.evaluate import run_of

if TYPE_CHECKING:
    from seqrev.plotting.style import ThemeName


def influence(
    model: Reverser, sequence: Sequence[int] | None = None, layer: int | None = None, head: int | None = None
) -> experiment.Influence:
    """Change every symbol of a sequence (None: of one of the test split), and see what that does beside the attention.

    ``layer`` and ``head``: of the attention that ``draw_influence`` will show, to be checked before the work.

    Raises:
        UsageError: no such layer or head, or a sequence that the model does not take.
        InputError: there is no test split.
    """
    check_layer_and_head(model.config.model, "cross", layer, head)
    seen = model.attention(held_out_example(model) if sequence is None else sequence)
    with limit_threads(model.config.train.threads):
        return experiment.influence(model.model, seen)


def patching(model: Reverser, clean: Sequence[int], corrupt: Sequence[int]) -> Patching:
    """Put every activation of the run over ``clean`` into that over ``corrupt``, and see what comes back.

    Raises:
        UsageError: a sequence that the model does not take, or two that cannot be compared.
    """
    _check(model, clean, corrupt)
    with limit_threads(model.config.train.threads):
        return patch(model.model, clean, corrupt)


def path_patching(model: Reverser, clean: Sequence[int], corrupt: Sequence[int], sender: str) -> PathPatching:
    """Let one input of one head after another know of one head of the other run, and see what comes back.

    Raises:
        UsageError: as ``patching``, or there is no such head.
    """
    _check(model, clean, corrupt)
    with limit_threads(model.config.train.threads):
        return path_patch(model.model, clean, corrupt, sender)


def residual_stream(model: Reverser, sequence: Sequence[int] | None = None) -> ResidualReading:
    """Read the residual stream of the decoder at every layer, while it answers (None: one of the test split).

    Raises:
        UsageError: a sequence that the model does not take.
        InputError: there is no test split.
    """
    seen = model.attention(held_out_example(model) if sequence is None else sequence)
    with limit_threads(model.config.train.threads):
        return read_residual(model.model, seen)


def save(
    found: experiment.Influence | Patching | PathPatching | ResidualReading,
    model: Reverser,
    out: Path | None = None,
    layer: int | None = None,
    head: int | None = None,
    *,
    theme: "ThemeName" = "paper",
) -> Path:
    """Save the picture of an experiment, and return its path.

    That is ``out``, a ``.png``, ``.svg`` or ``.pdf``; None: numbered in the run's ``attention`` folder.
    ``layer`` and ``head``: of the attention beside an influence.

    Raises:
        InputError: the file cannot be written.
        PictureError: the picture cannot be drawn.
    """
    name = str(model.run or "a model")
    with picture_errors(), picture_path(model.run, out, ".png") as path:
        from seqrev.plotting import causes  # which imports Matplotlib

        if isinstance(found, experiment.Influence):
            figure = causes.draw_influence(found, name, layer, head, theme=theme)
        elif isinstance(found, Patching):
            figure = causes.draw_patching(found, name, theme=theme)
        elif isinstance(found, PathPatching):
            figure = causes.draw_path(found, name, theme=theme)
        else:
            figure = causes.draw_residual(found, name, theme=theme)
        save_figure(figure, path)
    return path


def ablation(model: Reverser, groups: Sequence[Sequence[str]], how: How = "zero") -> list[Counts]:
    """Errors on the first test sequences: of the whole model first, then without each group of points.

    They are counted teacher-forced, so that every token is emitted once, by one draw. (An answer is right from the first
    token to ``<EOS>`` if, and only if, it is so free-running.)
    """
    rows = load_split(run_of(model).data, "test", model.config)
    answered, counts = rows[:ANSWERED], []
    with limit_threads(model.config.train.threads):
        for names in ([], *groups):
            with ablate(model.model, names, how, rows):
                counts.append(evaluate(model.model, answered, protocol="teacher-forced").overall)
    return counts


def _check(model: Reverser, *sequences: Sequence[int]) -> None:
    for sequence in sequences:
        check_sequence(sequence, model.config.task.symbols, model.longest_source)
