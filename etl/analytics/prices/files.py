"""Prices in files, CSV or JSON: read and checked as a whole."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from etl.analytics.prices.price import (
    USER,
    Price,
    amount,
    model_name,
    moment,
    provider_name,
    token_kind,
)
from etl.domain.errors import ConfigError

NAMES = ("provider", "model", "token_kind", "usd_per_million", "effective_from")
"""What every price of a file has; `origin`, which `list --all` writes, may be left out."""
KNOWN = (*NAMES, "origin")
HEADING = ",".join(NAMES)


@dataclass(frozen=True, slots=True)
class Entry:
    """The texts of one price, and where they stand."""

    place: str
    texts: dict[str, str]


def read_prices(content: bytes, name: str) -> list[Price]:
    """The prices of a file, in its order.

    Raises ConfigError for the first entry that is wrong, and says how many more are.
    """
    text = _text(content, name)
    if not text.strip():
        raise ConfigError(f"{name} is empty; expected the heading {HEADING}, or JSON.")
    is_json = text.lstrip()[0] in "[{"
    prices = _checked(_json_entries(text, name) if is_json else _csv_entries(text, name))
    if not prices:
        raise ConfigError(f"{name} holds no prices.")
    return prices


def as_objects(prices: Iterable[Price]) -> list[dict[str, str]]:
    """Prices as a JSON file holds them; amounts are texts, so that they stay exact."""
    return [
        asdict(each)
        | {
            "usd_per_million": f"{each.usd_per_million:f}",
            "effective_from": each.effective_from.isoformat().replace("+00:00", "Z"),
        }
        for each in prices
    ]


def as_csv(prices: Iterable[Price]) -> str:
    """Prices as a CSV file holds them."""
    text = io.StringIO()
    writer = csv.DictWriter(text, KNOWN, lineterminator="\n")
    writer.writeheader()
    writer.writerows(as_objects(prices))
    return text.getvalue()


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{name}, line {line}: this is not UTF-8; save the file as UTF-8."
        ) from error


def _checked(entries: Iterable[Entry | ConfigError]) -> list[Price]:
    """All prices, or the first of all flaws."""
    prices: list[Price] = []
    flaws: list[ConfigError] = []
    places: dict[object, str] = {}
    for entry in entries:
        try:
            price = _price(entry)
            _check_first(price, entry, places)
        except ConfigError as flaw:
            flaws.append(flaw)
        else:
            prices.append(price)
    if flaws:
        raise ConfigError(f"{flaws[0]}{_more(len(flaws) - 1)}")
    return prices


def _more(flaws: int) -> str:
    match flaws:
        case 0:
            return ""
        case 1:
            return " One more entry is wrong, too."
        case _:
            return f" {flaws:,} more entries are wrong, too."


def _price(entry: Entry | ConfigError) -> Price:
    if isinstance(entry, ConfigError):
        raise entry
    texts, place = entry.texts, entry.place
    return Price(
        provider=provider_name(texts["provider"], f"{place}: provider"),
        model=model_name(texts["model"], f"{place}: model"),
        token_kind=token_kind(texts["token_kind"], f"{place}: token_kind"),
        usd_per_million=amount(texts["usd_per_million"], f"{place}: usd_per_million"),
        effective_from=moment(texts["effective_from"], f"{place}: effective_from"),
        origin=texts.get("origin") or USER,
    )


def _check_first(
    price: Price, entry: Entry | ConfigError, places: dict[object, str]
) -> None:
    """Raise ConfigError where the file has told this price before."""
    place = entry.place if isinstance(entry, Entry) else ""
    key = (*price.key, price.origin)
    if key in places:
        before = places[key].rpartition(", ")[2]
        raise ConfigError(
            f"{place}: this is the price of {before} again ({price.provider},"
            f" {price.model}, {price.token_kind}, from {price.effective_from:%Y-%m-%d});"
            " leave one of them out."
        )
    places[key] = place


# CSV ---------------------------------------------------------------------------


def _csv_entries(text: str, name: str) -> Iterator[Entry | ConfigError]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    heading: list[str] | None = None
    try:
        for row in rows:
            texts = [each.strip() for each in row]
            if not any(texts):
                continue
            place = f"{name}, line {rows.line_num}"
            if heading is None:
                heading = _heading(texts, place)
            elif len(texts) != len(heading):
                yield _uneven(place, len(texts), len(heading))
            else:
                yield Entry(place, dict(zip(heading, texts, strict=True)))
    except csv.Error as error:
        raise ConfigError(
            f"{name}, line {rows.line_num}: this is not CSV ({error})."
        ) from error


def _heading(names: Sequence[str], place: str) -> list[str]:
    if len(names) == 1 and ";" in names[0]:
        raise ConfigError(
            f"{place}: the fields are separated by semicolons; separate them by commas."
        )
    unknown = [each for each in names if each not in KNOWN]
    missing = [each for each in NAMES if each not in names]
    if unknown or missing or len(set(names)) < len(names):
        told = ",".join(names)
        raise ConfigError(f"{place}: the heading is {told!r}, expected {HEADING}.")
    return list(names)


def _uneven(place: str, found: int, expected: int) -> ConfigError:
    return ConfigError(
        f"{place}: expected {expected} fields as in the heading, found {found}; a comma"
        " within a field needs quotes around it."
    )


# JSON --------------------------------------------------------------------------


class _Number(str):
    """A number as it is written, so that it stays exact."""

    __slots__ = ()


def _json_entries(text: str, name: str) -> Iterator[Entry | ConfigError]:
    values = _json(text, name)
    if not isinstance(values, list):
        raise ConfigError(f"{name} is one JSON object, expected a list of objects.")
    for number, value in enumerate(values, start=1):
        place = f"{name}, entry {number}"
        yield _flaw_of(value, place) or Entry(place, value)


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(
            text,
            parse_float=_Number,
            parse_int=_Number,
            parse_constant=_Number,
            object_pairs_hook=_object,
        )
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{name}, line {error.lineno}: this is not JSON ({error.msg})."
        ) from error
    except RecursionError as error:
        raise ConfigError(f"{name} is nested too deeply to be a list of prices.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a key that stands twice, no value is believed."""
    keys = [key for key, _ in pairs]
    return {key: None if keys.count(key) > 1 else value for key, value in pairs}


def _flaw_of(value: Any, place: str) -> ConfigError | None:
    """What keeps a JSON value from being an entry."""
    if not isinstance(value, dict):
        return ConfigError(f"{place}: this is no object; expected the keys {HEADING}.")
    unknown = [key for key in value if key not in KNOWN]
    missing = [key for key in NAMES if key not in value]
    if unknown or missing:
        told = f"{unknown[0]!r} is unknown" if unknown else f"{missing[0]} is missing"
        return ConfigError(f"{place}: {told}; expected the keys {HEADING}.")
    for key, each in value.items():
        if not isinstance(each, str) or (key != NAMES[3] and isinstance(each, _Number)):
            return ConfigError(f"{place}: {key} is not one text in quotes.")
    return None
