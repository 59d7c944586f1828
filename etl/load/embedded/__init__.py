"""The embedded PostgreSQL: a real server from a wheel, for one project.

Everything stands in one folder, the data directory:

    cluster/        PostgreSQL's own files
    socket/         the Unix socket, unless the path is too long for one
    pg_hba.conf     who may connect: the owner and root, without a password
    pg_ident.conf
    password        for TCP, which is off unless asked for
    log, log.1      what the server had to say
    keep            there while the server stays up between commands
    gate.lock       held by whoever starts or stops the server
    holders.lock    shared by the commands that use it
    server.lock     held by the server's processes themselves

All three locks are flocks, which the kernel drops when a process ends, however
it ends. Hence no list of process ids that a `kill -9` could leave behind, and
a `postmaster.pid` is known to be stale when nobody holds `server.lock`.
"""

from etl.load.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
