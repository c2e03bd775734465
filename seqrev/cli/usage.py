"""What to type next, after an error: a whole command, with what was typed before, that a shell takes as it is printed."""

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import typer

from seqrev.errors import UsageError, command_line
from seqrev.system.text import shorten

OF_A_MODEL = ("evaluate", "decode", "attention")  # commands whose --run is the model that is asked


class UnknownOption(typer.TyperException):
    """A word that looks like an option where Typer does not look."""

    exit_code = UsageError.exit_code
    possibilities = ()

    def __init__(self, name: str) -> None:
        super().__init__(f"No such option: {shorten(name, 60)[1:-1]}")
        self.option_name = name


class Alternative(NamedTuple):
    """What may have been meant by an unknown option."""

    words: list[str]
    after: int
    """Where the arguments go on that these words do not replace."""


def explain(error: typer.TyperException, arguments: Sequence[str], commands: Mapping[str, Any]) -> UsageError:
    """Wrong usage, as Typer finds it, with what was meant, as far as that can be guessed."""
    name, message = arguments[0], error.format_message().replace("Value error, ", "")  # words of a library
    if name not in commands:
        close = difflib.get_close_matches(name, commands, n=1)
        return UsageError(message, command_line(*close, *arguments[1:]) if close else "seqrev --help")
    wrong = getattr(error, "option_name", "")
    index = next((index for index, word in enumerate(arguments) if word.partition("=")[0] == wrong), None)
    if index is None or not hasattr(error, "possibilities"):  # it is no unknown option, or one of the letters in -xyz
        return UsageError(message, command_line(name, "--help"))
    problem = f"No such option: {shorten(wrong, 60)[1:-1]}"
    found = _alternatives(wrong, [word for param in commands[name].params for word in param.opts], arguments, index)[:3]
    if not found:
        return UsageError(f"{problem}.", command_line(name, "--help"))
    meant = " or ".join(shlex.join(one.words) for one in found)
    line = command_line(*arguments[:index], *found[0].words, *arguments[found[0].after :])
    return UsageError(f"{problem}; did you mean {meant}?", line)


def _alternatives(wrong: str, options: Sequence[str], arguments: Sequence[str], index: int) -> list[Alternative]:
    """Fields of the configuration that have this very name; else options, and then fields, with one that is like it."""
    _, equals, value = arguments[index].partition("=")
    names = [option.removeprefix("--") for option in options if option.startswith("--")]
    close = difflib.get_close_matches(wrong.lstrip("-"), names)
    found = [Alternative([f"--{name}{equals}{value}"], index + 1) for name in close]
    if "--set" not in options:
        return found
    from seqrev.config import fields  # which needs a moment

    name = wrong.lstrip("-").replace("-", "_")
    defaults = {field: default for field, default, _ in fields()}
    leaves = {field: field.rpartition(".")[2] for field in defaults}
    exact = [field for field, leaf in leaves.items() if name in (field, leaf)]
    close = difflib.get_close_matches(name, {*leaves.values()}, cutoff=0.7)
    like = [field for field, leaf in leaves.items() if leaf in close or {*name.split("_")} < {*leaf.split("_")}]
    found = [] if exact else found
    return found + [_assignment(field, defaults[field], arguments, index) for field in exact or like]


def _assignment(field: str, default: str, arguments: Sequence[str], index: int) -> Alternative:
    """``--set`` for the option at an index, with the value that it was given; a switch is turned on."""
    _, equals, value = arguments[index].partition("=")
    following = [word for word in arguments[index + 1 : index + 2] if not word.startswith("--")]
    switch = default in ("true", "false")
    takes = not equals and following and (not switch or following[0] in ("true", "false"))
    if not equals:
        value = following[0] if takes else "true" if switch else default
    return Alternative(["--set", f"{field}={value}"], index + 2 if takes else index + 1)


def next_line(hint: str, arguments: Sequence[str], commands: Mapping[str, Any], again: bool = False) -> str:
    """A hint as a whole line to type; what is no command of seqrev stays as it is.

    A hint that begins with an option, perhaps after "the same command with", is that option in the command that was typed.
    ``--run``, if the hint is about a model, and ``--runs-dir`` go with it. One to type the very same again becomes one to
    read its help, unless it makes sense to do it ``again``, as after Ctrl-C.

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
        if typed and "--help" not in words:
            words += _kept(words, arguments)
    else:
        return hint
    failed = words == list(arguments) and not again
    return command_line(arguments[0], "--help") if failed else command_line(*words)


def _kept(words: Sequence[str], arguments: Sequence[str]) -> Iterator[str]:
    """The runs that were named before, and their folder, where a command does not name them itself."""
    if words[0] in OF_A_MODEL and arguments[0] in OF_A_MODEL and "--run" not in words:
        yield from (word for run in _values("--run", arguments) for word in ("--run", run))
    paths = [run for run in _values("--run", words) if "/" in run]
    if "--runs-dir" not in words and not paths:
        yield from (word for folder in _values("--runs-dir", arguments)[-1:] for word in ("--runs-dir", folder))


def _values(option: str, arguments: Sequence[str]) -> list[str]:
    """What was given to an option, each time."""
    following = [*arguments[1:], ""]
    both = zip(arguments, following, strict=True)
    return [word.partition("=")[2] or after for word, after in both if word == option or word.startswith(f"{option}=")]


def _replace(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """The arguments with other values of the options, ``--NAME VALUE …``; ``--set`` is replaced field by field."""
    kept, words = list(arguments), list(options)
    while words:
        option, value, words = words[0], words[1:2], words[2:]
        field = value[0].partition("=")[0] if option == "--set" and value else ""
        kept = list(_without(option, field and f"{field}=", kept))
        if field:  # which may have an option of its own
            kept = list(_without(f"--{field.rpartition('.')[2]}", "", kept))
        kept += [option, *value]
    return kept


def _without(option: str, same: str, arguments: Sequence[str]) -> Iterator[str]:
    """The arguments without an option and its value, if that begins with ``same``."""
    skip = False
    for word, after in zip(arguments, [*arguments[1:], ""], strict=True):
        if skip:
            skip = False
        elif word == option and after.startswith(same):
            skip = True
        elif not word.startswith(f"{option}={same}"):
            yield word
