"""A month with all that an archive has to restore: restated, withdrawn and moved records, unusual numbers."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.models.functions import Now

from tests.support.database import store_or_restore
from tests.support.lake import store_or_restore_lake
from tests.support.scripted_vendor import Listing, build_run, make_source, read_day
from usage.lake.archive import archive_month
from usage.lake.catalog import open_catalog
from usage.lake.files import list_files
from usage.models import KINDS, EnvironmentUsage, RecipeRow, RecipeUsage, ResourceRow, ResourceUsage, Source, SourceDay
from usage.partitions import ensure_partitions
from usage.pruning import drop_partitions

MONTH, NEXT_MONTH = date(2025, 6, 1), date(2025, 7, 1)
FIRST, SECOND, LAST = date(2025, 6, 28), date(2025, 6, 29), date(2025, 6, 30)


@pytest.fixture
def month(lake_folder: Path, listing: Listing) -> Source:
    """Three sources, one of each kind, whose last three days of June 2025 are final; returns the first."""
    return store_month("month", lambda: report_month(listing))


@pytest.fixture
def runs(lake_folder: Path, listing: Listing) -> Source:
    """The first of these sources alone."""
    return store_month("runs", lambda: report_runs(listing))


def store_month(key: str, create: Callable[[], object]) -> Source:
    """Store or restore a month; returns the source of environments."""
    for kind in KINDS.values():
        ensure_partitions(kind, FIRST, NEXT_MONTH)
    store_or_restore(key, create)
    return Source.objects.get(slug="environments")


@pytest.fixture
def archived_month(lake_folder: Path, listing: Listing) -> Source:
    """The month, archived."""
    drop_partitions(MONTH)
    store_or_restore_lake(lake_folder, "archived", lambda: report_and_archive_month(listing))
    return Source.objects.get(slug="environments")


def report_and_archive_month(listing: Listing) -> None:
    """Store and archive the month."""
    report_month(listing)
    archive_month(MONTH)


def report_month(listing: Listing) -> None:
    """Store the month."""
    listing.kind = ResourceUsage
    report_resources(listing, make_source("resources", vendor="resources", backfill_from=FIRST))
    listing.kind = RecipeUsage
    report_recipes(listing, make_source("recipes", vendor="recipes", backfill_from=FIRST))
    listing.kind = EnvironmentUsage
    report_runs(listing)
    assert SourceDay.objects.filter(final=True).count() == 9


def report_runs(listing: Listing) -> None:
    """Store runs, and finalize all days."""
    report_environments(listing, make_source("environments", backfill_from=FIRST))
    # They were provisional, so that records could be withdrawn. Now they are as if read once more, unchanged.
    Source.objects.update(look_back_days=1)
    SourceDay.objects.update(final=True, finalized_at=Now(), due_at=Now())


def report_environments(listing: Listing, source: Source) -> None:
    """Store runs that are then restated, withdrawn, returned and moved; the last day is empty."""
    odd_values: dict[str, Any] = {"user_id": "", "project_id": 'a "quoted",\nname', "extra": '{"n": 1.50, "é": null}'}
    listing.records = {
        FIRST: [*(build_run(number, on=FIRST) for number in range(8)), build_run(8, on=FIRST, **odd_values)],
        SECOND: [build_run(number, on=SECOND) for number in range(20, 24)],
    }
    for on in (FIRST, SECOND, LAST):
        read_day(source, on)
    listing.records[FIRST][0] = build_run(0, on=FIRST, minutes=45)
    del listing.records[FIRST][1:3]
    read_day(source, FIRST)
    listing.records[FIRST].append(build_run(1, on=FIRST, minutes=50))  # returns
    read_day(source, FIRST)
    listing.records[SECOND].append(build_run(7, on=SECOND))
    read_day(source, SECOND)  # run 7 moves here


def report_resources(listing: Listing, source: Source) -> None:
    """Store resources with numbers that no decimal of the lake represents exactly."""
    listing.records = {
        on: [build_resource(number, Decimal(text)) for number, text in enumerate(numbers)]
        for on, numbers in (
            (FIRST, ["1440", "1.50", "0.000", "12345678901234567890123.4500", "0.12345678901234567890"]),
            (SECOND, ["7.0"]),
            (LAST, ["8"]),
        )
    }
    for on in (FIRST, SECOND, LAST):
        read_day(source, on)
    listing.records[SECOND] = [build_resource(0, Decimal("7.250"))]
    read_day(source, SECOND)


def build_resource(number: int, quantity: Decimal) -> ResourceRow:
    """Return the row of a resource."""
    seen_at = datetime(2025, 6, 28, 1, 2, 3, 456789, tzinfo=UTC) if number else None
    return ResourceRow(
        UUID(int=number), "instance", "", quantity, "minutes", number or None, None, "", "näme", seen_at, seen_at,
        '{"flavor": "g1", "size": 10.50}', '{"team": ["a", "b"]}' if number else None,
    )  # fmt: skip


def report_recipes(listing: Listing, source: Source) -> None:
    """Store hours of recipes, with and without counts."""
    for on in (FIRST, SECOND, LAST):
        noon = datetime(on.year, on.month, on.day, 12, tzinfo=UTC)
        listing.records[on] = [
            RecipeRow(5, "", "", recipe, "", None, "", noon, noon + timedelta(hours=1), 3, count, None, 1)
            for recipe, count in ((1, 2), (2, None), (None, None))
        ]
        read_day(source, on)


def read_everything() -> dict[str, list[str]]:
    """Return all rows of the usage tables and of their revisions, byte for byte, and the days without their archive columns."""
    tables = [*(kind._meta.db_table for kind in KINDS.values()), "usage_recordrevision"]
    statements = {name: f"SELECT encode(record_send(t.*), 'hex') FROM {name} t ORDER BY 1" for name in tables}
    marks = "'pruned_at', 'archived_at', 'archive_digest', 'checked_at'"
    statements["days"] = f"SELECT (to_jsonb(t) - ARRAY[{marks}])::text FROM usage_sourceday t ORDER BY id"
    rows_by_table = {}
    with connection.cursor() as cursor:
        for name, statement in statements.items():
            cursor.execute(statement)
            rows_by_table[name] = [value for (value,) in cursor.fetchall()]
    return rows_by_table


def find_file(table: str, source: str, on: date) -> Path:
    """Return the file of a lake table that contains a day."""
    with open_catalog() as catalog:
        (file,) = list_files(catalog.load_table(("usage", table)), {(source, on)})
    return Path(file.file_path.removeprefix("file://"))
