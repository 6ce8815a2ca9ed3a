"""The pages of coverage: who may see them, what they say, and their number of queries."""

import re
from datetime import date

import pytest
from django.test import Client
from django.utils import timezone

from tests.support.coverage import UNVERIFIED, create_day
from tests.support.factories import SourceFactory
from tests.support.filled_portal import CREDENTIAL, VendorSources
from tests.support.users import sign_in_as
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
COVERAGE = "/admin/coverage/"


def test_the_years_of_every_source_are_shown_with_their_gaps_in_words(sources: VendorSources) -> None:
    page = sign_in_as("viewer").get(COVERAGE).content.decode()

    for slug in ("ona-main", "gcore-main", "workato-emea"):
        assert f"?source={slug}" in page
    assert "14 Nov 2026" in page
    assert "Complete through 11 Nov 2026." in page
    assert "days of Europe/Berlin" in page
    assert CREDENTIAL not in page
    assert " style=" not in page


def test_only_sources_with_gaps_are_shown_where_that_is_asked(sources: VendorSources) -> None:
    complete_source = SourceFactory.create(slug="sound", backfill_from=timezone.now().date())
    create_day(complete_source, timezone.now().date(), state=DayState.DUE)

    assert 'id="source-' + str(complete_source.pk) in sign_in_as("viewer").get(COVERAGE).content.decode()
    assert (
        'id="source-' + str(complete_source.pk)
        not in sign_in_as("viewer").get(f"{COVERAGE}?gaps=only").content.decode()
    )


def test_a_day_is_called_by_its_words(sources: VendorSources) -> None:
    day = SourceDay.objects.get(source=sources.resources, day="2026-10-21")
    SourceDay.objects.filter(pk=day.pk).update(records=1204, withdrawn=2)

    page = sign_in_as("viewer").get(f"{COVERAGE}?source=gcore-main&year=2026").content.decode()

    assert 'aria-label="21 October 2026: complete, final, verified, 1,204 records, 2 withdrawn"' in page
    assert 'aria-label="14 November 2026: failed, 3 records"' in page
    assert "api.gcore.com cannot answer now (HTTP 503)" in page


@pytest.mark.parametrize(
    ("state", "messages"),
    [
        ("failed", ["The last sync failed", "HTTP 503", "3 records"]),
        ("suspect", ["Suspect", "Stored and counted", "Would be withdrawn", "<dd>3</dd>", "<dd>2</dd>"]),
        ("partial", ["1 record was rejected", "billing_value: a number is expected"]),
    ],
)
def test_a_day_says_what_it_is_worth_and_why(sources: VendorSources, state: str, messages: list[str]) -> None:
    day = SourceDay.objects.get(state=state)
    viewer = sign_in_as("viewer")

    panel = viewer.get(f"{COVERAGE}?source=gcore-main&day={day.day}", headers={"HX-Request": "true"})
    day_page = viewer.get(f"/admin/usage/sourceday/{day.pk}/change/")

    assert "<html" not in panel.content.decode()
    assert "HX-Request" in panel["Vary"]
    for response in (panel, day_page):
        for message in messages:
            assert message in response.content.decode()
        assert "What to do:" in response.content.decode()


def test_a_day_names_the_last_run_that_it_was_asked_for_by(sources: VendorSources) -> None:
    operator = sign_in_as("operator")
    query = {"first": "2026-11-14", "last": "2026-11-14"}
    operator.post(f"{COVERAGE}gcore-main/read/", query)

    page = operator.get(f"{COVERAGE}?source=gcore-main&day=2026-11-14").content.decode()

    assert "(operator)" in page
    assert "(alex)" not in page


def test_a_partial_day_says_how_many_records_count(sources: VendorSources) -> None:
    SourceDay.objects.filter(state="partial").update(records=534, rejected=4, error="4 of 534 records were rejected.")
    day = SourceDay.objects.get(state="partial")

    page = sign_in_as("viewer").get(f"{COVERAGE}?source=gcore-main&day={day.day}").content.decode()

    assert "4 records were rejected" in page
    assert "534 records of this day are stored and counted." in page
    assert "The other" not in page


def test_what_differs_from_the_vendors_sums_is_shown_with_its_sign(sources: VendorSources) -> None:
    day = SourceDay.objects.filter(source=sources.resources).first()
    assert day is not None
    difference = {"what": "total", "type": "instance", "region_id": 7, "vendor": "1440.5", "portal": "1400.25"}
    SourceDay.objects.filter(pk=day.pk).update(**UNVERIFIED, differences=[difference])

    page = sign_in_as("viewer").get(f"{COVERAGE}?source=gcore-main&day={day.day}").content.decode()

    assert "differs from the vendor&#x27;s totals" in page
    for text in ("type instance, region id 7", "1,440.5", "1,400.25", "−40.25"):
        assert text in page


def test_a_day_that_was_never_planned_says_why_its_source_is_not_read(sources: VendorSources) -> None:
    Source.objects.filter(pk=sources.resources.pk).update(halted_at=timezone.now(), halt_reason="The key was refused.")

    page = sign_in_as("viewer").get(f"{COVERAGE}?source=gcore-main&day=2026-11-19").content.decode()

    assert "Never synced" in page
    assert "Halted: The key was refused." in page


