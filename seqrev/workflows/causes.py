"""``seqrev attention --influence``, ``--patch``, ``--path``, ``--lens`` and ``--ablate``: experiments, with pictures."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from seqrev.api.reverser import Reverser
from seqrev.data.dataset import load_split
from seqrev.inference.evaluation import Counts, evaluate
from seqrev.interpret import influence as experiment
from seqrev.interpret.ablation import How, ablate
from seqrev.interpret.attention_kinds import check_layer_and_head
from seqrev.interpret.heads import ANSWERED
from seqrev.interpret.patching import Patching, PathPatching, patch, path_patch
from seqrev.interpret.residual import ResidualReading, read_residual
from seqrev.plotting.causes import draw_influence, draw_patching, draw_path, draw_residual
from seqrev.plotting.export import check_format, save_figure
from seqrev.system.threads import limit_threads
from seqrev.task import check_sequence
from seqrev.workflows.attention import held_out_example
from seqrev.workflows.evaluate import run_of


def influence(
    model: Reverser,
    sequence: Sequence[int] | None = None,
    layer: int | None = None,
    head: int | None = None,
    out: Path | None = None,
) -> tuple[experiment.Influence, Path]:
    """Change every symbol of a sequence (None: of one of the test split), and draw what that does beside the attention.

    The picture is ``out``, a ``.png``, ``.svg`` or ``.pdf``; None: numbered in the run's ``attention`` folder. That holds
    for all functions here, and so do the errors.

    Raises:
        UsageError: no such layer or head, another suffix, or a sequence that the model does not take.
        InputError: a file cannot be written, or there is no test split.
    """
    _check_out(out)
    check_layer_and_head(model.config.model, "cross", layer, head)
    seen = model.attention(held_out_example(model) if sequence is None else sequence)
    with limit_threads(model.config.train.threads):
        found = experiment.influence(model.model, seen)
    return found, _save(draw_influence(found, str(model.run or "a model"), layer, head), model, out)


def patching(
    model: Reverser, clean: Sequence[int], corrupt: Sequence[int], out: Path | None = None
) -> tuple[Patching, Path]:
    """Put every activation of the run over ``clean`` into that over ``corrupt``, and draw what comes back."""
    _check_out(out)
    _check(model, clean, corrupt)
    with limit_threads(model.config.train.threads):
        found = patch(model.model, clean, corrupt)
    return found, _save(draw_patching(found, str(model.run or "a model")), model, out)


def path_patching(
    model: Reverser, clean: Sequence[int], corrupt: Sequence[int], sender: str, out: Path | None = None
) -> tuple[PathPatching, Path]:
    """Let one input of one head after another know of one head of the other run, and draw what comes back."""
    _check_out(out)
    _check(model, clean, corrupt)
    with limit_threads(model.config.train.threads):
        found = path_patch(model.model, clean, corrupt, sender)
    return found, _save(draw_path(found, str(model.run or "a model")), model, out)


def residual_stream(
    model: Reverser, sequence: Sequence[int] | None = None, out: Path | None = None
) -> tuple[ResidualReading, Path]:
    """Read the residual stream of the decoder at every layer, and draw what each part adds to the logits."""
    _check_out(out)
    seen = model.attention(held_out_example(model) if sequence is None else sequence)
    with limit_threads(model.config.train.threads):
        reading = read_residual(model.model, seen)
    return reading, _save(draw_residual(reading, str(model.run or "a model")), model, out)


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


def _check_out(out: Path | None) -> None:
    if out is not None:
        check_format(out)


def _save(figure: Figure, model: Reverser, out: Path | None) -> Path:
    path = out or run_of(model).numbered("attention", ".png")
    save_figure(figure, path)
    return path
