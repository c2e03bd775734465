"""The model in JavaScript is the model in PyTorch: logits, answers, maps, ablation, and the weights that it is given."""

import numpy as np
import pytest
import torch

from seqrev.api.reverser import Reverser
from seqrev.config import ModelConfig
from seqrev.data.dataset import load_split
from seqrev.inference.search import decode
from seqrev.interpret.ablation import ablate
from seqrev.interpret.attention_kinds import Kind
from seqrev.model.transformer import Transformer
from seqrev.runs.finding import pretrained_run
from seqrev.task import EOS, FIRST_SYMBOL, add_special_tokens
from tests.browser import Page
from tests.docs.guide import ROOT
from tests.plotting.page.conftest import Open
from tests.plotting.page.models import configured_model, page_of, random_model

LOGITS = """
const model = page.model(arguments[1] ?? page.data.stages.length - 1)
return arguments[0].map((source) => {
  const ids = [BOS, ...source.map((symbol) => symbol + FIRST_SYMBOL), EOS]
  const {ids: emitted, steps} = model.answer(ids, source.length + 1 + MAX_EXTRA_TOKENS)
  return [emitted, steps.map(({logits}) => [...logits])]
})
"""
ANSWERS = "return arguments[0].map((source) => record(page.model(page.data.stages.length - 1), source, 'reverse').emitted)"
MAPS = """
const {maps} = page.panes[0].recording
return Object.fromEntries(Object.entries(maps).map(([kind, layers]) => [kind, layers.map((heads) => heads.map(
  ({rows, columns, values}) => Array.from({length: rows}, (_, row) => [...values.slice(row * columns, (row + 1) * columns)])
))]))
"""
SEQUENCES = [[4, 8, 2, 9], [0], [7, 7, 7, 7, 7, 7, 7, 7, 7, 7], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9]]


def expected_ids(model: Transformer, source: list[int]) -> list[int]:
    (answer,) = decode(model, [source])
    return [symbol + FIRST_SYMBOL for symbol in answer.output] + [EOS] * answer.finished


def assert_same(page: Page, model: Transformer, sources: list[list[int]], stage: int | None = None) -> None:
    """The same answers, and at every step the same logits, to 1e-4."""
    for source, (emitted, logits) in zip(sources, page.run(LOGITS, sources, stage), strict=True):
        assert emitted == expected_ids(model, source)
        ids = torch.from_numpy(add_special_tokens(np.array([source])))
        with torch.no_grad():
            expected = model(ids, torch.tensor([[1, *emitted[:-1]]]))[0]
        np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["small", "fast", "extrapolate"])
def test_logits_and_answers_are_those_of_pytorch(show: Open, name: str) -> None:
    model = configured_model(name)
    assert_same(show(page_of(model, [4, 8, 2, 9])), model, SEQUENCES)


@pytest.mark.parametrize("source_from", ["start", "end", "both"])
@pytest.mark.parametrize("options", [{}, {"tie_embeddings": True, "length_scaling": True, "position_base": 50.0}])
def test_every_combination_of_what_the_page_computes(show: Open, source_from: str, options: dict[str, object]) -> None:
    for positions in ("sinusoidal", "rotary") if source_from != "both" else ("rotary",):
        shape = {"d_model": 24, "heads": 3, "encoder_layers": 2, "decoder_layers": 1, "d_ff": 40}
        config = ModelConfig.model_validate({**shape, "positions": positions, "source_from": source_from, **options})
        model = random_model(config, symbols=7)
        assert_same(show(page_of(model, [4, 2, 1])), model, [[4, 2, 1], [6, 6, 0, 1, 5, 2, 3, 3]])


def test_an_alphabet_may_have_more_symbols_than_a_function_takes_arguments(show: Open) -> None:
    config = ModelConfig(d_model=4, heads=2, encoder_layers=1, decoder_layers=1, d_ff=4, tie_embeddings=True)
    model = random_model(config, symbols=200_000)
    (answer,) = decode(model, [[4, 199_999]])
    expected = [*map(str, answer.output), *["<EOS>"] * answer.finished]
    assert show(page_of(model, [4, 2])).run(ANSWERS, [[4, 199_999]]) == [expected]


def test_the_shipped_model_answers_a_thousand_sequences_alike(show: Open, pretrained: Reverser) -> None:
    rows = [list(map(int, row)) for row in load_split(pretrained_run(ROOT).data, "test", pretrained.config)]
    assert len(rows) == 1_000
    page = show(page_of(pretrained.model, [4, 8, 2, 9]))
    answers = page.run(ANSWERS, rows)
    assert answers == [[*map(str, answer.output), "<EOS>"] for answer in pretrained.decode(rows)]
    assert_same(page, pretrained.model, rows[::20])


def test_every_stage_is_the_model_at_that_step(show: Open, pretrained: Reverser) -> None:
    stages = pretrained.stages()
    assert [stage.name for stage in stages] == ["step 32", "step 64", "step 128", "step 500"]
    page = show(page_of(pretrained.model, [4, 8, 2, 9], stages))
    for index, stage in enumerate(stages):
        model = Transformer(pretrained.config.model, 13).eval()
        model.load_state_dict({name: torch.from_numpy(weights) for name, weights in stage.weights.items()})
        assert_same(page, model, SEQUENCES[:3], index)


def test_every_map_is_that_of_pytorch(show: Open, pretrained: Reverser) -> None:
    for source in ([4, 8, 2, 9], [5]):
        seen = pretrained.attention(source)
        page = show(page_of(pretrained.model, source))
        for kind, maps in page.run(MAPS).items():
            np.testing.assert_allclose(maps, seen.all_weights(kind), atol=2e-5)
        page.press(*["\ue014"] * 10)  # the right arrow, to the end
        for layer in (1, 2):
            for head, score in enumerate(seen.anti_diagonal(layer)):
                page.run("page.choose({layer: arguments[0], head: arguments[1]})", layer, head)
                assert page.text(".caption").endswith(f": {score.describe(2)}")


@pytest.mark.parametrize("kind", ["encoder", "decoder", "cross"])
def test_a_head_that_is_switched_off_is_ablated(show: Open, pretrained: Reverser, kind: Kind) -> None:
    page = show(page_of(pretrained.model, [4, 8, 2, 9]))
    name = {"cross": "cross-attention"}.get(kind, f"{kind} self-attention")
    page.click("input", f"{name}, layer 1, head 3 is on")
    with ablate(pretrained.model, [f"{kind}.1.3"]):
        assert_same(page, pretrained.model, SEQUENCES[:3])
    page.click("button", "all on")
    assert_same(page, pretrained.model, SEQUENCES[:3])
