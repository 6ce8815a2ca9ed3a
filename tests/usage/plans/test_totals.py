"""The totals of the usage lists over long tables, rolled up and not."""

from decimal import Decimal
from typing import Any

import pytest

from tests.support.api_clients import create_api_client, get
from tests.support.long_tables import SEARCHES
from tests.support.users import sign_in_as
from tests.usage.admin.test_totals import get_totals
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, SourceDay

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("long_tables")]


@pytest.mark.parametrize("rolled", [True, False])
def test_totals_are_those_of_the_summary_with_the_same_filters(*, rolled: bool) -> None:
    staff = sign_in_as("viewer")
    SourceDay.objects.update(rolled_up=rolled)
    caller = create_api_client()
    kinds: dict[str, Any] = {
        "environment-usage": EnvironmentUsage,
        "resource-usage": ResourceUsage,
        "recipe-usage": RecipeUsage,
    }
    for name, kind in kinds.items():
        for query in ({}, *SEARCHES[name]):
            page_totals = get_totals(staff, kind, **query).context_data["totals"]
            expected = get(caller, f"{name}/summary/", **query)["totals"]
            assert page_totals.records == sum(line["records"] for line in expected), (name, query)
            if kind is ResourceUsage:
                assert {(line.title, line.unit, line.value) for line in page_totals.metrics} == {
                    (line["billing_metric"], line["consumed_unit"], Decimal(line["consumed_quantity"]))
                    for line in expected
                }
            else:
                measures = kind.measures
                (line,) = expected
                assert [str(row.value) for row in page_totals.sums] == [str(line[name]) for name in measures], query