def test_a_day_of_another_zone_says_when_it_begins_and_how_long_it_is(sources: VendorSources) -> None:
    viewer = sign_in_as("viewer")

    long_day = viewer.get(f"{COVERAGE}?source=workato-emea&day=2026-10-25").content.decode()
    usual_day = viewer.get(f"{COVERAGE}?source=workato-emea&day=2026-10-26").content.decode()

    assert "from 2026-10-24 22:00 to 2026-10-25 23:00 UTC. It has 25 hours, because the clocks change." in long_day
    assert "from 2026-10-25 23:00 to 2026-10-26 23:00 UTC.<" in usual_day


def test_a_day_leads_to_its_own_records_and_no_others(sources: VendorSources) -> None:
    viewer = sign_in_as("viewer")
    page = viewer.get(f"{COVERAGE}?source=workato-emea&day=2026-11-17").content.decode()

    match = re.search(r'href="(/admin/usage/recipeusage/[^"]+)"', page)
    assert match is not None
    address = match.group(1).replace("&amp;", "&")
    assert address.endswith("?source=workato-emea&from=2026-11-17&to=2026-11-18&tz=Europe%2FBerlin")
    records = viewer.get(address).context["cl"].queryset
    assert records.count() == 24
    assert {record.starts_at.astimezone(sources.recipes.zone).date() for record in records} == {date(2026, 11, 17)}


@pytest.mark.parametrize(
    ("query", "queries"),
    [
        # The person and their permissions (4), their scope (1), the sources, their days, how far they are complete.
        ("", 8),
        # The same without how far they are complete.
        ("?source=gcore-main", 7),
        # The day too: its row, attempts, restatements, rejected records, its run.
        ("?source=gcore-main&day=2026-11-14", 12),
    ],
)
def test_a_page_costs_the_same_few_queries(
    sources: VendorSources, query: str, queries: int, django_assert_num_queries
) -> None:
    viewer = sign_in_as("viewer")
    for number in range(8):
        SourceFactory.create(slug=f"more-{number}", backfill_from=date(2024, 5, 1))

    with django_assert_num_queries(queries):
        response = viewer.get(f"{COVERAGE}{query}")

    assert response.status_code == 200


def test_someone_limited_to_a_source_learns_of_no_other(sources: VendorSources) -> None:
    someone = sign_in_as("operator", sources=[sources.environments])
    failed_day = SourceDay.objects.get(state="failed")

    for query in ("", "?year=2026", "?gaps=only", "?source=ona-main", "?source=ona-main&day=2026-11-01"):
        page = someone.get(f"{COVERAGE}{query}").content.decode()
        assert "gcore" not in page, query
        assert "workato" not in page, query
    unknown = someone.get(f"{COVERAGE}?source=no-such-source")
    hidden = someone.get(f"{COVERAGE}?source=gcore-main")
    assert (unknown.status_code, hidden.status_code) == (404, 404)
    days = {"first": "2026-11-01", "last": "2026-11-02"}
    for response in (
        someone.get(f"{COVERAGE}gcore-main/read/", days),
        someone.post(f"{COVERAGE}gcore-main/read/", days),
        someone.post(f"/admin/usage/sourceday/{failed_day.pk}/do/read-again/"),
    ):
        assert response.status_code == 404
    failed_day.refresh_from_db()
    assert failed_day.state == "failed"


def test_who_may_not_see_days_may_not_see_their_calendar(sources: VendorSources) -> None:
    from django.contrib.auth.models import Permission, User

    stranger = Client()
    assert stranger.get(COVERAGE).status_code == 302
    sam = User.objects.create_user("sam", is_staff=True)
    sam.user_permissions.set(Permission.objects.filter(codename="view_source"))
    stranger.force_login(sam)
    assert stranger.get(COVERAGE).status_code == 403
    sam.user_permissions.set(Permission.objects.filter(codename="view_sourceday"))
    page = stranger.get(f"{COVERAGE}?source=gcore-main&day=2026-11-12").content.decode()
    assert "Partial" in page
    # What belongs to other rights stays out.
    for title in ("Rejected records</h3>", "Restatements</h3>", "Attempts</h3>", "billing_value", ">Records</a>"):
        assert title not in page


@pytest.mark.parametrize("query", ["year=abc", "year=12", "day=2026-02-30", "day=tomorrow", "gaps=some", "source=a b"])
def test_what_is_not_understood_is_told_and_the_calendar_shown(sources: VendorSources, query: str) -> None:
    response = sign_in_as("viewer").get(f"{COVERAGE}?{query}", follow=True)

    assert response.redirect_chain == [(COVERAGE, 302)]
    assert "not valid" in str(next(iter(response.context["messages"])))


@pytest.mark.parametrize("query", ["?year=1999", "?source=gcore-main&year=1999", "?source=gcore-main&day=1999-12-31"])
def test_a_year_without_days_says_so(sources: VendorSources, query: str) -> None:
    assert sign_in_as("viewer").get(f"{COVERAGE}{query}").status_code == 200


@pytest.mark.parametrize("query", ["year=9990", "year=1900", "day=0001-01-01", "day=9999-12-31"])
def test_a_year_that_nobody_offers_is_not_there(sources: VendorSources, query: str) -> None:
    client = sign_in_as("viewer")

    assert client.get(f"{COVERAGE}?source=gcore-main&{query}").status_code == 404
    assert client.get(f"{COVERAGE}?source=gcore-main&{query}", headers={"HX-Request": "true"}).status_code == 404
    assert client.get(f"{COVERAGE}?{query}").status_code == (404 if "year" in query else 200)
