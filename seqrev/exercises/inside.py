"""Exercises of chapters 3 and 4: what the trained model does, and what it does not do without a part of itself."""

from typing import Any

import torch
from torch import Tensor

from seqrev.api.reverser import Reverser
from seqrev.data.dataset import load_split
from seqrev.exercises.exercise import Exercise, Unusable, Verdict, call, compare_sets, read_integers, right, wrong
from seqrev.exercises.model import pretrained, source_ids, target_ids
from seqrev.interpret.ablation import ablate
from seqrev.model.transformer import Transformer
from seqrev.task import EOS, FIRST_SYMBOL

SOURCE, GIVEN = [4, 8, 2, 9], [9, 8]
ENOUGH = 0.8  # of the steps


def _continue(model: Transformer, source: list[int], given: list[int]) -> list[int]:
    """Greedily, what follows the symbols that were given, up to ``<EOS>``."""
    written: list[int] = []
    with torch.inference_mode():
        while len(written) <= 2 * len(source):
            token = int(model(source_ids(source), target_ids([*given, *written]))[0, -1].argmax())
            if token == EOS:
                break
            written.append(token - FIRST_SYMBOL)
    return written


def _check_wrong_token(answer: Any) -> Verdict:
    found = read_integers(answer, "a list of symbols, such as [1, 2, 3]")
    expected = _continue(pretrained().model, SOURCE, GIVEN)
    if found[: len(GIVEN)] == GIVEN:  # which were not asked for, but do no harm
        found = found[len(GIVEN) :]
    if found == expected:
        why = "It does not find its place by what it wrote last: it counts its tokens. (train.target_noise is for that.)"
        return right(why)
    if found == [4]:
        return wrong("So it would be if it looked up its last token in the source. Does it?")
    if found == [2, 8, 4]:
        return wrong("So it would be if it made up for the token. But it does not know that the token is wrong.")
    return wrong("It writes something else. Try it: model.model(source, target) gives logits for every target step.")


def _test_sequences(model: Reverser, count: int) -> list[list[int]]:
    assert model.run is not None  # it was loaded from one
    return [list(map(int, row)) for row in load_split(model.run.data, "test", model.config)[:count]]


def _check_lengths(answer: Any) -> Verdict:
    found = read_integers(answer, "a list of lengths from 1 to 10, such as [1, 2]")
    model = pretrained()
    with ablate(model.model, ["cross.1.1"]):
        by_length = model.evaluate(_test_sequences(model, 300)).by_length
    expected = {length: counts for length, counts in sorted(by_length.items()) if counts.exact}
    if not found:
        return wrong("A model that does not know the length still answers something. Which length will it take?")
    if set(found) == set(by_length):
        return wrong("The other heads do not take over: in the report, the exact match without this head is much lower.")
    shown = ", ".join(f"{counts.exact} of {counts.sequences} of length {length}" for length, counts in expected.items())
    why = f"{shown}. This head tells the decoder where the source ends; without it, the model takes a middle length."
    return compare_sets(found, expected, "Lengths", why)


def _changed(answer: Any, weights: Tensor) -> Tensor:
    """What the learner's function makes of weights, if they still are weights."""
    changed = call(answer, weights.clone())
    if not isinstance(changed, Tensor) or changed.shape != weights.shape:
        raise Unusable(f"Your function must return a tensor of the shape that it gets, here {list(weights.shape)}.")
    sums = changed.sum(-1)
    if (changed < 0).any() or not torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        raise Unusable("Weights are not negative, and each row sums to one: move them, do not remove them.")
    if changed.triu(1).any():
        raise Unusable("A step may not see the future: what is right of the diagonal stays zero.")
    return changed.to(weights)


def _check_clock(answer: Any) -> Verdict:
    model = pretrained()
    softmax = model.model.decoder.layers[0].self_attention.softmax
    first, steps = 0, 0
    with torch.inference_mode(), softmax.register_forward_hook(lambda module, inputs, weights: _changed(answer, weights)):
        for source in _test_sequences(model, 50):
            emitted = model.model(source_ids(source), target_ids(source[::-1]))[0].argmax(-1) - FIRST_SYMBOL
            first, steps = first + int((emitted == source[-1]).sum()), steps + len(emitted)
    share = f"At {100 * first / steps:.0f} % of the target steps, the model emits the first token of its answer"
    if first < ENOUGH * steps:
        return wrong(f"{share}; {100 * ENOUGH:.0f} % are asked for. Which weights does the first one have?")
    return right(
        f"{share}: it takes every target step for the first. The share of <BOS> is its clock, and the clock stands still."
    )


EXERCISES = [
    Exercise(
        "A wrong token",
        """
        The trained model, seqrev.load("pretrained"), reverses 4 8 2 9. At target step 2 it is
        about to write 2, but we put 8 in its place: the decoder reads <BOS> 9 8. Which tokens
        does the model write from here on, up to <EOS>? Answer with a list.
        """,
        "Does it find its place by the last token that it reads, or by counting? Remember train.target_noise.",
        _check_wrong_token,
    ),
    Exercise(
        "Without head 1",
        """
        Head 1 of the cross-attention in layer 1 looks at the <EOS> of the source. Switch off this
        one head in the trained model, and reverse the first 300 test sequences. Of which lengths
        is at least one still answered right? Predict it, then measure it, and answer with a list.
        """,
        'Chapter 4 switches off all four heads. This one alone: with model.ablate("cross.1.1").',
        _check_lengths,
    ),
    Exercise(
        "Stop the clock",
        """
        In the decoder's first layer, target step t attends almost equally to all t tokens that it
        may see, so <BOS> has a share of about 1/t. Is this the clock by which the model counts?
        Then it can be stopped. Write stop_the_clock(weights), which takes the self-attention weights
        of this layer, [batch, head, tgt, src], and returns others, such that the model takes every
        target step for the first, and emits the first token of its answer again and again.
        """,
        "At the first target step there is <BOS> and nothing else. Every row still sums to one.",
        _check_clock,
    ),
]
