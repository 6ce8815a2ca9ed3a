"""Workato's reader: whole days, over real HTTP and into the database."""

import json
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from pytest_httpserver import HTTPServer

from sync.errors import CredentialError, InvalidResponse, ListingChanged, SyncError
from sync.sandbox.world import Edit, World
from sync.vendors.base import Comparison, VendorReader
from sync.vendors.workato.reader import Options
from sync.vendors.workato.schema import USAGE, WORKSPACES
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import connect_reader, create_source, list_rows, read_first_day, read_pages
from tests.support.workato_reports import (
    BERLIN,
    DAY,
    NOW,
    RECIPE_HOUR,
    WORKSPACE_HOUR,
    fetch_workspace_sums,
    list_requests,
    list_workspaces,
    serve_usage,
    sum_by_workspace_hour,
)
from tests.support.workato_reports import sandbox as sandbox
from tests.support.workato_reports import scripted_reader as scripted_reader
from tests.support.workato_reports import workato as workato
from tests.support.workato_shapes import build_reshape
from usage.days import Day
from usage.models import DayState, RecipeUsage, SourceDay, Verification

# A whole day, over HTTP.


def test_a_day_holds_every_recipes_hours_and_what_deleted_ones_used(sandbox: SandboxServer, workato: VendorReader):
    pages, comparison = read_pages(workato, DAY)
    usage_rows = list_rows(pages)
    deleted_rows = [row for row in usage_rows if row.recipe_id is None]
    assert comparison == Comparison(Verification.VERIFIED)
    assert len(usage_rows) > len(deleted_rows) > 0
    assert sum_by_workspace_hour(usage_rows) == fetch_workspace_sums(sandbox, DAY)
    assert all(row.recipe_count and row.recipe_name == row.folder_name == "" for row in deleted_rows)
    assert {row.recipe_count for row in usage_rows if row.recipe_id is not None} == {1}


def test_a_recipe_that_is_deleted_later_moves_to_the_deleted_ones_and_the_sums_stay(sandbox: SandboxServer):
    day = Day.of(date(2026, 10, 1), BERLIN)
    with connect_reader("workato", f"{sandbox.url}/workato", zone=BERLIN) as reader:
        sandbox.world.set_clock(datetime(2026, 10, 5, tzinfo=UTC))
        rows_before = list_rows(read_pages(reader, day)[0])
        sandbox.world.set_clock(NOW)
        rows_after = list_rows(read_pages(reader, day)[0])
    deleted_ids = {row.recipe_id for row in rows_before} - {row.recipe_id for row in rows_after}
    assert deleted_ids
    assert sum_by_workspace_hour(rows_before) == sum_by_workspace_hour(rows_after)


def test_a_day_is_asked_for_twice_by_its_own_instants_and_bare_with_nothing_else(
    sandbox: SandboxServer, workato: VendorReader
):
    read_pages(workato, DAY)
    workspace_query, recipe_query = list_requests(sandbox)
    assert workspace_query == {
        "from": "2026-10-13T22:00:00.000Z",
        "to": "2026-10-14T22:00:00.000Z",
        "workspace_ids": [workspace.id for workspace in list_workspaces(sandbox)],
        "interval": "hour",
    }
    assert recipe_query == workspace_query | {"group_by": "recipe"}


CHANGES = [
    (BERLIN, date(2026, 3, 29), 23),
    (BERLIN, date(2026, 10, 25), 25),
    ("Australia/Sydney", date(2026, 10, 4), 23),
    ("Australia/Sydney", date(2026, 4, 5), 25),
    ("Asia/Kolkata", date(2026, 10, 25), 24),
]


@pytest.mark.parametrize(("zone", "on", "hours"), CHANGES)
def test_a_day_with_a_clock_change_holds_what_the_vendor_says_of_it(zone: str, on: date, hours: int):
    day = Day.of(on, zone)
    with (
        SandboxServer(World(now=lambda: NOW, zone=zone, scale=4)) as sandbox,
        connect_reader("workato", f"{sandbox.url}/workato", zone=zone) as reader,
    ):
        pages, comparison = read_pages(reader, day)
        usage_rows = list_rows(pages)
        assert comparison.verification == Verification.VERIFIED
        assert sum_by_workspace_hour(usage_rows) == fetch_workspace_sums(sandbox, day)
    starts = {row.starts_at for row in usage_rows}
    assert starts <= {day.start + timedelta(hours=hour) for hour in range(hours)}
    assert {row.ends_at - row.starts_at for row in usage_rows} == {timedelta(hours=1)}
    assert len({(row.workspace_id, row.recipe_id, row.starts_at) for row in usage_rows}) == len(usage_rows)


