"""Every page of the staff in a real browser: open to assistive technology, without a fault, on screens of several sizes."""

# ruff: noqa: F811 (the fixtures that come from tests.support.browser are asked for by their names)
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, URLPattern, URLResolver, reverse
from playwright.sync_api import Page, Response

from tests.support import chromium
from tests.support.browser import (  # noqa: F401
    COLOUR_RULES,
    AsPerson,
    allow,
    as_person,
    browser,
    check_accessible,
    save_screenshot,
    set_screen,
    write_screenshot,
)
from tests.support.database import store_or_restore
from tests.support.filled_portal import CREDENTIAL, VendorSources, fill_portal, get_vendor_sources
from tests.support.users import PASSWORD, create_person
from usage.models import Directory, DirectoryEntry, NameKind, Note, SourceDay

# Addresses below /admin/ that answer no page of their own: scripts, parts of pages, downloads, what is posted to.
NO_PAGES = {
    "jsi18n", "autocomplete", "view_on_site", "login", "logout", "app_list", "password_change", "alert_action",
    "explore_save", "explore_view", "explore_view_pin", "explore_view_preview", "coverage_read",
    "api_request",
}  # fmt: skip
NO_PAGE_ENDINGS = (
    "_do", "_export", "_export_about", "_export_follow", "_export_stop", "_totals", "_suggest", "_find", "_progress", "_test",
    "_test_new",
)  # fmt: skip
# Pages that look otherwise when they are asked otherwise.
ASKED = {
    "coverage-source": "/admin/coverage/?source=gcore-main",
    "coverage-day": "/admin/coverage/?source=gcore-main&day=2026-11-14",
    "coverage-read": "/admin/coverage/gcore-main/read/?first=2026-11-01&last=2026-11-05",
    "coverage-year": "/admin/coverage/?source=gcore-main&year=2026",
    "days-failed": "/admin/usage/sourceday/?state=failed",
    "environments-withdrawn": "/admin/usage/environmentusage/?include_withdrawn=true",
    "explore-resources": "/admin/explore/?kind=resource-usage&from=2026-11-01&to=2026-11-20&group_by=resource_type,day",
    "api-request": "/admin/api-request/?path=/api/v1/environment-usage/summary/%3Fgroup_by%3Dproject_id",
    "search-results": "/admin/search/?q=gcore",
    "resources-none": "/admin/usage/resourceusage/?project_id=987654321",
}
ROW_PAGES = ("change", "history", "delete")
# One template draws these of every table, and no row of these tables has a history: all are opened
# and one is judged.
ALIKE, JUDGED = "_history", "auth_user_history"

MEASURE = """
() => ({
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    cut: innerWidth >= 768 ? [] : [
        ...document.querySelectorAll("#changelist-form :is(.results, .actions, .action-select, .button)")
    ].filter(e => e.scrollWidth > e.clientWidth + 1 || e.getBoundingClientRect().right > innerWidth - 14)
        .map(e => e.className),
    widest: Math.max(0, ...[...document.querySelectorAll("#content")].map(c => c.clientWidth)),
})
"""

# Several workers share the pages.
PARTS = 4

Check = Callable[[Page, Response], None]
Look = tuple[tuple[int, Literal["dark", "light"]], Sequence[Check]]


@pytest.fixture
def sources(live_server: Any) -> VendorSources:
    """A portal with a month of everything, a row of every table that has a page."""
    store_or_restore("every table", fill_every_table)
    return get_vendor_sources()


def fill_every_table() -> None:
    from portal.accounts.models import create_token
    from portal.incidents.models import Channel
    from portal.incidents.watch import watch
    from portal.reports.models import Report

    sources = fill_portal()
    Channel.objects.create(name="operations", recipients="ops@example.com")
    Note.objects.create(day="2026-11-12", text="migration", source=sources.resources)
    Directory.objects.create(source=sources.resources)
    DirectoryEntry.objects.create(source=sources.resources, kind=NameKind.PROJECT, vendor_id="1", name="Data platform")
    watch()
    create_token("warehouse", ["usage:read"])
    viewer = create_person("viewer", sources=[sources.resources])
    Report.objects.create(name="Monthly", owner=viewer, next_at="2030-01-01T07:00:00Z")


