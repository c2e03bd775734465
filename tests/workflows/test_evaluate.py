"""Evaluation of runs, as a Python user calls it."""

import itertools
import json
import math
from pathlib import Path

import pytest

from seqrev.api.reverser import Reverser, load
from seqrev.data.dataset import load_split
from seqrev.data.families import families
from seqrev.data.sampling import fresh_sequences
from seqrev.errors import InputError, UsageError
from seqrev.inference.evaluation import Protocol
from seqrev.interpret.alignment import alignment_over
from seqrev.runs.folders import Run
from seqrev.workflows.evaluate import EvaluationSet, evaluate, parse_lengths

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def model(own_run: Run) -> Reverser:
    return load(own_run, "cpu")


def test_left_out_it_is_the_test_split_and_the_report_is_saved(model: Reverser) -> None:
    outcome = evaluate([model])
    (report,) = outcome.reports
    assert model.run is not None
    assert model.checkpoint is not None
    test = load_split(model.run.data, "test", model.config)
    assert (report["run"], report["step"], report["split"]) == (str(model.run), model.checkpoint.step, "test")
    assert (report["beam"], report["protocol"]) == (1, "free")
    expected = model.evaluate(test).to_dict()
    assert {name: report[name] for name in expected} == expected
    assert report["anti_diagonal"] == [score.to_dict() for score in alignment_over(model.model, test)]
    assert outcome.saved == [model.run.path / "evaluation" / "001.json"]
    assert json.loads(outcome.saved[0].read_text()) == report
    assert outcome.plot is None


def test_every_evaluation_has_a_file_of_its_own(model: Reverser) -> None:
    saved = [path for _ in range(2) for path in evaluate([model], EvaluationSet(split="validation")).saved]
    assert [path.name for path in saved] == ["001.json", "002.json"]
    assert json.loads(saved[1].read_text())["split"] == "validation"


@pytest.mark.parametrize("content", ["4 2 1\n0 3\n", '{"src": [4, 2, 1]}\n{"src": [0, 3], "note": [3, 0]}\n'])
def test_a_file_is_evaluated(model: Reverser, tmp_path: Path, content: str) -> None:
    path = tmp_path / "some.txt"
    path.write_text(content)
    (report,) = evaluate([model], EvaluationSet(file=path)).reports
    assert report["file"] == str(path)
    assert "split" not in report
    assert report["sequences"] == 2
    assert report["exact_match"] == model.evaluate([[4, 2, 1], [0, 3]]).overall.exact_match


def test_fresh_sequences_of_some_lengths_are_plotted_and_reported_as_they_are_done(model: Reverser) -> None:
    calls: list[tuple[int, int, str]] = []
    sequences = EvaluationSet(lengths="3,6:10:4", count=5)
    outcome = evaluate([model], sequences, advance=lambda *call: calls.append(call))
    (report,) = outcome.reports
    assert report["lengths"] == "3,6:10:4"
    assert [(row["length"], row["sequences"]) for row in report["by_length"]] == [(3, 5), (6, 5), (10, 5)]
    assert report["by_length"][0]["exact_match"] == model.evaluate(fresh_sequences(3, 5, model.config)).overall.exact_match
    assert [call[:2] for call in calls] == [(1, 3), (2, 3), (3, 3)]
    assert calls[1][2].startswith("length 6: exact match ")
    assert outcome.plot == outcome.saved[0].with_suffix(".png")
    assert outcome.plot.read_bytes().startswith(PNG)


def test_every_sequence_of_up_to_a_length_is_tried(model: Reverser) -> None:
    calls: list[tuple[int, int, str]] = []
    outcome = evaluate([model], EvaluationSet(exhaustive=3), advance=lambda *call: calls.append(call))
    (report,) = outcome.reports
    assert [(row["length"], row["sequences"]) for row in report["by_length"]] == [(1, 5), (2, 25), (3, 125)]
    every = [list(row) for length in (1, 2, 3) for row in itertools.product(range(5), repeat=length)]
    expected = model.evaluate(every).overall.to_dict()
    assert {name: report[name] for name in expected} == expected
    assert len(report["mistakes"]) == sum(report["errors"].values())  # all of them are listed
    assert [call[:2] for call in calls] == [(5, 155), (30, 155), (155, 155)]
    assert outcome.plot is None


