"""What a database says against a question, as one sentence without its secrets."""

from sqlalchemy.engine import URL

from etl.domain.errors import DiscoveryError, StoppedError, SyncError
from etl.load.database import SECRETS, shown


def too_slow(seconds: int) -> DiscoveryError:
    """The answer took longer than it may."""
    return DiscoveryError(
        f"the query took longer than {seconds:,} seconds; make it quicker, or raise"
        " timeout in [sources.discovery]"
    )


def stopped() -> SyncError:
    """Somebody asked to stop meanwhile."""
    return StoppedError("the sync was asked to stop")


def unreachable(url: URL, said: str) -> DiscoveryError:
    """The database is away, or does not let us in."""
    return DiscoveryError(
        f"the database at {shown(url)} cannot be reached: {cleaned(said, url)}; check that"
        " it runs and that the variable of url_env is right"
    )


def refused(url: URL, said: str) -> DiscoveryError:
    """The database says no to the query."""
    return DiscoveryError(
        f"the database at {shown(url)} refused the query: {cleaned(said, url)}; correct"
        " sql in [sources.discovery]"
    )


def cleaned(said: str, url: URL) -> str:
    """The first line of what was said, without the passwords of the URL."""
    line = " ".join(said.partition("\n")[0].split()).rstrip(".")
    secrets = [url.password, *(url.query.get(each) for each in SECRETS)]
    for secret in (each for each in secrets if isinstance(each, str) and each):
        line = line.replace(secret, "***")
    return line
