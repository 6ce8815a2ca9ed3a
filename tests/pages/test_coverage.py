"""Coverage in a real browser: from a gap to its reason, a range by keys and by mouse, on a telephone, without a fault."""

# ruff: noqa: F811 (the fixtures that come from tests.support.browser are asked for by their names)

import re
from datetime import date
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from sync.models import SyncRun
from tests.support.browser import (  # noqa: F401
    AsPerson,
    as_person,
    browser,
    check_accessible,
    measure_overflow,
    save_screenshot,
    set_screen,
    sign_in,
)
from tests.support.filled_portal import VendorSources, fill_portal_once
from tests.support.processes import wait_for
from tests.support.users import create_person
from usage.models import Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
COVERAGE = "/admin/coverage/"
GCORE = f"{COVERAGE}?source=gcore-main"


@pytest.fixture
def sources(browser: Browser, transactional_db: None) -> VendorSources:
    return fill_portal_once()


def focused(page: Page) -> str:
    """Return what a screen reader calls the element that has the focus."""
    return str(page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"))


def test_a_person_follows_a_gap_to_its_reason_and_has_it_read(sources: VendorSources, as_person: AsPerson) -> None:
    page = as_person("operator")
    page.goto(COVERAGE)

    page.get_by_role("link", name=re.compile(r"Why\s+gcore-main 14 Nov 2026 is failed")).click()
    expect(page.locator("#panel")).to_contain_text("api.gcore.com cannot answer now (HTTP 503)")
    expect(page.locator("#panel")).to_contain_text("What to do:")
    page.get_by_role("button", name="Sync again").click()

    expect(page.locator(".messagelist")).to_contain_text("1 day of gcore-main will be synced")
    assert SourceDay.objects.get(source=sources.resources, day="2026-11-14").state == "due"


def test_a_day_of_the_picture_is_named_and_opened(sources: VendorSources, as_person: AsPerson) -> None:
    page = as_person("viewer")
    page.goto(COVERAGE)
    year = page.get_by_role("link", name=re.compile("^gcore-main, 2026"))
    year.focus()
    # From the first of January on: to the right by weeks, down by days.
    for _ in range(45):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#day-description")).to_have_text("5 November 2026: complete, final, verified")
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
    expect(page.locator("#day-description")).to_have_text("14 November 2026: failed")

    page.keyboard.press("Enter")

    page.wait_for_url("**source=gcore-main&day=2026-11-14")
    expect(page.locator("#panel h2").first).to_have_text("Saturday, 14 November 2026")


def test_the_mouse_names_the_day_that_it_presses(sources: VendorSources, as_person: AsPerson) -> None:
    page = as_person("viewer")
    page.goto(COVERAGE)
    box = page.locator(".year").filter(has_text="2026").nth(0).locator("path.k-failed").bounding_box()
    assert box is not None

    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#day-description")).to_have_text("14 November 2026: failed")
    page.mouse.down()
    page.mouse.up()

    page.wait_for_url("**source=gcore-main&day=2026-11-14")


def test_arrow_keys_move_over_the_days_and_each_is_named_in_words(sources: VendorSources, as_person: AsPerson) -> None:
    page = as_person("viewer")
    page.goto(f"{GCORE}&day=2026-11-10")
    assert page.locator("#months [tabindex='0']").count() == 1
    page.locator("#months [tabindex='0']").focus()
    assert focused(page) == "10 November 2026: complete, final, verified, 3 records"

    for key, named in (
        ("ArrowRight", "11 November 2026: complete, final, verified, restated, 3 records"),
        ("ArrowDown", "18 November 2026: complete, provisional, verified, 3 records"),
        ("ArrowUp", "11 November 2026"),
        ("Home", "9 November 2026"),
        ("End", "15 November 2026"),
        ("PageUp", "15 October 2026: before the first day"),
        ("PageDown", "15 November 2026"),
        ("ArrowLeft", "14 November 2026: failed, 3 records"),
    ):
        page.keyboard.press(key)
        wait_for(lambda: focused(page).startswith(named), key)  # noqa: B023 (called at once)

    page.keyboard.press("Enter")
    expect(page.locator("#panel")).to_contain_text("The last sync failed")
    expect(page.locator("#panel .panel-title")).to_be_focused()
    assert page.url.endswith("day=2026-11-14")
    page.keyboard.press("Escape")
    wait_for(lambda: focused(page).startswith("14 November 2026"), "the focus to return to the day")


def test_a_range_is_chosen_by_keys_confirmed_and_its_run_followed(sources: VendorSources, as_person: AsPerson) -> None:
    page = as_person("operator")
    page.goto(f"{GCORE}&day=2026-11-02")
    page.locator("#months [tabindex='0']").focus()
    for key in ("ArrowDown", "Shift+ArrowDown", "Shift+ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator("#selected-range")).to_have_text("9 days selected: 9 November 2026 through 17 November 2026.")
    assert page.locator("#months [aria-selected='true']").count() == 9

    page.get_by_role("button", name="Sync these days").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#panel")).to_contain_text("9 days will be synced from the vendor")
    expect(page.locator("#panel")).to_contain_text("6 of 9 days complete")
    page.get_by_role("button", name="Sync 9 days").press("Enter")

    run = SyncRun.objects.get(requested_by="operator")
    page.wait_for_url(f"**/admin/sync/syncrun/{run.pk}/change/")
    assert (run.from_day, run.to_day) == (date(2026, 11, 9), date(2026, 11, 18))


def test_a_range_is_chosen_by_mouse(sources: VendorSources, as_person: AsPerson) -> None:
    page = as_person("operator")
    page.goto(f"{GCORE}&year=2026")

    def day(number: int) -> None:
        page.locator(f"#months a[href$='2026-11-{number:02}']").click(modifiers=["Shift"] if number == 8 else [])

    day(3)
    expect(page.locator("#panel")).to_contain_text("Tuesday, 3 November 2026")
    day(8)
    expect(page.locator("#selected-range")).to_have_text("6 days selected: 3 November 2026 through 8 November 2026.")

    # Without a Shift key: two presses.
    page.get_by_role("button", name="Select in the calendar").click()
    day(6)
    day(4)
    expect(page.locator("#selected-range")).to_have_text("3 days selected: 4 November 2026 through 6 November 2026.")
    expect(page.get_by_role("button", name="Select in the calendar")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name="Sync these days").click()
    expect(page.locator("#panel")).to_contain_text("3 days will be synced")
    page.get_by_role("link", name="Cancel").click()
    page.wait_for_url("**source=gcore-main&year=2026")
    assert not SyncRun.objects.filter(requested_by="operator").exists()


def test_a_range_that_cannot_be_read_is_refused_beside_the_calendar(
    sources: VendorSources, as_person: AsPerson
) -> None:
    Source.objects.filter(pk=sources.resources.pk).update(halted_at=timezone.now(), halt_reason="The key was refused.")
    page = as_person("operator")
    page.goto(GCORE)
    expect(page.locator("#content")).to_contain_text("Halted: The key was refused.")
    page.get_by_label("From").fill("2026-11-01")
    page.get_by_label("Through").fill("2026-11-02")
    page.get_by_role("button", name="Sync these days").click()

    expect(page.locator("#panel")).to_contain_text("gcore-main is halted: The key was refused.")


def test_a_viewer_sees_no_button_and_chooses_no_range(sources: VendorSources, as_person: AsPerson) -> None:
    page = as_person("viewer")
    page.goto(f"{GCORE}&day=2026-11-13")

    assert page.locator("#content form").count() == 0
    assert page.locator("#content button").count() == 0
    page.locator("#months [tabindex='0']").focus()
    page.keyboard.press("Shift+ArrowRight")
    assert page.locator("[aria-selected]").count() == 0
    expect(page.locator("#panel")).to_contain_text("Suspect")


def test_the_calendar_fits_a_telephone_and_a_wall(sources: VendorSources, as_person: AsPerson) -> None:
    page = as_person("operator")
    day = SourceDay.objects.get(state="failed")
    for name, address in {
        "coverage": COVERAGE,
        "coverage-source": GCORE,
        "coverage-day": f"{GCORE}&day={day.day}",
        "day": f"/admin/usage/sourceday/{day.pk}/change/",
    }.items():
        page.goto(address)
        for width in (360, 3840):
            set_screen(page, width, "light")
            assert measure_overflow(page) <= 0, name
            save_screenshot(page, f"{name}-{width}")


def test_without_scripts_a_gap_is_followed_and_a_range_read(
    sources: VendorSources, browser: Browser, live_server: Any
) -> None:

    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    try:
        sign_in(context, live_server.url, create_person("operator"))
        page = context.new_page()
        page.goto(GCORE)
        page.locator("#months a[href$='2026-11-14']").click()
        assert "The last sync failed" in page.inner_text("#panel")
        page.fill("#id_first", "2026-11-01")
        page.fill("#id_last", "2026-11-02")
        page.click("text=Sync these days")
        page.click("text=Sync 2 days")
        assert SyncRun.objects.filter(requested_by="operator", days_total=2).exists()
    finally:
        context.close()
