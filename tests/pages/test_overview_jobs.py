"""Jobs that people do from the overview, each with the clicks it may take; and the new pages, looked at by axe."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from tests.support.browser import (  # noqa: F401
    SIZE_RULES,
    AsPerson,
    as_person,
    browser,
    check_accessible,
    measure_overflow,
    save_screenshot,
    set_screen,
)
from tests.support.dashboard_data import create_rollups, create_synced_source, get_today
from tests.support.database import store_or_restore
from tests.support.factories import EnvironmentUsageFactory
from tests.support.users import create_person
from usage.models import Directory, DirectoryEntry, EnvironmentUsage, NameKind, Note, PinnedView, SavedView, Source

pytestmark = pytest.mark.django_db(transaction=True)
RECORD = "0192f1c4-7d55-7b6a-8c7e-0000000000aa"


@dataclass(slots=True)
class Clicks:
    """Counts what a person does: a click, or a key that stands for one."""

    count: int = field(default=0)

    def click(self, target: Locator) -> None:
        """Click something."""
        self.count += 1
        target.click()

    def press(self, page: Page, key: str) -> None:
        """Press a key in place of a click."""
        self.count += 1
        page.keyboard.press(key)


@pytest.fixture
def source(browser: Any, transactional_db: None) -> Source:  # noqa: F811
    """A source of runs with names, a record, a note and a view."""
    store_or_restore(f"overview at {timezone.now():%Y-%m-%d %H}", create_source)
    return Source.objects.get()


def create_source() -> None:
    source = create_synced_source("ona-main", "ona")
    Directory.objects.create(source=source)
    for number, text in enumerate(("checkout-service", "data-platform"), start=1):
        DirectoryEntry.objects.create(source=source, kind=NameKind.PROJECT, vendor_id=f"p-{number}", name=text)
        create_rollups(source, f"p-{number}", range(1, 3), "812345")
        create_rollups(source, f"p-{number}", range(3, 80), f"{number}12345")
    stopped = timezone.now() - timedelta(days=1)
    EnvironmentUsageFactory(
        source=source,
        record_id=RECORD,
        project_id="p-1",
        day=stopped.date(),
        created_at=stopped - timedelta(hours=2),
        stopped_at=stopped,
    )
    Note.objects.create(day=get_today(source) - timedelta(days=5), text="migration to the new region", source=source)


def save(username: str, name: str, **values: Any) -> SavedView:
    """Save a view of runtime by project."""
    from django.contrib.auth.models import User

    owner = User.objects.filter(username=username).first() or create_person(username)
    values = {"kind": "environment-usage", "question": "group_by=project_id", "moving_range": "last-30-days", **values}
    return SavedView.objects.create(owner=owner, name=name, **values)


def test_whether_yesterday_is_complete_takes_one_click(source: Source, as_person: AsPerson) -> None:  # noqa: F811
    clicks, page = Clicks(), as_person("viewer")
    page.goto("/admin/explore/views/")

    clicks.click(page.get_by_role("navigation", name="Portal").get_by_role("link", name="Overview"))

    expect(page.get_by_text("is complete for its source")).to_be_visible()
    assert clicks.count <= 1


def test_a_record_is_found_by_a_pasted_id_in_two_clicks(source: Source, as_person: AsPerson) -> None:  # noqa: F811
    clicks, page = Clicks(), as_person("viewer")
    page.goto("/admin/")

    clicks.press(page, "/")
    page.locator("#search-box").fill(RECORD)
    expect(page.locator("#found a.hit").first).to_be_visible()
    check_accessible(page)
    save_screenshot(page, "search-dialog")
    clicks.press(page, "Enter")

    record = EnvironmentUsage.objects.get(record_id=RECORD)
    expect(page).to_have_url(f"/admin/usage/environmentusage/{record.pk}/change/")
    assert clicks.count <= 2


def test_a_view_is_shared_and_opened_by_a_colleague_in_two_clicks(source: Source, as_person: AsPerson) -> None:  # noqa: F811
    clicks, page = Clicks(), as_person("operator")
    save("operator", "Runtime by project")
    page.goto("/admin/explore/views/")
    clicks.click(page.get_by_role("button", name="Share"))
    expect(page.get_by_text("Shared", exact=True)).to_be_visible()

    colleague = as_person("viewer")
    colleague.goto("/admin/explore/views/")
    clicks.click(colleague.get_by_role("link", name="Runtime by project"))

    expect(colleague.get_by_role("heading", name="Runtime by project", level=1)).to_be_visible()
    assert clicks.count <= 2


def test_keys_open_the_search_and_their_help_and_can_be_switched_off(source: Source, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    page.goto("/admin/")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keyboard")).to_be_visible()
    check_accessible(page)
    save_screenshot(page, "keys-dialog")
    page.get_by_label("Single keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    expect(page.locator("#search-dialog")).not_to_be_visible()
    page.keyboard.press("Control+k")
    expect(page.locator("#search-dialog")).to_be_visible()
    page.locator("#search-box").fill("checkout")
    page.locator("#found").get_by_role("link", name="checkout-service", exact=True).wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/explore/**project_id=p-1**")


def test_exact_digits_are_shown_on_demand_and_remembered(source: Source, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer", width=390)
    page.goto("/admin/usage/environmentusage/?from=")  # a list without any parameter is of this month
    exact = page.get_by_text("7,200 s").first
    expect(exact).not_to_be_visible()
    page.get_by_label("Exact digits").check()
    expect(exact).to_be_visible()
    page.reload()
    expect(exact).to_be_visible()


def test_the_overview_and_views_with_pins_are_accessible_and_fit(source: Source, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("administrator")
    view = save("administrator", "Runtime by project", shared=True)
    save("viewer", "Days of runtime", question="group_by=day", shared=True)
    PinnedView.objects.create(user=view.owner, view=view)
    # One look at everything; at the other sizes and colours what depends on them.
    for name, address in {
        "overview": "/admin/",
        "views": "/admin/explore/views/",
        "view": f"/admin/explore/views/{view.pk}/",
    }.items():
        page.goto(address)
        if name == "overview":
            page.locator(".pinned-totals").wait_for()
        for width, scheme, rules in ((390, "light", ()), (1400, "dark", SIZE_RULES), (1920, "light", SIZE_RULES)):
            set_screen(page, width, scheme)
            check_accessible(page, rules)
            assert measure_overflow(page) <= 0, name
            save_screenshot(page, f"new-{name}-{width}-{scheme}")
