"""Accepting a day's findings on the pages and over the API: who may do it, and where it is shown."""

from datetime import date, timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import Scope
from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.filled_portal import VendorSources
from tests.support.users import sign_in_as
from usage.models import SourceDay, Verification

pytestmark = pytest.mark.django_db
REASON = "The vendor knows of <b>it</b>."


@pytest.fixture
def day(sources: VendorSources) -> SourceDay:
    """A day of Gcore that differs from the vendor's sums."""
    differences = [{"what": "total", "type": "instance", "vendor": "1440.5", "portal": "1400.25"}]
    source_day = SourceDay.objects.get(source=sources.resources, day="2026-11-03")
    SourceDay.objects.filter(pk=source_day.pk).update(
        final=False, verification=Verification.UNVERIFIED, differences=differences, findings="f" * 32
    )
    source_day.refresh_from_db()
    return source_day


def get_accept_url(day: SourceDay) -> str:
    return f"/admin/usage/sourceday/{day.pk}/accept/"


def accept(client: Client, day: SourceDay, **more: Any) -> Any:
    return client.post(get_accept_url(day), {"findings": day.findings, "reason": REASON, "action": "accept", **more})


def test_a_reason_is_asked_for_and_shown_once_more_before_anything_is_accepted(day: SourceDay) -> None:
    operator = sign_in_as("operator")

    for address in (f"/admin/usage/sourceday/{day.pk}/change/", "/admin/coverage/?source=gcore-main&day=2026-11-03"):
        assert get_accept_url(day) in operator.get(address).content.decode()
    assert "1,440.5" in operator.get(get_accept_url(day)).content.decode()
    confirm = operator.post(get_accept_url(day), {"findings": day.findings, "reason": REASON}).content.decode()
    assert "<b>Reason:</b> The vendor knows of &lt;b&gt;it&lt;/b&gt;." in confirm
    day.refresh_from_db()
    assert day.accepted_at is None

    assert accept(operator, day).status_code == 302
    day.refresh_from_db()
    assert (day.accepted_by, day.accepted_reason) == ("operator", REASON)


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_without_a_reason_that_can_be_kept_nothing_is_accepted(day: SourceDay, reason: str) -> None:
    page = accept(sign_in_as("operator"), day, reason=reason)

    assert page.status_code == 200
    assert 'role="alert"' in page.content.decode()
    day.refresh_from_db()
    assert day.accepted_at is None


def test_findings_that_came_after_the_page_was_shown_are_not_accepted_with_it(day: SourceDay) -> None:
    page = sign_in_as("operator").post(
        get_accept_url(day), {"findings": "e" * 32, "reason": REASON, "action": "accept"}, follow=True
    )

    assert "have changed meanwhile" in page.content.decode()
    day.refresh_from_db()
    assert day.accepted_at is None


def test_only_who_may_have_days_read_again_accepts_and_only_of_their_sources(
    day: SourceDay, sources: VendorSources
) -> None:
    limited = sign_in_as("operator", sources=[sources.environments])

    assert accept(limited, day).status_code == 404
    assert limited.get(get_accept_url(day)).status_code == 404
    viewer = sign_in_as("viewer")
    assert accept(viewer, day).status_code == 403
    assert get_accept_url(day) not in viewer.get(f"/admin/usage/sourceday/{day.pk}/change/").content.decode()
    day.refresh_from_db()
    assert day.accepted_at is None


def test_an_accepted_day_says_so_on_its_page_in_lists_exports_and_explore(day: SourceDay) -> None:
    operator = sign_in_as("operator")
    accept(operator, day)

    question = "source=gcore-main&from=2026-11-03&to=2026-11-04"
    for address in (
        f"/admin/usage/sourceday/{day.pk}/change/",
        f"/admin/usage/resourceusage/totals/?{question}",
        f"/admin/usage/resourceusage/export/about/?{question}",
        f"/admin/explore/?kind=resource-usage&{question}",
    ):
        page = operator.get(address, follow=True).content.decode()
        assert "The vendor knows of &lt;b&gt;it&lt;/b&gt;." in page, address


def test_an_acceptance_is_withdrawn_on_the_same_page(day: SourceDay) -> None:
    operator = sign_in_as("operator")
    accept(operator, day)
    assert "Withdraw the acceptance" in operator.get(get_accept_url(day)).content.decode()

    operator.post(get_accept_url(day), {"action": "withdraw"})

    day.refresh_from_db()
    assert day.accepted_at is None


def test_a_second_figure_of_the_vendor_is_shown_and_says_how_a_day_is_verified(sources: VendorSources) -> None:
    days = SourceDay.objects.filter(source=sources.environments)
    figures = {"endpoint": "GetEnvironmentRuntime", "vendor": "3600", "portal": "3600.4", "unit": "seconds"}
    days.filter(day="2026-11-06").update(verification="verified", witness=figures | {"agrees": True})
    days.filter(day="2026-11-07").update(witness=figures | {"portal": "5400", "agrees": False})
    viewer = sign_in_as("viewer")

    agreeing_page = viewer.get("/admin/coverage/?source=ona-main&day=2026-11-06").content.decode()
    differing_page = viewer.get("/admin/coverage/?source=ona-main&day=2026-11-07").content.decode()

    for text in ("GetEnvironmentRuntime", "3,600 seconds", "3,600.4 seconds", "They agree, so the day is verified."):
        assert text in agreeing_page
    assert "their total agrees with the vendor&#x27;s second figure (GetEnvironmentRuntime)" in agreeing_page
    assert "5,400 seconds" in differing_page
    assert "the day is neither verified nor unverified" in differing_page
    assert "notice-warn day-message" not in differing_page


