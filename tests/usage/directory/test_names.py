"""Names beside ids: as columns, in files, filters and summaries, joined when they are shown and never stored with usage."""

import csv
import io
import json
from typing import Any

import openpyxl
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.support.api_clients import API, create_api_client, get_problem_details
from tests.support.api_clients import get as got
from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory
from tests.support.source_days import create_source_days
from tests.usage.directory.conftest import create_name
from usage.directory.store import ReadName, store_names
from usage.models import Directory, DirectoryEntry, EnvironmentUsage, NameKind, Source

pytestmark = pytest.mark.django_db
RANGE: dict[str, Any] = {"from_": "2026-01-01", "to": "2026-01-02"}


def get(client: Client, address: str, *, rolled: bool = True, **query: Any) -> Any:
    """Return the body of a response, after the days of the records were stored and rolled up."""
    create_source_days(rolled=rolled)
    return got(client, address, **query)


@pytest.fixture
def client() -> Client:
    """A program that may see the names of people."""
    return create_api_client("usage:read", "person:read")


def list_rows(client: Client, **query: Any) -> list[dict[str, Any]]:
    """Return the records of a list, the oldest first."""
    return get(client, "environment-usage/", **{"ordering": "stopped_at", **query})["results"]


def test_names_are_columns_that_fields_may_choose_and_no_others_come_along(client: Client, source: Source) -> None:
    chosen_rows = list_rows(client, fields="project_id,project_name,user_name,runner_name")
    assert [row["project_name"] for row in chosen_rows] == ["Payments", "Payments", "=SUM(1)", "=SUM(1)"]
    assert [row["user_name"] for row in chosen_rows] == ["Ada Lovelace", "Grace Hopper", "Alan Turing", None]
    assert {row["runner_name"] for row in chosen_rows} == {None}
    assert not {key for row in list_rows(client) for key in row if key.endswith("_name")}
    detail = EnvironmentUsage.objects.order_by("stopped_at").first()
    assert detail is not None
    body = get(client, f"environment-usage/{detail.pk}/", fields="user_name")
    assert body == {"user_name": "Ada Lovelace"}
    assert (
        "project_name"
        in get_problem_details(client.get(f"{API}/environment-usage/", {"fields": "nothing"}))["fields"][0]
    )


def test_a_page_with_names_pages_and_orders_as_one_without(client: Client, source: Source) -> None:
    for number in range(30):
        EnvironmentUsageFactory(source=source, project_id=f"p{number % 3}", user_id=f"u{number % 4}")
    id_page = get(client, "environment-usage/", fields="id", page_size=7)
    name_page = get(client, "environment-usage/", fields="id,user_name,project_name", page_size=7)
    while id_page["next_cursor"]:
        assert [row["id"] for row in name_page["results"]] == [row["id"] for row in id_page["results"]]
        id_page = get(client, "environment-usage/", fields="id", page_size=7, cursor=id_page["next_cursor"])
        name_page = get(
            client,
            "environment-usage/",
            fields="id,user_name,project_name",
            page_size=7,
            cursor=name_page["next_cursor"],
        )
    assert name_page["next_cursor"] is None


def test_numbers_of_projects_and_regions_have_names_too(client: Client) -> None:
    record = ResourceUsageFactory()
    create_name(record.source, NameKind.PROJECT, "11", "web-shop")
    create_name(record.source, NameKind.REGION, "7", "São Paulo")
    (row,) = get(client, "resource-usage/", fields="project_name,region_name,region_id")["results"]
    assert row == {"project_name": "web-shop", "region_name": "São Paulo", "region_id": 7}
    (total,) = get(client, "resource-usage/summary/", group_by="region_id", **RANGE)["results"]
    assert (total["region_id"], total["region_name"]) == (7, "São Paulo")
    assert get(client, "resource-usage/", region_name="São Paulo", project_name__contains="WEB")["results"]
    assert not get(client, "resource-usage/", region_name="Frankfurt")["results"]


def test_a_name_of_an_id_that_no_column_of_numbers_holds_finds_nothing(client: Client) -> None:
    source = ResourceUsageFactory.create(project_id=3).source
    for number in (str(2**63), "\u0663"):  # the digit three in Arabic
        create_name(source, NameKind.PROJECT, number, "Web")
    assert get(client, "resource-usage/", project_name="Web")["results"] == []


