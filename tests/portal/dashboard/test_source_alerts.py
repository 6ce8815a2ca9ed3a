"""Alerts of sources, of workers and of tokens, and who may press their buttons."""

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts.models import ApiToken, create_token
from sync.models import SyncRun
from tests.support.alerts import fail, list_alerts, press, suspect
from tests.support.alerts import source as source
from tests.support.dashboard_data import create_synced_source, set_day
from tests.support.factories import SourceFactory
from tests.support.users import sign_in_as
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
FORM = re.compile(r'<form method="post" action="(/admin/alerts/[^"]+)">')


def test_a_halted_source_says_why_and_only_who_keeps_sources_resumes_it(source: Source) -> None:
    Source.objects.update(halted_at=timezone.now(), halt_reason="The vendor refused the credential (HTTP 401).")
    fail(source, 4)

    halted, failed = list_alerts(sign_in_as("operator"))
    assert halted.detail == "The vendor refused the credential (HTTP 401). Resolve this, then resume the source."
    assert not (*halted.buttons, *failed.buttons)  # reading would be refused

    client = sign_in_as("administrator")
    page = press(client, list_alerts(client)[0], "Resume")
    assert "Sync of gcore-main resumes" in page
    source.refresh_from_db()
    assert source.halted_at is None


def test_a_source_that_somebody_resumed_meanwhile_has_nothing_left_to_do(source: Source) -> None:
    Source.objects.update(halted_at=timezone.now(), halt_reason="The vendor refused the credential (HTTP 401).")
    client = sign_in_as("administrator")
    (alert,) = list_alerts(client)
    Source.objects.update(halted_at=None, halt_reason="")

    assert "There is nothing left to do for gcore-main." in press(client, alert, "Resume")


def test_a_paused_source_is_read_now_with_its_failed_days(source: Source) -> None:
    Source.objects.update(paused_until=timezone.now() + timedelta(minutes=20), failures=4)
    (key,) = fail(source, 4)
    client = sign_in_as("operator")

    failed, paused = list_alerts(client)
    assert paused.state == "Paused"
    assert failed.buttons == []
    press(client, paused, "Sync now")

    source.refresh_from_db()
    assert source.paused_until is None
    assert SourceDay.objects.get(pk=key).state == DayState.DUE


def test_a_source_of_which_nothing_was_read_is_pointed_out_once_it_should_have_been(source: Source) -> None:
    new_source = create_synced_source("new", "gcore", days=1)
    SourceDay.objects.filter(source=new_source).delete()
    client = sign_in_as("operator")
    assert list_alerts(client) == []

    Source.objects.filter(pk=new_source.pk).update(created_at=timezone.now() - timedelta(hours=1))

    (alert,) = list_alerts(client)
    assert (alert.subject, alert.message) == ("new", "has not been synced yet.")
    assert "1 day of new will be synced" in press(client, alert, "Sync now")


def test_a_source_that_fell_behind_is_pointed_out(source: Source) -> None:
    create_synced_source("ona-main", "ona", days=10)
    SourceDay.objects.filter(source=source).update(loaded_at=timezone.now() - timedelta(hours=5))

    (alert,) = list_alerts(sign_in_as("operator"))

    assert alert.message == "was last synced 5 hours ago. Its interval is 60 minutes."
    assert [button.label for button in alert.buttons] == ["Sync now"]


def test_a_source_that_is_catching_up_needs_nobody(source: Source) -> None:
    for ago in range(10, 14):
        set_day(source, ago, loaded_at=None, state="due", complete=False, final=False, due_at=timezone.now())

    assert list_alerts(sign_in_as("operator")) == []


def test_days_that_nobody_takes_tell_that_no_worker_runs(source: Source) -> None:
    old = timezone.now() - timedelta(hours=2)
    SourceDay.objects.update(loaded_at=old)
    for ago in (10, 11):
        set_day(source, ago, loaded_at=None, state="due", complete=False, final=False, due_at=old)

    (alert,) = list_alerts(sign_in_as("viewer"))

    assert alert.state == "Stopped"
    assert alert.message == "is overdue: 2 days have waited for more than 10 minutes."
    assert "no worker is running" in alert.detail


def test_a_schedule_that_was_missed_tells_the_same(source: Source) -> None:
    SourceDay.objects.update(loaded_at=timezone.now() - timedelta(hours=2))
    Source.objects.update(next_sync_at=timezone.now() - timedelta(hours=1))

    assert [alert.state for alert in list_alerts(sign_in_as("viewer"))] == ["Stopped"]


