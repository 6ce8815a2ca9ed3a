"""The totals of the usage lists: equal to the summaries of the API with the same filters, within a time limit."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.factories import (
    FIRST,
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
    create_many_environments,
)
from tests.support.source_days import create_source_days
from tests.support.users import sign_in_as
from usage.admin.lists import totals
from usage.models import EnvironmentUsage, RecipeUsage, ResourceUsage, SourceDay, UsageRecord

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    return sign_in_as("viewer")


def get_totals(staff: Client, kind: type[UsageRecord], **query: Any) -> Any:
    params = {name.rstrip("_"): value for name, value in query.items()}
    response = staff.get(f"/admin/usage/{kind._meta.model_name}/totals/", params, headers={"HX-Request": "true"})
    assert response.status_code == 200
    return response


def get_sums(staff: Client, kind: type[UsageRecord], **query: Any) -> dict[tuple[str, str], Any]:
    page_totals = get_totals(staff, kind, **query).context["totals"]
    return {
        ("", "records"): page_totals.records,
        **{(line.title, line.unit): line.value for line in (page_totals.metrics or page_totals.sums)},
    }


def test_different_units_are_never_added_and_metrics_of_one_unit_are(staff: Client) -> None:
    for metric, unit, quantity in (("vm", "minutes", "1440"), ("ip", "minutes", "60.5"), ("disk", "gbminutes", "9")):
        ResourceUsageFactory.create_batch(2, billing_metric=metric, consumed_unit=unit, consumed_quantity=quantity)
    create_source_days(rolled=False)
    page_totals = get_totals(staff, ResourceUsage).context["totals"]

    assert {(line.unit, line.value) for line in page_totals.sums} == {
        ("minutes", Decimal(3001)),
        ("gbminutes", Decimal(18)),
    }
    assert {(line.title, line.value, line.records) for line in page_totals.metrics} == {
        ("vm", Decimal(2880), 2),
        ("ip", Decimal(121), 2),
        ("disk", Decimal(18), 2),
    }
    page = get_totals(staff, ResourceUsage).content.decode()
    assert 'title="3,001 minutes"' in page
    assert '50 <span class="unit">h</span> <span class="exact">3,001 minutes</span>' in page
    assert "By billing metric" in page


def test_metrics_add_up_to_the_last_digit_however_large_they_are(staff: Client) -> None:
    for metric, quantity in (("vm", f"{10**30}"), ("ip", "0.000000000000000000000000000001")):
        ResourceUsageFactory(billing_metric=metric, consumed_unit="GB", consumed_quantity=quantity)
    create_source_days(rolled=False)

    page = get_totals(staff, ResourceUsage).content.decode()

    assert f"{10**30:,}.000000000000000000000000000001" in page
    response = staff.get("/admin/usage/resourceusage/?from=")
    assert f"{10**30:,} GB" in response.content.decode()


def test_what_was_not_reported_is_not_zero_and_withdrawn_records_count_on_request(staff: Client) -> None:
    EnvironmentUsageFactory(created_at=None)
    EnvironmentUsageFactory.create_batch(2)
    EnvironmentUsageFactory(withdrawn_at=datetime.now(UTC))
    RecipeUsageFactory(task_count=None, job_succeeded_count=5)
    create_source_days(rolled=False)

    assert get_sums(staff, EnvironmentUsage) == {("", "records"): 3, ("Runtime", "seconds"): Decimal(7200)}
    assert "1 of the records have no runtime" in get_totals(staff, EnvironmentUsage).content.decode()
    page = get_totals(staff, EnvironmentUsage, include_withdrawn="true")
    assert page.context["totals"].records == 4
    assert "Withdrawn records are added too." in page.content.decode()
    assert get_sums(staff, RecipeUsage)["Tasks", "tasks"] is None
    assert get_sums(staff, RecipeUsage)["Jobs succeeded", "jobs"] == 5


def test_a_range_may_begin_within_an_hour_or_a_day(staff: Client) -> None:
    for minute in (0, 20, 40):
        EnvironmentUsageFactory(stopped_at=FIRST + timedelta(minutes=minute))
        RecipeUsageFactory(starts_at=FIRST + timedelta(minutes=minute))
    create_source_days(rolled=True)

    for kind in (EnvironmentUsage, RecipeUsage):
        assert get_sums(staff, kind, from_="2026-01-01T00:10:00Z", to="2026-01-01T00:40:00Z")["", "records"] == 1


def test_rollups_answer_where_they_hold_the_days(staff: Client) -> None:
    EnvironmentUsageFactory.create_batch(3)
    create_source_days(rolled=True)
    with CaptureQueriesContext(connection) as queries:
        assert get_sums(staff, EnvironmentUsage, from_="2026-01-01", to="2026-01-02")["", "records"] == 3
    assert not [query for query in queries if 'FROM "usage_environmentusage"' in query["sql"]]


def test_totals_say_how_far_they_can_be_trusted(staff: Client) -> None:
    source = SourceFactory(slug="a")
    EnvironmentUsageFactory(source=source)
    day = SourceDayFactory(source=source, day=FIRST.date(), complete=True, loaded_at=FIRST, final=True)

    query = {"source": "a", "from_": "2026-01-01", "to": "2026-01-02"}
    assert (
        "Complete: every day of the range was read to its end"
        in get_totals(staff, EnvironmentUsage, **query).content.decode()
    )
    SourceDay.objects.filter(pk=day.pk).update(complete=False, final=False)
    page = get_totals(staff, EnvironmentUsage, **query).content.decode()
    assert "Not complete: 1 day not read completely (a 1 Jan 2026)." in page
    assert "From 1 Jan 2026 on, numbers may still change." in page


def test_totals_are_of_the_sources_that_a_person_may_see() -> None:
    own_source, other_source = SourceFactory(slug="mine"), SourceFactory(slug="other")
    for source, metric in ((own_source, "seen"), (other_source, "secret-metric")):
        ResourceUsageFactory(source=source, billing_metric=metric)
        SourceDayFactory(source=source, day=FIRST.date(), complete=source is own_source, loaded_at=FIRST, records=1)
    staff = sign_in_as("viewer", sources=[own_source])
    response = get_totals(staff, ResourceUsage, from_="2026-01-01", to="2026-01-02")

    assert response.context["totals"].records == 1
    assert "secret-metric" not in response.content.decode()
    assert "Complete:" in response.content.decode()
    assert "the filters are invalid" in get_totals(staff, ResourceUsage, source="other").content.decode()


def test_totals_that_take_too_long_are_given_up_with_a_sentence(staff: Client, monkeypatch) -> None:
    monkeypatch.setattr(totals, "SECONDS", 0.002)
    create_many_environments(SourceFactory.create(), 20_000)
    create_source_days(rolled=False)

    page = get_totals(staff, EnvironmentUsage).content.decode()

    assert "too many records to add up here. Narrow the range" in page


def test_without_scripts_totals_are_a_page_of_their_own_that_leads_back(staff: Client) -> None:
    EnvironmentUsageFactory(user_id="u1")
    list_page = staff.get("/admin/usage/environmentusage/?user_id=u1").content.decode()
    assert 'href="totals/?user_id=u1"' in list_page

    page = staff.get("/admin/usage/environmentusage/totals/?user_id=u1").content.decode()

    assert "<h1>Totals of environment usage</h1>" in page
    assert "/admin/usage/environmentusage/?user_id=u1" in page


def test_the_totals_lead_to_explore_with_the_same_filters(staff: Client) -> None:
    ResourceUsageFactory(tags={"team": "data"})
    create_source_days(rolled=False)
    query = {"tag": "team:data", "from_": "2026-01-01", "to": "2026-01-02"}
    explore = get_totals(staff, ResourceUsage, **query).context["explore"]

    assert explore == "/admin/explore/?kind=resource-usage&tag=team%3Adata&from=2026-01-01&to=2026-01-02"
    assert staff.get(explore).status_code == 200


def test_the_list_itself_adds_nothing_up(staff: Client) -> None:
    EnvironmentUsageFactory.create_batch(3)
    with CaptureQueriesContext(connection) as queries:
        staff.get("/admin/usage/environmentusage/?from=")
    assert not [query for query in queries if "sum(" in query["sql"].lower()]


@pytest.mark.parametrize(("column", "verb"), [("pruned_at", "were pruned"), ("archived_at", "are archived")])
def test_totals_say_that_they_have_the_sums_of_days_without_records(staff: Client, column: str, verb: str) -> None:
    source = SourceFactory(slug="a")
    EnvironmentUsageFactory(source=source)
    create_source_days(rolled=True)
    EnvironmentUsage.objects.all().delete()
    timestamps = dict.fromkeys({"pruned_at", column}, FIRST)
    SourceDay.objects.update(state="loaded", complete=True, final=True, loaded_at=FIRST, **timestamps)

    query = {"source": "a", "from_": "2026-01-01", "to": "2026-01-02"}
    response = get_totals(staff, EnvironmentUsage, **query)
    assert response.context["totals"].records == 1
    page = response.content.decode()
    assert f"The records of 1 day {verb}, so their sums come from roll-ups: a 1 Jan 2026." in page
    assert "not in these numbers" not in page
    filtered_response = get_totals(staff, EnvironmentUsage, **query, runtime_seconds__gte="1")
    assert filtered_response.context["totals"].records == 0
    assert "not in these numbers" in filtered_response.content.decode()
