"""Gcore's names: projects, also deleted projects, and regions (docs/vendors/gcore.md)."""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import msgspec

from sync.http import VendorHTTP
from sync.vendors.decoding import decode_answer
from sync.vendors.names import Name, NameListing, read_listing
from usage.models import NameKind

PROJECTS: Final = "/cloud/v1/projects"
REGIONS: Final = "/cloud/v1/regions"
PAGE_SIZE: Final = 1000  # the vendor's maximum
T = TypeVar("T")


class Project(msgspec.Struct):
    """A project; `deleted_at` is set once it is deleted."""

    id: int
    name: str | None = None
    deleted_at: str | None = None


class Region(msgspec.Struct):
    """A region."""

    id: int
    display_name: str | None = None


class ListingPage(msgspec.Struct, Generic[T]):
    """A page of a listing; `count` rows are in all its pages."""

    count: int
    results: list[T]


class DirectoryReader:
    """Reads both listings page by page."""

    def __init__(self, http: VendorHTTP) -> None:
        self.http = http

    def read(self) -> Iterator[NameListing]:
        yield read_listing(NameKind.PROJECT, self.read_projects)
        yield read_listing(NameKind.REGION, self.read_regions)

    def read_projects(self) -> Iterator[Name]:
        """Yield the projects, also deleted projects, whose usage stays."""
        for project in self.list_rows(PROJECTS, ListingPage[Project], include_deleted="true"):
            yield Name(str(project.id), project.name or "", is_gone=project.deleted_at is not None)

    def read_regions(self) -> Iterator[Name]:
        for region in self.list_rows(REGIONS, ListingPage[Region]):
            yield Name(str(region.id), region.display_name or "")

    def list_rows(self, path: str, page_type: type[ListingPage[T]], **params: str) -> Iterator[T]:
        """Yield the rows until there are `count`; raises InvalidResponse where the vendor sends fewer, or no page."""
        received = 0
        while True:
            body = self.http.get(path, {**params, "limit": PAGE_SIZE, "offset": received})
            decode = msgspec.json.Decoder(page_type).decode
            page = decode_answer(self.http, decode, body, f"a list of names at {path}")
            received += len(page.results)
            yield from page.results
            if received >= page.count:
                return
            if not page.results:
                reason = f"{path} promised {page.count} results and gave only {received}."
                raise self.http.build_invalid_response(reason, b"")
