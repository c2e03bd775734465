"""Several processes that train one model: which one this is, its share of a batch, and how all of them agree.

``torchrun`` starts the processes, describes them in their environment, and reports one that fails. Where there is a single
process everything here answers at once, and ``torch.distributed`` is not imported.

The first process (rank 0) owns the run folder and speaks to the user.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from seqrev.errors import TrainingError, UsageError, command_line
from seqrev.system.signals import Interrupted, signals_end_at_once
from seqrev.system.text import shorten

if TYPE_CHECKING:
    import torch
    from torch.distributed.distributed_c10d import Store
    from torch.nn import Module

TIME_FOR_ALONE = timedelta(days=7)  # of the first process, while the others wait; one that has gone is noticed at once
SECONDS_TO_END = 10.0  # of processes that have all done their work
SECONDS_TO_SAVE = 25.0  # of the first process, while the others wait; torchrun kills after 30


class ProcessLostError(TrainingError):
    """Another process of this training has ended."""


class Processes:
    """All processes of a training, seen from one of them."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def check_batch(self, batch_size: int) -> None:
        """Refuse a batch with fewer sequences than processes.

        Raises:
            UsageError: naming both numbers.
        """
        if batch_size < self.size:
            raise UsageError(
                f"train.batch_size is {batch_size}, and there are {self.size} processes; at least one sequence for each "
                "was expected.",
                f"--set train.batch_size={self.size}",
            )

    def share(self, batch_size: int) -> slice:
        """This process's rows of a batch. Those of all ranks, one after the other, are the batch."""
        return slice(self.rank * batch_size // self.size, (self.rank + 1) * batch_size // self.size)

    def replicate(self, model: "Module", *example: "torch.Tensor") -> "Module":
        """The model as training calls it: after a backward pass every process has the mean of all gradients.

        ``example``: what the model can be called with; every weight must have a gradient then.
        """
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        replica = DistributedDataParallel(model, gradient_as_bucket_view=True)
        # After its first backward pass it sorts the gradients anew, and from then on sums in another order. That pass must
        # not be a step: the first one after a stop would not be to the bit what it is without the stop.
        model.eval()  # nothing is drawn
        replica(*example).sum().backward()
        model.train().zero_grad()
        return replica

    def mean(self, value: "torch.Tensor") -> "torch.Tensor":
        """The mean of a number over all processes, on its device."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(value)
            value /= self.size
        return value

    def largest(self, value: int) -> int:
        """The largest of the values that the processes give. The host waits for the others, a GPU does not."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        largest = torch.tensor(value, device="cpu")
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def broadcast(self, value: str | None = None) -> str:
        """What rank 0 gives; the others, which give nothing, wait for it."""
        values = [value]
        if self.size > 1:
            import torch
            import torch.distributed as dist

            dist.broadcast_object_list(values, device=torch.device("cpu"))
        assert values[0] is not None
        return values[0]


SINGLE_PROCESS = Processes()


@contextmanager
def join(device: str, on_wait: Callable[[str], None] = lambda message: None) -> Iterator[Processes]:
    """Take part in the training that ``torchrun`` started; alone, if it did not.

    ``on_wait``: is told by the first process that it waits for the others. A signal ends it at once then.

    Raises:
        UsageError: the processes cannot meet, or there are fewer GPUs than processes on this machine.
        ProcessLostError: another process has ended.
    """
    if _number("WORLD_SIZE", 1) == 1:
        yield SINGLE_PROCESS
        return
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    backend = _backend(device)
    if is_first():
        on_wait(f"Waiting for the other processes: WORLD_SIZE is {_number('WORLD_SIZE', 1)}.")
    try:
        with signals_end_at_once():
            store, rank, size = next(rendezvous("env://"))
            group = {"store": PrefixStore("group", store), "rank": rank, "world_size": size}
            dist.init_process_group(backend, timeout=TIME_FOR_ALONE, **group)
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"WORLD_SIZE is set, but the processes of this training cannot meet: {shorten(str(error), 120)}.",
            "torchrun --nproc-per-node 2 -m seqrev train ...; or unset WORLD_SIZE",
        ) from None
    try:
        processes = Processes(rank, size)
        yield processes
        _end_together(store, processes)
    except Interrupted as signal:
        if not signal.at_once:
            _stop_after_first(store, rank)
        raise
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise ProcessLostError(
                "Another process of this training has ended; torchrun prints which one, and why.",
                "the same command with --run",
            ) from None
        raise
    dist.destroy_process_group()


def _end_together(store: "Store", processes: Processes) -> None:
    """Wait for the others. One that left while Gloo's threads still handled its last message was seen to abort.

    Without torchrun the store is part of the first process, which so leaves last.
    """
    processes.largest(0)  # the first one may still evaluate and draw; who has gone without torchrun is noticed here
    with suppress(RuntimeError):  # the store is gone, as the first process is, which waited as long as it does: all is done
        store.add("ended", 1)
        _wait(lambda: store.add("ended", 0) == processes.size, SECONDS_TO_END)
        store.add("left", 1)
        if processes.rank == 0:
            _wait(lambda: store.add("left", 0) == processes.size, SECONDS_TO_END)


def _stop_after_first(store: "Store", rank: int) -> None:
    """The first process saves: the others wait for it, because ``torchrun`` stops all when one has ended."""
    with suppress(RuntimeError):  # the store is gone, and so is the first process
        store.add("stopped", rank == 0)
        _wait(lambda: store.add("stopped", 0) > 0, SECONDS_TO_SAVE)


def _wait(until: Callable[[], bool], seconds: float) -> None:
    """Until something is so, or the time is over."""
    last = time.monotonic() + seconds
    while not until() and time.monotonic() < last:
        time.sleep(0.05)


def _backend(device: str) -> str:
    """GPUs talk through NCCL, and what the hosts agree on goes through Gloo beside it; each process takes its GPU."""
    import torch

    from seqrev.system.devices import choose_device

    if choose_device(device).type != "cuda":
        return "gloo"
    local, gpus = _number("LOCAL_RANK", 0), torch.cuda.device_count()
    if local >= gpus:
        raise UsageError(
            f"There are more processes than GPUs on this machine, which has {gpus}; one each was expected.",
            f"torchrun --nproc-per-node {gpus} -m " + command_line("train", "--config", "base"),
        )
    torch.cuda.set_device(local)
    return "cpu:gloo,cuda:nccl"


def is_first() -> bool:
    """Whether this process speaks to the user; known before anything has begun."""
    return _number("WORLD_SIZE", 1) == 1 or _number("RANK", 0) == 0


def _number(name: str, otherwise: int) -> int:
    """A variable that ``torchrun`` sets; what is no number counts as not set."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else otherwise