@pytest.mark.django_db(transaction=True)
def test_files_have_names_where_they_are_chosen(client: Client, source: Source) -> None:
    query = {"fields": "id,project_name,user_name", "ordering": "stopped_at"}
    text = b"".join(client.get(f"{API}/environment-usage/", {**query, "format": "csv"})).decode()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["user_name"] for line in lines] == ["Ada Lovelace", "Grace Hopper", "Alan Turing", ""]
    assert lines[2]["project_name"] == "'=SUM(1)", "a name is text that no spreadsheet runs"
    ndjson = b"".join(client.get(f"{API}/environment-usage/", {**query, "format": "ndjson"})).decode()
    assert json.loads(ndjson.splitlines()[0])["project_name"] == "Payments"
    book = openpyxl.load_workbook(
        io.BytesIO(b"".join(client.get(f"{API}/environment-usage/", {**query, "format": "xlsx"})))
    )
    assert [cell.value for cell in book["usage"]["C"]] == [
        "user_name",
        "Ada Lovelace",
        "Grace Hopper",
        "Alan Turing",
        None,
    ]
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(
        io.BytesIO(b"".join(client.get(f"{API}/environment-usage/", {**query, "format": "parquet"})))
    )
    assert table.column("user_name").to_pylist() == ["Ada Lovelace", "Grace Hopper", "Alan Turing", None]


def test_filters_take_names_and_a_part_of_them(client: Client, source: Source) -> None:
    assert len(list_rows(client, project_name="Payments")) == 2
    assert len(list_rows(client, project_name="Payments,=SUM(1)")) == 4
    assert [row["user_id"] for row in list_rows(client, user_name__contains="LOVE")] == ["u1"]
    assert list_rows(client, user_name="Nobody") == []
    assert (
        "3 characters"
        in get_problem_details(client.get(f"{API}/environment-usage/", {"user_name__contains": "ad"}))[
            "user_name__contains"
        ][0]
    )
    assert {row["user_id"] for row in list_rows(client, team="t1")} == {"u1", "u2"}
    assert {row["user_id"] for row in list_rows(client, team="~none")} == {"u3", "unknown"}
    assert {row["user_id"] for row in list_rows(client, team="t2,~none")} == {"u1", "u3", "unknown"}
    summary = get(client, "environment-usage/summary/", project_name="Payments", **RANGE)
    assert summary["totals"][0]["records"] == 2
    manifest = get(client, "environment-usage/export-manifest/", project_name="Payments", **RANGE)
    assert manifest["rows"] == 2


def test_a_name_of_one_source_is_no_name_in_another(client: Client, source: Source) -> None:
    other_record = EnvironmentUsageFactory(project_id="p1", user_id="u1")
    (row,) = list_rows(client, source=other_record.source.slug, fields="project_name,user_name")
    assert row == {"project_name": None, "user_name": None}
    assert len(list_rows(client, project_name="Payments")) == 2
    limited_client = create_api_client("usage:read", "person:read", sources=[other_record.source])
    assert get(limited_client, "directory/")["results"] == []
    assert list_rows(limited_client, project_name="Payments") == []
    (group,) = get(limited_client, "environment-usage/summary/", group_by="project_id", **RANGE)["results"]
    assert group["project_name"] is None


def test_summaries_give_the_name_beside_the_id(client: Client, source: Source) -> None:
    results = get(client, "environment-usage/summary/", group_by="project_id,user_id,day", **RANGE)["results"]
    assert {(row["project_id"], row["project_name"]) for row in results} == {("p1", "Payments"), ("p2", "=SUM(1)")}
    assert {row["user_id"]: row["user_name"] for row in results}["u2"] == "Grace Hopper"
    assert {row["user_id"]: row["user_name"] for row in results}["unknown"] is None
    combined_results = get(client, "usage/summary/", **RANGE)["results"]
    assert [row["service_name"] for row in combined_results] == [None]
    create_name(source, NameKind.ENVIRONMENT_CLASS, "class-1", "Large")
    assert [row["service_name"] for row in get(client, "usage/summary/", **RANGE)["results"]] == ["Large"]


def test_a_summary_of_recipes_has_the_names_of_today_unless_it_is_grouped_by_names(client: Client) -> None:
    record = RecipeUsageFactory()
    create_name(record.source, NameKind.WORKSPACE, "501", "Renamed customer")
    (row,) = get(client, "recipe-usage/summary/", group_by="workspace_id", **RANGE)["results"]
    assert row["workspace_name"] == "Renamed customer"
    (row,) = get(client, "recipe-usage/summary/", group_by="workspace_id,workspace_name", **RANGE)["results"]
    assert row["workspace_name"] == "Customer 501"


