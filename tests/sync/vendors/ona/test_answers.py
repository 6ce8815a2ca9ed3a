"""Responses of Ona: which are a page, which is the last, and the message of the probe."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.errors import CredentialError, InvalidResponse, SyncError, VendorUnavailable
from sync.vendors.ona.connect import LIST
from sync.vendors.ona.mapping import parse_page
from sync.vendors.ona.reader import Reader
from tests.support.ona_reader import DAY, RECORD, build_reader, list_rows, read_pages
from tests.support.ona_reader import _near as _near
from tests.support.ona_reader import ona as ona
from tests.support.ona_reader import sandbox as sandbox
from tests.support.sandbox_server import SandboxServer


def test_a_listing_of_empty_pages_without_end_fails_the_load(httpserver: HTTPServer):
    tokens = iter(range(1000))

    def respond(_: Request) -> Response:
        return Response(json.dumps({"records": [], "pagination": {"nextToken": str(next(tokens))}}))

    httpserver.expect_request(f"/api{LIST}").respond_with_handler(respond)
    with (
        (reading := build_reader(httpserver.url_for("/api"))).http,
        pytest.raises(InvalidResponse, match="does not end"),
    ):
        read_pages(reading)


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Down for maintenance</title>",
        b"[]",
        b"null",
        b'"records"',
        b'{"data": 5}',
        b'{"code": "internal", "message": "oh"}',
        b'{"records": "none"}',
        b'{"records": [], "pagination": []}',
        b'{"records": [], "pagination": {"nextToken": 5}}',
        b'{"records": [oops]}',
        b'{"records": ' + b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_page_fails_the_load_and_is_kept(httpserver: HTTPServer, body: bytes):
    httpserver.expect_request(f"/api{LIST}").respond_with_data(body, content_type="text/plain")
    with (
        (reading := build_reader(httpserver.url_for("/api"))).http,
        pytest.raises(InvalidResponse, match="not a page of runs") as exc_info,
    ):
        read_pages(reading)
    assert exc_info.value.payload[:20] == body.decode(errors="replace")[:20]


@pytest.mark.parametrize(
    ("body", "following"),
    [
        (b"{}", None),
        (b'{"pagination": {}}', ""),
        (b'{"records": null, "pagination": null}', None),
        (b'{"records": [], "pagination": {"nextToken": ""}, "served_by": "eu"}', ""),
        (b'{"pagination": {"nextToken": "on", "total": 7}}', "on"),
    ],
)
def test_what_the_vendor_leaves_out_is_empty(body: bytes, following: str | None):
    page, token = parse_page(body, DAY, Counter())
    assert (list(page.rows), list(page.rejected), token) == ([], [], following)


@pytest.mark.parametrize("pagination", ["", ', "pagination": null', ', "served_by": "eu"'])
def test_a_full_page_without_pagination_fails_the_load_since_more_may_follow(httpserver: HTTPServer, pagination: str):
    records = [RECORD | {"id": f"run-{number}"} for number in range(100)]
    body = json.dumps({"records": records})[:-1] + pagination + "}"
    httpserver.expect_request(f"/api{LIST}").respond_with_data(body, content_type="application/json")
    with (
        (reading := build_reader(httpserver.url_for("/api"))).http,
        pytest.raises(InvalidResponse, match="full and has no pagination") as exc_info,
    ):
        read_pages(reading)
    assert "run-0" in exc_info.value.payload


def test_a_full_page_of_which_records_are_rejected_needs_pagination_too(httpserver: HTTPServer):
    records = [{"id": f"run-{number}"} for number in range(100)]
    httpserver.expect_request(f"/api{LIST}").respond_with_json({"records": records})
    with (
        (reading := build_reader(httpserver.url_for("/api"))).http,
        pytest.raises(InvalidResponse, match="no pagination"),
    ):
        read_pages(reading)


@pytest.mark.parametrize("pagination", [{}, {"nextToken": ""}, {"nextToken": None}])
def test_a_full_page_whose_pagination_gives_no_token_is_the_last(httpserver: HTTPServer, pagination: dict[str, Any]):
    records = [RECORD | {"id": f"run-{number}"} for number in range(100)]
    httpserver.expect_request(f"/api{LIST}").respond_with_json({"records": records, "pagination": pagination})
    with (reading := build_reader(httpserver.url_for("/api"))).http:
        assert len(list_rows(reading)) == 100


def test_a_page_that_is_not_full_needs_no_pagination(httpserver: HTTPServer):
    records = [RECORD | {"id": f"run-{number}"} for number in range(99)]
    httpserver.expect_request(f"/api{LIST}").respond_with_json({"records": records})
    with (reading := build_reader(httpserver.url_for("/api"))).http:
        assert len(list_rows(reading)) == 99


def test_a_probe_finds_that_pagination_is_missing(httpserver: HTTPServer):
    today = datetime.now(UTC).isoformat()
    httpserver.expect_request(f"/api{LIST}").respond_with_json({"records": [RECORD | {"stoppedAt": today}]})
    with (
        (reading := build_reader(httpserver.url_for("/api"))).http,
        pytest.raises(InvalidResponse, match="no pagination"),
    ):
        reading.probe()


def test_a_refused_credential_ends_the_read_with_the_vendors_reason(sandbox: SandboxServer):
    with (
        (reading := build_reader(f"{sandbox.url}/ona/api", "wrong")).http,
        pytest.raises(CredentialError, match="the token is not valid"),
    ):
        read_pages(reading)


def test_a_probe_is_one_small_request(sandbox: SandboxServer, ona: Reader):
    assert "accepts the credential" in ona.probe()
    assert [msgspec.json.decode(request.body)["pagination"] for request in sandbox.stats.requests] == [{"pageSize": 1}]


def test_a_probe_says_what_is_wrong(sandbox: SandboxServer):
    with (reading := build_reader(f"{sandbox.url}/gcore/api")).http, pytest.raises(SyncError, match="HTTP 404"):
        reading.probe()
    with (
        (reading := build_reader("http://127.0.0.1:1/api")).http,
        pytest.raises(VendorUnavailable, match="refused"),
    ):
        reading.probe()
