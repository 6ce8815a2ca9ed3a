"""Alerts of days: each problem in plain words, its button, and what the button does."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from sync.models import SyncRun, Trigger
from tests.support.alerts import FAILED, fail, list_alerts, press, suspect
from tests.support.alerts import source as source
from tests.support.dashboard_data import get_day_ago, set_day
from tests.support.users import sign_in_as
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def test_failed_days_are_one_line_that_retries_them_all(source: Source) -> None:
    keys = fail(source, 4, 6)
    client = sign_in_as("operator")

    (alert,) = list_alerts(client)
    assert (alert.state, alert.subject, alert.tone) == ("Failed", "gcore-main", "bad")
    assert alert.message.startswith("2 days, the latest ")
    assert alert.detail.startswith(FAILED)
    assert alert.links[0].url == "/admin/usage/sourceday/?source=gcore-main&state=failed"

    page = press(client, alert, "Retry now")

    assert "2 days of gcore-main will be synced" in page
    assert set(
        SourceDay.objects.filter(state=DayState.DUE, day__lt=get_day_ago(source, 0).day).values_list("pk", flat=True)
    ) == set(keys)
    run = SyncRun.objects.get()
    assert (run.trigger, run.requested_by, run.days_total) == (Trigger.ADMIN, "operator", 2)
    assert list_alerts(client) == []


def test_a_suspect_day_is_accepted_or_read_again(source: Source) -> None:
    day, second_day = suspect(source, 5), suspect(source, 7)
    client = sign_in_as("operator")

    first, second = list_alerts(client)
    assert first.message == f"{day.day.day} {day.day:%b %Y}: the vendor now reports 6 records; 66 are stored."
    press(client, first, "Accept what the vendor reports")
    press(client, second, "Sync again")

    day.refresh_from_db()
    second_day.refresh_from_db()
    assert (day.state, day.shrink_accepted) == (DayState.DUE, True)
    assert (second_day.state, second_day.shrink_accepted) == (DayState.DUE, False)


def test_many_suspect_days_are_shown_in_part_and_the_others_linked_to(source: Source) -> None:
    for ago in range(5, 11):
        suspect(source, ago)

    lines = list_alerts(sign_in_as("operator"))

    assert [bool(line.buttons) for line in lines] == [True, True, True, False]
    assert lines[-1].message == "3 more days are suspect."
    assert lines[-1].links[0].url == "/admin/usage/sourceday/?source=gcore-main&state=suspect"


def test_a_day_accepted_by_another_person_meanwhile_is_told_of_and_not_accepted_twice(source: Source) -> None:
    day = suspect(source, 5)
    client = sign_in_as("operator")
    (alert,) = list_alerts(client)
    SourceDay.objects.filter(pk=day.pk).update(state=DayState.LOADED)

    assert "is not suspect; there is nothing to accept." in press(client, alert, "Accept what the vendor reports")
    assert not SyncRun.objects.exists()


def test_rejected_records_are_counted_linked_to_and_tried_again(source: Source) -> None:
    for ago, rejected in ((5, 3), (8, 1)):
        set_day(source, ago, state="partial", rejected=rejected, complete=False, final=False)
    client = sign_in_as("operator")

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
    client = sign_in_as("operator")

    (alert,) = list_alerts(client)
    assert alert.message == f"{day.day.day} {day.day:%b %Y} differs from the vendor's totals."
    press(client, alert, "Sync again")

    assert get_day_ago(source, 5).state == DayState.DUE


def test_a_day_that_waits_because_its_last_read_lacked_values_is_told_with_the_reason(source: Source) -> None:
    suspicion = "The vendor's answer lacks task_count, which the day has."
    tomorrow = timezone.now() + timedelta(days=1)
    waiting = {"state": "due", "due_at": tomorrow, "error": suspicion, "complete": False, "verification": "unverified"}
    set_day(source, 5, **waiting)
    client = sign_in_as("operator")

    (alert,) = list_alerts(client)
    assert (alert.state, alert.detail) == ("Unverified", suspicion)
    press(client, alert, "Sync again")

    assert get_day_ago(source, 5).due_at < tomorrow
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
    client = sign_in_as("operator")

    for alert in list_alerts(client):
        press(client, alert, "Sync again")

    assert list_alerts(client) == []
    due = SourceDay.objects.filter(state=DayState.DUE, run_days__isnull=False)
    assert set(due) == set(open_ones)


def test_a_day_whose_findings_may_be_accepted_leads_to_where_that_is_done(source: Source) -> None:
    day = set_day(source, 5, verification="unverified", findings="f" * 32)
    address = f"/admin/usage/sourceday/{day.pk}/accept/"

    assert address in [link.url for alert in list_alerts(sign_in_as("operator")) for link in alert.links]
    assert address not in [link.url for alert in list_alerts(sign_in_as("viewer")) for link in alert.links]


def test_a_day_whose_stored_records_differ_is_told_with_what_differs(source: Source) -> None:
    checked_at = timezone.now().replace(hour=3, minute=5)
    differences = [{"code": "records", "expected": 5, "stored": 4}, {"code": "sums", "expected": {}, "stored": {}}]
    day = set_day(source, 5, state="due", mismatch=differences, checked_at=checked_at)
    client = sign_in_as("operator")

    (alert,) = list_alerts(client)

    when = f"{checked_at.day} {checked_at:%b %Y} 03:05 UTC"
    assert alert.message == (
        f"{day.day.day} {day.day:%b %Y} differs: the check of stored records on {when} found the number of records "
        "and the sums different. The day is being synced again."
    )
    assert "1 day of gcore-main will be synced" in press(client, alert, "Sync again")


@pytest.mark.parametrize(
    ("values", "remedy", "buttons"),
    [
        ({}, "They are being synced again.", 1),
        (
            {"final": True, "rolled_up": True, "pruned_at": NOW, "archived_at": NOW},
            "No sync repairs what is archived.",
            0,
        ),
    ],
)
def test_several_days_whose_stored_records_differ_are_one_line(
    source: Source, values: dict[str, Any], remedy: str, buttons: int
) -> None:
    for ago in (5, 7):
        set_day(source, ago, mismatch=[{"code": "digest"}], **values)

    (alert,) = list_alerts(sign_in_as("operator"))

    assert alert.message.startswith("2 days, the latest ")
    assert alert.message.endswith(f" differ by the check of stored records. {remedy}")
    assert len(alert.buttons) == buttons
