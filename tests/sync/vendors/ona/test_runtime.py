"""Ona's witness: a day is compared with the vendor's total of runtime."""

import json
from datetime import timedelta
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.errors import ReadDeferred
from sync.sandbox.world import Edit
from sync.vendors.base import Comparison
from sync.vendors.ona.connect import RUNTIME
from sync.vendors.ona.reader import Reader
from tests.support.ona_runtime import ANSWER, DAY, build_record, check, count_totals, open_ona, open_scripted
from tests.support.ona_runtime import ona as ona
from tests.support.ona_runtime import sandbox as sandbox
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import list_rows, read_pages
from usage.models import Verification

# The figure agrees.


def test_a_day_past_its_look_back_is_verified_by_the_vendors_total_and_says_how(sandbox: SandboxServer, ona: Reader):
    pages, comparison = read_pages(ona, DAY)
    usage_rows = list_rows(pages)
    total = sum(((row.stopped_at - row.created_at) for row in usage_rows), timedelta())
    assert len(usage_rows) == 250
    assert comparison.verification == Verification.VERIFIED
    assert comparison.differences == []
    assert comparison.witness is not None
    assert comparison.witness | {"vendor": 0} == {
        "endpoint": "GetEnvironmentRuntime",
        "vendor": 0,
        "portal": f"{total // timedelta(microseconds=1) // 10**6}.{total.microseconds:06d}",
        "unit": "seconds",
        "agrees": True,
    }
    assert comparison.witness["vendor"] == str(total // timedelta(seconds=1))
    body = json.loads(sandbox.stats.requests[-1].body)
    assert body == {"dateRange": {"startTime": "2026-09-29T00:00:00Z", "endTime": "2026-09-30T00:00:00Z"}}
    assert count_totals(sandbox) == 1


@pytest.mark.parametrize("figure", [5400, "5400", "5399", 5401, "05400"])
def test_a_total_within_one_second_agrees_however_the_number_is_written(httpserver: HTTPServer, figure: Any):
    with open_scripted(httpserver, {"totalRuntimeSeconds": figure}) as reader:
        comparison = check(reader)
    assert comparison.verification == Verification.VERIFIED
    assert comparison.witness is not None
    assert (comparison.witness["vendor"], comparison.witness["portal"]) == (str(int(figure)), "5400.000000")


# The figure confirms, and never refutes.


@pytest.mark.parametrize("figure", [5398, "5402", 0, "9223372036854775807"])
def test_a_total_that_differs_is_information_and_no_failure(httpserver: HTTPServer, figure: Any):
    with open_scripted(httpserver, {"totalRuntimeSeconds": figure}) as reader:
        comparison = check(reader)
    assert comparison == Comparison(
        Verification.NONE,
        [],
        {
            "endpoint": "GetEnvironmentRuntime",
            "vendor": str(figure),
            "portal": "5400.000000",
            "unit": "seconds",
            "agrees": False,
        },
    )


def test_a_vendor_that_counts_otherwise_leaves_the_day_as_it_is(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.set("ona.other_total")
    comparison = check(ona)
    assert (comparison.verification, comparison.differences) == (Verification.NONE, [])
    assert comparison.witness is not None
    assert not comparison.witness["agrees"]
    assert 0 < float(comparison.witness["vendor"]) < float(comparison.witness["portal"])


def test_a_run_without_a_start_keeps_the_day_from_being_verified(httpserver: HTTPServer):
    # The sum of the others happens to agree.
    records = [build_record(30), build_record(60), build_record(7, createdAt=None)]
    with open_scripted(httpserver, ANSWER, *records) as reader:
        comparison = check(reader)
    assert comparison.verification == Verification.NONE
    assert comparison.witness is not None
    assert (comparison.witness["vendor"], comparison.witness["agrees"]) == ("5400", False)
    assert comparison.witness["reason"] == "1 of 3 records have no createdAt."


def test_a_rejected_record_keeps_the_day_from_being_verified(httpserver: HTTPServer):
    with open_scripted(
        httpserver, ANSWER, build_record(30), build_record(60), build_record(7, stoppedAt=None)
    ) as reader:
        comparison = check(reader)
    assert (comparison.verification, (comparison.witness or {})["reason"]) == (
        Verification.NONE,
        "1 records were rejected.",
    )


def test_an_empty_day_is_not_verified_by_a_total_that_is_left_out(sandbox: SandboxServer, ona: Reader):
    sandbox.world.edits["ona", DAY.date] = Edit(emptied=True)
    comparison = check(ona)
    assert comparison.verification == Verification.NONE
    assert comparison.witness is not None
    assert comparison.witness["vendor"] is None
    assert "holds no totalRuntimeSeconds" in comparison.witness["reason"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 501, 503])
def test_a_vendor_that_refuses_the_total_is_asked_once_and_the_day_is_read(httpserver: HTTPServer, status: int):
    def refuse(_: Request) -> Response:
        return Response('{"code": "no", "message": "not for you"}', status, content_type="application/json")

    with open_scripted(httpserver, None, handler=refuse) as reader:
        pages, comparison = read_pages(reader, DAY)
        assert reader.http.stats.retries == 0
    assert len(list_rows(pages)) == 2
    assert (comparison.verification, comparison.differences) == (Verification.NONE, [])
    assert comparison.witness is not None
    assert (comparison.witness["vendor"], comparison.witness["portal"]) == (None, "5400.000000")
    assert "not for you" in comparison.witness["reason"]
    assert sum(request.path.endswith(RUNTIME) for request, _ in httpserver.log) == 1


@pytest.mark.parametrize(
    "body",
    [
        "<!doctype html>",
        "",
        "null",
        "[]",
        {},
        {"totalRuntimeSeconds": None},
        {"totalRuntimeSeconds": True},
        {"totalRuntimeSeconds": -1},
        {"totalRuntimeSeconds": "-1"},
        {"totalRuntimeSeconds": 5400.5},
        {"totalRuntimeSeconds": "5400s"},
        {"totalRuntimeSeconds": "9" * 5000},
        '{"totalRuntimeSeconds": ' + "9" * 5000 + "}",
        '{"totalRuntimeSeconds": 1e999}',
        '{"totalRuntimeSeconds": ' + "[" * 100_000,
        {"code": "unimplemented", "message": "no"},
    ],
    ids=lambda body: str(body)[:30],
)
def test_a_total_of_another_shape_changes_nothing(httpserver: HTTPServer, body: Any):
    with open_scripted(httpserver, body) as reader:
        comparison = check(reader)
    assert (comparison.verification, comparison.differences) == (Verification.NONE, [])
    assert comparison.witness is not None
    assert comparison.witness["vendor"] is None
    assert comparison.witness["reason"]


def test_a_vendor_that_is_silent_about_the_total_changes_nothing(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.next("ona.reset", after=3)
    comparison = check(ona)
    assert comparison.verification == Verification.NONE
    assert count_totals(sandbox) == 1


def test_a_redirect_of_the_total_to_another_host_is_neither_followed_nor_a_failure(sandbox: SandboxServer, ona: Reader):
    sandbox.faults.next("ona.redirect", after=3)
    comparison = check(ona)
    assert comparison.verification == Verification.NONE
    assert "not followed" in (comparison.witness or {})["reason"]


def test_a_day_is_not_put_off_for_the_total(sandbox: SandboxServer):
    class Spent:
        """A rate that three requests use up."""

        remaining = 3

        def acquire(self) -> None:
            self.remaining -= 1
            if self.remaining < 0:
                raise ReadDeferred("The rate is used up.", retry_after=30)

    with open_ona(f"{sandbox.url}/ona/api") as reader:
        reader.http._limiter = Spent()
        pages, comparison = read_pages(reader, DAY)
    assert len(list_rows(pages)) == 250
    assert (comparison.witness or {})["reason"] == "The rate is used up."
