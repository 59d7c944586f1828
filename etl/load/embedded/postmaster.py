"""The server process of one folder: whether it is up, its start and its end.

Starting and stopping are for whoever holds the folder's gate.
"""

import os

from etl.domain.errors import DatabaseError
from etl.load.embedded.account import Account, account
from etl.load.embedded.address import LOOPBACK, Address, listening, reject_busy_port
from etl.load.embedded.cluster import SUPERUSER, ensure_cluster
from etl.load.embedded.folder import Folder, told, write
from etl.load.embedded.locks import is_alone, opened, polls
from etl.load.embedded.log import LogTail, open_log
from etl.load.embedded.programs import Programs, programs
from etl.load.embedded.socket_dir import socket_dir

START_SECONDS = 120  # recovery after a crash may replay all of max_wal_size
STOP_SECONDS = 120


class Postmaster:
    """The server of one folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._pid_file = folder.cluster / "postmaster.pid"

    def address(self) -> Address | None:
        """Where the server listens; None unless it is up and ready.

        `postmaster.pid` alone says little: it outlives a killed server.
        """
        with told(self._folder.path):
            try:
                lines = os.fsdecode(self._pid_file.read_bytes()).splitlines()
            except FileNotFoundError:
                return None
        match [line.strip() for line in lines]:
            case [_, _, _, port, directory, host, _, "ready"]:
                address = Address(
                    socket_dir=directory, port=int(port), is_on_tcp=bool(host)
                )
                return address if address.answers() else None
            case _:
                return None

    def start(self, port: int | None) -> Address:
        """Start it unless it is up; with a port, it listens on loopback too."""
        if address := self.address():
            return address
        if port is not None:
            reject_busy_port(port)
        tools = programs(account())
        with told(self._folder.path), opened(self._folder.alive) as lock:
            if address := self._surviving(lock):
                return address
            self._folder.close()
            tools.open_for(self._folder.path)
            ensure_cluster(self._folder, tools, lock=lock)
            tail = self._launch(tools, port, lock=lock)
        return self._ready(tail)

    def stop(self) -> None:
        """Stop it, disconnecting its clients, and wait until it is gone."""
        with told(self._folder.path), opened(self._folder.alive) as lock:
            if self._surviving(lock) is None:
                return
        directory = str(self._folder.cluster)
        stop = ("stop", "-D", directory, "-m", "fast", "-W")
        programs(account()).call("pg_ctl", *stop)
        complaint = (
            f"The embedded PostgreSQL in {directory} did not stop within "
            f"{STOP_SECONDS} seconds; see {self._folder.log}."
        )
        for _ in polls(STOP_SECONDS, complaint=complaint):
            if not self._is_alive() and not self.address():
                return

    def _is_alive(self) -> bool:
        """Whether any process of a server that we started lives."""
        with told(self._folder.path), opened(self._folder.alive) as lock:
            return not is_alone(lock)

    def _surviving(self, lock: int) -> Address | None:
        """The server that is up, after waiting for what only half lives here.

        That is a starting server, or what is left of a killed or ending one.
        Without a server the lock on its life is ours.
        """
        complaint = (
            f"Processes of a PostgreSQL in {self._folder.cluster} are alive but answer "
            "nobody; wait until they end, or end them, and call the command again."
        )
        for _ in polls(START_SECONDS, complaint=complaint):
            is_ours = is_alone(lock)
            if (address := self.address()) or is_ours:
                return address
        return None

    def _launch(self, tools: Programs, port: int | None, *, lock: int) -> LogTail:
        settings = listening(port) | self._access(tools.account)
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        # Nobody of ours lives and nobody answers, so this file is a killed
        # server's. PostgreSQL itself would be misled by a reused process id.
        self._pid_file.unlink(missing_ok=True)
        log, tail = open_log(self._folder.log)
        try:
            directory = str(self._folder.cluster)
            tools.launch("postgres", "-D", directory, *arguments, log=log, lock=lock)
        finally:
            os.close(log)
        return tail

    def _access(self, user: Account) -> dict[str, str]:
        """Let the owner and root in over the socket, and over TCP by password.

        The rules stand outside the cluster, so that the server's user cannot
        change them.
        """
        hba = self._folder.path / "pg_hba.conf"
        ident = self._folder.path / "pg_ident.conf"
        rules = (
            "local all all peer map=owner",
            f"host all all {LOOPBACK}/32 scram-sha-256",
        )
        owners = dict.fromkeys([user.name, "root"])
        write(hba, "".join(f"{rule}\n" for rule in rules), mode=0o640)
        names = [f'owner "{name}" {SUPERUSER}\n' for name in owners]
        write(ident, "".join(names), mode=0o640)
        return {
            "hba_file": str(hba),
            "ident_file": str(ident),
            "unix_socket_directories": f'"{socket_dir(self._folder, user)}"',
            "unix_socket_permissions": "0700",
        }

    def _ready(self, tail: LogTail) -> Address:
        complaint = (
            f"The embedded PostgreSQL in {self._folder.cluster} is not ready after "
            f"{START_SECONDS} seconds; see {self._folder.log}."
        )
        for _ in polls(START_SECONDS, complaint=complaint):
            is_alive = self._is_alive()
            if address := self.address():
                return address
            if not is_alive:
                break
        with told(self._folder.path):
            reason = tail.reason()
        message = (
            f"The embedded PostgreSQL did not start: {reason} (in {self._folder.log}); "
            "put that right or set [database] url."
        )
        raise DatabaseError(message)
