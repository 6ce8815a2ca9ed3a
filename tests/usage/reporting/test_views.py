"""The sums of the views equal those of the API, and a query reads no more than its range."""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from tests.support.api_clients import create_api_client, get
from tests.support.database import create_months
from tests.support.factories import FIRST_DAY
from tests.support.plans import MONTH, iterate_nodes
from tests.usage.reporting.conftest import Reader
from usage.models import DayState, EnvironmentUsage, Source, SourceDay
from usage.pruning import drop_month
from usage.reporting.definitions import build_views

pytestmark = pytest.mark.django_db(transaction=True)
RANGE = {"from_": "2026-01-01", "to": "2026-02-01"}
# The summary of the API, and the views that have the same: their columns of the same names are grouped or added up.
SUMMARIES: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("environment-usage", "source,project_id", "runtime_seconds", ("environment_usage", "environment_days")),
    ("environment-usage", "source,user_id", "runtime_seconds", ("environment_usage", "environment_accruals")),
    (
        "resource-usage",
        "source,category,resource_type,project_id,billing_metric,consumed_unit",
        "consumed_quantity",
        ("resource_usage", "resource_days"),
    ),
    ("recipe-usage", "source,workspace_id,recipe_id", "task_count", ("recipe_usage", "recipe_days")),
    ("recipe-usage", "source,workspace_id", "job_failed_count", ("recipe_usage", "recipe_days")),
]


def to_decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)


@pytest.mark.parametrize(("kind", "group_by", "measure", "views"), SUMMARIES)
def test_each_view_adds_up_to_the_summary_of_the_api_to_the_last_digit(
    connect: Callable[..., Reader], kind: str, group_by: str, measure: str, views: tuple[str, ...]
) -> None:
    reader, columns = connect(None), group_by.split(",")
    rows = get(
        create_api_client(), f"{kind}/summary/", **RANGE, group_by=group_by, measures=f"records,{measure}", limit=500
    )
    expected = {
        (*(row[column] for column in columns), row["records"], to_decimal(row[measure])) for row in rows["results"]
    }
    assert len(expected) > 1
    for view in views:
        count = "count(*)" if view.endswith("_usage") else "sum(records)"
        view_rows = reader.execute(
            f"SELECT {group_by}, {count}, sum({measure}) FROM {view} "
            f"WHERE day >= '2026-01-01' AND day < '2026-02-01' GROUP BY {group_by}"
        ).fetchall()
        assert set(view_rows) == expected, view


def test_the_totals_are_those_of_the_api_and_each_unit_is_a_row_of_its_own(connect: Callable[..., Reader]) -> None:
    totals = get(create_api_client(), "usage/summary/", **RANGE)["totals"]
    expected = {(total["vendor"], total["unit"], total["records"], to_decimal(total["quantity"])) for total in totals}
    result = connect(None).execute(
        "SELECT vendor, unit, sum(records), sum(quantity) FROM daily_totals GROUP BY vendor, metric, unit"
    )
    assert set(result.fetchall()) == expected
    assert {unit for _, unit, *_ in expected} == {"seconds", "minutes", "gbminutes", "bytes", "tasks", "jobs"}


def test_runtime_falls_on_the_dates_on_which_it_ran(connect: Callable[..., Reader]) -> None:
    summary = get(
        create_api_client(),
        "environment-usage/summary/",
        **RANGE,
        basis="accrued",
        group_by="day",
        tz="Europe/Berlin",
        source="runs",
    )
    expected = {(date.fromisoformat(row["day"][:10]), Decimal(row["runtime_seconds"])) for row in summary["results"]}
    result = connect("runs").execute("SELECT accrued_on, sum(runtime_seconds) FROM environment_accruals GROUP BY 1")
    assert {row for row in result if row[1]} == {row for row in expected if row[1]}


def test_withdrawn_records_are_left_out(connect: Callable[..., Reader]) -> None:
    withdrawn_ids = set(EnvironmentUsage.objects.exclude(withdrawn_at=None).values_list("record_id", flat=True))
    record_ids = {row[0] for row in connect(None).execute("SELECT record_id FROM environment_usage")}
    assert withdrawn_ids
    assert not withdrawn_ids & record_ids
    assert record_ids | withdrawn_ids == set(EnvironmentUsage.objects.values_list("record_id", flat=True))


