"""An answer of HTTP 200 that is an error is never an empty day, whichever vendor sends it."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from sync.errors import InvalidResponse
from sync.vendors.base import VendorReader
from sync.vendors.gcore.schema import USAGE_REPORT
from sync.vendors.ona.connect import LIST
from sync.vendors.workato.schema import USAGE, WORKSPACES
from tests.support.vendor_readers import connect_reader, list_rows, read_pages
from usage.days import Day

DAY = Day.of(date(2026, 10, 14), "UTC")
PATHS = {"gcore": USAGE_REPORT, "ona": LIST, "workato": USAGE}
EMPTY: dict[str, dict[str, Any]] = {
    "gcore": {"count": 0, "resources": [], "totals": []},
    "ona": {"records": [], "pagination": {}},
    "workato": {"data": None},
}


@pytest.fixture(params=PATHS)
def reader(request: pytest.FixtureRequest, httpserver: HTTPServer) -> Iterator[VendorReader]:
    options: dict[str, Any] = {"workspace_ids": "7"} if request.param == "workato" else {}
    with connect_reader(request.param, httpserver.url_for("").rstrip("/"), **options) as reader:
        yield reader


def set_response(httpserver: HTTPServer, reader: VendorReader, **fields: Any) -> None:
    vendor = reader.account.slug
    httpserver.expect_request(PATHS[vendor]).respond_with_json(EMPTY[vendor] | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"error": "quota exceeded"}, "quota exceeded"),
        ({"error": {"code": 7, "message": "no such account"}}, "no such account"),
        ({"errors": [{"detail": "usage is not ready"}]}, "usage is not ready"),
        ({"errors": {"0": {}}}, "it gives no reason"),
        ({"success": False, "message": "try later"}, "try later"),
        ({"success": False}, "it gives no reason"),
        ({"error": True, "message": "broken \ud800"}, "broken"),
    ],
)
def test_an_error_in_an_answer_fails_the_load_with_the_vendors_words(
    httpserver: HTTPServer, reader: VendorReader, fields: dict[str, Any], message: str
) -> None:
    set_response(httpserver, reader, **fields)
    with pytest.raises(InvalidResponse, match="answered with an error") as exc_info:
        read_pages(reader, DAY)
    assert message in exc_info.value.reason
    exc_info.value.reason.encode()


@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_an_empty_error_is_none(httpserver: HTTPServer, reader: VendorReader, empty: Any) -> None:
    set_response(httpserver, reader, error=empty, errors=empty, success=True)
    assert list_rows(read_pages(reader, DAY)[0]) == []


def test_an_error_alone_is_told_in_the_vendors_words_too(httpserver: HTTPServer, reader: VendorReader) -> None:
    httpserver.expect_request(PATHS[reader.account.slug]).respond_with_json({"error": {"message": "backend down"}})
    with pytest.raises(InvalidResponse, match="backend down"):
        read_pages(reader, DAY)
    with pytest.raises(InvalidResponse, match="backend down"):
        reader.probe()


def test_an_error_instead_of_the_workspaces_is_not_an_account_without_any(httpserver: HTTPServer) -> None:
    httpserver.expect_request(WORKSPACES).respond_with_data(
        json.dumps({"result": [], "errors": ["no access to customers"]}), content_type="application/json"
    )
    with connect_reader("workato", httpserver.url_for("").rstrip("/")) as reader:
        with pytest.raises(InvalidResponse, match="no access to customers"):
            read_pages(reader, DAY)
        with pytest.raises(InvalidResponse, match="no access to customers"):
            reader.probe()
