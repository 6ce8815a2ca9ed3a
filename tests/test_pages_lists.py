"""The usage lists in a real browser: filtered by what is suggested, added up, walked through, looked into."""

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.browsing import accessible, allow, as_person, picture, running  # noqa: F401
from tests.filled import Filled, fill
from tests.held import hold_days
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, SourceDay

AsPerson = Callable[..., Page]
LISTS = {"environments": EnvironmentUsage, "resources": ResourceUsage, "recipes": RecipeUsage}


@pytest.fixture
def filled(running, transactional_db: None) -> Filled:  # noqa: F811
    """A portal that has been read for a month, its days rolled up."""
    made = fill()
    states = list(SourceDay.objects.values_list("pk", "state"))
    hold_days(rolled=True)
    for pk, state in states:
        SourceDay.objects.filter(pk=pk).update(state=state)
    return made


def listing(name: str) -> str:
    return f"/admin/usage/{LISTS[name]._meta.model_name}/"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 360])
def test_the_lists_and_their_records_are_accessible_and_fit(
    filled: Filled,
    as_person: AsPerson,  # noqa: F811
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    page = as_person("viewer", width=width, scheme=scheme)
    for name, kind in LISTS.items():
        record = kind.objects.filter(withdrawn_at=None).latest(kind.instant)
        addresses = {name: f"{listing(name)}?include_withdrawn=true", name[:-1]: f"{listing(name)}{record.pk}/change/"}
        for called, address in addresses.items():
            page.goto(address)
            if called in LISTS:
                expect(page.locator(".totals dl")).to_be_visible()
            accessible(page)
            spill = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert spill <= 0, (called, spill)
            picture(page, f"list-{called}-{scheme}-{width}")
