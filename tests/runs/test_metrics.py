import json
from pathlib import Path
from typing import Any

import pytest

from seqrev.errors import InputError
from seqrev.runs.metrics import MetricsWriter, read_metrics


def event(step: int, kind: str = "train") -> dict[str, Any]:
    row = {"event": kind, "step": step, "seconds": step / 10, "loss": 0.1 + 0.2}
    return {**row, "lr": 1e-3} if kind == "train" else {**row, "exact_match": 0.5, "token_accuracy": 0.75}


def write_events(path: Path, *events: dict[str, Any], end: bytes = b"") -> None:
    path.write_bytes("".join(json.dumps(row) + "\n" for row in events).encode() + end)


def steps_in(path: Path) -> list[int]:
    return [row["step"] for row in read_metrics(path)]


def test_events_are_lines_of_json(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path, 0)
    writer.append(**event(1))
    writer.sync()
    assert list(read_metrics(path)) == [event(1)]
    with pytest.raises(ValueError, match="JSON compliant"):
        writer.append(**{**event(2), "loss": float("nan")})
    writer.append(**event(2))
    writer.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_events_that_will_be_repeated_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write_events(path, *map(event, (1, 10, 20, 20, 30)))
    writer = MetricsWriter(path, 20)
    assert steps_in(path) == [1, 10, 20, 20]
    assert writer.seconds == 2.0
    writer.append(**event(25))
    writer.close()
    assert steps_in(path) == [1, 10, 20, 20, 25]
    MetricsWriter(path, 0).close()
    assert path.read_text() == ""


TORN = [b'{"event": "train", "step": 3, "lo', b'{"step": 3', b'"', b"\x00\x00\x00", b"\xff\xfe", b"{}", b"[1]"]


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_last_line_is_passed_over(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    write_events(path, event(1), event(2), end=torn)
    assert steps_in(path) == [1, 2]
    writer = MetricsWriter(path, 2)
    writer.append(**event(3))
    writer.close()
    assert list(read_metrics(path)) == [event(1), event(2), event(3)]


DAMAGE = [b"", b"{", b"[1]", b"\xff", b"[" * 99_000, *TORN]
DAMAGE += [json.dumps({**event(3), **change}).encode() for change in ({"step": "1"}, {"step": True}, {"event": "end"})]
DAMAGE += [json.dumps({**event(3), **change}).encode() for change in ({"loss": None}, {"loss": "1"}, {"seconds": [1]})]
DAMAGE += [json.dumps({**event(3), "loss": float(text)}).encode() for text in ("nan", "inf")]


@pytest.mark.parametrize("line", DAMAGE, ids=lambda line: ascii(line[:40]))
def test_damage_before_the_last_line_is_refused_with_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(json.dumps(event(1)).encode() + b"\n" + line + b"\n" + json.dumps(event(4)).encode() + b"\n")
    with pytest.raises(InputError, match="line 2"):
        list(read_metrics(path))


def test_an_endless_line_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with path.open("wb") as file:
        file.truncate(10**12)  # takes no room: it is all holes
    with pytest.raises(InputError, match="line 1 is longer"):
        list(read_metrics(path))


def test_a_missing_history_is_empty_and_a_folder_is_refused(tmp_path: Path) -> None:
    assert list(read_metrics(tmp_path / "none")) == []
    with pytest.raises(InputError, match="is a folder"):
        list(read_metrics(tmp_path))


def test_a_validation_that_was_not_committed_is_dropped_with_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [event(10), event(20), event(20, "validation"), event(30)]
    write_events(path, *rows)
    MetricsWriter(path, 20, validated=True).close()
    assert list(read_metrics(path)) == rows[:3]
    MetricsWriter(path, 20, validated=False).close()
    assert list(read_metrics(path)) == rows[:2]


@pytest.mark.parametrize(
    "change", [{"seconds": 10**4_000}, {"loss": -1}, {"loss": 1e300}, {"step": -(10**300)}, {"more": float("nan")}]
)
def test_numbers_that_no_picture_has_room_for_are_damage(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "metrics.jsonl"
    write_events(path, {**event(1), **change}, event(2))
    with pytest.raises(InputError, match="line 1"):
        MetricsWriter(path, 9)


@pytest.mark.parametrize("value", ["x", None, [1], True])
def test_what_is_no_number_in_an_event_is_damage(tmp_path: Path, value: object) -> None:
    """Pictures and exports read all of it."""
    path = tmp_path / "metrics.jsonl"
    write_events(path, {**event(1, "validation"), "mass": value}, event(2))
    with pytest.raises(InputError, match="line 1"):
        list(read_metrics(path))
