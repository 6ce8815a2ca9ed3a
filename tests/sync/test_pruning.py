"""`manage.py prune`: a preview, refusals, what goes by its age, and that nothing reads a pruned day again."""

from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from portal.accounts.models import Scope
from sync import pruning
from sync.admin.coverage.messages import describe_day
from sync.admin.coverage.status import build_calendar_day
from sync.engine.acceptance import withdraw_acceptance
from sync.engine.plan import accept_shrink, plan_checks, plan_now, plan_retries, plan_source, request_sync, reread
from sync.engine.scrub import scrub
from sync.errors import SyncError
from sync.models import LoadAttempt, SyncRun, Trigger
from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.factories import EnvironmentUsageFactory
from tests.support.mirrored_portal import create_mirror_key
from tests.support.scripted_vendor import Listing, make_source
from tests.sync.mirrors.test_mirrors import create_source, send_request
from usage.data_quality import VENDOR_KINDS
from usage.data_quality.coverage import get_coverage
from usage.days import Day
from usage.models import DayState, DayStatus, EnvironmentUsage, RejectedRecord, Source, SourceDay
from usage.partitions import list_partitions
from usage.pruning import PruningRefused
from usage.rollups import roll_up_days

pytestmark = pytest.mark.django_db
MONTH, KEPT = date(2025, 6, 1), date(2025, 7, 1)
FIRST = date(2025, 6, 28)


