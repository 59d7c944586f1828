"""Writes the facts of the genai-prices package that a migration seeds prices with.

    pip install genai-prices==0.2.3
    python scripts/extract_prices.py migrations/data/genai_prices_0_2_3

Two files: PREFIX_prices.csv (model, token_kind, usd_per_million, effective_from) and
PREFIX_names.csv (name, matches, model). Of OpenAI's models it takes those that are
priced by text tokens alone: input, cached input, output. Of prices in tiers it takes
the first, because a run tells only the sum over its turns; of variants (batch, flex,
priority) none, because a run does not tell which one applied.
"""

import csv
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

PROVIDER = "openai"
KINDS = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "output": "output_mtok",
}
ALWAYS = "1970-01-01"
OTHER_MEDIA = ("audio", "image", "video")


def main(prefix: str) -> None:
    """Write both files."""
    from genai_prices.data import providers  # noqa: PLC0415  # needed here alone

    [provider] = [each for each in providers if each.id == PROVIDER]
    models = [model for model in provider.models if _is_text(model)]
    _write(
        Path(f"{prefix}_prices.csv"),
        ("model", "token_kind", "usd_per_million", "effective_from"),
        sorted(row for model in models for row in _prices(model)),
    )
    _write(
        Path(f"{prefix}_names.csv"),
        ("name", "matches", "model"),
        sorted(row for model in models for row in _names(model)),
    )


def _periods(model: Any) -> list[tuple[str, Any]]:
    """Since when which prices hold."""
    if not isinstance(model.prices, list):
        return [(ALWAYS, model.prices)]
    return [
        (str(each.constraint.start_date) if each.constraint else ALWAYS, each.prices)
        for each in model.prices
    ]


def _is_text(model: Any) -> bool:
    _, prices = _periods(model)[-1]
    told = [name for name, price in vars(prices).items() if price is not None]
    return {"input_mtok", "output_mtok"} <= set(told) and not any(
        medium in name for name in told for medium in OTHER_MEDIA
    )


def _prices(model: Any) -> Iterator[tuple[str, str, str, str]]:
    for since, prices in _periods(model):
        for kind, attribute in KINDS.items():
            price = getattr(prices, attribute)
            if price is not None:
                usd = Decimal(getattr(price, "base", price))
                yield model.id, kind, format(usd, "f"), since


def _names(model: Any) -> Iterator[tuple[str, str, str]]:
    for clause in getattr(model.match, "or_", [model.match]):
        [(kind, text)] = vars(clause).items()
        match kind:
            case "equals" if text != model.id:
                yield text, "exactly", model.id
            case "starts_with":
                yield text, "beginning", model.id
            case _:  # the id itself; or a date at its end, which is a rule of its own
                pass


def _write(path: Path, heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heading)
        writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1])
