"""Help that uses the width of the terminal, and names what is typed rather than its Python type."""

from collections.abc import Callable
from typing import Any, TypeVar

from typer.core import TyperCommand

Function = TypeVar("Function", bound=Callable[..., object])
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


def described(summary: str, details: str) -> Callable[[Function], Function]:
    """Give a command its docstring, which is its help, in such a way that ``python -OO`` does not strip it."""

    def describe(command: Function) -> Function:
        command.__doc__ = f"{summary}\n\n{details}"
        return command

    return describe


class Command(TyperCommand):
    """A command; Typer's own would list ``FILE <path>`` among the arguments."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then options."""
        arguments, options = [], []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and param.param_type_name == "argument":
                arguments.append((getattr(param, "metavar", None) or param.name, record[1]))
            elif record is not None:
                options.append(record)
        for heading, records in (("Arguments", arguments), ("Options", options)):
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)
