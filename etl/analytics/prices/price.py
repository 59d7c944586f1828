"""One price, and how people write its parts."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from etl.domain.errors import ConfigError
from etl.domain.model_name import LONGEST_NAME, is_model

INPUT, CACHED_INPUT, OUTPUT = "input", "cached_input", "output"
KINDS = (INPUT, CACHED_INPUT, OUTPUT)
NEEDED = (INPUT, OUTPUT)
"""Without these a model has no price; cached input without one costs as input."""

USER = "user"
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""Since when a price holds that has always held."""
END = datetime(2100, 1, 1, tzinfo=UTC)

MOST_USD = 100_000
LEAST_USD = Decimal("0.0001")
"""Above nothing and below this stands what somebody took for the price of one token."""
MOST_DECIMALS = 12

PLAIN = re.compile(r"[0-9]{1,12}(\.[0-9]*)?|\.[0-9]+")
INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII
)
PROVIDER = re.compile(r"[A-Za-z0-9_.-]{1,64}")

AN_AMOUNT = "US dollars for a million tokens as a plain number such as 2.50"
AN_INSTANT = (
    "a day such as 2026-06-01 or an instant such as 2026-06-01T12:00:00Z, from 1970 to 2099"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a million tokens of a kind cost, since when, and who says so."""

    provider: str
    model: str
    token_kind: str
    usd_per_million: Decimal
    effective_from: datetime
    origin: str = USER

    @property
    def key(self) -> tuple[str, str, str, datetime]:
        """What there is one price of each origin for."""
        return self.provider, self.model, self.token_kind, self.effective_from


def amount(text: str, place: str) -> Decimal:
    """Read an exact amount of US dollars; raises ConfigError that names the place."""
    if flaw := _flaw(text):
        raise ConfigError(f"{place} is {text!r}, expected {AN_AMOUNT} ({flaw}).")
    return Decimal(text)


FLAWS = (
    (re.compile(r"\A\Z"), "it is empty"),
    (re.compile(r"\A\s|\s\Z"), "there are spaces around it"),
    (re.compile(r"[$€£¥]|usd|eur", re.IGNORECASE), "leave the currency out"),
    (re.compile(r"%"), "a percentage is no price"),
    (re.compile(r","), "write a decimal point, and leave thousands separators out"),
    (re.compile(r"\A-"), "it is negative"),
    (
        re.compile(r"\A[0-9.]+[eE]"),
        "it has an exponent; is it the price of one token?",
    ),
)
"""How amounts are written by mistake, and what to say of it; the first one counts."""


def _flaw(text: str) -> str | None:
    found = (flaw for pattern, flaw in FLAWS if pattern.search(text))
    if flaw := next(found, None):
        return flaw
    if not PLAIN.fullmatch(text):
        return "it is no such number"
    if len(text.partition(".")[2]) > MOST_DECIMALS:
        return f"it has more than {MOST_DECIMALS} decimals"
    if Decimal(text) > MOST_USD:
        return f"it is more than {MOST_USD:,}"
    if 0 < Decimal(text) < LEAST_USD:
        return f"it is less than {LEAST_USD}; is it the price of one token?"
    return None


def moment(text: str, place: str) -> datetime:
    """Read a day or an instant, UTC unless it has an offset; raises ConfigError."""
    try:
        told = datetime.fromisoformat(text) if INSTANT.fullmatch(text) else None
    except ValueError:
        told = None
    if told is not None:
        told = told if told.tzinfo else told.replace(tzinfo=UTC)
        if BEGINNING <= told < END:
            return told.astimezone(UTC)
    raise ConfigError(f"{place} is {text!r}, expected {AN_INSTANT}.")


def model_name(text: str, place: str) -> str:
    """Read the name of a model; raises ConfigError."""
    if is_model(text):
        return text
    raise ConfigError(
        f"{place} is {text!r}, expected 1 to {LONGEST_NAME} characters that can be"
        " printed, without spaces around them."
    )


def provider_name(text: str, place: str) -> str:
    """Read the name of a provider; raises ConfigError."""
    if PROVIDER.fullmatch(text):
        return text
    raise ConfigError(
        f"{place} is {text!r}, expected 1 to 64 letters, digits, dots, dashes or"
        " underscores."
    )


def token_kind(text: str, place: str) -> str:
    """Read a kind of tokens; raises ConfigError."""
    if text in KINDS:
        return text
    raise ConfigError(f"{place} is {text!r}, expected input, cached_input or output.")
