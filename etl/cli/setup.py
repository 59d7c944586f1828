"""`runtide init`: from an empty directory to a configured, migrated database."""

from pathlib import Path

import typer

from etl.cli.options import Options, settings_of
from etl.cli.terminal import command_name, say


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(init)


def init(context: typer.Context) -> None:
    """Write a config.toml if there is none, and prepare the database it names."""
    from etl import wiring  # noqa: PLC0415  # slow to import
    from etl.cli.db import upgrade_database  # noqa: PLC0415
    from etl.load.schema import shipped  # noqa: PLC0415

    options: Options = context.obj
    path = options.config or Path("config.toml")
    written = wiring.write_config(path, shipped("config.toml").read_text())
    say(
        f"{path} is written." if written else f"{path} is there already and stays as it is."
    )
    settings = settings_of(context)
    upgrade_database(settings)
    say()
    say("Next:")
    for source in settings.config.sources[:1]:
        say(f"  edit {path}    # the address of your server")
        if source.api_key_env:
            say(f"  export {source.api_key_env}=…")
    say(f"  {command_name()} track THREAD_ID …    # or --file ids.txt")
    say(f"  {command_name()} sync")
