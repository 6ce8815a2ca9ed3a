"""What a vendor's folder is made of: the base classes of readers and mirrors, and the types that they exchange."""

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

import msgspec

from sync.api_messages import APIRequest, APIResponse
from sync.errors import OptionsError
from sync.http import VendorHTTP
from sync.vendors.names import NameListing
from usage.days import Day
from usage.models import Source, UsageRecord, Verification


@dataclass(frozen=True, slots=True)
class Rejection:
    """A single record that cannot be kept: the payload as the vendor sent it (JSON text), and why.

    `digest`: of the full payload, 32 hexadecimal digits, where `payload` is only its beginning.
    """

    payload: str
    reason: str
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(
                self, "digest", blake2b(self.payload.encode(errors="replace"), digest_size=16).hexdigest()
            )


@dataclass(slots=True)
class Page:
    """The content of one answer: rows of the kind's `Row` type, and the records that were rejected."""

    rows: Sequence[tuple[Any, ...]]
    rejected: Sequence[Rejection] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a day that was read to its end compares with the vendor's own checksum.

    `differences`: one JSON-ready object per mismatch, `{"what", "vendor", "portal"}` plus what locates it, numbers as
    strings with all their digits. `witness`: a second figure of the vendor that can confirm a day but not refute it,
    JSON-ready: `{"endpoint", "vendor", "portal", "unit", "agrees"}`, the figures as strings. Its `vendor` is None where
    the vendor sent none, its `reason` says why there is no comparison.
    """

    verification: Verification = Verification.NONE
    differences: list[dict[str, Any]] = field(default_factory=list)
    witness: dict[str, Any] | None = None

    @classmethod
    def from_differences(cls, differences: Iterable[dict[str, Any]]) -> Self:
        """Return `verified` for no difference, else `unverified` with up to MAX_DIFFERENCES and how many more."""
        remaining = iter(differences)
        listed = list(islice(remaining, MAX_DIFFERENCES))
        if more := sum(1 for _ in remaining):
            listed.append({"what": "further differences", "vendor": None, "portal": None, "count": more})
        return cls(Verification.UNVERIFIED if listed else Verification.VERIFIED, listed)


# Which option msgspec's message is about: `… - at `$.name``; a vendor's own check begins with `name: …`.
OPTION_PATH = re.compile(r" - at `\$\.(?P<path>\w+)[^`]*`$|^(?P<prefix>\w+): ")


def split_option(message: str) -> tuple[str, str]:
    """Return the option that msgspec's `message` is about, "" where it names none, and the problem itself."""
    match = OPTION_PATH.search(message)
    if match is None:
        return "", message.replace("`", "")
    return match["path"] or match["prefix"], OPTION_PATH.sub("", message).strip().replace("`", "")


class NoOptions(msgspec.Struct, forbid_unknown_fields=True):
    """The options of a vendor that has none."""


@dataclass(frozen=True, slots=True)
class Account:
    """The source as its reader gets it; `opened_at`: when the reader was opened, by the database's clock."""

    slug: str
    zone: ZoneInfo
    options: Mapping[str, Any]
    look_back_days: int = 3
    opened_at: datetime = field(default_factory=lambda: datetime.now(UTC))


Pages = Generator[Page, None, Comparison]

MAX_DIFFERENCES = 100
# A read begins a moment after its reader was opened, and may be the first that is final.
FINAL_MARGIN = timedelta(minutes=5)


class VendorReader(ABC):
    """Reads one vendor's usage; each vendor folder has a `Reader` in `reader.py`.

    A reader is made for one read of one day by `Reader(account, http)` and keeps no state between days. It raises the
    errors of sync/errors.py and never retries: `VendorHTTP` does that. docs/adding-a-vendor.md shows a complete reader.
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
        self.options = self.parse_options(account.options)

    @classmethod
    def parse_options(cls, options: Mapping[str, Any]) -> Any:
        """Return `options` as `options_type`; raises OptionsError that names the option and what is allowed."""
        try:
            return msgspec.convert(dict(options), cls.options_type, strict=False)
        except msgspec.ValidationError as error:
            option, problem = split_option(str(error))
            raise OptionsError(cls.title, option, problem) from None

    @classmethod
    @abstractmethod
    def build_authorization(cls, credential: str) -> str:
        """Return the value of the Authorization header for `credential`."""

    def can_be_final(self, day: Day) -> bool:
        """Return whether a read of `day` can be final: its look-back and that of its month have passed."""
        return self.account.opened_at + FINAL_MARGIN >= day.final_from(self.account.look_back_days)

    @abstractmethod
    def pages(self, day: Day) -> Pages:
        """Yield the pages of `[day.start, day.end)` and return how they compare with the vendor's checksum."""

    def directory(self) -> Iterator[NameListing]:
        """Yield the vendor's listings of names, each in full (sync/vendors/names.py); a vendor may have none.

        A listing that the credential may not read is refused, which is no error.
        """
        yield from ()

    @abstractmethod
    def probe(self) -> str:
        """Make the cheapest request that proves address, credential and format; return one sentence of success.

        Raises the same errors as `pages`.
        """


class VendorMirror(ABC):
    """Answers for one source as its vendor would; a vendor folder may have a `Mirror` in `mirror.py`.

    `paths`: the vendor's own paths, with the path of its base URL in front.
    """

    paths: ClassVar[tuple[str, ...]]

    def __init__(self, source: Source) -> None:
        self.source = source

    @abstractmethod
    def respond(self, request: APIRequest) -> APIResponse:
        """Answer a request for one of `paths` from the portal's records."""

    @classmethod
    @abstractmethod
    def build_error(cls, status: int, message: str) -> APIResponse:
        """Return an error in the vendor's format: 400, 401, 403, 404, 405, 413, 415, 429, 500 or 503."""
