"""The overview in a real browser: its alerts and their buttons, on narrow and wide screens, accessible in both colours."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from portal.accounts.models import create_token
from tests.support.browser import (  # noqa: F401
    AsPerson,
    as_person,
    browser,
    check_accessible,
    measure_overflow,
    save_screenshot,
    set_screen,
)
from tests.support.dashboard_data import create_rollups, create_synced_source, set_day
from tests.support.database import store_or_restore
from usage.models import DayState, Directory, DirectoryEntry, NameKind, Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
# What each of these addresses answers: the status, and how many errors and how many notices of trouble it shows.
FETCH = """
async (links) => {
    const answers = [];
    for (const link of links) {
        const answer = await fetch(link);
        const shown = new DOMParser().parseFromString(await answer.text(), "text/html");
        const count = (selector) => shown.querySelectorAll(selector).length;
        answers.push([link, answer.status, count(".messagelist .error, .errornote"), count(".notice-bad")]);
    }
    return answers;
}
"""


def busy() -> None:
    """Have sources of three vendors with every kind of alert."""
    store_or_restore(f"busy at {timezone.now():%Y-%m-%d %H}", create_busy)


def create_busy() -> None:
    runs = create_synced_source("ona-main", "ona")
    first = create_synced_source("gcore-main", "gcore")
    second = create_synced_source("gcore-second-account-with-a-name-that-is-long", "gcore", days=40)
    recipes = create_synced_source("workato-emea", "workato", time_zone="Europe/Berlin")
    refused = "The vendor refused the credential (HTTP 401)."
    create_synced_source("workato-us", "workato", days=20, halted_at=timezone.now(), halt_reason=refused)
    set_day(first, 4, state="failed", error="api.gcore.com cannot answer now (HTTP 503).", complete=False)
    suspicion = {"held": 66, "reported": 6, "would_withdraw": 60}
    set_day(first, 6, state="suspect", suspicion=suspicion)
    set_day(second, 7, state="partial", rejected=3, complete=False, final=False)
    set_day(second, 9, verification="unverified")
    gap = {"loaded_at": None, "state": "due", "complete": False, "final": False, "sums": {}, "records": 0}
    for ago in range(11, 15):
        set_day(recipes, ago, due_at=timezone.now(), **gap)
    create_token("warehouse", expires_at=timezone.now() + timedelta(days=4))
    move_projects(runs, first, recipes)


def move_projects(runs: Source, resources: Source, recipes: Source) -> None:
    """Let projects and a workspace use more or less than they did, all but one with a name."""
    for source in (runs, resources):
        Directory.objects.create(source=source)
    for source, key, name in (
        (runs, "0192f1c4-7d55-7b6a-8c7e-000000000001", "checkout-service"),
        (runs, "0192f1c4-7d55-7b6a-8c7e-000000000002", "A project with quite a long name that goes over lines"),
        (resources, "77", "Data platform"),
    ):
        DirectoryEntry.objects.create(source=source, kind=NameKind.PROJECT, vendor_id=key, name=name)
        create_rollups(source, key, range(1, 4), "812345")
        create_rollups(source, key, range(4, 90), "412345")
    create_rollups(runs, "0192f1c4-7d55-7b6a-8c7e-000000000003", range(1, 20), "250000")
    create_rollups(
        resources, "78", range(9, 90), "98304111872123", consumed_unit="bytes", billing_metric="egress_traffic"
    )
    create_rollups(
        resources, "79", range(1, 90), "8304111872123", consumed_unit="bytes", billing_metric="egress_traffic"
    )
    create_rollups(recipes, "501", range(1, 20), "5200")
    create_rollups(recipes, "501", range(20, 90), "3300")


def test_the_overview_fits_reads_and_is_accessible(as_person: AsPerson) -> None:  # noqa: F811
    busy()
    page = as_person("admin")

    for address, looks in (("/admin/", [(1440, "light")]), ("/admin/?days=90", [(360, "dark"), (3840, "dark")])):
        page.goto(address)
        for width, scheme in looks:
            set_screen(page, width, scheme)
            assert measure_overflow(page) <= 0
            check_accessible(page)
            expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
            expect(page.get_by_role("img", name="bytes by day from").first).to_be_visible()
            save_screenshot(page, f"overview-{width}-{scheme}")


def test_a_person_retries_what_failed_and_accepts_what_is_suspect(as_person: AsPerson) -> None:  # noqa: F811
    busy()
    failed, suspect = (SourceDay.objects.get(state=state) for state in ("failed", "suspect"))
    page = as_person("operator")
    page.goto("/admin/")

    page.get_by_role("listitem").filter(has_text="HTTP 503").get_by_role("button", name="Retry now").click()
    expect(page.locator(".messagelist .success")).to_contain_text("1 day of gcore-main will be synced")
    lefts = [page.locator(at).evaluate("one => one.getBoundingClientRect().left") for at in (".messagelist li", "h1")]
    assert lefts[0] == lefts[1]
    expect(page.get_by_text("HTTP 503")).to_have_count(0)
    page.get_by_role("button", name="Accept what the vendor reports").click()
    expect(page.locator(".messagelist .success")).to_contain_text("1 day of gcore-main will be synced")
    # The source's health is suspect until the day was synced again.
    expect(page.get_by_role("button", name="Accept what the vendor reports")).to_have_count(0)

    assert SourceDay.objects.get(pk=failed.pk).state == DayState.DUE
    assert SourceDay.objects.get(pk=suspect.pk).shrink_accepted


def test_an_alert_is_resolved_by_keyboard(as_person: AsPerson) -> None:  # noqa: F811
    busy()
    failed = SourceDay.objects.get(state="failed")
    page = as_person("operator")
    page.goto("/admin/")

    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.startsWith('Retry now')"):
            break
    page.keyboard.press("Enter")

    expect(page.locator(".messagelist .success")).to_be_visible()
    assert SourceDay.objects.get(pk=failed.pk).state == DayState.DUE


def test_a_viewer_reads_it_all_and_is_offered_no_button(as_person: AsPerson) -> None:  # noqa: F811
    busy()
    page = as_person("viewer")
    page.goto("/admin/")

    expect(page.get_by_text("HTTP 503")).to_be_visible()
    assert page.locator(".alerts button").count() == 0
    assert page.get_by_text("warehouse").count() == 0


def test_every_link_of_the_overview_leads_to_what_it_says(as_person: AsPerson) -> None:  # noqa: F811
    busy()
    page = as_person("admin")
    page.goto("/admin/")
    links = page.locator("#content-main a").evaluate_all("links => [...new Set(links.map(link => link.href))]")
    assert len(links) > 15

    responses = page.evaluate(FETCH, links)
    assert len(responses) == len(links)
    for address, status, errors, notices in responses:
        assert (status, errors) == (200, 0), address
        if "/change/" not in address:  # where a failed day or a halted source says why
            assert notices == 0, address


def test_a_new_portal_leads_to_the_first_source(as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("administrator")
    page.goto("/admin/")
    check_accessible(page)
    save_screenshot(page, "overview-new")

    page.get_by_role("link", name="Add the first source").click()

    expect(page).to_have_url("/admin/usage/source/add/")


def test_a_portal_that_is_well_says_so(as_person: AsPerson) -> None:  # noqa: F811
    create_synced_source("ona-main", "ona")
    page = as_person("viewer")
    page.goto("/admin/")
    check_accessible(page)
    save_screenshot(page, "overview-well")

    expect(page.locator(".notice-good")).to_contain_text("No alerts. 1 source is synced as planned")