@pytest.mark.parametrize("rolled", [True, False])
@pytest.mark.parametrize("further", [{}, {"basis": "accrued"}, {"measures": "users,environments,records"}])
def test_by_team_a_user_in_two_teams_counts_in_each_and_the_total_counts_everybody_once(
    client: Client, source: Source, further: dict[str, Any], rolled: bool
) -> None:
    summary = get(client, "environment-usage/summary/", rolled=rolled, group_by="team", **RANGE, **further)
    total_summary = got(client, "environment-usage/summary/", **RANGE, **further)
    assert summary["totals"] == total_summary["totals"]
    assert "two teams counts in each" in summary["meta"]["teams"]
    by_team = {(row["team"], row["team_name"]): row for row in summary["results"]}
    assert by_team.keys() == {("t1", "Checkout"), ("t2", "Data"), ("", None)}
    measure = "records" if "measures" in further else "runtime_seconds"
    unit_size = 1 if measure == "records" else 3600
    assert {team: int(float(row[measure])) // unit_size for (team, _), row in by_team.items()} == {
        "t1": 2,
        "t2": 1,
        "": 2,
    }


def test_by_team_and_day_with_a_limit_and_a_comparison(client: Client, source: Source) -> None:
    summary = get(
        client, "environment-usage/summary/", group_by="team,project_id,day", limit=1, compare="previous", **RANGE
    )
    assert summary["others"]["groups"] == 2
    assert summary["results"][0]["day"] == "2026-01-01"
    assert summary["results"][0]["change"]["records"] is None  # nothing of the period before is stored
    errors = get_problem_details(client.get(f"{API}/resource-usage/summary/", {"group_by": "team"}))
    assert "“team” is not one of" in errors["group_by"][0]


def test_a_new_name_changes_the_tag_and_the_directory_version_and_no_record(client: Client, source: Source) -> None:
    address = f"{API}/environment-usage/"
    params = {"fields": "id,project_name"}
    before = client.get(address, params)["ETag"], client.get(address)["ETag"]
    manifest = get(client, "environment-usage/export-manifest/", **RANGE)
    changed_at = list(EnvironmentUsage.objects.values_list("changed_at", "revision"))
    DirectoryEntry.objects.filter(vendor_id="p1").update(name="Renamed")
    Directory.objects.update(version=4)
    assert client.get(address, params, headers={"If-None-Match": before[0]}).status_code == 200
    assert client.get(address, headers={"If-None-Match": before[1]}).status_code == 304
    after = get(client, "environment-usage/export-manifest/", **RANGE)
    assert (manifest["directory_version"], after["directory_version"]) == (3, 4)
    assert after["digest"] == manifest["digest"]
    assert list(EnvironmentUsage.objects.values_list("changed_at", "revision")) == changed_at


def test_a_list_of_names_says_which_are_gone(client: Client, source: Source) -> None:
    DirectoryEntry.objects.filter(vendor_id="p2").update(gone_at="2026-01-05T00:00:00Z")
    results = get(client, "directory/", gone="true")["results"]
    assert [(row["source"], row["kind"], row["vendor_id"], row["name"]) for row in results] == [
        ("main", "project", "p2", "=SUM(1)")
    ]
    (ada,) = get(client, "directory/", name__contains="lovel", kind="user")["results"]
    assert (ada["vendor_id"], ada["team_ids"]) == ("u1", ["t1", "t2"])
    assert get(client, f"directory/{ada['id']}/")["name"] == "Ada Lovelace"


def test_a_list_costs_no_more_statements_with_names_and_a_summary_one_more(client: Client, source: Source) -> None:
    def count_queries(address: str, **query: Any) -> int:
        with CaptureQueriesContext(connection) as queries:
            get(client, address, **query)
        return len(queries)

    count_queries("environment-usage/")
    assert count_queries("environment-usage/", fields="id,user_name,project_name") == count_queries(
        "environment-usage/", fields="id"
    )
    summary_count = count_queries("environment-usage/summary/", group_by="project_id,user_id", **RANGE)
    assert summary_count == count_queries("environment-usage/summary/", group_by="source", **RANGE) + 1


def test_a_listing_that_gives_a_name_twice_stores_the_first(source: Source) -> None:
    names = [ReadName(NameKind.PROJECT, "p9", text) for text in ("Search", "Search 2")]

    changes = store_names(source, names, [])

    assert [entry.name for entry in changes.inserted] == ["Search"]
    assert [entry.name for entry in DirectoryEntry.objects.filter(vendor_id="p9")] == ["Search"]
