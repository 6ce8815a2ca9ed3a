"""Ona: completed environment runs, read page by page."""

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from time import monotonic
from typing import Annotated, Any

import msgspec

from sync.errors import ListingChanged
from sync.http import MAX_CONCURRENT, VendorHTTP
from sync.vendors.base import Comparison, Page, Pages, VendorReader
from sync.vendors.names import NameListing
from sync.vendors.ona.connect import LIST
from sync.vendors.ona.directory import DirectoryReader
from sync.vendors.ona.instants import build_date_range
from sync.vendors.ona.mapping import NotAPage, parse_page
from sync.vendors.ona.runtime import RuntimeSum, compare_runtime
from usage.days import Day
from usage.models import EnvironmentUsage

PAGE_SIZE = 100  # the vendor's maximum
MAX_EMPTY_PAGES = 100  # assumed: a listing with more empty pages in a row never ends
SLOW_PAGE_SECONDS = 0.025  # a vendor that takes longer for a page is read in parts, side by side
PART_COUNT = 8  # more than are read at once, since most runs end in working hours
BUCKETS = 256
NAMELESS = EnvironmentUsage.nameless_prefix
NAMELESS_LENGTH = len(NAMELESS) + 32  # equal records without an id differ only in the number behind

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
            le=MAX_CONCURRENT,
            title="Requests at once",
            description="How many requests one worker may have under way for a large day that is not final yet. More "
            "is faster where the vendor is far away; 1 reads every day in one listing.",
        ),
    ] = 2


class Reader(VendorReader):
    """Lists the environments that stopped on a day; running environments are not listed, so today grows."""

    kind = EnvironmentUsage
    title = "Ona"
    hosts = ("app.gitpod.io", "app.ona.com")
    base_url = "https://app.gitpod.io/api"
    options_type = Options
    _duplicates_fingerprint: int | None = None  # of the last listing with a record that came twice

    @classmethod
    def build_authorization(cls, credential: str) -> str:
        return f"Bearer {credential.strip()}"

    def pages(self, day: Day) -> Pages:
        """Yield the runs that stopped in `[day.start, day.end)`, in the vendor's order.

        A page is requested by the token of the page before, so a large day of a distant vendor is mostly waiting. Such
        a day is read in parts, `requests_at_once` of them side by side; what changes meanwhile is read again while the
        day is provisional. Raises InvalidResponse for an answer that is no page, a page token that came before, and a
        full page without pagination. The vendor has no checksum, only a total of runtime (runtime.py).
        """
        if self.can_be_final(day):
            return (yield from self._read_final(day))
        listing = Listing(self.http, day, Counter())
        first = listing.read_page()
        started = monotonic()
        second = None if listing.has_ended else listing.read_page()
        is_slow = monotonic() - started > SLOW_PAGE_SECONDS
        if second and not listing.has_ended and is_slow and self.options.requests_at_once > 1:
            # The parts include the pages read so far.
            yield from read_side_by_side(self.http, day, self.options.requests_at_once)
            return Comparison()
        yield first
        if second:
            yield second
        while not listing.has_ended:
            yield listing.read_page()
        return Comparison()

    def _read_final(self, day: Day) -> Pages:
        """Yield the runs of a day that will not be read again by itself, and compare their runtime with the vendor's.

        The day is one listing: parts are listed at different moments, and together may be a day that never was.
        **Assumed**, the vendor being silent: a page token stands for a place in the order of the records, so a run
        that comes or goes meanwhile moves no other run over a page's border. A run that comes twice shows that this
        does not hold. Then ListingChanged is raised, until two readings agree.
        """
        listing, total, duplicates = Listing(self.http, day, Counter()), RuntimeSum(), DuplicateDetector()
        while not listing.has_ended:
            page = listing.read_page()
            total.add(page)
            duplicates.add(page.rows)
            yield page
        has_duplicates = duplicates.has_duplicates()
        if has_duplicates and self._duplicates_fingerprint != duplicates.fingerprint:
            self._duplicates_fingerprint = duplicates.fingerprint
            raise ListingChanged("Ona's listing changed while it was paged through: a record came twice.")
        return compare_runtime(self.http, day, total, "Some records came twice." if has_duplicates else "")

    def directory(self) -> Iterator[NameListing]:
        return DirectoryReader(self.http).read()

    def probe(self) -> str:
        """Request one run of today."""
        today = Day.containing(datetime.now(UTC), self.account.zone)
        page = Listing(self.http, today, Counter(), page_size=1).read_page()
        runs = "a run" if page.rows or page.rejected else "no run yet"
        return f"Ona accepts the credential and lists {runs} that ended today."


