"""Several processes that train one model: which one this is, its share of a batch, and how all of them agree.

``torchrun`` starts the processes and tells each of them, in its environment, who it is. A process that is alone is a world
of one: everything here then answers at once, and ``torch.distributed`` is not imported.

The first process (rank 0) owns the run folder and speaks to the user. Two things are told through the store that
``torchrun`` keeps: which run it is, and how it ended. Whoever fails first says so there, and the others end with the same
exit code and without a word, whatever it is that they notice of it (a connection that broke, a signal).
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from seqrev.errors import SeqrevError, TrainingError, UsageError, shorten
from seqrev.signals import Interrupted

if TYPE_CHECKING:
    import torch
    from torch.distributed.distributed_c10d import Store
    from torch.nn import Module

    from seqrev.task import Array

PATIENCE = 25.0  # seconds that the others wait for rank 0 to end first; torchrun kills after 30
RUN, END = "run", "end"  # keys of the store


class EndedElsewhere(SeqrevError):
    """Another process has said, or will say, what there is to say; only its exit code is left."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("Another process of this training has ended.")
        self.exit_code = exit_code


class World:
    """All processes of a training, seen from one of them."""

    def __init__(self, rank: int = 0, size: int = 1, store: "Store | None" = None) -> None:
        self.rank, self.size, self._store = rank, size, store

    def share(self, batch: "Array") -> "Array":
        """This process's rows of a global batch. Those of all ranks, one after the other, are the batch."""
        return batch[self.rank * len(batch) // self.size : (self.rank + 1) * len(batch) // self.size]

    def replicate(self, model: "Module") -> "Module":
        """The model as training calls it: after a backward pass every process has the mean of all gradients."""
        if self.size == 1:
            return model
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model, gradient_as_bucket_view=True)

    def mean(self, value: "torch.Tensor") -> "torch.Tensor":
        """The mean of a number over all processes, on its device."""
        if self.size > 1:
            import torch.distributed as dist

            dist.all_reduce(value)
            value /= self.size
        return value

    def agree(self, value: int) -> int:
        """The largest of the values that the processes give. The host waits for the others, a GPU does not."""
        if self.size == 1:
            return value
        import torch
        import torch.distributed as dist

        largest = torch.tensor(value)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def tell(self, run: str) -> None:
        """Rank 0: the run is ready, and the others may read it."""
        if self._store is not None:
            self._store.set(RUN, run)

    def hear(self) -> str:
        """The others: wait for the run that rank 0 makes ready."""
        self._wait_for(RUN, END)
        assert self._store is not None
        if self._store.check([END]):
            self._leave()
        return self._store.get(RUN).decode()

    # --- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The training is done: rank 0 says so, the others wait for that."""
        if self._store is not None:
            if self.rank == 0:
                self._store.compare_set(END, "", "0 0")
            self._wait_for(END)
            if self._ended()[1]:
                self._leave()

    def fail(self, error: BaseException) -> NoReturn:
        """Raise the error if this is the process that has to report it, else ``EndedElsewhere``."""
        if self._store is None:
            raise error
        code = error.exit_code if isinstance(error, SeqrevError | Interrupted) else SeqrevError.exit_code
        if isinstance(error, Interrupted) and self.rank > 0:  # by then rank 0 was asked to stop too, or has agreed to
            self._wait_for(END, seconds=PATIENCE)
            raise EndedElsewhere(code) from error
        self._store.compare_set(END, "", f"{self.rank} {code}")
        if self._ended()[0] != self.rank:
            self._leave()
        raise error

    def _ended(self) -> tuple[int, int]:
        """Which process ended the training, and with what exit code."""
        assert self._store is not None
        rank, code = self._store.get(END).decode().split()
        return int(rank), int(code)

    def _leave(self) -> NoReturn:
        raise EndedElsewhere(self._ended()[1])

    def _wait_for(self, *keys: str, seconds: float = float("inf")) -> None:
        """Wait until one of the keys is there; not inside the store, where a signal would not be noticed."""
        assert self._store is not None
        last = time.monotonic() + seconds
        while time.monotonic() < last and not any(self._store.check([key]) for key in keys):
            time.sleep(0.05)


ALONE = World()


@contextmanager
def join(device: str) -> Iterator[World]:
    """Take part in the training that ``torchrun`` started; alone, if it did not.

    Raises:
        UsageError: there are fewer GPUs than processes on this machine.
        EndedElsewhere: another process failed, or ended first.
    """
    if _number("WORLD_SIZE", 1) == 1:
        yield ALONE
        return
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, size = next(rendezvous("env://"))
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"WORLD_SIZE is set, but the processes of this training cannot meet: {shorten(str(error), 120)}.",
            "torchrun --nproc-per-node 2 -m seqrev train ...; or unset WORLD_SIZE",
        ) from None
    world = World(rank, size, store)
    try:
        _start(device, world, store)
        yield world
        world.finish()
    except RuntimeError as error:
        world.fail(_explain(error))
    except BaseException as error:
        world.fail(error)
    dist.destroy_process_group()


def _start(device: str, world: World, store: "Store") -> None:
    """Begin: GPUs talk through NCCL, and what the hosts agree on goes through Gloo beside it."""
    import torch
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore

    from seqrev.devices import choose_device

    backend = "gloo"
    if choose_device(device).type == "cuda":
        backend = "cpu:gloo,cuda:nccl"
        local, gpus = _number("LOCAL_RANK", 0), torch.cuda.device_count()
        if local >= gpus:
            raise UsageError(
                f"There are more processes than GPUs on this machine, which has {gpus}; one each was expected.",
                f"torchrun --nproc-per-node {gpus} -m seqrev train --config configs/base.yaml",
            )
        torch.cuda.set_device(local)
    dist.init_process_group(backend, store=PrefixStore("group", store), rank=world.rank, world_size=world.size)


def _explain(error: RuntimeError) -> Exception:
    """What PyTorch raises where another process is gone, in our words; any other error as it is."""
    from torch.distributed import DistError

    if isinstance(error, DistError) or "gloo" in str(error):
        return TrainingError(
            "Another process of this training has gone without a word.",
            "the same command with --run; what torchrun prints says which process it was",
        )
    return error


def is_first() -> bool:
    """Whether this process speaks to the user; known before anything has begun."""
    return _number("RANK", 0) == 0


def _number(name: str, otherwise: int) -> int:
    """A variable that ``torchrun`` sets; what is no number counts as not set."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 10 else otherwise
