"""From ids to the states that the first layer reads."""

from torch import Tensor, nn

from seqrev.config import ModelConfig
from seqrev.model.positions import sinusoidal
from seqrev.model.randomness import Dropout


class TokenEmbedding(nn.Module):
    """Which token it is and, for the additive position schemes, where it is."""

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(vocabulary_size, config.d_model)
        self.positions = nn.Embedding(config.max_positions, config.d_model) if config.positions == "learned" else None
        self.dropout = Dropout(config.dropout)

    def forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """``ids`` and ``positions``, ``[batch, length]`` (positions may broadcast), to ``[batch, length, d_model]``."""
        states: Tensor = self.tokens(ids)
        if self.positions is not None:
            states = states + self.positions(positions.clamp(min=0))
        elif self.config.positions == "sinusoidal":
            states = states + sinusoidal(positions, self.config.d_model, self.config.position_base).to(states)
        embedded: Tensor = self.dropout(states)
        return embedded
