"""The usage lists in a real browser: filtered by what is suggested, added up, walked through, looked into."""

from collections.abc import Callable

import pytest
from django.db.models import Sum
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.browser import (  # noqa: F401
    SIZE_RULES,
    allow,
    as_person,
    browser,
    check_accessible,
    measure_overflow,
    save_screenshot,
    set_screen,
    sign_in,
)
from tests.support.database import store_or_restore
from tests.support.factories import EnvironmentUsageFactory
from tests.support.filled_portal import VendorSources, fill_portal, get_vendor_sources
from tests.support.processes import wait_for
from tests.support.source_days import create_source_days
from tests.support.users import create_person
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, SourceDay

AsPerson = Callable[..., Page]
LISTS = {"environments": EnvironmentUsage, "resources": ResourceUsage, "recipes": RecipeUsage}

PAUSE_MS = 400  # more than suggestions.js waits after a letter
TYPE_AND_PRESS_DOWN = """(input, text) => {
    input.focus();
    input.value = text;
    input.dispatchEvent(new Event("input", {bubbles: true}));
    input.dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowDown", bubbles: true, cancelable: true}));
}"""


@pytest.fixture
def sources(browser, transactional_db: None) -> VendorSources:  # noqa: F811
    """A portal that has been read for a month, its days rolled up."""

    def create() -> None:
        fill_portal()
        states = list(SourceDay.objects.values_list("pk", "state"))
        create_source_days(rolled=True)
        for pk, state in states:
            SourceDay.objects.filter(pk=pk).update(state=state)

    store_or_restore("listed", create)
    return get_vendor_sources()


def listing(name: str) -> str:
    return f"/admin/usage/{LISTS[name]._meta.model_name}/?from="


def open_filters(page: Page) -> None:
    page.locator(".filter-bar summary", has_text="Filters").first.click()


def test_the_lists_and_their_records_are_accessible_and_fit(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    for name, kind in LISTS.items():
        record = kind.objects.filter(withdrawn_at=None).latest(kind.instant)
        addresses = {
            name: f"{listing(name)}&include_withdrawn=true",
            name[:-1]: f"{listing(name).split('?')[0]}{record.pk}/change/",
        }
        for called, address in addresses.items():
            page.goto(address)
            for width, scheme, rules in ((1400, "light", SIZE_RULES), (390, "dark", ())):
                set_screen(page, width, scheme)
                if called in LISTS:
                    expect(page.locator(".totals dl")).to_be_visible()
                    assert measure_top(page) < 640, "the first row is on the first screen, of a telephone too"
                    open_filters(page)
                check_accessible(page, rules)
                assert measure_overflow(page) <= 0, called
                save_screenshot(page, f"list-{called}-{scheme}-{width}")
                if called in LISTS:
                    open_filters(page)  # and closes them again


@pytest.mark.parametrize("width", [1440, 390])
def test_rows_stay_in_place_when_the_totals_arrive(sources: VendorSources, as_person: AsPerson, width: int) -> None:  # noqa: F811
    page = as_person("viewer", width=width)
    waiting: list[Route] = []
    page.route("**/totals/**", lambda route: waiting.append(route))
    for name in LISTS:
        page.goto(listing(name))
        expect(page.locator(".totals[aria-busy]")).to_be_visible()
        before = measure_top(page)
        wait_for(lambda: page.evaluate("1") and waiting, "the totals to be asked for")
        waiting.pop().continue_()
        expect(page.locator(".totals dl")).to_be_visible()
        assert abs(measure_top(page) - before) < 40, name


def measure_top(page: Page) -> float:
    """Return how far below the top of the page the first row begins."""
    box = page.locator("#result_list tbody tr").first.bounding_box()
    assert box is not None
    return box["y"]


def test_a_list_is_filtered_by_what_is_suggested_without_a_mouse(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    page.goto(listing("resources"))
    page.locator(".filter-bar summary", has_text="Filters").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("From")).to_be_focused()
    page.get_by_label("Resource type").focus()
    page.keyboard.type("vol")
    expect(page.get_by_role("option", name="volume")).to_be_visible()
    check_accessible(page)
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", name="volume")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Resource type")).to_have_value("volume")

    page.get_by_label("Tag", exact=True).first.focus()
    page.keyboard.type("dat")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", name="team:data")).to_be_visible()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Tag", exact=True)).to_have_count(2)
    page.keyboard.press("Enter")
    page.wait_for_url("**resource_type=volume**")

    assert "tag=team%3Adata" in page.url
    assert "project_id" not in page.url  # what was left empty stays out of the address
    queryset = ResourceUsage.objects.filter(resource_type="volume", withdrawn_at=None)
    expect(page.locator("#result_list tbody tr")).to_have_count(queryset.count())
    consumed = queryset.aggregate(sum=Sum("consumed_quantity"))["sum"]
    expect(page.locator(".totals dl")).to_contain_text(f"{consumed:,.2f}")
    expect(page.locator(".totals .data-quality")).to_contain_text("Not complete")
    save_screenshot(page, "list-filtered")
    page.emulate_media(media="print")  # on paper, too, it is told what the numbers are of
    expect(page.locator(".applied")).to_contain_text("Resource type: volume")
    expect(page.locator(".applied li").first).to_be_visible()
    expect(page.locator("form.ask")).to_be_hidden()
    page.emulate_media(media="screen")

    page.get_by_label("Remove the filter Resource type: volume").click()
    page.wait_for_url(lambda address: "resource_type" not in address)
    assert "tag=team%3Adata" in page.url
    open_filters(page)
    page.get_by_role("link", name="Clear all").click()
    page.wait_for_url(lambda address: "tag" not in address)
    assert "from=20" in page.url  # a list that is asked nothing is of this month


