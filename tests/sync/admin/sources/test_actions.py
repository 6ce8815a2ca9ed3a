"""The page of a source: what its buttons do, who sees them, and what it costs."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from sync.engine.names import request_names
from sync.models import SyncRun, Trigger
from tests.support.factories import SourceDayFactory
from tests.support.source_pages import CREDENTIAL, build_form, get_action_url, get_page_url, list_messages, sign_in
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db


def test_a_range_is_synced_with_both_of_its_days(staff: Client, source: Source) -> None:
    last = timezone.now().date() - timedelta(days=10)
    first = last - timedelta(days=2)

    response = staff.post(get_action_url(source, "sync-range"), {"first": first, "last": last}, follow=True)

    run = SyncRun.objects.get()
    assert (run.from_day, run.to_day, run.days_total) == (first, last + timedelta(days=1), 3)
    assert (run.trigger, run.requested_by) == (Trigger.ADMIN, "alex")
    assert list_messages(response) == ["3 days of ona-main will be synced, starting now."]
    page = response.content.decode()
    assert "0 of 3 days" in page
    assert f'hx-get="{get_page_url(source)[:-7]}progress/?runs={run.pk}&amp;said={run.pk}-0"' in page


def test_a_run_of_names_speaks_of_no_days(staff: Client, source: Source) -> None:
    run = request_names(source, Trigger.ADMIN)
    SyncRun.objects.filter(pk=run.pk).update(finished_at=timezone.now(), days_done=1)

    for url in ("/admin/sync/syncrun/", f"/admin/sync/syncrun/{run.pk}/change/"):
        page = staff.get(url).content.decode()
        assert "Names" in page
        assert "1 of 1 days" not in page
        assert "Days of the run" not in page


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"first": "2026-01-02", "last": "2026-01-01"}, "The first day, 2 Jan 2026, is after the last, 1 Jan 2026."),
        ({"first": "", "last": "2026-01-01"}, "From: This field is required."),
        ({"first": "2026-01-01", "last": "2999-01-01"}, "The last day is in the future"),
        ({"first": "2026-01-01", "last": "9999-12-31"}, "The last day is in the future"),
        ({"first": "0001-01-01", "last": "0001-01-02"}, "The range begins too early: 1990-01-01"),
        ({"first": "1989-12-31", "last": "1990-01-02"}, "The range begins too early: 1990-01-01"),
    ],
)
def test_a_range_that_cannot_be_read_is_refused_in_words(staff: Client, source: Source, form, message: str) -> None:
    response = staff.post(get_action_url(source, "sync-range"), form, follow=True)

    assert list_messages(response)[0].startswith(message)
    assert not SyncRun.objects.exists()


def test_sync_now_reads_the_look_back_and_today(staff: Client, source: Source) -> None:
    staff.post(get_action_url(source, "sync-now"))

    run = SyncRun.objects.get()
    assert run.days_total == 4
    assert set(SourceDay.objects.values_list("state", flat=True)) == {DayState.DUE}


def test_a_halted_source_says_why_and_can_be_resumed(staff: Client, source: Source) -> None:
    reason = "app.gitpod.io does not accept the credential."
    Source.objects.update(halted_at=timezone.now(), halt_reason=reason, halt_code="credential_rejected")
    page = staff.get(get_page_url(source)).content.decode()
    assert "app.gitpod.io does not accept the credential." in page
    assert "Make a new key at the vendor, give it to the source under Credential" in page
    assert "Sync now" not in page
    assert staff.post(get_action_url(source, "sync-now")).status_code == 403

    staff.post(get_action_url(source, "resume"))

    source.refresh_from_db()
    assert (source.halted_at, source.halt_reason) == (None, "")


def test_a_viewer_sees_no_button_that_would_refuse(client: Client, source: Source) -> None:
    sign_in(client, "view_source", "view_sourceday")

    page = client.get(get_page_url(source)).content.decode()

    assert "/do/" not in page
    assert "/test/" not in page
    assert "new_credential" not in page
    assert CREDENTIAL not in page
    for name in ("sync-now", "sync-range", "resume"):
        assert client.post(get_action_url(source, name)).status_code == 403


def test_an_operator_may_sync_but_not_change_the_source(client: Client, source: Source) -> None:
    sign_in(client, "view_source", "change_sourceday")

    actions = set(re.findall(r"/do/([a-z-]+)/", client.get(get_page_url(source)).content.decode()))

    assert actions == {"sync-now", "sync-range", "read-names"}
    assert client.post(get_action_url(source, "sync-now")).status_code == 302
    assert client.post(get_page_url(source), build_form(source)).status_code == 403


def test_a_button_is_pressed_and_never_followed(staff: Client, source: Source) -> None:
    assert staff.get(get_action_url(source, "sync-now")).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="alex"))
    assert strict.post(get_action_url(source, "sync-now")).status_code == 403
    assert not SyncRun.objects.exists()


def test_the_list_tells_the_coverage_of_every_source_in_a_few_queries(
    staff: Client, source: Source, django_assert_num_queries
) -> None:
    source.backfill_from = timezone.now().date() - timedelta(days=3)
    source.save()
    for number in range(3):
        day = source.backfill_from + timedelta(days=number)
        fields = {"complete": True, "loaded_at": timezone.now(), "state": DayState.LOADED, "records": 1200}
        SourceDayFactory(source=source, day=day, **(fields if number != 1 else {"state": DayState.FAILED}))
    # Who is asking (2), the bounded count, the page, the coverage (2).
    with django_assert_num_queries(6):
        page = staff.get("/admin/usage/source/").content.decode()
    first = source.backfill_from
    assert f"Complete through {first.day} {first:%b %Y}; 2 days provisional; 1 day failed." in page
    assert "2,400" in page


def test_the_page_of_a_source_costs_a_few_queries_however_much_it_holds(
    staff: Client, source: Source, django_assert_num_queries
) -> None:
    for number in range(40):
        day = source.backfill_from + timedelta(days=number)
        SourceDayFactory(source=source, day=day, complete=True, loaded_at=timezone.now(), state=DayState.LOADED)
        run = {"source": source, "trigger": Trigger.SCHEDULE, "from_day": day, "to_day": day + timedelta(days=1)}
        SyncRun.objects.create(**run, days_total=1, days_done=1, finished_at=timezone.now())
    staff.get(get_page_url(source))

    with django_assert_num_queries(15):
        page = staff.get(get_page_url(source)).content.decode()

    assert f'<a href="/admin/coverage/?source={source.slug}">' in page


def test_the_calendar_is_linked_for_those_who_may_see_days(client: Client, source: Source) -> None:
    sign_in(client, "view_source")

    assert "/admin/coverage/" not in client.get(get_page_url(source)).content.decode().split('id="content"')[1]
