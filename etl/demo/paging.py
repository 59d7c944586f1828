"""Which runs of a thread one list request gets, and what the envelope says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from etl.demo.life import Life
from etl.demo.refusal import RefusedError, no_run

_DEFAULT_LIMIT = 20
_LARGEST_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    """The four parameters of list-runs."""

    limit: int
    order: str
    after: str | None
    before: str | None

    @classmethod
    def parsed(cls, parameters: dict[str, str]) -> Self:
        """Check the query parameters; raises RefusedError."""
        return cls(
            limit=_limit(parameters.get("limit", str(_DEFAULT_LIMIT))),
            order=_order(parameters.get("order", "desc")),
            after=parameters.get("after"),
            before=parameters.get("before"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One answer of list-runs."""

    lives: Sequence[Life]
    has_more: bool

    def payload(self, at: int) -> dict[str, Any]:
        """Write the list envelope; an empty page has null ids."""
        return {
            "object": "list",
            "data": [life.payload(at) for life in self.lives],
            "first_id": self.lives[0].id if self.lives else None,
            "last_id": self.lives[-1].id if self.lives else None,
            "has_more": self.has_more,
        }


def page_of(lives: Sequence[Life], request: ListRequest) -> Page:
    """Cut one page out of a thread's runs, which come oldest first.

    Both cursors are exclusive, and count by place, so runs of the same second
    are neither lost nor repeated. With `before` alone the page is the one next
    to that run. Raises RefusedError for a cursor that is no run of the thread.
    """
    ordered = lives if request.order == "asc" else lives[::-1]
    first = 0 if request.after is None else _place(ordered, request.after) + 1
    if request.before is None:
        return _leading(ordered[first:], request.limit)
    between = ordered[first : _place(ordered, request.before)]
    if request.after is None:
        return _trailing(between, request.limit)
    return _leading(between, request.limit)


def _leading(lives: Sequence[Life], limit: int) -> Page:
    return Page(lives=lives[:limit], has_more=len(lives) > limit)


def _trailing(lives: Sequence[Life], limit: int) -> Page:
    return Page(lives=lives[-limit:], has_more=len(lives) > limit)


def _place(lives: Sequence[Life], run_id: str) -> int:
    for place, life in enumerate(lives):
        if life.id == run_id:
            return place
    raise no_run(run_id)


def _limit(text: str) -> int:
    try:
        limit = int(text)
    except ValueError:
        message = "Invalid type for 'limit': expected an integer, but got a string."
        raise RefusedError(400, message, param="limit", code="invalid_type") from None
    if limit < 1:
        raise _out_of_bounds(f"below minimum value. Expected a value >= 1, got {limit}")
    if limit > _LARGEST_LIMIT:
        raise _out_of_bounds(
            f"above maximum value. Expected a value <= {_LARGEST_LIMIT}, got {limit}"
        )
    return limit


def _out_of_bounds(how: str) -> RefusedError:
    code = f"integer_{how.partition('.')[0].replace(' ', '_')}"
    message = f"Invalid 'limit': integer {how}."
    return RefusedError(400, message, param="limit", code=code)


def _order(text: str) -> str:
    if text not in {"asc", "desc"}:
        message = f"Invalid value: '{text}'. Supported values are: 'asc' and 'desc'."
        raise RefusedError(400, message, param="order", code="invalid_value")
    return text
