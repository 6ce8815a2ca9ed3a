"""The staff pages in a real browser: what a person sees, filters and takes out, without one console or CSP error."""

import csv
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, BrowserContext, Page

from tests import chromium
from tests.filled import CREDENTIAL, Filled, fill
from usage.models import ResourceUsage

chromium.needed()

ARTIFACTS = Path(__file__).parent / "artifacts"
PAGES = {
    "overview": "/admin/",
    "sources": "/admin/usage/source/",
    "source": "/admin/usage/source/{gcore}/change/",
    "source-new": "/admin/usage/source/add/",
    "days": "/admin/usage/sourceday/",
    "day": "/admin/usage/sourceday/{day}/change/",
    "runs": "/admin/sync/syncrun/",
    "run": "/admin/sync/syncrun/{run}/change/",
    "rejected": "/admin/usage/rejectedrecord/",
    "rejected-record": "/admin/usage/rejectedrecord/{rejected}/change/",
    "restatements": "/admin/usage/restatement/",
    "environments": "/admin/usage/environmentusage/?withdrawn=shown",
    "environment": "/admin/usage/environmentusage/{environment}/change/",
    "resources": "/admin/usage/resourceusage/",
    "resource": "/admin/usage/resourceusage/{resource}/change/",
    "recipes": "/admin/usage/recipeusage/",
    "recipe": "/admin/usage/recipeusage/{recipe}/change/",
    "tokens": "/admin/portal/apitoken/",
    "token-new": "/admin/portal/apitoken/add/",
    "users": "/admin/auth/user/",
    "user": "/admin/auth/user/{user}/change/",
    "password": "/admin/password_change/",
}


@pytest.fixture
def filled(running: Browser, transactional_db: None) -> Filled:
    User.objects.create_superuser("alex", "alex@example.com", "long-enough-password")
    ARTIFACTS.mkdir(exist_ok=True)
    return fill()


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    # Playwright's own event loop runs in this thread, so Django would take every query for one in async code.
    with pytest.MonkeyPatch.context() as patched, chromium.browser() as browser:
        patched.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        yield browser


@pytest.fixture
def context(running: Browser) -> Iterator[BrowserContext]:
    context = running.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, live_server, filled: Filled) -> Page:
    """A page of someone who has signed in."""
    page = context.new_page()
    page.goto(f"{live_server.url}/admin/")
    page.fill("#id_username", "alex")
    page.fill("#id_password", "long-enough-password")
    page.click("input[type=submit]")
    page.wait_for_selector("text=Overview")
    return page


def addresses() -> dict[str, str]:
    """The address of every page, on the rows that are there."""
    from sync.models import SyncRun
    from usage.models import EnvironmentUsage, RecipeUsage, RejectedRecord, Source, SourceDay

    keys = {
        "gcore": Source.objects.get(vendor="gcore").pk,
        "day": SourceDay.objects.get(state="failed").pk,
        "run": SyncRun.objects.get().pk,
        "rejected": RejectedRecord.objects.get().pk,
        "environment": EnvironmentUsage.objects.latest("stopped_at").pk,
        "resource": ResourceUsage.objects.latest("id").pk,
        "recipe": RecipeUsage.objects.latest("id").pk,
        "user": User.objects.get().pk,
    }
    return {name: address.format(**keys) for name, address in PAGES.items()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_opens_without_a_console_or_csp_error(
    page: Page, live_server, scheme: Literal["light", "dark"]
) -> None:
    faults = chromium.watch(page)
    page.emulate_media(color_scheme=scheme)
    for name, address in addresses().items():
        answer = page.goto(live_server.url + address)
        assert answer is not None
        assert answer.ok, address
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert CREDENTIAL not in page.content()
        page.screenshot(path=ARTIFACTS / f"{name}-{scheme}.png", full_page=True)
        assert faults == [], (name, faults)


def test_the_browser_does_report_what_the_policy_forbids(page: Page) -> None:
    faults = chromium.watch(page)

    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">red</p>')")

    assert len(faults) == 1
    assert "Content Security Policy" in faults[0]


