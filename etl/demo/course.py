"""The course of a run: which status begins how many seconds after its creation."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from etl.demo.assistant import Assistant
from etl.demo.catalogue import ERRORS, REFUSAL

SECONDS_TO_LIVE = 600
OPEN_STATUSES = frozenset({"queued", "in_progress", "requires_action", "cancelling"})


class Moment(NamedTuple):
    """A status and when it begins, in seconds after the run's creation."""

    after: int
    status: str


class LastError(NamedTuple):
    """Why a run failed."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Everything that happens to a run, from `queued` to a terminal status."""

    moments: tuple[Moment, ...]
    last_error: LastError | None = None
    incomplete_reason: str | None = None
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None

    @property
    def seconds(self) -> int:
        """How long the run is open: 0 to 600."""
        return self.moments[-1].after

    @property
    def answered_turns(self) -> int:
        """How often the model was asked and answered."""
        turns = sum(moment.status == "in_progress" for moment in self.moments)
        return turns - 1 if self.last_error and turns else turns


def refused_course() -> Course:
    """Fail in the second of the creation; people then retry at once."""
    return Course(
        moments=(Moment(0, "queued"), Moment(0, "failed")),
        last_error=LastError(*REFUSAL),
    )


def draw_course(rng: Random, assistant: Assistant, *, patience: int) -> Course:
    """Draw a course of at least two seconds.

    `patience` is the longest that somebody lets a function call wait for its
    output, in seconds; up to 150 keeps every run inside its 600 seconds.
    """
    (ending,) = rng.choices(_ENDINGS, cum_weights=_CUMULATIVE_WEIGHTS)
    return ending(rng, assistant, _beginning(rng, assistant, patience))


def _beginning(rng: Random, assistant: Assistant, patience: int) -> list[Moment]:
    after = rng.randint(0, 2)
    moments = [Moment(0, "queued"), Moment(after, "in_progress")]
    trips = rng.choice((0, 0, 1, 1, 2, 3)) if assistant.functions else 0
    for _ in range(trips):
        asked = after + rng.randint(2, 12)
        told = asked + rng.randint(1, patience)
        after = told + rng.randint(0, 1)
        moments += (
            Moment(asked, "requires_action"),
            Moment(told, "queued"),
            Moment(after, "in_progress"),
        )
    return moments


def _completed(rng: Random, _: Assistant, moments: list[Moment]) -> Course:
    after = moments[-1].after + rng.randint(2, 45)
    return Course(moments=(*moments, Moment(after, "completed")))


def _failed(rng: Random, _: Assistant, moments: list[Moment]) -> Course:
    after = moments[-1].after + rng.randint(2, 30)
    return Course(
        moments=(*moments, Moment(after, "failed")),
        last_error=LastError(*rng.choice(ERRORS)),
    )


def _incomplete(rng: Random, _: Assistant, moments: list[Moment]) -> Course:
    ended = (*moments, Moment(moments[-1].after + rng.randint(2, 30), "incomplete"))
    limit = rng.choice(("max_completion_tokens", "max_prompt_tokens"))
    if limit == "max_prompt_tokens":
        return Course(moments=ended, incomplete_reason=limit, max_prompt_tokens=512)
    return Course(moments=ended, incomplete_reason=limit, max_completion_tokens=256)


def _cancelled(rng: Random, _: Assistant, moments: list[Moment]) -> Course:
    asked = moments[-1].after + rng.randint(2, 20)
    cancelled = asked + rng.randint(1, 8)
    return Course(
        moments=(*moments, Moment(asked, "cancelling"), Moment(cancelled, "cancelled"))
    )


def _expired(rng: Random, assistant: Assistant, moments: list[Moment]) -> Course:
    """Leave the function call without its output, or the model without an end."""
    if assistant.functions:
        asked = moments[-1].after + rng.randint(2, 12)
        moments = [*moments, Moment(asked, "requires_action")]
    return Course(moments=(*moments, Moment(SECONDS_TO_LIVE, "expired")))


_Ending = Callable[[Random, Assistant, list[Moment]], Course]
_ENDINGS: tuple[_Ending, ...] = (_completed, _failed, _incomplete, _cancelled, _expired)
_CUMULATIVE_WEIGHTS = (900, 935, 960, 980, 1000)
