"""Gcore's names: projects, also deleted projects, and regions (docs/vendors/gcore.md)."""

from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from sync.http import VendorHTTP
from sync.vendors.decoding import decode_answer
from sync.vendors.names import Name, NameListing, read_listing
from usage.models import NameKind

PROJECTS: Final = "/cloud/v1/projects"
REGIONS: Final = "/cloud/v1/regions"
PAGE_SIZE: Final = 1000  # the vendor's maximum


class Project(msgspec.Struct):
    """A project; `deleted_at` is set once it is deleted."""

    id: int
    name: str | None = None
    deleted_at: str | None = None


class Region(msgspec.Struct):
    """A region."""

    id: int
    display_name: str | None = None


class ProjectsPage(msgspec.Struct):
    """A page of projects."""

    count: int
    results: list[Project]


class RegionsPage(msgspec.Struct):
    """A page of regions."""

    count: int
    results: list[Region]


P = TypeVar("P", ProjectsPage, RegionsPage)


class DirectoryReader:
    """Reads both listings page by page."""

    def __init__(self, http: VendorHTTP) -> None:
        self.http = http

    def read(self) -> Iterator[NameListing]:
        """Yield both listings."""
        yield read_listing(NameKind.PROJECT, self.read_projects)
        yield read_listing(NameKind.REGION, self.read_regions)

    def read_projects(self) -> Iterator[Name]:
        """Yield the projects, also deleted projects, whose usage stays."""
        for page in self.paginate(PROJECTS, ProjectsPage, include_deleted="true"):
            for project in page.results:
                yield Name(str(project.id), project.name or "", is_gone=project.deleted_at is not None)

    def read_regions(self) -> Iterator[Name]:
        """Yield the regions."""
        for page in self.paginate(REGIONS, RegionsPage):
            yield from (Name(str(region.id), region.display_name or "") for region in page.results)

    def paginate(self, path: str, page_type: type[P], **params: str) -> Iterator[P]:
        """Yield pages until there are `count` results; raises InvalidResponse where the vendor sends fewer."""
        received = 0
        while True:
            page = self.fetch(path, page_type, {**params, "limit": PAGE_SIZE, "offset": received})
            received += len(page.results)
            yield page
            if received >= page.count:
                return
            if not page.results:
                reason = f"{path} promised {page.count} results and gave only {received}."
                raise self.http.build_invalid_response(reason, b"")

    def fetch(self, path: str, page_type: type[P], params: dict[str, str | int]) -> P:
        """Return one page; raises InvalidResponse where it is of another shape."""
        body = self.http.get(path, params)
        return decode_answer(self.http, msgspec.json.Decoder(page_type).decode, body, f"a list of names at {path}")
