"""The Explore page in a real browser: asked, shared, saved, exported, with what is missing drawn on its chart."""

import csv
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import (  # noqa: F401
    COLOUR_RULES,
    AsPerson,
    allow,
    as_person,
    browser,
    check_accessible,
    measure_overflow,
    save_screenshot,
    set_screen,
)
from tests.support.database import store_or_restore
from tests.support.filled_portal import VendorSources, fill_portal, get_vendor_sources
from usage.rollups import roll_up_days

NOVEMBER = "from=2026-11-01&to=2026-11-19"
RESOURCES = f"/admin/explore/?kind=resource-usage&{NOVEMBER}&group_by=resource_type,day"
RUNS = f"/admin/explore/?kind=environment-usage&{NOVEMBER}&group_by=day"

# Widths and schemes, and what axe looks for: some elements are for a telephone alone.
LOOKS: dict[tuple[int, str], tuple[str, ...]] = {
    (1400, "light"): (),
    (1920, "dark"): (*COLOUR_RULES, "target-size"),
    (390, "dark"): (),
}


@pytest.fixture
def sources(browser: Any, transactional_db: None) -> VendorSources:  # noqa: F811
    def create() -> None:
        fill_portal()
        roll_up_days()  # suggestions are taken from what days add up to

    store_or_restore("explored", create)
    return get_vendor_sources()


def table(page: Page) -> list[str]:
    """Return the rows of the table as they are read."""
    return page.locator(".explore-table tbody tr").all_inner_texts()


def charts(page: Page) -> Any:
    """Return the data of the chart, once it is drawn."""
    expect(page.locator("#explore-chart canvas[data-drawn]")).to_have_count(1)
    return json.loads(page.get_attribute("#explore-chart", "data-charts") or "")


def open_form(page: Page) -> None:
    page.click("#explore-fold-summary")


def wait_for_query(page: Page, address: str) -> None:
    """Wait until the URL of the page contains a query."""
    page.wait_for_url(re.compile(re.escape(address)))


