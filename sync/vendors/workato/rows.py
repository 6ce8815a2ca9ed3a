"""The rows of one Workato answer: accepted, rejected with a reason, or refused because they come twice."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from sync.errors import ListingChanged
from sync.vendors.base import Rejection
from sync.vendors.decoding import decode_record, reject_record
from sync.vendors.record_limits import InvalidRecord
from sync.vendors.workato.repeated_hours import RepeatedHours
from sync.vendors.workato.schema import (
    UNCUT_FIELDS,
    NoMetricError,
    OtherZoneError,
    build_row,
    iterate_buckets,
    locate_bucket,
)
from usage.days import Day
from usage.models import RecipeRow


class ReadRows(NamedTuple):
    """Rows, and the records that were rejected."""

    rows: list[RecipeRow]
    rejected: list[Rejection]


class RowReader:
    """Reads the rows of one answer, one workspace or recipe and hour each.

    `doubts` are the workspaces and hours of rejected rows, None where the row has none, and those of rows whose
    hour comes twice and is uncertain. An equal row that comes again means that the answer is wrong; a second row that
    differs for the same hour is rejected. An hour that a clock shows twice is two hours: instants count.
    """

    def __init__(self, day: Day, *, by_recipe: bool = False) -> None:
        self.day = day
        self.by_recipe = by_recipe
        self.repeated_hours = RepeatedHours(day)
        self.doubts: set[tuple[int | None, datetime | None]] = set()
        self._content_hashes: dict[tuple[int, int | None, datetime], int] = {}
        self._rejected = 0

    def scan_order(self, raws: Sequence[msgspec.Raw]) -> None:
        """Scan the rows of an answer before they are read, on a day whose clocks show an hour twice."""
        for raw in raws if self.repeated_hours.can_occur else ():
            with suppress(InvalidRecord, NoMetricError):
                for bucket in iterate_buckets(decode_record(raw, UNCUT_FIELDS)):
                    self.repeated_hours.add(bucket)

    def read(self, raws: Sequence[msgspec.Raw]) -> ReadRows:
        """Return `raws` as rows and rejected records; raises NoMetricError, OtherZoneError and ListingChanged."""
        rows: list[RecipeRow] = []
        rejected: list[Rejection] = []
        for raw in raws:
            for bucket in self._iterate_buckets(raw, rejected):
                try:
                    self._add_row(bucket, raw, rows, rejected)
                except OtherZoneError as error:
                    raise OtherZoneError(str(error), bytes(raw)) from None
        self._rejected += len(rejected)
        return ReadRows(rows, rejected)

    def find_differences(self) -> Iterator[dict[str, Any]]:
        """Yield the number of rejected rows, whose usage is missing, and the hours that are uncertain."""
        if self._rejected:
            yield {
                "what": "rows by recipe" if self.by_recipe else "rows by workspace",
                "vendor": str(len(self._content_hashes) + self._rejected),
                "portal": str(len(self._content_hashes)),
                "rejected": self._rejected,
            }
        yield from self.repeated_hours.find_differences()

    def _iterate_buckets(self, raw: msgspec.Raw, rejected: list[Rejection]) -> Iterator[dict[str, Any]]:
        """Yield a row's buckets, or none and a rejection where it is no object."""
        try:
            fields = decode_record(raw, UNCUT_FIELDS)
        except InvalidRecord as error:
            self.doubts.add((None, None))
            rejected.append(reject_record(raw, error))
            return
        try:
            yield from iterate_buckets(fields)
        except NoMetricError:
            raise NoMetricError(bytes(raw)) from None

    def _add_row(
        self, bucket: dict[str, Any], raw: msgspec.Raw, rows: list[RecipeRow], rejected: list[Rejection]
    ) -> None:
        """Add a bucket to `rows` or, where it cannot be kept, its row to `rejected`."""
        try:
            rows.append(self._build_new_row(bucket))
        except InvalidRecord as error:
            self.doubts |= {locate_bucket(bucket, self.day, fold) for fold in (0, 1)}
            rejected.append(reject_record(raw, error))

    def _build_row(self, bucket: dict[str, Any]) -> RecipeRow:
        """Return a bucket as a row, in the right hour where the clocks show its time twice."""
        if not self.repeated_hours.can_occur:
            return build_row(bucket, self.day, by_recipe=self.by_recipe)
        row = build_row(bucket, self.day, by_recipe=self.by_recipe, fold=self.repeated_hours.choose_fold(bucket))
        self.doubts |= {(row.workspace_id, starts_at) for starts_at in self.repeated_hours.list_doubts(bucket)}
        return row

    def _build_new_row(self, bucket: dict[str, Any]) -> RecipeRow:
        row = self._build_row(bucket)
        key, content_hash = (row.workspace_id, row.recipe_id, row.starts_at), hash(row)
        if key not in self._content_hashes:
            self._content_hashes[key] = content_hash
            return row
        if self._content_hashes[key] == content_hash:
            raise ListingChanged("The answer lists the same row twice.")
        raise InvalidRecord("from: an earlier row says something else of the same hour")
