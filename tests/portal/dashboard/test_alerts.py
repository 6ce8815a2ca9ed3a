"""Alerts: each problem in plain words, its button for who may press it, and what the button does."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import ApiToken, create_token
from sync.models import SyncRun, Trigger
from tests.support.dashboard_data import kept, of_ago, set_day
from tests.support.factories import SourceFactory
from tests.support.users import client_of
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db

FORM = re.compile(r'<form method="post" action="(/admin/alerts/[^"]+)">')
FAILED = "api.gcore.com cannot answer now (HTTP 503)."


def list_alerts(client: Client) -> list[Any]:
    """Return the alerts that a person sees."""
    answer: Any = client.get("/admin/")
    assert answer.status_code == 200
    alerts: list[Any] = answer.context["alerts"]
    return alerts


def press(client: Client, alert: Any, label: str) -> str:
    """Press a button of an alert, and return the page that follows."""
    url = next(button.url for button in alert.buttons if button.label == label)
    answer = client.post(url, follow=True)
    assert answer.redirect_chain == [("/admin/", 302)]
    return answer.content.decode()


@pytest.fixture
def source() -> Source:
    """A source that was read for a month and more, without a fault."""
    return kept("gcore-main", "gcore", days=40)


def fail(source: Source, *ago: int) -> list[int]:
    """Have days of a source fail, and return their keys."""
    return [set_day(source, n, state="failed", error=FAILED, complete=False, final=False).pk for n in ago]


def suspect(source: Source, ago: int) -> SourceDay:
    """Have a day of a source be suspect."""
    said = {"held": 66, "reported": 6, "would_withdraw": 60, "digest": "0" * 32}
    return set_day(source, ago, state="suspect", suspicion=said)


def test_failed_days_are_one_line_that_retries_them_all(source: Source) -> None:
    keys = fail(source, 4, 6)
    client = client_of("operator")

    (alert,) = list_alerts(client)
    assert (alert.state, alert.subject, alert.tone) == ("Failed", "gcore-main", "bad")
    assert alert.message.startswith("2 days, the latest ")
    assert alert.detail.startswith(FAILED)
    assert alert.links[0].url == "/admin/usage/sourceday/?source=gcore-main&state=failed"

    page = press(client, alert, "Retry now")

    assert "2 days of gcore-main will be synced" in page
    assert set(
        SourceDay.objects.filter(state=DayState.DUE, day__lt=of_ago(source, 0).day).values_list("pk", flat=True)
    ) == set(keys)
    run = SyncRun.objects.get()
    assert (run.trigger, run.requested_by, run.days_total) == (Trigger.ADMIN, "operator", 2)
    assert list_alerts(client) == []


def test_a_suspect_day_is_accepted_or_read_again(source: Source) -> None:
    day, other = suspect(source, 5), suspect(source, 7)
    client = client_of("operator")

    first, second = list_alerts(client)
    assert first.message == f"{day.day.day} {day.day:%b %Y}: the vendor now reports 6 records; 66 are stored."
    press(client, first, "Accept what the vendor reports")
    press(client, second, "Sync again")

    day.refresh_from_db()
    other.refresh_from_db()
    assert (day.state, day.shrink_accepted) == (DayState.DUE, True)
    assert (other.state, other.shrink_accepted) == (DayState.DUE, False)


def test_many_suspect_days_are_shown_in_part_and_the_others_linked_to(source: Source) -> None:
    for ago in range(5, 11):
        suspect(source, ago)

    lines = list_alerts(client_of("operator"))

    assert [bool(line.buttons) for line in lines] == [True, True, True, False]
    assert lines[-1].message == "3 more days are suspect."
    assert lines[-1].links[0].url == "/admin/usage/sourceday/?source=gcore-main&state=suspect"


def test_a_day_accepted_by_another_person_meanwhile_is_told_of_and_not_accepted_twice(source: Source) -> None:
    day = suspect(source, 5)
    client = client_of("operator")
    (alert,) = list_alerts(client)
    SourceDay.objects.filter(pk=day.pk).update(state=DayState.LOADED)

    assert "is not suspect; there is nothing to accept." in press(client, alert, "Accept what the vendor reports")
    assert not SyncRun.objects.exists()


def test_rejected_records_are_counted_linked_to_and_tried_again(source: Source) -> None:
    for ago, rejected in ((5, 3), (8, 1)):
        set_day(source, ago, state="partial", rejected=rejected, complete=False, final=False)
    client = client_of("operator")

    (alert,) = list_alerts(client)
    assert alert.message.endswith(" are partial: 4 records were rejected.")
    assert [link.url for link in alert.links] == [
        "/admin/usage/rejectedrecord/?source=gcore-main&status=open",
        "/admin/usage/sourceday/?source=gcore-main&state=partial",
    ]
    assert "2 days of gcore-main will be synced" in press(client, alert, "Sync again")
    assert list_alerts(client) == []


def test_days_that_disagree_with_the_vendors_totals_are_read_again(source: Source) -> None:
    day = set_day(source, 5, verification="unverified")
    client = client_of("operator")

    (alert,) = list_alerts(client)
    assert alert.message == f"{day.day.day} {day.day:%b %Y} differs from the vendor's totals."
    press(client, alert, "Sync again")

    assert of_ago(source, 5).state == DayState.DUE


def test_a_day_that_waits_because_its_last_read_lacked_values_is_told_with_the_reason(source: Source) -> None:
    lacking = "The vendor's answer lacks task_count, which the day has."
    tomorrow = timezone.now() + timedelta(days=1)
    waiting = {"state": "due", "due_at": tomorrow, "error": lacking, "complete": False, "verification": "unverified"}
    set_day(source, 5, **waiting)
    client = client_of("operator")

    (alert,) = list_alerts(client)
    assert (alert.state, alert.detail) == ("Unverified", lacking)
    press(client, alert, "Sync again")

    assert of_ago(source, 5).due_at < tomorrow
    assert list_alerts(client) == []


ACCEPTED = {
    "findings": "f" * 32,
    "accepted_at": timezone.now(),
    "accepted_by": "alex",
    "accepted_reason": "The vendor knows of it.",
}


def test_what_a_person_accepted_needs_nobody_and_is_not_read_again_with_the_others(source: Source) -> None:
    set_day(source, 5, verification="unverified", **ACCEPTED)
    set_day(source, 6, state="partial", rejected=1, complete=False, **ACCEPTED)
    open_ones = [set_day(source, 7, verification="unverified"), set_day(source, 8, state="partial", complete=False)]
    client = client_of("operator")

    for alert in list_alerts(client):
        press(client, alert, "Sync again")

    assert list_alerts(client) == []
    due = SourceDay.objects.filter(state=DayState.DUE, run_days__isnull=False)
    assert set(due) == set(open_ones)


def test_a_day_whose_findings_may_be_accepted_leads_to_where_that_is_done(source: Source) -> None:
    day = set_day(source, 5, verification="unverified", findings="f" * 32)
    address = f"/admin/usage/sourceday/{day.pk}/accept/"

    assert address in [way.url for alert in list_alerts(client_of("operator")) for way in alert.links]
    assert address not in [way.url for alert in list_alerts(client_of("viewer")) for way in alert.links]


def test_a_day_whose_stored_records_differ_is_told_with_what_differs(source: Source) -> None:
    checked = timezone.now().replace(hour=3, minute=5)
    found = [{"code": "records", "expected": 5, "stored": 4}, {"code": "sums", "expected": {}, "stored": {}}]
    day = set_day(source, 5, state="due", mismatch=found, checked_at=checked)
    client = client_of("operator")

    (alert,) = list_alerts(client)

    when = f"{checked.day} {checked:%b %Y} 03:05 UTC"
    assert alert.message == (
        f"{day.day.day} {day.day:%b %Y} differs: the check of stored records on {when} found the number of records "
        "and the sums different. The day is being synced again."
    )
    assert "1 day of gcore-main will be synced" in press(client, alert, "Sync again")


def test_a_halted_source_says_why_and_only_who_keeps_sources_resumes_it(source: Source) -> None:
    Source.objects.update(halted_at=timezone.now(), halt_reason="The vendor refused the credential (HTTP 401).")
    fail(source, 4)

    halted, failed = list_alerts(client_of("operator"))
    assert halted.detail == "The vendor refused the credential (HTTP 401). Resolve this, then resume the source."
    assert not (*halted.buttons, *failed.buttons)  # reading would be refused

    client = client_of("administrator")
    page = press(client, list_alerts(client)[0], "Resume")
    assert "Sync of gcore-main resumes" in page
    source.refresh_from_db()
    assert source.halted_at is None


def test_a_paused_source_is_read_now_with_its_failed_days(source: Source) -> None:
    Source.objects.update(paused_until=timezone.now() + timedelta(minutes=20), failures=4)
    (key,) = fail(source, 4)
    client = client_of("operator")

    failed, paused = list_alerts(client)
    assert paused.state == "Paused"
    assert failed.buttons == []
    press(client, paused, "Sync now")

    source.refresh_from_db()
    assert source.paused_until is None
    assert SourceDay.objects.get(pk=key).state == DayState.DUE


def test_a_source_of_which_nothing_was_read_is_pointed_out_once_it_should_have_been(source: Source) -> None:
    new = kept("new", "gcore", days=1)
    SourceDay.objects.filter(source=new).delete()
    client = client_of("operator")
    assert list_alerts(client) == []

    Source.objects.filter(pk=new.pk).update(created_at=timezone.now() - timedelta(hours=1))

    (alert,) = list_alerts(client)
    assert (alert.subject, alert.message) == ("new", "has not been synced yet.")
    assert "1 day of new will be synced" in press(client, alert, "Sync now")


def test_a_source_that_fell_behind_is_pointed_out(source: Source) -> None:
    kept("ona-main", "ona", days=10)
    SourceDay.objects.filter(source=source).update(loaded_at=timezone.now() - timedelta(hours=5))

    (alert,) = list_alerts(client_of("operator"))

    assert alert.message == "was last synced 5 hours ago. Its interval is 60 minutes."
    assert [button.label for button in alert.buttons] == ["Sync now"]


def test_a_source_that_is_catching_up_needs_nobody(source: Source) -> None:
    for ago in range(10, 14):
        set_day(source, ago, loaded_at=None, state="due", complete=False, final=False, due_at=timezone.now())

    assert list_alerts(client_of("operator")) == []


def test_days_that_nobody_takes_tell_that_no_worker_runs(source: Source) -> None:
    old = timezone.now() - timedelta(hours=2)
    SourceDay.objects.update(loaded_at=old)
    for ago in (10, 11):
        set_day(source, ago, loaded_at=None, state="due", complete=False, final=False, due_at=old)

    (alert,) = list_alerts(client_of("viewer"))

    assert alert.state == "Stopped"
    assert alert.message == "is overdue: 2 days have waited for more than 10 minutes."
    assert "no worker is running" in alert.detail


def test_a_schedule_that_was_missed_tells_the_same(source: Source) -> None:
    SourceDay.objects.update(loaded_at=timezone.now() - timedelta(hours=2))
    Source.objects.update(next_sync_at=timezone.now() - timedelta(hours=1))

    assert [alert.state for alert in list_alerts(client_of("viewer"))] == ["Stopped"]


def test_a_worker_at_work_is_not_taken_for_dead(source: Source) -> None:
    old = timezone.now() - timedelta(hours=2)
    SourceDay.objects.update(loaded_at=old)
    set_day(source, 11, loaded_at=None, state="due", complete=False, final=False, due_at=old)
    lease = timezone.now() + timedelta(minutes=3)
    set_day(source, 10, loaded_at=None, state="loading", complete=False, final=False, lease_expires_at=lease)

    assert "Stopped" not in [alert.state for alert in list_alerts(client_of("viewer"))]


def test_a_source_that_was_switched_off_is_left_in_peace(source: Source) -> None:
    fail(source, 4)
    Source.objects.update(enabled=False)

    assert list_alerts(client_of("administrator")) == []


def test_a_source_of_a_vendor_that_has_gone_says_so() -> None:
    SourceFactory(vendor="vanished")

    (alert,) = list_alerts(client_of("administrator"))

    assert alert.message == "There is no reader for the vendor “vanished”."


def test_tokens_that_expire_are_shown_to_who_keeps_them(source: Source) -> None:
    now = timezone.now()
    create_token("warehouse", expires_at=now + timedelta(days=4))
    create_token("forever")
    create_token("far", expires_at=now + timedelta(days=100))
    old, _ = create_token("old", expires_at=now - timedelta(days=2))
    create_token("older", expires_at=now - timedelta(days=200))
    client = client_of("administrator")
    assert list_alerts(client_of("operator")) == []

    expired, expiring = list_alerts(client)

    assert (expiring.subject, expired.subject) == ("API token warehouse", "API token old")
    assert expiring.message.startswith("expires in 4 days, on ")
    assert expiring.buttons == []
    assert expiring.links[0].url == "/admin/accounts/apitoken/add/?name=warehouse"
    assert "is revoked" in press(client, expired, "Revoke")
    assert ApiToken.objects.get(pk=old.pk).revoked_at is not None
    assert [alert.subject for alert in list_alerts(client)] == ["API token warehouse"]


def test_a_token_beyond_a_persons_sources_stays_unknown_to_them(source: Source) -> None:
    create_token("unlimited", expires_at=timezone.now() + timedelta(days=4))

    assert list_alerts(client_of("administrator", sources=[source])) == []


def everything(source: Source) -> None:
    """Have everything be wrong that can be, at once."""
    fail(source, 4)
    suspect(source, 5)
    set_day(source, 6, state="partial", rejected=2, complete=False, final=False)
    set_day(source, 7, verification="unverified")
    Source.objects.filter(pk=kept("paused", "ona", days=5).pk).update(paused_until=timezone.now() + timedelta(hours=1))
    Source.objects.filter(pk=kept("halted", "ona", days=5).pk).update(
        halted_at=timezone.now(), halt_reason="The vendor refused the credential."
    )
    create_token("expired", expires_at=timezone.now() - timedelta(days=1))


def test_a_viewer_sees_every_trouble_and_no_button(source: Source) -> None:
    everything(source)

    page = client_of("viewer").get("/admin/").content.decode()

    assert page.count('class="alert-state"') == 6
    assert FORM.findall(page) == []


def test_no_button_that_is_shown_refuses_and_each_that_is_not_does(source: Source) -> None:
    everything(source)
    shown = {
        role: set(FORM.findall(client_of(role).get("/admin/").content.decode()))
        for role in ("administrator", "operator")
    }
    assert len(shown["administrator"]) == len(shown["operator"]) + 2  # resume and revoke

    viewer, operator = client_of("viewer"), client_of("operator")
    for url in shown["administrator"]:
        assert viewer.post(url).status_code == 403
    for url in shown["administrator"] - shown["operator"]:
        assert operator.post(url).status_code == 403
    assert not SyncRun.objects.exists()
    for url in shown["operator"]:
        assert operator.post(url).status_code == 302
    administrator = client_of("administrator")
    for url in shown["administrator"]:
        assert administrator.post(url).status_code == 302


def test_what_is_beyond_a_persons_sources_cannot_be_changed(source: Source) -> None:
    other = kept("zebra", "gcore", days=10)
    fail(other, 4)
    day = suspect(other, 5)
    client = client_of("administrator", sources=[source])

    for url in (
        f"/admin/alerts/sync-failed/{other.pk}/",
        f"/admin/alerts/accept/{day.pk}/",
        f"/admin/alerts/resume/{other.pk}/",
    ):
        assert client.post(url).status_code == 404
    assert not SyncRun.objects.exists()


def test_an_action_takes_a_post_with_a_token_of_a_known_kind(source: Source) -> None:
    fail(source, 4)
    client = client_of("operator")

    assert client.get(f"/admin/alerts/sync-failed/{source.pk}/").status_code == 405
    assert client.post(f"/admin/alerts/nonsense/{source.pk}/").status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert strict.post(f"/admin/alerts/sync-failed/{source.pk}/").status_code == 403
    assert Client().post(f"/admin/alerts/sync-failed/{source.pk}/").status_code == 302  # to sign in
    assert not SyncRun.objects.exists()


def test_a_reason_from_a_vendor_is_escaped(source: Source) -> None:
    set_day(source, 4, state="failed", error="<script>alert(1)</script>", complete=False)

    page = client_of("viewer").get("/admin/").content.decode()

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
