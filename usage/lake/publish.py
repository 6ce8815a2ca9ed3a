"""Publish the changes since the last round: one commit a table, `days` last, and the tag of the calendar day.

The order keeps the tables consistent. The tables of usage are committed first. The commit of `days` then names their
snapshots and sets the tag of the day; tags of the other tables follow from what it names. A publisher that is killed
in between leaves tables of usage that are ahead of `days`, and the next publisher publishes the same days again.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import Final

import pyarrow as pa
import structlog
from django.conf import settings
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.update.snapshot import ManageSnapshots

from usage.exports.copy import ExportQuery
from usage.exports.formats.parquet import build_schema, read_tables
from usage.lake import LakeUnavailable, maintenance
from usage.lake.catalog import DAYS_SCHEMA, Lake, get_lake_columns, get_table_name, open_lake
from usage.lake.days import DayChange, Row, find_changes, read_days, renew_days
from usage.lake.files import Key, commit_files, exchange_files, list_files, renew_files, write_file
from usage.lake.tags import SNAPSHOT_OF, align_tags, get_tag_age, name_tag
from usage.locks import open_lock_transaction
from usage.snapshot import Snapshot, open_snapshot

logger = structlog.get_logger(__name__)

PUBLISHER_LOCK: Final = 1_937_011_823
BUSY: Final = "Another process is publishing; try again later."
# Limits of one commit; the remaining days follow in the next.
MAX_DAYS: Final = 1000
MAX_ROWS: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Published:
    """The result of a round: rows of `days` written, days whose records were replaced, and their records."""

    days: int = 0
    replaced: int = 0
    records: int = 0
    more: bool = False


def publish(*, only_if_due: bool = False) -> Published | None:
    """Publish one round; None where another publisher is at work, or with `only_if_due` the last round is recent."""
    with hold_lock() as is_held:
        if not is_held:
            return None
        with open_lake() as lake:
            now = datetime.now(UTC)
            if only_if_due and not is_due(lake.days, now):
                return None
            maintenance_due = maintenance.is_due(lake, now)
            published = publish_changes(lake, now)
            tag_day(lake, now)
            if maintenance_due:
                maintenance.maintain(lake, now)
    logger.info("lake published", days=published.days, replaced=published.replaced, records=published.records)
    return published


@contextmanager
def hold_lock() -> Iterator[bool]:
    """Hold the lock of the publisher for the block; yields False where another process has it.

    The state to publish is read once the lock is granted.
    """
    with open_lock_transaction() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [PUBLISHER_LOCK])
        yield bool(cursor.fetchone()[0])


@contextmanager
def require_lock() -> Iterator[None]:
    """Hold the lock of the publisher for the block; raises LakeUnavailable where another process has it."""
    with hold_lock() as is_held:
        if not is_held:
            raise LakeUnavailable(BUSY)
        yield


def is_due(days: Table, now: datetime) -> bool:
    """Return whether the last commit is long enough ago."""
    snapshot = days.current_snapshot()
    if snapshot is None:
        return True
    age = now - datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
    return age >= timedelta(minutes=settings.PORTAL_LAKE_MINUTES)


def publish_changes(lake: Lake, now: datetime) -> Published:
    """Publish the days that differ, up to the limits of one commit."""
    with open_snapshot() as snapshot:
        pending = find_changes(snapshot, lake.days, now)
        changes = take_round(pending)
        replace_days(lake, changes, snapshot)
        more = len(changes) > 0 and next(pending, None) is not None
    if changes:
        write_days(lake, changes, now)
    replaced = [change for change in changes if change.records is not None]
    return Published(len(changes), len(replaced), sum(change.row["records"] for change in replaced), more)


def take_round(pending: Iterator[DayChange]) -> list[DayChange]:
    """Return the first changes, up to the limits of one commit."""
    changes, rows = [], 0
    for change in islice(pending, MAX_DAYS):
        changes.append(change)
        rows += change.row["records"] if change.records is not None else 0
        if rows >= MAX_ROWS:
            break
    return changes


def publish_again(lake: Lake, month: date, sources: Set[str]) -> None:
    """Publish the stored days of a month of these sources, whatever the lake has of them; the caller has the lock."""
    now = datetime.now(UTC)
    with open_snapshot() as snapshot:
        changes = list(renew_days(snapshot, lake.days, month, sources, now))
        replace_days(lake, changes, snapshot)
    write_days(lake, changes, now)
    tag_day(lake, now)


def publish_all() -> None:
    """Publish until nothing differs; raises LakeUnavailable where another publisher is at work."""
    while (published := publish()) is not None:
        if not published.more:
            return
    raise LakeUnavailable(BUSY)


def replace_days(lake: Lake, changes: Sequence[DayChange], snapshot: Snapshot) -> None:
    """Replace the days whose records have changed, those of a kind in one commit."""
    for kind, table in lake.usage.items():
        replaced = {change.key: change for change in changes if change.kind is kind and change.records is not None}
        if replaced:
            schema = build_schema(get_lake_columns(kind))
            new_files = (write_day(table, schema, change, snapshot) for change in replaced.values())
            commit_files(table, *renew_files(table, schema, replaced.keys(), new_files))


def write_day(table: Table, schema: pa.Schema, change: DayChange, snapshot: Snapshot) -> DataFile | None:
    """Write the records of a day to a file, batch by batch."""
    assert change.records is not None  # noqa: S101
    query = ExportQuery(snapshot, change.records, get_lake_columns(change.kind))
    return write_file(table, schema, read_tables(query, schema))


def write_days(lake: Lake, changes: Sequence[DayChange], now: datetime) -> None:
    """Rewrite the months of `days` that have changes, and set the tag of the calendar day in the same commit."""
    months: dict[date, dict[Key, Row]] = {}
    for change in changes:
        months.setdefault(change.row["day"].replace(day=1), {})[change.key] = change.row
    old = [file for file in list_files(lake.days) if get_month(file) in months]
    new = [write_month(lake.days, (read_days(lake.days, month) | rows).values()) for month, rows in months.items()]
    commit_days(lake, old, [file for file in new if file is not None], now)


def get_month(file: DataFile) -> date:
    """Return the first day of the month of a file of `days`."""
    months = file.partition[0]
    return date(1970 + months // 12, months % 12 + 1, 1)


def write_month(table: Table, rows: Iterable[Row]) -> DataFile | None:
    """Write a month of `days`."""
    ordered = sorted(rows, key=lambda row: (row["day"], row["source"]))
    return write_file(table, DAYS_SCHEMA, pa.Table.from_pylist(ordered, DAYS_SCHEMA).to_batches())


def commit_days(lake: Lake, old: Iterable[DataFile], new: Iterable[DataFile], now: datetime) -> None:
    """Exchange files of `days`, name the snapshots that the rows describe, and tag the new one."""
    properties = {
        SNAPSHOT_OF + get_table_name(kind): str(snapshot.snapshot_id)
        for kind, table in lake.usage.items()
        if (snapshot := table.current_snapshot()) is not None
    }
    with lake.days.transaction() as staged:
        snapshot_id = exchange_files(lake.days, staged, old, new, properties)
        with ManageSnapshots(staged) as manage:
            manage.create_tag(snapshot_id, name_tag(now), max_ref_age_ms=get_tag_age())


def tag_day(lake: Lake, now: datetime) -> None:
    """Set today's tag where it is missing, and the tags of `days` on every table."""
    snapshot = lake.days.current_snapshot()
    if snapshot is None:
        return
    if name_tag(now) not in lake.days.metadata.refs:
        lake.days.manage_snapshots().create_tag(
            snapshot.snapshot_id, name_tag(now), max_ref_age_ms=get_tag_age()
        ).commit()
    align_tags(lake)
