"""A lake in a folder, fed by the made-up vendor, and what it and the portal's own export say of the same records."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from django.db import connection

from tests.support.scripted_vendor import Listing, read_day, row
from usage.data_quality import VENDOR_KINDS
from usage.exports.copy import ExportQuery
from usage.exports.formats.parquet import batch_bytes, build_schema, parse_batch
from usage.lake.catalog import Lake, get_lake_columns, open_lake
from usage.lake.days import Row
from usage.lake.files import Key
from usage.models import KINDS, EnvironmentUsage, Source, SourceDay, UsageRecord
from usage.snapshot import open_snapshot


@pytest.fixture
def lake_folder(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an empty lake; the made-up vendor reports environment usage."""
    settings.PORTAL_LAKE_URL = f"file://{tmp_path}/lake"
    monkeypatch.setitem(VENDOR_KINDS, "scripted", EnvironmentUsage)
    yield tmp_path / "lake"
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS iceberg_tables, iceberg_namespace_properties")


def store(source: Source, listing: Listing, on: date, numbers: range, **values: Any) -> None:
    """Have the vendor report runs on a day, and read it."""
    listing.records[on] = [row(number, on=on, **values) for number in numbers]
    read_day(source, on)


def read_usage(lake: Lake, kind: type[UsageRecord], tag: str = "") -> list[dict[str, Any]]:
    """Return the records of a table, by id; with `tag`, as of that day."""
    table = lake.usage[kind]
    snapshot = table.snapshot_by_name(tag) if tag else None
    return sort_rows(table.scan(snapshot_id=snapshot.snapshot_id if snapshot else None).to_arrow())


def read_all_days(lake: Lake) -> dict[Key, Row]:
    """Return all rows of `days`."""
    return {(row["source"], row["day"]): row for row in lake.days.scan().to_arrow().to_pylist()}


def sort_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return the rows of an Arrow table in the order of their ids."""
    rows: list[dict[str, Any]] = table.sort_by("id").to_pylist()
    return rows


def export_rows(kind: type[UsageRecord]) -> list[dict[str, Any]]:
    """Return what the Parquet export has of all current records of complete days, by id."""
    columns = get_lake_columns(kind)
    schema = build_schema(columns)
    with open_snapshot("default") as snapshot:
        records = ExportQuery(snapshot, kind.objects.current().order_by("pk"), columns).read_records()
        next(records)
        batches = [parse_batch(batch, schema) for batch in batch_bytes(records)]
    return sort_rows(pa.concat_tables([schema.empty_table(), *batches]))


def assert_equal() -> None:
    """The lake has what the portal has, and `days` describes it."""
    with open_lake() as lake:
        for kind in KINDS.values():
            assert read_usage(lake, kind) == export_rows(kind)
        described = read_all_days(lake)
    days = SourceDay.objects.filter(complete=True).select_related("source")
    assert {key: (row["records"], row["stored_digest"]) for key, row in described.items()} == {
        (day.source.slug, day.day): (day.records, day.stored_digest) for day in days
    }
