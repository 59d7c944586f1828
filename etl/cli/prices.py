"""`runtide prices …`: what models cost, and what a change of that would mean."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli import price_effects as effects
from etl.cli import price_reports as reports
from etl.cli.options import settings_of
from etl.cli.terminal import now, say
from etl.domain.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.analytics.prices.acceptance import Accepted
    from etl.analytics.prices.changes import Effect
    from etl.analytics.prices.price import Price

NEEDS_A_PERSON = 3
STANDARD_INPUT = "-"

prices = typer.Typer(help="What models cost, in US dollars.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(metavar="MODEL", show_default=False)]
Provider = Annotated[
    str, typer.Option("--provider", metavar="NAME", help="Whose price it is.")
]
OtherProvider = Annotated[
    str | None,
    typer.Option("--provider", metavar="NAME", help="Whose price it is; openai."),
]
InputUsd = Annotated[
    str | None,
    typer.Option("--input", metavar="USD", help="For a million input tokens."),
]
CachedInputUsd = Annotated[
    str | None,
    typer.Option(
        "--cached-input",
        metavar="USD",
        help="For a million of them read from a cache; without it they cost as input.",
    ),
]
OutputUsd = Annotated[
    str | None,
    typer.Option("--output", metavar="USD", help="For a million output tokens."),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="INSTANT",
        help="Since when it holds: a day, or an instant; UTC unless it has an offset. What"
        " ran before it costs what it did. Without --from it holds from the beginning, so"
        " that costs of the past change, too; `prices check` shows which.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this family."""
    app.add_typer(prices, name="prices")


@prices.command("list")
def list_prices(
    context: typer.Context,
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL…", show_default=False)
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every priced model, with all its periods.")
    ] = False,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="INSTANT", help="What held then, not what holds now."),
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with --all.")] = False,
) -> None:
    """Show what models cost: those that runs carry, unless told otherwise.

    With --all, --json and --csv print what `prices import` takes.
    """
    from etl.analytics.prices import listing  # noqa: PLC0415  # slow to import
    from etl.analytics.prices.price import model_name, moment  # noqa: PLC0415
    from etl.load.database import connected  # noqa: PLC0415
    from etl.wiring.pricing import priced_database  # noqa: PLC0415

    _check_shape(every=every, at=at, as_json=as_json, as_csv=as_csv)
    then = None if at is None else moment(at, "--at")
    names = [model_name(each, "MODEL") for each in models or []]
    with priced_database(settings_of(context)) as engine, connected(engine) as connection:
        if every and (as_json or as_csv):
            reports.write_prices(listing.prices_of(connection, names), as_csv=as_csv)
        elif every:
            reports.show_periods(listing.periods(connection, names, then))
        else:
            found = listing.names_and_prices(connection, names, then or now())
            reports.show_names(found, as_json=as_json)


def _check_shape(*, every: bool, at: str | None, as_json: bool, as_csv: bool) -> None:
    if as_csv and (as_json or not every):
        raise ConfigError(
            "--csv prints every single price; say --all with it, and leave --json out."
        )
    if every and at and (as_json or as_csv):
        raise ConfigError(
            "--all with --json or --csv prints prices with their whole history; leave --at"
            " out."
        )


@prices.command("set")
def set_price(
    context: typer.Context,
    model: Model,
    input_usd: InputUsd = None,
    cached_input_usd: CachedInputUsd = None,
    output_usd: OutputUsd = None,
    since: Since = None,
    provider: Provider = "openai",
) -> None:
    """Set what a million tokens of a model cost; your price wins over the one known."""
    told = _told(model, (input_usd, cached_input_usd, output_usd), since, provider)
    effects.tell_set(told, _applied(context, told))


@prices.command()
def unset(
    context: typer.Context,
    model: Model,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="INSTANT", help="Only what begins just then, as it was set."
        ),
    ] = None,
    provider: Provider = "openai",
) -> None:
    """Take away what you set for a model; the prices that are known hold again."""
    from etl.analytics.prices import acceptance, changes, price  # noqa: PLC0415
    from etl.wiring.pricing import priced_database  # noqa: PLC0415

    change = partial(
        acceptance.withdraw,
        provider=price.provider_name(provider, "--provider"),
        model=price.model_name(model, "MODEL"),
        since=None if since is None else price.moment(since, "--from"),
    )
    with priced_database(settings_of(context)) as engine:
        effect = changes.applied(engine, [provider], change)
    effects.tell_withdrawn(effect)


