"""Ona: completed environment runs, read page by page (contracts.md, Ona)."""

from collections import Counter
from datetime import UTC, datetime

import msgspec

from sync.vendors.base import Checked, Page, Pages, VendorReader
from sync.vendors.ona.records import NotPromised, page_of
from usage.days import Day
from usage.models import EnvironmentUsage

LIST = "/gitpod.v1.UsageService/ListEnvironmentUsageRecords"
PAGE_SIZE = 100  # the most the vendor gives
EMPTY_PAGES = 100  # assumed: a listing with so many pages in a row that hold nothing never ends

encode = msgspec.json.Encoder().encode


class Reader(VendorReader):
    """Lists the environments that stopped on a day; running ones are not listed, so today grows."""

    kind = EnvironmentUsage
    title = "Ona"
    hosts = ("app.gitpod.io", "app.ona.com")
    base_url = "https://app.gitpod.io/api"

    @classmethod
    def authorization(cls, credential: str) -> str:
        """Return the credential as a bearer token."""
        return f"Bearer {credential.strip()}"

    def pages(self, day: Day) -> Pages:
        """Yield the runs that stopped in `[day.start, day.end)`, in the vendor's own order.

        Raises WrongShape for an answer that is none, and for a page token that was given before: the listing
        would go round in circles. The vendor gives no checksum.
        """
        nameless: Counter[str] = Counter()
        tokens = {""}
        token, empty = "", 0
        while True:
            body, page, token = self._ask(day, PAGE_SIZE, token, nameless)
            yield page
            if not token:
                return Checked()
            empty = 0 if page.rows or page.rejected else empty + 1
            if token in tokens or empty > EMPTY_PAGES:
                raise self.http.wrong_shape("Ona's listing does not end: it gave a page token twice.", body)
            tokens.add(token)

    def probe(self) -> str:
        """Ask for one run of today."""
        today = Day.containing(datetime.now(UTC), self.account.zone)
        _, page, _ = self._ask(today, 1, "", Counter())
        found = "a run" if page.rows or page.rejected else "no run yet"
        return f"Ona accepts the credential and lists {found} that ended today."

    def _ask(self, day: Day, size: int, token: str, nameless: Counter[str]) -> tuple[bytes, Page, str]:
        """Return an answer as it came, the page in it, and the next page's token, "" after the last."""
        body = self.http.post(LIST, request(day, size, token))
        try:
            page, following = page_of(body, day, nameless)
        except NotPromised as error:
            raise self.http.wrong_shape(f"Ona's answer is not a page of runs: {error}.", body) from None
        return body, page, following


def request(day: Day, size: int, token: str) -> bytes:
    """Return the body that asks for one page; the range is half-open, as the portal's own are."""
    start, end = (instant.isoformat().replace("+00:00", "Z") for instant in (day.start, day.end))
    pagination = {"pageSize": size, "token": token} if token else {"pageSize": size}
    return encode({"filter": {"dateRange": {"startTime": start, "endTime": end}}, "pagination": pagination})
