"""What is due: days never synced, the look-back, the closed month, retries, and what a person requests."""

from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from sync.engine.claim import get_database_time
from sync.engine.plan import plan_due, plan_now, plan_source, request_sync, reread, resume
from sync.errors import SyncError
from sync.models import SyncRun, SyncRunDay, Trigger
from tests.support.scripted_vendor import Listing, build_run, make_source
from usage.days import Day
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch):
    # The database's clock cannot be set in a test, so the planner uses this one.
    monkeypatch.setattr("sync.engine.plan.get_database_time", timezone.now)
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def store_loaded_day(source: Source, on: date, at: datetime) -> SourceDay:
    """Store a day that was read at `at` and needs nothing."""
    day = Day.of(on, source.zone)
    return SourceDay.objects.create(
        source=source, day=on, starts_at=day.start, ends_at=day.end, state=DayState.LOADED, loaded_at=at,
        covered_until=min(at, day.end), complete=at >= day.end, due_at=at,
        final=at >= day.final_from(source.look_back_days),
    )  # fmt: skip


def list_planned_days(run: SyncRun | None) -> list[date]:
    """Return the days a run waits for."""
    assert run is not None
    return list(run.days.order_by("day").values_list("day", flat=True))


def test_a_new_source_is_due_from_its_backfill_to_today() -> None:
    source = make_source(backfill_from=date(2026, 11, 7))

    run = plan_source(source.pk)

    assert list_planned_days(run) == [date(2026, 11, day) for day in (7, 8, 9, 10)]
    assert (run.from_day, run.to_day, run.days_total, run.trigger) == (
        date(2026, 11, 7), date(2026, 11, 11), 4, Trigger.SCHEDULE,
    )  # fmt: skip
    assert set(SourceDay.objects.values_list("state", flat=True)) == {DayState.DUE}


def test_a_source_is_planned_once_per_interval(clock) -> None:
    source = make_source(backfill_from=date(2026, 11, 9), interval_minutes=30)
    plan_due()
    assert SyncRun.objects.count() == 1

    clock.shift(timedelta(minutes=29))
    plan_due()
    assert SyncRun.objects.count() == 1

    clock.shift(timedelta(minutes=1))
    assert plan_source(source.pk) is None, "all its days wait in the first run still"
    assert Source.objects.get().next_sync_at == NOW + timedelta(minutes=60)


def test_days_inside_the_look_back_are_read_again_and_one_read_after_it_is_the_last() -> None:
    source = make_source(backfill_from=date(2026, 11, 1), look_back_days=3)
    for day in range(1, 10):
        store_loaded_day(source, date(2026, 11, day), at=NOW - timedelta(hours=1))
    # Read while it was provisional, never since: one more read makes it final.
    SourceDay.objects.filter(day=date(2026, 11, 2)).update(loaded_at=datetime(2026, 11, 4, tzinfo=UTC))

    assert list_planned_days(plan_source(source.pk)) == [
        date(2026, 11, 2), *(date(2026, 11, day) for day in (7, 8, 9, 10)),
    ]  # fmt: skip


def test_the_previous_month_is_read_once_more_when_it_has_closed() -> None:
    source = make_source(backfill_from=date(2026, 10, 1), look_back_days=3)
    for offset in range(40):
        on = date(2026, 10, 1) + timedelta(days=offset)
        store_loaded_day(source, on, at=Day.of(on, "UTC").end + timedelta(days=3, hours=1))

    days = list_planned_days(plan_source(source.pk))

    assert days[:30] == [date(2026, 10, day) for day in range(1, 31)]
    # 31 October was read on 4 November, after the month closed on the 4th at midnight.
    assert date(2026, 10, 31) not in days
    assert date(2026, 11, 1) not in days


def test_the_month_is_not_read_again_before_its_look_back_has_passed(clock) -> None:
    clock.move_to(datetime(2026, 11, 3, 12, tzinfo=UTC))
    source = make_source(backfill_from=date(2026, 10, 1), look_back_days=3)
    for offset in range(31):
        on = date(2026, 10, 1) + timedelta(days=offset)
        store_loaded_day(source, on, at=Day.of(on, "UTC").end + timedelta(days=3, hours=1))

    assert date(2026, 10, 15) not in list_planned_days(plan_source(source.pk))


