"""What an export has to write: the months that its last snapshot has not seen."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from etl.warehouse.columns import Table
from etl.warehouse.manifest import Partition, TableFiles
from etl.warehouse.position import Month, Position


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A partition that is written anew, whole."""

    table: Table
    month: Month
    prices: str | None


@dataclass(slots=True)
class Plan:
    """What stays as it is, by table, and what is written."""

    kept: dict[str, list[Partition]] = field(default_factory=dict)
    wanted: list[Wanted] = field(default_factory=list)


def plan(
    position: Position,
    before: Mapping[str, TableFiles],
    tables: Iterable[Table],
    *,
    months_of: Callable[[Table], Iterable[Month]],
    standing: Mapping[str, int],
    is_dropped: Callable[[Month], bool],
) -> Plan:
    """Choose by table and month; `standing` are the place's files and their sizes.

    `months_of` tells a table's months, and which of them its own last export has seen.
    A month whose rows were dropped by hand stays as it was exported: nothing was
    noted of it, and `is_dropped` tells it where only prices have changed.
    """
    made = Plan()
    for table in tables:
        old = before.get(table.name, TableFiles()).by_key
        kept = made.kept[table.name] = []
        for month in months_of(table):
            wanted = Wanted(
                table=table, month=month, prices=_prices(position, table, month)
            )
            had = old.pop((month.source, month.name), None)
            if had is None or not _stands(had, standing) or not _is_seen(had, month):
                made.wanted.append(wanted)
            elif had.prices == wanted.prices or is_dropped(month):
                kept.append(had)
            else:
                made.wanted.append(wanted)
        kept += _unnoted(old.values(), position, standing)
    return made


def _prices(position: Position, table: Table, month: Month) -> str | None:
    if not table.is_priced:
        return None
    return position.prices.get((month.source_id, month.day), "")


def _is_seen(had: Partition, month: Month) -> bool:
    """Whether the files hold what the tables do.

    Whoever changes a month waits for the one before to end, so the last one that is
    seen stands for all: it must be the one that the files were written after. Both are
    asked: a standby's snapshot does not name the transactions that are under way.
    """
    return (
        month.is_seen
        and had.change_xid == month.change_xid
        and had.source_id == month.source_id
    )


def _stands(had: Partition, standing: Mapping[str, int]) -> bool:
    """Whether all files of a partition are there, and as long as they were."""
    return all(standing.get(file.path) == file.bytes for file in had.files)


def _unnoted(
    left: Iterable[Partition], position: Position, standing: Mapping[str, int]
) -> Iterator[Partition]:
    """Partitions that the database knows nothing of any more, of sources it knows.

    A source that was renamed has moved with its months, whoever has its name now.
    """
    return (
        each
        for each in left
        if each.source_id is not None
        and position.sources.get(each.source_id) == each.source
        and _stands(each, standing)
    )
