"""Gcore: what every resource consumed, one UTC day at a time, checked against the vendor's own totals."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import msgspec

from sync.errors import InvalidResponse, ListingChanged
from sync.vendors.base import Comparison, Page, Pages, Rejection, VendorReader
from sync.vendors.decoding import decode_answer, decode_record, reject_record
from sync.vendors.gcore.directory import DirectoryReader
from sync.vendors.gcore.mapping import KeyBuilder, build_identity, build_keyless_row
from sync.vendors.gcore.schema import ORDER, USAGE_REPORT, UsageReport, parse_report
from sync.vendors.gcore.totals import RowSums
from sync.vendors.names import NameListing
from sync.vendors.record_limits import InvalidRecord
from usage.days import Day
from usage.models import ResourceRow, ResourceUsage


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """`page_size`: the resources per request; the vendor's default of 10 is never used."""

    page_size: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=100_000,
            title="Resources per request",
            description="How many resources one request asks for. Fewer where the vendor takes too long to answer.",
        ),
    ] = 1000


class Reader(VendorReader):
    """Reads the usage report, which is additive only by the single UTC day."""

    kind = ResourceUsage
    title = "Gcore"
    hosts = ("api.gcore.com",)
    base_url = "https://api.gcore.com"
    time_zone = "UTC"
    options_type = Options

    @classmethod
    def build_authorization(cls, credential: str) -> str:
        return f"APIKey {credential}"

    def pages(self, day: Day) -> Pages:
        """Yield the resources of a day until there are `count` of them, and compare them with the totals.

        Raises ListingChanged where `count` changes or a row comes again on a later page, InvalidResponse where
        there are fewer or more rows than `count`.
        """
        report, received = self.fetch_report(day.date), 0
        count, keys, sums = report.count, KeyBuilder(), RowSums(report.totals)
        while True:
            if report.count != count:
                raise ListingChanged(f"The report changed while it was read: {count} rows, then {report.count}.")
            if received < count and not report.resources:
                raise InvalidResponse(f"The report promised {count} rows and gave only {received}.")
            received += len(report.resources)
            yield build_page(report, keys, sums)
            if received >= count:
                break
            report = self.fetch_report(day.date, received)
        if received > count:
            raise InvalidResponse(f"The report promised {count} rows and gave {received}.")
        return Comparison.from_differences(sums.find_differences(count, report.totals))

    def directory(self) -> Iterator[NameListing]:
        return DirectoryReader(self.http).read()

    def probe(self) -> str:
        """Request one resource of yesterday."""
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        report = self.fetch_report(yesterday, limit=1)
        return f"Gcore answered: {report.count} rows of usage on {yesterday}."

    def fetch_report(self, day: date, offset: int = 0, limit: int | None = None) -> UsageReport:
        """Return the report of one day from `offset` on; raises InvalidResponse where the answer is no report."""
        body = {
            "time_from": f"{day}T00:00:00Z",
            "time_to": f"{day + timedelta(days=1)}T00:00:00Z",
            "limit": limit or self.options.page_size,
            "offset": offset,
            "order_by": ORDER,
        }
        answer = self.http.post(USAGE_REPORT, msgspec.json.encode(body))
        return decode_answer(self.http, parse_report, answer, "a usage report")


def build_page(report: UsageReport, keys: KeyBuilder, sums: RowSums) -> Page:
    """Return one answer's resources as rows, keyed and summed, and those that cannot be kept."""
    keys.start_page()
    rows: list[ResourceRow] = []
    rejected: list[Rejection] = []
    for raw in report.resources:
        try:
            fields = decode_record(raw)
            row = build_keyless_row(fields)
        except InvalidRecord as error:
            # A rejected row has no identity but itself; that it comes again still shows.
            keys.build_key(bytes(raw), bytes(raw))
            rejected.append(reject_record(raw, error))
            continue
        rows.append(row._replace(resource_key=keys.build_key(build_identity(row, fields), bytes(raw))))
        sums.add(row, fields)
    sums.rejected += len(rejected)
    return Page(rows, rejected)