@pytest.mark.parametrize(("zone", "on", "hours"), CHANGES)
def test_every_hour_of_a_day_with_a_clock_change_is_kept(
    httpserver: HTTPServer, scripted_reader: VendorReader, zone: str, on: date, hours: int
):
    day = Day.of(on, zone)
    edges = [(day.start + timedelta(hours=hour)).astimezone(day.zone).isoformat() for hour in range(hours + 1)]
    buckets = [{"from": first, "to": last} for first, last in pairwise(edges)]
    serve_usage(
        httpserver, [WORKSPACE_HOUR | bucket for bucket in buckets], [RECIPE_HOUR | bucket for bucket in buckets]
    )
    pages, comparison = read_pages(scripted_reader, day)
    recipe_rows = [row for row in list_rows(pages) if row.recipe_id]
    assert [row.starts_at for row in recipe_rows] == [day.start + timedelta(hours=hour) for hour in range(hours)]
    assert recipe_rows[-1].ends_at == day.end
    assert comparison.verification == Verification.VERIFIED


def test_neighbouring_days_share_no_hour(workato: VendorReader):
    days = [Day.of(date(2026, 10, day), BERLIN) for day in (24, 25, 26)]
    starts_by_day = [{row.starts_at for row in list_rows(read_pages(workato, day)[0])} for day in days]
    assert len(set.union(*starts_by_day)) == sum(map(len, starts_by_day))


@pytest.mark.parametrize("edit", [Edit(restated=0.3), Edit(vanished=0.3), Edit(late=0.3), Edit(emptied=True)])
def test_a_day_that_the_vendor_has_changed_is_read_as_it_is_now(
    sandbox: SandboxServer, workato: VendorReader, edit: Edit
):
    before = sum_by_workspace_hour(list_rows(read_pages(workato, DAY)[0]))
    sandbox.world.edits["workato", DAY.date] = edit
    pages, comparison = read_pages(workato, DAY)
    after = sum_by_workspace_hour(list_rows(pages))
    assert comparison.verification == Verification.VERIFIED
    assert after == fetch_workspace_sums(sandbox, DAY) != before
    assert bool(after) is not edit.emptied


def test_bad_records_are_rejected_by_name_and_leave_the_day_unverified(sandbox: SandboxServer, workato: VendorReader):
    sandbox.world.edits["workato", DAY.date] = Edit(bad=0.05)
    pages, comparison = read_pages(workato, DAY)
    rejected = [record for page in pages for record in page.rejected]
    assert {record.reason.partition(":")[0] for record in rejected} == {"from", "task_count", "workspace_id"}
    assert comparison.verification == Verification.UNVERIFIED
    assert sum(difference.get("rejected", 0) for difference in comparison.differences) == len(rejected)


@pytest.mark.parametrize("shape", [["aliases"], ["other_aliases"], ["time"], ["nested"], ["aliases", "time", "nested"]])
def test_other_names_and_nested_buckets_mean_the_same(sandbox: SandboxServer, workato: VendorReader, shape: list[str]):
    plain, _ = read_pages(workato, DAY)
    sandbox.upstream.vendors["workato"].reshape = build_reshape(*shape)  # type: ignore[attr-defined]
    renamed, comparison = read_pages(workato, DAY)
    assert comparison.verification == Verification.VERIFIED
    assert set(list_rows(renamed)) == set(list_rows(plain))


def test_a_metric_that_is_not_reported_is_unknown_and_never_zero(sandbox: SandboxServer, workato: VendorReader):
    sandbox.upstream.vendors["workato"].reshape = build_reshape("incomplete")  # type: ignore[attr-defined]
    pages, comparison = read_pages(workato, DAY)
    assert {row.job_failed_count for row in list_rows(pages)} == {None}
    assert any(row.recipe_id is None for row in list_rows(pages))
    assert comparison.verification == Verification.VERIFIED


def test_a_row_with_no_known_metric_fails_the_load_and_is_kept(sandbox: SandboxServer, workato: VendorReader):
    sandbox.upstream.vendors["workato"].reshape = build_reshape("unknown")  # type: ignore[attr-defined]
    with pytest.raises(InvalidResponse, match="none of the known metrics") as exc_info:
        read_pages(workato, DAY)
    assert json.loads(exc_info.value.payload)["x_task"] > 0


def test_a_refused_token_stops_the_read(sandbox: SandboxServer):
    with (
        connect_reader("workato", f"{sandbox.url}/workato", credential="wrong") as reader,
        pytest.raises(CredentialError),
    ):
        read_pages(reader, DAY)


# Which workspaces.


def test_chosen_workspaces_are_asked_for_without_looking_for_others(sandbox: SandboxServer):
    first, second, *_ = list_workspaces(sandbox)
    with connect_reader(
        "workato", f"{sandbox.url}/workato", zone=BERLIN, workspace_ids=f"{first.id}, {second.id}"
    ) as reader:
        usage_rows = list_rows(read_pages(reader, DAY)[0])
    assert {row.workspace_id for row in usage_rows} == {first.id, second.id}
    assert [request.path for request in sandbox.stats.requests] == [USAGE, USAGE]


def test_workspaces_can_be_chosen_by_the_customers_own_ids(sandbox: SandboxServer):
    with connect_reader("workato", f"{sandbox.url}/workato", zone=BERLIN, external_ids=["cust-acme"]) as reader:
        usage_rows = list_rows(read_pages(reader, DAY)[0])
    assert {row.external_id for row in usage_rows} == {"cust-acme"}
    assert [body["external_ids"] for body in list_requests(sandbox)] == [["cust-acme"]] * 2


