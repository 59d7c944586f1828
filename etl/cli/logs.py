"""Logs on standard error: one line for each thing that happened, with its facts."""

import json
import logging
import math
import re
import sys
from datetime import UTC, datetime
from enum import StrEnum

from etl.cli.terminal import complain
from etl.domain.errors import ConfigError

PRODUCT = logging.getLogger("etl")

SCHEDULER = logging.getLogger("apscheduler")
"""What it warns of is news for an operator; all else that it says is not."""

NOTICES = logging.getLogger("etl.wiring.tracing")
"""Its warnings are sentences that stand in no report: they are told without a log too."""

SILENT = logging.CRITICAL + 1

OWN = {*logging.makeLogRecord({}).__dict__, "message", "asctime"}
"""What every record has; the rest are its fields."""

WIDEST_MESSAGE = len("source unavailable")

BARE = re.compile(r'[^\s"=]+')
"""A text that needs no quotes."""


class LogFormat(StrEnum):
    """How a line is written; `auto` is text at a terminal, else JSON."""

    TEXT = "text"
    JSON = "json"
    AUTO = "auto"
    OFF = "off"


class LogLevel(StrEnum):
    """The least that is told."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def format_of(text: str) -> LogFormat:
    """Read a format; raises ConfigError where there is none of this name."""
    try:
        return LogFormat(text)
    except ValueError as error:
        raise ConfigError(
            f"The log format (--log-format, RUNTIDE_LOG_FORMAT) is {text!r}; write text,"
            " json, auto or off."
        ) from error


def level_of(text: str) -> LogLevel:
    """Read a level; raises ConfigError where there is none of this name."""
    try:
        return LogLevel(text)
    except ValueError as error:
        raise ConfigError(
            f"The log level (--log-level, RUNTIDE_LOG_LEVEL) is {text!r}; write debug,"
            " info, warning or error."
        ) from error


def set_up(
    chosen: LogFormat | None,
    level: LogLevel | None,
    *,
    default: LogFormat = LogFormat.AUTO,
    with_tracebacks: bool = False,
) -> None:
    """Write logs to standard error, in place of what was set up before.

    Where no format is chosen, the command's `default` holds; but who asks for a
    level asks for logs.
    """
    match _resolved(chosen, level, default):
        case LogFormat.OFF:
            _install(_Sentences(), SILENT)
            NOTICES.setLevel(logging.WARNING)
        case LogFormat.TEXT:
            _write(TextLines(with_tracebacks=with_tracebacks), level)
        case LogFormat.JSON | LogFormat.AUTO:
            _write(JsonLines(with_tracebacks=with_tracebacks), level)


def fill_the_terminal() -> bool:
    """Whether logs appear where a progress bar would."""
    return PRODUCT.isEnabledFor(logging.CRITICAL) and sys.stderr.isatty()


def _resolved(
    chosen: LogFormat | None, level: LogLevel | None, default: LogFormat
) -> LogFormat:
    if chosen is None:
        is_asked_for = level is not None and default is LogFormat.OFF
        chosen = LogFormat.AUTO if is_asked_for else default
    if chosen is LogFormat.AUTO:
        return LogFormat.TEXT if sys.stderr.isatty() else LogFormat.JSON
    return chosen


def _write(lines: logging.Formatter, level: LogLevel | None) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines)
    _install(handler, logging.getLevelNamesMapping()[(level or LogLevel.INFO).upper()])


def _install(handler: logging.Handler, level: int) -> None:
    NOTICES.setLevel(logging.NOTSET)
    for logger, least in ((PRODUCT, level), (SCHEDULER, max(level, logging.WARNING))):
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(least)


class _Sentences(logging.Handler):
    """Warnings as a command tells them that keeps no log."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(record.getMessage())


class _Lines(logging.Formatter):
    """One record on one line, whatever its fields hold."""

    def __init__(self, *, with_tracebacks: bool) -> None:
        super().__init__()
        self._with_tracebacks = with_tracebacks

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        """The facts of a record; one that is not known is left out."""
        found = {
            name: plain(value)
            for name, value in vars(record).items()
            if name not in OWN and value is not None
        }
        if self._with_tracebacks and record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return found


class JsonLines(_Lines):
    """A JSON object a line; pure ASCII, so that nothing in a value can break it."""

    def format(self, record: logging.LogRecord) -> str:
        about = {
            "time": moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(about | self.fields(record) | about)  # about it first, and last


class TextLines(_Lines):
    """The same for people: time, level, message, then `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        message = escaped(record.getMessage())
        fields = self.fields(record).items()
        facts = [f"{escaped(name)}={in_text(value)}" for name, value in fields]
        about = f"{moment(record)}  {record.levelname:<7}  {message:<{WIDEST_MESSAGE}}"
        return "  ".join([about, " ".join(facts)]).rstrip()


def moment(record: logging.LogRecord) -> str:
    """When it was, in UTC, as RFC 3339 writes it."""
    told = datetime.fromtimestamp(record.created, UTC)
    return told.isoformat(timespec="microseconds").replace("+00:00", "Z")


def plain(value: object) -> object:
    """A value that JSON has; any other becomes text."""
    match value:
        case bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case list() | tuple():
            return [None if each is None else plain(each) for each in value]
        case _:
            return str(value)


def in_text(value: object) -> str:
    """A value in a line of text; in quotes, unless it is one word."""
    match value:
        case str():
            return value if is_bare(value) else quoted(value)
        case _:
            return json.dumps(value)


def is_bare(text: str) -> bool:
    """Whether a text can stand without quotes."""
    return BARE.fullmatch(text) is not None and text.isprintable()


def quoted(text: str) -> str:
    """A text in quotes; what a terminal might obey is escaped."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def escaped(text: str) -> str:
    """A text without quotes, as `quoted` escapes it."""
    return text if text.isprintable() else quoted(text)[1:-1]
