import pytest

from seqrev.errors import InputError, QualityError, SeqrevError, StorageError, TrainingError, UsageError

KINDS = [SeqrevError, UsageError, InputError, QualityError, TrainingError, StorageError]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_what_to_type_next(kind: type[SeqrevError]) -> None:
    assert (str(kind("It is so.", "type this")), kind("It is so.", "type this").hint) == ("It is so.", "type this")
    assert kind("It is so.").hint.startswith("make room " if kind is StorageError else "seqrev ")


def test_the_class_is_the_exit_code() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "SeqrevError": 1,
        "UsageError": 2,
        "InputError": 3,
        "QualityError": 4,
        "TrainingError": 1,
        "StorageError": 1,
    }