def test_the_quality_of_a_day_is_the_status_that_pages_show(connect: Callable[..., Reader]) -> None:
    days = SourceDay.objects.filter(source__slug="main")
    days.update(state=DayState.LOADED, complete=True, final=True, loaded_at="2026-02-09T00:00:00Z", records=3)
    first, second = days.order_by("day").values_list("pk", flat=True)[:2]
    days.filter(pk=first).update(final=False, state=DayState.FAILED)
    days.filter(pk=second).update(final=False, complete=False, accepted_reason="", rejected=2, state=DayState.PARTIAL)
    result = connect("main").execute("SELECT day, status, complete, final, rejected FROM data_quality ORDER BY day")
    expected = [
        (day.day, day.status, day.complete, day.final, day.rejected) for day in days.with_status().order_by("day")
    ]
    assert result.fetchall() == expected
    assert {row[1] for row in expected} == {"failed", "partial", "final"}


def test_a_range_of_days_opens_its_month_alone_and_goes_by_an_index(connect: Callable[..., Reader]) -> None:
    reader = connect("main")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_resourceusage (source_id, day, resource_key, resource_type, consumed_quantity)"
            " SELECT s.id, day, md5(day::text || g || s.id)::uuid, 'instance', 1 FROM usage_source s,"
            " generate_series('2026-01-10'::date, '2026-02-20', '1 day') AS day, generate_series(1, 150) AS g"
        )
        cursor.execute("ANALYZE usage_resourceusage, usage_source, usage_reportingrole, usage_reportingrole_sources")
    bounds = "day >= '2026-01-20' AND day < '2026-01-21'"
    for condition in (bounds, f"{bounds} AND source = 'main'", f"{bounds} AND project_name IS NULL"):
        statement = f"EXPLAIN (FORMAT JSON) SELECT sum(consumed_quantity) FROM resource_usage WHERE {condition}"
        [(plan,)] = reader.execute(statement).fetchall()
        reads = [node for node in iterate_nodes(plan[0]["Plan"]) if node.get("Alias", "").startswith("t")]
        assert {node["Relation Name"] for node in reads} == {f"usage_resourceusage_{MONTH}"}, condition
        assert "Seq Scan" not in {node["Node Type"] for node in reads}, condition


def test_names_that_nobody_selects_are_not_looked_up(connect: Callable[..., Reader]) -> None:
    reader = connect("runs")
    statement = "EXPLAIN (FORMAT JSON) SELECT project_name FROM environment_usage"
    [(plan,)] = reader.execute(statement).fetchall()
    lookups = [node for node in iterate_nodes(plan[0]["Plan"]) if node.get("Relation Name") == "usage_directoryentry"]
    assert {node["Alias"] for node in lookups} == {"project_names"}


@pytest.fixture
def _months() -> Iterator[None]:
    """Create the months anew that the test has dropped: other tests store usage there."""
    yield
    create_months()


@pytest.mark.usefixtures("_months")
def test_pruned_months_leave_the_views_of_records_and_stay_in_those_of_days(connect: Callable[..., Reader]) -> None:
    reader = connect("main")
    before = reader.execute("SELECT * FROM resource_days ORDER BY day, resource_type").fetchall()
    settle_january()
    drop_month(FIRST_DAY)
    assert reader.execute("SELECT count(*) FROM resource_usage").fetchall() == [(0,)]
    assert reader.execute("SELECT * FROM resource_days ORDER BY day, resource_type").fetchall() == before
    assert reader.execute("SELECT DISTINCT status FROM data_quality").fetchall() == [("pruned",)]


def settle_january() -> None:
    """Have every stored day final, and no other day expected, so that their month can be pruned."""
    SourceDay.objects.update(state=DayState.LOADED, complete=True, final=True, loaded_at="2026-03-01T00:00:00Z")
    Source.objects.update(backfill_from="2027-01-01")


def test_every_view_has_a_description_and_so_has_every_column() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, count(*) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0"
            " WHERE relnamespace = 'reporting'::regnamespace AND col_description(c.oid, attnum) <> ''"
            " AND obj_description(c.oid) <> '' GROUP BY relname"
        )
        assert dict(cursor.fetchall()) == {view.name: len(view.columns) for view in build_views()}
