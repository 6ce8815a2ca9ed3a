"""Gcore's reader and its vendor: the sandbox, or a scripted server."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from sync.sandbox.world import World
from sync.vendors.base import VendorReader
from sync.vendors.decoding import decode_record
from sync.vendors.gcore.mapping import build_keyless_row
from sync.vendors.gcore.schema import USAGE_REPORT
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import connect_reader
from usage.days import Day
from usage.models import ResourceRow

NOW = datetime(2026, 11, 10, 15, tzinfo=UTC)
DAY = Day.of(date(2026, 11, 3), "UTC")
EXACT = msgspec.json.Encoder(decimal_format="number")
VOLUME = {
    "type": "volume",
    "billing_metric_name": "volume_standard",
    "billing_value": 14400,
    "billing_value_unit": "gbminutes",
    "first_seen": "2026-11-03T00:00:00Z",
    "last_seen": "2026-11-03T23:59:59Z",
    "project_id": 4101,
    "region": 76,
    "region_id": 76,
    "uuid": "02397d4a-e64b-4849-a207-0882ef0d82ae",
    "last_name": "web-prod-55",
    "tags": [{"env": "prod"}, {"team": "web"}],
    "attached_to_vm": None,
    "last_size": 10,
    "size_unit": "GiB",
    "volume_type": "standard",
}
TOTAL = {
    "type": "volume",
    "billing_metric_name": "volume_standard",
    "billing_value": 14400,
    "billing_value_unit": "gbminutes",
    "region": 76,
    "region_id": 76,
    "volume_type": "standard",
}


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=lambda: NOW, records_per_day=950)) as server:
        yield server


@pytest.fixture
def gcore(sandbox: SandboxServer) -> Iterator[VendorReader]:
    with connect_reader("gcore", f"{sandbox.url}/gcore", page_size=200) as reader:
        yield reader


def encode_json(value: Any) -> bytes:
    """Return JSON; a Decimal is written as a number with all its digits."""
    return EXACT.encode(value)


def build_row(**changes: Any) -> ResourceRow:
    """Return the row of the usual volume with some fields changed; `...` removes a field."""
    fields = {name: value for name, value in (VOLUME | changes).items() if value is not ...}
    return build_keyless_row(decode_record(msgspec.Raw(encode_json(fields))))


def serve_reports(server: HTTPServer, *reports: dict[str, Any] | bytes) -> list[dict[str, Any]]:
    """Serve one report after the other; returns the list that collects the requests' bodies."""
    remaining, requests = list(reports), []

    def respond(request: Request) -> Response:
        requests.append(json.loads(request.data))
        report = remaining.pop(0)
        return Response(report if isinstance(report, bytes) else encode_json(report), content_type="application/json")

    server.expect_request(USAGE_REPORT, method="POST").respond_with_handler(respond)
    return requests


def build_report(*resources: Any, count: int | None = None, totals: Any = ()) -> dict[str, Any]:
    """Return a response with these resources."""
    return {
        "count": len(resources) if count is None else count,
        "resources": list(resources),
        "totals": list(totals),
    }


def build_volume(number: int, **changes: Any) -> dict[str, Any]:
    """Return the volume with the uuid `number`."""
    return VOLUME | {"uuid": f"volume-{number}"} | changes


@pytest.fixture
def scripted_reader(httpserver: HTTPServer) -> Iterator[VendorReader]:
    with connect_reader("gcore", httpserver.url_for("").rstrip("/")) as reader:
        yield reader