def test_a_suggestion_with_a_comma_is_one_value(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    latest = EnvironmentUsage.objects.filter(source__slug="ona-main").latest("stopped_at")
    for name in ("comma,one", "comma"):
        EnvironmentUsageFactory(source=latest.source, environment_id=name, stopped_at=latest.stopped_at)
    page = as_person("viewer")
    page.goto(listing("environments"))
    open_filters(page)
    box = page.get_by_label("Environment", exact=True)
    # ArrowDown in the pause after typing: the list is read at once, and not once more under the hands of who chooses.
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "/suggest/" in request.url else None)
    box.evaluate(TYPE_AND_PRESS_DOWN, r"comma,comma\,o")
    expect(page.get_by_role("option", name="comma,one")).to_be_visible()
    page.keyboard.press("ArrowDown")
    chosen = page.get_by_role("option", name="comma,one", selected=True)
    page.wait_for_timeout(PAUSE_MS)
    expect(chosen).to_be_visible()
    assert len(requests) == 1
    with page.expect_response("**/suggest/**"):  # a click reads it again
        box.click()
    page.wait_for_timeout(PAUSE_MS)
    expect(chosen).to_be_visible()
    page.keyboard.type("n")  # who types on has chosen nothing
    expect(chosen).to_have_count(0)
    expect(page.get_by_role("option", name="comma,one")).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(chosen).to_be_visible()
    page.keyboard.press("Enter")
    expect(box).to_have_value(r"comma,comma\,one")
    page.keyboard.press("Enter")
    page.wait_for_url("**environment_id=**")
    expect(page.locator("#result_list tbody tr")).to_have_count(2)
    expect(page.locator(".applied")).to_contain_text("Environment: comma, comma,one")


def test_a_person_walks_to_older_records_and_back(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    page.goto(listing("environments"))
    expect(page.locator(".paginator")).to_contain_text("117 records")
    names = page.locator("#result_list tbody th")
    met = []
    for _ in range(2):
        met += names.all_inner_texts()
        page.get_by_role("link", name="Older", exact=True).click()
        expect(names.first).not_to_have_text(met[-50])
    met += names.all_inner_texts()
    assert len(met) == 117
    assert met == sorted(met, reverse=True)
    check_accessible(page)

    page.get_by_role("link", name="Newer", exact=True).click()
    expect(names).to_have_text(met[50:100])
    page.get_by_role("link", name="Newest", exact=True).click()
    expect(names).to_have_text(met[:50])


def test_a_record_is_opened_its_id_copied_and_its_neighbours_found(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(listing("environments"))
    page.locator("#result_list tbody th a").first.click()
    page.wait_for_selector("text=Data quality")
    latest = EnvironmentUsage.objects.filter(withdrawn_at=None).latest("stopped_at")
    page.get_by_role("button", name="Copy: Environment id").click()
    expect(page.get_by_role("button", name="Copy: Environment id")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == latest.environment_id

    page.get_by_role("link", name="Runs of this environment").click()
    page.wait_for_url("**environment_id=**")
    queryset = EnvironmentUsage.objects.filter(environment_id=latest.environment_id, withdrawn_at=None)
    expect(page.locator("#result_list tbody tr")).to_have_count(queryset.count())


def test_a_mistake_is_named_beside_its_input(sources: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("viewer")
    allow(page, "400")
    page.goto(listing("recipes"))
    open_filters(page)
    page.get_by_label("Workspace", exact=True).fill("abc")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_url("**workspace_id=abc**")

    expect(page.get_by_role("alert")).to_contain_text("No records are shown until then.")
    expect(page.get_by_label("Workspace", exact=True)).to_have_accessible_description(
        "“abc”: Give a whole number of at most 64 bits."
    )
    expect(page.locator("#result_list")).to_have_count(0)
    check_accessible(page)
    page.get_by_label("Workspace", exact=True).fill("501")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(50)


def test_the_lists_work_without_scripts(sources: VendorSources, browser: Browser, live_server) -> None:  # noqa: F811
    context = browser.new_context(base_url=live_server.url, java_script_enabled=False)
    sign_in(context, live_server.url, create_person("viewer"))
    page = context.new_page()
    page.goto(listing("resources"))
    open_filters(page)
    page.get_by_label("Resource type").fill("volume")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(30)
    page.get_by_role("link", name="Add up these records").click()
    expect(page.locator(".totals dl")).to_contain_text("30")
    page.get_by_role("link", name="The records").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(30)
    context.close()
