"""What people come for, each in so many clicks at most; typing and the Enter key are none."""

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from playwright.sync_api import Locator, Page, expect

from tests.support.browser import AsPerson, as_person, browser, save_screenshot  # noqa: F401
from tests.support.database import store_or_restore
from tests.support.factories import EnvironmentUsageFactory
from tests.support.filled_portal import VendorSources, fill_portal, get_vendor_sources
from tests.support.source_days import create_source_days
from usage.models import DirectoryEntry, EnvironmentUsage, NameKind, RecipeUsage

# A day of a month that is not over, about which the filled portal has the most.
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
Clicks = Callable[..., None]


@pytest.fixture
def sources(browser: Any, transactional_db: None) -> Iterator[VendorSources]:  # noqa: F811
    """A filled portal with the names of its projects and users."""
    with time_machine.travel(NOW, tick=True):
        store_or_restore("jobs", name_everything)
        yield get_vendor_sources()


def name_everything() -> None:
    sources = fill_portal()
    create_source_days(rolled=True)
    for column, kind in (("project_id", NameKind.PROJECT), ("user_id", NameKind.USER)):
        for vendor_id in EnvironmentUsage.objects.values_list(column, flat=True).distinct():
            DirectoryEntry.objects.create(
                source=sources.environments,
                kind=kind,
                vendor_id=vendor_id,
                name=f"{kind.label} of {vendor_id}",
                pseudonym="Word",
            )


def count_clicks(most: int) -> Clicks:
    """Return how to click; more than `most` clicks fail the test."""
    result: list[Any] = []

    def click(target: Locator, **options: Any) -> None:
        result.append(target)
        assert len(result) <= most, f"More than {most} clicks: {result}"
        target.click(**options)

    return click


def find_rows(page: Page) -> Locator:
    return page.locator(".explore-table tbody tr")


def open_explore(page: Page, click: Clicks) -> None:
    """Go to Explore from the overview."""
    page.goto("/admin/")
    click(page.locator("nav >> text=Explore"))
    page.wait_for_url("**group_by=day**")


