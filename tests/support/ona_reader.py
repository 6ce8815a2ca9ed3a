"""Ona's reader and its vendor: the sandbox, or a scripted server."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sync.http import Bounds, VendorHTTP
from sync.sandbox.world import World
from sync.vendors.base import Account, Comparison, Page
from sync.vendors.ona.reader import Reader
from tests.support import vendor_readers
from tests.support.sandbox_server import SandboxServer
from usage.days import Day
from usage.models import EnvironmentRow

NOW = datetime(2026, 11, 10, 15, tzinfo=UTC)
DAY = Day.of(date(2026, 11, 3), "UTC")
RECORD = {
    "id": "run-1",
    "environmentId": "env-1",
    "projectId": "project-1",
    "userId": "user-1",
    "runnerId": "runner-1",
    "environmentClassId": "class-1",
    "createdAt": "2026-11-03T10:00:00.5Z",
    "stoppedAt": "2026-11-03T12:00:00Z",
}


@pytest.fixture(autouse=True)
def _near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the vendor count as near, however busy this machine is."""
    monkeypatch.setattr("sync.vendors.ona.reader.SLOW_PAGE_SECONDS", float("inf"))


@pytest.fixture
def sandbox() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=lambda: NOW, records_per_day=950)) as server:
        yield server


def build_reader(base_url: str, credential: str = "sandbox-key", zone: str = "UTC", **bounds: Any) -> Reader:
    http = VendorHTTP(
        base_url,
        Reader.build_authorization(credential),
        hosts=Reader.hosts,
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        bounds=Bounds(**{"timeout": 5.0, "attempts": 3} | bounds),
    )
    return Reader(Account("ona", ZoneInfo(zone), {}, opened_at=NOW), http)


@pytest.fixture
def ona(sandbox: SandboxServer) -> Iterator[Reader]:
    reader = build_reader(f"{sandbox.url}/ona/api")
    with reader.http:
        yield reader


def read_pages(reader: Reader, day: Day = DAY) -> tuple[list[Page], Comparison]:
    """Return all pages of a day and the comparison with the vendor's checksum."""
    return vendor_readers.read_pages(reader, day)


def list_rows(reader: Reader, day: Day = DAY) -> list[EnvironmentRow]:
    return [EnvironmentRow(*row) for page in read_pages(reader, day)[0] for row in page.rows]


def build_page(*changes: dict[str, Any]) -> bytes:
    """Return a page with one record per change of the usual one; a value of None removes a field."""
    records = [{name: value for name, value in (RECORD | change).items() if value is not None} for change in changes]
    return json.dumps({"pagination": {}, "records": records}).encode()
