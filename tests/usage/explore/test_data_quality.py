"""The data quality of the days of each interval: by source, in any zone, in one query."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.support.factories import SourceFactory
from usage.data_quality import IntervalQuality, assess, assess_intervals
from usage.days import Day, midnight
from usage.models import Source, SourceDay

pytestmark = pytest.mark.django_db
FIRST = date(2026, 3, 27)


def create_days(source: Source, *days: int, **changes: Any) -> None:
    """Create days of a source, by default complete and final."""
    for number in days:
        span = Day.of(FIRST + timedelta(days=number), source.zone)
        values = {"loaded_at": span.end, "complete": True, "final": True, "state": "loaded", **changes}
        SourceDay.objects.create(source=source, day=span.date, starts_at=span.start, ends_at=span.end, **values)


def cut_days(source: Source, days: int, step: int = 1) -> list[datetime]:
    """Return the midnights of so many days."""
    return [midnight(FIRST + timedelta(days=number), source.zone) for number in range(0, days + 1, step)]


def test_each_day_is_told_of_in_its_interval_and_whole_ones_are_left_out() -> None:
    source = SourceFactory(backfill_from=FIRST + timedelta(days=1))
    create_days(source, 1, 7)
    create_days(source, 2, final=False)
    create_days(source, 3, complete=False, final=False)
    create_days(source, 4, restated_at=datetime(2026, 4, 10, tzinfo=UTC))
    create_days(source, 5, loaded_at=None, complete=False, final=False)
    assert assess_intervals([source], cut_days(source, 8)) == [
        IntervalQuality(
            1, source.slug, day_count=0, early_day_count=1, missing=0, partial=0, provisional=0, restated=0
        ),
        IntervalQuality(
            3, source.slug, day_count=1, early_day_count=0, missing=0, partial=0, provisional=1, restated=0
        ),
        IntervalQuality(
            4, source.slug, day_count=1, early_day_count=0, missing=0, partial=1, provisional=1, restated=0
        ),
        IntervalQuality(
            5, source.slug, day_count=1, early_day_count=0, missing=0, partial=0, provisional=0, restated=1
        ),
        IntervalQuality(
            6, source.slug, day_count=1, early_day_count=0, missing=1, partial=0, provisional=1, restated=0
        ),
        IntervalQuality(
            7, source.slug, day_count=1, early_day_count=0, missing=1, partial=0, provisional=1, restated=0
        ),
    ]
    (total,) = assess_intervals([source], cut_days(source, 8, 8))
    assert total == IntervalQuality(
        1, source.slug, day_count=7, early_day_count=1, missing=2, partial=1, provisional=4, restated=1
    )


def test_a_day_of_another_zone_belongs_to_both_intervals_that_it_overlaps() -> None:
    utc = SourceFactory(slug="a", backfill_from=FIRST)
    berlin = SourceFactory(slug="b", backfill_from=FIRST, time_zone="Europe/Berlin")
    create_days(utc, *range(5))
    create_days(berlin, 0, 1, 3, 4)  # the clocks change on day 2, 29 March, which is missing, as is 1 April
    qualities = assess_intervals([utc, berlin], cut_days(utc, 5))
    assert [(quality.place, quality.source, quality.missing) for quality in qualities] == [
        (2, "b", 1),
        (3, "b", 1),
        (5, "b", 1),
    ]
    qualities = assess_intervals([utc, berlin], cut_days(berlin, 5))
    assert [(quality.place, quality.source, quality.missing) for quality in qualities if quality.missing] == [
        (3, "b", 1)
    ]
    assert [
        (quality.place, quality.source, quality.early_day_count) for quality in qualities if quality.early_day_count
    ] == [(1, "a", 1)]


def test_hours_of_a_missing_day_are_missing() -> None:
    source = SourceFactory(backfill_from=FIRST, time_zone="Europe/Berlin")
    create_days(source, 0, 1, 3)
    start = midnight(FIRST, source.zone)
    hours = [start + timedelta(hours=number) for number in range(24 * 4)]
    assert [quality.place for quality in assess_intervals([source], hours)] == list(range(49, 49 + 23))


def test_days_to_come_are_not_told_of() -> None:
    source = SourceFactory(backfill_from=timezone.now().date() - timedelta(days=2))
    start = midnight(source.backfill_from, source.zone)
    qualities = assess_intervals([source], [start + timedelta(days=number) for number in range(30)])
    assert [quality.place for quality in qualities] == [1, 2, 3]


def test_all_sources_cost_one_query_and_none_cost_none() -> None:
    sources = [SourceFactory(), SourceFactory()]
    with CaptureQueriesContext(connection) as queries:
        assess_intervals(sources, cut_days(sources[0], 3))
    assert len(queries) == 1
    with CaptureQueriesContext(connection) as queries:
        assert assess_intervals([], cut_days(sources[0], 3)) == []
        assert assess_intervals(sources, []) == []
    assert len(queries) == 0


def test_doubts_about_days_are_counted_and_waiting_for_the_months_close_is_no_provisional_day() -> None:
    source = SourceFactory(backfill_from=FIRST)
    late = datetime(2026, 4, 20, tzinfo=UTC)
    create_days(source, 0, 1, final=False, loaded_at=late)
    create_days(source, 2, final=False, suspicion={"held": 3})
    create_days(source, 3, final=False, verification="unverified", findings="f" * 32)
    accepted = {"accepted_at": late, "accepted_by": "alex", "accepted_reason": "Known.", "findings": "f" * 32}
    create_days(source, 4, final=False, verification="unverified", **accepted)
    create_days(source, 5, final=False, mismatch=[{"code": "sums"}])
    (quality,) = assess_intervals([source], cut_days(source, 6, 6))
    assert quality == IntervalQuality(
        1, source.slug, day_count=6, early_day_count=0, provisional=4, awaits_close=2, suspect=1, unverified=1, mismatched=1, accepted=1
    )  # fmt: skip


def test_a_date_that_a_zone_skipped_is_in_no_interval() -> None:
    source = SourceFactory(backfill_from=date(2011, 12, 28), time_zone="Pacific/Apia")
    instants = [midnight(date(2011, 12, day), source.zone) for day in (28, 29, 30)]
    instants.append(midnight(date(2012, 1, 1), source.zone))
    assert [
        (quality.place, quality.day_count, quality.missing) for quality in assess_intervals([source], instants)
    ] == [
        (1, 1, 1),
        (2, 1, 1),
        (3, 1, 1),
    ]


def test_intervals_from_before_any_vendor_are_told_of_without_a_row_for_each_of_their_days() -> None:
    source = SourceFactory(backfill_from=FIRST)
    instants = [datetime(year, 1, 1, tzinfo=UTC) for year in range(1, 1972)]
    qualities = assess_intervals([source], instants)
    assert len(qualities) == len(instants) - 1
    assert (qualities[0].place, qualities[0].day_count, qualities[0].early_day_count) == (1, 0, 365)
    assert {quality.day_count for quality in qualities} == {0}
    # A range that ends before then.
    assert assess_intervals([source], instants[:1900]) == qualities[:1899]


@pytest.fixture
def unknown_zone(tmp_path: Path) -> Iterator[str]:
    """A zone that Python knows and PostgreSQL does not; its clocks are those of Berlin."""
    zone_folder = next(path for path in map(Path, zoneinfo.TZPATH) if (path / "Europe/Berlin").is_file())
    (tmp_path / "Test").mkdir()
    (tmp_path / "Test/Nowhere").write_bytes((zone_folder / "Europe/Berlin").read_bytes())
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([tmp_path, *before])
    yield "Test/Nowhere"
    zoneinfo.reset_tzpath(before)
    zoneinfo.ZoneInfo.clear_cache()


def test_a_zone_that_postgresql_does_not_know_is_told_of_like_any_other(unknown_zone: str) -> None:
    nowhere = SourceFactory(backfill_from=FIRST, time_zone=unknown_zone)
    berlin = SourceFactory(backfill_from=FIRST, time_zone="Europe/Berlin")
    for source in (nowhere, berlin):
        create_days(source, 0, 1, 3)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT now() AT TIME ZONE %s", [unknown_zone])
    qualities = assess_intervals([nowhere, berlin], cut_days(berlin, 4))
    assert [(quality.place, quality.missing) for quality in qualities if quality.source == nowhere.slug] == [(3, 1)]
    trust = assess(
        None,
        source_ids=None,
        start=cut_days(nowhere, 0)[0],
        end=cut_days(nowhere, 4)[-1],
        zone=nowhere.zone,
        row_scope=None,
    )
    assert trust.lists["missing_days"]["total"] == 2
