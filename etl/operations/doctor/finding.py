"""What a check found, and a guard that lets no check raise."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from etl.domain.errors import SyncError


class Verdict(Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: what it found at a place and, unless all is well, what to do."""

    place: str
    check: str
    verdict: Verdict
    told: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where checks look; makes their findings."""

    name: str

    def ok(self, check: str, told: str) -> Finding:
        """All is well."""
        return self._found(check, Verdict.OK, told)

    def warning(self, check: str, told: str, advice: str) -> Finding:
        """It works, and should be different all the same."""
        return self._found(check, Verdict.WARNING, told, advice)

    def failed(self, check: str, told: str, advice: str | None = None) -> Finding:
        """A sync will fail; without advice, `told` says what to do itself."""
        return self._found(check, Verdict.FAILED, told.rstrip("."), advice)

    def left_out(self, check: str, why: str) -> Finding:
        """The check could not be made."""
        return self._found(check, Verdict.LEFT_OUT, why)

    def guarded(self, check: str, look: Callable[[], Finding]) -> Finding:
        """What a check finds; an error of any kind is a finding too."""
        try:
            return look()
        except Exception as error:  # no check may raise
            return self.of_error(check, error)

    def of_error(self, check: str, error: Exception) -> Finding:
        """An error as a finding; of one that nobody foresaw only the kind is told.

        Its text may hold a secret.
        """
        if isinstance(error, SyncError):
            return self.failed(check, str(error))
        told = f"the check itself failed with {type(error).__name__}"
        return self.failed(check, told, "report it as a defect in runtide")

    def _found(
        self, check: str, verdict: Verdict, told: str, advice: str | None = None
    ) -> Finding:
        return Finding(
            place=self.name, check=check, verdict=verdict, told=told, advice=advice
        )
