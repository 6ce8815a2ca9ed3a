"""Coverage: the status of each day of each source, and its calendar."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine

from sync.admin.coverage.messages import MESSAGES
from sync.admin.coverage.status import (
    APPEARANCES,
    LEGEND,
    CalendarDay,
    build_calendar_day,
    describe_days,
    fetch_calendars,
    find_gaps,
)
from sync.admin.coverage.year_chart import SHAPES, YearChart
from tests.support.coverage import LOADED, NOW, UNVERIFIED, create_day
from tests.support.factories import SourceFactory
from usage.models import DayState, DayStatus, Source, SourceDay, Verification

pytestmark = pytest.mark.django_db
EARLY = datetime(2026, 3, 4, tzinfo=UTC)  # after the end of 2 March, and inside its look-back
ACCEPTED = {"accepted_at": NOW, "accepted_by": "alex", "accepted_reason": "Known.", "findings": "f" * 32}


def fetch_days(source: Source, first: str, last: str) -> list[CalendarDay]:
    return fetch_calendars([source], date.fromisoformat(first), date.fromisoformat(last))[source.pk]


def list_statuses(source: Source, first: str, last: str) -> list[str]:
    return [day.status.value for day in fetch_days(source, first, last)]


def build_days(first: date, statuses: list[tuple[DayStatus, int]]) -> list[CalendarDay]:
    """Return days from `first` on, so many of each status."""
    each_status = [status for status, number in statuses for _ in range(number)]
    return [CalendarDay(first + timedelta(days=number), status) for number, status in enumerate(each_status)]


@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize(
    ("values", "status"),
    [
        (LOADED | {"verification": Verification.VERIFIED}, DayStatus.FINAL),
        (LOADED, DayStatus.FINAL),
        (LOADED | {"records": 0}, DayStatus.EMPTY),
        (LOADED | {"records": 0, "verification": Verification.VERIFIED}, DayStatus.EMPTY),
        (LOADED | {"final": False, "loaded_at": EARLY}, DayStatus.PROVISIONAL),
        (LOADED | {"final": False, "loaded_at": EARLY, "verification": Verification.VERIFIED}, DayStatus.PROVISIONAL),
        # Read after the look-back, and its month has not closed.
        (LOADED | {"final": False, "loaded_at": NOW}, DayStatus.AWAITS_CLOSE),
        (LOADED | {"final": False, "loaded_at": NOW, "verification": Verification.VERIFIED}, DayStatus.AWAITS_CLOSE),
        (LOADED | {"final": False, "loaded_at": NOW, "records": 0}, DayStatus.EMPTY),
        (LOADED | UNVERIFIED, DayStatus.UNVERIFIED),
        (LOADED | UNVERIFIED | ACCEPTED, DayStatus.UNVERIFIED_ACCEPTED),
        ({"state": DayState.PARTIAL, "rejected": 1} | ACCEPTED, DayStatus.PARTIAL_ACCEPTED),
        (LOADED | {"final": False, "mismatch": [{"code": "records"}]}, DayStatus.MISMATCHED),
        ({"state": DayState.DUE, "mismatch": [{"code": "records"}]}, DayStatus.MISMATCHED),
        # Due again, and what made it suspect has not been settled.
        (LOADED | {"state": DayState.DUE, "final": False, "suspicion": {"held": 5}}, DayStatus.SUSPECT),
        (LOADED | {"restated_at": NOW}, DayStatus.FINAL),
        # Complete and due for another read: the stored records still count.
        (LOADED | {"state": DayState.DUE}, DayStatus.FINAL),
        (LOADED | {"state": DayState.LOADING, "lease_expires_at": NOW}, DayStatus.FINAL),
        ({"state": DayState.DUE}, DayStatus.INCOMPLETE),
        # Its last read was not merged, because it lacked values.
        ({"state": DayState.DUE} | UNVERIFIED, DayStatus.UNVERIFIED),
        ({"state": DayState.DUE, "loaded_at": None, "covered_until": None}, DayStatus.WAITING),
        ({"state": DayState.LOADING, "lease_expires_at": NOW}, DayStatus.LOADING),
        ({"state": DayState.PARTIAL, "rejected": 1}, DayStatus.PARTIAL),
        (LOADED | {"state": DayState.SUSPECT}, DayStatus.SUSPECT),
        ({"state": DayState.FAILED, "loaded_at": None, "covered_until": None}, DayStatus.FAILED),
        # A failed attempt is shown, whatever an earlier one has stored.
        (LOADED | {"state": DayState.FAILED}, DayStatus.FAILED),
    ],
)
def test_every_state_of_a_day_has_a_status(values: dict[str, Any], status: DayStatus) -> None:
    source = SourceFactory.create(backfill_from=date(2026, 3, 1))
    create_day(source, date(2026, 3, 2), **values)

    (day,) = fetch_days(source, "2026-03-02", "2026-03-02")

    assert day.status == status
    assert day.verified == (values.get("verification") == Verification.VERIFIED)
    assert day.restated == ("restated_at" in values)
    row = SourceDay.objects.with_status().get()
    assert build_calendar_day(source, row.day, row) == day


@time_machine.travel(NOW, tick=False)
def test_days_without_a_row_are_missing_before_the_first_day_pending_or_in_the_future() -> None:
    source = SourceFactory.create(backfill_from=date(2026, 3, 4))
    create_day(source, date(2026, 3, 2), **LOADED)
    create_day(source, date(2026, 3, 5), **LOADED)

    assert list_statuses(source, "2026-03-01", "2026-03-13") == [
        "before_backfill", "final", "before_backfill", "missing", "final", "missing", "missing", "missing", "missing",
        "pending", "future", "future", "future",
    ]  # fmt: skip


@time_machine.travel("2026-03-10T23:30:00Z", tick=False)
def test_today_is_the_sources_own() -> None:
    utc = SourceFactory.create(backfill_from=date(2026, 3, 9))
    east = SourceFactory.create(backfill_from=date(2026, 3, 9), time_zone="Asia/Tokyo")
    west = SourceFactory.create(backfill_from=date(2026, 3, 9), time_zone="Pacific/Honolulu")

    def find_today(source: Source) -> int:
        return 9 + list_statuses(source, "2026-03-09", "2026-03-12").index("pending")

    assert [find_today(source) for source in (utc, east, west)] == [10, 11, 10]
    with time_machine.travel("2026-03-11T05:00:00Z", tick=False):
        assert [find_today(source) for source in (utc, west)] == [11, 10]


@time_machine.travel("2026-03-10T23:30:00Z", tick=False)
def test_a_planned_day_is_pending_until_it_ends_and_in_the_future_until_it_starts() -> None:
    unsynced = {"state": DayState.DUE, "loaded_at": None, "covered_until": None}
    east = SourceFactory.create(backfill_from=date(2026, 3, 9), time_zone="Asia/Tokyo")
    for day in (10, 11, 12):
        create_day(east, date(2026, 3, day), **unsynced)

    assert list_statuses(east, "2026-03-10", "2026-03-12") == ["waiting", "pending", "future"]


def test_every_status_has_an_appearance_a_message_a_shape_and_a_line_in_the_legend() -> None:
    assert APPEARANCES.keys() == MESSAGES.keys() == set(DayStatus)
    assert {appearance.kind for appearance in APPEARANCES.values()} == LEGEND.keys()
    assert LEGEND.keys() - SHAPES.keys() == {"complete", "empty", "missing", "ahead", "before"}
    shapes = [shape for kind, shape in SHAPES.items() if kind not in {"open", "loading"}]
    assert len(set(shapes)) == len(shapes)


def test_gaps_are_runs_of_days_the_latest_first() -> None:
    statuses = [
        (DayStatus.FINAL, 2), (DayStatus.MISSING, 4), (DayStatus.FINAL, 1), (DayStatus.FAILED, 1),
        (DayStatus.FINAL, 1), (DayStatus.MISSING, 1), (DayStatus.FINAL, 1), (DayStatus.SUSPECT, 2),
    ]  # fmt: skip
    days = build_days(date(2025, 12, 29), statuses)
    days[10] = days[10]._replace(restated=True)

    assert [(gap.status, gap.dates) for gap in find_gaps(days)] == [
        ("suspect", "9–10 Jan 2026 (2 days)"),
        ("missing", "7 Jan 2026"),
        ("failed", "5 Jan 2026"),
        ("missing", "31 Dec 2025 – 3 Jan 2026 (4 days)"),
    ]
    assert describe_days(days) == "5 of 13 days complete; 2 suspect; 1 failed; 5 missing; 1 restated."


@pytest.mark.parametrize(
    ("year", "days", "columns"), [(2025, 365, 53), (2024, 366, 53), (2028, 366, 53), (2012, 366, 54), (2000, 366, 53)]
)
def test_every_day_of_a_year_has_a_place_leap_years_included(year: int, days: int, columns: int) -> None:
    chart = YearChart(year, build_days(date(year, 1, 1), [(DayStatus.FAILED, days)]), date(year, 12, 31))

    points = re.findall(r"M(\d+) (\d+)", chart.paths[0].d)
    assert len(set(points)) == days
    assert max(int(x) for x, _ in points) == (columns - 1) * 12
    assert [month.name for month in chart.months][::11] == ["Jan", "Dec"]


def test_a_whole_year_is_drawn_in_less_than_a_kilobyte() -> None:
    chart = YearChart(2025, build_days(date(2025, 1, 1), [(DayStatus.FINAL, 365)]), date(2025, 12, 31))

    assert sum(len(path.d) for path in chart.paths) < 1000
    assert chart.descriptions == "365 complete, final"
