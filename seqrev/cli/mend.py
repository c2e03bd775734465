"""From words that Typer refuses to the command that was meant, as far as it can be guessed: a line that Typer takes."""

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer

from seqrev.cli.help import SETTINGS
from seqrev.cli.usage import values
from seqrev.config_files import CONFIGS, SWEEPS
from seqrev.errors import UsageError, command_line
from seqrev.runs.finding import named_run
from seqrev.runs.folders import PRETRAINED, default_runs_dir
from seqrev.system.files import is_file
from seqrev.system.text import shorten

MOST_MENDED = 20  # words of a command
HELP = {*SETTINGS["help_option_names"]}
EXAMPLES = {  # for an option without a value
    "--config": ["small"],
    "--run": ["latest"],
    "--lengths": ["20,50,100"],
    "--set": ["train.lr=1e-3"],
    "--patch": ["4 8 2 9", "4 8 5 9"],
    "--ablate": ["cross.2.1"],
}


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


def explain(error: Any, arguments: Sequence[str], commands: Mapping[str, Any]) -> UsageError:
    """Wrong usage, as Typer finds it, with the command that was meant; with its help, where that cannot be guessed."""
    message, name = error.format_message().replace("Value error, ", ""), arguments[0]  # words of a library
    alternatives = _alternatives(error, arguments, commands)
    if hasattr(error, "possibilities"):
        meant = " or ".join(shlex.join(one.words) for one in alternatives)
        message = f"No such option: {shorten(error.option_name, 60)[1:-1]}" + (f"; did you mean {meant}?" if meant else ".")
    mended: Sequence[str] = arguments
    wrong = error
    for _ in range(0 if HELP & {*arguments} else MOST_MENDED):  # help, which was asked for, is printed where it is parsed
        mended = _mend(wrong, mended, commands)
        wrong = _refusal(mended, commands) if mended else None
        if wrong is None:
            break
    helpful = [name, "--help"] if name in commands else ["--help"]
    return UsageError(message, command_line(*(helpful if wrong or not mended else mended)))


def _refusal(arguments: Sequence[str], commands: Mapping[str, Any]) -> typer.TyperException | None:
    """Why Typer does not take a command; None: it does."""
    name, *words = arguments
    try:
        given = commands[name].make_context(name, words).params
    except typer.TyperException as error:
        return error
    if name == "decode" and not given["sequence"] and given["file"] is None:  # nor does decode itself take that
        return typer.TyperException("There is no sequence.")
    if (
        name == "train" and given["run"] and (given["config"] or given["set_"] or given["seed"] is not None)
    ):  # nor train that
        return typer.TyperException("--run carries on with the configuration of that run.")
    options = [word for word in given.get("sequence") or () if word.startswith("--")]  # decode takes -3, to refuse it
    return UnknownOption(options[0]) if options else None


def _mend(error: Any, arguments: Sequence[str], commands: Mapping[str, Any]) -> Sequence[str]:
    """The command without what it was refused for; nothing, where it is not known what was meant."""
    name = arguments[0]
    if name not in commands:
        meant = [*difflib.get_close_matches(name, commands, n=1), *arguments[1:]] if name[:1] != "-" else []
        return meant if meant[:1] and meant[0] in commands else []
    if hasattr(error, "possibilities"):  # an unknown option
        index = _index(error.option_name, arguments)
        found = _alternatives(error, arguments, commands)[:1]
        return [word for one in found for word in (*arguments[:index], *one.words, *arguments[one.after :])]
    named = error.param.opts[0] if hasattr(error, "param") else getattr(error, "option_name", None)
    index = _index(named, arguments)
    if index is None:
        return _with_extra_words(arguments, commands[name]) if named is None else []
    option, equals, value = arguments[index].partition("=")
    after = index + 1 + (not equals)
    if "does not take a value" in error.format_message():
        return [*arguments[:index], option, *arguments[index + 1 :]]
    if not hasattr(error, "param"):  # there is no value
        return [*arguments[:index], *([option, *EXAMPLES[option]] if option in EXAMPLES else [])]
    better = _value(error, value if equals else arguments[index + 1])
    return [*arguments[:index], *([option, better] if better else []), *arguments[after:]]


def _index(option: str | None, arguments: Sequence[str]) -> int | None:
    return next((index for index, word in enumerate(arguments) if word.partition("=")[0] == option), None)


def _value(error: Any, typed: str) -> str:
    """In place of a value that an option does not take: the closest that it takes; nothing: leave the option out."""
    message, default = error.format_message(), error.param.default
    _, is_choice, rest = message.partition(" is not one of ")
    if is_choice:
        choices = re.findall("'([^']+)'", rest)
        begun = [one for one in choices if typed and one.startswith(typed)]
        return next(iter(begun or difflib.get_close_matches(typed, choices, n=1)), default or "")
    bound = re.search(r"than or equal to (\d+)$", message)
    return "" if default is None else bound[1] if bound else str(default)


