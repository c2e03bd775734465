"""Exercises of chapter 1: the formula of attention."""

import math
from typing import Any

import torch
from torch import Tensor

from seqrev.exercises.exercise import Exercise, Verdict, call, compare_numbers, read_number, right, wrong
from seqrev.model.attention import masked_softmax, plain_attention

D_HEAD = 4
PRODUCT = 2 * math.log(3)


def _check_by_hand(answer: Any) -> Verdict:
    query = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    keys = torch.tensor([[0.0, 1.0, 0.0, 0.0], [PRODUCT, 0.0, 0.0, 0.0]])
    values = torch.tensor([[10.0], [50.0]])
    scores = query @ keys.T
    weights = scores.softmax(-1)
    mistakes = {
        "That is without the root: a score is the dot product over √d_head.": (weights @ values).item(),
        "A score is the dot product over the root of d_head, not over d_head.": (
            (scores / D_HEAD).softmax(-1) @ values
        ).item(),
        "That is the value of the better key alone. The softmax is soft: the other key has a weight, too.": 50.0,
        "That is the mean of both values, but the second key has a larger score.": 30.0,
        "The weights are the other way round: the larger score gets the larger weight.": (
            (scores / D_HEAD**0.5).softmax(-1).flip(-1) @ values
        ).item(),
        "The weights must sum to one: divide each by the sum of both.": ((scores / D_HEAD**0.5).exp() @ values).item(),
    }
    expected = plain_attention(query, keys, values).item()
    why = "The scores are 0 and ln 3, so the second key has three times the weight of the first: 1/4 and 3/4."
    return compare_numbers(read_number(answer), expected, mistakes, why, tolerance=0.005)


def _check_root(answer: Any) -> Verdict:
    gradients, weights = [], []
    for score in (1.0, 8.0):
        scores = torch.tensor([[score, 0.0]], dtype=torch.float64, requires_grad=True)
        weight = masked_softmax(scores)[0, 0]
        (gradient,) = torch.autograd.grad(weight, scores)
        gradients.append(gradient[0, 0].item())
        weights.append(weight.item())
    times = gradients[0] / gradients[1]
    mistakes = {
        "That is how many times the scores differ. The softmax is not linear: look at its derivative, w (1 - w).": 8.0,
        "That is d_head. How much steeper is the softmax at 1 than at 8?": 64.0,
        "That is the ratio of the weights. Learning needs their gradients, w (1 - w).": weights[1] / weights[0],
        "That is the inverse: with the root the gradient is the larger one.": 1 / times,
        "That is the gradient with respect to the dot product; s is the score, which goes into the softmax.": (times / 8),
    }
    why = f"{gradients[0]:.3f} against {gradients[1]:.5f}: without the root, such a key would hardly learn anything."
    return compare_numbers(read_number(answer), times, mistakes, why, tolerance=0.05)


def _mistakes(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What attention becomes by a usual mistake, and what to say about it."""
    products, d_head = query @ key.T, query.shape[-1]
    scores = products / d_head**0.5
    inverse = "The mask is the wrong way round: True means that a query may attend to a key."
    late = "The mask comes after the softmax, so the weights of a row no longer sum to one: mask the scores."
    queries = "The softmax goes over the queries. Each query shares its weight among the keys: dim=-1."
    weights = {
        "The scores are not divided by the root of d_head.": masked_softmax(products, mask),
        "The scores are divided by d_head, not by its root.": masked_softmax(products / d_head, mask),
        "The mask is not used.": scores.softmax(-1),
        inverse: masked_softmax(scores, ~mask),
        late: scores.softmax(-1) * mask,
        "A masked score is 0, but e⁰ is 1: make it so low that its weight becomes zero.": (scores * mask).softmax(-1),
        queries: scores.masked_fill(~mask, -1e9).softmax(0),
    }
    return {message: some @ value for message, some in weights.items()}


def _check_attention(answer: Any) -> Verdict:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(size, generator=generator) for size in ((3, 16), (5, 16), (5, 4)))
    mask = torch.tensor([[True, True, True, False, False], [True, False, True, True, False], [True] * 5])
    found = call(answer, query.clone(), key.clone(), value.clone(), mask.clone())
    if not isinstance(found, Tensor):
        return wrong(f"Your function returns {type(found).__name__}, but it should return a tensor [tgt, d_value].")
    if found.shape != (3, 4):
        return wrong(f"For 3 queries, and values of 4 numbers, your function returns {list(found.shape)}, not [3, 4].")
    found = found.to(query)
    if torch.allclose(found, plain_attention(query, key, value, mask), atol=1e-5):
        large = call(answer, 100 * query, key, value, mask)
        if isinstance(large, Tensor) and large.isfinite().all():
            return right("It gives what seqrev.model.attention gives, with large scores, too.")
        return right("But e¹⁰⁰ is too large for a float: subtract the largest score of each row, which changes no weight.")
    for message, mistaken in _mistakes(query, key, value, mask).items():
        if torch.allclose(found, mistaken, atol=1e-5):
            return wrong(message)
    if not found.isfinite().all():
        return wrong("Some of the results are no numbers.")
    return wrong("The shape is right, the numbers are not. Print the weights: does each row sum to one?")


EXERCISES = [
    Exercise(
        "Attention by hand",
        """
        A query and two keys have d_head = 4 numbers each. The dot product of the query with
        the first key is 0, with the second 2 ln 3 = 2.197. The value of the first key is 10,
        that of the second 50. What does attention return?
        """,
        "Divide by the root of d_head, take e to the power of both scores, and divide by their sum.",
        _check_by_hand,
    ),
    Exercise(
        "Why the root",
        """
        With d_head = 64, the dot product of two random vectors is about 8. So let the scores of
        two keys be 8 and 0, or with the root 1 and 0. The first key gets the weight w. It can
        learn only if w changes with its score s. How many times larger is the gradient dw/ds
        with the root than without? (5 % more or less do not matter.)
        """,
        "With two keys, w = 1 / (1 + exp(-s)). Derive it, or let PyTorch: torch.tensor(8.0, requires_grad=True).",
        _check_root,
    ),
    Exercise(
        "Write it yourself",
        """
        Write attention(query, key, value, mask) in PyTorch, with a softmax of your own or that
        of a tensor. query is [tgt, d_head], key [src, d_head], value [src, d_value], and mask
        [tgt, src], where True means "may attend". It returns [tgt, d_value].
        """,
        "Scores first; then scores.masked_fill(~mask, …) with a very low number; the softmax comes after.",
        _check_attention,
    ),
]