class Listing:
    """Reads the pages of `[span.start, span.end)` one after the other.

    `nameless` counts the records without an id, over all listings of one read.
    """

    def __init__(self, http: VendorHTTP, span: Day, nameless: Counter[str], page_size: int = PAGE_SIZE) -> None:
        self.http = http
        self.span = span
        self.nameless = nameless
        self.page_size = page_size
        self.has_ended = False
        self._token = ""
        self._tokens: set[str] = set()
        self._empty_pages = 0
        self._pending: Callable[[], bytes] | None = None

    def request_ahead(self) -> None:
        """Request the next page in the background."""
        self._pending = self.http.post_ahead(LIST, encode_request(self.span, self.page_size, self._token))

    def read_page(self) -> Page:
        """Return the next page, from the request in the background where there is one."""
        pending, self._pending = self._pending, None
        request = encode_request(self.span, self.page_size, self._token)
        body = pending() if pending else self.http.post(LIST, request)
        try:
            page, token = parse_page(body, self.span, self.nameless)
        except NotAPage as error:
            raise self.http.build_invalid_response(f"Ona's answer is not a page of runs: {error}.", body) from None
        if token is None and len(page.rows) + len(page.rejected) >= self.page_size:
            # Whether more follow is in the pagination: without it a full page looks like the last page.
            reason = "Ona's answer is not a page of runs: it is full and has no pagination."
            raise self.http.build_invalid_response(reason, body)
        self._token = token or ""
        self._check_end(page, body)
        return page

    def _check_end(self, page: Page, body: bytes) -> None:
        """Set `has_ended`; raises InvalidResponse for a listing without an end."""
        self.has_ended = not self._token
        self._empty_pages = 0 if page.rows or page.rejected else self._empty_pages + 1
        if self._token in self._tokens:
            raise self.http.build_invalid_response("Ona's listing does not end: it gave a page token twice.", body)
        if self._empty_pages > MAX_EMPTY_PAGES:
            raise self.http.build_invalid_response(
                f"Ona's listing does not end: {self._empty_pages} empty pages in a row.", body
            )
        if self._token:
            self._tokens.add(self._token)


class DuplicateDetector:
    """Detects a run that comes twice in one listing: then the listing changed while it was paged through.

    Remembers the ids, eight bytes each; `fingerprint` is the sum of the hashes of its rows.
    """

    def __init__(self) -> None:
        self.fingerprint = 0
        self._hashes = [array("q") for _ in range(BUCKETS)]

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        for row in rows:
            record_id = row[0]
            number = hash(record_id[:NAMELESS_LENGTH] if record_id.startswith(NAMELESS) else record_id)
            self._hashes[number % BUCKETS].append(number)
            self.fingerprint += hash(row)

    def has_duplicates(self) -> bool:
        """Return whether a record came more than once."""
        return any(len(set(hashes)) < len(hashes) for hashes in self._hashes)


def read_side_by_side(http: VendorHTTP, day: Day, at_once: int) -> Iterator[Page]:
    """Yield the pages of a day whose parts are read `at_once` at a time, each at most one page ahead."""
    nameless: Counter[str] = Counter()
    waiting = (Listing(http, part, nameless) for part in split_day(day))
    active = deque(islice(waiting, at_once))
    for listing in active:
        listing.request_ahead()
    while active:
        listing = active.popleft()
        page = listing.read_page()
        following = next(waiting, None) if listing.has_ended else listing
        if following:
            following.request_ahead()
            active.append(following)
        yield page


def split_day(day: Day) -> list[Day]:
    """Return PART_COUNT half-open ranges that together are the day."""
    step = (day.end - day.start) / PART_COUNT
    starts = [day.start + number * step for number in range(PART_COUNT)]
    return [replace(day, start=start, end=end) for start, end in zip(starts, [*starts[1:], day.end], strict=True)]


def encode_request(day: Day, page_size: int, token: str) -> bytes:
    """Return the body that requests one page; the vendor's range is half-open too."""
    pagination = {"pageSize": page_size, "token": token} if token else {"pageSize": page_size}
    return encode({"filter": {"dateRange": build_date_range(day)}, "pagination": pagination})
