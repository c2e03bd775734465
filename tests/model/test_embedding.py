"""Embeddings: the token's, and for the additive schemes the position's."""

import pytest
import torch

from seqrev.model.embedding import TokenEmbedding
from seqrev.model.positions import sinusoidal
from tests.model.models import VOCABULARY, small_config

IDS, POSITIONS = torch.tensor([[1, 4, 2], [1, 5, 4]]), torch.tensor([[0, 1, 2]])


def test_sinusoids_of_the_configured_base_are_added() -> None:
    embedding = TokenEmbedding(small_config(position_base=20.0), VOCABULARY)
    assert embedding(IDS, POSITIONS).equal(embedding.tokens.weight[IDS] + sinusoidal(POSITIONS, 16, 20.0))


def test_learned_positions_are_rows_of_a_table_and_those_of_padding_are_the_first() -> None:
    embedding = TokenEmbedding(small_config(positions="learned"), VOCABULARY)
    assert embedding.positions is not None
    assert embedding.positions.weight.shape == (64, 16)
    expected = embedding.tokens.weight[IDS] + embedding.positions.weight[torch.tensor([[1, 0, 0]])]
    assert embedding(IDS, torch.tensor([[1, 0, -1]])).equal(expected)


@pytest.mark.parametrize("positions", ["rotary", "alibi", "relative", "none"])
def test_other_schemes_add_nothing(positions: str) -> None:
    embedding = TokenEmbedding(small_config(positions=positions), VOCABULARY)
    assert embedding.positions is None
    assert embedding(IDS, POSITIONS).equal(embedding.tokens.weight[IDS])


def test_rows_may_have_positions_of_their_own() -> None:
    embedding = TokenEmbedding(small_config(), VOCABULARY)
    positions = torch.tensor([[0, 1, 2], [2, 1, 0]])
    both = embedding(IDS, positions)
    for row in range(2):
        assert both[row].equal(embedding(IDS[row : row + 1], positions[row : row + 1])[0])


def test_dropout_falls_on_the_sum_in_training_only() -> None:
    embedding = TokenEmbedding(small_config(dropout=0.5), VOCABULARY)
    embedded = embedding(IDS, POSITIONS)
    kept = embedded != 0
    assert 0.2 < kept.float().mean() < 0.8
    assert embedded[kept].equal(2 * embedding.eval()(IDS, POSITIONS)[kept])
