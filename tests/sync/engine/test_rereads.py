"""Days that something speaks against are read again: unverified, found wrong, unexpectedly empty."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sync.engine.claim import get_database_time
from sync.engine.load import load_next
from sync.engine.plan import plan_due, plan_now
from sync.engine.rereads import compute_unverified_wait, needs_second_look
from sync.models import LoadAttempt, SyncRun, Trigger
from sync.vendors.base import Comparison
from tests.support.scripted_vendor import Listing, build_run, make_source, read_day
from usage.days import Day
from usage.models import DayState, Source, SourceDay, Verification

pytestmark = pytest.mark.django_db
# A Tuesday of a month that closed long ago.
OLD = date(2026, 8, 18)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def store_day(source: Source, on: date, records: int, **values: Any) -> SourceDay:
    """Store a day that was read long after its end and needs nothing."""
    day = Day.of(on, source.zone)
    read_at = day.end + timedelta(days=60)
    fields: dict[str, Any] = {
        "state": DayState.LOADED, "loaded_at": read_at, "covered_until": day.end, "complete": True,
        "due_at": read_at, "records": records,
    }  # fmt: skip
    return SourceDay.objects.create(source=source, day=on, starts_at=day.start, ends_at=day.end, **(fields | values))


def store_weeks_around(source: Source, *records: int) -> None:
    """Store the same weekday of the weeks around OLD, the nearest first, with so many records each."""
    weeks = [1, -1, 2, -2, 3, -3]
    for week, number in zip(weeks, records, strict=False):
        store_day(source, OLD + timedelta(weeks=week), number)


@pytest.fixture
def source(db: None) -> Source:
    """A source whose old days are past their look-back and their month's."""
    return make_source(look_back_days=3)


@pytest.fixture
def quiet() -> Source:
    """A source whose schedule comes to nothing now."""
    return make_source(backfill_from=date(2026, 11, 29), next_sync_at=get_database_time() + HOUR)


def test_a_day_that_is_empty_though_its_weekday_never_is_is_read_once_more(source: Source, listing: Listing) -> None:
    store_weeks_around(source, 5, 7, 0, 9)

    first = read_day(source, OLD)

    day = SourceDay.objects.get(day=OLD)
    assert (first.outcome, day.state) == ("loaded", DayState.DUE)
    assert timedelta(minutes=13) < day.due_at - get_database_time() <= timedelta(minutes=15)
    assert load_next(source.pk) is None

    SourceDay.objects.filter(day=OLD).update(due_at=LONG_AGO)
    second = load_next(source.pk)

    day.refresh_from_db()
    assert (second.outcome, day.state, day.complete, day.final, day.error) == (
        "unchanged", DayState.LOADED, True, True, "",
    )  # fmt: skip
    assert load_next(source.pk) is None


def test_an_unexpectedly_empty_day_is_not_final_before_its_second_read(source: Source, listing: Listing) -> None:
    store_weeks_around(source, 5, 7, 0, 9)

    read_day(source, OLD)

    day = SourceDay.objects.get(day=OLD)
    assert (day.final, day.finalized_at) == (False, None)


def test_records_that_the_second_read_brings_are_kept(source: Source, listing: Listing) -> None:
    store_weeks_around(source, 5, 7, 6, 9)
    read_day(source, OLD)
    listing.records[OLD] = [build_run(1, on=OLD), build_run(2, on=OLD)]
    SourceDay.objects.filter(day=OLD).update(due_at=LONG_AGO)

    assert load_next(source.pk).inserted == 2

    assert SourceDay.objects.get(day=OLD).state == DayState.LOADED


@pytest.mark.parametrize(
    ("records", "expected"),
    [((5, 7, 0, 9), True), ((5, 7, 6), True), ((5, 7, 0, 0, 8, 8), False), ((5, 7), False), ((), False)],
)
def test_a_weekday_is_judged_by_the_four_nearest_that_were_read(
    source: Source, records: tuple[int, ...], expected: bool
) -> None:
    store_weeks_around(source, *records)
    store_day(source, OLD + timedelta(days=1), 99)
    assert needs_second_look(store_day(source, OLD, 0), source, get_database_time()) is expected


def test_a_day_that_is_read_again_anyway_or_was_read_before_needs_no_second_look(source: Source) -> None:
    store_weeks_around(source, 5, 7, 6, 9)
    day = store_day(source, OLD, 0)
    assert not needs_second_look(day, source, day.final_from - HOUR), "its month's closing read is still to come"
    assert not needs_second_look(store_day(source, OLD + timedelta(days=2), 3), source, get_database_time())
    LoadAttempt.objects.create(source_day=day, number=1, outcome=LoadAttempt.Outcome.UNCHANGED)
    assert not needs_second_look(day, source, get_database_time())


