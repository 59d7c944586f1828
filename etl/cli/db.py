"""`runtide db …`: the schema, the embedded server, and the way in for people."""

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli import grant
from etl.cli.options import settings_of
from etl.cli.terminal import say
from etl.domain.errors import ConfigError

if TYPE_CHECKING:
    from etl.config import Settings

db = typer.Typer(help="The database: schema, embedded server, shell.", no_args_is_help=True)
grant.add_to(db)


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.add_typer(db, name="db")


def upgrade_database(settings: "Settings") -> None:
    """Bring the schema to this program's revision, and say so."""
    from etl import wiring  # noqa: PLC0415  # slow to import
    from etl.load.database import connected  # noqa: PLC0415
    from etl.load.schema import upgrade  # noqa: PLC0415

    with wiring.database(settings) as engine, connected(engine) as connection:
        before, after = upgrade(connection)
    if before == after:
        say(f"The schema is at revision {after} already.")
    else:
        say(f"The schema went from revision {before or 'none'} to {after}.")


@db.command("upgrade")
def upgrade_command(context: typer.Context) -> None:
    """Create the tables, or bring them to this program's revision."""
    upgrade_database(settings_of(context))


@db.command()
def start(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(min=1024, max=65535, help="Also listen on this port of 127.0.0.1."),
    ] = None,
) -> None:
    """Keep the embedded server up until `db stop`."""
    from etl import wiring  # noqa: PLC0415

    settings = settings_of(context)
    server = wiring.embedded(settings)
    server.start(port=port)
    say(f"The embedded server is up; its files are in {settings.data_dir}.")
    say("`runtide db url` prints its address, `runtide db stop` stops it.")


@db.command()
def stop(
    context: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", help="Even while other commands use it.")
    ] = False,
) -> None:
    """Stop the embedded server."""
    from etl import wiring  # noqa: PLC0415

    server = wiring.embedded(settings_of(context))
    was_running = server.running()
    stop_it = server.stop_now if force else server.stop
    stop_it()
    say("The embedded server is stopped." if was_running else "It was not running.")


@db.command()
def url(
    context: typer.Context,
    tcp: Annotated[
        bool, typer.Option("--tcp", help="Over the port that `db start` was given.")
    ] = False,
) -> None:
    """Print the database's URL, for psql and BI tools."""
    from etl import wiring  # noqa: PLC0415

    settings = settings_of(context)
    if tcp:
        say(wiring.embedded(settings).tcp_url())
        return
    with wiring.database_url(settings) as address:
        say(address)


@db.command()
def shell(
    context: typer.Context,
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Handed on to psql, after `--`.")
    ] = None,
) -> int:
    """Open psql on the database."""
    from etl import wiring  # noqa: PLC0415
    from etl.load.database import for_psql  # noqa: PLC0415
    from etl.load.embedded.programs import bundled  # noqa: PLC0415

    program = shutil.which("psql") or bundled("psql")
    if program is None:
        raise ConfigError("There is no psql on this machine; install one.")
    with wiring.database_url(settings_of(context)) as address:
        plain, variables = for_psql(address)
        command = [str(program), plain, *(arguments or [])]
        environment = os.environ | variables
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