@pytest.fixture
def source(listing: Listing, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A source whose last three days of June were read and are final, with a run each; later days are not planned."""
    monkeypatch.setitem(VENDOR_KINDS, "scripted", EnvironmentUsage)
    source = make_source(backfill_from=FIRST, look_back_days=3)
    for number in range(3):
        day = Day.of(FIRST + timedelta(days=number), source.zone)
        read_at = datetime(2025, 7, 5, tzinfo=UTC)
        SourceDay.objects.create(
            source=source, day=day.date, starts_at=day.start, ends_at=day.end, state=DayState.LOADED, complete=True,
            final=True, loaded_at=read_at, covered_until=day.end, records=1,
        )  # fmt: skip
        EnvironmentUsageFactory(source=source, stopped_at=day.start + timedelta(hours=12))
    roll_up_days()
    return source


def prune(*arguments: str, before: str = "2025-07") -> str:
    """Return what the command prints."""
    out = StringIO()
    call_command("prune", "--before", before, *arguments, stdout=out)
    return out.getvalue()


def get_day() -> SourceDay:
    """Return the first of the days."""
    return SourceDay.objects.with_status().select_related("source").get(day=FIRST)


def test_without_yes_it_only_says_what_would_go(source: Source) -> None:
    assert "usage_environmentusage_2025_06: about" not in prune()  # nothing is known before its first ANALYZE
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE usage_environmentusage")
    output = prune()

    assert "2025-06  usage_environmentusage_2025_06: about 3 rows, " in output
    assert "days by source: scripted 3" in output
    assert "Nothing was changed" in output
    assert EnvironmentUsage.objects.count() == 3
    assert not SourceDay.objects.filter(pruned_at__isnull=False).exists()


def test_it_drops_what_it_showed_and_can_be_repeated(source: Source) -> None:
    assert "Dropped" in prune("--yes")
    assert EnvironmentUsage.objects.count() == 0
    assert SourceDay.objects.filter(pruned_at__isnull=False).count() == 3
    assert "Dropped 0 tables" in (output := prune("--yes"))
    assert "\n  0 tables; days by source: none\n" in output


@pytest.mark.parametrize("yes", [[], ["--yes"]])
def test_it_is_refused_while_a_day_is_not_final_and_names_the_first_of_them(source: Source, yes: list[str]) -> None:
    Source.objects.create(
        slug="late", vendor="scripted", base_url="https://scripted.example", credential="s", backfill_from=MONTH
    )
    with pytest.raises(CommandError) as exc_info:
        prune(*yes)

    assert exc_info.value.returncode == 1
    text = str(exc_info.value)
    assert "30 days of these months may still change" in text
    assert "late 2025-06-20 (never read)" in text
    assert "late 2025-06-21" not in text
    assert "and 10 more" in text
    assert EnvironmentUsage.objects.count() == 3


def test_a_day_that_became_due_since_the_preview_keeps_every_month(source: Source) -> None:
    SourceDay.objects.filter(day=FIRST).update(state=DayState.DUE)
    with pytest.raises(PruningRefused) as error:
        pruning.prune(KEPT)
    assert [obstacle.day for obstacle in error.value.obstacles] == [FIRST]
    assert EnvironmentUsage.objects.count() == 3


@pytest.mark.parametrize("month", ["2025", "2025-13", "2025-6", "June", "0000-01", "2025-06-01"])
def test_a_month_must_be_one(month: str) -> None:
    with pytest.raises(CommandError, match="is not a month; give a year and a month"):
        prune(before=month)


def test_a_month_must_be_over() -> None:
    with pytest.raises(CommandError, match="9999-12 is too late"):
        prune(before="9999-12")


def test_what_is_older_goes_with_it_and_nothing_else(source: Source) -> None:
    day, old, new = get_day(), datetime(2025, 6, 29, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC)
    for number, (started_at, finished_at) in enumerate([(old, old), (old, None), (new, new)]):
        LoadAttempt.objects.create(source_day=day, number=number, started_at=started_at, finished_at=finished_at)
        run = SyncRun.objects.create(
            source=source, trigger=Trigger.API, from_day=FIRST, to_day=KEPT, created_at=started_at
        )
        SyncRun.objects.filter(pk=run.pk).update(finished_at=finished_at)
        run.run_days.create(source_day=day)
    later = Day.of(KEPT, source.zone)
    later_day = SourceDay.objects.create(source=source, day=KEPT, starts_at=later.start, ends_at=later.end)
    for number, (rejected_day, resolved_at) in enumerate(
        [(day, None), (later_day, old), (later_day, new), (later_day, None)]
    ):
        RejectedRecord.objects.create(
            source_day=rejected_day,
            payload="{}",
            payload_digest=str(number),
            reason="bad",
            attempt=1,
            resolved_at=resolved_at,
        )
    now = timezone.now()
    for session_key, expire_date in (("old", now - timedelta(days=1)), ("live", now + timedelta(days=1))):
        Session.objects.create(session_key=session_key, session_data="", expire_date=expire_date)

    rows = "1 attempts, 1 runs, 2 rejected records, 1 expired sessions, 0 resolved incidents, 0 tests of channels, "
    rows += "0 messages of reports"
    assert f"Older rows: {rows}." in prune()
    assert f"deleted {rows}." in prune("--yes")

    assert sorted(LoadAttempt.objects.values_list("number", flat=True)) == [1, 2]
    assert sorted(RejectedRecord.objects.values_list("payload_digest", flat=True)) == ["2", "3"]
    assert list(Session.objects.values_list("session_key", flat=True)) == ["live"]
    assert SyncRun.objects.count() == 2


def test_nothing_reads_a_pruned_day_again(source: Source, listing: Listing) -> None:
    prune("--yes")

    for run in (plan_source(source.pk), plan_now(source, Trigger.ADMIN), plan_retries(source), plan_checks(source)):
        assert run is None or not run.days.filter(day__lt=KEPT).exists()
    assert scrub(seconds=10) == []
    assert get_day().checked_at is None
    for request in (
        lambda: request_sync(source, FIRST, KEPT + timedelta(days=1), Trigger.API),
        lambda: reread([get_day()], Trigger.ADMIN),
    ):
        with pytest.raises(SyncError, match="scripted of 2025-06 were pruned"):
            request()
    with pytest.raises(SyncError):
        accept_shrink(get_day())
    with pytest.raises(SyncError, match="were pruned"):
        withdraw_acceptance(get_day())
    assert MONTH not in list_partitions(EnvironmentUsage), "no plan creates the month again"
    assert listing.reads == 0


def test_an_earlier_first_day_creates_the_month_again(source: Source) -> None:
    prune("--yes")
    Source.objects.filter(pk=source.pk).update(backfill_from=FIRST - timedelta(days=1))

    run = plan_source(source.pk)

    assert run is not None
    assert [day for day in run.days.values_list("day", flat=True) if day < KEPT] == [FIRST - timedelta(days=1)]
    assert MONTH in list_partitions(EnvironmentUsage)


def test_the_api_refuses_a_sync_of_a_pruned_day_and_says_when_it_was_pruned(source: Source) -> None:
    prune("--yes")
    client: Client = create_api_client(Scope.SYNC_READ, Scope.SYNC_RUN)
    body = {"from": str(FIRST), "to": str(KEPT)}
    response = client.post(f"{API}/sources/scripted/sync/", body, content_type="application/json")
    assert "2025-06 were pruned" in get_problem_details(response, 409)[""][0]
    days = get(client, "sources/scripted/days/", pruned="true")["results"]
    assert len(days) == 3
    assert all(day["pruned_at"] for day in days)


def test_a_pruned_day_is_shown_as_such(source: Source) -> None:
    prune("--yes")
    day = get_day()
    assert day.status == DayStatus.PRUNED
    assert day.describe_status() == "Records pruned."
    message = describe_day(source, build_calendar_day(source, FIRST, day), day)
    assert message.title == "Records pruned"
    assert "1 record of this day" in message.meaning
    coverage = get_coverage([source])[source.pk]
    assert (coverage.pruned, coverage.records_held, coverage.complete_through) == (3, 0, date(2025, 6, 30))


def test_verify_skips_pruned_days_and_says_how_many(source: Source) -> None:
    prune("--yes")
    out = StringIO()
    call_command("verify", stdout=out)
    assert "3 days skipped: the records were pruned." in out.getvalue()
    assert "0 days checked" in out.getvalue()
    out = StringIO()
    call_command("roll_up", "--check", stdout=out)
    assert "3 days have no records to compare with" in out.getvalue()


@pytest.mark.parametrize("refuses", [False, True])
def test_a_mirror_treats_a_pruned_day_as_an_incomplete_one(refuses: bool) -> None:
    source = create_source("ona", mirror_refuses_gaps=refuses)
    SourceDay.objects.filter(source=source).update(pruned_at=timezone.now())
    response: Any = send_request("ona", create_mirror_key())
    if refuses:
        assert response.status_code == 503
    else:
        assert (response["Portal-Complete"], response["Portal-Pruned-Days"]) == ("false", "2")
