"""A trained model that answers: load it from a run, or take it from a training.

>>> model = load("runs/001")  # doctest: +SKIP
>>> model.reverse([4, 8, 2, 9])  # doctest: +SKIP
[9, 2, 8, 4]
"""

import copy
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from seqrev.api.ablation import Ablation
from seqrev.api.attention import SeenAttention
from seqrev.api.causes import SeenPatching, SeenPathPatching
from seqrev.api.history import as_table
from seqrev.api.symbols import Symbols, as_lists
from seqrev.config import Config
from seqrev.data.dataset import load_split
from seqrev.data.sampling import draw_split
from seqrev.errors import InputError, UsageError, command_line
from seqrev.inference.batching import Sources
from seqrev.inference.evaluation import Evaluation, Protocol, evaluate
from seqrev.inference.search import Hypothesis, decode
from seqrev.interpret.ablation import How
from seqrev.interpret.attention import record_attention
from seqrev.interpret.patching import patch, path_patch
from seqrev.model.attention import has_hooks
from seqrev.model.transformer import Transformer
from seqrev.model.weights import load_weights, new_model, weight_shapes
from seqrev.runs.checkpoints import Checkpoint, best_first, largest_file
from seqrev.runs.finding import find_run
from seqrev.runs.folders import Run
from seqrev.runs.metrics import read_metrics
from seqrev.runs.stages import load_stages
from seqrev.system.devices import choose_device
from seqrev.system.resources import check_memory
from seqrev.system.threads import limit_threads
from seqrev.task import alignment_name, check_sequence, vocabulary_size
from seqrev.training.events import Event, to_row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from seqrev.plotting.page import Stage
    from seqrev.plotting.style import Theme, ThemeName
    from seqrev.training.trainer import Trainer  # with the optimizer, for which nobody who only asks need wait