def test_a_person_filters_a_list_and_takes_out_what_it_holds(page: Page, live_server, filled: Filled) -> None:
    faults = chromium.watch(page)
    page.goto(f"{live_server.url}/admin/usage/resourceusage/")
    page.fill("input[name='day__range__gte']", "2026-11-01")
    page.fill("input[name='day__range__lte']", "2026-11-10")
    page.select_option("select[name='source']", "gcore-main")
    page.fill("input[name='resource_type']", "volume")
    page.click("text=Apply")
    page.wait_for_url("**resource_type=volume**")

    assert "project_id" not in page.url  # what was left empty stays out of the address
    shown = page.locator("#result_list tbody tr")
    asked = ResourceUsage.objects.filter(
        resource_type="volume", day__gte="2026-11-01", day__lte="2026-11-10", withdrawn_at=None
    )
    assert shown.count() == asked.count() == 10
    assert "10 records" in page.inner_text(".paginator")

    with page.expect_download() as download:
        page.click("text=Export CSV")
    name = download.value.suggested_filename
    assert name.startswith("resource-usage_gcore-main_2026-11-01_2026-11-10_as-of-")
    with Path(download.value.path()).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert sum(Decimal(row["consumed_quantity"]) for row in rows) == Decimal("705121.25")
    assert faults == []

    page.click("text=Clear")
    page.wait_for_url(lambda address: "resource_type" not in address)


def test_a_withdrawn_record_is_struck_through_once_it_is_asked_for(page: Page, live_server, filled: Filled) -> None:
    page.goto(f"{live_server.url}/admin/usage/environmentusage/")
    assert page.locator("s.withdrawn").count() == 0
    assert "117 records" in page.inner_text(".paginator")

    page.select_option("select[name='withdrawn']", "only")
    page.click("text=Apply")
    page.wait_for_url("**withdrawn=only**")

    assert page.locator("s.withdrawn").count() == 3
    cell = page.locator("#result_list tbody tr td.field-runtime").first
    assert "line-through" in cell.evaluate("cell => getComputedStyle(cell).textDecorationLine")


def test_a_failed_day_is_followed_to_its_reason_and_read_again(page: Page, live_server, filled: Filled) -> None:
    faults = chromium.watch(page)
    page.goto(f"{live_server.url}/admin/")
    page.click("text=1 failed")
    page.click("#result_list tbody tr a")
    page.wait_for_selector("text=Attempts")
    assert "HTTP 503" in page.inner_text(".field-error")

    page.click("text=Read again")
    page.wait_for_selector(".messagelist .success")

    assert "1 day of gcore-main will be read" in page.inner_text(".messagelist")
    assert "Due" in page.inner_text(".field-state_shown")
    assert faults == []


def test_a_token_is_shown_once(page: Page, live_server, filled: Filled) -> None:
    faults = chromium.watch(page)
    page.goto(f"{live_server.url}/admin/portal/apitoken/add/")
    page.fill("#id_name", "warehouse")
    page.click("input[name=_save]")
    page.wait_for_selector("#secret")
    secret = page.input_value("#secret")
    assert secret.startswith("up_")

    page.click("text=I have copied it")
    page.wait_for_selector("#result_list")
    assert secret not in page.content()
    page.click("#result_list tbody tr a")
    page.wait_for_selector("text=Revoke")
    assert secret not in page.content()
    page.click("text=Revoke")
    page.wait_for_selector(".messagelist .success")
    assert "Revoked" in page.inner_text(".field-state")
    assert faults == []


@pytest.mark.parametrize("width", [360, 3840])
def test_the_pages_fit_a_telephone_and_a_wall(page: Page, live_server, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for name, address in addresses().items():
        page.goto(live_server.url + address)
        spill = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert spill <= 0, (name, spill)
