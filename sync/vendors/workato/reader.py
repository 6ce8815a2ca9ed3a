"""Workato Embedded: what every recipe used hour by hour, and what is left of recipes since deleted."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from typing import Annotated, Any

import msgspec

from sync.errors import ErrorCode, ListingChanged
from sync.vendors.base import Comparison, Page, Pages, VendorReader
from sync.vendors.decoding import decode_answer
from sync.vendors.names import Name, NameListing, read_listing
from sync.vendors.workato.deleted import HourSums
from sync.vendors.workato.rows import ReadRows, RowReader
from sync.vendors.workato.schema import (
    USAGE,
    WORKSPACES,
    NoMetricError,
    OtherZoneError,
    Statistics,
    Workspace,
    Workspaces,
    format_instant,
)
from usage.days import Day
from usage.models import NameKind, RecipeUsage

WORKSPACES_PER_PAGE = 100
ROWS_PER_PAGE = 1000
decode_statistics = msgspec.json.Decoder(Statistics, strict=False).decode
decode_workspaces = msgspec.json.Decoder(Workspaces, strict=False).decode


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """The workspaces to read, as a list or as text with commas; with neither, all that the account has.

    `max_ids_per_request`: the vendor asks for all workspaces in one request, so only more than this many are
    split over several requests.
    """

    workspace_ids: Annotated[
        list[int] | int | str,
        msgspec.Meta(
            title="Workspace ids",
            description="The customer workspaces to read: numbers with commas between them. Empty, and no external "
            "ids: all that the account has.",
        ),
    ] = ""
    external_ids: Annotated[
        list[str | int] | int | str,
        msgspec.Meta(
            title="External ids",
            description="Instead of workspace ids: the ids that you gave the workspaces, with commas between them.",
        ),
    ] = ""
    max_ids_per_request: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            title="Workspaces per request",
            description="The vendor asks for all workspaces in one request; only more than this many are split.",
        ),
    ] = 1000

    def __post_init__(self) -> None:
        """Raise ValueError where the ids are not ids, or of both kinds."""
        if self.parse_workspace_ids() and self.parse_external_ids():
            raise ValueError("give workspace_ids or external_ids, not both")

    def get_scope(self) -> tuple[str, list[int] | list[str]] | None:
        """Return the name of the option that has ids, with the ids; None without any."""
        if ids := self.parse_workspace_ids():
            return "workspace_ids", ids
        if externals := self.parse_external_ids():
            return "external_ids", externals
        return None

    def parse_workspace_ids(self) -> list[int]:
        """Return the workspace ids, without repetition."""
        try:
            return list(dict.fromkeys(int(text) for text in split_ids(self.workspace_ids)))
        except ValueError:
            raise ValueError("workspace_ids: numbers with commas between them are allowed") from None

    def parse_external_ids(self) -> list[str]:
        """Return the external ids, without repetition."""
        return split_ids(self.external_ids)


class Reader(VendorReader):
    """Reads a day twice, bare by workspace and by recipe, each by the hour, which is taken as the truth."""

    kind = RecipeUsage
    title = "Workato"
    hosts = (
        "www.workato.com",
        "app.eu.workato.com",
        "app.jp.workato.com",
        "app.sg.workato.com",
        "app.au.workato.com",
        "app.il.workato.com",
    )
    base_url = "https://www.workato.com"
    options_type = Options
    requests_per_minute = 1000

    @classmethod
    def build_authorization(cls, credential: str) -> str:
        return f"Bearer {credential}"

    def pages(self, day: Day) -> Pages:
        """Yield the hours of a day's recipes, and of its deleted recipes where they used anything.

        One answer has all hours of its workspaces; beside it, one row per workspace and hour and one key per recipe
        and hour are in memory. The bare sums are read first, so that what is added in
        between shows as a difference and is never taken for the usage of deleted recipes. Raises InvalidResponse
        for a row without any known metric or of another zone, ListingChanged for a row that is listed twice.
        """
        differences: list[dict[str, Any]] = []
        for name, ids in self.iterate_scopes():
            request = {"from": format_instant(day.start), "to": format_instant(day.end), name: ids, "interval": "hour"}
            bare, recipes = RowReader(day), RowReader(day, by_recipe=True)
            reads = list(self.read_rows(bare, request))
            hours = HourSums(row for read in reads for row in read.rows)
            yield Page([], [rejection for read in reads for rejection in read.rejected])
            for read in self.read_rows(recipes, {**request, "group_by": "recipe"}):
                hours.add(read.rows)
                yield Page(*read)
            yield Page(list(hours.build_deleted_rows(recipes.doubts)))
            differences += [*bare.find_differences(), *recipes.find_differences(), *hours.find_differences()]
        return Comparison.from_differences(differences)

    def directory(self) -> Iterator[NameListing]:
        """Yield the names of the account's workspaces; those of recipes and folders come with their usage."""
        yield read_listing(NameKind.WORKSPACE, self.read_workspace_names)

    def read_workspace_names(self) -> Iterator[Name]:
        return (Name(str(workspace.id), workspace.name or "") for workspace in self.list_workspaces())

    def probe(self) -> str:
        """Request yesterday's hours of one workspace; raises InvalidResponse where any cannot be read."""
        name, ids = self.options.get_scope() or ("workspace_ids", get_ids(self.fetch_workspaces(1, 1)))
        if not ids:
            return "Workato answered: the account has no workspaces."
        day = Day.of(datetime.now(self.account.zone).date() - timedelta(days=1), self.account.zone)
        request = {"from": format_instant(day.start), "to": format_instant(day.end), name: ids[:1], "interval": "hour"}
        reads = list(self.read_rows(RowReader(day), request))
        for rejection in (rejection for read in reads for rejection in read.rejected):
            reason = f"A row of usage cannot be read: {rejection.reason}"
            raise self.http.build_invalid_response(reason, rejection.payload.encode())
        return f"Workato answered: {sum(len(read.rows) for read in reads)} hours of usage on {day.date}."

    def iterate_scopes(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield the ids to request, as few times as `max_ids_per_request` allows, with their field's name."""
        name, ids = self.options.get_scope() or ("workspace_ids", get_ids(self.list_workspaces()))
        size = self.options.max_ids_per_request
        for start in range(0, len(ids), size):
            yield name, list(ids[start : start + size])

    def list_workspaces(self) -> list[Workspace]:
        """Return all workspaces of the account.

        Reads on until a page is empty, since a page may hold fewer than requested. Raises ListingChanged
        where a workspace comes again, since then another workspace may be missing.
        """
        workspaces: dict[int, Workspace] = {}
        for page in count(1):
            listed = {workspace.id: workspace for workspace in self.fetch_workspaces(page, WORKSPACES_PER_PAGE)}
            if not listed:
                break
            if workspaces.keys() & listed.keys():
                raise ListingChanged(f"Page {page} of the workspaces holds some of an earlier page.")
            workspaces |= listed
        return list(workspaces.values())

    def fetch_workspaces(self, page: int, per_page: int) -> list[Workspace]:
        answer = self.http.get(WORKSPACES, {"page": page, "per_page": per_page})
        return decode_answer(self.http, decode_workspaces, answer, "a list of workspaces").result

    def read_rows(self, row_reader: RowReader, request: dict[str, Any]) -> Iterator[ReadRows]:
        """Yield the rows of one answer, slice by slice.

        Raises InvalidResponse where a row has no known metric or a time of another zone than the source's.
        """
        answer = self.http.post(USAGE, msgspec.json.encode(request))
        raws = decode_answer(self.http, decode_statistics, answer, "usage statistics").data or []
        row_reader.scan_order(raws)
        for start in range(0, len(raws), ROWS_PER_PAGE):
            try:
                yield row_reader.read(raws[start : start + ROWS_PER_PAGE])
            except NoMetricError as error:
                what = "A row of usage has none of the known metrics."
                raise self.http.build_invalid_response(what, error.row) from None
            except OtherZoneError as error:
                raise self.http.build_invalid_response(
                    str(error), error.row, code=ErrorCode.TIME_ZONE_MISMATCH
                ) from None


def get_ids(workspaces: list[Workspace]) -> list[int]:
    """Return the ids of workspaces."""
    return [workspace.id for workspace in workspaces]


def split_ids(value: Any) -> list[str]:
    """Return ids as texts in their order, without repetition, from a list, a single id or a text with commas."""
    ids = value if isinstance(value, list) else str(value).split(",")
    return list(dict.fromkeys(text for vendor_id in ids if (text := str(vendor_id).strip())))