def test_families_are_reported_one_by_one_and_all_mistakes_listed(model: Reverser) -> None:
    model.model.output.bias.data[3] += 3  # so that there are some
    calls: list[tuple[int, int, str]] = []
    (report,) = evaluate([model], EvaluationSet(families=True), advance=lambda *call: calls.append(call)).reports
    rows = dict(families(model.config.task))
    assert {row["family"]: row["sequences"] for row in report["families"]} == {
        name: len(some) for name, some in rows.items()
    }
    for row in report["families"]:
        assert row == {"family": row["family"], **model.evaluate(rows[row["family"]]).overall.to_dict()}
    assert report["sequences"] == sum(map(len, rows.values()))
    wrong = sum(report["errors"].values())
    assert 10 < len(report["mistakes"]) == min(wrong, 1_000)
    assert [call[:2] for call in calls] == [(done, len(rows)) for done in range(1, len(rows) + 1)]


@pytest.mark.parametrize(("longest", "message"), [(31, "31 symbols"), (12, "too many")])
def test_more_sequences_than_can_be_tried_are_refused(model: Reverser, longest: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate([model], EvaluationSet(exhaustive=longest))
    assert model.run is not None
    assert not (model.run.path / "evaluation").exists()


def test_several_models_are_compared_on_the_same_sequences(model: Reverser, trained_run: Run, tmp_path: Path) -> None:
    assert model.run is not None
    other = Reverser(model.config, model.model, Run(tmp_path / "runs" / "001"), model.checkpoint)
    calls: list[tuple[int, int, str]] = []
    outcome = evaluate([model, other], EvaluationSet(lengths="4", count=5), advance=lambda *call: calls.append(call))
    assert [path.name for path in outcome.saved] == ["001.json", "002.json"]
    one, two = outcome.reports
    assert one["by_length"] == two["by_length"]
    assert outcome.plot == outcome.saved[-1].with_suffix(".png")
    assert [call[:2] for call in calls] == [(1, 2), (2, 2)]
    assert trained_run.path != model.run.path


@pytest.mark.parametrize("protocol", ["free", "length-given", "teacher-forced", "chomsky"])
def test_beam_and_protocol_are_passed_on(model: Reverser, protocol: Protocol) -> None:
    beam = 2 if protocol == "free" else 1
    assert model.run is not None
    (report,) = evaluate([model], beam=beam, protocol=protocol).reports
    assert (report["beam"], report["protocol"]) == (beam, protocol)
    test = load_split(model.run.data, "test", model.config)
    expected = model.evaluate(test, beam, protocol).overall
    assert math.isclose(report["exact_match"], expected.exact_match)


def test_a_model_that_comes_from_no_run_is_refused(model: Reverser) -> None:
    with pytest.raises(InputError, match="does not come from a run") as caught:
        evaluate([model, Reverser(model.config, model.model)])
    assert "save" in caught.value.hint
    assert model.run is not None
    assert not (model.run.path / "evaluation").exists()


@pytest.mark.parametrize(
    ("lengths", "message"),
    [("31", "31 symbols"), ("4,1000", "1,000 symbols"), ("x", "is not a length"), ("5:1", "no lengths in it")],
)
def test_lengths_that_a_model_does_not_take_are_refused(model: Reverser, lengths: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate([model], EvaluationSet(lengths=lengths))
    assert model.run is not None
    assert not (model.run.path / "evaluation").exists()


def test_lengths_are_read_as_people_write_them() -> None:
    assert parse_lengths("7") == [7]
    assert parse_lengths("20, 5") == [5, 20]
    assert parse_lengths("1:7:3,4:6,5") == [1, 4, 5, 6, 7]
    assert len(parse_lengths("1:10001")) == 10_001


@pytest.mark.parametrize("text", ["", "0", "-1", "1:2:3:4", "2:1", "1:5:0", "1:10002", "1,,2", "1.5", "٣", "1" * 10])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_lengths(text)
