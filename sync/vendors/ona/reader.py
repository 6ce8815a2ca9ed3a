"""Ona: completed environment runs, read page by page (contracts.md, Ona)."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from time import monotonic
from typing import Annotated

import msgspec

from sync.http import AT_ONCE, VendorHTTP
from sync.vendors.base import Checked, Page, Pages, VendorReader
from sync.vendors.ona.records import NotPromised, page_of
from usage.days import Day
from usage.models import EnvironmentUsage

LIST = "/gitpod.v1.UsageService/ListEnvironmentUsageRecords"
PAGE_SIZE = 100  # the most the vendor gives
EMPTY_PAGES = 100  # assumed: a listing with so many pages in a row that hold nothing never ends
FAR_SECONDS = 0.025  # a vendor that takes longer for a page is read in parts, side by side
PARTS = 8  # more than are read at once, since most runs end in working hours

encode = msgspec.json.Encoder().encode


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """The options of an Ona source.

    `requests_at_once`: how many requests one worker may have under way for a day that is read in parts; 1 reads
    every day in one listing. At the vendor, up to `max_concurrency` times as many arrive at once.
    """

    requests_at_once: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=AT_ONCE,
            title="Requests at once",
            description="How many requests one worker may have under way for a large day. More is faster where the "
            "vendor is far away; 1 reads every day in one listing.",
        ),
    ] = 2


class Reader(VendorReader):
    """Lists the environments that stopped on a day; running ones are not listed, so today grows."""

    kind = EnvironmentUsage
    title = "Ona"
    hosts = ("app.gitpod.io", "app.ona.com")
    base_url = "https://app.gitpod.io/api"
    options_type = Options

    @classmethod
    def authorization(cls, credential: str) -> str:
        """Return the credential as a bearer token."""
        return f"Bearer {credential.strip()}"

    def pages(self, day: Day) -> Pages:
        """Yield the runs that stopped in `[day.start, day.end)`, in the vendor's own order.

        A page is asked for by the token of the one before, so a large day of a vendor far away is mostly waiting:
        it is read in parts of the day, `requests_at_once` of them side by side. Raises WrongShape for an answer
        that is none, and for a page token that was given before. The vendor gives no checksum.
        """
        listing = Listing(self.http, day, Counter())
        first = listing.page()
        asked = monotonic()
        second = None if listing.ended else listing.page()
        lanes = self.options.requests_at_once
        if second and not listing.ended and lanes > 1 and monotonic() - asked > FAR_SECONDS:
            # What was read so far is asked for again.
            yield from side_by_side(self.http, day, lanes)
            return Checked()
        yield first
        if second:
            yield second
        while not listing.ended:
            yield listing.page()
        return Checked()

    def probe(self) -> str:
        """Ask for one run of today."""
        today = Day.containing(datetime.now(UTC), self.account.zone)
        page = Listing(self.http, today, Counter(), size=1).page()
        found = "a run" if page.rows or page.rejected else "no run yet"
        return f"Ona accepts the credential and lists {found} that ended today."


class Listing:
    """A walk over the pages of `[span.start, span.end)`; `ended` once the last one was taken.

    `nameless` counts the records without an id, over all listings of one read.
    """

    def __init__(self, http: VendorHTTP, span: Day, nameless: Counter[str], size: int = PAGE_SIZE) -> None:
        self.http = http
        self.span = span
        self.nameless = nameless
        self.size = size
        self.ended = False
        self._token = ""
        self._given: set[str] = set()
        self._empty = 0
        self._under_way: Callable[[], bytes] | None = None

    def ask_ahead(self) -> None:
        """Ask for the next page in the background."""
        self._under_way = self.http.post_ahead(LIST, request(self.span, self.size, self._token))

    def page(self) -> Page:
        """Return the next page: the one that is under way, or else asked for now."""
        answer, self._under_way = self._under_way, None
        body = answer() if answer else self.http.post(LIST, request(self.span, self.size, self._token))
        try:
            page, self._token = page_of(body, self.span, self.nameless)
        except NotPromised as error:
            raise self.http.wrong_shape(f"Ona's answer is not a page of runs: {error}.", body) from None
        self._check(page, body)
        return page

    def _check(self, page: Page, body: bytes) -> None:
        """Note whether the listing has ended; raises WrongShape where it never will."""
        self.ended = not self._token
        self._empty = 0 if page.rows or page.rejected else self._empty + 1
        if self._token in self._given:
            raise self.http.wrong_shape("Ona's listing does not end: it gave a page token twice.", body)
        if self._empty > EMPTY_PAGES:
            raise self.http.wrong_shape(f"Ona's listing does not end: {self._empty} empty pages in a row.", body)
        if self._token:
            self._given.add(self._token)


def side_by_side(http: VendorHTTP, day: Day, at_once: int) -> Iterator[Page]:
    """Yield the pages of a day whose parts are read `at_once` at a time; none of them is more than a page ahead."""
    nameless: Counter[str] = Counter()
    waiting = (Listing(http, part, nameless) for part in parts(day))
    lanes = deque(islice(waiting, at_once))
    for listing in lanes:
        listing.ask_ahead()
    while lanes:
        listing = lanes.popleft()
        page = listing.page()
        following = next(waiting, None) if listing.ended else listing
        if following:
            following.ask_ahead()
            lanes.append(following)
        yield page


def parts(day: Day) -> list[Day]:
    """Return PARTS half-open ranges that together are the day."""
    step = (day.end - day.start) / PARTS
    starts = [day.start + number * step for number in range(PARTS)]
    return [replace(day, start=start, end=end) for start, end in zip(starts, [*starts[1:], day.end], strict=True)]


def request(day: Day, size: int, token: str) -> bytes:
    """Return the body that asks for one page; the range is half-open, as the portal's own are."""
    start, end = (instant.isoformat().replace("+00:00", "Z") for instant in (day.start, day.end))
    pagination = {"pageSize": size, "token": token} if token else {"pageSize": size}
    return encode({"filter": {"dateRange": {"startTime": start, "endTime": end}}, "pagination": pagination})
