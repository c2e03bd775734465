"""Training: ``fit`` is a generator of typed events. It prints nothing and writes nothing; whoever listens does.

Step ``i`` is a pure function of (configuration, seed, ``i``) and of the state before it: its batch, its learning rate and
its dropout depend on nothing else. A training that is stopped and continued is therefore the same training.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from seqrev.batches import Batches
from seqrev.config import Config, TrainConfig
from seqrev.data import Split, check_possible, rows_of
from seqrev.decoding import teacher_forced
from seqrev.distributed import ALONE, World
from seqrev.errors import InputError, TrainingError, UsageError, shorten
from seqrev.evaluation import compare, greedy_answers
from seqrev.interpret import anti_diagonal
from seqrev.model.transformer import Transformer, least_weights, weight_shapes
from seqrev.optimizer import Adam
from seqrev.sequences import Sequences
from seqrev.task import PAD, Array, vocabulary_size
from seqrev.tensors import to_tensors

Arrays = Mapping[str, NDArray[Any]]
LOOKED_AT = 64  # validation sequences whose attention is scored; scoring all would take as long as answering them


@dataclass(frozen=True)
class Step:
    """One training step was taken."""

    step: int
    """Steps taken so far; the first is 1."""
    loss: float
    """Mean cross-entropy of the batch's target tokens, in nats. On a GPU it is read at the steps that are logged; at the
    others it is NaN, so that the program need not wait for the device."""
    lr: float
    gradient_norm: float
    """L2 norm of the gradient over all weights, before clipping; read when the loss is."""
    tokens: int
    """Target tokens in the batch, ``<EOS>`` included."""


@dataclass(frozen=True)
class Validation:
    """The model was tried on the validation sequences."""

    step: int
    loss: float
    """Teacher-forced mean cross-entropy, in nats."""
    exact_match: float
    """Free-running."""
    token_accuracy: float
    """Free-running."""
    mass: float
    """Anti-diagonal of the last decoder layer's head mean, teacher-forced, over the first ``LOOKED_AT`` sequences."""
    hit: float


Event = Step | Validation


