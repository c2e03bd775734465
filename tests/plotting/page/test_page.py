"""The page as people meet it: what they type, press and see, on which screens, and that nothing leaves it."""

import re
from collections.abc import Sequence

import pytest
from selenium.webdriver.common.keys import Keys

from seqrev.api.reverser import Reverser
from seqrev.config import ModelConfig
from seqrev.plotting.style import palette_colours
from tests.browser import Page
from tests.plotting.page.conftest import Open
from tests.plotting.page.models import page_of, random_model, stage_of
from tests.plotting.page.reading import answered, assert_silent, finish, labels

HOSTILE = [
    "</script><script>window.broken = 1</script>",
    '"><img src=x onerror="window.broken = 1">',
    "<!--<script>$data ${window.broken = 1} & ü",
]
DIMMED = "return [...document.querySelectorAll('main, footer')].map(({inert}) => inert)"
SHAPE = ModelConfig(d_model=16, heads=2, encoder_layers=1, decoder_layers=2, d_ff=16, max_positions=64)


def test_it_begins_at_the_first_step_and_asks_nobody(page: Page) -> None:
    assert page.driver.title == page.text("h1") == "runs/001"
    assert page.text("#said") == "token 1 of 5: emits 9 (99.9\xa0%), looks most at 9, position 4"
    assert answered(page) == ["9"]
    assert page.text(".caption") == "cross-attention, layer 2, mean of 4 heads: mass 1.00, hit 1.00"
    assert_silent(page)


def test_no_request_could_be_made(page: Page) -> None:
    outcome = page.driver.execute_async_script(
        "const done = arguments[0]; fetch('https://localhost:1/').then(() => done('made'), () => done('refused'))"
    )
    assert outcome == "refused"
    page.hear("Content Security Policy")
    assert not [url for url in page.requests() if "localhost" in url]


def test_the_keys_step_and_tokens_that_are_not_emitted_yet_have_no_label(page: Page) -> None:
    emitted = ["9", "2", "8", "4", "<EOS>"]
    keys = [(Keys.ARROW_RIGHT, 2), (Keys.ARROW_RIGHT, 3), (Keys.ARROW_LEFT, 2), (Keys.END, 5), (Keys.ARROW_RIGHT, 5)]
    for key, step in [*keys, (Keys.HOME, 1), (Keys.ARROW_LEFT, 1)]:
        page.press(key)
        assert answered(page) == emitted[:step]
        assert labels(page) == (emitted[:step], ["<BOS>", "4", "8", "2", "9", "<EOS>"])
        assert page.text("#said").startswith(f"token {step} of 5: emits {emitted[step - 1]}")
        assert page.texts(".verdict") == (["✓ right"] if step == 5 else [])
    page.click("button", "decoder self-attention, layer 1, head 2")
    for step in range(1, 6):
        assert labels(page) == (emitted[:step], ["<BOS>", *emitted[: step - 1]])
        page.press(Keys.ARROW_RIGHT)
    page.click("button", "encoder self-attention, layer 1, mean over the heads")
    assert labels(page)[0] == labels(page)[1] == ["<BOS>", "4", "8", "2", "9", "<EOS>"]


def test_buttons_do_what_keys_do(page: Page) -> None:
    for name, step in (("next token", 2), ("last token", 5), ("one token back", 4), ("first token", 1)):
        page.click("button", name)
        assert len(answered(page)) == step
    page.click("button", "next token")
    page.press(Keys.ARROW_RIGHT)  # the focus is on the button
    assert len(answered(page)) == 3


def test_space_plays_to_the_end_and_stops(page: Page) -> None:
    page.run("setInterval = (tick) => { window.tick = tick; return 7 }; clearInterval = () => { window.tick = null }")
    page.press(" ")
    assert page.text("#play") == "❚❚ pause"
    for step in range(2, 6):
        page.run("tick()")
        assert len(answered(page)) == step
    assert page.text("#play") == "▶ play"
    assert page.run("return tick === null")
    page.press(" ")  # again, from the first step
    assert len(answered(page)) == 1
    page.press(" ")
    assert page.run("return tick === null")
    assert page.text("#play") == "▶ play"


