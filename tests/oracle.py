"""The model once more, from its files alone: NumPy in float64, one sequence at a time, no mask, no cache, no batch.

It shares no line with the package, and knows only what a run folder and the papers say. Weights may be complex: a number
that is moved by ``ih`` moves what is computed from it by ``ih`` times its derivative, to the last digit, as no difference
is rounded (the complex step: Squire and Trapp 1998). So gradients need no second program.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Array = Any  # of NumPy, real or complex
PAD, BOS, EOS, FIRST = range(4)
H = 1e-30  # of the complex step


def read_tensors(path: Path) -> dict[str, Array]:
    """A safetensors file: the length of a JSON header in eight bytes, the header, and then the numbers."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(content[start:][slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"]).astype(float)
        for name, entry in header.items()
    }


class Oracle:
    """The newest checkpoint of a run."""

    def __init__(self, run: Path) -> None:
        self.tree = yaml.safe_load((run / "config.yaml").read_text())
        self.config = self.tree["model"]
        self.checkpoint = sorted((run / "checkpoints").iterdir())[-1]
        self.weights = read_tensors(self.checkpoint / "model.safetensors")

    # --- the model ----------------------------------------------------------------------------------------------------

    def linear(self, name: str, states: Array) -> Array:
        return states @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, name: str, states: Array) -> Array:
        centred = states - states.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def feed_forward(self, name: str, states: Array) -> Array:
        hidden = self.linear(f"{name}.linear1", states)
        return self.linear(f"{name}.linear2", hidden * (hidden.real > 0))

    def embed(self, part: str, ids: Sequence[int], positions: Array) -> Array:
        tied = self.config["tie_embeddings"]
        states = self.weights[f"{'encoder' if tied else part}.embedding.tokens.weight"][list(ids)]
        if self.config["positions"] == "learned":
            return states + self.weights[f"{part}.embedding.positions.weight"][positions]
        if self.config["positions"] == "sinusoidal":
            pairs = np.arange(self.config["d_model"] // 2)
            angles = positions[:, None] / self.config["position_base"] ** (2 * pairs / self.config["d_model"])
            return states + np.stack([np.sin(angles), np.cos(angles)], -1).reshape(len(ids), -1)
        return states

    def products(self, query: Array, key: Array, distance: Array) -> Array:
        """Of every query with every key; with rotary positions, each pair of numbers is turned by the distance."""
        if self.config["positions"] != "rotary":
            return query @ key.T
        half = query.shape[1] // 2
        turns = distance[..., None] * self.config["position_base"] ** (-np.arange(half) / half)
        a, b, c, d = query[:, None, :half], query[:, None, half:], key[None, :, :half], key[None, :, half:]
        return ((a * c + b * d) * np.cos(turns) - (b * c - a * d) * np.sin(turns)).sum(-1)

    def bias(self, table: str, head: int, distance: Array) -> Array:
        """What is added to the scores for the distance between key and query."""
        if self.config["positions"] == "alibi":
            return -(2.0 ** (-8 * (head + 1) / self.config["heads"])) * np.abs(distance)
        if self.config["positions"] != "relative":
            return np.zeros(distance.shape)
        width = self.config["d_model"] // self.config["heads"]
        rows = [[bucket(int(offset)) for offset in row] for row in distance]
        return self.weights[table][rows, head] * math.sqrt(width)

    def attention(
        self, name: str, table: str, states: Array, context: Array, places: Array, addresses: Sequence[Array]
    ) -> tuple[Array, Array]:
        """What every position finds, and the weights, ``[head, tgt, src]``. The decoder's own looks back only."""
        query, key, value = (
            self.linear(f"{name}.{which}_proj", of) for which, of in zip("qkv", (states, context, context), strict=True)
        )
        width = self.config["d_model"] // self.config["heads"]
        part = width // len(addresses)
        scale = math.log(len(context) + 1, 20) if self.config["length_scaling"] and "cross" in name else 1.0
        found, maps = [], []
        for head in range(self.config["heads"]):
            total: Array = 0.0
            for number, of_keys in enumerate(addresses):
                some = slice(head * width + number * part, head * width + (number + 1) * part)
                distance = of_keys[None, :] - places[:, None]
                total = total + np.exp(self.products(query[:, some], key[:, some], -distance) * scale / math.sqrt(part))
            weights = total * np.exp(self.bias(table, head, distance))
            if name.startswith("decoder") and "self" in name:
                weights = np.tril(weights)
            weights = weights / weights.sum(-1, keepdims=True)
            found.append(weights @ value[:, head * width : (head + 1) * width])
            maps.append(weights)
        return self.linear(f"{name}.out_proj", np.concatenate(found, -1)), np.stack(maps)

    def run(self, source: Sequence[int], target: Sequence[int]) -> tuple[Array, dict[str, list[Array]]]:
        """Log-probabilities ``[tgt, vocabulary]`` for what follows each of the target's ids, and all maps."""
        config, length = self.config, len(source)
        spread = config["random_positions"]
        step = max(1, spread // length) if spread else 1
        from_start, from_end = step * np.arange(length), step * np.arange(length)[::-1]
        addresses = {"start": [from_start], "end": [from_end], "both": [from_start, from_end]}[config["source_from"]]
        maps: dict[str, list[Array]] = {"encoder": [], "decoder": [], "cross": []}

        def block(part: str, layer: int, kind: str, states: Array, context: Array | None, *places: Any) -> Array:
            table = {"encoder": "encoder.", "decoder": "decoder.self_", "cross": "decoder.cross_"}[part] + "relative_bias"
            name = f"{'encoder' if part == 'encoder' else 'decoder'}.layers.{layer}.{kind}_attention"
            normed = self.norm(f"{name}_norm", states)
            found, weights = self.attention(name, table, normed, normed if context is None else context, *places)
            maps[part].append(weights)
            return states + found

        def forward(name: str, states: Array) -> Array:
            return states + self.feed_forward(f"{name}.feed_forward", self.norm(f"{name}.feed_forward_norm", states))

        memory = self.embed("encoder", source, addresses[0])
        for layer in range(config["encoder_layers"]):
            memory = block("encoder", layer, "self", memory, None, addresses[0], addresses[:1])
            memory = forward(f"encoder.layers.{layer}", memory)
        memory = self.norm("encoder.norm", memory)
        places = step * np.arange(len(target))
        states = self.embed("decoder", target, places)
        for layer in range(config["decoder_layers"]):
            states = block("decoder", layer, "self", states, None, places, [places])
            states = block("cross", layer, "cross", states, memory, places, addresses)
            states = forward(f"decoder.layers.{layer}", states)
        states = self.norm("decoder.norm", states)
        if config["tie_embeddings"]:
            matrix = self.weights["encoder.embedding.tokens.weight"]
            logits = states @ matrix.T / math.sqrt(config["d_model"]) + self.weights["output.bias"]
        else:
            logits = self.linear("output", states)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True)), maps

    # --- answers ------------------------------------------------------------------------------------------------------

    def forced(self, symbols: Sequence[int], answer: Sequence[int], finished: bool = True) -> Any:
        """The log-probability of an answer, ``<EOS>`` included where it is ``finished``."""
        tokens = [symbol + FIRST for symbol in answer] + [EOS] * finished
        found, _ = self.run(with_ends(symbols), [BOS, *tokens[:-1]])
        return found[range(len(tokens)), tokens].sum()

    def search(self, symbols: Sequence[int], beam: int) -> tuple[list[int], float, bool]:
        """The best answer that a beam finds, its log-probability, and whether it has an end; a beam of 1 is greedy."""
        limit = len(symbols) + 1 + 10
        kept: list[tuple[float, list[int]]] = [(0.0, [BOS])]
        for _ in range(limit):
            if kept[0][1][-1] == EOS:
                break
            more = [one for one in kept if one[1][-1] == EOS]
            for score, tokens in kept:
                if tokens[-1] != EOS:
                    row = self.run(with_ends(symbols), tokens)[0][-1]
                    more += [(score + row[token], [*tokens, token]) for token in range(EOS, len(row))]
            kept = sorted(more, key=lambda one: -one[0])[:beam]
        score, tokens = kept[0]
        finished = tokens[-1] == EOS
        return [token - FIRST for token in tokens[1 : len(tokens) - finished]], score, finished

    # --- training -----------------------------------------------------------------------------------------------------

    def gradients(self, rows: Sequence[Sequence[int]]) -> dict[str, Array]:
        """Of the mean loss over all target tokens, where the task is to reverse."""

        def loss() -> Any:
            return -sum(self.forced(row, row[::-1]) for row in rows) / sum(len(row) + 1 for row in rows)

        real, gradients = self.weights, {}
        for name, value in real.items():
            gradients[name] = np.zeros_like(value)
            for index in np.ndindex(value.shape):
                moved = value.astype(complex)
                moved[index] += 1j * H
                self.weights = {**real, name: moved}
                gradients[name][index] = loss().imag / H
        self.weights = real
        return gradients

    def train(self, rows: Sequence[Sequence[int]], steps: int) -> dict[str, Array]:
        """Take steps of Adam, all on the same rows; returns its moments, with the names that a checkpoint has for them."""
        config = self.tree["train"]
        moments = {f"{kind}.{name}": np.zeros_like(value) for name, value in self.weights.items() for kind in MOMENTS}
        for step in range(1, steps + 1):
            gradients = self.gradients(rows)
            norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values()))
            lr = config["lr"] * min(1.0, step / config["warmup_steps"])
            for name, gradient in gradients.items():
                clipped = gradient * min(1.0, config["max_grad_norm"] / norm)
                for kind, beta, value in zip(MOMENTS, (0.9, 0.98), (clipped, clipped**2), strict=True):
                    moments[f"{kind}.{name}"] = beta * moments[f"{kind}.{name}"] + (1 - beta) * value
                first, second = (moments[f"{kind}.{name}"] for kind in MOMENTS)
                decay = config["weight_decay"] if gradient.ndim == 2 and not name.endswith("bias") else 0.0
                change = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.98**step)) + 1e-8)
                self.weights[name] = self.weights[name] * (1 - lr * decay) - lr * change
        return moments


MOMENTS = ("exp_avg", "exp_avg_sq")


def with_ends(symbols: Sequence[int]) -> list[int]:
    """A source as the encoder reads it."""
    return [BOS, *(symbol + FIRST for symbol in symbols), EOS]


def bucket(offset: int) -> int:
    """T5's groups of offsets: one for each distance up to 8, then eight for those up to 128, on either side."""
    distance = abs(offset)
    far = sum(distance**8 >= 8**8 * 16**step for step in range(1, 8)) if distance >= 8 else 0
    return (8 + far if distance >= 8 else distance) + 16 * (offset > 0)
