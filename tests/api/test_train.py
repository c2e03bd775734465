"""``seqrev.train``: what may be asked for, what is shown, and what it leaves alone."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seqrev
from seqrev.config import Config, to_yaml
from seqrev.errors import InputError, UsageError
from seqrev.training.events import Event
from seqrev.training.trainer import Trainer, TrainingRows
from tests.helpers import tiny_config

SHORT = tiny_config("train.steps=4", "train.validate_every=2")


def weights(model: seqrev.Reverser) -> dict[str, Any]:
    return {name: value.tolist() for name, value in model.model.state_dict().items()}


def test_it_is_the_trainer_run_to_its_end() -> None:
    trainer = Trainer(SHORT, device="cpu")
    events = list(trainer)
    model = seqrev.train(SHORT, device="cpu")
    assert weights(model) == weights(seqrev.Reverser.from_trainer(trainer))
    assert list(model.events) == events
    assert model.config == SHORT


def test_a_configuration_is_a_file_or_one_of_the_package_or_one_that_was_read(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text(to_yaml(SHORT), encoding="utf-8")
    of_file, of_config = seqrev.train(path, seed=5), seqrev.train(SHORT, seed=5)
    assert of_file.config.seed == of_config.config.seed == 5
    assert SHORT.seed == 0
    assert weights(of_file) == weights(of_config)
    shipped = seqrev.train("fast", overrides=["train.steps=1", "train.warmup_steps=0", "data.validation=20"])
    assert shipped.config.model.positions == "rotary"
    assert len(shipped.events) == 2


def test_rows_may_be_given() -> None:
    model = seqrev.train(SHORT, rows=TrainingRows([[1], [2, 3]], [[1]]))
    assert model.trainer is not None
    assert list(model.trainer.rows.validation) == [[1]]


def test_rows_that_were_given_are_those_of_its_run(tmp_path: Path) -> None:
    model = seqrev.train(SHORT, rows=TrainingRows([[1], [2, 3]], [[1]], [[4], [2, 1], [3]]))
    before = model.evaluate()
    run = model.save(tmp_path)
    assert model.config == run.config()
    assert before == model.evaluate() == seqrev.load(run, "cpu").evaluate()
    assert before.overall.sequences == 3


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: seqrev.train("smal"), InputError),
        (lambda: seqrev.train(SHORT, overrides=["train.stps=3"]), UsageError),
        (lambda: seqrev.train(SHORT, overrides=["model.d_ff=1000000", "model.d_model=65536"]), UsageError),
        (lambda: seqrev.train(SHORT, device="abacus"), UsageError),
    ],
)
def test_what_cannot_be_trained_is_refused(call: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


@pytest.mark.parametrize("progress", [None, False])
def test_outside_a_notebook_it_prints_nothing(progress: bool | None, capfd: pytest.CaptureFixture[str]) -> None:
    seqrev.train(SHORT, progress=progress)
    assert capfd.readouterr() == ("", "")


def test_on_request_it_prints_one_line_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    seqrev.train(SHORT, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "step 4 of 4 · loss " in err
    assert "exact match" in err
    assert "\x1b" not in err


def test_a_function_is_told_every_event() -> None:
    told: list[Event] = []
    assert seqrev.train(SHORT, progress=told.append).events == tuple(told)


def test_it_works_where_an_event_loop_runs() -> None:
    async def cell() -> seqrev.Reverser:
        return seqrev.train(SHORT)

    async def beside() -> seqrev.Reverser:
        return await asyncio.to_thread(seqrev.train, SHORT)

    async def both() -> list[seqrev.Reverser]:
        return list(await asyncio.gather(cell(), beside(), beside()))

    first, *others = (weights(model) for model in asyncio.run(both()))
    assert others == [first, first]


def test_a_configuration_says_what_is_not_the_default() -> None:
    assert repr(Config()) == "Config()"
    config = seqrev.load_config(overrides=["seed=3", "model.heads=2", "train.stop_at=0.5"])
    assert repr(config) == "Config(seed=3, model=ModelConfig(heads=2), train=TrainConfig(stop_at=0.5))"