@prices.command("import")
def import_file(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or JSON; - is standard input.")
    ],
) -> None:
    """Set the prices of a file; those that it does not name stay as they are.

    CSV with the heading provider,model,token_kind,usd_per_million,effective_from, or a
    JSON list of objects with these keys; as `prices list --all` prints them.
    """
    effect = _applied(context, _read(file))
    effects.tell_written(effect.done.written)
    effects.tell_accepted(effect)


@prices.command()
def check(
    context: typer.Context,
    subject: Annotated[
        str | None, typer.Argument(metavar="[MODEL | FILE]", show_default=False)
    ] = None,
    input_usd: InputUsd = None,
    cached_input_usd: CachedInputUsd = None,
    output_usd: OutputUsd = None,
    since: Since = None,
    provider: OtherProvider = None,
    as_json: Json = False,
) -> int:
    """Say what is unpriced; or what setting a price, or a file, would do to costs.

    Takes what `prices set` or `prices import` take, and writes nothing. Alone it exits
    with code 3 where something needs a person.
    """
    amounts = (input_usd, cached_input_usd, output_usd)
    is_price = any(each is not None for each in amounts)
    if subject is None:
        if is_price or since is not None:
            raise ConfigError("Name the model whose price is to be checked.")
        _refuse_provider(provider)
        return _review(context, as_json=as_json)
    if not is_price and (since is not None or not _is_there(subject)):
        raise ConfigError(
            f"There is no file {subject}, and of a model the price is missing: --input,"
            " --cached-input or --output."
        )
    if is_price:
        told = _told(subject, amounts, since, provider or "openai")
    else:
        _refuse_provider(provider)
        told = _read(Path(subject))
    effect = _tried(context, told)
    if as_json:
        say(effects.effect_as_json(effect))
        return 0
    effects.show_months(effect.costs)
    effects.tell_written(effect.done.written)
    effects.tell_accepted(effect)
    say("Nothing is written yet.")
    return 0


def _refuse_provider(provider: str | None) -> None:
    """Raise ConfigError where a provider is named for what has its own."""
    if provider is not None:
        raise ConfigError(
            f"--provider {provider} says whose price a MODEL gets; a file names the"
            " provider in each line, and a check of everything looks at all."
        )


def _is_there(file: str) -> bool:
    return file == STANDARD_INPUT or Path(file).exists()


def _review(context: typer.Context, *, as_json: bool) -> int:
    from etl.analytics.prices.review import review  # noqa: PLC0415
    from etl.load.database import connected  # noqa: PLC0415
    from etl.wiring.pricing import priced_database  # noqa: PLC0415

    with priced_database(settings_of(context)) as engine, connected(engine) as connection:
        found = review(connection)
    if as_json:
        say(reports.review_as_json(found))
    else:
        reports.show_review(found)
    return NEEDS_A_PERSON if found.needs_a_person else 0


def _applied(context: typer.Context, told: "Sequence[Price]") -> "Effect[Accepted]":
    from etl.analytics.prices import acceptance, changes  # noqa: PLC0415
    from etl.wiring.pricing import priced_database  # noqa: PLC0415

    accept = partial(acceptance.accept, prices=told)
    with priced_database(settings_of(context)) as engine:
        return changes.applied(engine, _providers(told), accept)


def _tried(context: typer.Context, told: "Sequence[Price]") -> "Effect[Accepted]":
    from etl.analytics.prices import acceptance, changes  # noqa: PLC0415
    from etl.wiring.pricing import priced_database  # noqa: PLC0415

    accept = partial(acceptance.accept, prices=told)
    with priced_database(settings_of(context)) as engine:
        return changes.tried(engine, _providers(told), accept)


def _providers(told: "Sequence[Price]") -> list[str]:
    return sorted({each.provider for each in told})


def _told(
    model: str, amounts: "Sequence[str | None]", since: str | None, provider: str
) -> "list[Price]":
    """The prices that the command line names."""
    from etl.analytics.prices import price  # noqa: PLC0415

    if all(each is None for each in amounts):
        raise ConfigError("Name a price: --input, --cached-input or --output.")
    whose = price.provider_name(provider, "--provider")
    name = price.model_name(model, "MODEL")
    begins = price.BEGINNING if since is None else price.moment(since, "--from")
    return [
        price.Price(
            provider=whose,
            model=name,
            token_kind=kind,
            usd_per_million=price.amount(text, f"--{kind.replace('_', '-')}"),
            effective_from=begins,
        )
        for kind, text in zip(price.KINDS, amounts, strict=True)
        if text is not None
    ]


def _read(file: Path) -> "list[Price]":
    from etl.analytics.prices.files import read_prices  # noqa: PLC0415

    if str(file) == STANDARD_INPUT:
        return read_prices(sys.stdin.buffer.read(), "standard input")
    try:
        content = file.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"There is no file {file}.") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    return read_prices(content, str(file))
