"""Runs of pairs that users bring: trained, evaluated and looked at like any other."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqrev.api.reverser import Reverser, load
from seqrev.config import load_config
from seqrev.data.dataset import load_split
from seqrev.data.sequences import Pairs, answers_to
from seqrev.errors import InputError, UsageError
from seqrev.inference.evaluation import evaluate
from seqrev.inference.search import decode
from seqrev.inference.teacher_forcing import teacher_forced
from seqrev.model.transformer import Transformer
from seqrev.runs.folders import Run
from seqrev.task import RuleName, apply_rule
from seqrev.training.events import Validation
from seqrev.training.trainer import Trainer, TrainingRows
from seqrev.workflows.attention import draw, draw_over_time, report
from seqrev.workflows.evaluate import EvaluationSet
from seqrev.workflows.evaluate import evaluate as evaluate_runs
from seqrev.workflows.generate import generate, new_run_of_pairs
from seqrev.workflows.train import train
from tests.helpers import TINY

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT = [*TINY, "train.steps=6", "train.validate_every=3", "model.dropout=0.1"]
REVERSED = [([a, b, (a + b) % 7], [(a + b) % 7, b, a]) for a in range(7) for b in range(7)]
UNEQUAL = [([a, b], [b] * (1 + a) + [a]) for a in range(7) for b in range(7)] + [([a], [a]) for a in range(7)]


def run_of(folder: Path, pairs: list[tuple[list[int], list[int]]], *overrides: str) -> Run:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps({"src": source, "tgt": target}) + "\n" for source, target in pairs))
    run, rows = new_run_of_pairs(path, load_config(overrides=[*SHORT, *overrides]), folder / "runs")
    generate(run, rows=rows)
    return run


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load(run, "cpu").model.state_dict()


def test_pairs_that_follow_a_rule_train_the_same_model_as_the_rule(tmp_path: Path) -> None:
    run = run_of(tmp_path, REVERSED)
    train(run, "cpu")
    config = run.config()
    same = config.model_copy(update={"task": config.task.model_copy(update={"rule": "reverse", "max_answer": None})})
    train_rows, validation = (list(load_split(run.data, split, config)) for split in ("train", "validation"))
    by_rule = Trainer(same, TrainingRows(train_rows, validation), "cpu")
    for _ in by_rule:
        pass
    expected = by_rule.model.state_dict()
    assert all(value.equal(expected[name]) for name, value in weights(run).items())


def test_a_stopped_training_of_pairs_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    runs = [run_of(tmp_path, UNEQUAL) for _ in range(2)]
    train(runs[0], "cpu")
    config = runs[1].config()
    rows = {split: load_split(runs[1].data, split, config) for split in ("train", "validation", "test")}
    trainer = Trainer(config, TrainingRows(**rows), "cpu")
    for event in trainer:
        if event.step == 4:
            break
    saved = trainer.save(tmp_path / "runs")
    assert isinstance(load_split(saved.data, "test", saved.config()), Pairs)
    train(saved, "cpu")
    expected = weights(runs[0])
    assert all(value.equal(expected[name]) for name, value in weights(saved).items())


def test_a_run_of_pairs_is_evaluated_and_looked_at(tmp_path: Path) -> None:
    run = run_of(tmp_path, UNEQUAL)
    summary = train(run, "cpu")
    assert math.isnan(summary.validation.mass)
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert not any("mass" in row for row in rows)
    assert all(picture.is_file() for picture in summary.pictures)
    model = load(run, "cpu")
    (result,) = evaluate_runs([model]).reports
    assert result["sequences"] == run.config().data.test
    assert result["anti_diagonal"][0]["mass"] is None
    attention, path = draw(model)
    assert attention.correct is None
    assert attention.alignment == []
    assert path.is_file()
    snapshots, scores, path = draw_over_time(run)
    watched = {tuple(source): target for source, target in UNEQUAL}
    assert snapshots[0].target == watched[tuple(snapshots[0].source)]
    assert all(math.isnan(score.mass) for score in scores)
    heads = report(model).heads
    assert {head.offset is None for head in heads if head.type == "cross"} == {True}
    assert all(math.isfinite(head.entropy) for head in heads)


@pytest.mark.parametrize("asked", [{"lengths": "5"}, {"families": True}, {"exhaustive": 2}])
def test_what_nobody_knows_the_answers_to_is_refused(tmp_path: Path, asked: dict[str, Any]) -> None:
    run = run_of(tmp_path, UNEQUAL)
    train(run, "cpu")
    with pytest.raises(UsageError):
        evaluate_runs([load(run, "cpu")], EvaluationSet(**asked))


def test_the_targets_of_a_file_are_what_counts(tmp_path: Path) -> None:
    run = run_of(tmp_path, UNEQUAL)
    train(run, "cpu")
    model = load(run, "cpu")
    source = [3, 1]
    answer = model.reverse(source) or [0]
    path = tmp_path / "mine.tsv"
    path.write_text(f"3 1\t{' '.join(map(str, answer))}\n3 1\t6 6 6 6 6 6 6 6 6\n")
    (report_,) = evaluate_runs([model], EvaluationSet(file=path)).reports
    assert report_["sequences"] == 2
    assert [mistake["expected"] for mistake in report_["mistakes"]][-1] == [6] * 9
    path.write_text("3 1\n")
    with pytest.raises(UsageError, match="known of the given pairs only"):
        evaluate_runs([model], EvaluationSet(file=path))


def test_pairs_without_their_file_are_refused(tmp_path: Path) -> None:
    config = load_config(overrides=[*SHORT, "task.rule=pairs"])
    with pytest.raises(UsageError, match=r"those of a file .*, which is missing") as caught:
        train(config, "cpu", tmp_path)
    assert caught.value.hint == "seqrev generate --help"
    assert not list(tmp_path.iterdir())


def test_a_dataset_of_pairs_without_targets_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path, UNEQUAL)
    path = run.data / "test.jsonl"
    manifest = json.loads((run.data / "manifest.json").read_text())
    path.write_text('{"src": [1, 2]}\n')
    manifest["splits"]["test"] |= {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    (run.data / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match='"tgt" is missing'):
        load_split(run.data, "test", run.config())


@pytest.mark.parametrize("rule", ["repeat", "pairs"])
def test_answers_of_other_lengths_are_counted_alike_token_by_token_and_at_once(rule: RuleName) -> None:
    """Of a model that knows little, so that there are all kinds of mistakes."""
    torch.manual_seed(1)
    config = load_config(overrides=["model.d_model=16", "model.heads=2", "model.d_ff=16", "task.symbols=4"]).model
    model = Transformer(config, 7, rule, longest_answer=None if rule == "repeat" else 8).eval()
    sources = [[a % 4, b % 4] + [1] * (a % 3) for a in range(6) for b in range(4)]
    answers = [decoded.output[: 1 + index % 8] or [0] for index, decoded in enumerate(decode(model, sources))]
    if rule == "repeat":
        answers = [apply_rule(np.array(source), "repeat").tolist() for source in sources]
    given = Pairs.from_pairs(list(zip(sources, answers, strict=True)), 4)
    asked = sources if rule == "repeat" else given
    result, by_pairs = evaluate(model, asked), evaluate(model, given)
    assert result.to_dict() == by_pairs.to_dict()
    for answer, forced, right in zip(decode(model, asked), teacher_forced(model, asked), answers, strict=True):
        assert (answer.finished and answer.output == right) == (forced.finished and forced.output == right)
    assert answers_to(asked, rule) == answers
    assert evaluate(model, asked, protocol="length-given").overall.tokens == sum(map(len, answers))
    assert all(len(one.output) == len(right) for one, right in zip(decode(model, asked, 1, True), answers, strict=True))


def test_repeat_is_learned() -> None:
    overrides = [
        "task.rule=repeat", "task.symbols=4", "task.max_length=3", "data.train=200", "data.validation=3", "data.test=3",
        "model.d_model=32", "model.heads=2", "model.d_ff=64", "model.positions=rotary", "train.steps=150", "train.lr=1e-2",
        "train.validate_every=150", "train.batch_size=32",
    ]  # fmt: skip
    trainer = Trainer(load_config(overrides=overrides), device="cpu")
    *_, last = trainer
    assert isinstance(last, Validation)
    assert last.exact_match >= 0.6
    assert Reverser.from_trainer(trainer).reverse([2, 0, 1]) == [2, 2, 0, 0, 1, 1]
