"""The options that every command has, and the settings they lead to."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli import logs
from etl.cli.logs import LogFormat, LogLevel

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
    log_format: LogFormat | None = None
    log_level: LogLevel | None = None
    debug: bool = False

    def set_up_logs(self, *, default: LogFormat) -> None:
        """Write logs as the command line says, and where it is silent as `default`."""
        logs.set_up(
            self.log_format,
            self.log_level,
            default=default,
            with_tracebacks=self.debug,
        )

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
        log_format: Annotated[
            LogFormat | None,
            typer.Option(
                parser=logs.format_of,
                metavar="text|json|auto|off",
                envvar="RUNTIDE_LOG_FORMAT",
                help="Write logs to standard error; auto is text at a terminal, else JSON.",
            ),
        ] = None,
        log_level: Annotated[
            LogLevel | None,
            typer.Option(
                parser=logs.level_of,
                metavar="debug|info|warning|error",
                envvar="RUNTIDE_LOG_LEVEL",
                help="The least that is told; info by default.",
            ),
        ] = None,
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
        del show_version  # its callback has seen to it
        context.obj = Options(config, log_format, log_level, debug)
        context.obj.set_up_logs(default=LogFormat.OFF)


def settings_of(context: typer.Context) -> "Settings":
    """The settings of the command that is being run."""
    options: Options = context.obj
    return options.settings()
