"""The options that every command has, and the settings they lead to."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from etl.config import Settings


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"runtide {version('runtide')}")
        raise typer.Exit


@dataclass(frozen=True, slots=True)
class Options:
    """What was said before the command's name."""

    config: Path | None

    def settings(self) -> "Settings":
        """Read the configuration."""
        from etl.config import read_settings  # noqa: PLC0415  # slow to import

        return read_settings(self.config)

    @staticmethod
    def from_command_line(
        context: typer.Context,
        config: Annotated[
            Path | None, typer.Option(help="The configuration file.", metavar="PATH")
        ] = None,
        debug: Annotated[
            bool, typer.Option("--debug", help="Show the traceback of an error.")
        ] = False,
        show_version: Annotated[
            bool,
            typer.Option(
                "--version",
                help="Show the version and exit.",
                callback=_show_version,
                is_eager=True,
            ),
        ] = False,
    ) -> None:
        """Keep the run history of Assistants-style threads in Postgres."""
        del debug, show_version  # the entry point reads one, the callback the other
        context.obj = Options(config)


def settings_of(context: typer.Context) -> "Settings":
    """The settings of the command that is being run."""
    options: Options = context.obj
    return options.settings()