def test_a_worker_at_work_is_not_taken_for_dead(source: Source) -> None:
    old = timezone.now() - timedelta(hours=2)
    SourceDay.objects.update(loaded_at=old)
    set_day(source, 11, loaded_at=None, state="due", complete=False, final=False, due_at=old)
    lease = timezone.now() + timedelta(minutes=3)
    set_day(source, 10, loaded_at=None, state="loading", complete=False, final=False, lease_expires_at=lease)

    assert "Stopped" not in [alert.state for alert in list_alerts(sign_in_as("viewer"))]


def test_a_source_that_was_switched_off_is_left_in_peace(source: Source) -> None:
    fail(source, 4)
    Source.objects.update(enabled=False)

    assert list_alerts(sign_in_as("administrator")) == []


def test_a_source_of_a_vendor_that_has_gone_says_so() -> None:
    SourceFactory(vendor="vanished")

    (alert,) = list_alerts(sign_in_as("administrator"))

    assert alert.message == "There is no reader for the vendor “vanished”."


def test_tokens_that_expire_are_shown_to_who_keeps_them(source: Source) -> None:
    now = timezone.now()
    create_token("warehouse", expires_at=now + timedelta(days=4))
    create_token("forever")
    create_token("far", expires_at=now + timedelta(days=100))
    old, _ = create_token("old", expires_at=now - timedelta(days=2))
    create_token("older", expires_at=now - timedelta(days=200))
    client = sign_in_as("administrator")
    assert list_alerts(sign_in_as("operator")) == []

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

    assert list_alerts(sign_in_as("administrator", sources=[source])) == []


def cause_every_alert(source: Source) -> None:
    """Have everything be wrong that can be, at once."""
    fail(source, 4)
    suspect(source, 5)
    set_day(source, 6, state="partial", rejected=2, complete=False, final=False)
    set_day(source, 7, verification="unverified")
    Source.objects.filter(pk=create_synced_source("paused", "ona", days=5).pk).update(
        paused_until=timezone.now() + timedelta(hours=1)
    )
    Source.objects.filter(pk=create_synced_source("halted", "ona", days=5).pk).update(
        halted_at=timezone.now(), halt_reason="The vendor refused the credential."
    )
    create_token("expired", expires_at=timezone.now() - timedelta(days=1))


def test_a_viewer_sees_every_trouble_and_no_button(source: Source) -> None:
    cause_every_alert(source)

    page = sign_in_as("viewer").get("/admin/").content.decode()

    assert page.count('class="alert-state"') == 6
    assert FORM.findall(page) == []


def test_no_button_that_is_shown_refuses_and_each_that_is_not_does(source: Source) -> None:
    cause_every_alert(source)
    urls = {
        role: set(FORM.findall(sign_in_as(role).get("/admin/").content.decode()))
        for role in ("administrator", "operator")
    }
    assert len(urls["administrator"]) == len(urls["operator"]) + 2  # resume and revoke

    viewer, operator = sign_in_as("viewer"), sign_in_as("operator")
    for url in urls["administrator"]:
        assert viewer.post(url).status_code == 403
    for url in urls["administrator"] - urls["operator"]:
        assert operator.post(url).status_code == 403
    assert not SyncRun.objects.exists()
    for url in urls["operator"]:
        assert operator.post(url).status_code == 302
    administrator = sign_in_as("administrator")
    for url in urls["administrator"]:
        assert administrator.post(url).status_code == 302


def test_what_is_beyond_a_persons_sources_cannot_be_changed(source: Source) -> None:
    hidden_source = create_synced_source("zebra", "gcore", days=10)
    fail(hidden_source, 4)
    day = suspect(hidden_source, 5)
    client = sign_in_as("administrator", sources=[source])

    for url in (
        f"/admin/alerts/sync-failed/{hidden_source.pk}/",
        f"/admin/alerts/accept/{day.pk}/",
        f"/admin/alerts/resume/{hidden_source.pk}/",
    ):
        assert client.post(url).status_code == 404
    assert not SyncRun.objects.exists()


def test_an_action_takes_a_post_with_a_token_of_a_known_kind(source: Source) -> None:
    fail(source, 4)
    client = sign_in_as("operator")

    assert client.get(f"/admin/alerts/sync-failed/{source.pk}/").status_code == 405
    assert client.post(f"/admin/alerts/nonsense/{source.pk}/").status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert strict.post(f"/admin/alerts/sync-failed/{source.pk}/").status_code == 403
    assert Client().post(f"/admin/alerts/sync-failed/{source.pk}/").status_code == 302  # to sign in
    assert not SyncRun.objects.exists()


def test_a_reason_from_a_vendor_is_escaped(source: Source) -> None:
    set_day(source, 4, state="failed", error="<script>alert(1)</script>", complete=False)

    page = sign_in_as("viewer").get("/admin/").content.decode()

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
