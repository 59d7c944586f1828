"""A 404 is not a deletion: what threads that are missing say about their source."""

from dataclasses import dataclass, field

from etl.domain.batch import PassFailure

ENOUGH_MISSING = 50
"""So many missing threads, and not one that answered, end the source at once."""


@dataclass
class Triage:
    """The threads of one source that answered, and those that it does not know.

    An endpoint that was switched off looks as if every thread was deleted. So a
    thread is marked as missing only when the source has shown that it knows
    others, and nothing is marked when it does not know most of them.
    """

    answered: int = 0
    missing: list[PassFailure] = field(default_factory=list)

    @property
    def is_hopeless(self) -> bool:
        """Whether it is clear by now that the source is unavailable."""
        return not self.answered and len(self.missing) >= ENOUGH_MISSING

    @property
    def is_unavailable(self) -> bool:
        """Whether most threads of the source are missing, and more than one."""
        return len(self.missing) > max(self.answered, 1)

    @property
    def verdict(self) -> str:
        """Why the source counts as unavailable."""
        asked = self.answered + len(self.missing)
        return (
            f"{len(self.missing):,} of {asked:,} threads asked are unknown to the server"
            f" ({self.missing[0].message}); the endpoint looks switched off or base_url is"
            " wrong, so no thread was marked as missing"
        )