def test_only_more_ids_than_allowed_are_split_over_requests(sandbox: SandboxServer, workato: VendorReader):
    with connect_reader("workato", f"{sandbox.url}/workato", zone=BERLIN, max_ids_per_request=5) as split_reader:
        pages, comparison = read_pages(split_reader, DAY)
    assert [len(body["workspace_ids"]) for body in list_requests(sandbox)] == [5, 5, 5, 5, 2, 2]
    assert comparison.verification == Verification.VERIFIED
    assert set(list_rows(pages)) == set(list_rows(read_pages(workato, DAY)[0]))


def test_workspaces_are_discovered_page_by_page():
    with (
        SandboxServer(World(now=lambda: NOW, scale=60)) as sandbox,
        connect_reader("workato", f"{sandbox.url}/workato", zone=BERLIN) as reader,
    ):
        read_pages(reader, Day.of(NOW.date() + timedelta(days=1), BERLIN))
        workspace_ids = [workspace.id for workspace in list_workspaces(sandbox)]
        assert len(workspace_ids) > 200
        assert list_requests(sandbox)[0]["workspace_ids"] == workspace_ids
        sandbox.faults.next("workato.duplicate")
        with pytest.raises(ListingChanged, match="Page 2 of the workspaces"):
            read_pages(reader, DAY)


def test_an_account_without_workspaces_has_empty_days(httpserver: HTTPServer):
    httpserver.expect_request(WORKSPACES).respond_with_json({"result": []})
    with connect_reader("workato", httpserver.url_for("").rstrip("/")) as reader:
        assert read_pages(reader, DAY) == ([], Comparison(Verification.VERIFIED))
        assert "no workspaces" in reader.probe()


@pytest.mark.parametrize(
    ("options", "scope"),
    [
        ({}, None),
        ({"workspace_ids": ""}, None),
        ({"workspace_ids": "1,2, 2"}, ("workspace_ids", [1, 2])),
        ({"workspace_ids": 5}, ("workspace_ids", [5])),
        ({"workspace_ids": ["3", 4]}, ("workspace_ids", [3, 4])),
        ({"external_ids": "a,b"}, ("external_ids", ["a", "b"])),
        ({"external_ids": [1, "b"]}, ("external_ids", ["1", "b"])),
    ],
)
def test_ids_are_lists_or_text_with_commas(options: dict[str, Any], scope: Any):
    assert msgspec.convert(options, Options, strict=False).get_scope() == scope


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"workspace_ids": "1", "external_ids": "a"}, "not both"),
        ({"workspace_ids": "one"}, "workspace_ids: numbers"),
        ({"max_ids_per_request": 0}, "max_ids_per_request"),
        ({"workspaces": "1"}, "workspaces"),
    ],
)
def test_options_that_are_not_allowed_are_refused_by_name(options: dict[str, Any], reason: str):
    with (
        pytest.raises(SyncError, match=rf"Options of Workato: .*{reason}"),
        connect_reader("workato", "http://127.0.0.1:1", **options),
    ):
        pass


# The probe.


def test_the_probe_asks_for_yesterday_of_one_workspace(sandbox: SandboxServer, workato: VendorReader):
    sandbox.world.set_clock(datetime.now(UTC))
    assert "hours of usage" in workato.probe()
    assert [request.path for request in sandbox.stats.requests] == [WORKSPACES, USAGE]
    assert [len(body["workspace_ids"]) for body in list_requests(sandbox)] == [1]


def test_the_probe_says_that_a_row_cannot_be_read(httpserver: HTTPServer, scripted_reader: VendorReader):
    serve_usage(httpserver, [WORKSPACE_HOUR], [])
    with pytest.raises(InvalidResponse, match="is the source's time zone the account's"):
        scripted_reader.probe()


# Into the database.


@pytest.mark.django_db
def test_deleted_recipes_reach_the_database_and_a_second_read_changes_nothing(sandbox: SandboxServer, settings: Any):
    source = create_source("workato", sandbox, settings, time_zone=BERLIN, backfill_from=DAY.date)
    assert read_first_day(source) == "loaded"
    stored = RecipeUsage.objects.filter(source=source)
    assert stored.filter(recipe_id=None).exists()
    expected = fetch_workspace_sums(sandbox, DAY)
    assert sum(row.task_count or 0 for row in stored) == sum(tasks for tasks, _, _ in expected.values())
    day = SourceDay.objects.get(source=source)
    assert (day.records, day.verification) == (stored.count(), Verification.VERIFIED)
    assert read_first_day(source) == "unchanged"


@pytest.mark.django_db
def test_bad_rows_leave_the_day_partial_with_the_reasons_on_record(sandbox: SandboxServer, settings: Any):
    source = create_source("workato", sandbox, settings, time_zone=BERLIN, backfill_from=DAY.date)
    sandbox.world.edits["workato", DAY.date] = Edit(bad=0.02)
    assert read_first_day(source) == "partial"
    day = SourceDay.objects.get(source=source)
    assert (day.state, day.verification) == (DayState.PARTIAL, Verification.UNVERIFIED)
    assert day.rejected == day.rejected_records.count() > 0
