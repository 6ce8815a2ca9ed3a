"""What needs a person: each trouble in plain words, its button for who may press it, and what pressing it does."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from portal.models import ApiToken, create_token
from sync.models import SyncRun, Trigger
from tests.factories import SourceFactory
from tests.overview_data import kept, of_ago, set_day
from tests.people import client_of
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db

FORM = re.compile(r'<form method="post" action="(/admin/mend/[^"]+)">')
FAILED = "api.gcore.com cannot answer now (HTTP 503)."


def needs(client: Client) -> list[Any]:
    """Return the lines that a person sees."""
    answer: Any = client.get("/admin/")
    assert answer.status_code == 200
    lines: list[Any] = answer.context["needs"]
    return lines


def pressed(client: Client, need: Any, label: str) -> str:
    """Press a button of a line, and return the page that follows."""
    url = next(way.url for way in need.buttons if way.label == label)
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

    (need,) = needs(client)
    assert (need.state, need.about, need.tone) == ("Failed", "gcore-main", "bad")
    assert need.words.startswith("2 days could not be read, the latest ")
    assert need.detail.startswith(FAILED)
    assert need.links[0].url == "/admin/usage/sourceday/?source=gcore-main&state=failed"

    page = pressed(client, need, "Retry now")

    assert "2 days of gcore-main will be read" in page
    assert set(
        SourceDay.objects.filter(state=DayState.DUE, day__lt=of_ago(source, 0).day).values_list("pk", flat=True)
    ) == set(keys)
    run = SyncRun.objects.get()
    assert (run.trigger, run.requested_by, run.days_total) == (Trigger.ADMIN, "operator", 2)
    assert needs(client) == []


def test_a_suspect_day_is_accepted_or_read_again(source: Source) -> None:
    day, other = suspect(source, 5), suspect(source, 7)
    client = client_of("operator")

    first, second = needs(client)
    assert first.words == f"{day.day.day} {day.day:%b %Y}: the vendor now reports 6 records, where 66 are held."
    pressed(client, first, "Accept what the vendor reports")
    pressed(client, second, "Read again")

    day.refresh_from_db()
    other.refresh_from_db()
    assert (day.state, day.shrink_accepted) == (DayState.DUE, True)
    assert (other.state, other.shrink_accepted) == (DayState.DUE, False)


def test_many_suspect_days_are_shown_in_part_and_the_others_linked_to(source: Source) -> None:
    for ago in range(5, 11):
        suspect(source, ago)

    lines = needs(client_of("operator"))

    assert [bool(line.buttons) for line in lines] == [True, True, True, False]
    assert lines[-1].words == "3 days more are suspect."
    assert lines[-1].links[0].url == "/admin/usage/sourceday/?source=gcore-main&state=suspect"


def test_a_day_accepted_by_another_person_meanwhile_is_told_of_and_not_accepted_twice(source: Source) -> None:
    day = suspect(source, 5)
    client = client_of("operator")
    (need,) = needs(client)
    SourceDay.objects.filter(pk=day.pk).update(state=DayState.LOADED)

    assert "is not suspect; there is nothing to accept." in pressed(client, need, "Accept what the vendor reports")
    assert not SyncRun.objects.exists()


def test_rejected_records_are_counted_linked_to_and_tried_again(source: Source) -> None:
    for ago, rejected in ((5, 3), (8, 1)):
        set_day(source, ago, state="partial", rejected=rejected, complete=False, final=False)
    client = client_of("operator")

    (need,) = needs(client)
    assert need.words.startswith("4 records of 2 days, the latest ")
    assert [way.url for way in need.links] == [
        "/admin/usage/rejectedrecord/?source=gcore-main&status=open",
        "/admin/usage/sourceday/?source=gcore-main&state=partial",
    ]
    assert "2 days of gcore-main will be read" in pressed(client, need, "Read again")
    assert needs(client) == []


def test_days_that_disagree_with_the_vendors_totals_are_read_again(source: Source) -> None:
    day = set_day(source, 5, verification="unverified")
    client = client_of("operator")

    (need,) = needs(client)
    assert need.words == f"{day.day.day} {day.day:%b %Y} does not agree with the vendor's own totals."
    pressed(client, need, "Read again")

    assert of_ago(source, 5).state == DayState.DUE


def test_a_halted_source_says_why_and_only_who_keeps_sources_resumes_it(source: Source) -> None:
    Source.objects.update(halted_at=timezone.now(), halt_reason="The vendor refused the credential (HTTP 401).")
    fail(source, 4)

    halted, failed = needs(client_of("operator"))
    assert halted.detail == "The vendor refused the credential (HTTP 401). Mend that first."
    assert not (*halted.buttons, *failed.buttons)  # reading would be refused

    client = client_of("administrator")
    page = pressed(client, needs(client)[0], "Resume")
    assert "Reading of gcore-main resumes" in page
    source.refresh_from_db()
    assert source.halted_at is None


def test_a_paused_source_is_read_now_with_its_failed_days(source: Source) -> None:
    Source.objects.update(paused_until=timezone.now() + timedelta(minutes=20), failures=4)
    (key,) = fail(source, 4)
    client = client_of("operator")

    failed, paused = needs(client)
    assert paused.state == "Paused"
    assert failed.buttons == []
    pressed(client, paused, "Read now")

    source.refresh_from_db()
    assert source.paused_until is None
    assert SourceDay.objects.get(pk=key).state == DayState.DUE


def test_a_source_of_which_nothing_was_read_is_pointed_out_once_it_should_have_been(source: Source) -> None:
    new = kept("new", "gcore", days=1)
    SourceDay.objects.filter(source=new).delete()
    client = client_of("operator")
    assert needs(client) == []

    Source.objects.filter(pk=new.pk).update(created_at=timezone.now() - timedelta(hours=1))

    (need,) = needs(client)
    assert (need.about, need.words) == ("new", "Nothing was read yet.")
    assert "1 day of new will be read" in pressed(client, need, "Read now")


def test_a_source_that_fell_behind_is_pointed_out(source: Source) -> None:
    kept("ona-main", "ona", days=10)
    SourceDay.objects.filter(source=source).update(loaded_at=timezone.now() - timedelta(hours=5))

    (need,) = needs(client_of("operator"))

    assert need.words == "It was last read 5 hours ago, though it is to be read every 60 minutes."
    assert [way.label for way in need.buttons] == ["Read now"]


def test_a_source_that_is_catching_up_needs_nobody(source: Source) -> None:
    for ago in range(10, 14):
        set_day(source, ago, loaded_at=None, state="due", complete=False, final=False, due_at=timezone.now())

    assert needs(client_of("operator")) == []


def test_days_that_nobody_takes_tell_that_no_worker_runs(source: Source) -> None:
    old = timezone.now() - timedelta(hours=2)
    SourceDay.objects.update(loaded_at=old)
    for ago in (10, 11):
        set_day(source, ago, loaded_at=None, state="due", complete=False, final=False, due_at=old)

    (need,) = needs(client_of("viewer"))

    assert need.state == "Standing still"
    assert need.words == "Nothing is being read: 2 days have waited for more than 10 minutes."
    assert "no worker is running" in need.detail


def test_a_schedule_that_was_missed_tells_the_same(source: Source) -> None:
    SourceDay.objects.update(loaded_at=timezone.now() - timedelta(hours=2))
    Source.objects.update(next_sync_at=timezone.now() - timedelta(hours=1))

    assert [need.state for need in needs(client_of("viewer"))] == ["Standing still"]


def test_a_worker_at_work_is_not_taken_for_dead(source: Source) -> None:
    old = timezone.now() - timedelta(hours=2)
    SourceDay.objects.update(loaded_at=old)
    set_day(source, 11, loaded_at=None, state="due", complete=False, final=False, due_at=old)
    lease = timezone.now() + timedelta(minutes=3)
    set_day(source, 10, loaded_at=None, state="loading", complete=False, final=False, lease_expires_at=lease)

    assert "Standing still" not in [need.state for need in needs(client_of("viewer"))]


def test_a_source_that_was_switched_off_is_left_in_peace(source: Source) -> None:
    fail(source, 4)
    Source.objects.update(enabled=False)

    assert needs(client_of("administrator")) == []


def test_a_source_of_a_vendor_that_has_gone_says_so() -> None:
    SourceFactory(vendor="vanished")

    (need,) = needs(client_of("administrator"))

    assert need.words == "There is no reader of the vendor “vanished” any more."


def test_tokens_that_expire_are_shown_to_who_keeps_them(source: Source) -> None:
    now = timezone.now()
    create_token("warehouse", expires_at=now + timedelta(days=4))
    create_token("forever")
    create_token("far", expires_at=now + timedelta(days=100))
    old, _ = create_token("old", expires_at=now - timedelta(days=2))
    create_token("older", expires_at=now - timedelta(days=200))
    client = client_of("administrator")
    assert needs(client_of("operator")) == []

    expired, expiring = needs(client)

    assert (expiring.about, expired.about) == ("Token warehouse", "Token old")
    assert expiring.words.startswith("It expires in 4 days, on ")
    assert expiring.buttons == []
    assert expiring.links[0].url == "/admin/portal/apitoken/add/?name=warehouse"
    assert "is revoked" in pressed(client, expired, "Revoke")
    assert ApiToken.objects.get(pk=old.pk).revoked_at is not None
    assert [need.about for need in needs(client)] == ["Token warehouse"]


def test_a_token_beyond_a_persons_sources_stays_unknown_to_them(source: Source) -> None:
    create_token("unlimited", expires_at=timezone.now() + timedelta(days=4))

    assert needs(client_of("administrator", sources=[source])) == []


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

    assert page.count('class="need-state"') == 6
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


def test_what_is_beyond_a_persons_sources_cannot_be_mended(source: Source) -> None:
    other = kept("zebra", "gcore", days=10)
    fail(other, 4)
    day = suspect(other, 5)
    client = client_of("administrator", sources=[source])

    for url in (f"/admin/mend/retry/{other.pk}/", f"/admin/mend/accept/{day.pk}/", f"/admin/mend/resume/{other.pk}/"):
        assert client.post(url).status_code == 404
    assert not SyncRun.objects.exists()


def test_mending_takes_a_post_with_a_token_of_a_known_kind(source: Source) -> None:
    fail(source, 4)
    client = client_of("operator")

    assert client.get(f"/admin/mend/retry/{source.pk}/").status_code == 405
    assert client.post(f"/admin/mend/nonsense/{source.pk}/").status_code == 403
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = client.cookies
    assert strict.post(f"/admin/mend/retry/{source.pk}/").status_code == 403
    assert Client().post(f"/admin/mend/retry/{source.pk}/").status_code == 302  # to sign in
    assert not SyncRun.objects.exists()


def test_a_reason_from_a_vendor_is_escaped(source: Source) -> None:
    set_day(source, 4, state="failed", error="<script>alert(1)</script>", complete=False)

    page = client_of("viewer").get("/admin/").content.decode()

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
