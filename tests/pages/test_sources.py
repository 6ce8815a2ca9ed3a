"""Sources and runs in a real browser: one is added, tested, synced by a real worker, and watched to its end."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from sync.models import SyncRun, Trigger
from sync.sandbox.world import World
from tests.support.browser import (  # noqa: F401
    AsPerson,
    as_person,
    browser,
    check_accessible,
    check_page,
    measure_overflow,
    save_screenshot,
)
from tests.support.filled_portal import VendorSources, fill_portal_once
from tests.support.processes import portal_process, wait_for
from tests.support.sandbox_server import SandboxServer
from usage.models import ResourceUsage, Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
WORKER = ["-m", "celery", "-A", "portal.celery", "worker", "--concurrency", "2"]
DAYS = 8


@pytest.fixture
def upstream(settings: Any) -> Iterator[SandboxServer]:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]
    with SandboxServer(World(days=DAYS + 2, records_per_day=150)) as server:
        yield server


@pytest.fixture
def sources(browser: Any, transactional_db: None) -> VendorSources:  # noqa: F811
    return fill_portal_once()


def test_a_person_adds_a_source_tests_it_syncs_a_range_and_watches_it_end(
    as_person: AsPerson,  # noqa: F811
    upstream: SandboxServer,
    redis_client: object,
) -> None:
    page = as_person("administrator")
    page.goto("/admin/usage/source/add/")
    page.fill("#id_slug", "gcore-main")
    page.select_option("#id_vendor", "gcore")
    expect(page.locator("fieldset.vendor-gcore")).to_be_visible()
    expect(page.locator("fieldset.vendor-ona")).to_be_hidden()
    page.fill("#id_base_url", f"{upstream.url}/gcore")
    page.fill("#id_new_credential", "not-the-right-one")
    page.click("text=Test connection")
    expect(page.locator("#connection-result")).to_contain_text("does not accept the credential")
    expect(page.locator("#connection-result")).to_contain_text("Make a new key at the vendor")
    check_accessible(page)
    page.fill("#id_new_credential", upstream.world.credential)
    page.click("text=Test connection")
    expect(page.locator("#connection-result")).to_contain_text("The connection works.")
    assert not Source.objects.exists()
    page.click("input[name=_continue]")
    page.wait_for_selector("text=Sync this range")

    upstream.settings.latency_ms = 800
    last = timezone.now().date() - timedelta(days=1)
    page.fill("#range_first", f"{last - timedelta(days=DAYS - 1)}")
    page.fill("#range_last", f"{last}")
    with portal_process(WORKER):
        page.click("text=Sync this range")
        page.wait_for_selector(".run-progress")
        page.evaluate("window.notReloaded = true")
        expect(page.locator(".run-numbers")).to_contain_text(re.compile(rf"[1-9] of {DAYS} days.* left"))
        save_screenshot(page, "source-syncing")
        expect(page.locator(".run-head .badge")).to_have_text("Done")

    check_accessible(page)
    assert page.evaluate("window.notReloaded") is True
    expect(page.locator("#progress-announcement")).to_contain_text("has ended, done")
    expect(page.locator("#latest-runs")).to_contain_text(f"{DAYS} of {DAYS} days")
    records = ResourceUsage.objects.current().count()
    expect(page.locator("#page-facts")).to_contain_text(f"{records:,}")
    assert page.locator("#progress").get_attribute("hx-get") is None  # it asks no more
    run = SyncRun.objects.get(trigger=Trigger.ADMIN)
    assert (run.days_done, run.requested_by) == (DAYS, "administrator")


def test_a_run_is_watched_and_cancelled_from_its_own_page(
    as_person: AsPerson,  # noqa: F811
    sources: VendorSources,
    redis_client: object,
) -> None:
    page = as_person("operator")
    page.goto(f"/admin/usage/source/{sources.environments.pk}/change/")
    page.click("text=Sync now")
    page.wait_for_selector(".run-progress")
    run = SyncRun.objects.latest("id")
    page.click(f"#run-{run.pk}")
    page.wait_for_selector("text=Requested by")
    expect(page.locator("#page-facts")).to_contain_text("Waiting")

    page.click("text=Cancel")

    expect(page.locator(".messagelist")).to_contain_text("The run is cancelled: 4 days will not be synced.")
    expect(page.locator(".run-head .badge")).to_have_text("Cancelled")
    assert page.locator(f"#cancel-{run.pk}").count() == 0


def test_a_run_that_began_elsewhere_is_seen_after_a_reload_and_to_its_end(
    as_person: AsPerson,  # noqa: F811
    sources: VendorSources,
) -> None:
    run = SyncRun.objects.get()
    page = as_person("viewer")
    for address in (f"/admin/usage/source/{sources.resources.pk}/change/", f"/admin/sync/syncrun/{run.pk}/change/"):
        SyncRun.objects.update(finished_at=None)
        page.goto(address)
        page.reload()
        expect(page.locator(".run-numbers")).to_contain_text("19 of 30 days")
        SyncRun.objects.update(days_done=24)
        expect(page.locator(".run-numbers")).to_contain_text("25 of 30 days")
        SyncRun.objects.update(finished_at=timezone.now())
        expect(page.locator(".run-head .badge")).to_have_text("Ended with failures")
        SyncRun.objects.update(days_done=18)


def test_a_page_left_open_asks_to_sign_in_when_the_session_has_ended(
    as_person: AsPerson,  # noqa: F811
    sources: VendorSources,
) -> None:
    page = as_person("viewer")
    page.goto(f"/admin/sync/syncrun/{SyncRun.objects.get().pk}/change/")
    page.wait_for_selector(".run-progress")

    page.context.clear_cookies()

    page.wait_for_url("**/login/**")


def test_the_page_of_a_halted_source_is_accessible_and_fits(
    as_person: AsPerson,  # noqa: F811
    sources: VendorSources,
) -> None:
    Source.objects.filter(pk=sources.recipes.pk).update(
        halted_at=timezone.now(), halt_reason="www.workato.com does not accept the credential (HTTP 401: Unauthorized)."
    )
    page = as_person("admin", width=360, scheme="dark")
    page.goto(f"/admin/usage/source/{sources.recipes.pk}/change/")
    save_screenshot(page, "source-halted-360-dark")
    check_accessible(page)
    assert measure_overflow(page) <= 0


def test_a_rejected_record_is_followed_to_its_day_and_read_again(
    as_person: AsPerson,  # noqa: F811
    sources: VendorSources,
    redis_client: object,
) -> None:
    page = as_person("operator")
    page.goto("/admin/usage/rejectedrecord/?status=open")
    expect(page.locator("tbody .field-get_reason")).to_have_css("white-space", "normal")  # a long one wraps
    # An empty input that was left out of the address can be filled again, also where the page is come back to.
    page.evaluate(
        "document.getElementById('filter-form').addEventListener('submit', (event) => event.preventDefault())"
    )
    expect(page.locator(".applied")).to_contain_text("Status: ")
    page.click(".fold > summary")
    page.click("text=Apply")
    expect(page.locator("#filter-reason")).to_be_enabled()
    page.click("text=billing_value: a number is expected")
    page.wait_for_selector("pre.json")
    expect(page.locator("pre.json")).to_contain_text("<script>alert(1)</script>")

    page.click("text=Sync its day again")

    expect(page.locator(".messagelist")).to_contain_text("1 day of gcore-main will be synced")
    wait_for(lambda: SourceDay.objects.filter(run_days__run__trigger=Trigger.ADMIN, state="due").exists())


def test_an_administrator_retires_a_source_and_brings_it_back(
    as_person: AsPerson,  # noqa: F811
    sources: VendorSources,
) -> None:
    page = as_person("administrator")
    address = f"/admin/usage/source/{sources.resources.pk}/change/"
    page.goto(address)
    page.click("#retire summary")
    page.check("#retire_sure")
    check_page(page, "source-retire")
    page.click("#action-retire button")
    page.wait_for_selector("text=is its last day")
    check_page(page, "source-retired")
    page.goto("/admin/usage/source/")
    expect(page.locator("#result_list")).to_contain_text("Retired")
    page.goto(address)
    page.click("#action-bring-back button")
    page.wait_for_selector("text=is back, and switched off")