def test_cells_have_the_colours_of_their_weights_and_rows_to_come_are_empty(page: Page) -> None:
    page.press(Keys.ARROW_RIGHT)
    script = (
        "const {canvas, view, palette} = page.panes[0].map\n"
        "const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)\n"
        "return Array.from(view.grid.values, (value, cell) => [value, [...data.slice(4 * cell, 4 * cell + 4)]])"
    )
    cells = page.run(script)
    assert len(cells) == 5 * 6
    palette = palette_colours()
    for index, (weight, (*colour, alpha)) in enumerate(cells):
        expected = [int(palette[min(255, int(weight * 256))][at : at + 2], 16) for at in (1, 3, 5)]
        assert (colour, alpha) == ((expected, 255) if index < 12 else ([0, 0, 0], 0))


def test_frames_say_where_a_perfect_model_looks(page: Page) -> None:
    script = (
        "return [...document.querySelectorAll('.marks .guide')].map(({style}) => [style.left, style.top].map(parseFloat))"
    )
    assert page.run(script) == [[pytest.approx(100 * c / 6, abs=0.01), 20 * row] for row, c in enumerate([4, 3, 2, 1])]
    page.click("#guide")
    assert page.run(script) == []
    page.click("#guide")
    page.click("button", "cross-attention, layer 1, head 1")
    assert len(page.run(script)) == 4
    page.click("button", "decoder self-attention, layer 1, head 1")
    assert page.run(script) == []


def test_pointing_at_a_cell_says_its_weight(page: Page) -> None:
    page.point(0, 4)
    assert re.fullmatch(r"9 looks at 9: weight (0\.99\d\d|1\.0000)", page.text(".caption"))
    page.point(3, 1)  # which is not emitted yet
    assert page.text(".caption").startswith("cross-attention, layer 2")


def test_the_five_most_probable_tokens_of_every_step(page: Page) -> None:
    for token in ("9", "2", "8", "4", "<EOS>"):
        rows = [text.split("\n") for text in page.texts(".top li")]
        shares = [float(row[-1].removesuffix("\xa0%")) for row in rows]
        assert rows[0][0] == token
        assert len(rows) == len({row[0] for row in rows}) == 5
        assert shares == sorted(shares, reverse=True)
        assert not {"<PAD>", "<BOS>"} & {row[0] for row in rows}
        page.press(Keys.ARROW_RIGHT)


def test_what_is_typed_is_answered_at_once(page: Page, pretrained: Reverser) -> None:
    for source in ([3, 1, 4, 1, 5], [0], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]):
        page.type(", ".join(map(str, source)))
        assert len(answered(page)) == 1
        page.press(Keys.ENTER)  # the focus leaves the field, so that keys step
        finish(page)
        assert answered(page) == [*map(str, pretrained.reverse(source)), "<EOS>"]
        assert labels(page)[1] == ["<BOS>", *map(str, source), "<EOS>"]
    page.click("button", "random")
    finish(page)
    assert len(answered(page)) == 11
    assert_silent(page)


@pytest.mark.parametrize("text", ["", "10 4", "4 8 x", "-1", "1.5", "1_0", "٣", "4 " * 120, *HOSTILE])
def test_what_is_no_sequence_is_refused_and_the_last_answer_dimmed(page: Page, text: str) -> None:
    page.type(text)
    page.press(Keys.ENTER)
    message = page.text("#message")
    assert re.search(r"Type at least one|is not a symbol; the symbols are 0 to 9|These are 120 symbols", message)
    assert len(message) < 90
    assert page.run("return document.getElementById('sequence').ariaInvalid") == "true"
    if text:
        assert page.run("return document.activeElement.id") == "sequence"
    assert page.run("return window.broken === undefined && !document.querySelector('img')")
    assert page.run(DIMMED) == [True, True]
    page.run("document.activeElement.blur()")
    page.press(Keys.ARROW_RIGHT)
    assert len(answered(page)) == 1  # what is dimmed does not go on
    page.type("7")
    assert page.texts("#message") == []
    assert page.run(DIMMED) == [False, False]
    assert answered(page) == ["7"]


