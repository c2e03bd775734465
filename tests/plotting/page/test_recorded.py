"""The page of a model that does not compute in it: the maps of one sequence, and why. And of one without a rule."""

import pytest

import seqrev
from seqrev.api.reverser import Reverser
from seqrev.config import ModelConfig
from seqrev.errors import UsageError
from seqrev.plotting.page import page as page_module
from tests.plotting.page.conftest import Open
from tests.plotting.page.models import page_of, random_model
from tests.plotting.page.reading import answered, assert_silent, finish

SHAPE = ModelConfig(d_model=16, heads=2, encoder_layers=1, decoder_layers=2, d_ff=16, max_positions=64)


def of_scheme(**changes: object) -> str:
    model = random_model(ModelConfig.model_validate({**SHAPE.model_dump(), **changes}))
    return page_of(model, [4, 8, 2])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"positions": "alibi"},
            "The model's positions are alibi; the page computes with sinusoidal and rotary ones only.",
        ),
        ({"positions": "learned"}, "The model's positions are learned;"),
        ({"random_positions": 64}, "The model's positions are random;"),
        ({"d_ff": 30_000}, "The model has 2,976,445 weights; a page takes 1,500,000."),
    ],
)
def test_a_model_that_is_not_for_a_page_is_shown_with_the_maps_of_one_sequence(
    show: Open, changes: dict[str, object], reason: str
) -> None:
    html = of_scheme(**changes)
    page = show(html)
    assert page.text("#reason").startswith(reason)
    assert page.text("#reason").endswith("These are the maps of one sequence, 4 8 2.")
    for absent in ("#ask", ".stages", ".predictions", "#compare", ".head input"):
        assert page.find(absent) == []
    model = random_model(ModelConfig.model_validate({**SHAPE.model_dump(), **changes}))
    seen = Reverser(seqrev.Config(model=model.config), model).attention([4, 8, 2])
    finish(page)
    assert answered(page) == seen.emitted_tokens
    grids = page.run("return page.panes[0].recording.maps.cross.map((heads) => heads.map(({values}) => [...values]))")
    for layer in (1, 2):
        for head in (1, 2):
            expected = seen.weights("cross", layer)[head - 1].ravel().tolist()
            assert grids[layer - 1][head - 1] == pytest.approx(expected, abs=1e-5)
    assert_silent(page)


def test_a_sequence_too_long_to_be_computed_is_shown_with_its_maps(show: Open) -> None:
    model = random_model(SHAPE.model_copy(update={"max_positions": 128}))
    page = show(page_of(model, [1] * 101))
    assert page.text("#reason").startswith("The sequence has 101 symbols; the page computes with up to 100.")


def test_without_a_model_it_has_the_maps(show: Open) -> None:
    page = show(page_of(random_model(SHAPE), [4, 2], stages=[]))
    assert page.text("#reason").startswith("The page was made without the model.")


def test_more_recorded_weights_than_a_browser_can_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "MOST_RECORDED", 50)
    with pytest.raises(UsageError, match="a page takes 50") as caught:
        of_scheme(positions="none")
    assert caught.value.hint == "seqrev attention --out map.png"


def test_of_pairs_nobody_knows_what_is_right(show: Open) -> None:
    model = random_model(SHAPE, rule="pairs", longest_answer=3)
    page = show(page_of(model, [4, 2, 1]))
    finish(page)
    assert answered(page) == Reverser(seqrev.Config(model=SHAPE), model).attention([4, 2, 1]).emitted_tokens
    assert page.text(".caption") == "cross-attention, layer 2, mean of 2 heads"
    assert page.find(".verdict.good, .wrong, .guide, #guide") == []