class TrainingState:
    """All that changes during training: the model, the optimizer, and how many steps were taken."""

    def __init__(self, config: Config, device: torch.device | str = "cpu", world: World = ALONE) -> None:
        """Begin: weights drawn from the seed, no step taken.

        Raises:
            UsageError: there are fewer sequences in a batch than processes.
        """
        if config.train.batch_size < world.size:
            raise UsageError(
                f"train.batch_size is {config.train.batch_size}, and there are {world.size} processes; at least one "
                f"sequence for each was expected.",
                f"--set train.batch_size={world.size}",
            )
        self.config = config
        self.device = torch.device(device)
        self.world = world
        self.step = 0
        self.validated = 0  # the step of the last validation
        self.reading_is_free = self.device.type == "cpu"  # elsewhere it keeps the program waiting for the device
        self._measured = torch.zeros(2, device=self.device)  # loss and gradient norm, of the first bad step if there is one
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = Transformer(config.model, vocabulary_size(config.task.symbols)).to(self.device)
        if config.train.compile:
            self.model.compile()  # in place: the names of the weights stay
        self.replica = world.replicate(self.model)
        self.optimizer = Adam(self.model.named_parameters())

    def update(self, lr: float, loss: Tensor, gradient_norm: Tensor) -> None:
        """Let the optimizer change the weights, unless this step or one before it had a number that is not finite.

        It is the device that decides, so nothing waits for it. ``read`` tells what became of it.
        """
        fine = self._measured.isfinite().all()
        self._measured = torch.where(fine, torch.stack((loss, gradient_norm)), self._measured)
        self.optimizer.step(lr, found_inf=1.0 - self._measured.isfinite().all().float())
        self.step += 1

    def read(self) -> tuple[float, float]:
        """Loss and gradient norm of the latest step; waits for the device.

        Raises:
            TrainingError: they, or those of a step before, are not finite. State and ``step`` are those of the last step
                that was.
        """
        loss, norm = self._measured.tolist()
        if math.isfinite(loss + norm):
            return loss, norm
        self.step = self.optimizer.steps
        self._measured = torch.zeros_like(self._measured)
        raise TrainingError(
            f"Training stopped at step {self.step + 1}: the loss is {loss}, the gradient norm {norm}. "
            f"The weights of the step before were kept.",
            f"the same command with --set train.lr={self.config.train.lr / 4:g}",
        )

    def to_arrays(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Copies of weights and optimizer state as named arrays, one group for each file of a checkpoint.

        Raises:
            TrainingError: as ``read`` does; what is saved comes from finite steps only.
        """
        self.read()
        moments = self.optimizer.state if self.step else {}
        return {
            "model": {name: value.numpy(force=True).copy() for name, value in self.model.named_parameters()},
            "optimizer": {name: value.numpy(force=True).copy() for name, value in moments.items()},
        }

    def restore(self, step: int, validated: bool, weights: Arrays, moments: Arrays) -> None:
        """Continue from what ``to_arrays`` gave at ``step``; ``validated``: whether a validation of it is on record.

        Raises:
            InputError: names or shapes are not those of this configuration's model.
        """
        own = self.optimizer.state if step else {}
        wrong = sorted(own.keys() ^ moments.keys()) or [name for name in own if own[name].shape != moments[name].shape]
        if wrong:
            raise InputError(f"The checkpoint's optimizer state does not fit: {shorten(wrong[0], 80)}.")
        load_weights(self.model, weights)  # last of the checks: what is refused has changed nothing
        for name, value in own.items():
            value.copy_(torch.from_numpy(moments[name].copy()))
        self.step, self.validated = step, step if validated else 0


def checkpoint_shapes(config: Config) -> dict[str, dict[str, tuple[int, ...]]]:
    """What ``TrainingState.to_arrays`` gives after the first step, as shapes; takes no memory for a model."""
    weights = weight_shapes(config.model, vocabulary_size(config.task.symbols))
    moments: dict[str, tuple[int, ...]] = {f"step.{name}": () for name in weights}
    for kind in ("exp_avg", "exp_avg_sq"):
        moments.update((f"{kind}.{name}", shape) for name, shape in weights.items())
    return {"model": weights, "optimizer": moments}


def step_bytes(config: Config) -> int:
    """A lower bound of the memory that a training step on the longest sequences takes, beside weights and optimizer.

    The gradient; kept for the backward pass, in each layer the states and the feed-forward block; and the logits, which
    have a gradient as large. (Attention may be computed without keeping its weights.)
    """
    shape, tokens = config.model, config.train.batch_size * (config.task.max_length + 1)
    layers = (shape.encoder_layers + shape.decoder_layers) * (shape.d_model + shape.d_ff)
    vocabulary = vocabulary_size(config.task.symbols)
    width = 4 if config.train.precision == "float32" else 2
    return 4 * least_weights(shape, vocabulary) + width * tokens * (layers + 2 * vocabulary)


def load_weights(model: Transformer, weights: Arrays) -> None:
    """Put named arrays into a model.

    Raises:
        InputError: names or shapes are not those of this model.
    """
    own = dict(model.named_parameters())  # each once, where the state dict would name a shared one three times
    wrong = sorted(own.keys() ^ weights.keys()) + sorted(
        name for name in own.keys() & weights.keys() if tuple(own[name].shape) != weights[name].shape
    )
    if wrong:
        raise InputError(f"The checkpoint does not fit the configuration of its run: {shorten(wrong[0], 80)}.")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(weights[name].copy()))


@dataclass(frozen=True)
class Rows:
    """The sequences to train and validate on, as symbols."""

    train: Sequence[Sequence[int]] | None
    """None: fresh samples for every batch (``data.stream``)."""
    validation: Sequence[Sequence[int]]


def sample_rows(config: Config) -> Rows:
    """The rows of a configuration's dataset, without writing them anywhere.

    Raises:
        UsageError: a split cannot be filled.
    """
    check_possible(config)

    def draw(split: Split, count: int) -> Sequences:
        return Sequences(np.concatenate([chunk.padded for chunk in rows_of(split, count, config)]))

    train = None if config.data.stream else draw("train", config.data.train)
    return Rows(train, draw("validation", config.data.validation))


def fit(config: Config, rows: Rows | None = None, state: TrainingState | None = None) -> Iterator[Event]:
    """Train, yielding every step and every validation.

    Args:
        config: what to train.
        rows: the dataset; None: sampled from the configuration.
        state: where to begin; None: at the first step. It changes as training goes on, and is consistent at every
            event, so that a listener can save it or stop.

    Raises:
        TrainingError: the loss is not finite. The weights are those of the step before.
    """
    rows = rows or sample_rows(config)
    state = state or TrainingState(config)
    batches = Batches(config, rows.train)
    while True:
        if validation_due(state):
            state.read()  # nothing is validated, or saved, that did not come from finite numbers
            yield validate(state, rows.validation)
        if state.step >= config.train.steps:
            return
        yield train_step(state, batches[state.step])


def validation_due(state: TrainingState) -> bool:
    """Whether ``fit`` will validate before it takes another step."""
    config = state.config.train
    due = state.step == config.steps or (state.step > 0 and state.step % config.validate_every == 0)
    return due and state.validated != state.step


def train_step(state: TrainingState, sources: Array) -> Step:
    """Take one step on a batch of equally long sequences, ``[rows, length]``; each process computes its share of it.

    The gradient is that of the mean over the whole batch, however many processes there are. Dropout and noise are drawn
    from (seed, step, rank): they are not the same for another number of processes, all else is, to rounding.

    Raises:
        TrainingError: the loss or the gradient is not finite; on a GPU, here or at one of the next steps, until the next
            one that is logged.
    """
    config, world = state.config.train, state.world
    share = world.share(sources)
    source, target = to_tensors(share, state.device)
    lr = learning_rate(state.step, config)
    if not state.model.training:  # asked first, because telling every part takes 1 % of a step
        state.model.train()
    with torch.random.fork_rng(devices=[state.device] if state.device.type == "cuda" else []):
        seed = torch.default_generator.manual_seed if state.device.type == "cpu" else torch.manual_seed
        seed(step_seed(state.config.seed, state.step, world.rank))  # the latter keeps a note for each device that is absent
        with torch.autocast(state.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits = state.replica(source, target[:, :-1], padded=False)
        loss = token_loss(logits.float(), target[:, 1:])
        loss = loss * (world.size * len(share) / len(sources))  # so that the mean over the processes is that over all rows
        state.optimizer.zero_grad()
        torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(state.optimizer.parameters, config.clip or math.inf)
    state.update(lr, world.mean(loss.detach()), norm)
    now = state.reading_is_free or is_logged(state.step, config)
    value, gradient_norm = state.read() if now else (math.nan, math.nan)
    return Step(state.step, value, lr, gradient_norm, len(sources) * (target.shape[1] - 1))


def step_seed(seed: int, step: int, rank: int) -> int:
    """What the randomness of a step begins with. Rank 0 has the same as a process that is alone."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def is_logged(step: int, config: TrainConfig) -> bool:
    """Whether the loss of a step, counted from 1, goes into ``metrics.jsonl``."""
    return step % config.log_every == 0 or step in (1, config.steps)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up to ``lr``, then linear decay towards zero; ``step`` counts from 0."""
    rising = (step + 1) / max(1, config.warmup)
    falling = (config.steps - step) / max(1, config.steps - config.warmup)
    return config.lr * min(1.0, rising, falling)


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the tokens that are not padding; ``[batch, tgt, vocabulary]`` against ``[batch, tgt]``."""
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=PAD)


def validate(state: TrainingState, sources: Sequence[Sequence[int]]) -> Validation:
    """Teacher-forced loss and free-running exact match on held-out sequences.

    Raises:
        TrainingError: the loss is not finite.
    """
    state.model.eval()
    forced = teacher_forced(state.model, sources)
    loss = sum(-answer.log_probability for answer in forced) / sum(len(source) + 1 for source in sources)
    if not math.isfinite(loss):
        raise TrainingError(
            f"Training stopped at step {state.step}: the validation loss is {loss}.",
            f"the same command with --set train.lr={state.config.train.lr / 4:g}",
        )
    result = compare(sources, greedy_answers(state.model, sources, forced)).overall
    score, *_ = anti_diagonal(state.model, sources[:LOOKED_AT])
    state.validated = state.step
    return Validation(state.step, loss, result.exact_match, result.token_accuracy, score.mass, score.hit)
