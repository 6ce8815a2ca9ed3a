"""A day whose failure cannot be recorded in full still gets a reason and is released by its worker."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from sync.engine.claim import claim_day
from sync.engine.load import load, load_next
from sync.engine.plan import plan_due, plan_source
from sync.engine.recording import UNRECORDED
from sync.errors import LONGEST_REASON, CredentialError, ReadDeferred, SyncError, VendorUnavailable
from sync.models import LoadAttempt, SyncRun
from tests.support.scripted_vendor import Listing, build_run, make_source
from usage.days import get_today
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
STEPS = {
    "the attempt": "sync_loadattempt",
    "the run": "sync_syncrun",
    "the run's day": "sync_syncrunday",
    "the source": "usage_source",
}
ENDINGS = [
    (VendorUnavailable("The vendor is away."), DayState.FAILED),
    (CredentialError("The key is refused."), DayState.DUE),
    (RuntimeError("a bug"), DayState.FAILED),
]


@pytest.fixture
def planned_source(listing: Listing) -> Source:
    """A source with one due day, today."""
    source = make_source(backfill_from=get_today(ZoneInfo("UTC")))
    plan_source(source.pk)
    listing.records[get_today(ZoneInfo("UTC"))] = [build_run(1, on=get_today(ZoneInfo("UTC")))]
    return source


def raise_before_page(listing: Listing, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    listing.before_page = fail


@contextmanager
def refuse_updates(table: str, condition: str = "true") -> Iterator[None]:
    """Let the database refuse updates of a table, those after which `condition` holds of the row NEW."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RAISE EXCEPTION 'refused by the test'; END $$"
        )
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE UPDATE ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER refuse ON {table}")


def assert_released(state: DayState) -> SourceDay:
    day = SourceDay.objects.get()
    assert (day.state, day.lease_expires_at, day.leased_by) == (state, None, "")
    return day


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("error", "state"), ENDINGS, ids=["failed", "halted", "unforeseen"])
def test_a_step_of_recording_that_fails_leaves_no_day_without_a_reason(
    planned_source: Source, listing: Listing, step: str, error: Exception, state: DayState
) -> None:
    raise_before_page(listing, error)

    with refuse_updates(STEPS[step]):
        load_next(planned_source.pk)

    day = assert_released(state)
    assert day.error
    attempt = LoadAttempt.objects.get()
    assert (attempt.outcome, attempt.error) == (("running", "") if step == "the attempt" else ("failed", day.error))
    if step == "the source":
        # The source is not halted, so the day must wait before the refused key is tried again.
        assert day.due_at > datetime.now(UTC) + timedelta(minutes=1)
    elif isinstance(error, CredentialError):
        assert Source.objects.get().halt_reason == "The key is refused."


@pytest.mark.parametrize("step", ["the attempt", "the run"])
def test_a_day_that_is_put_off_leaves_the_workers_hands_whatever_cannot_be_recorded(
    planned_source: Source, listing: Listing, step: str
) -> None:
    raise_before_page(listing, ReadDeferred("The rate is used up.", retry_after=40))
    listing.records[get_today(ZoneInfo("UTC"))] = [build_run(1, on=get_today(ZoneInfo("UTC")))]

    with refuse_updates(STEPS[step]):
        load_next(planned_source.pk)

    assert assert_released(DayState.DUE).failures == 0


def test_a_reason_that_cannot_be_stored_is_replaced_by_one_that_can(planned_source: Source, listing: Listing) -> None:
    raise_before_page(listing, VendorUnavailable("The vendor is away."))

    with refuse_updates("usage_sourceday", "NEW.error LIKE 'The vendor%'"):
        load_next(planned_source.pk)

    day = assert_released(DayState.FAILED)
    assert (day.error, day.failures) == (UNRECORDED, 1)
    assert LoadAttempt.objects.get().error == "The vendor is away."


def test_the_next_claim_gives_the_reason_of_a_day_that_could_not_be_written(
    planned_source: Source, listing: Listing
) -> None:
    raise_before_page(listing, VendorUnavailable("The vendor is away."))
    with refuse_updates("usage_sourceday", "NEW.state <> 'loading'"):
        load_next(planned_source.pk)
    assert SourceDay.objects.get().state == DayState.LOADING
    SourceDay.objects.update(lease_expires_at=LONG_AGO)

    assert claim_day(planned_source.pk, "heir") is not None

    assert "lease ended" in SourceDay.objects.get().error


def test_an_attempt_that_could_not_be_ended_is_ended_by_the_next_claim(
    planned_source: Source, listing: Listing
) -> None:
    raise_before_page(listing, VendorUnavailable("The vendor is away."))
    with refuse_updates(STEPS["the attempt"]):
        load_next(planned_source.pk)
    SourceDay.objects.update(state=DayState.DUE, due_at=LONG_AGO)
    Source.objects.update(paused_until=None)

    claim_day(planned_source.pk, "next")

    first, second = LoadAttempt.objects.order_by("number")
    assert (first.outcome, second.outcome) == ("lost", "running")
    assert first.finished_at is not None
    assert "lease ended" in first.error


class BrokenLog:
    """A log whose disk is full: the one fault here that cannot be made to happen."""

    def bind(self, **_: object) -> "BrokenLog":
        return self

    def _refuse(self, *_: object, **__: object) -> None:
        raise OSError("no space left on device")

    info = warning = exception = _refuse


