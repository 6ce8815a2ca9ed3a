"""Workato Embedded: what every recipe used hour by hour, and what is left of recipes since deleted."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from typing import Any, TypeVar

import msgspec

from sync.errors import ListingShifted
from sync.vendors.base import Page, Pages, VendorReader
from sync.vendors.wire import compared, reason
from sync.vendors.workato.deleted import Hours
from sync.vendors.workato.listing import Listing, Read
from sync.vendors.workato.options import Options
from sync.vendors.workato.wire import USAGE, WORKSPACES, NoMetricError, OtherZoneError, Statistics, Workspaces, stamp
from usage.days import Day
from usage.models import RecipeUsage

T = TypeVar("T")

WORKSPACES_PER_PAGE = 100
ROWS_PER_PAGE = 1000


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
    def authorization(cls, credential: str) -> str:
        """Return the header's value."""
        return f"Bearer {credential}"

    def pages(self, day: Day) -> Pages:
        """Yield the hours of a day's recipes, and of its deleted recipes where they used anything.

        One answer holds the whole day of its workspaces; beside it, one row per workspace and hour and one
        key per recipe and hour are held in memory. The bare sums are read first, so that what is added in
        between shows as a difference and is never taken for the usage of deleted recipes. Raises WrongShape
        for a row without any known metric or of another zone, ListingShifted for a row that is listed twice.
        """
        differences: list[dict[str, Any]] = []
        for name, ids in self.scopes():
            wanted = {"from": stamp(day.start), "to": stamp(day.end), name: ids, "interval": "hour"}
            bare, recipes = Listing(day), Listing(day, by_recipe=True)
            reads = list(self.listed(bare, wanted))
            hours = Hours(row for read in reads for row in read.rows)
            yield Page([], [one for read in reads for one in read.rejected])
            for read in self.listed(recipes, {**wanted, "group_by": "recipe"}):
                hours.add(read.rows)
                yield Page(*read)
            yield Page(list(hours.deleted(recipes.doubts)))
            differences += [*bare.differences(), *recipes.differences(), *hours.differences()]
        return compared(differences)

    def probe(self) -> str:
        """Ask for yesterday's hours of one workspace; raises WrongShape where any cannot be read."""
        name, ids = self.options.scope() or ("workspace_ids", self.workspaces(page=1, per_page=1))
        if not ids:
            return "Workato answered: the account has no workspaces."
        day = Day.of(datetime.now(self.account.zone).date() - timedelta(days=1), self.account.zone)
        wanted = {"from": stamp(day.start), "to": stamp(day.end), name: ids[:1], "interval": "hour"}
        reads = list(self.listed(Listing(day), wanted))
        for bad in (one for read in reads for one in read.rejected):
            raise self.http.wrong_shape(f"A row of usage cannot be read: {bad.reason}", bad.payload.encode())
        return f"Workato answered: {sum(len(read.rows) for read in reads)} hours of usage on {day.date}."

    def scopes(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield the ids to ask for, as few times as `max_ids_per_request` allows, with their field's name."""
        name, ids = self.options.scope() or ("workspace_ids", self.discovered())
        size = self.options.max_ids_per_request
        for start in range(0, len(ids), size):
            yield name, list(ids[start : start + size])

    def discovered(self) -> list[int]:
        """Return the ids of all workspaces of the account.

        Reads on until a page is empty, since a page may hold fewer than was asked for. Raises ListingShifted
        where one comes again, since then another may have been passed over.
        """
        found: dict[int, None] = {}
        for page in count(1):
            ids = dict.fromkeys(self.workspaces(page, WORKSPACES_PER_PAGE))
            if not ids:
                break
            if found.keys() & ids.keys():
                raise ListingShifted(f"Page {page} of the workspaces holds some of an earlier page.")
            found |= ids
        return list(found)

    def workspaces(self, page: int, per_page: int) -> list[int]:
        """Return the ids of one page of the account's workspaces."""
        answer = self.http.get(WORKSPACES, {"page": page, "per_page": per_page})
        return [one.id for one in self.decoded(answer, Workspaces, "a list of workspaces").result]

    def listed(self, listing: Listing, wanted: dict[str, Any]) -> Iterator[Read]:
        """Yield the rows of one answer, slice by slice.

        Raises WrongShape where one has no known metric or a time of another zone than the source's.
        """
        answer = self.http.post(USAGE, msgspec.json.encode(wanted))
        raws = self.decoded(answer, Statistics, "usage statistics").data or []
        for start in range(0, len(raws), ROWS_PER_PAGE):
            try:
                yield listing.read(raws[start : start + ROWS_PER_PAGE])
            except NoMetricError as error:
                what = "A row of usage has none of the known metrics."
                raise self.http.wrong_shape(what, error.row) from None
            except OtherZoneError as error:
                raise self.http.wrong_shape(f"{error}", error.row) from None

    def decoded(self, answer: bytes, shape: type[T], name: str) -> T:
        """Return an answer as `shape`; raises WrongShape where it is not `name`."""
        try:
            return msgspec.json.decode(answer, type=shape, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.http.wrong_shape(f"Not {name}: {reason(error)}", answer) from None
