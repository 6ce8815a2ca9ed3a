"""The totals of the usage lists over long tables, rolled up and not."""

from decimal import Decimal
from typing import Any

import pytest
from django.template.response import SimpleTemplateResponse

from tests.support.api_clients import bearer, get
from tests.support.long_tables import SEARCHES
from tests.support.users import client_of
from tests.usage.admin.test_totals import totals_of
from usage.admin.lists import totals
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, SourceDay

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("long_tables")]


@pytest.fixture(autouse=True)
def _nothing_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pages empty: what they show is at hand before."""
    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", "")


@pytest.mark.parametrize("rolled", [True, False])
def test_totals_are_those_of_the_summary_with_the_same_filters(*, rolled: bool) -> None:
    staff = client_of("viewer")
    SourceDay.objects.update(rolled_up=rolled)
    caller = bearer()
    kinds: dict[str, Any] = {
        "environment-usage": EnvironmentUsage,
        "resource-usage": ResourceUsage,
        "recipe-usage": RecipeUsage,
    }
    for name, kind in kinds.items():
        for query in ({}, *SEARCHES[name]):
            found = totals_of(staff, kind, **query).context_data["totals"]
            answer = get(caller, f"{name}/summary/", **query)["totals"]
            assert found.records == sum(line["records"] for line in answer), (name, query)
            if kind is ResourceUsage:
                assert {(line.title, line.unit, line.value) for line in found.metrics} == {
                    (line["billing_metric"], line["consumed_unit"], Decimal(line["consumed_quantity"]))
                    for line in answer
                }
            else:
                measures = [measure for measure, *_ in totals.MEASURES[kind]]
                (line,) = answer
                assert [str(one.value) for one in found.sums] == [str(line[name]) for name in measures], query
