"""Help that uses the width of the terminal, and names what is typed rather than its Python type."""

from typing import Any

from typer.core import TyperCommand

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


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
