"""Exports in a real browser: the menu, the download, its progress to the end, and what is told when it does not go."""

import csv
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Download, Page, expect

from tests.support import browser as browser_fixtures
from tests.support.browser import AsPerson, check_accessible, save_screenshot
from tests.support.exports import create_many_runs
from tests.support.filled_portal import VendorSources, fill_portal_once
from usage import slots
from usage.exports.progress import ExportTracker
from usage.formatting import scale_amount

pytestmark = pytest.mark.django_db(transaction=True)
as_person, browser = browser_fixtures.as_person, browser_fixtures.browser
OF_VOLUMES = "/admin/usage/resourceusage/?source=gcore-main&from=2026-11-01&to=2026-11-11&resource_type=volume"


@pytest.fixture
def sources(transactional_db: None) -> VendorSources:
    """A month of three vendors."""
    return fill_portal_once()


def export_as(page: Page, form: str) -> Download:
    """Choose a format in the menu; returns the download that the browser began."""
    page.click("summary:has-text('Export')")
    with page.expect_download() as download:
        page.click(f"[data-export={form}]")
    return download.value


def read_csv(download: Download) -> list[dict[str, str]]:
    """Read a downloaded CSV."""
    with Path(download.path()).open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_the_file_of_a_filtered_list_adds_up_to_what_its_page_says(as_person: AsPerson, sources: VendorSources) -> None:
    page = as_person("viewer")
    page.goto(OF_VOLUMES)
    total = page.locator(".totals:not([aria-busy])")
    total.wait_for()

    download = export_as(page, "csv")
    expect(page.locator(".export-panel .export-text")).to_have_text("Done: 10 rows.")

    rows = read_csv(download)
    assert download.suggested_filename.startswith("resource-usage_gcore-main_2026-11-01_2026-11-11_as-of-")
    assert len(rows) == 10
    assert {row["resource_type"] for row in rows} == {"volume"}
    consumed = sum(Decimal(row["consumed_quantity"]) for row in rows)
    assert str(scale_amount(consumed, "gbminutes")) in total.inner_text()
    assert page.url.endswith(OF_VOLUMES)
    save_screenshot(page, "export-done")


def test_the_progress_of_a_long_export_reaches_its_end(
    as_person: AsPerson, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_many_runs(4_000)
    page = as_person("viewer")
    page.goto("/admin/usage/environmentusage/?from=")

    download = export_as(page, "xlsx")
    page.wait_for_selector(".export-panel")

    expect(page.locator(".export-panel .export-text")).to_have_text("Done: 4,000 rows.")
    assert download.failure() is None
    assert download.suggested_filename.endswith(".xlsx")
    assert "Done: 4,000 rows." in page.inner_text("#export-announcement")
    page.click(".export-panel [data-export-dismiss]")
    expect(page.locator(".export-panel")).to_have_count(0)


def test_an_export_that_waits_begins_by_itself(
    as_person: AsPerson, sources: VendorSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots.SlotsTaken, "wait", 2)
    page = as_person("viewer")
    page.goto("/admin/usage/sourceday/?source=ona-main")
    with ExitStack() as stack:
        stack.enter_context(slots.hold_slot())
        page.click("summary:has-text('Export')")
        page.click("[data-export=csv]")
        expect(page.locator(".export-text")).to_contain_text("Another export is under way.")
        check_accessible(page)
        save_screenshot(page, "export-waits")

        with page.expect_download() as download:
            stack.close()

    assert len(read_csv(download.value)) == 30
    expect(page.locator(".export-text")).to_have_text("Done: 30 rows.")


def test_more_rows_than_a_workbook_may_have_are_exported_as_csv_instead(
    as_person: AsPerson, sources: VendorSources, settings: Any
) -> None:
    settings.PORTAL_XLSX_MAX_ROWS = 5
    page = as_person("viewer")
    page.goto("/admin/usage/sourceday/?source=ona-main")
    page.click("summary:has-text('Export')")
    page.click("[data-export=xlsx]")
    expect(page.locator(".export-text")).to_contain_text("An XLSX file may have 5 rows")

    with page.expect_download() as download:
        page.click("text=Export as CSV instead")

    assert len(read_csv(download.value)) == 30


def test_a_person_cancels_an_export(
    as_person: AsPerson, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = slow_down_exports(monkeypatch)
    create_many_runs(8_000)
    page = as_person("viewer")
    page.goto("/admin/usage/environmentusage/?from=")

    download = export_as(page, "csv")
    expect(page.locator(".export-text")).to_contain_text("rows sent.")
    save_screenshot(page, "export-under-way")
    check_accessible(page)
    page.click("[data-export-stop]")

    expect(page.locator(".export-text")).to_contain_text("Cancelled after")
    assert progress
    assert download.suggested_filename.endswith(".csv")


def slow_down_exports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Delay the rows of exports; returns a list that collects their number at each step."""
    row_counts: list[int] = []
    rows = ExportTracker.record_rows

    def slow(self: Any, number: int) -> None:
        row_counts.append(number)
        time.sleep(0.1)
        rows(self, number)

    monkeypatch.setattr(ExportTracker, "record_rows", slow)
    return row_counts


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_the_open_menu_and_what_it_tells_of_an_export_are_accessible(
    as_person: AsPerson, sources: VendorSources, width: int, scheme: str
) -> None:
    page = as_person("viewer", width=width, scheme=scheme)
    page.goto(OF_VOLUMES)
    page.focus(".export-menu summary")
    page.keyboard.press("Enter")
    expect(page.locator("[data-export=csv]")).to_be_visible()
    box = page.locator(".export-choices").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    save_screenshot(page, f"export-menu-{scheme}-{width}")
    check_accessible(page)
    page.keyboard.press("Escape")
    expect(page.locator("[data-export=csv]")).to_be_hidden()

    page.click(".export-menu summary")
    page.click("text=About this export")
    page.wait_for_selector("text=705,121.25")
    save_screenshot(page, f"export-about-{scheme}-{width}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    check_accessible(page)