def test_months_that_closed_while_the_portal_stood_still_get_their_closing_read(clock) -> None:
    clock.move_to(datetime(2026, 12, 10, 12, tzinfo=UTC))
    source = make_source(backfill_from=date(2026, 9, 28), look_back_days=3)
    for on in (date(2026, 9, 28), date(2026, 9, 29), date(2026, 10, 20)):
        store_loaded_day(source, on, at=Day.of(on, "UTC").end + timedelta(days=3, hours=1))
    store_loaded_day(source, date(2026, 9, 30), at=datetime(2026, 10, 4, 1, tzinfo=UTC))

    days = list_planned_days(plan_source(source.pk))

    assert {date(2026, 9, 28), date(2026, 9, 29), date(2026, 10, 20)} <= set(days)
    assert date(2026, 9, 30) not in days


def test_a_partial_day_that_a_person_accepted_gets_its_closing_read(clock) -> None:
    clock.move_to(datetime(2026, 12, 10, 12, tzinfo=UTC))
    source = make_source(backfill_from=date(2026, 11, 10), look_back_days=3)
    at = datetime(2026, 11, 14, tzinfo=UTC)
    for on in (date(2026, 11, 10), date(2026, 11, 11)):
        store_loaded_day(source, on, at=at)
    acceptance = {"accepted_at": at, "accepted_reason": "known", "findings": "0" * 32}
    later = datetime(2027, 1, 1, tzinfo=UTC)
    SourceDay.objects.update(state=DayState.PARTIAL, rejected=1, complete=False, due_at=later)
    SourceDay.objects.filter(day=date(2026, 11, 10)).update(**acceptance)

    days = list_planned_days(plan_source(source.pk))

    assert date(2026, 11, 10) in days
    assert date(2026, 11, 11) not in days


def test_today_of_a_zone_ahead_is_planned_by_that_zone() -> None:
    source = make_source(backfill_from=date(2026, 11, 10), time_zone="Pacific/Auckland")
    assert list_planned_days(plan_source(source.pk)) == [date(2026, 11, 10), date(2026, 11, 11)]


@pytest.mark.parametrize(("on", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 12, 31), 24)])
def test_days_of_a_zone_with_summer_time_have_their_true_length(on: date, hours: int) -> None:
    day = Day.of(on, "Europe/Berlin")
    assert day.hours == hours
    assert Day.of(on + timedelta(days=1), "Europe/Berlin").start == day.end
    assert (
        Day.containing(day.start, "Europe/Berlin")
        == Day.containing(day.end - timedelta(seconds=1), "Europe/Berlin")
        == day
    )


def test_a_day_whose_midnight_does_not_exist_begins_when_its_date_does() -> None:
    day = Day.of(date(2026, 9, 6), "America/Santiago")
    assert (day.hours, day.start) == (23, datetime(2026, 9, 6, 4, tzinfo=UTC))


SKIPPED = [("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Kwajalein", date(1993, 8, 21))]


@pytest.mark.parametrize(("zone", "on"), SKIPPED)
def test_a_date_that_the_zone_skips_is_no_day_to_read(zone: str, on: date) -> None:
    source = make_source(backfill_from=on - timedelta(days=1), time_zone=zone)

    run = request_sync(source, on - timedelta(days=1), on + timedelta(days=2), Trigger.API)

    assert list_planned_days(run) == [on - timedelta(days=1), on + timedelta(days=1)]
    assert run.days_total == 2
    before, after = SourceDay.objects.order_by("day")
    assert before.ends_at == after.starts_at


@pytest.mark.parametrize(("zone", "on"), SKIPPED)
def test_a_request_for_nothing_but_a_skipped_date_is_refused_in_words(zone: str, on: date) -> None:
    source = make_source(time_zone=zone)

    with pytest.raises(SyncError, match=f"holds no day: the clocks of {zone} skip {on}"):
        request_sync(source, on, on + timedelta(days=1), Trigger.API)
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize(("zone", "on"), SKIPPED)
def test_a_source_that_begins_with_a_skipped_date_is_planned_from_the_next(zone: str, on: date, clock) -> None:
    clock.move_to(datetime(on.year, on.month, on.day, 12, tzinfo=UTC) + timedelta(days=1))
    source = make_source(backfill_from=on, time_zone=zone)

    assert list_planned_days(plan_source(source.pk))[0] == on + timedelta(days=1)


