"""What the days of each interval are worth: by source, whatever the zones, in one query."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.factories import SourceFactory
from usage.days import Day, midnight
from usage.models import Source, SourceDay
from usage.trust import DaysTold, days_of_trust

pytestmark = pytest.mark.django_db
FIRST = date(2026, 3, 27)


def hold(source: Source, *days: int, **said: Any) -> None:
    """Write down days of a source, complete and final unless said otherwise."""
    for number in days:
        span = Day.of(FIRST + timedelta(days=number), source.zone)
        known = {"loaded_at": span.end, "complete": True, "final": True, "state": "loaded", **said}
        SourceDay.objects.create(source=source, day=span.date, starts_at=span.start, ends_at=span.end, **known)


def bounds(source: Source, days: int, step: int = 1) -> list[datetime]:
    """Return the midnights of so many days."""
    return [midnight(FIRST + timedelta(days=number), source.zone) for number in range(0, days + 1, step)]


def test_each_day_is_told_of_in_its_interval_and_whole_ones_are_left_out() -> None:
    source = SourceFactory(backfill_from=FIRST + timedelta(days=1))
    hold(source, 1, 7)
    hold(source, 2, final=False)
    hold(source, 3, complete=False, final=False)
    hold(source, 4, restated_at=datetime(2026, 4, 10, tzinfo=UTC))
    hold(source, 5, loaded_at=None, complete=False, final=False)
    assert days_of_trust([source], bounds(source, 8)) == [
        DaysTold(1, source.slug, held=0, unheld=1, missing=0, partial=0, provisional=0, restated=0),
        DaysTold(3, source.slug, held=1, unheld=0, missing=0, partial=0, provisional=1, restated=0),
        DaysTold(4, source.slug, held=1, unheld=0, missing=0, partial=1, provisional=1, restated=0),
        DaysTold(5, source.slug, held=1, unheld=0, missing=0, partial=0, provisional=0, restated=1),
        DaysTold(6, source.slug, held=1, unheld=0, missing=1, partial=0, provisional=1, restated=0),
        DaysTold(7, source.slug, held=1, unheld=0, missing=1, partial=0, provisional=1, restated=0),
    ]
    (whole,) = days_of_trust([source], bounds(source, 8, 8))
    assert whole == DaysTold(1, source.slug, held=7, unheld=1, missing=2, partial=1, provisional=4, restated=1)


def test_a_day_of_another_zone_belongs_to_both_intervals_that_it_overlaps() -> None:
    utc = SourceFactory(slug="a", backfill_from=FIRST)
    berlin = SourceFactory(slug="b", backfill_from=FIRST, time_zone="Europe/Berlin")
    hold(utc, *range(5))
    hold(berlin, 0, 1, 3, 4)  # the clocks change on day 2, 29 March, which is missing, as is 1 April
    told = days_of_trust([utc, berlin], bounds(utc, 5))
    assert [(one.place, one.source, one.missing) for one in told] == [(2, "b", 1), (3, "b", 1), (5, "b", 1)]
    told = days_of_trust([utc, berlin], bounds(berlin, 5))
    assert [(one.place, one.source, one.missing) for one in told if one.missing] == [(3, "b", 1)]
    assert [(one.place, one.source, one.unheld) for one in told if one.unheld] == [(1, "a", 1)]


def test_hours_of_a_missing_day_are_missing() -> None:
    source = SourceFactory(backfill_from=FIRST, time_zone="Europe/Berlin")
    hold(source, 0, 1, 3)
    start = midnight(FIRST, source.zone)
    hours = [start + timedelta(hours=number) for number in range(24 * 4)]
    assert [one.place for one in days_of_trust([source], hours)] == list(range(49, 49 + 23))


def test_days_to_come_are_not_told_of() -> None:
    source = SourceFactory(backfill_from=timezone.now().date() - timedelta(days=2))
    start = midnight(source.backfill_from, source.zone)
    told = days_of_trust([source], [start + timedelta(days=number) for number in range(30)])
    assert [one.place for one in told] == [1, 2, 3]


def test_all_sources_cost_one_query_and_none_cost_none() -> None:
    sources = [SourceFactory(), SourceFactory()]
    with CaptureQueriesContext(connection) as asked:
        days_of_trust(sources, bounds(sources[0], 3))
    assert len(asked) == 1
    with CaptureQueriesContext(connection) as asked:
        assert days_of_trust([], bounds(sources[0], 3)) == []
        assert days_of_trust(sources, []) == []
    assert len(asked) == 0
