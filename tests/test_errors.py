import pytest

from seqrev.errors import InputError, QualityError, SeqrevError, TrainingError, UsageError, shorten

KINDS = [SeqrevError, UsageError, InputError, QualityError, TrainingError]


@pytest.mark.parametrize("value", ["short", "x" * 100, "\x1b[0m\n", 7])
def test_shorten_is_short_and_printable(value: object) -> None:
    text = shorten(value)
    assert len(text) <= 24
    assert text.isprintable()
    assert text[:5] == ascii(value)[:5]


@pytest.mark.parametrize("length", [8, 9, 10, 11, 12, 50])
def test_shorten_marks_what_it_leaves_out(length: int) -> None:
    text = shorten("a" * length, width=12)
    assert text == (f"'{'a' * length}'" if length <= 10 else "'aaaaaaaaaa…")


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_says_what_to_type_next(kind: type[SeqrevError]) -> None:
    assert (str(kind("It is so.", "type this")), kind("It is so.", "type this").hint) == ("It is so.", "type this")
    assert kind("It is so.").hint.startswith("seqrev ")


def test_the_class_is_the_exit_code() -> None:
    assert {kind.__name__: kind.exit_code for kind in KINDS} == {
        "SeqrevError": 1,
        "UsageError": 2,
        "InputError": 3,
        "QualityError": 4,
        "TrainingError": 1,
    }
