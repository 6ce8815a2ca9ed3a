"""A portal that has synced a few days of the stand-in vendors, and the same requests to both of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from django.test import override_settings

from portal.accounts.models import Scope, create_token
from sync.api_messages import APIRequest, APIResponse
from sync.engine.load import load_next
from sync.engine.plan import ensure_days
from sync.sandbox.world import World
from sync.vendors import mirrors
from tests.support.database import store_or_restore
from tests.support.sandbox_server import SandboxServer
from tests.support.stand_in import OneTimeFaults
from tests.support.vendor_readers import build_sandbox_url
from usage.models import Source, SourceDay

NOW = datetime(2026, 11, 18, 15, tzinfo=UTC)
FIRST, END = date(2026, 11, 9), date(2026, 11, 16)
ZONES = {"workato": "Europe/Berlin"}
CREDENTIAL = "sandbox-key"


@dataclass(frozen=True)
class Pair:
    """A stand-in vendor and the portal's source that has read it."""

    server: SandboxServer
    source: Source

    def mirror(self, path: str, body: Any = None, *, method: str = "POST", **query: list[str]) -> APIResponse:
        """Return the mirror's response, without HTTP."""
        request = APIRequest(method, path, query, {"content-type": "application/json"}, encode_body(body))
        return mirrors()[self.source.vendor](self.source).respond(request)

    def vendor(self, path: str, body: Any = None, *, method: str = "POST", **query: list[str]) -> Any:
        """Return the stand-in's response, without HTTP."""
        scheme = "APIKey" if self.source.vendor == "gcore" else "Bearer"
        headers = {"content-type": "application/json", "authorization": f"{scheme} {CREDENTIAL}"}
        request = APIRequest(method, path, query, headers, encode_body(body))
        return self.server.upstream.vendors[self.source.vendor].respond(request, OneTimeFaults())


def encode_body(body: Any) -> bytes:
    """Return a body as it is sent."""
    return b"" if body is None else msgspec.json.encode(body)


def read_all(server: SandboxServer, vendor: str, first: date = FIRST, end: date = END) -> Source:
    """Return a source that has synced the days `[first, end)` of a stand-in."""
    source = Source.objects.create(
        slug=f"{vendor}-main",
        vendor=vendor,
        base_url=build_sandbox_url(vendor, server.url),
        credential=CREDENTIAL,
        time_zone=ZONES.get(vendor, "UTC"),
        backfill_from=first,
    )
    ensure_days(source, first, end)
    with override_settings(PORTAL_ALLOWED_VENDOR_HOSTS=["127.0.0.1:*"]):
        for _ in range((end - first).days):
            assert load_next(source.pk) is not None
    assert set(SourceDay.objects.filter(source=source).values_list("state", "complete")) == {("loaded", True)}
    return source


def read_once(server: SandboxServer, vendor: str, first: date = FIRST, end: date = END) -> Source:
    """Call `read_all` in an empty database; later calls for the same stand-in restore its rows."""
    store_or_restore((server.url, vendor, first, end), lambda: read_all(server, vendor, first, end))
    return Source.objects.get(slug=f"{vendor}-main")


@pytest.fixture(scope="module")
def frozen_sandbox() -> Iterator[SandboxServer]:
    """A sandbox whose clock stands still."""
    with SandboxServer(World(days=30, now=lambda: NOW, records_per_day=150)) as server:
        yield server


def create_mirror_key(*sources: Source) -> str:
    """Return the secret of a new token that may read mirrors, of these sources or of all."""
    return create_token("mirror", [Scope.MIRROR_READ], sources=sources or None)[1]


def format_instant(on: date, hours: float = 0) -> str:
    """Return an instant in a format that all three vendors accept."""
    at = datetime(on.year, on.month, on.day, tzinfo=UTC) + timedelta(hours=hours)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
