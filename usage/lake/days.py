"""The rows of the table `days`, and the days that differ from it.

A row of `days` describes one source day. `digest` is that of the manifest of an export of the day
(usage/exports/manifest.py): a reader computes it from the columns `id` and `revision`. `revision` counts how often the
records were published; it grows when they have changed. `stored_digest` is the portal's own (usage/stored.py).
"""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from django.db.models import DateField, F, Q, QuerySet
from django.db.models.functions import Cast, TruncMonth
from pyiceberg.table import Table

from usage.columns import build_select
from usage.data_quality import VENDOR_KINDS
from usage.days import first_of_next_month
from usage.lake.catalog import DAYS_SCHEMA
from usage.lake.files import Key
from usage.models import KIND_NAMES, SourceDay, UsageRecord
from usage.snapshot import Snapshot
from usage.stored import RECORD_DIGEST, format_digest

Row = dict[str, Any]
# Read from PostgreSQL, and the same in the lake unless a day has changed.
DESCRIBED: Final = DAYS_SCHEMA.names[3:-3]
# While these are the same, so are the records.
SIGNS: Final = ("stored_digest", "loaded_at", "records")
PATHS: Final = {
    "accepted": Q(accepted_at__isnull=False),
    "suspect": Q(suspicion__isnull=False),
    "mismatched": Q(mismatch__isnull=False),
}


@dataclass(frozen=True, slots=True)
class DayChange:
    """A day that differs from the lake: its new row, and what its records are selected by, where they have changed."""

    row: Row
    kind: type[UsageRecord]
    records: QuerySet[Any] | None

    @property
    def key(self) -> Key:
        return self.row["source"], self.row["day"]


def read_days(days: Table, month: date) -> dict[Key, Row]:
    """Return the rows of the table `days` of a month."""
    if days.current_snapshot() is None:
        return {}
    rows = days.scan(f"day >= '{month}' AND day < '{first_of_next_month(month)}'").to_arrow().to_pylist()
    return {(row["source"], row["day"]): row for row in rows}


def find_changes(snapshot: Snapshot, days: Table, now: datetime) -> Iterator[DayChange]:
    """Yield the days that differ from the lake, the latest months first; one month of days is in memory.

    A day enters the lake once it was read to its end, or a person has accepted what was wrong with it, and then stays
    what PostgreSQL has. A day whose records were pruned stays as it was published.
    """
    for month in list_stored_months(snapshot):
        published = read_days(days, month)
        for source_id, kind, row in read_known_days(snapshot, month, now):
            if change := build_change(snapshot, kind, source_id, published.get((row["source"], row["day"])), row):
                yield change


def renew_days(snapshot: Snapshot, days: Table, month: date, sources: Set[str], now: datetime) -> Iterator[DayChange]:
    """Yield the stored days of a month of these sources, to be published whatever the lake has of them."""
    published = read_days(days, month)
    for source_id, kind, row in read_known_days(snapshot, month, now):
        if row["source"] in sources:
            old = published.get((row["source"], row["day"]))
            records = select_records(kind, source_id, row)
            row |= {
                "digest": compute_stored_digest(snapshot, records),
                "revision": (0 if old is None else old["revision"]) + 1,
            }
            yield DayChange(row, kind, records)


def read_known_days(snapshot: Snapshot, month: date, now: datetime) -> Iterator[tuple[int, type[UsageRecord], Row]]:
    """Yield the id of the source, the kind and the row of each day of a month that was read; of known vendors."""
    for source_id, vendor, row in read_source_days(snapshot, month):
        if (kind := VENDOR_KINDS.get(vendor)) is not None:
            yield source_id, kind, row | {"kind": KIND_NAMES[kind], "published_at": now}


def build_change(
    snapshot: Snapshot, kind: type[UsageRecord], source_id: int, old: Row | None, row: Row
) -> DayChange | None:
    """Return the change of a day against its row in the lake; None where they agree, or the day is not published."""
    if (old is None and not (row["complete"] or row["accepted"])) or (old is not None and is_same(old, row, DESCRIBED)):
        return None
    if old is not None and is_same(old, row, SIGNS):
        return DayChange(old | row, kind, None)
    records = select_records(kind, source_id, row)
    digest = compute_stored_digest(snapshot, records)
    has_changed = old is None or digest != old["digest"]
    row |= {"digest": digest, "revision": (0 if old is None else old["revision"]) + has_changed}
    return DayChange(row, kind, records if has_changed else None)


def is_same(old: Row, new: Row, names: Iterable[str]) -> bool:
    """Return whether two rows agree in these columns."""
    return all(old[name] == new[name] for name in names)


def list_stored_months(snapshot: Snapshot) -> list[date]:
    """Return the months that have days which were read and not pruned, the latest first."""
    days = SourceDay.objects.readable().filter(loaded_at__isnull=False)
    months = days.annotate(month=Cast(TruncMonth("day"), DateField())).order_by("-month").distinct()
    statement = build_select(months, ["month"])
    return [month for (month,) in snapshot.fetch(statement.sql, statement.params)]


def read_source_days(snapshot: Snapshot, month: date) -> Iterator[tuple[int, str, Row]]:
    """Yield the id of the source, its vendor and the row of PostgreSQL for each day of a month that was read."""
    names = ["source", "day", *DESCRIBED]
    days = (
        SourceDay.objects.readable()
        .filter(loaded_at__isnull=False, day__gte=month, day__lt=first_of_next_month(month))
        .annotate(slug=F("source__slug"), vendor=F("source__vendor"))
        .order_by("-day", "slug")
    )
    paths = ["slug", *names[1:]]
    for name, condition in PATHS.items():
        days = days.annotate(**{f"is_{name}": condition})
        paths[names.index(name)] = f"is_{name}"
    statement = build_select(days, ["source_id", "vendor", *paths])
    for source_id, vendor, *values in snapshot.fetch(statement.sql, statement.params):
        yield source_id, vendor, dict(zip(names, values, strict=True))


def select_records(kind: type[UsageRecord], source_id: int, row: Row) -> QuerySet[Any]:
    """Return the current records of a day, those of an export of it; withdrawn records are left out."""
    records = kind.objects.current().filter(source_id=source_id, day=row["day"])
    if kind.instant != "day":
        bounds = {f"{kind.instant}__gte": row["starts_at"], f"{kind.instant}__lt": row["ends_at"]}
        records = records.filter(**bounds)
    return records.order_by(kind.instant, "pk")


def compute_stored_digest(snapshot: Snapshot, records: QuerySet[Any]) -> str:
    """Return the digest of the manifest of these records as PostgreSQL has them."""
    inner = build_select(records.order_by(), ["id", "revision"])
    sql = f"SELECT coalesce(sum({RECORD_DIGEST}), 0) FROM ({inner.sql}) AS t (id, revision)"  # noqa: S608 (our own names)
    ((total,),) = snapshot.fetch(sql, inner.params)
    return format_digest(total)