@dataclass(eq=False, repr=False)
class Reverser:
    """A trained model, ready to answer.

    A sequence is a list, an array or a tensor of symbols. Every method refuses one that is empty, a symbol out of range,
    more symbols than the model can take, and a beam below 1 or above 1,000, with a ``UsageError``. A beam of 1 is greedy
    decoding. All compute with the threads that the run was trained with (``train.threads``); those of the caller are the
    same afterwards.
    """

    config: Config
    """What it was trained with."""
    model: Transformer
    """In evaluation mode."""
    run: Run | None = None
    """Where it comes from."""
    checkpoint: Checkpoint | None = None
    """Of that run."""
    problems: list[str] = field(default_factory=list)
    """What was wrong with better checkpoints that had to be passed over."""
    trainer: "Trainer | None" = None
    """That trained it, if it comes from a training in this process."""
    events: tuple[Event, ...] = ()
    """Of that training, up to this model."""

    @classmethod
    @torch.inference_mode(False)
    def from_trainer(cls, trainer: "Trainer") -> "Reverser":
        """A copy of a trainer's model as it is now; the trainer may go on."""
        return cls(trainer.config, copy.deepcopy(trainer.model).eval(), trainer=trainer, events=tuple(trainer.history))

    def __repr__(self) -> str:
        origin = f"{self.run}, step {self.checkpoint.step}" if self.run and self.checkpoint else "not saved"
        task = self.config.task
        return f"<Reverser: {origin}; {task.symbols} symbols, trained on lengths {task.min_length} to {task.max_length}>"

    @property
    def name(self) -> str:
        """In titles."""
        return str(self.run or "a model")

    @property
    def longest_source(self) -> int:
        """Symbols in the longest sequence that the model takes."""
        return self.model.longest_source

    def reverse(self, sequence: Symbols) -> list[int]:
        """What the model answers to one sequence of symbols; it may be wrong."""
        return self.decode([sequence])[0].output

    def decode(self, sequences: Iterable[Symbols], beam: int = 1) -> list[Hypothesis]:
        """Answers with their log-probabilities, in order."""
        sources = self._sources(sequences)
        with limit_threads(self.config.train.threads):
            return decode(self.model, sources, beam)

    def evaluate(
        self, sequences: Iterable[Symbols] | None = None, beam: int = 1, protocol: Protocol = "free"
    ) -> Evaluation:
        """Count what the model gets exactly right; ``protocol`` as in ``seqrev.inference.evaluation.evaluate``.

        ``sequences``: None: the test split, none of which was trained on.
        """
        sources = self._held_out() if sequences is None else self._sources(sequences)
        with limit_threads(self.config.train.threads):
            return evaluate(self.model, sources, beam, protocol)

    def attention(self, sequence: Symbols, beam: int = 1) -> SeenAttention:
        """The answer to one sequence, and where every layer and head looked.

        Raises:
            UsageError: also where the maps would take too much memory.
        """
        (source,) = self._sources([sequence])
        with limit_threads(self.config.train.threads):
            seen = record_attention(self.model, source, beam)
        as_it_is = not any(map(has_hooks, self.model.modules()))  # else its weights would give another answer
        return SeenAttention(**vars(seen), reverser=self, can_answer_again=beam == 1 and as_it_is)

    def stages(self, on_warning: Callable[[str], None] = warnings.warn) -> "list[Stage]":
        """The weights that its training kept on its way, and at last its own: what a page computes with.

        ``on_warning`` is told what is damaged, which is left out.
        """
        from seqrev.plotting.page import Stage

        name, stages = "model", list[Stage]()
        if self.run and self.checkpoint:
            name, step = f"step {self.checkpoint.step}", self.checkpoint.step
            shapes, problems = weight_shapes(self.config.model, self.model.vocabulary_size), list[str]()
            earlier = load_stages(self.run.snapshots, shapes, problems)
            stages = [Stage(f"step {number}", weights) for number, weights in earlier.items() if number < step]
            if problems:
                on_warning(f"{' '.join(problems)} The page does without.")
        weights = {name: tensor.float().numpy(force=True) for name, tensor in self.model.state_dict().items()}
        return [*stages, Stage(name, weights)]

    def ablate(
        self, *points: str, how: How = "zero", sequences: Iterable[Symbols] | None = None, seed: int = 0
    ) -> Ablation:
        """Answer without these heads or other points, inside of ``with``: what they add to the residual stream is zero.

        >>> with model.ablate("cross.2.1", "decoder.1.3"):  # doctest: +SKIP
        ...     model.evaluate(sequences)

        A head is named by its kind (``cross``, ``encoder`` or ``decoder``), its layer and its number, from 1;
        ``seqrev.interpret.interventions`` lists the other points. What ``how`` and ``seed`` do is said by
        ``seqrev.interpret.ablation.ablate``; ``mean`` and ``resample`` look at ``sequences`` (None: the test split). All
        who use this model meanwhile, other threads among them, answer without them, too.

        Raises:
            UsageError: there is no such point.
        """
        looked_at = None if how == "zero" else self._held_out() if sequences is None else self._sources(sequences)
        return Ablation(self, points, how, looked_at, seed)

    def patch(self, clean: Symbols, corrupt: Symbols) -> SeenPatching:
        """Put every activation of the run over ``clean`` into that over ``corrupt``, and see what comes back.

        Raises:
            UsageError: also where both are answered alike.
        """
        one, other = self._sources([clean, corrupt])
        with limit_threads(self.config.train.threads):
            return SeenPatching(**vars(patch(self.model, one, other)), name=self.name)

    def path_patch(self, clean: Symbols, corrupt: Symbols, sender: str) -> SeenPathPatching:
        """Let later heads, one input after the other, know of one head (``cross.1.1``) of the run over ``clean``.

        Raises:
            UsageError: as ``patch``, or there is no such head.
        """
        one, other = self._sources([clean, corrupt])
        with limit_threads(self.config.train.threads):
            return SeenPathPatching(**vars(path_patch(self.model, one, other, sender)), name=self.name)

    @property
    def history(self) -> Any:
        """The events of its training: a pandas ``DataFrame``, or without pandas a ``seqrev.api.history.Table``.

        Rows are steps and validations, columns what ``metrics.jsonl`` has. Of a run, these are the steps that were logged
        (``train.log_every``); of a training in this process, all of them.
        """
        return as_table(self._rows())

    def plot_loss(self, *, theme: "Theme | ThemeName" = "paper") -> "Figure":
        """A Matplotlib figure of its training: losses, exact match, anti-diagonal and learning rate over the steps.

        Raises:
            InputError: nothing is known of its training, or ``metrics.jsonl`` is damaged.
        """
        from seqrev.plotting.curves import training_curves

        rows = self._rows()
        if not rows:
            raise InputError("Nothing is known of the training of this model.", 'seqrev.load("runs/001")')
        title = f"Training of {self.name}"
        return training_curves(rows, title, alignment_name(self.config.task.rule), theme=theme)

    def save(self, runs_dir: str | Path | None = None) -> Run:
        """The run that it is in; if it is in none yet, a new one in ``runs_dir``, as ``Trainer.save`` writes it.

        Raises:
            UsageError: it is in a run elsewhere, it does not come from a training, or the trainer has gone on since; and as
                ``Trainer.save``.
        """
        if self.run is not None and runs_dir is not None and self.run.path.parent.resolve() != Path(runs_dir).resolve():
            raise UsageError(f"This model is in {self.run} already; a run is not copied.", f'seqrev.load("{self.run}")')
        if self.run is None:
            if self.trainer is None:
                raise UsageError("This model does not come from a training, whose run could be saved.", "trainer.save()")
            if len(self.trainer.history) != len(self.events):
                raise UsageError("The trainer has gone on since this model was taken from it.", "trainer.save()")
            self.run = self.trainer.save(runs_dir)
            self.config = self.run.config()  # of rows that were given, with their numbers
            self.checkpoint = best_first(self.run.checkpoints)[0]
        return self.run

    def _rows(self) -> list[dict[str, Any]]:
        if self.events:
            return [to_row(event) for event in self.events if event.loss == event.loss]  # NaN, which was not read, is not
        return [] if self.run is None else list(read_metrics(self.run.metrics))

    def _held_out(self) -> Sources:
        """The test split of its run, or the one that its run would have."""
        if self.run is not None:
            return load_split(self.run.data, "test", self.config)
        given = self.trainer.rows.test if self.trainer is not None else None
        if given is not None:
            return given
        return [row for chunk in draw_split("test", self.config.data.test, self.config) for row in chunk]

    def _sources(self, sequences: Iterable[Symbols]) -> Sources:
        """The sequences as lists, if the model takes them."""
        sources = as_lists(sequences)
        for source in sources:
            check_sequence(source, self.config.task.symbols, self.longest_source)
        return sources


