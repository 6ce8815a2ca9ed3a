"""Gcore: what every resource consumed, one UTC day at a time, checked against the vendor's own totals."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import msgspec

from sync.errors import ListingShifted, WrongShape
from sync.vendors.base import Page, Pages, Rejected, VendorReader
from sync.vendors.gcore.rows import Keys, identity, keyless_row
from sync.vendors.gcore.totals import Sums, checked
from sync.vendors.gcore.wire import ORDER, USAGE_REPORT, Report, decode_report
from sync.vendors.wire import UnfitRecordError, compared, reason, record, rejected
from usage.days import Day
from usage.models import ResourceRow, ResourceUsage


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """`page_size`: how many resources one request asks for; the vendor's default of 10 is never relied on."""

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
    def authorization(cls, credential: str) -> str:
        """Return the header's value: the vendor's own scheme and the key."""
        return f"APIKey {credential}"

    def pages(self, day: Day) -> Pages:
        """Yield the resources of a day until `count` of them are held, and compare them with the totals.

        Raises ListingShifted where `count` changes or a row comes again on a later page, WrongShape where
        there are fewer or more rows than `count`.
        """
        report, held = self.report(day.date), 0
        count, keys, sums = report.count, Keys(), Sums(report.totals)
        while True:
            if report.count != count:
                raise ListingShifted(f"The report changed while it was read: {count} rows, then {report.count}.")
            if held < count and not report.resources:
                raise WrongShape(f"The report promised {count} rows and gave only {held}.")
            held += len(report.resources)
            yield page(report, keys, sums)
            if held >= count:
                break
            report = self.report(day.date, held)
        if held > count:
            raise WrongShape(f"The report promised {count} rows and gave {held}.")
        return compared(sums.differences(count, report.totals))

    def probe(self) -> str:
        """Ask for one resource of yesterday."""
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        report = self.report(yesterday, limit=1)
        return f"Gcore answered: {report.count} rows of usage on {yesterday}."

    def report(self, day: date, offset: int = 0, limit: int | None = None) -> Report:
        """Return the report of one day from `offset` on; raises WrongShape where the answer is none."""
        body = {
            "time_from": f"{day}T00:00:00Z",
            "time_to": f"{day + timedelta(days=1)}T00:00:00Z",
            "limit": limit or self.options.page_size,
            "offset": offset,
            "order_by": ORDER,
        }
        answer = self.http.post(USAGE_REPORT, msgspec.json.encode(body))
        try:
            report = decode_report(answer)
            for total in report.totals:
                checked(total)
        except (msgspec.DecodeError, UnfitRecordError, UnicodeDecodeError, RecursionError) as error:
            raise self.http.wrong_shape(f"Not a usage report: {reason(error)}", answer) from None
        return report


def page(report: Report, keys: Keys, sums: Sums) -> Page:
    """Return one answer's resources as rows, keyed and summed, and those that cannot be kept."""
    keys.turn_page()
    rows: list[ResourceRow] = []
    bad: list[Rejected] = []
    for raw in report.resources:
        try:
            fields = record(raw)
            row = keyless_row(fields)
        except UnfitRecordError as error:
            # A rejected row has no identity but itself; that it comes again still shows.
            keys.key(bytes(raw), bytes(raw))
            bad.append(rejected(raw, error))
            continue
        rows.append(row._replace(resource_key=keys.key(identity(row, fields), bytes(raw))))
        sums.add(row, fields)
    sums.rejected += len(bad)
    return Page(rows, bad)