def test_a_person_explores_and_shares_the_address(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    page.goto("/admin/")
    page.click("nav >> text=Explore")
    wait_for_query(page, "kind=environment-usage")
    page.goto(RUNS)
    by_day = table(page)
    open_form(page)
    page.select_option("#question-_group-1", "project_id")
    wait_for_query(page, "group_by=project_id,day")
    expect(page.locator(".explore-table thead")).to_contain_text("Project")
    by_project = table(page)
    assert len(by_project) > len(by_day)
    page.select_option("#question-_interval", "")
    wait_for_query(page, "group_by=project_id")
    expect(page.locator(".explore-table tbody tr")).to_have_count(3)
    expect(page.locator("#explore-status")).to_contain_text("Complete")

    second_page = as_person("viewer")
    second_page.goto(page.url)
    assert table(second_page) == table(page)
    page.go_back()
    expect(page.locator(".explore-table tbody tr")).to_have_count(len(by_project))
    assert table(page) == by_project


def test_headers_ranges_and_values_ask_without_losing_the_page(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    page.goto(f"/admin/explore/?kind=environment-usage&{NOVEMBER}&group_by=project_id")
    page.evaluate("window.stayed = true")
    page.click(".explore-table thead >> text=Records >> nth=0")
    wait_for_query(page, "order_by=-records")
    expect(page.locator("th[aria-sort=descending]")).to_contain_text("Records")
    page.click(".explore-table tbody >> text=project-1")
    wait_for_query(page, "group_by=user_id&order_by=-records&project_id=project-1")
    expect(page.locator(".applied")).to_contain_text("Project: project-1")
    page.click("#range-menu")
    page.click("text=Last 90 days")
    expect(page.locator(".range .dropped [aria-current]")).to_have_text("Last 90 days")
    assert page.evaluate("window.stayed")


def test_a_view_is_saved_and_found_again(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    page.goto(RESOURCES)
    page.fill("#view-name", "What runs in November")
    page.click("form[aria-label='Save this view'] button")
    expect(page.locator(".messagelist")).to_contain_text("is saved")
    page.goto("/admin/explore/")
    page.click("text=What runs in November")
    wait_for_query(page, "group_by=resource_type,day")
    expect(page.locator(".explore-views a[aria-current]")).to_have_text("What runs in November")
    page.click(".explore-change summary")
    page.fill(".explore-change input[name=name]", "November")
    page.click(".explore-change >> text=Save")
    expect(page.locator(".explore-views a[aria-current]")).to_have_text("November")
    page.click(".explore-change summary")
    page.click("text=Delete")
    expect(page.locator("#saved-heading + p")).to_contain_text("None yet")


def test_the_file_adds_up_to_what_the_page_says(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    page.goto(RUNS)
    with page.expect_download() as download:
        page.click("text=Export CSV")
    name = download.value.suggested_filename
    assert name.startswith("environment-usage_2026-11-01_2026-11-19_as-of-")
    with download.value.path().open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    summed = sum(Decimal(line["runtime_seconds"]) for line in lines if line["line"] == "result")
    total = page.locator(".explore-table tfoot td[data-label=Runtime]").inner_text()
    assert total.startswith(f"{summed / 3600:,.1f} h")
    assert summed == Decimal(next(line for line in lines if line["line"] == "total")["runtime_seconds"])
    pointed_at = """() => {
        const chart = Chart.getChart(document.querySelector("#explore-chart canvas"));
        const dataset = chart.data.datasets[0], dataIndex = dataset.texts.findIndex((value) => value !== null);
        return chart.options.plugins.tooltip.callbacks.label({ dataset, dataIndex });
    }"""
    assert re.search(r": [\d,.]+ h \([\d,.]+ seconds\)$", page.evaluate(pointed_at))


def test_missing_provisional_and_restated_days_are_drawn(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    allow(page, "willReadFrequently")
    page.goto(RESOURCES)
    drawn = charts(page)
    marked = {
        sort: [
            label[:10]
            for label, day in zip(drawn["labels"], drawn["panels"][0]["days"], strict=True)
            if day and day[sort]
        ]
        for sort in ("missing", "provisional", "restated")
    }
    assert marked["missing"] == ["2026-11-12", "2026-11-13", "2026-11-14"]
    assert marked["restated"] == ["2026-11-11"]
    assert marked["provisional"][-3:] == ["2026-11-16", "2026-11-17", "2026-11-18"]
    # The column of a missing day has the strokes of the hatching beside its bar, that of a whole one has none.
    strokes = """at => {
        const chart = Chart.getChart(document.querySelector('#explore-chart canvas')), axis = chart.scales.x, area = chart.chartArea;
        const width = axis.getPixelForValue(1) - axis.getPixelForValue(0), ratio = chart.currentDevicePixelRatio;
        const left = (axis.getPixelForValue(at) - width / 2 + 1) * ratio;
        const found = chart.ctx.getImageData(left, (area.top + 3) * ratio, 2, (area.bottom - area.top - 6) * ratio);
        return found.data.filter((value, place) => place % 4 === 3 && value > 128).length;
    }"""
    missing = drawn["labels"].index("2026-11-13 Fri")
    assert page.evaluate(strokes, missing) > 10 + page.evaluate(strokes, missing - 6)
    expect(page.locator(".explore-legend")).to_contain_text("not read, or not completely")
    expect(page.locator(".explore-quality")).to_contain_text("3 days not read completely")
    units = {panel["unit"] for panel in drawn["panels"] if panel["title"].startswith("Consumed")}
    assert units == {"minutes", "gbminutes", "bytes"}
    page.select_option("#chart-panel", "1")
    page.select_option("#chart-type", "line")
    assert (
        page.evaluate("Chart.getChart(document.querySelector('#explore-chart canvas')).data.datasets[0].type") == "line"
    )
    save_screenshot(page, "explore")


def test_a_mistake_stands_beside_its_input_and_typing_is_helped(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    allow(page, "400")
    for event in ("sendAbort", "afterRequest"):
        allow(page, f"htmx:{event}")  # of a suggestion that the next answer overtakes
    page.goto(RUNS)
    open_form(page)
    page.click("#explore-form summary >> text=Filters")
    page.locator("#filter-project_id").press_sequentially("project-", delay=10)
    expect(page.locator("#filter-project_id-suggested [role=option]")).to_have_count(3)
    page.fill("#filter-tz", "Mars/Base")
    page.locator("#filter-tz").press("Enter")
    expect(page.locator("#filter-tz_error")).to_contain_text("is not an IANA time zone")
    assert page.input_value("#filter-project_id") == "project-"
    check_accessible(page)
    page.fill("#filter-project_id", "project-1")
    page.fill("#filter-tz", "Europe/Berlin")
    page.locator("#filter-tz").press("Enter")
    wait_for_query(page, "tz=Europe%2FBerlin")
    expect(page.locator("#filter-tz_error")).to_have_count(0)


def test_who_was_signed_out_meanwhile_is_asked_to_sign_in(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    page.goto(RUNS)
    page.context.clear_cookies()
    open_form(page)
    page.select_option("#question-_group-1", "project_id")
    page.wait_for_url("**/accounts/login/**")
    expect(page.locator("input[type=password]")).to_have_count(1)


def test_the_page_works_without_a_script_and_without_a_mouse(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    page.goto(RUNS)
    cookies = page.context.cookies()
    plain = page.context.browser.new_context(java_script_enabled=False, base_url=page.url.split("/admin")[0])
    plain.add_cookies(cookies)  # type: ignore[arg-type]
    still = plain.new_page()
    still.goto(RUNS)
    assert table(still) == table(page)
    open_form(still)
    still.select_option("#question-_group-1", "project_id")
    still.click("text=Show >> nth=0")
    wait_for_query(still, "group_by=project_id,day")
    assert len(table(still)) > len(table(page))
    plain.close()
    page.focus("#range-menu")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_query(page, "from=")
    expect(page.locator(".range .dropped [aria-current]")).to_have_text("This month")
    page.focus("#by-2")
    page.keyboard.press("Enter")
    expect(page.locator("#by-2[aria-current]")).to_have_text("User")
    expect(page.locator("#by-2")).to_be_focused()
    page.focus("#compare-menu")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator("#compare-menu")).to_be_focused()
    expect(page.locator(".step-menu:has(#compare-menu) .dropped")).to_be_hidden()


def test_everybody_can_read_it(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    for name, address in {
        "explore": "/admin/explore/",
        "resources": RESOURCES,
        "bars": f"/admin/explore/?kind=environment-usage&{NOVEMBER}&group_by=project_id&compare=previous&limit=2",
        "all": f"/admin/explore/?kind=usage&{NOVEMBER}&interval=week",
        "recipes": "/admin/explore/?kind=recipe-usage&recipe_id=9001",
    }.items():
        page.goto(address)
        has_chart = page.locator("#explore-chart").count() > 0
        for width, scheme in LOOKS:
            set_screen(page, width, scheme)
            if has_chart:
                charts(page)
                top = page.locator("#explore-chart").bounding_box()
                assert top is not None
                assert top["y"] < 700, "the chart is on the first screen, of a telephone too"
            save_screenshot(page, f"explore-{name}-{scheme}-{width}")
            for menu in ("#range-menu", "#compare-menu") if name == "resources" else ():
                page.click(menu)
                check_accessible(page, COLOUR_RULES)  # an open menu covers what is below it
                page.keyboard.press("Escape")
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = !one.name))")
        for (width, scheme), rules in reversed(LOOKS.items()):
            set_screen(page, width, scheme)
            check_accessible(page, rules)
            assert measure_overflow(page) <= 0, address
