"""The Gcore stand-in keeps the contract: types, totals, refusals, filters and orders."""

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any

import pytest

from sync.vendors.gcore.sandbox import Sandbox
from sync.vendors.gcore.sandbox.names import LISTINGS
from tests.support.gcore_contract import (
    COMMON,
    EXACT,
    TABLE,
    Row,
    build_identity,
    build_range,
    index_totals,
    sum_resources,
)
from tests.support.gcore_sandbox import DAY, PATH, query_report
from tests.support.gcore_sandbox import vendor as vendor
from tests.support.gcore_sandbox import world as world
from tests.support.stand_in import parse_content, send_request


def get_invalid_fields(vendor: Sandbox, **body: Any) -> dict[str, list[str]]:
    """Return the invalid fields of the 400 response."""
    body = {name: value for name, value in {**build_range(DAY), **body}.items() if value is not ...}
    response = send_request(vendor, PATH, body, authorization="APIKey sandbox-key")
    assert response.status == 400
    error = parse_content(response)
    assert error["exception_class"] == "ValidationError"
    assert error["message"]
    assert error["request_id"]
    fields: dict[str, list[str]] = error["invalid_fields"]
    return fields


def test_every_documented_type_is_in_a_plain_day_with_exactly_its_own_fields(vendor: Sandbox) -> None:
    rows = query_report(vendor)["resources"]
    assert {row["type"] for row in rows} == {*TABLE, "inference_public_models"}
    for row in rows:
        if row["type"] not in TABLE:
            continue
        kind = TABLE[row["type"]]
        assert row.keys() | {"tags"} == COMMON | {"tags", *kind.has, *kind.own}
        assert "tags" in kind.has or "tags" not in row
        assert row["billing_value_unit"] == kind.unit
        assert row["region"] == row["region_id"]
        assert f"{DAY}T00:00:00Z" <= row["first_seen"] <= row["last_seen"] < f"{DAY + timedelta(days=1)}"


def test_the_demo_holds_what_is_hard_to_read(vendor: Sandbox) -> None:
    rows = query_report(vendor, **build_range(DAY - timedelta(days=20), DAY))["resources"]
    assert any(row["type"] == "log_index" and row["uuid"] is None for row in rows)
    assert any(row["type"] == "log_index" and row["uuid"] for row in rows)
    assert len({row["project_id"] for row in rows}) > 3
    assert len({row["region_id"] for row in rows}) > 3
    assert any(not row.get("last_name", "").isascii() for row in rows)
    keys = [[key for tag in row["tags"] for key in tag] for row in rows if "tags" in row]
    assert any(len(set(tag_keys)) < len(tag_keys) for tag_keys in keys)
    assert any(not tag_keys for tag_keys in keys)
    taggable = [row for row in rows if row["type"] in TABLE and "tags" in TABLE[row["type"]].has]
    assert any("tags" not in row for row in taggable)


def test_a_resource_that_changes_flavor_has_two_rows_in_the_day(vendor: Sandbox) -> None:
    changed = []
    for back in range(30):
        rows = query_report(
            vendor, **build_range(DAY - timedelta(days=back)), types=["instance", "basic_vm", "inference"]
        )
        by_uuid: dict[str, list[Row]] = defaultdict(list)
        for row in rows["resources"]:
            by_uuid[row["uuid"]].append(row)
        changed += [resource_rows for resource_rows in by_uuid.values() if len(resource_rows) == 2]
    assert changed
    for first, second in changed:
        assert first["flavor"] != second["flavor"]
        assert first["last_seen"] < second["first_seen"]


def test_a_day_has_some_hundreds_of_rows_and_each_identity_once(vendor: Sandbox) -> None:
    for back in range(0, 60, 4):  # every day of the week
        response = query_report(vendor, **build_range(DAY - timedelta(days=back)))
        assert 200 < response["count"] < 1000
        assert len(set(map(build_identity, response["resources"]))) == response["count"] == len(response["resources"])


def test_the_default_limit_of_ten_cuts_silently_and_count_tells(vendor: Sandbox) -> None:
    report = query_report(vendor)
    response = send_request(vendor, PATH, build_range(DAY), authorization="APIKey sandbox-key")
    first = parse_content(response)
    assert first["resources"] == report["resources"][:10]
    assert first["count"] == report["count"] > 10
    assert first["totals"] == report["totals"]


def test_pages_of_any_size_give_every_row_once_in_the_same_order(vendor: Sandbox) -> None:
    all_rows = query_report(vendor)["resources"]
    for limit in (1, 7, 100, 1000):
        paged_rows: list[Row] = []
        while page := query_report(vendor, limit=limit, offset=len(paged_rows))["resources"]:
            paged_rows += page
        assert paged_rows == all_rows
    assert query_report(vendor, offset=10**9)["resources"] == []


