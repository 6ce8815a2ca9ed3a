"""Ona's total of runtime, beside the listing of a day."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pytest_httpserver import HTTPServer

from sync.http import Bounds, VendorHTTP
from sync.sandbox.world import World
from sync.vendors.base import Account, Comparison
from sync.vendors.ona.connect import LIST, RUNTIME
from sync.vendors.ona.reader import Reader
from tests.support.sandbox_server import SandboxServer
from tests.support.vendor_readers import read_pages
from usage.days import Day

DAY = Day.of(date(2026, 9, 29), "UTC")
NOW = datetime(2026, 10, 10, 15, tzinfo=UTC)
ANSWER = {"totalRuntimeSeconds": "5400", "trend": 0.5}


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    """A vendor that reports the start of every run of the day."""
    with SandboxServer(World(now=lambda: NOW, records_per_day=250, seed=find_seed())) as server:
        yield server


@cache
def find_seed() -> int:
    """Return the seed of a world whose day has no run without a start."""
    for seed in range(1, 50):
        with SandboxServer(World(now=lambda: NOW, records_per_day=250, seed=seed)) as server:
            if all(run.created_at is not None for run in list_runs(server)):
                return seed
    raise AssertionError("no such world")


def list_runs(server: SandboxServer) -> list[Any]:
    ona: Any = server.upstream.vendors["ona"]
    return list(ona.list_runs(DAY.start, DAY.end))


@contextmanager
def open_ona(url: str, opened_at: datetime = NOW, **bounds: Any) -> Iterator[Reader]:
    http = VendorHTTP(
        url,
        Reader.build_authorization("sandbox-key"),
        hosts=Reader.hosts,
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        bounds=Bounds(**{"timeout": 5.0, "attempts": 3} | bounds),
    )
    with http:
        yield Reader(Account("ona", ZoneInfo("UTC"), {}, look_back_days=3, opened_at=opened_at), http)


@pytest.fixture
def ona(sandbox: SandboxServer) -> Iterator[Reader]:
    with open_ona(f"{sandbox.url}/ona/api") as reader:
        yield reader


@contextmanager
def open_scripted(
    server: HTTPServer, response: Any, *records: dict[str, Any], handler: Any = None, **bounds: Any
) -> Iterator[Reader]:
    """Yield the reader of a vendor that lists two runs of half an hour and one hour, and `response` as their total."""
    listing = {"pagination": {}, "records": list(records) or [build_record(30), build_record(60)]}
    server.expect_request(f"/api{LIST}").respond_with_json(listing)
    total = server.expect_request(f"/api{RUNTIME}")
    if handler is not None:
        total.respond_with_handler(handler)
    else:
        total.respond_with_data(response if isinstance(response, str) else json.dumps(response))
    with open_ona(server.url_for("/api"), **bounds) as reader:
        yield reader


def build_record(minutes: int, **fields: Any) -> dict[str, Any]:
    stopped = DAY.start + timedelta(hours=12)
    created = stopped - timedelta(minutes=minutes)
    return {"id": f"run-{minutes}", "createdAt": created.isoformat(), "stoppedAt": stopped.isoformat(), **fields}


def check(reader: Reader) -> Comparison:
    return read_pages(reader, DAY)[1]


def count_totals(sandbox: SandboxServer) -> int:
    """Return how often the total was requested."""
    return sum(request.path.endswith(RUNTIME) for request in sandbox.stats.requests)
