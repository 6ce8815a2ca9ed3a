"""Changing, deleting, retiring and resuming sources on their pages."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.accounts.audit.models import AuditEntry, ObjectKind
from sync.engine.claim import claim_day
from sync.engine.plan import plan_now, plan_source
from sync.engine.store import lock_days
from sync.errors import LeaseLost, SyncError
from sync.health import Health
from sync.models import LoadAttempt, SyncRun, Trigger
from sync.serializers import annotate_condition
from sync.source_changes import retire, save_source
from tests.support.factories import SourceDayFactory, SourceFactory
from tests.support.sandbox_server import SandboxServer
from tests.support.source_pages import build_form, get_page_url
from tests.support.users import sign_in_as
from usage.data_quality import assess
from usage.days import get_today
from usage.formatting import format_instant
from usage.models import DayState, EnvironmentUsage, Source, SourceDay

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_client")]


@pytest.fixture
def staff() -> Client:
    return sign_in_as("administrator")


@pytest.fixture
def source(sandbox: SandboxServer, settings: Any) -> Source:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]
    source: Source = SourceFactory.create(
        slug="one", vendor="ona", base_url=f"{sandbox.url}/ona/api", credential="sandbox-key", credential_env="",
        backfill_from=timezone.now().date() - timedelta(days=3),
    )  # fmt: skip
    return source


@pytest.fixture
def planned_source(source: Source) -> Source:
    """A source that was planned and tried, and of which nothing was loaded."""
    plan_source(source.pk)
    claim = claim_day(source.pk, "a worker")
    assert claim is not None
    SourceDay.objects.filter(pk=claim.source_day.pk).update(state=DayState.FAILED, failures=1)
    return source


def store_day(source: Source, on: date, **columns: Any) -> SourceDay:
    values = {"state": DayState.LOADED, "loaded_at": timezone.now(), "complete": True, **columns}
    start = datetime(on.year, on.month, on.day, tzinfo=UTC)
    day: SourceDay = SourceDayFactory.create(
        source=source, day=on, starts_at=start, ends_at=start + timedelta(days=1), **values
    )
    return day


def act(client: Client, source: Source, name: str, **values: Any) -> list[str]:
    response: Any = client.post(reverse("admin:usage_source_do", args=[source.pk, name]), values, follow=True)
    assert response.status_code == 200
    return [str(message) for message in response.context["messages"]]


def delete(client: Client, source: Source) -> Any:
    return client.post(reverse("admin:usage_source_delete", args=[source.pk]), {"post": "yes"}, follow=True)


# Before a day is stored.


def test_the_zone_of_a_source_without_a_stored_day_can_be_corrected(staff: Client, planned_source: Source) -> None:
    assert (
        staff.post(get_page_url(planned_source), build_form(planned_source, time_zone="Asia/Tokyo")).status_code == 302
    )

    planned_source.refresh_from_db()
    assert planned_source.time_zone == "Asia/Tokyo"
    days = list(planned_source.days.all())
    assert len(days) >= 3
    assert {day.starts_at.astimezone(UTC).hour for day in days} == {15}
    assert max(day.day for day in days) <= get_today(planned_source.zone)
    assert not SyncRun.objects.filter(finished_at=None).exists()
    assert plan_now(planned_source, Trigger.ADMIN) is not None


def test_its_vendor_can_be_corrected_and_the_address_follows(staff: Client, planned_source: Source) -> None:
    form = build_form(planned_source, vendor="gcore", new_credential="key-of-gcore")
    assert staff.post(get_page_url(planned_source), form).status_code == 302

    planned_source.refresh_from_db()
    assert (planned_source.vendor, planned_source.base_url) == ("gcore", "https://api.gcore.com")


def test_a_worker_that_still_holds_a_day_of_the_old_zone_writes_nothing(source: Source) -> None:
    plan_source(source.pk)
    stale = claim_day(source.pk, "a worker that hangs")
    assert stale is not None
    SourceDay.objects.filter(pk=stale.source_day.pk).update(lease_expires_at=timezone.now() - timedelta(minutes=1))
    source.time_zone = "Europe/Berlin"
    save_source(source, ["time_zone"])

    claims = [claim_day(source.pk, "another") for _ in range(2)]

    assert stale.source_day.day in {claim.source_day.day for claim in claims if claim}
    with pytest.raises(LeaseLost):
        lock_days(stale)


def test_nothing_is_changed_under_a_worker_that_reads_a_day(staff: Client, source: Source) -> None:
    plan_source(source.pk)
    assert claim_day(source.pk, "a worker") is not None

    response: Any = staff.post(get_page_url(source), build_form(source, time_zone="Asia/Tokyo"))
    assert "is being read" in response.context["adminform"].form.errors["time_zone"][0]
    assert "is being read" in delete(staff, source).content.decode()
    assert Source.objects.get().time_zone == "UTC"


def test_a_source_without_a_stored_day_is_deleted_with_what_was_planned(staff: Client, planned_source: Source) -> None:
    address = reverse("admin:usage_source_delete", args=[planned_source.pk])
    page = staff.get(address).content.decode()
    assert "that were planned and never stored" in page
    assert address in staff.get(get_page_url(planned_source)).content.decode()

    assert delete(staff, planned_source).status_code == 200

    for model in (Source, SourceDay, SyncRun, LoadAttempt):
        assert not model.objects.exists()
    assert AuditEntry.objects.filter(kind=ObjectKind.SOURCE, action="deleted", object_name="one").exists()


def test_a_source_of_which_nothing_was_planned_is_deleted_alone(staff: Client, source: Source) -> None:
    page = staff.get(reverse("admin:usage_source_delete", args=[source.pk])).content.decode()
    assert "The source one" in page
    assert "planned and never stored" not in page


def test_a_source_of_which_no_day_is_stored_is_not_retired(source: Source) -> None:
    with pytest.raises(SyncError, match="delete it, or switch it off"):
        retire(source, source.backfill_from)
    assert Source.objects.get().retired_after is None


def test_a_paused_source_says_until_when(staff: Client, source: Source) -> None:
    until = timezone.now() + timedelta(hours=1)
    Source.objects.update(paused_until=until)
    page = staff.get(get_page_url(source)).content.decode()
    assert f"Paused until {format_instant(until)}." in page
    Source.objects.update(paused_until=timezone.now() - timedelta(hours=1))
    assert "Paused until" not in staff.get(get_page_url(source)).content.decode()


def test_a_source_with_a_stored_day_is_neither_deleted_nor_moved(staff: Client, source: Source) -> None:
    store_day(source, source.backfill_from)
    address = reverse("admin:usage_source_delete", args=[source.pk])

    assert address not in staff.get(get_page_url(source)).content.decode()
    assert staff.post(address, {"post": "yes"}).status_code == 403
    with pytest.raises(SyncError, match="Retire it"):
        save_source(Source(**{**read_columns(source), "time_zone": "Asia/Tokyo"}), ["time_zone"])


def read_columns(source: Source) -> dict[str, Any]:
    return {field.attname: getattr(source, field.attname) for field in Source._meta.concrete_fields}


# Retired.


def test_a_source_with_stored_days_is_retired_and_misses_no_later_day(staff: Client, source: Source) -> None:
    last = source.backfill_from
    store_day(source, last)
    plan_source(source.pk)
    assert "Retire this source" in staff.get(get_page_url(source)).content.decode()

    messages = act(staff, source, "retire", last_day=last.isoformat(), sure="on")

    assert messages == ["one is retired. Its credential is deleted; revoke it at the vendor, too."]
    source.refresh_from_db()
    assert (source.retired_after, source.enabled, source.credential) == (last, False, "")
    assert set(source.days.values_list("day", flat=True)) == {last}
    assert not SyncRun.objects.filter(finished_at=None).exists()
    [annotated] = annotate_condition([source])
    assert annotated.condition.health is Health.RETIRED  # type: ignore[attr-defined]
    start = datetime(last.year, last.month, last.day, tzinfo=UTC)
    quality = assess(
        EnvironmentUsage, source_ids=None, start=start, end=start + timedelta(days=3), zone=source.zone, row_scope=None
    )
    assert quality.complete
    assert quality.lists["missing_days"]["total"] == 0
    page = staff.get(get_page_url(source)).content.decode()
    assert "is its last day" in page
    assert "Test connection" not in page


def test_the_api_and_the_calendar_say_that_a_source_is_retired(staff: Client, source: Source) -> None:
    store_day(source, source.backfill_from)
    retire(source, source.backfill_from)

    body = staff.get("/api/v1/sources/one/").json()
    assert (body["health"], body["retired_after"]) == ("retired", source.backfill_from.isoformat())
    later = source.backfill_from + timedelta(days=1)
    page = staff.get(f"/admin/coverage/?source=one&day={later}").content.decode()
    assert "This source is retired" in page
    with pytest.raises(SyncError, match="one is retired; bring it back first"):
        plan_now(Source.objects.get(), Trigger.ADMIN)


@pytest.mark.parametrize(
    ("days", "sure", "expected"),
    [
        (-1, "on", "A last day from "),
        (9, "on", "A last day from "),
        (0, "", "Delete its credential and sync it no more: This field is required."),
    ],
)
def test_a_source_is_not_retired_before_what_is_stored_nor_unasked(
    staff: Client, source: Source, days: int, sure: str, expected: str
) -> None:
    store_day(source, source.backfill_from)
    last = source.backfill_from + timedelta(days=days)

    [message] = act(staff, source, "retire", last_day=last.isoformat(), sure=sure)

    assert message.startswith(expected)
    assert Source.objects.get().retired_after is None


def test_a_retired_source_is_brought_back_switched_off(staff: Client, source: Source) -> None:
    store_day(source, source.backfill_from)
    retire(source, source.backfill_from)
    assert staff.post(get_page_url(source), build_form(source)).status_code == 403

    act(staff, source, "bring-back")

    source.refresh_from_db()
    assert (source.retired_after, source.enabled) == (None, False)
    assert staff.post(get_page_url(source), build_form(source, new_credential="sandbox-key")).status_code == 302
    assert Source.objects.get().enabled


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_who_may_change_a_source_retires_it(source: Source, role: str) -> None:
    store_day(source, source.backfill_from)
    client = sign_in_as(role)
    address = reverse("admin:usage_source_do", args=[source.pk, "retire"])
    assert client.post(address, {"last_day": source.backfill_from, "sure": "on"}).status_code == 403
    assert "Retire this source" not in client.get(get_page_url(source)).content.decode()


# Halted.


@pytest.fixture
def halted_source(source: Source) -> Source:
    fields = {"halted_at": timezone.now(), "halt_reason": "The key is refused.", "halt_code": "credential_rejected"}
    Source.objects.filter(pk=source.pk).update(credential="refused-key", **fields)
    return Source.objects.get()


def test_a_credential_that_works_resumes_a_halted_source(staff: Client, halted_source: Source) -> None:
    response: Any = staff.post(
        get_page_url(halted_source), build_form(halted_source, new_credential="sandbox-key"), follow=True
    )

    assert Source.objects.get().halted_at is None
    assert any("one resumes with the next tick" in str(message) for message in response.context["messages"])


def test_one_that_does_not_work_is_saved_and_the_source_stays_halted(staff: Client, halted_source: Source) -> None:
    response: Any = staff.post(
        get_page_url(halted_source), build_form(halted_source, new_credential="still-wrong"), follow=True
    )

    stored = Source.objects.get()
    assert (stored.credential, stored.halt_reason) == ("still-wrong", "The key is refused.")
    assert any("one stays halted." in str(message) for message in response.context["messages"])


def test_another_setting_tests_nothing(staff: Client, halted_source: Source, sandbox: SandboxServer) -> None:
    staff.post(get_page_url(halted_source), build_form(halted_source, look_back_days=5))
    assert Source.objects.get().halted_at is not None
    assert not sandbox.stats.requests


@pytest.mark.parametrize(("new_credential", "is_resumed"), [("", True), ("sandbox-key", False)])
def test_a_test_of_what_is_stored_resumes_the_source_and_one_of_what_is_typed_does_not(
    staff: Client, halted_source: Source, new_credential: str, is_resumed: bool
) -> None:
    Source.objects.filter(pk=halted_source.pk).update(credential="sandbox-key")
    address = reverse("admin:usage_source_test", args=[halted_source.pk])

    response: Any = staff.post(
        address, build_form(halted_source, new_credential=new_credential), headers={"HX-Request": "true"}
    )

    assert "The connection works." in response.content.decode()
    assert ("one resumes with the next tick" in response.content.decode()) is is_resumed
    assert (Source.objects.get().halted_at is None) is is_resumed
