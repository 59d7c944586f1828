"""The cluster: PostgreSQL's data directory, made once and checked ever after."""

import re
import secrets
import shutil
from functools import partial
from pathlib import Path

from etl.domain.errors import DatabaseError
from etl.load.embedded.folder import ELSEWHERE, Folder, told, write
from etl.load.embedded.programs import VERSION, Programs

DATABASE = "runtide"
SUPERUSER = "postgres"

# Written to cluster/postgresql.conf, where a person may change them.
SETTINGS = {
    "shared_buffers": "128MB",
    "huge_pages": "try",
    "max_wal_size": "2GB",
    "wal_compression": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log is for the server's own troubles: a client's mistakes, and the
    # payloads they would quote, stay out of it.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}

# The builtin locale sorts the same on every machine and in every release.
LOCALE = (
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
)

_TROUBLE = re.compile(r"(?:PANIC|FATAL|ERROR|error):\s+(.+)")


def ensure_cluster(folder: Folder, programs: Programs, *, lock: int) -> None:
    """Make the cluster if there is none; refuse one that is not ours to start.

    It is made beside its place and moved there when the database is in it, so
    that a cluster is whole or absent. The programs that make it hold the lock
    with us: if we are killed, the next command waits for them.
    """
    with told(folder.path):
        if not folder.cluster.exists():
            _create(folder, programs, lock=lock)
        _check_version(folder.cluster)
        _check_owner(folder.cluster, programs)


def trouble(text: str) -> str | None:
    """The first error that PostgreSQL tells of in `text`, or its last line."""
    if error := _TROUBLE.search(text):
        return error[1].strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else None


def _create(folder: Folder, programs: Programs, *, lock: int) -> None:
    draft = folder.path / "cluster.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    programs.account.own(draft)
    write(folder.password, secrets.token_urlsafe(24), mode=0o600)
    programs.account.own(folder.password)
    call = partial(_call, programs, lock=lock)
    call("initdb", *_initdb_options(draft, folder.password))
    create = f"CREATE DATABASE {DATABASE}\n"
    single = ("--single", "-D", str(draft), "-c", "exit_on_error=on", SUPERUSER)
    call("postgres", *single, typed=create)
    call("initdb", "--sync-only", "-D", str(draft))
    draft.rename(folder.cluster)


def _initdb_options(draft: Path, password: Path) -> list[str]:
    return [
        *(f"--set={name}={value}" for name, value in SETTINGS.items()),
        *LOCALE,
        f"--pgdata={draft}",
        f"--username={SUPERUSER}",
        f"--pwfile={password}",
        "--auth-local=peer",
        "--auth-host=scram-sha-256",
        "--data-checksums",
        "--no-sync",
    ]


def _call(
    programs: Programs, name: str, *arguments: str, lock: int, typed: str = ""
) -> None:
    ended = programs.call(name, *arguments, lock=lock, typed=typed)
    if ended.returncode != 0:
        reason = trouble(ended.stderr) or f"exit code {ended.returncode}"
        message = (
            f"A new PostgreSQL cluster cannot be made ({name}: {reason}); "
            f"put that right, {ELSEWHERE}."
        )
        raise DatabaseError(message)


def _check_version(cluster: Path) -> None:
    try:
        version = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        message = (
            f"{cluster} is not a PostgreSQL cluster, as it has no PG_VERSION; "
            f"move it away, {ELSEWHERE}."
        )
        raise DatabaseError(message) from None
    if version != str(VERSION):
        message = (
            f"The cluster {cluster} was made by PostgreSQL {version}, and this runtide "
            f"brings PostgreSQL {VERSION}; carry it over with pg_dump, {ELSEWHERE}."
        )
        raise DatabaseError(message)


def _check_owner(cluster: Path, programs: Programs) -> None:
    owner = cluster.stat().st_uid
    if owner != programs.account.uid:
        message = (
            f"The cluster {cluster} belongs to user id {owner}, not to "
            f"{programs.account.name}; start runtide as its owner, {ELSEWHERE}."
        )
        raise DatabaseError(message)
