"""Exercises of chapter 2: masks, positions and the size of the model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqrev.api.reverser import Reverser, load
from seqrev.config import ModelConfig
from seqrev.exercises.exercise import (
    Exercise,
    Unusable,
    Verdict,
    compare_numbers,
    compare_sets,
    read_integers,
    read_number,
    wrong,
)
from seqrev.model.transformer import Transformer
from seqrev.task import BOS, FIRST_SYMBOL, add_special_tokens

VOCABULARY = 13  # ten digits, and the special tokens


def pretrained() -> Reverser:
    """The model that ships with the package, on the CPU: the same everywhere."""
    return load("pretrained", device="cpu")


def source_ids(source: Sequence[int]) -> Tensor:
    """What the encoder reads, ``[1, src]``."""
    return torch.from_numpy(add_special_tokens(np.array([source])))


def target_ids(symbols: Sequence[int]) -> Tensor:
    """What the decoder reads, ``[1, tgt]``: without ``<EOS>``."""
    return torch.tensor([[BOS, *(symbol + FIRST_SYMBOL for symbol in symbols)]])


def _steps_that_differ(mask: Tensor, after: int = 2) -> list[int]:
    """Steps of the shipped model, from 1, whose states after a layer change with the fourth token under this mask."""
    model, source, states = pretrained().model, source_ids([4, 8, 2, 9]), []
    for layer in model.decoder.layers:
        layer.self_attention.softmax.register_forward_pre_hook(lambda module, inputs: (inputs[0], mask))
    model.decoder.layers[after - 1].register_forward_hook(lambda module, inputs, output: states.append(output.states[0]))
    with torch.inference_mode():
        for given in ([9, 2, 8, 4], [9, 2, 5, 4]):
            model(source, target_ids(given))
    differ = (states[0] - states[1]).abs().amax(-1) > 1e-4
    return [step for step, changed in enumerate(differ.tolist(), start=1) if changed]


def _check_mask(answer: Any) -> Verdict:
    found = sorted(set(read_integers(answer, "a list of steps from 1 to 5, such as [2, 3]")))
    strict = torch.ones(5, 5, dtype=torch.bool).tril(-1)
    expected = _steps_that_differ(strict)
    if found != expected and found == _steps_that_differ(strict, after=1):
        return wrong("That is after the first layer. What do the other steps see in the second?")
    if found == _steps_that_differ(strict | torch.eye(5, dtype=torch.bool)):
        return wrong(
            "So it is with the right mask. What may the first position see now, and what is a softmax over nothing?"
        )
    if found == [5]:
        return wrong("The token itself goes past the attention, along the residual path. And look at the first row.")
    why = "The first row may see nothing: all its weights are equal, on the future, too. The second layer passes that on."
    return compare_sets(found, expected, "Steps", why)


def _twins(vectors: Tensor) -> list[int]:
    """Positions whose vector another one has, too, of ``[length, d]``."""
    same = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist") < 1e-4
    return [position for position, count in enumerate(same.sum(dim=1).tolist()) if count > 1]


def _check_positions(answer: Any) -> Verdict:
    form = "two lists of positions, such as [[0, 5], [1, 2]], one of which may be empty"
    if not isinstance(answer, list | tuple) or len(answer) != 2:
        raise Unusable(f"The answer is {form}.")
    encoder, decoder = (read_integers(part, form) for part in answer)
    torch.manual_seed(0)
    model = Transformer(ModelConfig(positions="none"), VOCABULARY).eval()
    kept: list[Tensor] = []
    with torch.inference_mode():
        for norm in (model.encoder.norm, model.decoder.norm):
            norm.register_forward_hook(lambda module, inputs, output: kept.append(output[0]))
        model(source_ids([4, 8, 2, 8]), target_ids([8, 2, 8, 4]))
    first, second = map(_twins, kept)
    if set(decoder) == {1, 3} and set(encoder) == set(first):
        return wrong("The encoder's are right. But how many tokens may each 8 of the decoder see, and what are they?")
    why = "The encoder sees a bag of tokens. In the decoder each position has another past: even so, it can count."
    return compare_sets(_named(encoder, decoder), _named(first, second), "Positions", why)


def _named(encoder: list[int], decoder: list[int]) -> list[tuple[str, int]]:
    return [("encoder", position) for position in encoder] + [("decoder", position) for position in decoder]


def _weights(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _check_size(answer: Any) -> Verdict:
    config = pretrained().config.model
    bigger = config.model_copy(update={"decoder_layers": config.decoder_layers + 1})
    small, large = (Transformer(each, VOCABULARY) for each in (config, bigger))
    expected = _weights(large) - _weights(small)
    layer = large.decoder.layers[0]
    attention, norm = _weights(layer.self_attention), _weights(layer.self_attention_norm)
    biases = sum(parameter.numel() for name, parameter in layer.named_parameters() if name.endswith("proj.bias"))
    linear_biases = biases + config.d_ff + config.d_model
    mistakes = {
        "That is an encoder layer. A decoder layer has another block.": _weights(small.encoder.layers[0]),
        "The three layer normalisations are missing: two vectors of d_model numbers each.": expected - 3 * norm,
        "The biases of the linear layers are missing.": expected - linear_biases,
        "The biases and the layer normalisations are missing.": expected - linear_biases - 3 * norm,
        "The heads share d_model: each projection is one matrix of d_model times d_model, however many heads.": (
            expected + 2 * (config.heads - 1) * attention
        ),
        "Each attention has four projections: queries, keys, values, and the output.": expected - attention // 2,
        "That is the whole model. How many more are they with one more layer?": _weights(large),
    }
    why = "Twice four projections, two matrices of the feed-forward block, three normalisations; heads cost nothing."
    return compare_numbers(read_number(answer), expected, mistakes, why, tolerance=1e-9)


EXERCISES = [
    Exercise(
        "A mask off by one",
        """
        In the causal mask, somebody writes < in place of <=: a position may attend to those
        before it, but not to itself. The decoder of the trained model (two layers) reads
        <BOS> 9 2 8 4 for the source 4 8 2 9. Now its fourth token, 8, becomes 5. Which of the
        steps 1 to 5 get other logits? Answer with a list.
        """,
        "Write down the first row of this mask. A softmax cannot give zero to all: every row sums to one.",
        _check_mask,
    ),
    Exercise(
        "No positions",
        """
        In a model with positions="none", nothing is added to the embeddings. The encoder reads
        <BOS> 4 8 2 8 <EOS>, the decoder <BOS> 8 2 8 4, both counted from 0. Which positions have
        the same vector as another position of the same sequence, after all layers? Answer with
        two lists, first the encoder's, then the decoder's.
        """,
        "Two positions with the same token differ only if they attend to different things. Who may attend to what?",
        _check_positions,
    ),
    Exercise(
        "One more layer",
        """
        How many more weights does the model of configs/small.yaml have with a third decoder
        layer? (d_model is 64, d_ff 256, with 4 heads. Linear layers have biases, and a layer
        normalisation has two vectors.)
        """,
        "List the blocks of a DecoderLayer, then the matrices of each block. Do the heads change the shape of any?",
        _check_size,
    ),
]
