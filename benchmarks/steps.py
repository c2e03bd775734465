"""Training steps: an epoch beside plain.py, a step beside JAX (jax_peer.py), and one against its own matrix products."""

import functools
import importlib.util
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from common import ROOT, SMALL, Plan, Result, environment, interleaved, row, training_state
from plain import Plain, draw, train_epoch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seqrev.training.step import train_step

BATCHES = (64, 256)
JAX_ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "8000000000"}


def epoch(plan: Plan) -> list[Result]:
    """Once through the same 10,000 sequences, dropout 0.1."""
    rows = draw(plan.rows, 2)
    ours, batches = training_state(rows, "model.dropout=0.1", "model.attention_dropout=0.1")
    steps = math.ceil(len(rows) / 64)  # as many as the peer takes
    models = {"eager": Plain(norm_first=True, dropout=0.1)}
    if plan.compiled:
        models["compiled"] = Plain(norm_first=True, dropout=0.1)
        models["compiled"].compile(dynamic=True)
    optimizers = {name: torch.optim.Adam(model.parameters(), lr=1e-3, fused=True) for name, model in models.items()}
    for name, model in models.items():
        train_epoch(model, optimizers[name], rows[:1_280])

    def own() -> None:
        for step in range(steps):
            train_step(ours, batches.rows(step))

    peers = [functools.partial(train_epoch, models[name], optimizers[name], rows) for name in models]
    own_time, *peer_times = interleaved(plan.repetitions, own, *peers)
    detail = ", ".join(f"{name} {peer:.2f} s" for name, peer in zip(models, peer_times, strict=True))
    return [row(f"one epoch of {len(rows):,} sequences, dropout 0.1", own_time, min(peer_times), 2.5, f"peer: {detail}")]


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch does not annotate it
    """Notes every matrix product: what it is called with, shapes and strides."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nor here
        self.calls: list[tuple[Any, list[Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pass it on."""
        del types
        if func.__name__.split(".")[0] in ("mm", "addmm", "bmm", "baddbmm"):
            self.calls.append((func, [(one.shape, one.stride()) if isinstance(one, Tensor) else one for one in args]))
        return func(*args, **(kwargs or {}))

    def replay(self) -> tuple[Callable[[], None], int]:
        """The products alone, each with tensors of its own of the same shapes and strides; and their operations."""

        def like(shape: Any, stride: Any) -> Tensor:
            size = 1 + sum((extent - 1) * step for extent, step in zip(shape, stride, strict=True))
            return torch.randn(size).as_strided(shape, stride)

        made = [(func, [like(*one) if isinstance(one, tuple) else one for one in args]) for func, args in self.calls]
        operations = sum(2 * math.prod(args[-2][0]) * args[-1][0][-1] for _, args in self.calls)

        def run() -> None:
            for func, args in made:
                func(*args)

        return run, operations


def step_against_products(plan: Plan) -> Iterator[Result]:
    """A training step against the matrix products in it."""
    for batch_size in BATCHES:
        state, batches = training_state(draw(plan.rows, 2), "model.attention_noise=2", f"train.batch_size={batch_size}")
        warm = plan.steps // 2
        for step in range(warm):
            train_step(state, batches.rows(step))
        times = []
        for step in range(warm, warm + plan.steps):
            batch = batches.rows(step)
            with Products() as products:
                train_step(state, batch)
            alone, operations = products.replay()
            alone()
            whole, part = interleaved(3, functools.partial(train_step, state, batch), alone)
            times.append((whole, part, operations / part / 1e9))
        whole, part, rate = (statistics.median(column) for column in zip(*times, strict=True))
        what = f"a training step, batch {batch_size}, against its matrix products"
        result = row(what, whole, part, None, f"{rate:.0f} GFLOP/s in the products")
        yield result | {"ratio": whole / part, "target": "≤ 2"}


@contextmanager
def jax_training(batch_size: int, threads: int) -> Iterator[Callable[[int], dict[str, Any]]]:
    """``jax_peer.py`` in a process of its own; what is given takes steps there, and returns what it reports."""
    command = [sys.executable, str(ROOT / "benchmarks" / "jax_peer.py"), "--config", str(SMALL)]
    command += ["--batch-size", str(batch_size)]
    variables = {**environment(), **JAX_ALLOCATOR, "NPROC": str(threads)}  # XLA has as many threads
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables) as child:
        stdin, stdout = child.stdin, child.stdout
        assert stdin is not None
        assert stdout is not None

        def take(steps: int) -> dict[str, Any]:
            print(steps, file=stdin, flush=True)
            report: dict[str, Any] = json.loads(stdout.readline())
            return report

        yield take


def step_against_jax(plan: Plan) -> Iterator[Result]:
    """A training step, its batch included, beside one that JAX has compiled as a whole."""
    if importlib.util.find_spec("jax") is None:
        print("jax: left out, for JAX is not installed (pip install jax)")
        return
    for batch_size in BATCHES:
        state, batches = training_state(draw(plan.rows, 2), f"train.batch_size={batch_size}")

        def own(state: Any = state, batches: Any = batches) -> None:
            for _ in range(plan.steps):
                train_step(state, batches.rows(state.step))

        with jax_training(batch_size, plan.threads) as theirs:
            first = theirs(1)  # which compiles
            own()
            theirs(plan.steps)
            mine, other = interleaved(2 * plan.repetitions + 1, own, functools.partial(theirs, plan.steps))
        what = f"a training step, batch {batch_size}, against JAX {first['jax']}"
        detail = f"the first step, which compiles, took JAX {first['seconds']:.1f} s"
        yield row(what, mine / plan.steps, other / plan.steps, None, detail)