def _with_extra_words(arguments: Sequence[str], command: Any) -> Sequence[str]:
    """The command with options for the words that no option was typed before; nothing, where they are not understood."""
    name, places = arguments[0], list(_extra(arguments, command))
    words = [arguments[place] for place in places]
    rest = [word for place, word in enumerate(arguments) if place not in places]
    before = places[0] - 1 if places else 0
    if before > 1 and arguments[before - 1] == "--set" and ("=" not in arguments[before][:-1]):  # --set NAME VALUE
        joined = arguments[before].removesuffix("=") + "=" + "".join(words[: 1 + (words[0] == "=")]).removeprefix("=")
        return [*arguments[:before], joined, *arguments[places[0] + 1 + (words[0] == "=") :]]
    if name == "train" and words and set(words) <= set(SWEEPS):
        return ["sweep", words[0]]
    if name in ("train", "generate") and words and all("=" in word for word in words):
        return [*rest, *(part for word in words for part in ("--set", word))]
    if name in ("train", "generate") and len(words) == 1 and (words[0] in CONFIGS or Path(words[0]).suffix == ".yaml"):
        return [*rest, "--config", words[0]]
    folder = Path(next(iter(values("--runs-dir", arguments)), default_runs_dir()))
    runs = [word for word in words if word in ("latest", PRETRAINED) or is_file(named_run(word, folder).record.path)]
    if runs and runs == words and (name == "evaluate" or (name == "train" and len(runs) == 1)):
        several = len(runs) + len(values("--run", arguments)) > 1 and "--lengths" not in arguments
        named = (part for run in runs for part in ("--run", run))
        return [*rest, *named, *(("--lengths", *EXAMPLES["--lengths"]) if several else ())]
    if name == "evaluate" and len(words) == 1 and is_file(Path(words[0])):
        return [*rest, "--file", *words]
    if name == "evaluate" and words and all(word.isdecimal() for word in words):
        return ["decode", *words]
    return []


def _extra(arguments: Sequence[str], command: Any) -> Iterator[int]:
    """Where words are that are neither options nor their values nor arguments that the command takes."""
    takes = {word: 0 if param.is_flag else param.nargs for param in command.params for word in param.opts if word[0] == "-"}
    wanted, index = sum(param.param_type_name == "argument" for param in command.params), 1
    while index < len(arguments):
        option, equals, _ = arguments[index].partition("=")
        if option in takes:
            index += 0 if equals else takes[option]
        elif wanted:
            wanted -= 1
        else:
            yield index
        index += 1


def _alternatives(error: Any, arguments: Sequence[str], commands: Mapping[str, Any]) -> list[Alternative]:
    """What may have been meant by an unknown option: the three most likely.

    Fields of the configuration that have this very name; else options, and then fields, with one that is like it.
    """
    wrong, name = getattr(error, "option_name", ""), arguments[0]
    index = _index(wrong, arguments)
    if index is None or name not in commands or not hasattr(error, "possibilities"):  # or one of the letters in -xyz
        return []
    options = [word for param in commands[name].params for word in param.opts]
    _, equals, value = arguments[index].partition("=")
    close = difflib.get_close_matches(wrong.lstrip("-"), [word[2:] for word in options if word.startswith("--")])
    found = [Alternative([f"--{option}{equals}{value}"], index + 1) for option in close]
    if "--set" in options:
        from seqrev.config import fields  # which needs a moment

        name = wrong.lstrip("-").replace("-", "_")
        defaults = {field: default for field, default, _ in fields()}
        leaves = {field: field.rpartition(".")[2] for field in defaults}
        exact = [field for field, leaf in leaves.items() if name in (field, leaf)]
        close = difflib.get_close_matches(name, {*leaves.values()}, cutoff=0.7)
        like = [field for field, leaf in leaves.items() if leaf in close or {*name.split("_")} < {*leaf.split("_")}]
        found = [] if exact else found
        found += [_assignment(field, defaults[field], arguments, index) for field in exact or like]
    return found[:3]


def _assignment(field: str, default: str, arguments: Sequence[str], index: int) -> Alternative:
    """``--set`` for the option at an index, with the value that it was given; a switch is turned on."""
    _, equals, value = arguments[index].partition("=")
    following = [word for word in arguments[index + 1 : index + 2] if not word.startswith("--")]
    switch = default in ("true", "false")
    takes = not equals and following and (not switch or following[0] in ("true", "false"))
    if not equals:
        value = following[0] if takes else "true" if switch else default
    return Alternative(["--set", f"{field}={value}"], index + 2 if takes else index + 1)