@pytest.mark.parametrize("error", [None, *(error for error, _ in ENDINGS)], ids=["loaded", "f", "halted", "unforeseen"])
def test_a_log_that_cannot_be_written_changes_nothing_of_how_a_day_ends(
    planned_source: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    monkeypatch.setattr("sync.engine.load.logger", BrokenLog())
    monkeypatch.setattr("sync.engine.recording.logger", BrokenLog())
    if error is not None:
        raise_before_page(listing, error)

    attempt = load_next(planned_source.pk)

    assert attempt is not None
    assert attempt.outcome == ("failed" if error else "loaded")
    assert SourceDay.objects.get().lease_expires_at is None


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_dies_while_a_day_is_read_fails_the_day_with_a_reason(
    planned_source: Source, listing: Listing
) -> None:
    def run_before_page(*_: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    listing.before_page = run_before_page

    load_next(planned_source.pk)

    assert "OperationalError" in assert_released(DayState.FAILED).error


@pytest.mark.django_db(transaction=True)
def test_the_reason_of_a_day_is_written_by_the_next_claim_where_the_database_was_away(
    planned_source: Source, listing: Listing, settings: Any
) -> None:
    port = connection.settings_dict["PORT"]

    def run_before_page(*_: object) -> None:
        connection.close()
        connection.settings_dict["PORT"] = 9
        raise VendorUnavailable("The vendor is away.")

    listing.before_page = run_before_page
    claim = claim_day(planned_source.pk, "unlucky")
    assert claim is not None
    try:
        load(claim)
    finally:
        connection.settings_dict["PORT"] = port
        connection.close()
    assert SourceDay.objects.get().state == DayState.LOADING
    SourceDay.objects.update(lease_expires_at=LONG_AGO)

    assert claim_day(planned_source.pk, "heir") is not None

    assert "lease ended" in SourceDay.objects.get().error
    assert "lease ended" in LoadAttempt.objects.get(number=1).error


@pytest.mark.parametrize(
    "reason",
    ["a \x00 in it", "\ud800 alone", "x" * 3_000_000, "\ud83d" * 3_000_000, "", "  \n"],
    ids=lambda r: ascii(r[:8]),
)
@pytest.mark.parametrize("kind", [VendorUnavailable, CredentialError, ReadDeferred])
def test_a_reason_of_any_text_is_stored_and_bounded(
    planned_source: Source, listing: Listing, kind: type[SyncError], reason: str
) -> None:
    raise_before_page(listing, kind(reason))

    attempt = load_next(planned_source.pk)

    assert attempt is not None
    assert 0 < len(attempt.error) < LONGEST_REASON + 100
    assert attempt.outcome == ("deferred" if kind is ReadDeferred else "failed")


@pytest.mark.parametrize("wait", [1e12, 10**25, 10**400, math.inf, math.nan, -5.0, 0, 1e-300])
@pytest.mark.parametrize("kind", [VendorUnavailable, ReadDeferred])
def test_a_vendors_wait_of_any_number_puts_a_day_off_for_some_hours_at_most(
    planned_source: Source, listing: Listing, kind: type[SyncError], wait: float
) -> None:
    raise_before_page(listing, kind("Later.", retry_after=wait))

    load_next(planned_source.pk)

    day = SourceDay.objects.get()
    assert day.state == (DayState.DUE if kind is ReadDeferred else DayState.FAILED)
    assert timedelta(0) <= day.due_at - datetime.now(UTC) + timedelta(seconds=60) <= timedelta(hours=6, minutes=2)


def test_a_wait_within_reason_is_heeded_as_it_is() -> None:
    assert VendorUnavailable("Later.", retry_after=7200.5).retry_after == 7200.5
    assert VendorUnavailable("Later.").retry_after is None


def test_days_and_sources_that_wait_for_the_year_33715_are_brought_back_by_the_next_tick(
    planned_source: Source,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE usage_sourceday SET due_at = '33715-01-01', state = 'failed', error = 'x'")
        cursor.execute("UPDATE usage_source SET next_sync_at = '33715-01-01', paused_until = '33715-01-01'")

    (run,) = plan_due()

    assert run.trigger == "retry"
    assert SourceDay.objects.get().due_at <= datetime.now(UTC) + timedelta(minutes=1)
    assert Source.objects.get().paused_until is None
    assert claim_day(planned_source.pk, "w") is not None


def test_a_lease_that_a_wrong_clock_made_is_ended_by_the_next_tick(planned_source: Source) -> None:
    assert claim_day(planned_source.pk, "dead") is not None
    SourceDay.objects.update(lease_expires_at=datetime.now(UTC) + timedelta(days=400))

    plan_due()

    assert claim_day(planned_source.pk, "heir") is not None


def test_waits_that_rules_make_stay_as_they_are(planned_source: Source) -> None:
    Source.objects.update(interval_minutes=60 * 24 * 30)
    soon, in_a_month = datetime.now(UTC) + timedelta(hours=25), datetime.now(UTC) + timedelta(days=30)
    SourceDay.objects.update(due_at=in_a_month)
    Source.objects.update(next_sync_at=in_a_month, paused_until=soon)

    plan_due()

    assert SourceDay.objects.get().due_at == in_a_month
    assert (Source.objects.get().next_sync_at, Source.objects.get().paused_until) == (in_a_month, soon)


def test_a_run_that_could_not_be_ended_ends_with_the_next_read_of_its_day(
    planned_source: Source, listing: Listing
) -> None:
    raise_before_page(listing, VendorUnavailable("The vendor is away."))
    with refuse_updates(STEPS["the run's day"]):
        load_next(planned_source.pk)
    assert SyncRun.objects.get().finished_at is None
    listing.before_page = None
    SourceDay.objects.update(due_at=LONG_AGO)
    plan_due()

    load_next(planned_source.pk)

    assert not SyncRun.objects.filter(finished_at=None).exists()