def list_page_names(patterns: list[Any]) -> Iterator[str]:
    """Yield the names of all addresses below these."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from list_page_names(pattern.url_patterns)
        elif isinstance(pattern, URLPattern) and pattern.name:
            yield pattern.name


def page_names() -> set[str]:
    """Return the names of all addresses of the admin that are pages."""
    names = set(list_page_names(admin.site.urls[0])) - NO_PAGES
    return {name for name in names if not name.endswith(NO_PAGE_ENDINGS)}


def row_pages(request: HttpRequest) -> dict[str, str]:
    """Return the address of each page of each table: the list, the latest row, and what this person may do to it."""
    pages = {}
    for model, its in admin.site._registry.items():
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        pages[f"{name}_changelist"] = reverse(f"admin:{name}_changelist")
        if its.has_add_permission(request):
            pages[f"{name}_add"] = reverse(f"admin:{name}_add")
        row = latest(model)
        for page in ROW_PAGES:
            if page != "delete" or its.has_delete_permission(request, row):
                pages[f"{name}_{page}"] = reverse(f"admin:{name}_{page}", args=[row.pk])
    user = User.objects.get(username="admin")
    partial = SourceDay.objects.exclude(findings="").latest("pk")
    return {
        **pages,
        "auth_user_password_change": reverse("admin:auth_user_password_change", args=[user.pk]),
        "usage_sourceday_accept": reverse("admin:usage_sourceday_accept", args=[partial.pk]),
        "document": reverse("admin:document", args=["docs/operations.md"]),
    }


def latest(model: type[Model]) -> Model:
    """Return the latest row of a table."""
    row = model._default_manager.order_by("-pk").first()
    assert row is not None, (
        f"Nothing of {model.__name__} is there to be shown: let tests.support.filled_portal make one."
    )
    return row


def own_pages() -> dict[str, str]:
    """Return the address of each page that is no table's."""
    tables = {f"{model._meta.app_label}_{model._meta.model_name}_" for model in admin.site._registry}
    pages = {}
    for name in page_names():
        with suppress(NoReverseMatch):  # one that needs arguments is missed by the test of what is left out
            if not name.startswith(tuple(tables)):
                pages[name] = reverse(f"admin:{name}")
    return pages


def addresses() -> dict[str, str]:
    """Return the address of every page, by a name for its picture."""
    request = HttpRequest()
    request.user = User.objects.get(username="admin")
    return {**own_pages(), **row_pages(request), **ASKED}


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_page_is_accessible_fits_every_screen_and_reports_no_fault(
    as_person: AsPerson, sources: VendorSources, part: int
) -> None:
    page = as_person("admin")
    faults: dict[str, list[str]] = {}
    looks = list(LOOKS.items())
    for name, address in list(addresses().items())[part::PARTS]:
        response = page.goto(address)
        assert response is not None
        is_alike = name.endswith(ALIKE) and name != JUDGED
        page_errors = find_faults(page, response, [(looks[0][0], ())] if is_alike else looks)
        if page_errors:
            faults[name] = page_errors
            write_screenshot(page, name)
        if not is_alike:
            looks.reverse()  # the next page is looked at first as this one was last
    assert faults == {}


def find_faults(page: Page, response: Response, looks: Sequence[Look]) -> list[str]:
    """Return what is wrong with the page that is open: with its answer, and as it is looked at."""
    faults = []
    for place, ((width, scheme), checks) in enumerate(looks):
        set_screen(page, width, scheme)
        for check in checks if place else (check_status, check_no_credential, *checks):
            try:
                check(page, response)
            except AssertionError as fault:
                faults.append(f"{width} {scheme}: {fault}")
    return faults


def axe(page: Page, response: Response) -> None:
    """Judge what assistive technology meets."""
    check_accessible(page)


def check_contrast(page: Page, response: Response) -> None:
    """Check the contrast, where all else was checked in the other colours."""
    check_accessible(page, COLOUR_RULES)


def check_status(page: Page, response: Response) -> None:
    """Check the status and the content security policy of the page."""
    assert response.ok, f"{response.status} {response.url}"
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def check_no_credential(page: Page, response: Response) -> None:
    """Check that the page contains no credential."""
    contains_credential = page.evaluate("text => document.documentElement.outerHTML.includes(text)", CREDENTIAL)
    assert not contains_credential, "The page shows a credential."


def check_width(page: Page, response: Response) -> None:
    """Nothing makes the page itself scroll sideways; on a wall, lines of text and forms stay of a width to read."""
    measured = page.evaluate(MEASURE)
    assert measured["overflow"] <= 0, f"The page is {measured['overflow']} pixels too wide."
    assert measured["cut"] == [], f"On a telephone these stick out of the list: {measured['cut']}"
    assert measured["widest"] <= 1920, f"The content is {measured['widest']} pixels wide."


# How wide the screen is and which colours the system asks for, and what is judged then; a wall has 3840 pixels.
LOOKS: dict[tuple[int, Literal["dark", "light"]], tuple[Check, ...]] = {
    (1440, "light"): (axe, check_width),
    (1440, "dark"): (check_contrast,),
    (3840, "dark"): (check_width,),
    (360, "dark"): (check_width,),
}


