"""Experiments from Python: what they give is what the library gives, and it shows itself."""

from collections.abc import Callable

import numpy as np
import pytest

import seqrev
from seqrev.api.attention import SeenAttention
from seqrev.api.causes import Shown
from seqrev.errors import UsageError
from seqrev.interpret.attention import record_attention
from seqrev.interpret.influence import influence
from seqrev.interpret.patching import patch, path_patch
from seqrev.interpret.residual import read_residual

MODEL = seqrev.load("pretrained")
SEEN = MODEL.attention([4, 8, 2, 9])
CLEAN, CORRUPT = [4, 8, 2, 9], np.array([4, 8, 5, 9])
SHOWN: dict[str, Callable[[], Shown]] = {
    "<Influence: of 4 symbols on 5 tokens>": SEEN.influence,
    "<ResidualReading: 24 parts, 5 tokens>": SEEN.residual,
    "<Patching: 4 8 2 9 into 4 8 5 9>": lambda: MODEL.patch(CLEAN, CORRUPT),
    "<PathPatching: from cross.1.1 to 8 heads>": lambda: MODEL.path_patch(CLEAN, CORRUPT, "cross.1.1"),
}


@pytest.mark.parametrize("says", SHOWN)
def test_an_experiment_says_in_a_line_what_it_is_and_shows_its_picture(says: str) -> None:
    found = SHOWN[says]()
    assert repr(found) == says
    data, size = found._repr_png_()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert min(size.values()) > 100
    assert found.plot(theme="dark").get_suptitle().startswith("pretrained: ")


def test_it_is_what_the_library_gives() -> None:
    np.testing.assert_array_equal(SEEN.influence().effect, influence(MODEL.model, SEEN).effect)
    np.testing.assert_array_equal(SEEN.residual().attribution, read_residual(MODEL.model, SEEN).attribution)
    maps, others = MODEL.patch(CLEAN, CORRUPT).maps, patch(MODEL.model, CLEAN, CORRUPT.tolist()).maps
    for kind, one in maps.items():
        np.testing.assert_array_equal(one.recovery, others[kind].recovery)
    sent = path_patch(MODEL.model, CLEAN, CORRUPT.tolist(), "cross.1.1")
    np.testing.assert_array_equal(MODEL.path_patch(CLEAN, CORRUPT, "cross.1.1").recovery, sent.recovery)


def test_an_answer_whose_model_is_not_known_is_refused() -> None:
    seen = SeenAttention(**vars(record_attention(MODEL.model, [4, 8])))
    for ask in (seen.influence, seen.residual):
        with pytest.raises(UsageError, match="model that answered is not known"):
            ask()


def test_other_ways_to_ablate_look_at_the_test_split_where_nothing_is_given() -> None:
    with MODEL.ablate("cross.2.1", how="mean"):
        over_all = MODEL.evaluate([[4, 8, 2, 9]])
    with MODEL.ablate("cross.2.1", how="mean", sequences=[[4, 8, 2, 9]]):
        over_one = MODEL.evaluate([[4, 8, 2, 9]])
    assert over_all.overall.sequences == over_one.overall.sequences == 1
    with pytest.raises(UsageError, match="no way to ablate"), MODEL.ablate("cross.2.1", how="none"):  # type: ignore[arg-type]
        pass
