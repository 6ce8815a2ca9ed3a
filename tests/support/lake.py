"""A lake in a folder, fed by the made-up vendor, compared with the portal's own export."""

import shutil
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from django.db import connection
from django.test import override_settings

from tests.support.database import is_stored, store_or_restore
from tests.support.scripted_vendor import Listing, build_run, read_day
from usage.columns import Column
from usage.data_quality import VENDOR_KINDS
from usage.exports.copy import ExportQuery
from usage.exports.formats.parquet import build_schema, read_tables
from usage.lake.catalog import Lake, connect_catalog, get_lake_columns, open_lake
from usage.lake.days import Row
from usage.lake.files import Key
from usage.models import KINDS, EnvironmentUsage, RecipeUsage, ResourceUsage, Source, SourceDay, UsageRecord
from usage.snapshot import open_snapshot

# Metadata of a lake has the addresses of its files, so a stored lake comes back to where it was.
NAME = "the-lake"
KINDS_OF_VENDORS = {"scripted": EnvironmentUsage, "resources": ResourceUsage, "recipes": RecipeUsage}


@pytest.fixture
def lake_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an empty lake; made-up vendors report usage of each kind."""
    for vendor, kind in KINDS_OF_VENDORS.items():
        monkeypatch.setitem(VENDOR_KINDS, vendor, kind)
    with open_folder(tmp_path_factory) as folder:
        yield folder


@contextmanager
def open_folder(factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the folder of an empty lake and set PORTAL_LAKE_URL to it; the end of the block deletes it and the catalog."""
    folder = factory.getbasetemp() / NAME
    # `sync` waits for all that any process of the machine has written; no test takes its power away.
    with override_settings(PORTAL_LAKE_URL=f"file://{folder}"), patch("os.sync"):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            with connection.cursor() as cursor:
                cursor.execute("DROP TABLE IF EXISTS iceberg_tables, iceberg_namespace_properties")


def store_or_restore_lake(folder: Path, key: Hashable, create: Callable[[], object]) -> None:
    """Call `create` in an empty database with an empty lake and store both; restore both for the same key later."""
    stored_folder = folder.with_name(f"{NAME}-{key}")
    if is_stored(key):
        shutil.copytree(stored_folder, folder)
        connect_catalog().close()  # makes its tables
    store_or_restore(key, create)
    if is_stored(key) and not stored_folder.exists():
        shutil.copytree(folder, stored_folder)


def report_and_read(source: Source, listing: Listing, on: date, numbers: range, **values: Any) -> None:
    """Let the vendor report runs on a day, and read it."""
    listing.records[on] = [build_run(number, on=on, **values) for number in numbers]
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
    """Return the rows of the Parquet export of all current records, by id."""
    columns = get_lake_columns(kind)
    schema = build_schema(columns)
    with open_snapshot() as snapshot:
        tables = list(read_tables(ExportQuery(snapshot, kind.objects.current().order_by("pk"), columns), schema))
    return sort_rows(pa.concat_tables([schema.empty_table(), *tables]))


def assert_lake_matches() -> None:
    """Assert that the lake has the portal's records, and that `days` describes them."""
    with open_lake() as lake:
        for kind in KINDS.values():
            assert read_usage(lake, kind) == export_rows(kind)
        rows_by_day = read_all_days(lake)
    days = SourceDay.objects.filter(complete=True).select_related("source")
    assert {key: (row["records"], row["stored_digest"]) for key, row in rows_by_day.items()} == {
        (day.source.slug, day.day): (day.records, day.stored_digest) for day in days
    }


def list_old_columns(kind: type[UsageRecord]) -> list[Column]:
    """Return the columns of a table of usage before it had runners."""
    return [column for column in get_lake_columns(kind) if column.name != "runner_id"]


def die_after(step: Callable[..., object]) -> Callable[..., None]:
    """Return a step after which the process ends."""

    def die(*args: Any, **kwargs: Any) -> None:
        step(*args, **kwargs)
        raise KeyboardInterrupt

    return die
