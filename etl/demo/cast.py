"""Who talks in a thread: its assistant, its customer, and the runs they will have."""

from dataclasses import dataclass
from random import Random

from etl.demo.assistant import Assistant
from etl.demo.catalogue import ASSISTANTS, CHANNELS, CUSTOMERS, PEOPLE, PLANS
from etl.demo.course import Course, draw_course, refused_course
from etl.demo.dice import draw_id

_SUBSTITUTE_SHARE = 0.1
_PERSONAL_SHARE = 0.15
_UNLABELLED_SHARE = 0.1

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """What the runs of one thread have in common."""

    thread_id: str
    assistant: Assistant
    substitute: Assistant
    closing_words: str
    metadata: Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run that has an assistant and a course, but no place in time yet."""

    assistant: Assistant
    course: Course

    @property
    def is_refused(self) -> bool:
        """Whether the run fails in the second of its creation."""
        return self.course.seconds == 0


def draw_cast(rng: Random, index: int) -> Cast:
    """Cast somebody's conversation with one of the assistants, in turn."""
    turn = (index + index // len(ASSISTANTS)) % len(ASSISTANTS)
    return Cast(
        thread_id=draw_id(rng, "thread"),
        assistant=ASSISTANTS[turn],
        substitute=rng.choice(ASSISTANTS),
        closing_words=_draw_closing_words(rng),
        metadata=_draw_metadata(rng),
    )


def draw_plans(
    rng: Random, cast: Cast, count: int, *, refused_share: float = 0.04
) -> list[Plan]:
    """Draw runs as most of a history has them: answered promptly."""
    return [
        _refused_plan(cast)
        if rng.random() < refused_share
        else _plan(rng, cast, patience=25)
        for _ in range(count)
    ]


def draw_slow_plan(rng: Random, cast: Cast) -> Plan:
    """Draw a run whose calls may wait for minutes; it lasts two seconds or more."""
    return _plan(rng, cast, patience=150)


def _plan(rng: Random, cast: Cast, *, patience: int) -> Plan:
    assistant = cast.substitute if rng.random() < _SUBSTITUTE_SHARE else cast.assistant
    course = draw_course(rng, assistant, patience=patience)
    return Plan(assistant=assistant, course=course)


def _refused_plan(cast: Cast) -> Plan:
    return Plan(assistant=cast.assistant, course=refused_course())


def _draw_closing_words(rng: Random) -> str:
    if rng.random() < _PERSONAL_SHARE:
        return f"\n\nAddress the user as {rng.choice(PEOPLE)}."
    return ""


def _draw_metadata(rng: Random) -> Metadata:
    if rng.random() < _UNLABELLED_SHARE:
        return ()
    return (
        ("customer", rng.choice(CUSTOMERS)),
        ("plan", rng.choice(PLANS)),
        ("channel", rng.choice(CHANNELS)),
        ("ticket", f"T-{rng.randint(10_000, 99_999)}"),
    )
