"""Patching: its laws, and a model whose causes are known."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from seqrev.errors import UsageError
from seqrev.inference.search import decode
from seqrev.interpret.interventions import intervene, record
from seqrev.interpret.patching import Patching, patch, path_patch
from seqrev.model.transformer import Transformer
from seqrev.task import EOS, add_special_tokens
from tests.interpret.by_hand import reverser_by_hand
from tests.interpret.models import random_model
from tests.model.models import each_scheme, scheme_model

CLEAN, CORRUPT = [4, 8, 2, 9], [4, 8, 5, 9]


def loud(model: Transformer) -> Transformer:
    """An equal model that reads its source rather than its own output, and does not stop at once."""
    model = copy.deepcopy(model)
    for layer in model.decoder.layers:
        layer.cross_attention.out_proj.weight *= 20
    model.encoder.embedding.tokens.weight *= 5
    model.output.bias[EOS] = -50
    return model


def other_source(model: Transformer) -> list[int]:
    """One that the model answers differently than ``CLEAN``."""
    others = np.random.default_rng(0).integers(10, size=(100, 4))
    (answer,) = decode(model, [CLEAN])
    target = torch.tensor([[1, *(symbol + 3 for symbol in answer.output)]])[:, : len(answer.output) + answer.finished]
    clean, *answers = model(ids([CLEAN, *others.tolist()]), target.expand(101, -1)).argmax(-1)
    return next(other for other, one in zip(others.tolist(), answers, strict=True) if not torch.equal(one, clean))


def ids(sources: list[list[int]]) -> Tensor:
    return torch.from_numpy(add_special_tokens(np.array(sources)))


def patched(model: Transformer) -> Patching:
    return patch(model, CLEAN, other_source(model))


def test_the_causes_of_the_reverser_by_hand() -> None:
    """The symbol at position 3 of the source is copied by head 1 at step 2, and by nothing else, nowhere else."""
    found = patch(reverser_by_hand(), CLEAN, CORRUPT)
    assert (found.emitted, found.instead) == (["9", "2", "8", "4", "<EOS>"], ["9", "5", "8", "4", "<EOS>"])
    in_source, in_target = np.eye(6)[3], np.eye(5)[1]
    expected = {
        "residual.encoder": [in_source, in_source],
        "residual.decoder": [0 * in_target, in_target],
        "encoder": [0 * in_source, 0 * in_source],
        "decoder": [0 * in_target, 0 * in_target],
        "cross": [in_target, 0 * in_target],
    }
    assert set(found.maps) == set(expected)
    for kind, rows in expected.items():
        one = found.maps[kind]
        np.testing.assert_allclose(one.recovery, rows, atol=1e-6)
        np.testing.assert_allclose(one.whole, np.sum(rows, axis=1), atol=1e-6)
        np.testing.assert_allclose(one.by_step[:, :, 1], rows, atol=1e-6)
        assert np.isnan(one.by_step[:, :, [0, 2, 3, 4]]).all()


def test_of_another_length_the_reverser_by_hand_has_only_steps_in_common() -> None:
    found = patch(reverser_by_hand(), CLEAN, [*CLEAN, 1])
    assert found.instead == ["1", "9", "2", "8", "4"]
    assert list(found.maps) == ["cross", "decoder", "residual.decoder"]
    np.testing.assert_allclose(found.maps["cross"].recovery, [[0.2] * 5, [0.0] * 5], atol=1e-6)
    np.testing.assert_allclose(found.maps["cross"].by_step[0], np.eye(5), atol=1e-6)
    np.testing.assert_allclose(found.maps["cross"].whole, [1, 0], atol=1e-6)


@each_scheme
def test_all_that_the_decoder_is_given_brings_all_back(scheme: str) -> None:
    """The encoder's output at all positions, or the last residual stream; what the decoder reads is the same."""
    found = patched(loud(scheme_model(scheme)))
    assert found.maps["residual.encoder"].whole == pytest.approx(1, abs=1e-5)
    assert found.maps["residual.decoder"].whole == pytest.approx(
        [0, *[found.maps["residual.decoder"].whole[1]], 1], abs=1e-5
    )


def test_each_row_of_the_batch_is_one_intervention() -> None:
    """The batched pass gives what patching one place at a time gives."""
    model = loud(random_model(encoder_layers=2))
    found = patched(model)
    (answer,) = decode(model, [CLEAN])
    source, corrupt = ids([CLEAN]), ids([found.corrupt])
    target = torch.tensor([[1, *(symbol + 3 for symbol in answer.output)]])[:, : len(found.emitted)]
    right, wrong = model(source, target)[0].argmax(-1), model(corrupt, target)[0].argmax(-1)
    counts, steps = right != wrong, torch.arange(len(right))

    def difference(source: Tensor) -> float:
        logits = model(source, target)[0]
        return float((logits[steps, right] - logits[steps, wrong])[counts].sum())

    before, gap = difference(corrupt), difference(source)
    for kind, one in found.maps.items():
        cache = record(model, source, target, one.points)
        for index in (0, len(one.points) - 1):
            name = one.points[index]
            for position in (0, one.recovery.shape[1] - 1):

                def put(value: Tensor, cache: object, name: str = name, position: int = position) -> Tensor:
                    value = value.clone()
                    value[:, position] = cache[name][:, position]  # type: ignore[index]
                    return value

                with intervene(model, {name: put}, cache):
                    after = difference(corrupt)
                expected = (after - before) / (gap - before)
                assert one.recovery[index, position] == pytest.approx(expected, abs=1e-5), (kind, name, position)