def test_totals_are_the_exact_sums_of_all_matching_rows(vendor: Sandbox) -> None:
    for body in (
        {},
        build_range(DAY - timedelta(days=9), DAY),
        {"types": ["volume", "inference", "backup"]},
        {"regions": [76]},
    ):
        report = query_report(vendor, **body)
        assert index_totals(report) == sum_resources(report["resources"])
        assert query_report(vendor, **{**body, "limit": 3})["totals"] == report["totals"]


def test_values_keep_all_their_digits(vendor: Sandbox) -> None:
    rows = query_report(vendor, **build_range(DAY - timedelta(days=5), DAY), types=["containers", "functions"])[
        "resources"
    ]
    digits = [len(row["billing_value"].as_tuple().digits) for row in rows]
    assert max(digits) > 20


def test_a_period_is_the_sum_of_its_days_per_resource(vendor: Sandbox) -> None:
    first = DAY - timedelta(days=11)
    days = [first + timedelta(days=number) for number in range(12)]
    sums: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    rows_by_identity: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for day in days:
        for row in query_report(vendor, **build_range(day))["resources"]:
            sums[build_identity(row)] = EXACT.add(sums[build_identity(row)], Decimal(row["billing_value"]))
            rows_by_identity[build_identity(row)].append(row)
    response = query_report(vendor, **build_range(first, DAY))
    assert {build_identity(row): Decimal(row["billing_value"]) for row in response["resources"]} == sums
    assert response["count"] == len(sums)
    for row in response["resources"]:
        daily_rows = rows_by_identity[build_identity(row)]
        latest = {**daily_rows[-1], "billing_value": row["billing_value"], "first_seen": daily_rows[0]["first_seen"]}
        assert row == latest
    assert any(len({row.get("last_name") for row in rows}) > 1 for rows in rows_by_identity.values())


def test_both_times_are_cut_to_their_utc_day_and_the_last_day_is_left_out_unless_enabled(
    vendor: Sandbox,
) -> None:
    report = query_report(vendor)
    next_day = DAY + timedelta(days=1)
    assert query_report(vendor, time_from=f"{DAY}T17:30:00Z", time_to=f"{next_day}T23:59:59.999Z") == report
    assert query_report(vendor, time_from=f"{next_day}T01:30:00+02:00", time_to=f"{next_day}T00:00:00Z") == report
    assert query_report(vendor, time_to=f"{DAY}T09:00:00Z", enable_last_day=True) == report
    assert query_report(vendor, time_to=f"{DAY}T09:00:00Z") == {"count": 0, "resources": [], "totals": []}


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("time_from", {"time_from": "2026-11-17"}),
        ("time_from", {"time_from": ...}),
        ("time_to", {"time_to": ...}),
        ("time_to", {"time_to": "2026-11-16T23:00:00Z"}),
        ("time_to", {"time_from": "0001-01-01T00:00:00+14:00"}),
        ("limit", {"limit": 0}),
        ("limit", {"limit": "10"}),
        ("limit", {"limit": True}),
        ("offset", {"offset": -1}),
        ("projects", {"projects": ["1"]}),
        ("types", {"types": ["instance", "spaceship"]}),
        ("sorting", {"sorting": [{"price": "asc"}]}),
        ("sorting", {"sorting": [{"project": "up"}]}),
        ("order_by", {"order_by": ["project"]}),
        ("order_by", {"order_by": ["project.up"]}),
        ("order_by", {"order_by": ["uuid.asc"]}),
        ("schema_filter", {"schema_filter": {"type": "volume", "field": "flavor", "values": ["a"]}}),
        ("schema_filter", {"schema_filter": {"type": "volume", "field": "type"}}),
        ("tags", {"tags": {}}),
        ("tags", {"tags": {"conditions": [], "condition_type": "NOT"}}),
    ],
)
def test_what_the_vendor_does_not_take_is_a_400_that_names_the_field(
    vendor: Sandbox, field: str, body: dict[str, Any]
) -> None:
    assert get_invalid_fields(vendor, **body).keys() & {field, "values", "conditions"}


def test_a_body_that_is_not_json_is_a_400(vendor: Sandbox) -> None:
    for body in (b"", b"{", b"[]", b"\xff"):
        assert send_request(vendor, PATH, body, authorization="APIKey sandbox-key").status == 400


def test_the_key_is_asked_for_and_the_scheme_may_come_in_any_case(vendor: Sandbox) -> None:
    for authorization in ("APIKey sandbox-key", "apikey sandbox-key", "APIKEY sandbox-key"):
        assert send_request(vendor, PATH, build_range(DAY), authorization=authorization).status == 200
    for authorization in ("", "sandbox-key", "Bearer sandbox-key", "APIKey other", "APIKey "):
        response = send_request(vendor, PATH, build_range(DAY), authorization=authorization)
        assert response.status == 401
        assert {"exception_class", "message", "request_id"} == parse_content(response).keys()


def test_other_paths_and_methods_are_refused(vendor: Sandbox) -> None:
    assert send_request(vendor, "/cloud/v1/other", {}, authorization="APIKey sandbox-key").status == 404
    assert send_request(vendor, PATH, build_range(DAY), authorization="APIKey sandbox-key", method="GET").status == 405


