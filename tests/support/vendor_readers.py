"""Read a day by a vendor's reader over real HTTP, without the engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from sync.http import Bounds, VendorHTTP
from sync.vendors import readers
from sync.vendors.base import Account, Comparison, Page, VendorReader
from usage.days import Day


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