@each_scheme
def test_patching_a_step_is_not_felt_before_it(scheme: str) -> None:
    found = patched(loud(scheme_model(scheme)))
    for kind in ("cross", "decoder", "residual.decoder"):
        by_step = found.maps[kind].by_step
        for position in range(by_step.shape[1]):
            earlier = by_step[:, position, :position]
            assert np.nan_to_num(earlier) == pytest.approx(0, abs=1e-6)


def test_in_small_batches_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = loud(random_model())
    whole = patched(model)
    monkeypatch.setattr("seqrev.interpret.patching.rows_for_maps", lambda *_: 3)
    for kind, one in patched(model).maps.items():
        np.testing.assert_allclose(one.recovery, whole.maps[kind].recovery, atol=1e-6)


def test_a_path_goes_into_what_reads_the_head() -> None:
    """By hand: head 1 of layer 1 writes into the stream what only the queries of head 1 in layer 2 read."""
    model = loud(random_model())
    first, second = model.decoder.layers
    for layer in model.decoder.layers:
        layer.self_attention.out_proj.weight.zero_()
        layer.feed_forward.linear2.weight.zero_()
    width = 8
    second.cross_attention.q_proj.weight[width:] = 0  # head 2 of layer 2 asks for the same, whatever it reads
    first.cross_attention.out_proj.weight[:, width:] = 0  # head 2 of layer 1 writes nothing
    found = path_patch(model, CLEAN, other_source(model), "cross.1.1")
    assert found.receivers == ["all of them", "cross.2.1", "cross.2.2", "decoder.2.1", "decoder.2.2"]
    assert found.recovery.shape == (5, 3)
    asked = found.recovery[1, 0]
    assert abs(asked) > 1e-3
    rest = found.recovery.copy()
    assert rest[0, 0] == pytest.approx(asked)  # of all of them
    rest[:2, 0] = 0
    np.testing.assert_allclose(rest, 0, atol=1e-6)
    np.testing.assert_allclose(path_patch(model, CLEAN, other_source(model), "cross.1.2").recovery, 0, atol=1e-6)


def test_the_one_path_of_a_reverser_by_hand_is_found() -> None:
    """The head of the encoder tells the values of the head that copies, and nobody else; without it there is no path."""
    model = reverser_by_hand(relayed=True)
    assert decode(model, [CLEAN])[0].output == CLEAN[::-1]
    found = path_patch(model, CLEAN, CORRUPT, "encoder.1.1")
    assert found.receivers == ["all of them", "cross.1.1", "cross.1.2"]
    np.testing.assert_allclose(found.recovery, [[0, 0, 1], [0, 0, 1], [0, 0, 0]], atol=0.02)
    np.testing.assert_allclose(path_patch(model, CLEAN, CORRUPT, "encoder.1.2").recovery, 0, atol=1e-9)
    alone = path_patch(reverser_by_hand(), CLEAN, CORRUPT, "encoder.1.1")  # whose head of the encoder says nothing
    np.testing.assert_allclose(alone.recovery, 0, atol=1e-9)


def test_a_path_from_the_encoder_goes_through_its_memory() -> None:
    model = loud(random_model(encoder_layers=2))
    found = path_patch(model, CLEAN, other_source(model), "encoder.1.1")
    assert found.receivers[1:] == [f"cross.{layer}.{head}" for layer in (1, 2) for head in (1, 2)] + [
        "encoder.2.1",
        "encoder.2.2",
    ]
    crossing = found.recovery[1:5]
    np.testing.assert_allclose(crossing[:, 0], 0, atol=1e-6)  # no query comes from there
    assert (np.abs(crossing[:, 1:]) > 1e-6).all()


def test_what_cannot_be_patched_is_refused() -> None:
    model = reverser_by_hand()
    with pytest.raises(UsageError, match="same answer"):
        patch(model, CLEAN, CLEAN)
    for sender in ("cross.1.1", "cross.1"):
        with pytest.raises(UsageError, match="no head that has another one after it"):
            path_patch(model, CLEAN, CORRUPT, sender)
    with pytest.raises(UsageError, match="is no point"):
        path_patch(model, CLEAN, CORRUPT, "cross.4.1")
    with pytest.raises(UsageError, match="not equally long"):
        path_patch(model, CLEAN, [*CORRUPT, 1], "encoder.1.1")
