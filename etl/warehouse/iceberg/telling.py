"""What PyIceberg and what it stands on raise, as sentences without secrets."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from etl.domain.errors import DestinationError, SyncError


class OvertakenError(DestinationError):
    """Somebody else changed a table, so surely nothing was committed to it."""


def shown_address(address: str) -> str:
    """An address without a user's name, a password or a query."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    authority, slash, path = re.split("[?#]", rest)[0].partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def has_password(address: str) -> bool:
    """Whether a password stands before an address's host."""
    authority = address.partition("://")[2].partition("/")[0]
    return ":" in authority.rpartition("@")[0]


@contextmanager
def told(shown: str, catalog: str, doing: str = "written") -> Iterator[None]:
    """Turn whatever comes out of PyIceberg into a sentence; what is one goes through."""
    from pyiceberg.exceptions import (  # noqa: PLC0415  # an extra
        CommitFailedException,
        ValidationException,
    )

    try:
        yield
    except SyncError:
        raise
    except (CommitFailedException, ValidationException) as error:
        raise OvertakenError(
            f"A table in {shown} was changed by somebody else at the same time:"
            f" {said(error)}; this export did not touch it, run it again."
        ) from error
    except sa.exc.SQLAlchemyError as error:
        raise _of_catalog(catalog, getattr(error, "orig", None) or error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in OF_CATALOGS:
            raise _of_catalog(catalog, error) from error
        raise DestinationError(
            f"{shown} cannot be {doing}: {said(error)}; check that it exists and that the"
            " credentials in the environment may write there. Tables that are not"
            " committed stand as they were."
        ) from error


OF_CATALOGS = {"pyiceberg", "requests", "urllib3", "botocore", "google", "thrift"}
"""Whose errors tell of a catalog; files are written by others."""


def _of_catalog(catalog: str, error: BaseException) -> DestinationError:
    return DestinationError(
        f"The catalog {catalog!r} did not do what it was asked: {said(error)}; check that"
        " it runs, and what [[exports]] and PyIceberg's own configuration say of it."
    )


PASSWORD = re.compile(r"[^\s/'\"@]*:[^\s/'\"]*@")
"""What stands before a host in the address that an error tells."""


def said(error: BaseException) -> str:
    """The first line of an error, without its last stop, and without a password."""
    lines = str(error).strip().splitlines()
    first = " ".join(lines[0].split()) if lines else type(error).__name__
    return PASSWORD.sub("", first).rstrip(".")
