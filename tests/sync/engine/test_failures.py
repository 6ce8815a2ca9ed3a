"""A fault of one day or one source affects nothing else, has a reason in words, and is retried where that can help."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from sync.engine.load import load_next
from sync.engine.plan import plan_due, plan_source
from sync.errors import (
    LONGEST_PAYLOAD,
    CredentialError,
    ErrorCode,
    InvalidResponse,
    ListingChanged,
    ReadDeferred,
    VendorUnavailable,
)
from sync.models import LoadAttempt, SyncRun
from tests.support.scripted_vendor import DAY, Listing, build_run, make_source, read_day
from usage.days import Day, get_today
from usage.models import DayState, EnvironmentUsage, Source, SourceDay

pytestmark = pytest.mark.django_db


def get_first_day() -> date:
    """Return the first of the five days that end today; computed when a test runs, as midnight may have passed."""
    return get_today(ZoneInfo("UTC")) - timedelta(days=4)


def fail_with(error: Exception, *, on: date | None = None):
    """Return a `before_page` that fails the read of one day, or of every day."""

    def fail(day: Day, at: int) -> None:
        if on is None or day.date == on:
            raise error

    return fail


@pytest.fixture
def planned_source(db: None, listing: Listing) -> Source:
    source = make_source(backfill_from=get_first_day())
    for offset in range(5):
        on = get_first_day() + timedelta(days=offset)
        listing.records[on] = [
            build_run(offset * 10 + n, on=on, stopped_at=Day.of(on, "UTC").start, created_at=None) for n in range(3)
        ]
    plan_source(source.pk)
    return source


def read_all(source: Source) -> list[str]:
    outcomes = []
    while (attempt := load_next(source.pk)) is not None:
        outcomes.append(str(attempt.outcome))
        assert len(outcomes) < 50
    return outcomes


def test_a_failing_day_does_not_hold_up_the_others_and_comes_back_by_itself(
    planned_source: Source, listing: Listing
) -> None:
    broken_day = get_first_day() + timedelta(days=2)
    listing.before_page = fail_with(InvalidResponse("The answer is not JSON.", payload="<html>"), on=broken_day)

    assert sorted(read_all(planned_source)) == ["failed", *["loaded"] * 4]

    day = SourceDay.objects.get(day=broken_day)
    assert (day.state, day.failures, day.error) == (DayState.FAILED, 1, "The answer is not JSON.")
    assert timedelta(seconds=40) < day.due_at - datetime.now(UTC) < timedelta(seconds=76)
    run = SyncRun.objects.get()
    assert (run.days_done, run.days_failed, run.error) == (4, 1, "The answer is not JSON.")
    assert run.finished_at is not None
    attempt = LoadAttempt.objects.get(outcome=LoadAttempt.Outcome.FAILED)
    assert {attempt.error_code, day.error_code, run.error_code} == {ErrorCode.INVALID_RESPONSE}

    listing.before_page = None
    SourceDay.objects.filter(pk=day.pk).update(due_at=datetime(2020, 1, 1, tzinfo=UTC))
    (retry,) = plan_due()
    assert (retry.trigger, read_all(planned_source)) == ("retry", ["loaded"])
    day.refresh_from_db()
    assert (day.state, day.failures, day.error) == (DayState.LOADED, 0, "")


def test_the_beginning_of_an_answer_that_cannot_be_read_is_kept_with_the_attempt(
    planned_source: Source, listing: Listing
) -> None:
    listing.before_page = fail_with(InvalidResponse("The answer is not JSON.", payload="<html>\x00" + "x" * 10_000))

    attempt = load_next(planned_source.pk)

    assert attempt.payload.startswith("<html>\\u0000xxx")
    assert len(attempt.payload) < LONGEST_PAYLOAD + 10


def test_the_back_off_grows_with_every_failure_and_heeds_the_vendor(planned_source: Source, listing: Listing) -> None:
    listing.before_page = fail_with(VendorUnavailable("503", retry_after=7200))
    SourceDay.objects.exclude(day=get_first_day()).update(due_at=datetime(2100, 1, 1, tzinfo=UTC))

    load_next(planned_source.pk)

    assert SourceDay.objects.get(day=get_first_day()).due_at - datetime.now(UTC) > timedelta(seconds=7190)

    listing.before_page = fail_with(VendorUnavailable("503"))
    Source.objects.update(failures=0, paused_until=None)
    SourceDay.objects.filter(day=get_first_day()).update(
        state=DayState.DUE, due_at=datetime(2020, 1, 1, tzinfo=UTC), failures=4
    )
    load_next(planned_source.pk)
    wait = SourceDay.objects.get(day=get_first_day()).due_at - datetime.now(UTC)
    assert timedelta(minutes=11) < wait < timedelta(minutes=21)


def test_a_source_that_fails_whatever_the_day_is_left_alone_for_a_while(
    planned_source: Source, listing: Listing
) -> None:
    listing.before_page = fail_with(VendorUnavailable("503"))

    assert read_all(planned_source) == ["failed"] * 3

    planned_source.refresh_from_db()
    assert planned_source.failures == 3
    assert planned_source.paused_until > datetime.now(UTC)

    listing.before_page = None
    Source.objects.update(paused_until=datetime(2020, 1, 1, tzinfo=UTC))
    assert load_next(planned_source.pk).outcome == LoadAttempt.Outcome.LOADED
    planned_source.refresh_from_db()
    assert (planned_source.failures, planned_source.paused_until) == (0, None)


def test_a_refused_credential_halts_only_its_source_with_a_reason(planned_source: Source, listing: Listing) -> None:
    other_source = make_source("other", backfill_from=get_today(ZoneInfo("UTC")))
    plan_source(other_source.pk)
    listing.before_page = fail_with(
        CredentialError("The vendor refused the credential (401)."), on=get_today(ZoneInfo("UTC"))
    )

    assert read_all(planned_source) == ["failed"]

    planned_source.refresh_from_db()
    assert planned_source.halt_reason == "The vendor refused the credential (401)."
    assert planned_source.halt_code == ErrorCode.CREDENTIAL_REJECTED
    assert set(SourceDay.objects.filter(source=planned_source).values_list("state", flat=True)) == {DayState.DUE}
    run = SyncRun.objects.get(source=planned_source)
    assert (run.days_failed, run.error) == (5, "The vendor refused the credential (401).")
    assert run.finished_at is not None

    listing.before_page = None
    assert read_all(other_source) == ["loaded"]


def test_a_day_that_must_wait_for_the_request_rate_has_not_failed(planned_source: Source, listing: Listing) -> None:
    listing.before_page = fail_with(ReadDeferred("The rate is used up.", retry_after=40), on=get_today(ZoneInfo("UTC")))

    assert load_next(planned_source.pk).outcome == LoadAttempt.Outcome.DEFERRED

    day = SourceDay.objects.get(day=get_today(ZoneInfo("UTC")))
    assert (day.state, day.failures) == (DayState.DUE, 0)
    assert timedelta(seconds=35) < day.due_at - datetime.now(UTC) < timedelta(seconds=41)
    assert SyncRun.objects.get().days_failed == 0


def test_a_listing_that_shifts_while_it_is_paged_is_read_from_its_start_again(
    planned_source: Source, listing: Listing
) -> None:
    shifts = iter([True, True, False, False])

    def run_before_page(day: Day, at: int) -> None:
        if at and next(shifts):
            raise ListingChanged("count changed")

    listing.records[get_today(ZoneInfo("UTC"))] = [
        build_run(n, on=get_today(ZoneInfo("UTC")), created_at=None) for n in range(150)
    ]
    listing.before_page = run_before_page

    attempt = load_next(planned_source.pk)

    assert (attempt.outcome, attempt.inserted, attempt.fetched, listing.reads) == ("loaded", 150, 150, 3)


def test_a_listing_that_never_holds_still_fails_the_day(planned_source: Source, listing: Listing) -> None:
    listing.before_page = fail_with(ListingChanged("The listing changed while it was read."))

    attempt = load_next(planned_source.pk)

    assert (attempt.outcome, attempt.error, listing.reads) == (
        "failed",
        "The listing changed while it was read.",
        4,
    )


def test_an_unforeseen_error_fails_the_day_and_tells_no_secret(planned_source: Source, listing: Listing) -> None:
    listing.before_page = fail_with(RuntimeError("Bearer very-secret"))

    attempt = load_next(planned_source.pk)

    assert attempt.outcome == "failed"
    assert attempt.error == "Unexpected RuntimeError while reading; the log has the details."
    assert "secret" not in SourceDay.objects.get(day=get_today(ZoneInfo("UTC"))).error


@pytest.mark.django_db(transaction=True)
def test_a_day_that_cannot_be_stored_fails_alone_and_leaves_nothing_behind(
    planned_source: Source, listing: Listing
) -> None:
    listing.records[get_today(ZoneInfo("UTC"))] = [
        build_run(1, on=get_today(ZoneInfo("UTC"))),
        build_run(2, on=get_today(ZoneInfo("UTC")))._replace(project_id="nul \x00"),
    ]

    attempt = load_next(planned_source.pk)

    assert (attempt.outcome, attempt.inserted) == ("failed", 0)
    assert load_next(planned_source.pk).outcome == "loaded"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("NEW.user_id := 'changed on the way'; RETURN NEW;", "would differ from the records read; nothing was changed"),
        ("RAISE EXCEPTION 'no' USING ERRCODE = 'check_violation';", "Unexpected IntegrityError"),
    ],
)
def test_a_day_that_the_database_does_not_store_as_it_was_read_fails(
    source: Source, listing: Listing, body: str, reason: str
) -> None:
    table = EnvironmentUsage._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE FUNCTION pg_temp.spoil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} END$$")
        cursor.execute(f"CREATE TRIGGER spoil BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION pg_temp.spoil()")
    listing.records[DAY] = [build_run(1), build_run(2)]

    attempt = read_day(source)

    assert (attempt.outcome, attempt.inserted) == ("failed", 0)
    assert reason in attempt.error
    assert not EnvironmentUsage.objects.exists()
