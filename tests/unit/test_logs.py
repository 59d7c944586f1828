"""Logs: one line for each record, whatever its fields hold; and who gets to see them."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.cli import logs
from etl.cli.logs import JsonLines, LogFormat, LogLevel, TextLines
from etl.cli.options import Options
from etl.domain.errors import ConfigError

AT = datetime(2026, 11, 22, 22, 16, 32, 450, tzinfo=UTC)

NAMES = st.text(min_size=1).filter(lambda name: name not in logs.OWN)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.decimals(),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.text()),
)


def a_record(**fields: Any) -> logging.LogRecord:
    told = {
        "name": "etl.sync",
        "levelname": "WARNING",
        "msg": "pass failed",
        "created": AT.timestamp(),
    }
    return logging.makeLogRecord(told | fields)


def as_json(*, with_tracebacks: bool = False, **fields: Any) -> str:
    return JsonLines(with_tracebacks=with_tracebacks).format(a_record(**fields))


def as_text(*, with_tracebacks: bool = False, **fields: Any) -> str:
    return TextLines(with_tracebacks=with_tracebacks).format(a_record(**fields))


def test_json_begins_with_when_how_bad_who_and_what() -> None:
    assert as_json(source="openai", pages=3, seconds=0.25, request_id=None) == (
        '{"time": "2026-11-22T22:16:32.000450Z", "level": "warning", "logger": "etl.sync",'
        ' "message": "pass failed", "source": "openai", "pages": 3, "seconds": 0.25}'
    )


def test_text_begins_with_when_how_bad_and_what() -> None:
    assert as_text(source="openai", pages=3, seconds=0.25, request_id=None) == (
        "2026-11-22T22:16:32.000450Z  WARNING  pass failed         source=openai pages=3"
        " seconds=0.25"
    )


def test_a_line_without_facts_ends_with_its_message() -> None:
    assert as_text() == "2026-11-22T22:16:32.000450Z  WARNING  pass failed"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("two words", '"two words"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        ("line\nbreak", r'"line\nbreak"'),
        ("\x1b[2J", r'"\u001b[2J"'),
        ("\u2028", r'"\u2028"'),
        ("\ud800", r'"\ud800"'),
        ("Zürich", "Zürich"),
        (True, "true"),
        ((1, "x"), '[1, "x"]'),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_text_quotes_what_is_not_one_word(value: object, written: str) -> None:
    assert as_text(field=value).partition("  field=")[2] == written


@given(st.text(), st.dictionaries(NAMES, VALUES))
def test_nothing_in_a_record_breaks_its_line_of_json(
    message: str, fields: dict[str, Any]
) -> None:
    line = as_json(**fields | {"msg": message, "args": ()})

    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line, parse_constant=pytest.fail)
    assert told["message"] == message
    assert told["time"] == "2026-11-22T22:16:32.000450Z"
    reserved = {"time", "level", "logger", "message"}
    kept = {name for name, value in fields.items() if value is not None}
    assert told.keys() == reserved | kept


@given(st.text(), st.dictionaries(NAMES, VALUES))
def test_nothing_in_a_record_breaks_its_line_of_text(
    message: str, fields: dict[str, Any]
) -> None:
    assert as_text(**fields | {"msg": message, "args": ()}).isprintable()


def fail() -> None:
    raise ValueError("two\nlines")


def an_error() -> Any:
    try:
        fail()
    except ValueError as error:
        return type(error), error, error.__traceback__
    return None


def test_a_traceback_is_one_field_and_only_where_it_is_wanted() -> None:
    exc_info = an_error()

    told = json.loads(as_json(exc_info=exc_info, with_tracebacks=True))

    assert told["exception"].startswith("Traceback (most recent call last):\n")
    assert told["exception"].endswith("\nValueError: two\nlines")
    assert "exception" not in json.loads(as_json(exc_info=exc_info))
    assert as_text(exc_info=exc_info) == as_text()
    assert as_text(exc_info=exc_info, with_tracebacks=True).isprintable()


# Who gets to see them ----------------------------------------------------------------


class Stream(StringIO):
    """Standard error, at a terminal or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.fixture