def test_failed_days_are_retried_when_their_back_off_has_passed() -> None:
    source = make_source(backfill_from=date(2026, 11, 9), next_sync_at=NOW + timedelta(hours=1))
    past, future = datetime(2020, 1, 1, tzinfo=UTC), get_database_time() + timedelta(hours=1)
    for on, at in ((date(2026, 11, 8), past), (date(2026, 11, 9), future)):
        SourceDay.objects.filter(pk=store_loaded_day(source, on, at=NOW).pk).update(state=DayState.FAILED, due_at=at)

    (run,) = plan_due()

    assert (run.trigger, list_planned_days(run)) == (Trigger.RETRY, [date(2026, 11, 8)])


def test_a_halted_or_disabled_source_is_not_planned_until_it_is_resumed() -> None:
    source = make_source(halted_at=NOW, halt_reason="401")
    make_source("off", enabled=False)
    assert plan_due() == []

    resume(source)
    assert len(plan_due()) == 1


def test_a_source_that_another_planned_or_halted_meanwhile_is_not_planned() -> None:
    source = make_source(backfill_from=datetime.now(UTC).date())
    assert plan_source(source.pk) is not None
    assert plan_source(source.pk) is None, "it is not due"
    Source.objects.update(next_sync_at=None, halted_at=datetime.now(UTC), halt_reason="The key was refused.")
    assert plan_source(source.pk) is None
    assert SyncRun.objects.count() == 1


def test_asking_twice_for_the_same_range_joins_the_first_run() -> None:
    source = make_source(backfill_from=date(2026, 11, 1))
    first = request_sync(source, date(2026, 10, 1), date(2026, 10, 4), Trigger.API, "etl")
    second = request_sync(source, date(2026, 10, 1), date(2026, 10, 4), Trigger.ADMIN, "ann")
    other_run = request_sync(source, date(2026, 10, 2), date(2026, 10, 3), Trigger.API, "etl")

    assert first == second
    assert list_planned_days(first) == [date(2026, 10, 1), date(2026, 10, 2), date(2026, 10, 3)]
    assert list_planned_days(other_run) == [date(2026, 10, 2)]
    assert SyncRunDay.objects.count() == 4


@pytest.mark.parametrize(
    ("first", "end", "message"),
    [
        (date(2026, 11, 5), date(2026, 11, 5), "empty"),
        (date(2026, 11, 5), date(2026, 11, 12), "2026-11-11 at most"),
        (date(1999, 1, 1), date(2026, 11, 5), "too long"),
    ],
)
def test_a_range_that_cannot_be_read_is_refused_in_words(first: date, end: date, message: str) -> None:
    with pytest.raises(SyncError, match=message):
        request_sync(make_source(), first, end, Trigger.API)
    assert not SourceDay.objects.exists()


def test_a_source_that_is_off_or_halted_refuses_requests_with_the_reason() -> None:
    halted = make_source(halted_at=NOW, halt_reason="The key was refused.")
    with pytest.raises(SyncError, match=r"halted: The key was refused\."):
        request_sync(halted, date(2026, 11, 1), date(2026, 11, 2), Trigger.API)
    with pytest.raises(SyncError, match="switched off"):
        plan_now(make_source("off", enabled=False), Trigger.COMMAND)


def test_single_days_can_be_asked_for_again() -> None:
    source = make_source()
    days = [store_loaded_day(source, date(2026, 11, day), at=NOW) for day in (3, 5)]

    (run,) = reread(days, Trigger.ADMIN, "ann")

    assert (list_planned_days(run), run.requested_by) == ([date(2026, 11, 3), date(2026, 11, 5)], "ann")


def test_the_command_takes_over_days_that_wait_in_another_run(listing: Listing) -> None:
    source = make_source(backfill_from=date(2026, 11, 9))
    listing.records = {date(2026, 11, 9): [build_run(1, on=date(2026, 11, 9))]}
    plan_source(source.pk)

    assert len(list_planned_days(plan_now(source, Trigger.COMMAND))) == 2
