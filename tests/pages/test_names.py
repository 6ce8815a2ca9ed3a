"""Names beside ids in a real browser: readable, accessible, and enough to filter by."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import (  # noqa: F401
    SIZE_RULES,
    as_person,
    browser,
    check_accessible,
    measure_overflow,
    save_screenshot,
    set_screen,
)
from tests.support.database import store_or_restore
from tests.support.filled_portal import VendorSources, fill_portal, get_vendor_sources
from tests.support.source_days import create_source_days
from usage.models import Directory, DirectoryEntry, EnvironmentUsage, NameKind

AsPerson = Callable[..., Page]
LIST = "/admin/usage/environmentusage/"
LISTED = f"{LIST}?from="
KINDS = {
    "project_id": NameKind.PROJECT,
    "user_id": NameKind.USER,
    "environment_class_id": NameKind.ENVIRONMENT_CLASS,
}
REFUSED = {"Team": "The credential may not read this at app.gitpod.io (HTTP 403: the token may not do this)."}


@pytest.fixture
def sources_with_names(browser, transactional_db: None) -> VendorSources:  # noqa: F811
    """A filled portal with names for the ids of its runs; the first project is gone, and teams may not be read."""
    store_or_restore("named", name_everything)
    return get_vendor_sources()


def name_everything() -> None:
    sources = fill_portal()
    create_source_days(rolled=True)
    Directory.objects.create(source=sources.environments, version=1, read_at="2026-11-23T05:00:00Z", refused=REFUSED)
    for column, kind in KINDS.items():
        for place, vendor_id in enumerate(sorted(EnvironmentUsage.objects.values_list(column, flat=True).distinct())):
            if vendor_id:
                DirectoryEntry.objects.create(
                    source=sources.environments,
                    kind=kind,
                    vendor_id=vendor_id,
                    name=f"{kind.label} with a name {place}",
                    pseudonym="Word",
                    gone_at="2026-11-20T00:00:00Z" if kind == NameKind.PROJECT and place < 2 else None,
                )


def test_pages_with_names_are_accessible_and_fit(sources_with_names: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("administrator")
    record = EnvironmentUsage.objects.filter(withdrawn_at=None).exclude(project_id="").latest("stopped_at")
    query = "kind=environment-usage&from=2026-11-01&to=2026-11-24&group_by=project_id"
    for name, address in {
        "list": LISTED,
        "record": f"{LIST}{record.pk}/change/",
        "explore": f"/admin/explore/?{query}",
        "explore-days": f"/admin/explore/?{query},day&limit=5",
        "source": f"/admin/usage/source/{sources_with_names.environments.pk}/change/",
    }.items():
        page.goto(address)
        text = "The vendor does not give all names" if name == "source" else "with a name"
        for width, scheme, rules in ((1400, "light", SIZE_RULES), (390, "dark", ())):
            set_screen(page, width, scheme)
            expect(page.get_by_text(text).first).to_be_visible()
            check_accessible(page, rules)
            assert measure_overflow(page) <= 0, name
            save_screenshot(page, f"names-{name}-{scheme}-{width}")


def test_a_filter_takes_a_name_and_keeps_the_id(sources_with_names: VendorSources, as_person: AsPerson) -> None:  # noqa: F811
    page = as_person("administrator")
    page.goto(LISTED)
    page.click("summary >> text=Filters >> nth=0")
    entry = DirectoryEntry.objects.filter(kind=NameKind.PROJECT, gone_at=None).latest("pk")
    page.get_by_label("Project", exact=True).fill(entry.name)
    page.get_by_role("option", name=entry.name).click()
    expect(page.get_by_label("Project", exact=True)).to_have_value(entry.vendor_id)
    page.get_by_label("Project", exact=True).press("Enter")
    expect(page.get_by_text(f"Project: {entry.name}")).to_be_visible()
