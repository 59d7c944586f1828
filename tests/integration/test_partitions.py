"""Months that many processes need at the same moment."""

import threading
from datetime import date

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from etl.domain.run import SECOND, Instant
from etl.load.partitions import Partitions
from tests.integration.builders import NOW, NOW_SECONDS, query

PATIENCE = 30.0  # never decides a test, ends one that hangs
WAITING = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
MONTH = "SELECT to_regclass('run_history.runs_2026_10') IS NOT NULL"


def test_a_month_that_another_process_makes_meanwhile_is_there(
    swept_engine: Engine,
) -> None:
    in_october = Instant((NOW_SECONDS - 30 * 86_400) * SECOND)
    errors: list[BaseException] = []

    def prepare() -> None:
        try:
            with swept_engine.connect() as connection:
                Partitions().prepare(connection, [in_october], now=NOW)
        except BaseException as error:
            errors.append(error)

    second = threading.Thread(target=prepare)
    with swept_engine.connect() as first, first.begin():
        first.execute(sa.select(sa.func.run_sync.make_month(date(2026, 10, 1))))
        second.start()
        while query(swept_engine, WAITING) == [] and second.is_alive():
            second.join(0.01)
    second.join(PATIENCE)

    assert errors == []
    assert query(swept_engine, MONTH) == [(True,)]
