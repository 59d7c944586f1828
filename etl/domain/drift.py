"""What a payload holds that the schema does not know."""

from enum import Enum
from typing import NamedTuple

from etl.domain.run import RunId


class DriftKind(Enum):
    """In which way a payload is unknown; the value stands in the ledger."""

    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_VALUE = "unknown_value"
    UNEXPECTED_TYPE = "unexpected_type"


class Drift(NamedTuple):
    """One unknown field, enum value or type, and a run that shows it.

    `path` is the place in the payload, as in `usage.prompt_tokens`; `value` the
    new value, or the type that was found.
    """

    path: str
    kind: DriftKind
    value: str
    run_id: RunId