@torch.inference_mode(False)  # where the caller is in that mode, the weights could never have gradients
def load(run: str | Path | Run, device: str | torch.device = "auto") -> Reverser:
    """The best checkpoint of a run (highest exact match, then lowest validation loss), in evaluation mode.

    A damaged one is passed over for the next best. ``run``: a folder, a number, or ``latest``; ``device``: ``auto``,
    ``cpu``, ``cuda``, ``cuda:1`` or ``mps``, or a ``torch.device``.

    Raises:
        InputError: no such run, or no checkpoint in it can be used.
        UsageError: the device is not there, or the model does not fit in memory.
    """
    if not isinstance(run, Run):
        run = find_run(str(run), None, Run.has_checkpoint, "a checkpoint")
    else:
        run.check()
    config = run.config()
    target = choose_device(device)
    shapes = weight_shapes(config.model, vocabulary_size(config.task.symbols))
    check_memory(2 * largest_file(shapes), f"The model of {run}")  # the file, and the model
    problems: list[str] = []
    for checkpoint in best_first(run.checkpoints, problems):
        try:
            weights = checkpoint.load("model", shapes)
        except InputError as error:
            if not checkpoint.path.exists():  # a training beside has just removed it, as there is a better one
                return load(run, device)
            problems.append(str(error))
            continue
        model = new_model(config, seed=None)
        load_weights(model, weights)
        return Reverser(config, model.to(target).eval(), run, checkpoint, problems)
    raise InputError(
        " ".join([f"No checkpoint of {run} can be used.", *problems]),
        command_line("train", "--config", f"{run}/config.yaml"),
    )
