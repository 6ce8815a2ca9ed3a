"""Read a day by a vendor's reader over real HTTP, without the engine or through it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sync.engine.load import load_next
from sync.engine.plan import ensure_days
from sync.http import Bounds, VendorHTTP
from sync.vendors import readers
from sync.vendors.base import Account, Comparison, Page, VendorReader
from tests.support.sandbox_server import SandboxServer
from usage.days import Day
from usage.models import DayState, Source, SourceDay


def build_sandbox_url(vendor: str, url: str) -> str:
    """Return the base URL of a vendor's stand-in: the sandbox's URL, the vendor, then the path of its own base URL."""
    return f"{url}/{vendor}{urlsplit(readers()[vendor].base_url).path}".rstrip("/")


@contextmanager
def connect_reader(
    vendor: str,
    base_url: str,
    *,
    zone: str = "UTC",
    credential: str = "sandbox-key",
    http_type: type[VendorHTTP] = VendorHTTP,
    **options: Any,
) -> Iterator[VendorReader]:
    """Yield the reader of `vendor`, connected to a server of this machine."""
    reader = readers()[vendor]
    http = http_type(
        base_url,
        reader.build_authorization(credential),
        hosts=reader.hosts,
        allowed_hosts=["127.0.0.1:*", "localhost:*"],
        bounds=Bounds(timeout=10.0, attempts=3),
    )
    with http:
        yield reader(Account(vendor, ZoneInfo(zone), options), http)


def read_pages(reader: VendorReader, day: Day) -> tuple[list[Page], Comparison]:
    """Return all pages of a day and the comparison with the vendor's checksum."""
    iterator, pages = reader.pages(day), []
    while True:
        try:
            pages.append(next(iterator))
        except StopIteration as end:
            return pages, end.value


def list_rows(pages: list[Page]) -> list[Any]:
    """Return the rows of all pages."""
    return [row for page in pages for row in page.rows]


def create_source(vendor: str, sandbox: SandboxServer, settings: Any, **values: Any) -> Source:
    """Return a stored source that reads the stand-in of a vendor."""
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]
    base_url = build_sandbox_url(vendor, sandbox.url)
    return Source.objects.create(slug=vendor, vendor=vendor, base_url=base_url, credential="sandbox-key", **values)


def read_first_day(source: Source) -> str:
    """Load the first day of a source now, through the engine; returns how the attempt ended."""
    ensure_days(source, source.backfill_from, source.backfill_from + timedelta(days=1))
    SourceDay.objects.filter(source=source).update(state=DayState.DUE, due_at=datetime(2020, 1, 1, tzinfo=UTC))
    attempt = load_next(source.pk)
    assert attempt is not None
    return attempt.outcome
