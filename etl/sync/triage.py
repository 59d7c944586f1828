"""A 404 is not a deletion: what threads that are missing say about their source."""

from dataclasses import dataclass, field

from etl.domain.batch import PassFailure
from etl.sync.ports import Answers

ENOUGH_MISSING = 50
"""So many missing threads, and not one that answered, end the source at once."""


@dataclass
class Triage:
    """The threads of one source that answered, and those that it does not know.

    An endpoint that was switched off looks as if every thread was deleted, and so does
    every one to a key of another project. So a thread is marked as missing only when the
    source has shown to this very process that it knows others, and nothing is marked when
    it does not know most of them. What the server has said to other processes of the
    sync, `elsewhere`, counts too in the end.
    """

    answered: int = 0
    missing: list[PassFailure] = field(default_factory=list)
    elsewhere: Answers = field(default_factory=Answers)

    @property
    def is_hopeless(self) -> bool:
        """Whether it is clear by now that the source is unavailable."""
        return not self.answered and len(self.missing) >= ENOUGH_MISSING

    @property
    def is_unavailable(self) -> bool:
        """Whether most threads of the source are missing, and more than one."""
        if self.is_hopeless:
            return True
        return bool(self.missing) and self.all_missing > max(self.all_answered, 1)

    @property
    def all_answered(self) -> int:
        """The threads that answered, whoever asked."""
        return max(self.answered, self.elsewhere.answered)

    @property
    def all_missing(self) -> int:
        """The threads that the server does not know, whoever asked."""
        return max(len(self.missing), self.elsewhere.missing)

    @property
    def verdict(self) -> str:
        """Why the source counts as unavailable."""
        missing = len(self.missing) if self.is_hopeless else self.all_missing
        asked = missing if self.is_hopeless else missing + self.all_answered
        return (
            f"{missing:,} of {asked:,} threads asked are unknown to the server"
            f" ({self.missing[0].message}); the endpoint looks switched off, or base_url or"
            " the key is wrong, so no thread was marked as missing"
        )