def test_no_page_of_the_admin_is_left_out_of_these_tests(sources: VendorSources) -> None:
    create_person("admin")
    visited = set(addresses())
    request = HttpRequest()
    request.user = User.objects.get(username="admin")
    refused = {
        f"{model._meta.app_label}_{model._meta.model_name}_{page}"
        for model, its in admin.site._registry.items()
        for page, may in (("add", its.has_add_permission(request)), ("delete", its.has_delete_permission(request)))
        if not may
    }

    assert page_names() - visited - refused == set()


def test_the_navigation_leads_to_every_list(as_person: AsPerson, sources: VendorSources) -> None:
    page = as_person("admin")
    page.goto("/admin/")
    links = page.eval_on_selector_all(".places a", "links => links.map(link => new URL(link.href).pathname)")

    lists = {address for name, address in addresses().items() if name.endswith("_changelist")}
    assert lists - set(links) == set()
    assert {"/admin/", "/admin/explore/", "/admin/coverage/"} <= set(links)


def test_only_the_portals_own_tables_have_pages() -> None:
    tables = {model._meta.app_label for model in admin.site._registry}

    assert tables == {"usage", "sync", "accounts", "auth", "incidents", "reports"}


def test_the_browser_does_report_what_the_policy_forbids(as_person: AsPerson, sources: VendorSources) -> None:
    page = as_person("admin")
    page.goto("/admin/")
    allow(page, "Content Security Policy")

    with page.expect_console_message() as message_info:
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">red</p>')")

    assert "Content Security Policy" in message_info.value.text


def test_the_navigation_opens_by_keyboard_and_closes_by_escape(as_person: AsPerson, sources: VendorSources) -> None:
    page = as_person("admin")
    page.goto("/admin/usage/recipeusage/")
    menu = page.locator(".places summary", has_text="Usage")
    assert page.get_attribute(".places a[aria-current=page]", "href") == "/admin/usage/recipeusage/"

    menu.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Environment usage"
    check_accessible(page)
    page.keyboard.press("Escape")

    assert not page.locator(".places a", has_text="Environment usage").is_visible()
    assert menu.evaluate("summary => summary === document.activeElement")


def test_the_navigation_of_a_telephone_opens_from_one_button(as_person: AsPerson, sources: VendorSources) -> None:
    page = as_person("admin", width=360)
    page.goto("/admin/")
    assert not page.locator("#places").is_visible()

    page.click("text=Menu")
    page.wait_for_selector("#places:popover-open")
    check_accessible(page)
    save_screenshot(page, "menu-360")
    page.click("#places >> text='Sources'")
    page.wait_for_url("**/admin/usage/source/")


def test_a_person_turns_the_page_dark_and_it_stays_dark(as_person: AsPerson, sources: VendorSources) -> None:
    page = as_person("admin")
    page.goto("/admin/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")

    page.click(".you summary")
    check_accessible(page)
    page.click(".theme-toggle")
    check_accessible(page)
    page.goto("/admin/usage/source/")

    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    check_accessible(page)


def test_charts_can_read_the_colours_of_either_scheme(as_person: AsPerson, sources: VendorSources) -> None:
    read = "getComputedStyle(document.documentElement).getPropertyValue('--series-1')"
    colours = []
    for scheme in ("light", "dark"):
        page = as_person("admin", scheme=scheme)
        page.goto("/admin/")
        colours.append(page.evaluate(read))

    assert all(colour.startswith("rgb") for colour in colours)
    assert len(set(colours)) == 2


def test_a_person_signs_in_and_out(browser: Any, live_server: Any, sources: VendorSources) -> None:
    someone = create_person("viewer")
    page = browser.new_context(base_url=live_server.url).new_page()
    faults = chromium.watch(page)
    page.goto("/admin/")
    check_accessible(page)
    save_screenshot(page, "sign-in")
    page.fill("input[name=login]", someone.username)
    page.fill("input[name=password]", PASSWORD)
    page.click("input[type=submit]")
    page.wait_for_selector("h1:has-text('Overview')")

    page.click(".you summary")
    page.click("text=Sign out")
    page.wait_for_url("**/login/**")
    page.goto("/admin/usage/source/")

    assert page.locator("input[name=password]").is_visible()
    assert faults == []
    page.context.close()


def test_an_address_where_nothing_is_says_so_in_the_portals_words(as_person: AsPerson, sources: VendorSources) -> None:
    page = as_person("viewer")
    allow(page, "404")

    response = page.goto("/admin/nothing/")

    assert response is not None
    assert response.status == 404
    assert "There is nothing here" in page.inner_text("h1")
    check_accessible(page)


def test_a_viewer_is_refused_in_words_what_the_role_lacks(as_person: AsPerson, sources: VendorSources) -> None:
    page = as_person("viewer")
    page.goto("/admin/")
    assert page.locator(".places >> text=Access").count() == 0
    allow(page, "403")

    response = page.goto("/admin/usage/source/add/")

    assert response is not None
    assert response.status == 403
    assert "You may not open this page" in page.inner_text("h1")
    check_accessible(page)
