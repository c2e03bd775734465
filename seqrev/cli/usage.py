"""What to type next, after an error: a whole command, with what was typed before, that a shell takes as it is printed."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from seqrev.errors import command_line

OF_A_MODEL = ("evaluate", "decode", "attention")  # commands whose --run is the model that is asked


def next_line(hint: str, arguments: Sequence[str], commands: Mapping[str, Any], again: bool = False) -> str:
    """A hint as a whole line to type; what is no command of seqrev stays as it is.

    A hint that begins with an option, perhaps after "the same command with", is that option in the command that was typed.
    ``--run``, if the hint is about a model, and ``--runs-dir`` go with it. A sequence to decode is one to draw after
    ``attention``. One to type the very same again becomes one to read its help, unless it makes sense to do it ``again``,
    as after Ctrl-C.

    >>> next_line("--count 64", ["evaluate", "--count", "0"], {"evaluate": None})
    'seqrev evaluate --count 64'
    """
    try:
        words = shlex.split(hint)
    except ValueError:
        return hint
    typed = bool(arguments) and arguments[0] in commands
    options = words[4:] if hint.startswith("the same command with --") else words if hint.startswith("--") else []
    if typed and options and len(options) % 2 == 0 and not any(word.isupper() for word in options):
        words = _replace(arguments, options)
    elif words[:1] == ["seqrev"] and words[1:2] and words[1] in commands:
        words = words[1:]
        if typed and (words[0], arguments[0]) == ("decode", "attention"):
            words[0] = "attention"
        if typed and "--help" not in words:
            words += _kept(words, arguments)
    else:
        return hint
    failed = words == list(arguments) and not again
    return command_line(arguments[0], "--help") if failed else command_line(*words)


def _kept(words: Sequence[str], arguments: Sequence[str]) -> Iterator[str]:
    """The runs that were named before, and their folder, where a command does not name them itself."""
    if words[0] in OF_A_MODEL and arguments[0] in OF_A_MODEL and "--run" not in words:
        yield from (word for run in values("--run", arguments) for word in ("--run", run))
    paths = [run for run in values("--run", words) if "/" in run]
    if "--runs-dir" not in words and not paths:
        yield from (word for folder in values("--runs-dir", arguments)[-1:] for word in ("--runs-dir", folder))


def values(option: str, arguments: Sequence[str]) -> list[str]:
    """What was given to an option, each time."""
    following = [*arguments[1:], ""]
    both = zip(arguments, following, strict=True)
    return [word.partition("=")[2] or after for word, after in both if word == option or word.startswith(f"{option}=")]


def _replace(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """The arguments with other values of the options, ``--NAME VALUE …``; ``--set`` is replaced field by field.

    Of a field that there is not, it goes: the options have what was meant by it.
    """
    kept, words = list(arguments), list(options)
    if "--set" in options:
        kept = list(_without("--set", kept, lambda field: not _is_field(field)))
    while words:
        option, value, words = words[0], words[1:2], words[2:]
        if option == "--set" and value:
            field = value[0].partition("=")[0]
            kept = list(_without("--set", kept, field.__eq__))
            kept = list(_without(f"--{field.rpartition('.')[2]}", kept))  # which may be an option of its own
        else:
            kept = list(_without(option, kept))
        kept += [option, *value]
    return kept


def _without(option: str, arguments: Sequence[str], which: Callable[[str], bool] = lambda field: True) -> Iterator[str]:
    """The arguments without an option and its value; of ``--set`` only that of a field ``which`` is to go."""
    skip = False
    for word, after in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if skip:
            skip = False
        elif name == option and which((value if equals else after).partition("=")[0].strip()):
            skip = not equals
        else:
            yield word


def _is_field(name: str) -> bool:
    """Or a section of fields."""
    from seqrev.config import fields  # which needs a moment

    known = {field for field, _, _ in fields()}
    return name in known or name in {field.partition(".")[0] for field in known}