def test_runtime_by_project_this_month_against_last_with_names(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page, click = as_person("administrator"), count_clicks(3)
    open_explore(page, click)
    click(page.get_by_role("link", name="This month against last"))
    expect(page.locator(".applied")).to_contain_text("Compared with 1 Oct 2026 – 28 Oct 2026")
    expect(page.locator("#range-menu")).to_have_text("1 Nov 2026 – 30 Nov 2026")
    expect(find_rows(page)).to_have_count(3)
    expect(find_rows(page).first).to_contain_text("Project of project-")
    click(page.get_by_role("link", name="Change", exact=False).first)
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Change")


def test_the_top_five_users_of_a_project(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page, click = as_person("administrator"), count_clicks(3)
    open_explore(page, click)
    click(page.get_by_role("link", name="This month against last"))
    click(find_rows(page).first.get_by_role("link", name="Project of project-"))
    expect(page.locator(".applied")).to_contain_text("Project: Project of project-")
    expect(page.locator("#by-dimension [aria-current]")).to_have_text("User")
    expect(find_rows(page).first).to_contain_text("User of user-")
    # The way back is the chip.
    page.locator(".applied").get_by_role("link", name="Remove the filter Project").click()
    expect(page.locator(".applied")).not_to_contain_text("Project:")


def test_the_recipes_behind_a_spike(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    on = datetime(2026, 11, 17, 9, tzinfo=UTC)
    DirectoryEntry.objects.create(source=sources.recipes, kind=NameKind.RECIPE, vendor_id="9001", name="Sync orders")
    RecipeUsage.objects.filter(starts_at=on).update(task_count=90_000)
    create_source_days(rolled=True)
    page, click = as_person("administrator"), count_clicks(4)
    open_explore(page, click)
    click(page.get_by_role("link", name="Recipes"))
    page.wait_for_url("**kind=recipe-usage**")
    canvas = page.locator("#explore-chart canvas[data-drawn]")
    expect(canvas).to_have_count(1)
    place: Any = page.evaluate(
        """() => {
            const chart = Chart.getChart(document.querySelector('#explore-chart canvas'));
            const values = chart.data.datasets[0].data, at = values.indexOf(Math.max(...values));
            const { top, bottom } = chart.chartArea;
            return { x: chart.scales.x.getPixelForValue(at), y: (top + bottom) / 2 };
        }"""
    )
    click(canvas, position=place)
    expect(page.locator("#range-menu")).to_have_text("17 Nov 2026")
    click(page.locator("#by-dimension").get_by_role("link", name="Recipe"))
    expect(find_rows(page).first).to_contain_text("Sync orders")
    expect(find_rows(page).first).to_contain_text("97,356")
    page.go_back()
    expect(page.locator("#by-dimension [aria-current]")).to_have_text("Workspace")
    page.go_back()
    expect(page.locator("#range-menu")).not_to_have_text("17 Nov 2026")


def test_the_csv_of_a_projects_instances_for_october(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page, click = as_person("viewer"), count_clicks(4)
    page.goto("/admin/usage/resourceusage/")
    expect(page.locator("#range-menu")).to_have_text("1 Nov 2026 – 30 Nov 2026")
    click(page.get_by_role("link", name="The period before"))
    expect(page.locator("#range-menu")).to_have_text("1 Oct 2026 – 31 Oct 2026")
    click(page.locator(".fold > summary"))
    page.get_by_label("Resource type", exact=True).fill("instance")
    page.get_by_label("Project", exact=True).fill("11")
    page.keyboard.press("Enter")
    page.wait_for_url("**project_id=11**")
    click(page.locator("summary:has-text('Export')"))
    with page.expect_download() as download:
        click(page.locator("[data-export=csv]"))
    with Path(download.value.path()).open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.DictReader(file))
    assert {line["day"][:7] for line in lines} == {"2026-10"}
    assert {(line["resource_type"], line["project_id"]) for line in lines} == {("instance", "11")}


def test_a_record_is_found_by_a_pasted_id_on_its_list(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    record = EnvironmentUsageFactory(source=sources.environments, stopped_at=datetime(2026, 10, 5, 9, tzinfo=UTC))
    page, click = as_person("viewer"), count_clicks(2)
    page.goto("/admin/usage/environmentusage/")
    click(page.get_by_label("Find an id"))
    page.keyboard.insert_text(f" {record.record_id}\n")
    page.keyboard.press("Enter")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    click(page.locator("#result_list tbody th a"))
    expect(page.locator("[data-field=record_id]")).to_contain_text(record.record_id)


def test_a_legend_and_a_bar_lead_one_step_further_and_a_chart_becomes_a_picture(
    sources: VendorSources,
    as_person: AsPerson,  # noqa: F811
) -> None:
    page = as_person("administrator", width=1920, scheme="dark")
    page.goto("/admin/explore/?kind=environment-usage&from=2026-11-01&to=2026-12-01&group_by=project_id,day&limit=2")
    canvas = page.locator("#explore-chart canvas[data-drawn]")
    expect(canvas).to_have_count(1)
    legend: Any = page.evaluate(
        """() => {
            const box = Chart.getChart(document.querySelector('#explore-chart canvas')).legend.legendHitBoxes[0];
            return { x: box.left + box.width / 2, y: box.top + box.height / 2 };
        }"""
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    assert download.value.suggested_filename == "environments-by-project-and-day-1-nov-2026-30-nov-2026-utc-.png"
    saved = Path(download.value.path())
    assert saved.read_bytes().startswith(b"\x89PNG")
    canvas.click(position=legend)
    expect(page.locator(".applied")).to_contain_text("Project: Project of project-")
    page.wait_for_url("**group_by=day**")

    page.goto("/admin/explore/?kind=environment-usage&from=2026-11-01&to=2026-12-01&group_by=project_id")
    expect(canvas).to_have_count(1)
    bar: Any = page.evaluate(
        """() => {
            const chart = Chart.getChart(document.querySelector('#explore-chart canvas'));
            const { x, y } = chart.getDatasetMeta(0).data[1];
            return { x: x - 5, y };
        }"""
    )
    canvas.click(position=bar)
    page.wait_for_url("**group_by=user_id**")
    expect(page.locator(".applied")).to_contain_text("Project: Project of project-")


def test_a_page_prints_as_a_report(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("administrator", width=1400)
    page.goto(
        "/admin/explore/?kind=environment-usage&from=2026-11-01&to=2026-12-01&group_by=project_id&compare=last_month"
    )
    expect(page.locator("#explore-chart canvas[data-drawn]")).to_have_count(1)
    page.emulate_media(media="print")
    report = page.locator(".report")
    expect(report).to_contain_text("Environments by project")
    expect(report).to_contain_text("1 Nov 2026 – 30 Nov 2026 (UTC) · Compared with 1 Oct 2026 – 28 Oct 2026")
    expect(page.locator(".explore-quality > p")).to_be_visible()
    expect(page.locator(".explore-table")).to_be_visible()
    for away in (
        ".filter-bar",
        "#explore-form",
        ".tabs",
        "#chart-png",
        "#saved-heading",
        ".explore-links",
        ".exact-digits",
    ):
        expect(page.locator(away).first).to_be_hidden()
    expect(page.locator(".explore-table tfoot")).to_have_css("display", "table-row-group")  # once, not on each sheet
    save_screenshot(page, "explore-print")
    page.emulate_media(media="screen")
    expect(page.locator(".filter-bar")).to_be_visible()


def test_a_long_answer_says_on_paper_how_many_rows_there_are(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("administrator", width=1400)
    page.goto("/admin/explore/?kind=resource-usage&from=2026-11-01&to=2026-12-01&group_by=resource_id,day")
    page.emulate_media(media="print")
    expect(page.locator(".steps-through .total")).to_be_visible()
    expect(page.locator(".steps-through .total")).to_contain_text(" of ")
