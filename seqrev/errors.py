"""Errors that are meant for the user. Anything else that is raised is a fault of the program."""

import shlex


def command_line(*arguments: object) -> str:
    """``seqrev`` and its arguments as a line that a shell reads back as these: whatever is printed to be pasted.

    >>> command_line("train", "--run", "my runs/001")
    "seqrev train --run 'my runs/001'"
    """
    return shlex.join(["seqrev", *map(str, arguments)])


class SeqrevError(Exception):
    """A known failure. ``str(error)`` says what was wrong and what was expected; ``hint`` is the next thing to type."""

    exit_code = 1
    usual_hint = "seqrev --help"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or self.usual_hint


class UsageError(SeqrevError):
    """A wrong option, configuration or sequence."""

    exit_code = 2


class InputError(SeqrevError):
    """A run, checkpoint, dataset or file that is missing, damaged or not readable."""

    exit_code = 3
    usual_hint = "seqrev train --config small"


class QualityError(SeqrevError):
    """A quality gate that the model did not meet."""

    exit_code = 4


class TrainingError(SeqrevError):
    """Training cannot go on, for example because the loss is no longer a number."""


class PictureError(SeqrevError):
    """A picture that cannot be drawn here; what was computed is there all the same."""

    usual_hint = (
        "the same command with MPLCONFIGDIR=FOLDER before it, a folder that can be written; or reinstall matplotlib"
    )


class StorageError(SeqrevError):
    """The disk refused to keep something: it is full, failing or read-only. What was there before is still there."""

    look = "make room on that disk"
    then = "; then the same command again, or one with --runs-dir on another disk"
    usual_hint = look + then
