"""How many sequences are computed together: as many as fit in memory, and in the caches of a CPU."""

from collections.abc import Callable, Iterator, Sequence

from seqrev.config import ModelConfig
from seqrev.data.sequences import group_by_length
from seqrev.model.attention import SCORES_AT_ONCE
from seqrev.model.transformer import Transformer
from seqrev.task import Array

LOGITS_AT_ONCE = SCORES_AT_ONCE  # a logit takes as much memory as a score
Sources = Sequence[Sequence[int]]  # symbols of each sequence
DECODED_ROWS = 512  # decoded together at most: what a step works on then fits in the caches of a CPU
DECODED_TOKENS = 65_536  # source tokens of these rows, which take memory as keys and values
FORCED_TOKENS = 4_096  # source tokens that are teacher-forced together, to fit in those caches
FORCED_BLOCK = 256  # target tokens of a sequence that are teacher-forced together


def chunks_by_length(sources: Sources, rows: Callable[[int], int]) -> Iterator[tuple[list[int], Array]]:
    """Equally long sources, at most ``rows(length)`` of them: their indices, and the sources, ``[rows, length]``."""
    for indices, group in group_by_length(sources):
        size = max(1, rows(group.shape[1]))
        for start in range(0, len(group), size):
            yield indices[start : start + size].tolist(), group[start : start + size]


def rows_for_maps(model: Transformer, length: int) -> int:
    """Sources of a length whose attention maps, of all layers, and logits fit in memory."""
    return SCORES_AT_ONCE // max(weights_of_maps(model.config, length), model.vocabulary_size * (length + 2))


def weights_of_maps(config: ModelConfig, length: int) -> int:
    """Weights in all attention maps of one source of a length, and its target."""
    return (config.encoder_layers + 2 * config.decoder_layers) * config.heads * (length + 2) ** 2


def rows_for_forcing(model: Transformer, length: int) -> int:
    """Sources of a length that are teacher-forced together."""
    return min(FORCED_TOKENS // (length + 2), LOGITS_AT_ONCE // model.vocabulary_size)


def block_for_forcing(model: Transformer, rows: int, length: int) -> int:
    """Target tokens that are teacher-forced together, for ``rows`` sources of a length."""
    scores = SCORES_AT_ONCE // (rows * model.config.heads * model.config.addresses * (length + 2))
    return max(1, min(scores, LOGITS_AT_ONCE // (rows * model.vocabulary_size), FORCED_BLOCK))


def buckets_for_decoding(sources: Sources, beam: int, vocabulary: int) -> Iterator[list[int]]:
    """Indices of sources of similar length, so that little is padded and rows finish together."""
    most = min(DECODED_ROWS, LOGITS_AT_ONCE // vocabulary)
    bucket: list[int] = []
    for index in sorted(range(len(sources)), key=lambda index: len(sources[index])):
        rows = (len(bucket) + 1) * beam
        if bucket and rows > min(most, DECODED_TOKENS // (len(sources[index]) + 2)):
            yield bucket
            bucket = []
        bucket.append(index)
    if bucket:
        yield bucket


def beam_bytes(model: Transformer, beam: int, source: int, target: int) -> int:
    """A lower bound of the memory that ``beam`` hypotheses to one source take, from its length and the answer's, in tokens.

    Of each hypothesis: the source's states, keys and values of source and target in each decoder layer; and of each token
    that could follow, a logit and a log-probability.
    """
    config = model.config
    states = config.d_model * (source + 2 * config.decoder_layers * (source + target))
    return 4 * beam * (states + 2 * model.vocabulary_size)
