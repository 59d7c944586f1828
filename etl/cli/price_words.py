"""Words and figures of prices that several reports share."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

BEGINNING = "1970-01-01"
ALWAYS = "always"


def since_in_words(moment: datetime | None) -> str:
    """Since when a price holds: a day, or an instant to the microsecond, in UTC."""
    if moment is None:
        return "-"
    text = moment.isoformat().removesuffix("+00:00")
    day = text.removesuffix("T00:00:00")
    return ALWAYS if day == BEGINNING else day if day != text else f"{text}Z"


def kind_in_words(token_kind: str) -> str:
    """The kind of tokens: input, cached input or output."""
    return token_kind.replace("_", " ")


def json_text(value: Any) -> str:
    """JSON in which amounts are texts, so that they stay exact."""
    return json.dumps(value, default=_as_json, indent=2)


def _as_json(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value.isoformat()).replace("+00:00", "Z")
