"""`runtide demo`: the whole line on a made-up world, from nothing to an SQL answer."""

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli.progress import silence
from etl.cli.syncing import run, show_report
from etl.cli.terminal import command_name, now, say, show_table
from etl.domain.errors import ConfigError
from etl.domain.run import ThreadId

if TYPE_CHECKING:
    from etl.config import Settings
    from etl.demo.server import DemoServer

FOLDER = Path(".runtide/demo")
HOUR = 3_600

CONFIG = """\
# Written by `runtide demo`; its server is gone when the command ends.
[database]
data_dir = "postgres"

[[sources]]
name = "demo"
base_url = "{base_url}"
requests_per_minute = 60000
"""

TOKENS = """\
SELECT day, model, sum(runs) AS runs, sum(input_tokens) AS input_tokens,
       sum(cached_input_tokens) AS cached, sum(output_tokens) AS output_tokens,
       round(sum(cost_usd), 4) AS cost_usd, sum(unpriced_runs) AS unpriced_runs
FROM run_analytics.token_usage_daily
GROUP BY day, model
ORDER BY day DESC, model
LIMIT 10"""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.command()(demo)


def demo(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The demo server's port; 0 is any.")
    ] = 0,
) -> int:
    """Sync a made-up world into the embedded database and query it."""
    from etl.demo.server import DemoServer  # noqa: PLC0415
    from etl.demo.world import World  # noqa: PLC0415

    world = World(now=int(time.time()))
    with ExitStack() as parts:
        try:
            server = parts.enter_context(DemoServer(world, now=world.now, port=port))
        except OSError as error:
            raise ConfigError(
                f"The demo server cannot listen on port {port}: {error.strerror}; choose"
                " another with --port."
            ) from error
        return _show(server)


def _show(server: "DemoServer") -> int:
    from etl import wiring  # noqa: PLC0415

    settings = _settings(server.base_url)
    say(f"A demo API with {len(server.thread_ids)} threads answers at {server.base_url}.")
    with wiring.database(settings):  # keeps the server up between the two syncs
        _prepare(settings, server.thread_ids)
        say("\nFirst sync: everything is new, some runs are still open.")
        first = run(settings, None, None, silence)
        show_report(first, quiet=False)
        server.advance(HOUR)
        say("Second sync, an hour later: open runs have ended, their tokens arrive.")
        second = run(settings, None, None, silence)
        show_report(second, quiet=False)
        _answer(settings)
        _report(settings)
    _say_next()
    return 1 if first.errors or second.errors else 0


def _settings(base_url: str) -> "Settings":
    from etl.config import read_settings  # noqa: PLC0415

    path = FOLDER / "config.toml"
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_text(CONFIG.format(base_url=base_url), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}; run the demo in a directory"
            " of your own."
        ) from error
    return read_settings(path, {})


def _prepare(settings: "Settings", thread_ids: tuple[str, ...]) -> None:
    """An empty database with all threads of the world tracked."""
    from etl import wiring  # noqa: PLC0415
    from etl.load import schema, tracking  # noqa: PLC0415
    from etl.load.database import connected  # noqa: PLC0415

    with wiring.database(settings) as engine:
        with connected(engine) as connection:
            schema.drop(connection)
            schema.upgrade(connection)
        [source_id] = wiring.source_ids(engine, settings.sources())
        tracking.track(engine, source_id, [ThreadId(each) for each in thread_ids])


def _answer(settings: "Settings") -> None:
    from etl import wiring  # noqa: PLC0415
    from etl.load.database import connected  # noqa: PLC0415

    with wiring.database(settings) as engine, connected(engine) as connection:
        result = connection.exec_driver_sql(TOKENS)
        headings, rows = list(result.keys()), [tuple(row) for row in result]
    say("Tokens and cost by day and model, the latest ten:\n")
    say("\n".join(f"    {line}" for line in TOKENS.splitlines()))
    show_table(headings, rows)


def _report(settings: "Settings") -> None:
    from etl import wiring  # noqa: PLC0415
    from etl.analytics.report import has_extra, write_report  # noqa: PLC0415

    if not has_extra():
        say("A report with charts needs more packages: pip install '.[report]'.\n")
        return
    path = FOLDER / "runtide-report.html"
    with wiring.database(settings) as engine:
        write_report(engine, path, at=now())
    say(f"A report with charts, for any browser: {path}\n")


def _say_next() -> None:
    command, config = command_name(), f"--config {FOLDER / 'config.toml'}"
    say("Look around in it:")
    for words in ("status", "report", "threads", "db shell"):
        say(f"  {command} {words} {config}")
    say("Then take your own threads:")
    say(f"  {command} init")
