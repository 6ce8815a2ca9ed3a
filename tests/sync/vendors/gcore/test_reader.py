"""Gcore's reader: a UTC day of resources over real HTTP, into the database, and what an answer must be."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from sync.errors import CredentialError, InvalidResponse, ListingChanged, SyncError
from sync.sandbox.world import Edit
from sync.vendors.base import Comparison, VendorReader
from sync.vendors.gcore.schema import OWN_FIELDS
from tests.support.gcore_reports import DAY, NOW, TOTAL, VOLUME, build_report, build_volume, serve_reports
from tests.support.gcore_reports import gcore as gcore
from tests.support.gcore_reports import sandbox as sandbox
from tests.support.gcore_reports import scripted_reader as scripted_reader
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import connect_reader, create_source, list_rows, read_first_day, read_pages
from usage.days import Day
from usage.models import DayState, ResourceUsage, SourceDay, Verification

# A whole day, over HTTP.


def test_every_resource_type_of_a_day_is_held_and_agrees_with_the_totals(gcore: VendorReader):
    pages, comparison = read_pages(gcore, DAY)
    usage_rows = list_rows(pages)
    assert len(usage_rows) == 950
    assert {row.resource_type for row in usage_rows} >= OWN_FIELDS.keys()
    assert len({row.resource_key for row in usage_rows}) == 950
    assert comparison == Comparison(Verification.VERIFIED)


def test_paging_asks_with_a_limit_and_one_order_until_count_is_held(sandbox: SandboxServer, gcore: VendorReader):
    pages, _ = read_pages(gcore, DAY)
    bodies = [json.loads(request.body) for request in sandbox.stats.requests]
    assert [len(page.rows) for page in pages] == [200] * 4 + [150]
    assert [body["offset"] for body in bodies] == [0, 200, 400, 600, 800]
    assert {body["limit"] for body in bodies} == {200}
    assert len({tuple(body["order_by"]) for body in bodies}) == 1
    assert {(body["time_from"], body["time_to"]) for body in bodies} == {
        ("2026-11-03T00:00:00Z", "2026-11-04T00:00:00Z")
    }


def test_a_larger_page_holds_the_same_rows(sandbox: SandboxServer, gcore: VendorReader):
    with connect_reader("gcore", f"{sandbox.url}/gcore") as at_once:
        assert sorted(list_rows(read_pages(at_once, DAY)[0])) == sorted(list_rows(read_pages(gcore, DAY)[0]))


def test_today_is_read_as_far_as_the_vendor_knows_it(gcore: VendorReader):
    pages, comparison = read_pages(gcore, Day.of(NOW.date(), "UTC"))
    assert list_rows(pages)
    assert comparison.verification == Verification.VERIFIED


@pytest.mark.parametrize("edit", [Edit(restated=0.3), Edit(vanished=0.3), Edit(late=0.3), Edit(emptied=True)])
def test_a_day_that_the_vendor_has_changed_is_read_as_it_is_now(
    sandbox: SandboxServer, gcore: VendorReader, edit: Edit
):
    before = {row.resource_key: row for row in list_rows(read_pages(gcore, DAY)[0])}
    sandbox.world.edits["gcore", DAY.date] = edit
    pages, comparison = read_pages(gcore, DAY)
    after = {row.resource_key: row for row in list_rows(pages)}
    assert comparison.verification == Verification.VERIFIED
    assert after != before
    if edit.restated:
        assert after.keys() == before.keys()
    if edit.vanished or edit.emptied:
        assert after.keys() < before.keys()
        assert all(before[key] == row for key, row in after.items())


def test_bad_records_are_rejected_by_name_and_leave_the_day_unverified(sandbox: SandboxServer, gcore: VendorReader):
    sandbox.world.edits["gcore", DAY.date] = Edit(bad=0.05)
    pages, comparison = read_pages(gcore, DAY)
    rejected = [record for page in pages for record in page.rejected]
    assert rejected
    assert len(list_rows(pages)) + len(rejected) == 950
    assert {record.reason.partition(":")[0] for record in rejected} <= {"billing_value", "first_seen", "type"}
    assert all(json.loads(record.payload)["billing_metric_name"] for record in rejected)
    assert comparison.verification == Verification.UNVERIFIED
    assert comparison.differences[0] == {
        "what": "count",
        "vendor": "950",
        "portal": str(950 - len(rejected)),
        "rejected": len(rejected),
    }


def test_a_row_that_comes_again_on_a_later_page_starts_the_read_over(sandbox: SandboxServer, gcore: VendorReader):
    sandbox.faults.next("gcore.duplicate")
    with pytest.raises(ListingChanged, match="came again"):
        read_pages(gcore, DAY)
    assert read_pages(gcore, DAY)[1].verification == Verification.VERIFIED


def test_a_report_that_grows_while_it_is_paged_starts_the_read_over(sandbox: SandboxServer, gcore: VendorReader):
    sandbox.faults.next("gcore.growth", after=1)
    with pytest.raises(ListingChanged, match="950 rows, then 951"):
        read_pages(gcore, DAY)


def test_a_refused_key_stops_the_read(sandbox: SandboxServer):
    with (
        connect_reader("gcore", f"{sandbox.url}/gcore", credential="wrong") as reader,
        pytest.raises(CredentialError),
    ):
        read_pages(reader, DAY)


def test_the_probe_is_one_request_for_one_row(sandbox: SandboxServer, gcore: VendorReader):
    sandbox.world.set_clock(datetime.now(UTC))
    assert "950 rows of usage" in gcore.probe()
    assert [json.loads(request.body)["limit"] for request in sandbox.stats.requests] == [1]


# Into the database.


@pytest.mark.django_db
def test_a_day_reaches_the_database_exactly_and_a_second_read_changes_nothing(sandbox: SandboxServer, settings: Any):
    source = create_source("gcore", sandbox, settings, backfill_from=DAY.date)
    assert read_first_day(source) == "loaded"
    day = SourceDay.objects.get(source=source)
    assert (day.records, day.verification) == (950, Verification.VERIFIED)
    with connect_reader("gcore", f"{sandbox.url}/gcore") as reader:
        rows_by_key = {row.resource_key: row for row in list_rows(read_pages(reader, DAY)[0])}
    for stored in ResourceUsage.objects.all():
        row = rows_by_key[stored.resource_key]
        assert stored.consumed_quantity == row.consumed_quantity
        assert stored.details == json.loads(row.details or "{}")
        assert (stored.first_seen, stored.last_seen) == (row.first_seen, row.last_seen)
    assert read_first_day(source) == "unchanged"


@pytest.mark.django_db
def test_faults_of_a_listing_are_read_over_and_leave_nothing_behind(sandbox: SandboxServer, settings: Any):
    source = create_source("gcore", sandbox, settings, backfill_from=DAY.date, options={"page_size": 100})
    sandbox.faults.next("gcore.duplicate", after=2)
    sandbox.faults.next("gcore.growth", after=6)
    assert read_first_day(source) == "loaded"
    day = SourceDay.objects.get(source=source)
    assert day.verification == Verification.VERIFIED
    assert day.records == ResourceUsage.objects.current().count() == 951


@pytest.mark.django_db
def test_a_bad_record_leaves_the_day_partial_and_its_difference_on_record(sandbox: SandboxServer, settings: Any):
    source = create_source("gcore", sandbox, settings, backfill_from=DAY.date)
    sandbox.world.edits["gcore", DAY.date] = Edit(bad=0.01)
    assert read_first_day(source) == "partial"
    day = SourceDay.objects.get(source=source)
    assert (day.state, day.verification) == (DayState.PARTIAL, Verification.UNVERIFIED)
    assert day.records + day.rejected == 950
    assert day.differences[0]["rejected"] == day.rejected == day.rejected_records.count()


# What an answer must be.


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"<html>",
        b"{}",
        b'{"count": 1}',
        b'{"count": "1", "resources": [], "totals": []}',
        b'{"count": -1, "resources": [], "totals": []}',
        b'{"count": 0, "resources": null, "totals": []}',
        b'{"count": 0, "resources": []}',
        b'{"count": 0, "resources": [], "totals": [{"type": "volume"}]}',
        b'{"count": 0, "resources": [], "totals": [7]}',
        b'{"count": 0, "resources": [], "totals": [{"type": "a", "billing_value": "NaN", "billing_value_unit": "b"}]}',
    ],
)
def test_an_answer_that_is_no_report_fails_the_load_and_is_kept(
    httpserver: HTTPServer, scripted_reader: VendorReader, body: bytes
):
    serve_reports(httpserver, body)
    with pytest.raises(InvalidResponse, match="Not a usage report") as exc_info:
        read_pages(scripted_reader, DAY)
    assert exc_info.value.payload == body.decode()


def test_fewer_rows_than_count_fail_the_load(httpserver: HTTPServer, scripted_reader: VendorReader):
    serve_reports(
        httpserver,
        build_report(build_volume(1), count=3),
        build_report(build_volume(2), count=3),
        build_report(count=3),
    )
    with pytest.raises(InvalidResponse, match="promised 3 rows and gave only 2"):
        read_pages(scripted_reader, DAY)


def test_more_rows_than_count_fail_the_load(httpserver: HTTPServer, scripted_reader: VendorReader):
    serve_reports(httpserver, build_report(build_volume(1), build_volume(2), count=1))
    with pytest.raises(InvalidResponse, match="promised 1 rows and gave 2"):
        read_pages(scripted_reader, DAY)


def test_a_vendor_that_gives_less_than_the_limit_is_paged_by_what_it_gives(
    httpserver: HTTPServer, scripted_reader: VendorReader
):
    bodies = serve_reports(httpserver, *(build_report(build_volume(number), count=3) for number in range(3)))
    pages, _ = read_pages(scripted_reader, DAY)
    assert len(list_rows(pages)) == 3
    assert [body["offset"] for body in bodies] == [0, 1, 2]


def test_a_bad_record_that_comes_again_starts_the_read_over(httpserver: HTTPServer, scripted_reader: VendorReader):
    bad = build_volume(1, billing_value="n/a")
    serve_reports(httpserver, build_report(build_volume(0), bad, count=4), build_report(bad, build_volume(2), count=4))
    with pytest.raises(ListingChanged):
        read_pages(scripted_reader, DAY)


def test_rows_of_one_resource_that_differ_are_all_kept(httpserver: HTTPServer, scripted_reader: VendorReader):
    twins = [build_volume(1, billing_value=value) for value in (1, 2, 3)]
    serve_reports(httpserver, build_report(*twins[:2], count=3), build_report(twins[2], count=3))
    usage_rows = list_rows(read_pages(scripted_reader, DAY)[0])
    assert len({row.resource_key for row in usage_rows}) == 3
    assert sum(row.consumed_quantity for row in usage_rows) == 6


def test_equal_rows_of_one_page_are_all_kept(httpserver: HTTPServer, scripted_reader: VendorReader):
    serve_reports(httpserver, build_report(VOLUME, VOLUME, totals=[TOTAL | {"billing_value": 28800}]))
    pages, comparison = read_pages(scripted_reader, DAY)
    assert len({row.resource_key for row in list_rows(pages)}) == 2
    assert comparison.verification == Verification.VERIFIED


@pytest.mark.parametrize("options", [{"page_size": 0}, {"page_size": "many"}, {"pagesize": 10}])
def test_options_that_are_not_allowed_are_refused_by_name(options: dict[str, Any]):
    with (
        pytest.raises(SyncError, match=r"Options of Gcore: .*page"),
        connect_reader("gcore", "http://127.0.0.1:1", **options),
    ):
        pass
