"""What the engine asks of a vendor: pages of rows for a day, and a word on whether they add up."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec

from sync.http import VendorHTTP
from usage.days import Day
from usage.models import UsageRecord, Verification


@dataclass(frozen=True, slots=True)
class Rejected:
    """A single record that cannot be kept: the payload as the vendor sent it (JSON text), and why."""

    payload: str
    reason: str


@dataclass(slots=True)
class Page:
    """What one answer of the vendor holds: rows of the kind's `Row` type, and records that were rejected."""

    rows: Sequence[tuple[Any, ...]]
    rejected: Sequence[Rejected] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of comparing a fully read day with the vendor's own checksum.

    `differences`: one JSON-ready object per mismatch, `{"what", "vendor", "portal"}` plus what locates it,
    numbers as strings with all their digits.
    """

    verification: Verification = Verification.NONE
    differences: list[dict[str, Any]] = field(default_factory=list)


class NoOptions(msgspec.Struct, forbid_unknown_fields=True):
    """The options of a vendor that has none."""


@dataclass(frozen=True, slots=True)
class Account:
    """What a reader knows of its source."""

    slug: str
    zone: ZoneInfo
    options: Mapping[str, Any]


Pages = Generator[Page, None, Checked]


class VendorReader(ABC):
    """Reads one vendor's usage; each vendor folder has one, named `Reader`, in `reader.py`.

    A reader is made for one read of one day by `Reader(account, http)` and keeps no state between days. It
    raises the errors of sync/errors.py and never retries by itself: `VendorHTTP` does that.
    """

    kind: ClassVar[type[UsageRecord]]
    title: ClassVar[str]
    hosts: ClassVar[tuple[str, ...]]
    base_url: ClassVar[str]
    time_zone: ClassVar[str | None] = None  # set where the vendor's days are of one zone only
    options_type: ClassVar[type[msgspec.Struct]] = NoOptions
    requests_per_minute: ClassVar[int | None] = None  # what the vendor documents, the default of a new source

    def __init__(self, account: Account, http: VendorHTTP) -> None:
        """Raise SyncError where the source's options are not what `options_type` allows."""
        self.account = account
        self.http = http
        self.options = self.checked_options(account.options)

    @classmethod
    def checked_options(cls, options: Mapping[str, Any]) -> Any:
        """Return `options` as `options_type`; raises SyncError that names the field and what is allowed."""
        from sync.errors import SyncError

        try:
            return msgspec.convert(dict(options), cls.options_type, strict=False)
        except msgspec.ValidationError as error:
            raise SyncError(f"Options of {cls.title}: {error}") from None

    @classmethod
    @abstractmethod
    def authorization(cls, credential: str) -> str:
        """Return the value of the Authorization header for `credential`."""

    @abstractmethod
    def pages(self, day: Day) -> Pages:
        """Yield the pages of `[day.start, day.end)` and return how they compare with the vendor's checksum."""

    @abstractmethod
    def probe(self) -> str:
        """Make the cheapest request that proves address, credential and shape; return one sentence of success.

        Raises the same errors as `pages`.
        """
