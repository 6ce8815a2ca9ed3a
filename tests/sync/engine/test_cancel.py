"""A run that is cancelled: days not yet begun go back to where they stood, a day being read is finished."""

from datetime import date, timedelta

import pytest
from django.utils import timezone

from sync.engine.cancel import cancel
from sync.engine.load import load_next
from sync.engine.plan import plan_source, request_sync, reread
from sync.errors import SyncError
from sync.models import SyncRun, SyncRunDay, Trigger
from tests.support.scripted_vendor import DAY, Listing, build_run, make_source, read_day
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
Dropped = SyncRunDay.Outcome.DROPPED
CLOSED = date(2026, 8, 18)


def request_run(source: Source, first: date = DAY, days: int = 3) -> SyncRun:
    return request_sync(source, first, first + timedelta(days=days), Trigger.ADMIN, "alex")


def get_outcomes(run: SyncRun) -> dict[date, str]:
    return dict(run.run_days.order_by("source_day__day").values_list("source_day__day", "outcome"))


def test_days_not_begun_go_back_and_are_not_read_until_their_time(source: Source, listing: Listing) -> None:
    run = request_run(source)

    assert cancel(run, "sam") == 3

    run.refresh_from_db()
    assert run.cancelled_at is not None
    assert run.finished_at is not None
    assert run.error == "Cancelled by sam; 3 days went back unread."
    assert set(get_outcomes(run).values()) == {Dropped}
    assert load_next(source.pk) is None
    assert listing.reads == 0
    assert set(SourceDay.objects.values_list("state", flat=True)) == {DayState.DUE}
    assert not SourceDay.objects.filter(due_at__lte=timezone.now()).exists()


def test_a_day_held_before_stands_as_it_stood(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(1), build_run(2)]
    read_day(source)
    before = SourceDay.objects.get(day=DAY)
    assert before.state == DayState.LOADED

    cancel(request_run(source), "sam")

    day = SourceDay.objects.get(day=DAY)
    assert (day.state, day.complete, day.records) == (DayState.LOADED, True, 2)


def test_a_day_that_waited_for_its_second_look_gets_it_from_the_schedule(listing: Listing) -> None:
    source = make_source(backfill_from=CLOSED, look_back_days=3)
    read_day(source, CLOSED)
    # As an empty day of a closed month waits for its second look.
    SourceDay.objects.update(state=DayState.DUE, final=False, finalized_at=None)

    cancel(request_run(source, CLOSED, days=1), "sam")
    assert SourceDay.objects.get(day=CLOSED).state == DayState.LOADED

    plan_source(source.pk)
    assert SourceDay.objects.get(day=CLOSED).state == DayState.DUE


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"failures": 2, "error": "It failed."}, DayState.FAILED),
        ({"suspicion": {"held": 20}}, DayState.SUSPECT),
        ({"rejected": 1, "loaded_at": timezone.now()}, DayState.PARTIAL),
    ],
)
def test_a_day_in_trouble_stays_in_trouble(source: Source, fields: dict[str, object], state: DayState) -> None:
    run = request_run(source, days=1)
    SourceDay.objects.update(attempt=3, **fields)

    cancel(run, "sam")

    assert SourceDay.objects.get().state == state


def test_a_worker_in_the_middle_of_a_day_finishes_it(source: Source, listing: Listing) -> None:
    run = request_run(source)
    listing.records = {
        DAY + timedelta(days=number): [build_run(number, on=DAY + timedelta(days=number))] for number in range(3)
    }

    def cancel_run(*_: object) -> None:
        listing.before_page = None
        assert cancel(run, "sam") == 2
        run.refresh_from_db()
        assert run.finished_at is None

    listing.before_page = cancel_run
    attempt = load_next(source.pk)

    assert attempt is not None
    assert attempt.outcome == "loaded"
    run.refresh_from_db()
    assert (run.days_done, run.days_failed, run.days_total) == (1, 0, 3)
    assert run.finished_at is not None
    assert load_next(source.pk) is None


def test_a_day_that_another_run_waits_for_is_still_read(source: Source, listing: Listing) -> None:
    run = request_run(source)
    (other_run,) = reread(SourceDay.objects.filter(day=DAY), Trigger.API)

    cancel(run, "sam")

    assert load_next(source.pk) is not None
    assert load_next(source.pk) is None
    other_run.refresh_from_db()
    assert other_run.days_done == 1


def test_days_before_the_sources_first_are_forgotten_where_they_were_never_tried(source: Source) -> None:
    run = request_run(source, DAY - timedelta(days=2), days=4)

    cancel(run, "sam")

    assert sorted(SourceDay.objects.values_list("day", flat=True)) == [DAY, DAY + timedelta(days=1)]
    assert SyncRun.objects.get().days_total == 4


def test_the_same_range_can_be_asked_for_again(source: Source, listing: Listing) -> None:
    run = request_run(source)
    cancel(run, "sam")

    new_run = request_run(source)

    assert new_run.pk != run.pk
    assert load_next(source.pk) is not None


def test_a_run_is_cancelled_once(source: Source) -> None:
    run = request_run(source)
    cancel(run, "sam")

    with pytest.raises(SyncError, match="ended already"):
        cancel(run, "sam")
