"""Experiments as workflows: they write their picture, and give what the library gives."""

from pathlib import Path

import numpy as np
import pytest

import seqrev
from seqrev.data.dataset import load_split
from seqrev.errors import InputError, UsageError
from seqrev.interpret.heads import report_heads
from seqrev.workflows import causes

MODEL = seqrev.load("pretrained")
PNG = b"\x89PNG\r\n\x1a\n"


def test_influence_is_drawn(tmp_path: Path) -> None:
    found = causes.influence(MODEL, [4, 8, 2, 9])
    path = causes.save(found, MODEL, tmp_path / "map.png", theme="dark")
    assert path.read_bytes().startswith(PNG)
    np.testing.assert_allclose(found.effect, np.vstack((np.eye(4)[::-1], np.zeros(4))), atol=0.02)


def test_patching_is_drawn(tmp_path: Path) -> None:
    found = causes.patching(MODEL, [4, 8, 2, 9], [4, 8, 5, 9])
    path = causes.save(found, MODEL, tmp_path / "map.svg")
    assert path.read_bytes().startswith(b"<?xml")
    assert found.maps["residual.encoder"].recovery.argmax(axis=1).tolist() == [3, 3, 3]
    sent = causes.path_patching(MODEL, [4, 8, 2, 9], [4, 8, 2, 9, 1, 6], "cross.1.1")
    path = causes.save(sent, MODEL, tmp_path / "path.png")
    assert path.read_bytes().startswith(PNG)
    assert sent.recovery[0, 0] > 10 * np.abs(sent.recovery[0, 1:]).max()


def test_the_residual_stream_is_drawn(tmp_path: Path) -> None:
    reading = causes.residual_stream(MODEL, [4, 8, 2, 9])
    path = causes.save(reading, MODEL, tmp_path / "map.pdf")
    assert path.read_bytes().startswith(b"%PDF-")
    assert [token for token, _ in reading.most_probable()[-1]] == ["9", "2", "8", "4", "<EOS>"]


def test_an_ablation_is_that_of_the_report() -> None:
    """Which counts free-running."""
    whole, without, both = causes.ablation(MODEL, [["cross.1.1"], ["cross.2.1", "cross.2.2"]])
    test = load_split(MODEL.run.data, "test", MODEL.config) if MODEL.run else []
    report = report_heads(MODEL.model, test[:300])
    (head,) = (one for one in report.heads if (one.type, one.layer, one.head) == ("cross", 1, 1))
    assert whole.exact_match == report.exact_match
    assert without.exact_match == head.exact_match_without
    assert both.exact_match < whole.exact_match


def test_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no layer 3"):
        causes.influence(MODEL, [4, 8], layer=3)
    with pytest.raises(UsageError, match="is not in the vocabulary"):
        causes.patching(MODEL, [4, 8], [4, 10])
    reading = causes.residual_stream(MODEL, [4, 8])
    with pytest.raises(UsageError, match="must end in"):
        causes.save(reading, MODEL, tmp_path / "map.html")
    with pytest.raises(InputError, match="cannot be written"):
        causes.save(reading, MODEL, tmp_path / "none" / "map.png")
