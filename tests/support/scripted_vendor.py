"""A made-up vendor whose listing is a list in the test, read without HTTP."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sync.engine.load import load_next
from sync.engine.plan import ensure_days
from sync.http import HTTPStats
from sync.models import LoadAttempt
from sync.vendors.base import Account, Comparison, Page, Pages, Rejection, VendorReader
from usage.days import Day
from usage.models import KINDS, DayState, EnvironmentRow, EnvironmentUsage, Source, SourceDay
from usage.partitions import ensure_partitions

DAY = date(2026, 11, 3)


@dataclass
class Listing:
    """The records that the made-up vendor reports for each day, and what happens while they are read."""

    records: dict[date, list[Any]] = field(default_factory=dict)
    rejected: dict[date, list[Rejection]] = field(default_factory=dict)
    kind: type = EnvironmentUsage
    checks: list[Comparison] = field(default_factory=list)
    before_page: Callable[[Day, int], None] | None = None
    page_size: int = 100
    reads: int = 0


class NoHTTP:
    """A connection without HTTP."""

    def __init__(self) -> None:
        self.stats = HTTPStats()


def build_reader_class(listing: Listing) -> type[VendorReader]:
    """Return a reader class of `listing`."""

    class Reader(VendorReader):
        kind = listing.kind
        title = "Scripted"
        hosts = ("scripted.example",)
        base_url = "https://scripted.example"

        @classmethod
        def build_authorization(cls, credential: str) -> str:
            return credential

        def pages(self, day: Day) -> Pages:
            listing.reads += 1
            self.http.stats.requests += 1
            rows = list(listing.records.get(day.date, []))
            for start in range(0, max(len(rows), 1), listing.page_size):
                if listing.before_page is not None:
                    listing.before_page(day, start)
                yield Page(
                    rows[start : start + listing.page_size], listing.rejected.get(day.date, []) if start == 0 else []
                )
            return listing.checks.pop(0) if listing.checks else Comparison()

        def probe(self) -> str:
            return "fine"

    return Reader


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch) -> Listing:
    """A listing that the engine reads instead of any vendor's, for sources of the vendor `scripted`."""
    listing = Listing()

    @contextmanager
    def open_reader(source: Source, before_request: Any = None) -> Iterator[VendorReader]:
        account = Account(source.slug, source.zone, source.options)
        yield build_reader_class(listing)(account, NoHTTP())  # type: ignore[arg-type]

    monkeypatch.setattr("sync.engine.load.open_reader", open_reader)
    return listing


@pytest.fixture
def source(db: None) -> Source:
    """A source of the made-up vendor, whose history begins on DAY and stays provisional for years."""
    return make_source()


def make_source(slug: str = "scripted", **values: Any) -> Source:
    """Return a stored source of the made-up vendor."""
    defaults = {
        "vendor": "scripted",
        "base_url": "https://scripted.example",
        "credential": "secret",
        "backfill_from": DAY,
        "look_back_days": 3650,
    }
    return Source.objects.create(slug=slug, **(defaults | values))


def build_run(number: int, *, on: date = DAY, minutes: int = 30, **values: Any) -> EnvironmentRow:
    """Return the environment run `number`, which stopped at noon plus `number` seconds of `on`."""
    stopped = datetime(on.year, on.month, on.day, 12, tzinfo=UTC) + timedelta(seconds=number)
    run = EnvironmentRow(
        f"run-{number}",
        "env",
        "project",
        "user",
        "runner",
        "class",
        stopped - timedelta(minutes=minutes),
        stopped,
    )
    return run._replace(**values)


def read_day(source: Source, on: date = DAY) -> LoadAttempt:
    """Make one day due and load it; returns the attempt."""
    # Its vendor is made up, so planning does not know the kind.
    for kind in KINDS.values():
        ensure_partitions(kind, on, on + timedelta(days=1))
    ensure_days(source, on, on + timedelta(days=1))
    SourceDay.objects.filter(source=source, day=on).update(state=DayState.DUE, due_at=datetime(2020, 1, 1, tzinfo=UTC))
    SourceDay.objects.filter(source=source).exclude(day=on).update(due_at=datetime(2100, 1, 1, tzinfo=UTC))
    attempt = load_next(source.pk)
    assert attempt is not None
    return attempt


def get_revisions(source: Source, on: date = DAY) -> dict[str, int]:
    """Return the revision of every current record of a day by its id."""
    records = EnvironmentUsage.objects.current().filter(source=source, day=on)
    return dict(records.values_list("record_id", "revision"))
