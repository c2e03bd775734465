"""Which models fit into a page, how many of their stages, and how they are written."""

import base64

import numpy as np
import pytest

import seqrev
from seqrev.plotting.page import Stage, stages
from seqrev.plotting.page.stages import own_weights, why_not_live, write_stages
from seqrev.runs.stages import MOST_WEIGHTS
from tests.docs.guide import ROOT
from tests.plotting.page.models import configured_model, page_of, stage_of


def halves(stage: Stage, name: str) -> Stage:
    """What is kept of a stage in a training."""
    return Stage(name, {key: tensor.astype(np.float16).astype(np.float32) for key, tensor in stage.weights.items()})


@pytest.mark.parametrize("name", ["small", "fast", "extrapolate"])
def test_the_pages_of_the_shipped_configurations_stay_small(name: str) -> None:
    model = configured_model(name)
    last = stage_of(model)
    html = page_of(model, [4, 8, 2, 9], [*(halves(last, f"step {step}") for step in (32, 64, 128)), last])
    assert '"recorded":' not in html
    assert len(html.encode()) < 6_000_000


def test_a_model_too_large_is_told_how_large_it_is() -> None:
    config = seqrev.load_config(ROOT / "configs" / "base.yaml").model
    stage = Stage("step 1", {"output.weight": np.broadcast_to(np.float32(0), (44_000_000,))})
    assert why_not_live(config, [stage]) == f"The model has 44,000,000 weights; a page takes {MOST_WEIGHTS:,}."


def test_weights_are_written_whole_and_halves_where_nothing_is_lost() -> None:
    model = configured_model("small")
    last = stage_of(model)
    written = write_stages(model.config, [halves(last, "step 1"), last])
    first, second = written["stages"]
    assert [first["name"], first["dtype"], second["name"], second["dtype"]] == ["step 1", "float16", "step 500", "float32"]
    for stage, one, kind in ((first, halves(last, ""), "<f2"), (second, last, "<f4")):
        values = np.frombuffer(base64.b64decode(stage["base64"]), kind).astype(np.float32)
        at = 0
        for name, size in written["shapes"]:
            np.testing.assert_array_equal(values[at : at + size], one.weights[name].ravel())
            at += size
        assert at == len(values) == sum(parameter.numel() for parameter in model.parameters())


def test_a_shared_matrix_is_written_once() -> None:
    model = configured_model("extrapolate")
    names = dict(model.named_parameters())
    assert list(own_weights(model.config, stage_of(model))) == sorted(names)


def test_stages_for_which_there_is_no_room_are_left_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    model = configured_model("fast")
    last = stage_of(model)
    some = [*(halves(last, str(step)) for step in range(6)), last]
    size = sum(parameter.numel() for parameter in model.parameters())
    for room, kept in ((0, ""), (4, ""), (6, "5"), (8, "25"), (10, "135"), (16, "012345")):
        monkeypatch.setattr(stages, "MOST_BYTES", room * size)
        names = [stage["name"] for stage in write_stages(model.config, some)["stages"]]
        assert names == [*kept, "step 500"]