def test_the_wait_after_unverified_reads_doubles_from_the_interval_to_a_day() -> None:
    waits = [compute_unverified_wait(reads, HOUR) / HOUR for reads in (0, 1, 2, 3, 4, 5, 6, 60)]
    for wait, hours in zip(waits, [1, 1, 2, 4, 8, 16, 24, 24], strict=True):
        assert hours * 0.9 <= wait <= min(hours * 1.1, 24)
    assert compute_unverified_wait(9, timedelta(days=7)) == timedelta(days=7), "never more often than the schedule"
    assert compute_unverified_wait(2_000_000_000, timedelta(minutes=2**31 - 1)) == timedelta(minutes=2**31 - 1)


def test_an_unverified_day_outside_the_look_back_is_read_again_until_it_agrees(
    source: Source, listing: Listing
) -> None:
    Source.objects.update(next_sync_at=get_database_time() + HOUR)
    unverified = Comparison(Verification.UNVERIFIED, [{"what": "count", "vendor": "3", "portal": "2"}])
    listing.checks = [unverified, unverified]
    listing.records[OLD] = [build_run(1, on=OLD), build_run(2, on=OLD)]
    read_day(source, OLD)
    day = SourceDay.objects.get(day=OLD)
    assert (day.state, day.verification) == (DayState.LOADED, Verification.UNVERIFIED)
    assert day.due_at > get_database_time() + timedelta(minutes=50)
    assert plan_due() == []

    SourceDay.objects.filter(day=OLD).update(due_at=LONG_AGO)
    (run,) = plan_due()
    assert (run.trigger, run.from_day) == (Trigger.RETRY, OLD)
    listing.checks = [Comparison(Verification.VERIFIED)]
    load_next(source.pk)

    assert SourceDay.objects.get(day=OLD).verification == Verification.VERIFIED
    SourceDay.objects.filter(day=OLD).update(due_at=LONG_AGO)
    assert plan_due() == []


@pytest.mark.parametrize(
    "trouble",
    [
        {"verification": Verification.UNVERIFIED},
        {"state": DayState.PARTIAL, "rejected": 2, "complete": False, "error": "2 of 5 records were rejected."},
    ],
    ids=["unverified", "partial"],
)
def test_a_day_whose_findings_a_person_accepted_is_left_alone(quiet: Source, trouble: dict[str, Any]) -> None:
    acceptance = {
        "accepted_at": get_database_time(),
        "accepted_by": "ann",
        "accepted_reason": "known",
        "findings": "f" * 32,
    }
    day = store_day(quiet, OLD, 3, **trouble, **acceptance)
    assert plan_due() == []

    SourceDay.objects.filter(pk=day.pk).update(accepted_at=None, accepted_by="", accepted_reason="")
    assert [run.trigger for run in plan_due()] == [Trigger.RETRY]


def test_a_day_that_a_check_found_wrong_is_read_again_as_such(quiet: Source) -> None:
    store_day(quiet, OLD, 3, mismatch={"records": ["3", "2"]})

    (run,) = plan_due()

    assert (run.trigger, run.from_day, SourceDay.objects.get().state) == (Trigger.CHECK, OLD, DayState.DUE)
    assert plan_due() == []


def test_a_partial_day_that_a_person_accepted_is_read_again_where_a_check_found_it_wrong(quiet: Source) -> None:
    acceptance = {"accepted_at": LONG_AGO, "accepted_reason": "Known.", "findings": "f" * 32, "rejected": 1}
    mismatched: dict[str, Any] = {"state": DayState.PARTIAL, "complete": False, "mismatch": [{"code": "digest"}]}
    store_day(quiet, OLD, 5, **acceptance, **mismatched)

    (run,) = plan_due()

    assert (run.trigger, SourceDay.objects.get().state) == (Trigger.CHECK, DayState.DUE)


def test_a_person_who_syncs_now_has_unverified_and_wrong_days_read_at_once(quiet: Source) -> None:
    later = get_database_time() + HOUR
    Source.objects.update(backfill_from=OLD)
    store_day(quiet, OLD, 3, verification=Verification.UNVERIFIED, due_at=later)
    store_day(quiet, OLD + timedelta(days=1), 3, mismatch={"records": ["3", "2"]}, due_at=later)

    plan_now(Source.objects.get(), Trigger.ADMIN)

    due = set(SyncRun.objects.get().days.values_list("day", flat=True))
    assert {OLD, OLD + timedelta(days=1)} <= due