def test_a_day_whose_stored_records_differ_says_what_and_that_it_is_read_again(sources: VendorSources) -> None:
    mismatch = [
        {"code": "records", "expected": 5, "stored": 4},
        {"code": "sums", "expected": {"minutes": "10"}, "stored": {"minutes": "8"}},
    ]
    SourceDay.objects.filter(source=sources.resources, day="2026-11-03").update(
        final=False, mismatch=mismatch, checked_at="2026-11-20T03:05:00Z"
    )

    page = sign_in_as("viewer").get("/admin/coverage/?source=gcore-main&day=2026-11-03").content.decode()

    assert (
        "The check of stored records on 20 Nov 2026 03:05 UTC found the number of records and the sums different. "
        "The day is synced again."
    ) in page
    assert "&quot;minutes&quot;: &quot;8&quot;" in page


def test_a_day_that_waits_for_its_months_close_is_complete_and_says_when_it_is_final(sources: VendorSources) -> None:
    day = SourceDay.objects.get(source=sources.resources, day="2026-11-02")
    read_at = day.ends_at + timedelta(days=4)
    SourceDay.objects.filter(pk=day.pk).update(final=False, loaded_at=read_at)

    page = sign_in_as("viewer").get(f"/admin/usage/sourceday/{day.pk}/change/").content.decode()

    assert "notice-good day-message" in page
    assert "The month&#x27;s closing sync on 4 Dec 2026 makes it final." in page
    assert SourceDay.objects.get(pk=day.pk).final_from.date() == date(2026, 12, 4)


def test_a_program_accepts_with_a_reason_and_reads_it_back(day: SourceDay) -> None:
    client = create_api_client(Scope.SYNC_RUN, Scope.SYNC_READ)
    address = "sources/gcore-main/days/2026-11-03/"
    assert get(client, address)["accepted"] is None

    response = client.post(f"{API}/{address}accept/", {"reason": f" {REASON} "}, content_type="application/json")

    assert response.status_code == 200, response.content
    day.refresh_from_db()
    assert day.accepted_at is not None
    body = get(client, address)
    assert body == response.json()
    assert body["accepted"]["reason"] == REASON
    assert body["accepted"]["by"] == day.accepted_by
    assert body["accepted"]["at"].startswith(f"{day.accepted_at:%Y-%m-%dT%H:%M:%S}")
    assert body["accepted"]["at"].endswith("Z")
    assert {"verification", "differences", "witness", "suspicion", "mismatch", "checked_at", "final"} <= body.keys()
    days = get(client, "sources/gcore-main/days/", accepted="true", fields="day,accepted")["results"]
    assert days == [{"day": "2026-11-03", "accepted": body["accepted"]}]


@pytest.mark.parametrize(
    ("body", "name"), [({}, "reason"), ({"reason": " "}, "reason"), ({"reason": "x", "day": "1"}, "day")]
)
def test_a_program_is_told_what_is_wrong_with_its_reason(day: SourceDay, body: Any, name: str) -> None:
    client = create_api_client(Scope.SYNC_RUN, Scope.SYNC_READ)

    response = client.post(f"{API}/sources/gcore-main/days/2026-11-03/accept/", body, content_type="application/json")

    assert name in get_problem_details(response)


def test_a_program_is_refused_a_day_without_findings_and_without_the_scope(
    day: SourceDay, sources: VendorSources
) -> None:
    client = create_api_client(Scope.SYNC_RUN, Scope.SYNC_READ)
    clean_day_url, body = f"{API}/sources/gcore-main/days/2026-11-04/accept/", {"reason": REASON}

    get_problem_details(client.post(clean_day_url, body, content_type="application/json"), 409)
    url = f"{API}/sources/gcore-main/days/2026-11-03/accept/"
    get_problem_details(create_api_client(Scope.SYNC_READ).post(url, body, content_type="application/json"), 403)
    limited = create_api_client(Scope.SYNC_RUN, sources=[sources.environments])
    get_problem_details(limited.post(url, body, content_type="application/json"), 404)


def test_a_day_of_which_the_vendor_leaves_values_out_says_so_and_what_accepting_does(day: SourceDay) -> None:
    differences = [{"what": "records with task_count", "vendor": "0", "portal": "10", "code": "missing_measure"}]
    message = "The vendor's answer lacks task_count, which the day has."
    SourceDay.objects.filter(pk=day.pk).update(differences=differences, error=message)

    page = unescape(sign_in_as("operator").get(f"/admin/usage/sourceday/{day.pk}/change/").content.decode())

    assert "the vendor's response lacks values that are stored" in page
    assert message in page
    assert "the missing values are kept" in page
    assert "its totals differ" not in page
