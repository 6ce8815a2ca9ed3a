"""Publishing: the lake has exactly the records of complete days, whatever happened to them and to the publisher."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connections
from pyiceberg.exceptions import CommitFailedException

from tests.support.lake import (
    assert_lake_matches,
    die_after,
    export_rows,
    read_all_days,
    read_usage,
    report_and_read,
    sort_rows,
    store_or_restore_lake,
)
from tests.support.scripted_vendor import DAY, Listing, build_run, make_source, read_day
from usage.lake import files
from usage.lake import publish as publishing
from usage.lake.catalog import open_lake
from usage.lake.publish import hold_lock, publish
from usage.models import EnvironmentUsage, Source, SourceDay

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("lake_folder")]
NEXT = DAY + timedelta(days=1)


@pytest.fixture
def campaign(lake_folder: Path, listing: Listing) -> Source:
    """Two published days, then restated, withdrawn, returned and moved records, a new day, and a second source."""
    store_or_restore_lake(lake_folder, "campaign", lambda: publish_campaign(listing))
    listing.records.clear()
    return Source.objects.get(slug="scripted")


def publish_campaign(listing: Listing) -> None:
    """Sync and publish the days of the campaign."""
    source, second_source = make_source(), make_source("a-source-with-a-long-name")
    for published_source in (source, second_source):
        report_and_read(published_source, listing, DAY, range(30))
        report_and_read(published_source, listing, NEXT, range(100, 130))
    publish()
    report_and_read(source, listing, DAY, range(3, 33), minutes=45)  # three vanish, three are new, all others differ
    publish()
    report_and_read(source, listing, DAY, range(33), minutes=45)  # those return
    listing.records[NEXT] = [build_run(number, on=NEXT) for number in (*range(100, 130), 7)]
    read_day(source, NEXT)  # run 7 moves here
    report_and_read(second_source, listing, NEXT + timedelta(days=1), range(200, 205))
    report_and_read(second_source, listing, DAY, range(0))  # what the guard holds back changes nothing
    publish()


def test_the_lake_equals_the_export_after_restatements_withdrawals_and_moves(campaign: Source) -> None:
    assert EnvironmentUsage.objects.filter(day=DAY, record_id="run-7", source=campaign).count() == 0
    assert_lake_matches()


def test_duckdb_and_polars_read_what_pyiceberg_reads(campaign: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    expected = export_rows(EnvironmentUsage)
    with open_lake() as lake:
        table = lake.usage[EnvironmentUsage]
        usage = table.scan().to_arrow()
        duckdb_rows = duckdb.sql("SET TimeZone = 'UTC'; SELECT * FROM usage").to_arrow_table()
        assert sort_rows(duckdb_rows.cast(usage.schema)) == expected
        assert sort_rows(pl.scan_iceberg(table).collect().to_arrow().cast(usage.schema)) == expected


def test_a_day_that_did_not_change_is_not_written_again(campaign: Source) -> None:
    with open_lake() as lake:
        before = lake.usage[EnvironmentUsage].current_snapshot()
    read_day(campaign, DAY)
    published = publish()
    assert published is not None
    assert (published.days, published.replaced) == (1, 0)
    with open_lake() as lake:
        assert lake.usage[EnvironmentUsage].current_snapshot() == before
        days = lake.days.current_snapshot()
    published = publish()
    assert published is not None
    assert published.days == 0
    with open_lake() as lake:
        assert lake.days.current_snapshot() == days


def test_a_day_read_back_has_the_digest_that_days_tells(campaign: Source) -> None:
    with open_lake() as lake:
        rows = read_all_days(lake)
        for (slug, on), day_row in rows.items():
            records = lake.usage[EnvironmentUsage].scan(f"source = '{slug}' AND day = '{on}'").to_arrow().to_pylist()
            digests = (md5(f"{row['id']}:{row['revision']}".encode()).hexdigest()[:16] for row in records)
            assert f"{sum(int(digest, 16) for digest in digests) % 2**64:016x}" == day_row["digest"]
        assert rows[campaign.slug, DAY]["revision"] == 3


def test_an_incomplete_day_is_left_out_until_it_is_complete_or_accepted(source: Source, listing: Listing) -> None:
    report_and_read(source, listing, DAY, range(3))
    report_and_read(source, listing, NEXT, range(100, 103))
    SourceDay.objects.update(complete=False)
    publish()
    with open_lake() as lake:
        assert read_all_days(lake) == {}
    accepted = {"accepted_at": datetime.now(UTC), "accepted_reason": "Known at the vendor.", "findings": "f"}
    SourceDay.objects.filter(day=NEXT).update(**accepted)
    publish()
    with open_lake() as lake:
        assert {on: (row["complete"], row["accepted"]) for (_, on), row in read_all_days(lake).items()} == {
            NEXT: (False, True)
        }
    SourceDay.objects.update(complete=True)
    publish()
    assert_lake_matches()


def test_records_of_pruned_days_stay_in_the_lake(source: Source, listing: Listing) -> None:
    report_and_read(source, listing, DAY, range(3))
    publish()
    EnvironmentUsage.objects.all().delete()
    SourceDay.objects.update(pruned_at=datetime.now(UTC), rolled_up=True)
    publish()
    with open_lake() as lake:
        assert len(read_usage(lake, EnvironmentUsage)) == 3
        assert read_all_days(lake)[source.slug, DAY]["records"] == 3


def test_a_publisher_that_dies_leaves_a_readable_lake_and_the_next_catches_up(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_and_read(source, listing, DAY, range(5))
    publish()
    today = datetime.now(UTC).date().isoformat()
    for number, step in enumerate(["write_day", "commit_files", "write_month", "commit_days"]):
        before = export_rows(EnvironmentUsage)
        report_and_read(source, listing, DAY, range(number, 6), minutes=50 + number)
        after = export_rows(EnvironmentUsage)
        with monkeypatch.context() as patch:
            patch.setattr(publishing, step, die_after(getattr(publishing, step)))
            with pytest.raises(KeyboardInterrupt):
                publish()
        with open_lake() as lake:
            # The tag never shows records that `days` at the same tag does not describe.
            assert read_usage(lake, EnvironmentUsage) == (before if step == "write_day" else after)
            assert read_usage(lake, EnvironmentUsage, today) == before
        publish()
        with open_lake() as lake:
            assert read_usage(lake, EnvironmentUsage) == read_usage(lake, EnvironmentUsage, today) == after
    assert_lake_matches()


def test_of_two_publishers_one_waits_for_its_next_turn(source: Source, listing: Listing) -> None:
    report_and_read(source, listing, DAY, range(3))

    def publish_elsewhere() -> object:
        try:
            return publish()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool, hold_lock() as acquired:
        assert acquired
        assert pool.submit(publish_elsewhere).result() is None
    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(publish_elsewhere) for _ in range(4)]]
    assert sum(result.replaced for result in results if result) == 1  # type: ignore[attr-defined]
    assert_lake_matches()


def test_a_publisher_that_lost_its_lock_commits_nothing(source: Source, listing: Listing) -> None:
    report_and_read(source, listing, DAY, range(3))
    with open_lake() as stale:
        published = publish()
        assert published is not None
        with pytest.raises(CommitFailedException), stale.usage[EnvironmentUsage].transaction() as staged:
            files.exchange_files(stale.usage[EnvironmentUsage], staged, [], [], {})
    assert_lake_matches()


def test_a_tag_answers_as_of_its_day_after_later_restatements(source: Source, listing: Listing) -> None:
    report_and_read(source, listing, DAY, range(10))
    with time_machine.travel(datetime(2026, 11, 5, 10, tzinfo=UTC)):
        publish()
    report_and_read(source, listing, DAY, range(12), minutes=31)
    with time_machine.travel(datetime(2026, 11, 5, 22, tzinfo=UTC)):
        publish()
    expected = export_rows(EnvironmentUsage)
    report_and_read(source, listing, DAY, range(12), minutes=99)
    with time_machine.travel(datetime(2026, 11, 7, 10, tzinfo=UTC)):
        publish()
    assert export_rows(EnvironmentUsage) != expected
    with open_lake() as lake:
        assert read_usage(lake, EnvironmentUsage, "2026-11-05") == expected
        assert read_usage(lake, EnvironmentUsage, "2026-11-07") == export_rows(EnvironmentUsage)


def test_a_round_takes_what_fits_and_the_command_takes_all(
    source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "MAX_DAYS", 2)
    for number in range(5):
        report_and_read(source, listing, DAY + timedelta(days=number), range(number * 10, number * 10 + 3))
    published = publish()
    assert published is not None
    assert (published.days, published.more) == (2, True)
    call_command("publish", verbosity=0)
    assert_lake_matches()


def test_a_tick_publishes_once_an_hour(source: Source, listing: Listing) -> None:
    report_and_read(source, listing, DAY, range(3))
    now = datetime(2026, 12, 1, 10, tzinfo=UTC)
    with time_machine.travel(now):
        assert publish(only_if_due=True) is not None
    with time_machine.travel(now + timedelta(minutes=50)):
        assert publish(only_if_due=True) is None
    with time_machine.travel(now + timedelta(minutes=61)):
        assert publish(only_if_due=True) is not None


def test_without_a_lake_nothing_is_published(settings: Any) -> None:
    settings.PORTAL_LAKE_URL = ""
    with pytest.raises(CommandError, match="PORTAL_LAKE_URL"):
        call_command("publish")
