"""All that changes during training: the model, the optimizer, and how many steps were taken."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from seqrev.config import Config, TrainConfig
from seqrev.errors import TrainingError
from seqrev.model.weights import Shapes, load_weights, new_model, weight_shapes
from seqrev.system.devices import choose_device
from seqrev.system.resources import check_memory
from seqrev.task import BOS, EOS, vocabulary_size
from seqrev.training.distributed import SINGLE_PROCESS, Processes
from seqrev.training.optimizer import Adam
from seqrev.training.schedule import is_validated

Arrays = Mapping[str, NDArray[Any]]


class TrainingState:
    """The model, the optimizer, and how many steps were taken."""

    @torch.inference_mode(False)
    def __init__(self, config: Config, device: torch.device | str = "cpu", processes: Processes = SINGLE_PROCESS) -> None:
        """Begin: weights drawn from the seed, no step taken.

        Raises:
            UsageError: there are fewer sequences in a batch than processes.
        """
        processes.check_batch(config.train.batch_size)
        self.config = config
        self.device = torch.device(device)
        self.processes = processes
        self.step = 0
        """Steps taken."""
        self.validated = 0
        """The step of the last validation."""
        self.good_enough = False
        """Whether that validation was as good as ``train.stop_at`` asks for."""
        self.reading_is_free = self.device.type == "cpu"  # elsewhere it keeps the program waiting for the device
        # Loss and gradient norm, of the first bad step if there is one:
        self._measured = torch.zeros(2, dtype=torch.float32, device=self.device)
        self.model = new_model(config, config.seed).to(self.device)
        """That is validated and saved: the trained one, or with ``train.ema_decay`` the running average of its weights."""
        self.trained = copy.deepcopy(self.model) if config.train.ema_decay else self.model
        """The model whose weights the optimizer changes."""
        ids = torch.tensor([[BOS, EOS]], device=self.device)
        self.replica = processes.replicate(self.trained, ids, ids)
        """The same, as a training step calls it."""
        if config.train.compile:
            self.trained.compile()  # in place: the names of the weights stay
        self.optimizer = Adam(self.trained.named_parameters(), config.train.weight_decay)

    def __repr__(self) -> str:
        return f"<TrainingState: {self.step:,} steps taken, on {self.device}>"

    @property
    def validation_is_due(self) -> bool:
        """Whether the model is to be validated before another step is taken."""
        return is_validated(self.step, self.config.train) and self.validated != self.step

    @property
    def is_finished(self) -> bool:
        """Whether all steps were taken and validated, or this step was validated and found good enough."""
        if self.validation_is_due:
            return False
        return self.step >= self.config.train.steps or (self.good_enough and self.validated == self.step)

    def judge(self, exact_match: float) -> None:
        """The state as it is now was validated: note that, and whether it is good enough to end the training.

        All processes end at the same step: the first one judges for all.
        """
        self.validated = self.step
        stop_at = self.config.train.stop_at
        if stop_at is not None:
            self.good_enough = bool(self.processes.largest(self.processes.rank == 0 and exact_match >= stop_at))

    def update(self, lr: float, loss: Tensor, gradient_norm: Tensor) -> None:
        """Let the optimizer change the weights, unless this step or one before it had a number that is not finite.

        It is the device that decides, so nothing waits for it. ``read`` reports the outcome.
        """
        finite = self._measured.isfinite().all()
        self._measured = torch.where(finite, torch.stack((loss, gradient_norm)), self._measured)
        finite = self._measured.isfinite().all().float()
        try:
            self.optimizer.step(lr, found_inf=1.0 - finite)
        except KeyboardInterrupt:  # a notebook may go on from here, and must not take a step twice
            if self.optimizer.steps > self.step:
                self._count_step(finite)
            raise
        self._count_step(finite)

    def _count_step(self, finite: Tensor) -> None:
        if self.trained is not self.model:
            self._average(finite)
        self.step += 1

    @torch.no_grad()
    def _average(self, share: Tensor) -> None:
        """Let the average follow the trained weights, or where ``share`` is 0 stay as it is.

        The first steps count less, as the weights then change most: the decay grows to ``train.ema_decay`` like
        ``(1 + step) / (10 + step)`` (as in TensorFlow's ``ExponentialMovingAverage``).
        """
        decay = min(self.config.train.ema_decay, (1 + self.step) / (10 + self.step))
        share = share * (1 - decay)
        for average, weight in zip(self.model.parameters(), self.trained.parameters(), strict=True):
            average.lerp_(weight, share)

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
            calmer(self.config),
        )

    def to_arrays(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Copies of weights and optimizer state as named arrays, one group for each file of a checkpoint.

        Raises:
            TrainingError: as ``read`` does; what is saved comes from finite steps only.
        """
        self.read()
        return {
            "model": {name: value.numpy(force=True).copy() for name, value in self.model.named_parameters()},
            "optimizer": {name: value.numpy(force=True).copy() for name, value in self._optimizer_state().items()},
        }

    def _optimizer_state(self) -> dict[str, Tensor]:
        """What training needs beside the model: the optimizer's numbers, and the trained weights if they are others."""
        weights = {} if self.trained is self.model else dict(self.trained.named_parameters())
        return self.optimizer.state | {f"weight.{name}": weight for name, weight in weights.items()}

    @torch.no_grad()
    def restore(self, step: int, validated: bool, weights: Arrays, moments: Arrays) -> None:
        """Continue from what ``to_arrays`` gave at ``step``; its names and shapes are those of ``checkpoint_shapes``.

        ``validated``: whether a validation of it is on record.
        """
        load_weights(self.model, weights)
        for name, value in self._optimizer_state().items():
            value.copy_(torch.from_numpy(moments[name].copy()))
        self.step, self.validated = step, step if validated else 0


def calmer(config: Config) -> str:
    """What to change after a training that diverged: a lower learning rate, at most the usual one."""
    usual: float = TrainConfig.model_fields["lr"].default
    return f"--set train.lr={min(config.train.lr / 4, usual):g}"


def checkpoint_shapes(config: Config) -> dict[str, Shapes]:
    """What ``TrainingState.to_arrays`` gives, as shapes; takes no memory for a model."""
    weights = weight_shapes(config.model, vocabulary_size(config.task.symbols))
    moments: Shapes = {f"step.{name}": () for name in weights}
    for kind in ("exp_avg", "exp_avg_sq", *["weight"] * (config.train.ema_decay > 0)):
        moments.update((f"{kind}.{name}", shape) for name, shape in weights.items())
    return {"model": weights, "optimizer": moments}


def training_bytes(config: Config, processes: int = 1) -> int:
    """A lower bound of the memory that training takes in each of some processes.

    Of each weight: itself, its gradient, two moments, perhaps its average, and a copy of all but the gradient while a
    checkpoint is saved. Of a batch of the longest sequences: in each layer the states and the feed-forward block, which the
    backward pass needs; and the logits, which have a gradient as large. (Attention may be computed without keeping its
    weights.)
    """
    vocabulary = vocabulary_size(config.task.symbols)
    weights = sum(map(math.prod, weight_shapes(config.model, vocabulary).values()))
    model, tokens = config.model, config.train.batch_size * (config.task.longest_answer + 1) // processes
    layers = (model.encoder_layers + model.decoder_layers) * (model.d_model + model.d_ff)
    width = 4 if config.train.precision == "float32" else 2
    copies = 9 if config.train.ema_decay else 7
    return copies * 4 * weights + width * tokens * (layers + 2 * vocabulary)


def check_fits(config: Config, device: str | torch.device, processes: Processes = SINGLE_PROCESS) -> None:
    """Refuse a training that cannot work here, or that obviously needs more memory than a CPU machine has.

    Raises:
        UsageError: it takes more memory than there is, the device is not there, or a batch is too small for the processes.
    """
    processes.check_batch(config.train.batch_size)
    if choose_device(device).type == "cpu":
        check_memory(training_bytes(config, processes.size), "Training this model")
