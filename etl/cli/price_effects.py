"""What people and programs see of a change of prices, and of what it does to costs."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from etl.cli.price_words import ALWAYS, json_text, kind_in_words, since_in_words
from etl.cli.terminal import counted, printable, say, show_table

if TYPE_CHECKING:
    from etl.analytics.prices.acceptance import Accepted, Gap, Withdrawn
    from etl.analytics.prices.changes import Effect, Written
    from etl.analytics.prices.costs import Cost, Difference
    from etl.analytics.prices.price import Price


def tell_set(prices: "Sequence[Price]", effect: "Effect[Accepted]") -> None:
    """Say what was set, and what it did."""
    first = prices[0]
    told = ", ".join(
        f"{each.usd_per_million:f} for {kind_in_words(each.token_kind)}" for each in prices
    )
    say(
        f"{printable(first.model)} of {first.provider} costs {told} from"
        f" {_from(first.effective_from)} (US dollars for a million tokens)."
    )
    tell_accepted(effect)


def tell_written(written: "Written") -> None:
    """Say how many of the prices of a file are new."""
    read = written.added + written.changed + written.unchanged + written.left
    say(
        f"{counted(read, 'price')} read: {written.added:,} new, {written.changed:,}"
        f" changed, {written.unchanged + written.left:,} as they stand."
    )


def tell_accepted(effect: "Effect[Accepted]") -> None:
    """Say what else is worth knowing, and what runs cost now."""
    for provider in effect.done.unused_providers:
        say(
            f"No source has price_provider = {json.dumps(provider)}, so its prices count"
            " for no run."
        )
    for each in effect.done.mapped:
        say(
            f"In source {each.source} {printable(each.name)} is mapped to"
            f" {printable(each.model)}, whose price counts there."
        )
    _tell_gaps(effect.done.gaps)
    tell_costs(effect.costs)


def tell_withdrawn(effect: "Effect[Withdrawn]") -> None:
    """Say what was taken away, and what that did."""
    for each in effect.done.prices:
        say(
            f"Taken away: {each.usd_per_million:f} for {kind_in_words(each.token_kind)} of"
            f" {printable(each.model)} from {_from(each.effective_from)}."
        )
    _tell_gaps(effect.done.gaps)
    tell_costs(effect.costs)


def _tell_gaps(gaps: "Iterable[Gap]") -> None:
    for each in gaps:
        model, kinds = printable(each.model), " and ".join(each.token_kinds)
        if each.until is None:
            options = " ".join(f"--{kind} USD" for kind in each.token_kinds)
            say(
                f"{model} of {each.provider} has no price for {kinds}; what it has counts"
                f" for no run until `runtide prices set {model} {options}`."
            )
        else:
            say(
                f"{model} of {each.provider} is unpriced before"
                f" {since_in_words(each.until)}, when its price for {kinds} begins."
            )


def tell_costs(months: "Sequence[Difference]") -> None:
    """Say what the runs concerned cost before and after, in one sentence."""
    if not months:
        say("No run's cost changes.")
        return
    before, after = _totals(months)
    grown = sum((each.usd for each in months), Decimal(0))
    say(
        f"{counted(before.runs, 'run')} concerned: {_cost(before)} before, {_cost(after)}"
        f" after ({_signed(grown)} USD)."
    )


def show_months(months: "Sequence[Difference]") -> None:
    """Print what each month and model cost before and after, by source."""
    for source in dict.fromkeys(each.source for each in months):
        mine = [each for each in months if each.source == source]
        unpriced = ["unpriced"] if any(map(_unpriced_runs, mine)) else []
        show_table(
            ["model", "month", "runs", "before", "after", "change", *unpriced],
            [
                [*_month_row(each), *([_unpriced_runs(each)] if unpriced else [])]
                for each in mine
            ],
            title=f"source {source}, in US dollars",
        )


def _month_row(each: "Difference") -> list[object]:
    return [
        "-" if each.model is None else printable(each.model),
        f"{each.month:%Y-%m}",
        each.before.runs,
        _cents(each.before.cost_usd),
        _cents(each.after.cost_usd),
        _cents(each.usd),
    ]


def effect_as_json(effect: "Effect[Accepted]") -> str:
    """What a change would do; amounts are texts, so that they stay exact."""
    months, written = effect.costs, effect.done.written
    before, after = _totals(months)
    return json_text(
        {
            "prices": {
                "new": written.added,
                "changed": written.changed,
                "unchanged": written.unchanged + written.left,
            },
            "gaps": [each._asdict() for each in effect.done.gaps],
            "unused_providers": list(effect.done.unused_providers),
            "mapped": [each._asdict() for each in effect.done.mapped],
            "months": [
                {"source": each.source, "model": each.model, "month": f"{each.month:%Y-%m}"}
                | _difference(each.before, each.after)
                for each in months
            ],
            "total": _difference(before, after),
        }
    )


def _difference(before: "Cost", after: "Cost") -> dict[str, Any]:
    return {
        "runs": before.runs,
        "cost_usd_before": before.cost_usd,
        "cost_usd_after": after.cost_usd,
        "difference_usd": (after.cost_usd or Decimal(0)) - (before.cost_usd or Decimal(0)),
        "unpriced_runs_before": before.unpriced_runs,
        "unpriced_runs_after": after.unpriced_runs,
    }


def _totals(months: "Sequence[Difference]") -> "tuple[Cost, Cost]":
    from etl.analytics.prices.costs import total  # noqa: PLC0415

    return total(each.before for each in months), total(each.after for each in months)


def _cost(cost: "Cost") -> str:
    """A total; it never hides the runs that are not in it."""
    told = "no cost" if cost.cost_usd is None else f"{cost.cost_usd:,.4f} USD"
    if cost.unpriced_runs:
        told += f" with {counted(cost.unpriced_runs, 'run')} unpriced"
    return told


def _cents(usd: Decimal | None) -> Decimal | None:
    """An amount for a column: to a hundredth of a cent."""
    return None if usd is None else usd.quantize(Decimal("0.0001"))


def _unpriced_runs(each: "Difference") -> str:
    """How many runs are unpriced before and after; nothing where none is."""
    before, after = each.before.unpriced_runs, each.after.unpriced_runs
    return f"{before:,} then {after:,}" if before or after else ""


def _signed(usd: Decimal) -> str:
    return f"{usd:+,.4f}"


def _from(moment: datetime) -> str:
    words = since_in_words(moment)
    return "the beginning on" if words == ALWAYS else f"{words} on"