def _as_before() -> Iterator[None]:
    """Leave logging as it was."""
    loggers = logs.PRODUCT, logs.SCHEDULER, logs.NOTICES
    before = [(each.handlers, each.propagate, each.level) for each in loggers]
    yield
    for logger, (handlers, propagates, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagates
        logger.setLevel(level)


def written(
    monkeypatch: pytest.MonkeyPatch,
    chosen: LogFormat | None,
    level: LogLevel | None = None,
    *,
    default: LogFormat = LogFormat.AUTO,
    is_terminal: bool = False,
) -> list[str]:
    """What stands on standard error after a line of each level."""
    stream = Stream(is_terminal=is_terminal)
    monkeypatch.setattr("sys.stderr", stream)
    logs.set_up(chosen, level, default=default)
    logger = logging.getLogger("etl.sync.workers")
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logger.log(number, "pass ended", extra={"pages": 1})
    logging.getLogger("etl.wiring.tracing").warning("Do this.")
    logging.getLogger("apscheduler.scheduler").info("Added job")
    return stream.getvalue().splitlines()


def kinds(lines: list[str]) -> list[str]:
    return ["json" if line.startswith("{") else "text" for line in lines]


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize(
    ("chosen", "default", "is_terminal", "expected"),
    [
        (LogFormat.JSON, LogFormat.OFF, True, "json"),
        (LogFormat.TEXT, LogFormat.OFF, False, "text"),
        (LogFormat.AUTO, LogFormat.OFF, True, "text"),
        (LogFormat.AUTO, LogFormat.OFF, False, "json"),
        (None, LogFormat.AUTO, True, "text"),
        (None, LogFormat.AUTO, False, "json"),
    ],
)
def test_auto_is_text_at_a_terminal_and_json_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
    chosen: LogFormat | None,
    default: LogFormat,
    *,
    is_terminal: bool,
    expected: str,
) -> None:
    lines = written(monkeypatch, chosen, default=default, is_terminal=is_terminal)

    assert kinds(lines) == [expected] * 4
    assert logs.fill_the_terminal() is is_terminal


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize(
    ("chosen", "default"), [(None, LogFormat.OFF), (LogFormat.OFF, LogFormat.AUTO)]
)
def test_without_logs_only_what_a_person_must_know_is_told_as_a_sentence(
    monkeypatch: pytest.MonkeyPatch, chosen: LogFormat | None, default: LogFormat
) -> None:
    lines = written(monkeypatch, chosen, default=default, is_terminal=True)

    assert lines == ["runtide: Do this."]
    assert not logs.fill_the_terminal()
    assert not logging.getLogger("etl.sync.workers").isEnabledFor(logging.CRITICAL)


@pytest.mark.usefixtures("_as_before")
def test_who_asks_for_a_level_asks_for_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = written(monkeypatch, None, LogLevel.ERROR, default=LogFormat.OFF)

    assert [json.loads(line)["level"] for line in lines] == ["error"]


@pytest.mark.usefixtures("_as_before")
def test_off_is_off_whatever_the_level(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = written(monkeypatch, LogFormat.OFF, LogLevel.DEBUG)

    assert lines == ["runtide: Do this."]


@pytest.mark.usefixtures("_as_before")
def test_the_last_set_up_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    written(monkeypatch, None, default=LogFormat.OFF)

    lines = written(monkeypatch, LogFormat.JSON, LogLevel.DEBUG)

    assert [json.loads(line)["level"] for line in lines] == [
        "debug",
        "info",
        "warning",
        "error",
        "warning",
    ]


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("debug", [True, False])
def test_debug_on_the_command_line_asks_for_tracebacks(
    monkeypatch: pytest.MonkeyPatch, *, debug: bool
) -> None:
    stream = Stream(is_terminal=False)
    monkeypatch.setattr("sys.stderr", stream)
    Options(config=None, log_format=LogFormat.JSON, debug=debug).set_up_logs(
        default=LogFormat.OFF
    )

    try:
        fail()
    except ValueError:
        logging.getLogger("etl.wiring.journal").exception("sync ended")

    assert ("exception" in json.loads(stream.getvalue())) is debug


def test_a_format_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError) as caught:
        logs.format_of("xml")

    assert str(caught.value) == (
        "The log format (--log-format, RUNTIDE_LOG_FORMAT) is 'xml'; write text, json, auto"
        " or off."
    )


def test_a_level_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError) as caught:
        logs.level_of("INFO")

    assert str(caught.value) == (
        "The log level (--log-level, RUNTIDE_LOG_LEVEL) is 'INFO'; write debug, info,"
        " warning or error."
    )
