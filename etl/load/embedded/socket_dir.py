"""Where the Unix socket stands: a private directory with a short path."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from etl.domain.errors import DatabaseError
from etl.load.embedded.account import Account
from etl.load.embedded.folder import Folder

# 104 bytes on macOS, 108 on Linux, less "/.s.PGSQL.65535" and the closing zero.
LONGEST = 104 - 15 - 1


def socket_dir(folder: Folder, account: Account) -> Path:
    """Make the directory of the socket, or see that it is the server's own.

    What a killed server left in it goes, as its lock file would be believed
    while anybody has the killed server's process id.

    A path that is too long for a socket, or has a comma, which separates hosts
    for a client, is replaced by one in the system's directory for temporary
    files, where others must not have made it first.
    """
    digest = hashlib.sha256(os.fsencode(folder.path)).hexdigest()[:16]
    name = f"runtide-{account.uid}-{digest}"
    places = [
        folder.path / "socket",
        Path(tempfile.gettempdir()).resolve() / name,
        Path("/tmp", name),  # noqa: S108 - made private or refused just below
    ]
    place = next((place for place in places if _fits(place)), places[-1])
    _make_private(place, account)
    for left_over in place.glob(".s.PGSQL.*"):
        left_over.unlink()
    return place


def _fits(place: Path) -> bool:
    text = os.fsencode(place)
    return len(text) <= LONGEST and not set(text) & set(b',"')


def _make_private(place: Path, account: Account) -> None:
    account.open_way(place.parent)
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        _reject_foreign(place, account)
    if place.lstat().st_uid == os.geteuid():
        place.chmod(0o700)
    account.own(place)


def _reject_foreign(place: Path, account: Account) -> None:
    found = place.lstat()
    owners = {account.uid, os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
        message = (
            f"{place}, where the embedded PostgreSQL would put its socket, belongs to "
            "somebody else; remove it, or choose a data directory with a shorter path."
        )
        raise DatabaseError(message)
