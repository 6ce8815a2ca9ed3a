"""Claims: one worker a day, as many workers a source as it allows, and only the holder of the token writes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier

import pytest
from django.db import connection, transaction

from sync.engine.claim import claim_day
from sync.engine.load import load, load_next
from sync.engine.plan import ensure_days, plan_source
from sync.errors import LeaseLost
from sync.models import LoadAttempt, SyncRun
from tests.support.scripted_vendor import DAY, Listing, build_run, get_revisions, make_source
from usage.models import DayState, EnvironmentUsage, Source, SourceDay

pytestmark = pytest.mark.django_db
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def planned_source(db: None) -> Source:
    """A source with twenty due days, read by three workers at most."""
    first = datetime.now(UTC).date() - timedelta(days=19)
    source = make_source(backfill_from=first, max_concurrency=3)
    plan_source(source.pk)
    return source


def expire_leases() -> None:
    SourceDay.objects.filter(state=DayState.LOADING).update(lease_expires_at=LONG_AGO)


def test_a_claim_gives_the_most_recent_day_a_lease_and_a_new_attempt(planned_source: Source) -> None:
    claim = claim_day(planned_source.pk, "w1")

    assert claim is not None
    day = SourceDay.objects.get(pk=claim.source_day.pk)
    assert day.day == datetime.now(UTC).date()
    assert (day.state, day.attempt, day.leased_by) == (DayState.LOADING, 1, "w1")
    assert day.lease_expires_at > datetime.now(UTC)
    assert LoadAttempt.objects.get().outcome == LoadAttempt.Outcome.RUNNING


def test_days_that_failed_before_come_after_those_that_did_not(planned_source: Source) -> None:
    SourceDay.objects.exclude(day=planned_source.backfill_from).update(failures=1)

    assert claim_day(planned_source.pk, "w").source_day.day == planned_source.backfill_from


def test_no_more_workers_than_a_source_allows(planned_source: Source) -> None:
    claims = [claim_day(planned_source.pk, f"w{n}") for n in range(5)]

    assert [claim is not None for claim in claims] == [True, True, True, False, False]
    assert len({claim.source_day.pk for claim in claims[:3]}) == 3


def test_a_failing_source_is_tried_by_one_worker_at_a_time(planned_source: Source) -> None:
    Source.objects.update(failures=1)

    assert claim_day(planned_source.pk, "w1") is not None
    assert claim_day(planned_source.pk, "w2") is None


def test_days_not_due_yet_and_paused_halted_or_disabled_sources_give_nothing(planned_source: Source) -> None:
    for state in (
        {"paused_until": datetime(2100, 1, 1, tzinfo=UTC)},
        {"halted_at": LONG_AGO, "halt_reason": "401"},
        {"enabled": False},
    ):
        Source.objects.update(**{"paused_until": None, "halted_at": None, "halt_reason": "", "enabled": True} | state)
        assert claim_day(planned_source.pk, "w") is None
    Source.objects.update(enabled=True)
    SourceDay.objects.update(due_at=datetime(2100, 1, 1, tzinfo=UTC))
    assert claim_day(planned_source.pk, "w") is None


def test_the_day_of_a_worker_that_died_is_taken_over_when_its_lease_ends(planned_source: Source) -> None:
    first = claim_day(planned_source.pk, "dead")
    SourceDay.objects.exclude(pk=first.source_day.pk).update(due_at=datetime(2100, 1, 1, tzinfo=UTC))
    assert claim_day(planned_source.pk, "early") is None
    expire_leases()

    second = claim_day(planned_source.pk, "heir")

    assert second.source_day.pk == first.source_day.pk
    assert (second.attempt, second.source_day.failures) == (2, 1)
    lost_attempt, running_attempt = LoadAttempt.objects.order_by("number")
    assert (lost_attempt.outcome, running_attempt.outcome) == (LoadAttempt.Outcome.LOST, LoadAttempt.Outcome.RUNNING)
    assert "lease ended" in lost_attempt.error


def test_a_worker_that_lost_its_lease_changes_nothing_when_it_wakes(listing: Listing) -> None:
    source = make_source(backfill_from=DAY)
    SourceDay.objects.all().delete()
    listing.records[DAY] = [build_run(n) for n in range(5)]
    plan_source(source.pk)
    SourceDay.objects.exclude(day=DAY).update(due_at=datetime(2100, 1, 1, tzinfo=UTC))
    slow = claim_day(source.pk, "slow")
    assert slow is not None
    expire_leases()
    assert load_next(source.pk).inserted == 5
    listing.records[DAY] = [build_run(n) for n in range(50)]

    load(slow)

    assert len(get_revisions(source)) == 5
    day = SourceDay.objects.get(day=DAY)
    assert (day.state, day.records, day.attempt) == (DayState.LOADED, 5, 2)
    assert [attempt.outcome for attempt in LoadAttempt.objects.order_by("number")] == ["lost", "loaded"]
    assert EnvironmentUsage.objects.count() == 5


def test_a_lost_lease_is_noticed_at_the_next_renewal(planned_source: Source, settings) -> None:
    settings.PORTAL_LEASE_SECONDS = 0
    claim = claim_day(planned_source.pk, "slow")
    claim.renew()
    expire_leases()
    SourceDay.objects.exclude(pk=claim.source_day.pk).update(due_at=datetime(2100, 1, 1, tzinfo=UTC))
    claim_day(planned_source.pk, "heir")

    with pytest.raises(LeaseLost):
        claim.renew()


@pytest.mark.django_db(transaction=True)
def test_a_merge_does_not_wait_for_a_claim_of_the_same_source(listing: Listing) -> None:
    source = make_source(backfill_from=DAY)
    ensure_days(source, DAY, DAY + timedelta(days=1))
    claim = claim_day(source.pk, "w")
    assert claim is not None

    def merge() -> str:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = '5s'")
            load(claim)
            return SourceDay.objects.get(pk=claim.source_day.pk).state
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        Source.objects.select_for_update(no_key=True).get(pk=source.pk)
        assert pool.submit(merge).result(60) == DayState.LOADED


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_once_never_hold_the_same_day_nor_too_many(listing: Listing) -> None:
    first = datetime.now(UTC).date() - timedelta(days=39)
    source = make_source(backfill_from=first, max_concurrency=3)
    plan_source(source.pk)
    start = Barrier(8)

    def work(number: int) -> tuple[list[date], int]:
        claimed_days, most = [], 0
        start.wait()
        try:
            while True:
                claim = claim_day(source.pk, f"w{number}")
                if claim is None:
                    if not SourceDay.objects.filter(state=DayState.DUE, attempt=0).exists():
                        return claimed_days, most
                    continue
                claimed_days.append(claim.source_day.day)
                most = max(most, SourceDay.objects.filter(state=DayState.LOADING).count())
                load(claim)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(work, range(8)))

    days = [day for claimed_days, _ in outcomes for day in claimed_days]
    assert sorted(days) == sorted(set(days))
    assert len(days) == 40
    assert 1 < max(most for _, most in outcomes) <= 3
    run = SyncRun.objects.get()
    assert (run.days_done, run.days_failed, run.finished_at is not None) == (40, 0, True)
