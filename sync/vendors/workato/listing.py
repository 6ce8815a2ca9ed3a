"""The rows of one Workato answer: kept, rejected with a reason, or refused because they come twice."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from sync.errors import ListingShifted
from sync.vendors.base import Rejected
from sync.vendors.wire import UnfitRecordError, record, rejected
from sync.vendors.workato.wire import NoMetricError, OtherZoneError, buckets, place, row
from usage.days import Day
from usage.models import RecipeRow


class Read(NamedTuple):
    """Rows, and the records that are none."""

    rows: list[RecipeRow]
    rejected: list[Rejected]


class Listing:
    """Reads the rows of one answer, one workspace or recipe and hour each.

    `doubts` are the workspaces and hours of rejected rows, None where the row does not tell. A row that comes
    again just the same means that the answer is not sound; a second row that differs for the same hour cannot
    be kept beside the first and is rejected. An hour that a clock shows twice is two hours: instants count.
    """

    def __init__(self, day: Day, *, by_recipe: bool = False) -> None:
        self.day = day
        self.by_recipe = by_recipe
        self.doubts: set[tuple[int | None, datetime | None]] = set()
        self._seen: dict[tuple[int, int | None, datetime], int] = {}
        self._rejected = 0

    def read(self, raws: Sequence[msgspec.Raw]) -> Read:
        """Return `raws` as rows and rejected records; raises NoMetricError, OtherZoneError and ListingShifted."""
        rows: list[RecipeRow] = []
        bad: list[Rejected] = []
        for raw in raws:
            for bucket in self._buckets(raw, bad):
                try:
                    self._take(bucket, raw, rows, bad)
                except OtherZoneError as error:
                    raise OtherZoneError(str(error), bytes(raw)) from None
        self._rejected += len(bad)
        return Read(rows, bad)

    def differences(self) -> Iterator[dict[str, Any]]:
        """Yield that rows were rejected, where some were: their usage is missing from what is held."""
        if self._rejected:
            yield {
                "what": "rows by recipe" if self.by_recipe else "rows by workspace",
                "vendor": str(len(self._seen) + self._rejected),
                "portal": str(len(self._seen)),
                "rejected": self._rejected,
            }

    def _buckets(self, raw: msgspec.Raw, bad: list[Rejected]) -> Iterator[dict[str, Any]]:
        """Yield a row's buckets, or none and one more of `bad` where it is no object at all."""
        try:
            fields = record(raw)
        except UnfitRecordError as error:
            self.doubts.add((None, None))
            bad.append(rejected(raw, error))
            return
        try:
            yield from buckets(fields)
        except NoMetricError:
            raise NoMetricError(bytes(raw)) from None

    def _take(self, bucket: dict[str, Any], raw: msgspec.Raw, rows: list[RecipeRow], bad: list[Rejected]) -> None:
        """Add a bucket to `rows` or, where it cannot be kept, its row to `bad`."""
        try:
            rows.append(self._kept(bucket))
        except UnfitRecordError as error:
            self.doubts.add(place(bucket, self.day))
            bad.append(rejected(raw, error))

    def _kept(self, bucket: dict[str, Any]) -> RecipeRow:
        found = row(bucket, self.day, by_recipe=self.by_recipe)
        key, said = (found.workspace_id, found.recipe_id, found.starts_at), hash(found)
        if key not in self._seen:
            self._seen[key] = said
            return found
        if self._seen[key] == said:
            raise ListingShifted("The answer lists the same row twice.")
        raise UnfitRecordError("from: an earlier row says something else of the same hour")
