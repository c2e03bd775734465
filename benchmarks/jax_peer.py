"""The second peer: the training step of configs/small.yaml in JAX, compiled as one function. JAX is optional.

    pip install jax
    python benchmarks/speed.py --only jax

The same model, batches and step: pre-norm, sinusoids, no noise, Adam, clipping. It runs in a process of its own (this
file), so that the threads of neither library are in the other's way, and is told by line how many steps to take. What is
done for its speed: all batches have one shape, so it compiles once; it is only waited for at the end of all steps; and the
allocator keeps the memory of a step for the next (steps.py), without which 256 sequences take 90 ms instead of 67. (Without
gain were: other layouts of the heads, one-hot products for look-ups, flat products, barriers between blocks, XLA's flags.)

Weights have the names and shapes of this project's, so one model can be given to both.
"""

import argparse
import functools
import json
import math
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from seqrev.config import Config, load_config
from seqrev.data.batches import Batches
from seqrev.data.sampling import draw_split
from seqrev.task import PAD, add_special_tokens, apply_rule, vocabulary_size

Weights = dict[str, Array]
Moments = tuple[Weights, Weights]
BETAS, EPSILON, HEADS, LAYERS = (0.9, 0.98), 1e-8, 4, 2


def new_weights(config: Config) -> Weights:
    """Drawn as this project does: normal, embeddings with standard deviation 1, products with 0.02."""
    width, inner, symbols = config.model.d_model, config.model.d_ff, vocabulary_size(config.task.symbols)
    shapes: dict[str, tuple[int, ...]] = {"output.weight": (symbols, width), "output.bias": (symbols,)}
    for side, blocks in (("encoder", ("self",)), ("decoder", ("self", "cross"))):
        shapes[f"{side}.embedding.tokens.weight"] = (symbols, width)
        for layer in (f"{side}.layers.{index}" for index in range(LAYERS)):
            for block in blocks:
                for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    shapes[f"{layer}.{block}_attention.{name}.weight"] = (width, width)
                    shapes[f"{layer}.{block}_attention.{name}.bias"] = (width,)
            for name, rows, columns in (("linear1", inner, width), ("linear2", width, inner)):
                shapes[f"{layer}.feed_forward.{name}.weight"] = (rows, columns)
                shapes[f"{layer}.feed_forward.{name}.bias"] = (rows,)
        norms = [f"layers.{index}.{block}_norm" for index in range(LAYERS) for block in norm_names(blocks)]
        shapes |= {f"{side}.{norm}.{part}": (width,) for norm in (*norms, "norm") for part in ("weight", "bias")}
    rng = np.random.default_rng(config.seed)

    def value(name: str, shape: tuple[int, ...]) -> Array:
        if len(shape) == 1:
            return jnp.full(shape, "norm.weight" in name, jnp.float32)
        return jnp.asarray(rng.normal(0.0, 1.0 if "embedding" in name else 0.02, shape), jnp.float32)

    return {name: value(name, shape) for name, shape in shapes.items()}


def norm_names(blocks: tuple[str, ...]) -> list[str]:
    """The blocks of a layer that have a norm."""
    return [*(f"{block}_attention" for block in blocks), "feed_forward"]


def linear(weights: Weights, name: str, states: Array) -> Array:
    """A matrix product."""
    return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(weights: Weights, name: str, states: Array) -> Array:
    """Layer normalisation."""
    centred = states - states.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def attention(weights: Weights, name: str, states: Array, context: Array, mask: Array) -> Array:
    """All heads; ``mask`` is true where a query may attend."""

    def split(part: str, whole: Array) -> Array:
        return linear(weights, f"{name}.{part}", whole).reshape(*whole.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)

    query, key, value = split("q_proj", states), split("k_proj", context), split("v_proj", context)
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
    found = jax.nn.softmax(jnp.where(mask, scores, -1e30), axis=-1) @ value
    return linear(weights, f"{name}.out_proj", found.transpose(0, 2, 1, 3).reshape(states.shape))


def feed_forward(weights: Weights, name: str, states: Array) -> Array:
    """Two products with ReLU between them."""
    inner = jax.nn.relu(linear(weights, f"{name}.linear1", states))
    return linear(weights, f"{name}.linear2", inner)


def embed(weights: Weights, side: str, ids: Array) -> Array:
    """Tokens and their positions."""
    tokens = weights[f"{side}.embedding.tokens.weight"]
    width = tokens.shape[1]
    angles = np.arange(ids.shape[1])[:, None] * np.exp(np.arange(0, width, 2) * (-math.log(10_000.0) / width))
    sinusoids = np.stack((np.sin(angles), np.cos(angles)), axis=-1).reshape(ids.shape[1], width)
    return tokens[ids] + jnp.asarray(sinusoids, jnp.float32)


