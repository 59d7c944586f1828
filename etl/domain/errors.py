"""The error tree: each class is named for what the caller should do.

SyncError                    catch only at an entry point
├── RetryableError           the same call may work later
├── ThreadMissingError       skip this thread; one 404 proves nothing
├── RunMissingError          the server does not know this run; keep what is there
├── CursorLostError          the server does not know this cursor; begin at the start
├── RefusedError             the server will not answer this request; end this pass
├── ContractError            the server broke its own rules; end this pass
├── FileError                this file holds nothing that can be used; go on with the next
├── StoppedError             somebody asked to stop; end quietly
├── SourceUnavailableError   end this source
├── DiscoveryError           new threads cannot be found; sync those that are tracked
├── HeldError                another sync works on this; ask again later
├── DatabaseError            the database cannot be used; end the sync
│   └── SchemaError          the schema is missing, older or newer than the program
├── ClusterError             a cluster cannot be used, or went away; ask again
├── DestinationError         an export's destination cannot be used; what stood there stands
└── ConfigError              a person must act

A message is one sentence for a person: what happened, where, and what to do.
"""


class SyncError(Exception):
    """Catch only at an entry point.

    `request_id` is the server's name for the answer that caused it, if there is one.
    """

    request_id: str | None = None


class RetryableError(SyncError):
    """The same call may work later."""


class ThreadMissingError(SyncError):
    """The server does not know this thread; one such answer proves nothing."""


class RunMissingError(SyncError):
    """The server does not know this run of a thread."""


class CursorLostError(SyncError):
    """The server does not know this cursor, or what follows it."""


class RefusedError(SyncError):
    """The server will not answer this request; the same call will not work later."""


class ContractError(SyncError):
    """The server broke its own rules; this pass cannot go on."""


class FileError(SyncError):
    """A file of run history cannot be used; the message goes on from its name."""


class StoppedError(SyncError):
    """Somebody asked the sync to stop."""


class SourceUnavailableError(SyncError):
    """Nothing more can be had from this source in this sync."""


class DiscoveryError(SyncError):
    """The threads of a source cannot be discovered; those that are tracked can be read."""


class HeldError(SyncError):
    """Another sync works on the same source; the same call works when it has ended."""


class DatabaseError(SyncError):
    """The database cannot be reached or used."""


class SchemaError(DatabaseError):
    """The schema is missing, older or newer than the program."""


class ClusterError(SyncError):
    """A cluster cannot be reached, or went away; what was begun can be gone on with."""


class DestinationError(SyncError):
    """Where an export goes cannot be reached, read or written."""


class ConfigError(SyncError):
    """The configuration or the command line is wrong; a person must act."""