@pytest.mark.parametrize("path", LISTINGS)
def test_a_listing_of_names_takes_no_other_method(vendor: Sandbox, path: str) -> None:
    assert send_request(vendor, path, authorization="APIKey sandbox-key").status == 405


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"limit": "all"}])
def test_a_page_of_names_that_the_vendor_does_not_take_is_a_400(vendor: Sandbox, params: dict[str, Any]) -> None:
    path = next(iter(LISTINGS))
    response = send_request(vendor, path, authorization="APIKey sandbox-key", method="GET", query=params)
    assert response.status == 400
    assert "limit and offset are whole numbers" in parse_content(response)["message"]


def test_projects_regions_and_types_narrow_and_null_does_not(vendor: Sandbox) -> None:
    rows = query_report(vendor)["resources"]
    for column, name in (("project_id", "projects"), ("region_id", "regions"), ("type", "types")):
        values = sorted({row[column] for row in rows})[:2]
        some: Row = {name: values}
        every: Row = {name: None}
        assert query_report(vendor, **some)["resources"] == [row for row in rows if row[column] in values]
        assert query_report(vendor, **every)["resources"] == rows
    both = query_report(vendor, projects=[5003], types=["volume"])["resources"]
    assert both == [row for row in rows if row["project_id"] == 5003 and row["type"] == "volume"]
    assert query_report(vendor, projects=[1])["count"] == 0


@pytest.mark.parametrize("kind", TABLE)
def test_every_field_of_the_table_can_be_filtered_by(vendor: Sandbox, kind: str) -> None:
    rows = [row for row in query_report(vendor)["resources"] if row["type"] == kind]
    for field in TABLE[kind].filters:
        values = sorted({str(row[field]) for row in rows if row[field] is not None})[:2]
        response = query_report(vendor, schema_filter={"type": kind, "field": field, "values": values})
        assert response["resources"] == [row for row in rows if str(row[field]) in values]
        assert response["count"] > 0
        assert index_totals(response) == sum_resources(response["resources"])


def test_tags_match_exactly_or_in_part_and_any_or_all_of_them(vendor: Sandbox) -> None:
    def select_rows(test: Callable[[list[tuple[str, str]]], bool]) -> list[Row]:
        return [row for row in rows if test([pair for tag in row.get("tags", []) for pair in tag.items()])]

    def filter_rows(*conditions: Row, **more: str) -> list[Row]:
        matches: list[Row] = query_report(vendor, tags={"conditions": list(conditions), **more})["resources"]
        assert matches
        return matches

    rows = query_report(vendor)["resources"]
    strict = {"key": "team", "value": "data", "strict": True}
    assert filter_rows(strict) == select_rows(lambda tags: ("team", "data") in tags)
    assert filter_rows({"key": "team", "value": "BÜRO"}) == select_rows(lambda tags: ("team", "büro-köln") in tags)
    assert query_report(vendor, tags={"conditions": [{**strict, "value": "DATA"}]})["count"] == 0
    env = {"key": "env", "value": "prod", "strict": True}
    either = select_rows(lambda tags: ("team", "data") in tags or ("env", "prod") in tags)
    assert filter_rows(strict, env) == filter_rows(strict, env, condition_type="OR") == either
    both = select_rows(lambda tags: ("team", "data") in tags and ("env", "prod") in tags)
    assert filter_rows(strict, env, condition_type="AND") == both
    assert filter_rows({"key": "os_version"}) == select_rows(lambda tags: "os_version" in dict(tags))
    assert filter_rows({"value": ".04"}) == filter_rows({"key": "os_version"})


@pytest.mark.parametrize(
    ("field", "column"),
    [
        ("billing_value", "billing_value"),
        ("first_seen", "first_seen"),
        ("last_name", "last_name"),
        ("last_seen", "last_seen"),
        ("project", "project_id"),
        ("region", "region_id"),
        ("type", "type"),
    ],
)
@pytest.mark.parametrize("days", [1, 2])
def test_rows_are_sorted_by_each_sortable_field_both_ways(vendor: Sandbox, field: str, column: str, days: int) -> None:
    body = build_range(DAY - timedelta(days=days - 1), DAY)
    rows = query_report(vendor, **body)["resources"]
    for direction in ("asc", "desc"):
        expected = sorted(rows, key=lambda row: row.get(column, ""), reverse=direction == "desc")
        assert query_report(vendor, **body, order_by=[f"{field}.{direction}"])["resources"] == expected
        assert query_report(vendor, **body, sorting=[{field: direction}])["resources"] == expected


def test_several_fields_sort_one_after_the_other(vendor: Sandbox) -> None:
    rows = query_report(vendor, order_by=["project.desc", "type.asc", "last_seen.desc"])["resources"]
    plain = query_report(vendor)["resources"]
    plain.sort(key=itemgetter("last_seen"), reverse=True)
    plain.sort(key=itemgetter("type"))
    plain.sort(key=itemgetter("project_id"), reverse=True)
    assert rows == plain