def loss_of(weights: Weights, source: Array, target: Array) -> Array:
    """Mean cross-entropy of the tokens that are not padding, teacher-forced."""
    real = (source != PAD)[:, None, None]
    states = embed(weights, "encoder", source)
    for layer in (f"encoder.layers.{index}" for index in range(LAYERS)):
        normed = norm(weights, f"{layer}.self_attention_norm", states)
        states = states + attention(weights, f"{layer}.self_attention", normed, normed, real)
        states = states + feed_forward(
            weights, f"{layer}.feed_forward", norm(weights, f"{layer}.feed_forward_norm", states)
        )
    memory = norm(weights, "encoder.norm", states)
    read, labels = target[:, :-1], target[:, 1:]
    causal = jnp.tril(jnp.ones((read.shape[1], read.shape[1]), bool))
    states = embed(weights, "decoder", read)
    for layer in (f"decoder.layers.{index}" for index in range(LAYERS)):
        normed = norm(weights, f"{layer}.self_attention_norm", states)
        states = states + attention(weights, f"{layer}.self_attention", normed, normed, causal)
        normed = norm(weights, f"{layer}.cross_attention_norm", states)
        states = states + attention(weights, f"{layer}.cross_attention", normed, memory, real)
        states = states + feed_forward(
            weights, f"{layer}.feed_forward", norm(weights, f"{layer}.feed_forward_norm", states)
        )
    log_probabilities = jax.nn.log_softmax(linear(weights, "output", norm(weights, "decoder.norm", states)))
    of_labels = jnp.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]
    return -(of_labels * (labels != PAD)).sum() / (labels != PAD).sum()


@functools.partial(jax.jit, donate_argnums=(0, 1))
def train_step(
    weights: Weights, moments: Moments, step: Array, lr: Array, longest: Array, source: Array, target: Array
) -> tuple[Weights, Moments, Array]:
    """Loss, gradient, clipping and Adam in one compiled function; ``step`` counts from 1, ``longest`` clips."""
    loss, gradient = jax.value_and_grad(loss_of)(weights, source, target)
    length = jnp.sqrt(sum(((one**2).sum() for one in gradient.values()), start=jnp.zeros(())))
    gradient = {name: one * jnp.minimum(1.0, longest / (length + 1e-6)) for name, one in gradient.items()}
    first, second = BETAS
    means = {name: first * moments[0][name] + (1 - first) * one for name, one in gradient.items()}
    squares = {name: second * moments[1][name] + (1 - second) * one**2 for name, one in gradient.items()}

    def moved(name: str) -> Array:
        deviation = jnp.sqrt(squares[name] / (1 - second**step)) + EPSILON
        return weights[name] - lr * means[name] / (1 - first**step) / deviation

    return {name: moved(name) for name in weights}, (means, squares), loss


class Training:
    """The JAX side's weights, and the steps that it has taken."""

    def __init__(self, config: Config) -> None:
        """``config``: of the model's size and the batches; without dropout and noise."""
        rows = [sequence for chunk in draw_split("train", config.data.train, config) for sequence in chunk]
        self._batches, self._width = Batches(config, rows), config.task.max_length + 2
        self._plan, self._step = config.train, 0
        self.weights = new_weights(config)
        zeros, same = ({name: jnp.zeros_like(one) for name, one in self.weights.items()} for _ in range(2))
        self._moments = zeros, same

    def take(self, steps: int) -> float:
        """Take some steps; the loss of the last."""
        loss = jnp.zeros(())
        for _ in range(steps):
            sources = self._batches.rows(self._step)
            self._step += 1
            lr = self._plan.lr * min(1.0, self._step / max(1, self._plan.warmup_steps))
            numbers = (np.float32(number) for number in (self._step, lr, self._plan.max_grad_norm))
            both = (self._padded(sources), self._padded(apply_rule(sources, "reverse")))
            self.weights, self._moments, loss = train_step(self.weights, self._moments, *numbers, *both)
        return float(loss)

    def _padded(self, symbols: NDArray[np.integer]) -> NDArray[np.int32]:
        """Ids, all batches equally wide."""
        ids = np.full((len(symbols), self._width), PAD, np.int32)
        some = add_special_tokens(symbols)
        ids[:, : some.shape[1]] = some
        return ids


def main() -> None:
    """Take as many steps as each line of stdin says, and print the loss."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/small.yaml")
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    training = Training(load_config(options.config, [f"train.batch_size={options.batch_size}"]))
    for line in sys.stdin:
        began, cpu = time.perf_counter(), time.process_time()
        report = {"jax": jax.__version__, "loss": training.take(int(line))}
        spent = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - cpu}
        print(json.dumps(report | spent), flush=True)


if __name__ == "__main__":
    main()
