"""Maintenance: old snapshots and their files go, closed months are compacted, and no answer changes by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from tests.support.lake import assert_lake_matches, export_rows, list_old_columns, read_usage, report_and_read
from tests.support.scripted_vendor import DAY, Listing
from usage.lake import files, maintenance
from usage.lake.catalog import Lake, open_lake
from usage.lake.files import list_files
from usage.lake.publish import publish
from usage.lake.tags import list_tags
from usage.models import KINDS, EnvironmentUsage, Source

pytestmark = pytest.mark.django_db(transaction=True)
# Files that are written now are older than a day by then; at noon, so that some hours later are of the same day.
LATER = datetime.now(UTC).replace(hour=12) + timedelta(days=10)


@pytest.fixture(autouse=True)
def folder(lake_folder: Path) -> Path:
    """The folder of the lake."""
    return lake_folder


@contextmanager
def publish_at(instant: datetime) -> Iterator[Lake]:
    """Publish at an instant, and open the lake."""
    with time_machine.travel(instant):
        publish()
    with open_lake() as lake:
        yield lake


def list_data(folder: Path) -> set[Path]:
    return set((folder / "usage/environment_usage/data").rglob("*.parquet"))


def test_old_snapshots_tags_and_their_files_go(source: Source, listing: Listing, folder: Path, settings: Any) -> None:
    settings.PORTAL_LAKE_TAG_DAYS = 3
    for number in range(3):
        report_and_read(source, listing, DAY, range(5), minutes=30 + number)
        with publish_at(LATER + timedelta(hours=number)) as lake:
            pass
    expected = export_rows(EnvironmentUsage)
    (folder / "usage/environment_usage/data/left-by-a-killed-publisher.parquet").write_bytes(b"PAR1")
    report_and_read(source, listing, DAY, range(5), minutes=50)
    with publish_at(LATER + timedelta(days=2)) as lake:
        table = lake.usage[EnvironmentUsage]
        assert len(list_data(folder)) == len(table.snapshots()) == 2
        assert read_usage(lake, EnvironmentUsage, LATER.date().isoformat()) == expected
    report_and_read(source, listing, DAY, range(5), minutes=51)
    with publish_at(LATER + timedelta(days=5)) as lake:
        day = (LATER + timedelta(days=2)).date()
        assert set(list_tags(lake.days)) == {day.isoformat(), (day + timedelta(days=3)).isoformat()}
    with publish_at(LATER + timedelta(days=7)) as lake:
        table = lake.usage[EnvironmentUsage]
        assert len(list_data(folder)) == len(table.snapshots()) == 1
    assert_lake_matches()


def test_a_file_that_a_publisher_is_about_to_commit_stays(source: Source, listing: Listing, folder: Path) -> None:
    report_and_read(source, listing, DAY, range(5))
    with publish_at(datetime.now(UTC)) as lake:
        new_file = folder / "usage/environment_usage/data/young.parquet"
        new_file.write_bytes(b"PAR1")
        assert maintenance.remove_orphans(lake.usage[EnvironmentUsage], datetime.now(UTC) - timedelta(days=1)) == 0
    assert new_file.exists()


def test_nothing_is_removed_where_the_lake_is_not_what_its_metadata_says(
    source: Source, listing: Listing, folder: Path
) -> None:
    report_and_read(source, listing, DAY, range(5))
    with publish_at(LATER) as lake:
        (data,) = list_data(folder)
        data.rename(folder / "usage/environment_usage/data/elsewhere.parquet")
        with pytest.raises(RuntimeError, match="1 files of the lake"):
            maintenance.remove_orphans(lake.usage[EnvironmentUsage], LATER)
    assert (folder / "usage/environment_usage/data/elsewhere.parquet").exists()


def test_closed_months_are_compacted_and_can_still_be_restated(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "COMPACTED_ROWS", 7)
    for number in range(5):
        report_and_read(source, listing, DAY + timedelta(days=number), range(number * 10, number * 10 + 3))
    with publish_at(datetime(2026, 12, 31, tzinfo=UTC)) as lake:
        assert len(list_files(lake.usage[EnvironmentUsage])) == 5
    with publish_at(datetime(2027, 1, 1, tzinfo=UTC)) as lake:
        assert [file.record_count for file in list_files(lake.usage[EnvironmentUsage])] in ([6, 6, 3], [3, 6, 6])
    assert_lake_matches()
    report_and_read(source, listing, DAY + timedelta(days=1), range(10, 13), minutes=55)
    with publish_at(datetime(2027, 1, 1, 12, tzinfo=UTC)) as lake:
        assert sorted(file.record_count for file in list_files(lake.usage[EnvironmentUsage])) == [3, 3, 3, 6]
    assert_lake_matches()


def test_manifests_are_gathered_so_that_a_reader_opens_few(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_MANIFESTS", 2)
    counts = []
    for number in range(4):
        report_and_read(source, listing, date(2026, 11, 3 + number), range(number * 10, number * 10 + 2))
        with publish_at(datetime.now(UTC)) as lake:
            table = lake.usage[EnvironmentUsage]
            current = table.current_snapshot()
            assert current is not None
            manifests = [
                manifest
                for manifest in current.manifests(table.io)
                if manifest.added_files_count or manifest.existing_files_count
            ]
            counts.append(len(manifests))
    assert max(counts) <= 3
    assert_lake_matches()


def test_manifests_of_files_that_went_go_too(source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_MANIFESTS", 2)
    monkeypatch.setattr(maintenance, "MAX_MANIFESTS", 2)
    counts = []
    for number in range(6):
        report_and_read(source, listing, DAY, range(number + 1))
        with publish_at(LATER + timedelta(days=number)) as lake:
            for table in (lake.usage[EnvironmentUsage], lake.days):
                current = table.current_snapshot()
                assert current is not None
                counts.append(len(current.manifests(table.io)))
            # The tags of that day lead to what was known then.
            tag = (LATER + timedelta(days=number)).date().isoformat()
            assert len(read_usage(lake, EnvironmentUsage, tag)) == number + 1
    assert max(counts) <= 4
    assert_lake_matches()


def test_a_new_column_is_null_in_the_days_of_old_files(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    next_day, published_at = DAY + timedelta(days=1), LATER + timedelta(days=90)
    report_and_read(source, listing, DAY, range(3))
    report_and_read(source, listing, next_day, range(10, 13))
    with monkeypatch.context() as release:
        for module in ("catalog", "publish", "maintenance"):
            release.setattr(f"usage.lake.{module}.get_lake_columns", list_old_columns)
        with publish_at(published_at) as lake:
            assert len(list_files(lake.usage[EnvironmentUsage])) == 1
    report_and_read(source, listing, DAY, range(3), minutes=50, runner_id="runner")

    with publish_at(published_at + timedelta(days=1)) as lake:
        rows = read_usage(lake, EnvironmentUsage)

    assert [(row["day"], row["runner_id"]) for row in rows] == [(DAY, "runner")] * 3 + [(next_day, None)] * 3


def test_a_damaged_file_of_one_table_keeps_no_other_from_its_upkeep(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_and_read(source, listing, DAY, range(3))
    table_names: list[str] = []
    monkeypatch.setattr(maintenance, "compact", break_off)
    monkeypatch.setattr(maintenance, "clean_up", lambda table, now: table_names.append(table.name()[-1]))
    with pytest.raises(ExceptionGroup, match="not maintained as a whole") as error:
        publish()
    assert len(error.value.exceptions) == len(KINDS)
    assert len(table_names) == len(KINDS) + 1


def break_off(*_: object) -> None:
    """Fail as a damaged file does."""
    raise OSError
