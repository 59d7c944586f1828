"""`runtide db grant`: roles that can do less than the owner of the tables."""

from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.options import settings_of
from etl.cli.terminal import say
from etl.domain.errors import ConfigError
from etl.load.roles import RoleKind

if TYPE_CHECKING:
    from etl.config import Settings

MAY = {
    RoleKind.WRITER: "track threads and sync, and change no table's shape",
    RoleKind.READER: "read the run history, and write nothing",
}


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(grant)


def grant(
    context: typer.Context,
    kind: Annotated[RoleKind, typer.Argument(help="What the role is for.")],
    name: Annotated[str, typer.Argument(help="The role; it is made if there is none.")],
    password_env: Annotated[
        str | None,
        typer.Option(
            "--password-env",
            metavar="VAR",
            help="Set the role's password to what this environment variable holds.",
        ),
    ] = None,
) -> None:
    """Give a database role the rights of a writer (it syncs) or of a reader."""
    from etl import wiring  # noqa: PLC0415  # slow to import
    from etl.load import grants  # noqa: PLC0415
    from etl.load.database import connected  # noqa: PLC0415

    settings = settings_of(context)
    password = _password(settings, password_env)
    with wiring.ready_database(settings) as engine, connected(engine) as connection:
        is_new = grants.grant(connection, kind, name, password=password)
    made = "is made and may" if is_new else "may now"
    say(f"Role {name} {made} {MAY[kind]}.")
    if is_new and password is None:
        say("It has no password; --password-env VAR sets one.")


def _password(settings: "Settings", variable: str | None) -> str | None:
    if variable is None:
        return None
    password = settings.environment.get(variable)
    if not password:
        raise ConfigError(
            f"The environment variable {variable}, which holds the role's password, is"
            " not set; set it."
        )
    return password
