"""Restoring: an archived month comes back byte for byte, or nothing of it does."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import time_machine
from pyarrow import parquet

from sync.engine.plan import request_sync
from sync.models import LoadAttempt, Trigger
from tests.support.api_clients import create_api_client, get
from tests.support.archived_month import FIRST, MONTH, NEXT_MONTH, SECOND, find_file, read_everything
from tests.support.lake import die_after
from tests.support.scripted_vendor import Listing, build_run, read_day
from usage.integrity import check_day
from usage.lake import restore as restoring
from usage.lake.archive import archive_month
from usage.lake.archive_tables import open_archive
from usage.lake.check import check_archived_day
from usage.lake.publish import publish
from usage.lake.restore import RestoringRefused, restore_month
from usage.models import EnvironmentUsage, Source, SourceDay
from usage.watermark import get_watermark

pytestmark = pytest.mark.django_db(transaction=True)


def is_archived() -> bool:
    """Return whether the month is archived as a whole."""
    return not EnvironmentUsage.objects.exists() and SourceDay.objects.filter(archived_at__isnull=False).count() == 9


def test_a_month_comes_back_byte_for_byte_and_the_lake_stays_as_it_is(month: Source) -> None:
    before = read_everything()
    assert len(before["usage_recordrevision"]) >= 6
    assert len(before["usage_resourceusage"]) == 7
    watermark = get_watermark()
    for published_at in (datetime.now(UTC), datetime.now(UTC) + timedelta(days=10)):  # and again
        archive_month(MONTH)
        assert read_everything() == {name: [] for name in before} | {"days": before["days"]}
        with time_machine.travel(published_at):
            publish()

        assert restore_month(MONTH) == 9

        assert read_everything() == before
        assert not SourceDay.objects.exclude(pruned_at=None, archived_at=None, archive_digest="").exists()
        assert [check_day(pk) for pk in SourceDay.objects.values_list("pk", flat=True)] == [[]] * 9
    changes = get(create_api_client(), "environment-usage/", updated_since=watermark.isoformat())
    assert changes["results"] == []
    published = publish()
    assert published is not None
    assert published.days == 0


def test_a_restored_day_can_be_read_again(archived_month: Source, listing: Listing) -> None:
    restore_month(MONTH)
    listing.records = {SECOND: [build_run(number, on=SECOND, minutes=75) for number in (7, *range(20, 24))]}

    assert read_day(archived_month, SECOND).outcome == LoadAttempt.Outcome.LOADED

    assert request_sync(archived_month, FIRST, NEXT_MONTH, Trigger.API) is not None
    published = publish()
    assert published is not None
    assert published.replaced == 1


def test_a_kill_at_any_step_leaves_the_month_archived(archived_month: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in ("ensure_partitions", "restore_day", "prove_days"):
        with monkeypatch.context() as patch:
            patch.setattr(restoring, step, die_after(getattr(restoring, step)))
            with pytest.raises(KeyboardInterrupt):
                restore_month(MONTH)
        assert is_archived()
    assert restore_month(MONTH) == 9


@pytest.mark.usefixtures("archived_month")
def test_a_check_finds_a_damaged_file_which_brings_nothing_back() -> None:
    for table, source, column, value in (
        ("environment_usage", "environments", "user_id", "other"),
        ("withdrawn_environment_usage", "environments", "project_id", "other"),
        ("revisions", "environments", "was", "{}"),
        ("resource_usage", "resources", "details", "no json"),
        ("scales_of_resource_usage", "resources", "consumed_quantity", 3),
    ):
        path = find_file(table, source, FIRST)
        original = path.read_bytes()
        damage(path, column, value)
        assert find_damage(source)
        with pytest.raises(RestoringRefused, match=f"{source} 2025-06-2"):
            restore_month(MONTH)
        assert is_archived()
        path.write_bytes(original)
        assert find_damage(source) == []
    damage(find_file("environment_usage", "environments", FIRST), "runtime_seconds", Decimal(1))
    assert find_damage("environments") == ["archive", "sums"], "no restore needs it, but readers of the lake do"
    assert restore_month(MONTH) == 9
    with pytest.raises(RestoringRefused, match="No day of 2025-06 is archived"):
        restore_month(MONTH)


def find_damage(source: str) -> list[str] | None:
    """Return the codes of the mismatches that a check finds in the first day of a source."""
    with open_archive() as archive:
        mismatches = check_archived_day(archive, SourceDay.objects.get(source__slug=source, day=FIRST).pk)
    return None if mismatches is None else sorted(mismatch.code for mismatch in mismatches)


def damage(path: Path, column: str, value: Any) -> None:
    """Change a column of a file."""
    rows = parquet.ParquetFile(path).read()
    field = rows.schema.field(column)
    changed = pa.array([value] * rows.num_rows, field.type)
    parquet.write_table(rows.set_column(rows.schema.get_field_index(column), field, changed), path)


def test_days_that_were_planned_after_archiving_are_archived_beside_the_others(
    archived_month: Source,
    listing: Listing,
) -> None:
    earlier = FIRST - timedelta(days=1)
    Source.objects.filter(pk=archived_month.pk).update(backfill_from=earlier)
    listing.records = {earlier: [build_run(number, on=earlier) for number in range(40, 43)]}
    read_day(archived_month, earlier)
    assert archive_month(MONTH) == 1
    assert SourceDay.objects.filter(archived_at__isnull=False).count() == 10

    assert restore_month(MONTH) == 10

    assert EnvironmentUsage.objects.filter(source=archived_month).count() == 8 + 5 + 3
