"""What comes from outside: signals, and texts of strangers."""

from collections.abc import Callable, Iterator
from typing import Any

import yaml

from tests.torture.mutants.mutant import Altered, Mutant


def ignore_while_patient(handle: Callable[..., None]) -> Callable[..., None]:
    def faulty(self: Any, signum: int, frame: Any) -> None:
        if self.patient:
            self.received = self.received or signum
        else:
            handle(self, signum, frame)

    return faulty


def parse_without_tags(text: str, **options: Any) -> Iterator[Any]:
    for event in yaml.parse(text, **options):
        if hasattr(event, "tag"):
            event.tag = None
        yield event


class NoEvent:
    """Nothing is one of these."""


OUTSIDE = (
    Mutant(
        "second signal not heard",
        "seqrev.system.signals.StopRequest._handle",
        ignore_while_patient,
        "test_a_patient_program_is_asked_first_and_interrupted_by_the_second",
    ),
    Mutant(
        "YAML tags obeyed",
        "seqrev.system.safe_yaml.yaml",
        lambda module: Altered(module, parse=parse_without_tags),
        "test_numbers_tags_and_names_that_break_parsers_are_refused",
    ),
    Mutant(
        "YAML aliases unfolded",
        "seqrev.system.safe_yaml.yaml",
        lambda module: Altered(module, AliasEvent=NoEvent),
        "test_a_file_that_is_no_configuration_is_refused",
    ),
    Mutant(
        "escapes printed",
        "seqrev.system.text.printable",
        lambda _: lambda text: text,
        "test_no_escape_byte_of_an_input_reaches_the_reader",
    ),
)