def test_it_says_when_a_sequence_is_longer_than_those_of_the_training(page: Page) -> None:
    for length, said in ((10, []), (11, ["longer than any in training (at most 10); it may fail"]), (1, [])):
        page.type("1 " * length)
        assert page.texts("#note") == said


def test_digits_may_stand_together(page: Page) -> None:
    page.type("4829")
    page.press(Keys.ENTER)
    assert page.texts("#message") == []
    assert answered(page) == ["9"]
    assert page.run("return parseSequence('10', 11, 5)") == [10]  # where ten is a symbol, it is one


def test_a_head_is_switched_off_and_the_answer_breaks(page: Page) -> None:
    finish(page)
    assert page.texts(".verdict") == ["✓ right"]
    for name in ("decoder self-attention, layer 1, head 3", "cross-attention, layer 1, head 1"):
        page.click("input", f"{name} is on")
    finish(page)
    assert page.text(".verdict") == "✗ 9 2 8 4 was expected"
    assert page.run("return document.querySelectorAll('.thumb.off').length") == 2
    assert any(
        "(wrong)" in text for text in page.run("return [...document.querySelectorAll('.wrong')].map((e) => e.textContent)")
    )
    page.click("button", "all on")
    finish(page)
    assert page.text(".verdict") == "✓ right"
    assert page.find("#main h2 button") == []


def test_stages_are_chosen_and_compared(page: Page) -> None:
    assert page.texts(".stages button") == ["32", "64", "128", "500"]
    finish(page)
    page.press(*[Keys.ARROW_LEFT] * 4, shift=True)
    assert page.texts(".stages [aria-pressed=true]") == ["32"]
    assert page.texts(".verdict.bad")
    page.click(".stages button", "500")
    page.click("button", "compare two stages")
    assert page.texts(".stages [aria-pressed=true]") == ["32", "500"]
    assert [pane.accessible_name for pane in page.find(".pane")] == ["step 32", "step 500"]
    finish(page)
    assert page.texts(".verdict.good") == ["✓ right"]
    assert len(page.texts(".verdict.bad")) == 1
    assert re.fullmatch(r"token 5 of 5: step 32 (emits .*|has ended); step 500 emits <EOS> .*", page.text("#said"))
    assert page.text("#main h2 span").startswith("heads at step 500")
    page.click("button", "compare two stages")
    assert len(page.find(".pane")) == 1


@pytest.mark.parametrize("title", HOSTILE)
def test_titles_and_names_are_text(show: Open, title: str) -> None:
    model = random_model(SHAPE)
    page = show(page_of(model, [4, 2], [stage_of(model, title), stage_of(model, title[::-1])], title))
    assert page.driver.title == page.text("h1") == title
    assert title in page.texts(".stages button")
    page.click("button", "compare two stages")
    assert page.run("return window.broken === undefined && !document.querySelector('img')")
    assert_silent(page)


def test_one_symbol_one_head_and_one_layer_are_enough(show: Open) -> None:
    config = ModelConfig(d_model=8, heads=1, encoder_layers=1, decoder_layers=1, d_ff=8, max_positions=16)
    page = show(page_of(random_model(config), [5]))
    assert page.text(".caption").startswith("cross-attention, layer 1: mass ")
    assert page.find(".stages") == []
    assert page.find("#compare") == []
    assert_silent(page)


@pytest.mark.parametrize("shown", [("encoder", 2, 3), ("decoder", None, 1), ("cross", 1, None)])
def test_it_begins_with_the_map_that_is_asked_for(show: Open, pretrained: Reverser, shown: Sequence[object]) -> None:
    from seqrev.plotting.attention import draw_page

    kind, layer, head = shown
    page = show(draw_page(pretrained.attention([4, 2]), "a run", pretrained.stages(), kind, layer, head))  # type: ignore[arg-type]
    name = {"cross": "cross-attention"}.get(str(kind), f"{kind} self-attention")
    which = f"head {head}" if head else "mean of 4 heads"
    assert page.text(".caption").startswith(f"{name}, layer {layer or 2}, {which}")
