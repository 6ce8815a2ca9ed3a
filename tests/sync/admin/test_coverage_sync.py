"""Syncing days from the calendar: a range, one day, accepting a suspect day; and who may do it."""

from datetime import date
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sync.models import SyncRun
from tests.support.filled_portal import VendorSources
from tests.support.source_pages import sign_in
from tests.support.users import sign_in_as
from usage.models import Source, SourceDay

pytestmark = pytest.mark.django_db
READ = "/admin/coverage/gcore-main/read/"
RANGE = {"first": "2026-10-18", "last": "2026-10-22"}


@pytest.fixture
def operator(sources: VendorSources) -> Client:
    return sign_in_as("operator")


def test_how_many_days_would_be_read_is_said_before_any_is(operator: Client) -> None:
    page = operator.get(READ, RANGE).content.decode()
    part = operator.get(READ, RANGE, headers={"HX-Request": "true"}).content.decode()

    for text in (page, part):
        assert "5 days</strong> will be synced" in text
        assert "18 October 2026 through 22 October 2026" in text
        assert "3 of 3 days complete" in text
        assert "Sync 5 days" in text
    assert "<html" not in part
    assert SyncRun.objects.filter(requested_by="operator").count() == 0


def test_a_confirmed_range_is_read_and_its_run_shown(operator: Client, sources: VendorSources) -> None:
    response = operator.post(READ, RANGE)

    run = SyncRun.objects.get(requested_by="operator")
    assert response["Location"] == reverse("admin:sync_syncrun_change", args=[run.pk])
    assert (run.from_day, run.to_day, run.days_total) == (date(2026, 10, 18), date(2026, 10, 23), 5)
    days = SourceDay.objects.filter(source=sources.resources, day__range=("2026-10-18", "2026-10-22"))
    assert list(days.values_list("state", flat=True)) == ["due"] * 5


def test_who_may_not_see_runs_is_led_back_to_the_calendar(client: Client, sources: VendorSources) -> None:
    sign_in(client, "view_source", "view_sourceday", "change_sourceday")
    assert client.post(READ, RANGE)["Location"] == "/admin/coverage/?source=gcore-main&year=2026"
    assert SyncRun.objects.get(requested_by="sam").days_total == 5


def test_the_same_range_asked_twice_is_one_run(operator: Client) -> None:
    assert operator.post(READ, RANGE)["Location"] == operator.post(READ, RANGE)["Location"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"first": "2026-10-22", "last": "2026-10-20"}, "22 Oct 2026, is after the last, 20 Oct 2026"),
        ({"first": "2026-10-22", "last": "2999-01-01"}, "is in the future"),
        ({"first": "1990-10-22", "last": "2026-10-22"}, "The range is too long"),
        ({"first": "2026-10-22"}, "Through: This field is required."),
        ({"first": "soon", "last": "2026-10-22"}, "From: Enter a valid date."),
    ],
)
def test_a_range_that_cannot_be_read_is_refused_in_words(operator: Client, params: Any, message: str) -> None:
    for response in (operator.get(READ, params), operator.post(READ, params)):
        assert message in response.content.decode()
        assert "will be synced" not in response.content.decode()
    assert not SyncRun.objects.filter(requested_by="operator").exists()


def test_a_halted_source_is_named_instead_of_read(operator: Client, sources: VendorSources) -> None:
    Source.objects.filter(pk=sources.resources.pk).update(halted_at=timezone.now(), halt_reason="The key was refused.")

    assert "gcore-main is halted: The key was refused." in operator.get(READ, RANGE).content.decode()


def test_a_day_that_was_never_planned_is_read_alone(operator: Client, sources: VendorSources) -> None:
    page = operator.get("/admin/coverage/?source=gcore-main&day=2026-11-19").content.decode()
    assert "Sync this day" in page

    operator.post(READ, {"first": "2026-11-19", "last": "2026-11-19"})

    assert SourceDay.objects.get(source=sources.resources, day="2026-11-19").state == "due"


def test_a_viewer_sees_no_button_that_would_refuse(sources: VendorSources) -> None:
    viewer = sign_in_as("viewer")
    suspect = SourceDay.objects.get(state="suspect")

    for address in (
        "/admin/coverage/",
        "/admin/coverage/?source=gcore-main",
        f"/admin/coverage/?source=gcore-main&day={suspect.day}",
        "/admin/coverage/?source=gcore-main&day=2026-11-19",
        f"/admin/usage/sourceday/{suspect.pk}/change/",
        "/admin/usage/sourceday/",
    ):
        page = viewer.get(address).content.decode()
        for forbidden in ("/do/", "/read/", 'name="action"', "Sync again", "Accept what"):
            assert forbidden not in page, (address, forbidden)
    assert viewer.get(READ, RANGE).status_code == 403
    assert viewer.post(READ, RANGE).status_code == 403
    assert viewer.post(reverse("admin:usage_sourceday_do", args=[suspect.pk, "accept"])).status_code == 403
    suspect.refresh_from_db()
    assert suspect.state == "suspect"


def test_reading_needs_a_token_of_the_page(sources: VendorSources) -> None:
    from tests.support.users import create_person

    strict = Client(enforce_csrf_checks=True)
    strict.force_login(create_person("operator"))

    assert strict.post(READ, RANGE).status_code == 403
    assert not SyncRun.objects.filter(requested_by="operator").exists()


def test_a_suspect_day_shows_both_counts_and_is_accepted_from_its_panel(operator: Client) -> None:
    suspect = SourceDay.objects.get(state="suspect")
    page = operator.get(f"/admin/coverage/?source=gcore-main&day={suspect.day}").content.decode()
    assert reverse("admin:usage_sourceday_do", args=[suspect.pk, "accept"]) in page

    operator.post(reverse("admin:usage_sourceday_do", args=[suspect.pk, "accept"]))

    suspect.refresh_from_db()
    assert (suspect.shrink_accepted, suspect.state) == (True, "due")


def test_a_day_to_come_cannot_be_read(operator: Client) -> None:
    day = f"{timezone.now().year + 1}-01-01"
    page = operator.get(f"/admin/coverage/?source=gcore-main&day={day}").content.decode()

    assert "In the future" in page
    assert "Sync this day" not in page
