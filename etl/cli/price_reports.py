"""What people and programs see of the prices that hold, and of missing ones."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from etl.cli.price_words import json_text, kind_in_words, since_in_words
from etl.cli.terminal import counted, printable, say, show_table

if TYPE_CHECKING:
    from etl.analytics.prices.listing import NamePrice, Period
    from etl.analytics.prices.price import Price
    from etl.analytics.prices.review import Repetition, Review

# What holds --------------------------------------------------------------------


def show_names(found: "Sequence[NamePrice]", *, as_json: bool) -> None:
    """Print the names that runs carry, and what they cost."""
    if as_json:
        say(json_text([each._asdict() for each in found]))
        return
    if not found:
        say("No run names a model yet; `runtide prices list --all` shows every price.")
        return
    names = ["source", "model", "runs", "priced as", "found by"]
    show_table(names, map(_name_row, found))
    _show_amounts(sorted(_held_by_names(found), key=_place))
    unpriced = [each for each in found if each.since is None]
    if unpriced:
        runs = sum(each.runs for each in unpriced)
        say(
            f"Unpriced: {counted(len(unpriced), 'name')}, with {counted(runs, 'run')};"
            " `runtide prices check` says what to do."
        )


def _name_row(each: "NamePrice") -> list[object]:
    is_priced = each.since is not None
    return [
        each.source,
        printable(each.model),
        each.runs,
        each.price_model if is_priced else "unpriced",
        each.found_by if is_priced else None,
    ]


class Held(NamedTuple):
    """What a model costs since when, and who says so."""

    provider: str
    model: str
    since: datetime | None
    amounts: tuple[Decimal | None, Decimal | None, Decimal | None]
    origin: str | None


def _held_by_names(found: "Sequence[NamePrice]") -> set[Held]:
    return {_held(each.price_model, each) for each in found if each.price_model}


def _held(model: str, each: "NamePrice | Period") -> Held:
    amounts = (
        each.input_usd_per_million,
        each.cached_input_usd_per_million,
        each.output_usd_per_million,
    )
    return Held(each.provider, model, each.since, amounts, each.origin)


def _place(held: Held) -> tuple[str, str, bool, datetime | None]:
    return held.provider, held.model, held.since is not None, held.since


def show_periods(found: "Sequence[Period]") -> None:
    """Print every priced model, from one change of its price to the next."""
    _show_amounts([_held(each.model, each) for each in found])


def _show_amounts(found: Sequence[Held]) -> None:
    if not found:
        return
    whose = ["provider"] if len({each.provider for each in found}) > 1 else []
    headings = [*whose, "model", "input", "cached", "output", "since", "origin"]
    rows = [
        [
            *([each.provider] if whose else []),
            printable(each.model),
            *each.amounts,
            since_in_words(each.since),
            "unpriced" if each.origin is None else VERSION.sub("", each.origin),
        ]
        for each in found
    ]
    show_table(headings, rows)
    told = {word for each in found for word in (each.origin or "").split(", ")} - {""}
    say(f"US dollars for a million tokens; origins: {', '.join(sorted(told)) or 'none'}.")


VERSION = re.compile(r" [0-9][0-9.]*")
"""The table has no room for it; the line below tells it."""


def write_prices(prices: "Iterable[Price]", *, as_csv: bool) -> None:
    """Print prices as `import` takes them."""
    from etl.analytics.prices import files  # noqa: PLC0415  # slow to import

    if as_csv:
        say(files.as_csv(prices).rstrip("\n"))
    else:
        say(json_text(files.as_objects(prices)))


# What needs a person -------------------------------------------------------------


def show_review(found: "Review") -> None:
    """Print what is missing, and what to do about it."""
    if found.unpriced:
        _show_unpriced(found)
    if found.dead_ends:
        headings = ["source", "name", "model", "provider"]
        rows = [list(map(printable, each)) for each in found.dead_ends]
        show_table(headings, rows, title="mapped names that nothing prices")
        say("Map them in [sources.models] to a model that has a price, or set the price of")
        say("the model they name.\n")
    if found.repetitions:
        headings = ["provider", "model", "tokens", "USD", "since", "says so as well"]
        show_table(
            headings,
            map(_repetition_row, found.repetitions),
            title="prices of yours that are known anyway",
        )
        say("`runtide prices unset MODEL` takes them away; they need nobody.\n")
    say(_verdict(found))


def _repetition_row(each: "Repetition") -> list[object]:
    return [
        each.provider,
        printable(each.model),
        kind_in_words(each.token_kind),
        each.usd_per_million,
        since_in_words(each.effective_from),
        each.origin,
    ]


def _show_unpriced(found: "Review") -> None:
    headings = ["source", "model", "provider", "runs", "tokens", "first day", "last day"]
    rows = [
        [
            each.source,
            "-" if each.model is None else printable(each.model),
            each.provider,
            each.unpriced_runs,
            each.total_tokens,
            each.first_day,
            each.last_day,
        ]
        for each in found.unpriced
    ]
    show_table(headings, rows, title="models in use without a price")
    say(
        "Set a price: `runtide prices set MODEL --input USD --output USD`; or say in\n"
        "[sources.models] of the configuration which priced model a name stands for.\n"
    )


def _verdict(found: "Review") -> str:
    if not found.needs_a_person:
        return "Every model in use has a price."
    needs = []
    if found.unpriced:
        runs = sum(each.unpriced_runs for each in found.unpriced)
        needs.append(f"{counted(runs, 'run')} unpriced")
    if found.dead_ends:
        needs.append(f"{counted(len(found.dead_ends), 'name')} mapped to no price")
    return f"Needs a person: {', '.join(needs)}."


def review_as_json(found: "Review") -> str:
    """What is missing, for programs."""
    return json_text(
        {
            "needs_a_person": found.needs_a_person,
            "unpriced": [each._asdict() for each in found.unpriced],
            "mapped_to_no_price": [each._asdict() for each in found.dead_ends],
            "known_anyway": [each._asdict() for each in found.repetitions],
        }
    )
