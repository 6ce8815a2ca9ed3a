"""Ona's listing, served from the portal's records: over Connect, in JSON and in protobuf, as contracts.md has it.

What is assumed of the vendor is named in connect.py, which the stand-in answers by too. Pages go by the end of
the run, then by the portal's number of it. A token is the place of the last record given, sealed together with
the filter it was given for: it stays good while days are read again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from django.core import signing
from django.db.models import F, QuerySet
from django.db.models.fields.tuple_lookups import TupleGreaterThan

from sync.vendors.mirror import Answered, VendorMirror
from sync.vendors.mirror import Asked as Request
from sync.vendors.ona import connect, protobuf
from sync.vendors.ona.connect import CODE, JSON, PROTO, STATUS, Asked, Refused, nanoseconds
from sync.vendors.ona.openapi import DESCRIBED
from usage.models import EnvironmentUsage

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FIRST: Final = datetime.min.replace(tzinfo=UTC)
LAST: Final = datetime.max.replace(tzinfo=UTC)
MICROSECOND: Final = 1000  # nanoseconds
NAMELESS: Final = "~"  # how the portal names records that the vendor gave no id
COLUMNS: Final = (
    "id",
    "record_id",
    "environment_id",
    "user_id",
    "project_id",
    "runner_id",
    "environment_class_id",
    "created_at",
    "stopped_at",
    "extra",
)


class Run(NamedTuple):
    """One record as the vendor has it; instants in nanoseconds since 1970, `extra` as the portal keeps it."""

    place: tuple[datetime, int]
    id: str
    references: tuple[str, ...]
    created_at: int | None
    stopped_at: int
    extra: dict[str, Any]

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> "Run":
        """Return the record that the columns `COLUMNS` stand for."""
        key, record_id, *references, created_at, stopped_at, extra = row
        return cls(
            (stopped_at, key),
            "" if record_id.startswith(NAMELESS) else record_id,
            tuple(references),
            exact(extra.get("createdAt"), created_at) if created_at else None,
            exact(extra.get("stoppedAt"), stopped_at),
            extra,
        )

    def as_json(self) -> bytes:
        """Return the record as JSON, what is not set left out; fields the portal has no column for come last."""
        names = ("environmentId", "userId", "projectId", "runnerId", "environmentClassId")
        said: dict[str, Any] = {"id": self.id} if self.id else {}
        said |= {name: value for name, value in zip(names, self.references, strict=True) if value}
        if self.created_at is not None:
            said["createdAt"] = stamp(self.created_at)
        said["stoppedAt"] = stamp(self.stopped_at)
        return msgspec.json.encode(said | self.extra)

    def as_proto(self) -> bytes:
        """Return the record as an element of the protobuf answer, which has no place for unknown fields."""
        fields = enumerate(self.references, start=2)
        static = b"".join(protobuf.text(field, value) for field, value in fields)
        return protobuf.record(self.id, static, self.created_at, self.stopped_at)


class Mirror(VendorMirror):
    """Ona, from the records of one source."""

    paths = (f"/api{connect.LIST}",)
    described = DESCRIBED

    def answer(self, asked: Request) -> Answered:
        """Answer a listing, or refuse it with a Connect error."""
        if asked.method != "POST":
            return Answered(405, b"", headers={"Allow": "POST"})
        content_type = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type not in (JSON, PROTO):
            return Answered(415, b"", headers={"Accept-Post": f"{JSON}, {PROTO}"})
        try:
            ask = connect.asked(content_type, asked.body, asked.query)
            runs, token = Listing(self.source.pk, ask).page()
        except Refused as refused:
            return Answered(STATUS[refused.code], connect.error(refused.code, str(refused)))
        write = json_page if content_type == JSON else proto_page
        return Answered(200, write(runs, token), content_type, span=(ceiling(ask.start), ceiling(ask.end)))

    @classmethod
    def refuse(cls, status: int, message: str) -> Answered:
        """Answer with a Connect error."""
        return Answered(status, connect.error(CODE.get(status, "unknown"), message))


@dataclass(frozen=True, slots=True)
class Listing:
    """What one request asks for of the records of one source."""

    source_id: int
    ask: Asked

    @property
    def signer(self) -> signing.Signer:
        """What seals the tokens of this filter."""
        question = repr((self.source_id, self.ask.start, self.ask.end, self.ask.project_id))
        return signing.Signer(salt=f"sync.vendors.ona.mirror:{question}", sep=".")

    def page(self) -> tuple[list[Run], str]:
        """Return the records of the page asked for and the token of the next, "" after the last.

        Raises Refused for a token that was not given for this filter.
        """
        after = self.position() if self.ask.token else None
        runs: list[Run] = []
        for run in self.listed(after):
            if len(runs) == self.ask.size:
                return runs, self.token(runs[-1])
            runs.append(run)
        return runs, ""

    def listed(self, after: tuple[datetime, int] | None) -> Iterator[Run]:
        """Yield the records behind a place, one more than a page holds at a time."""
        number = self.ask.size + 1
        while True:
            rows = list(self.rows(after)[:number])
            for row in rows:
                run = Run.of(row)
                after = run.place
                # The columns are cut to microseconds; at the range's edges only the whole time tells.
                if self.ask.start <= run.stopped_at < self.ask.end:
                    yield run
            if len(rows) < number:
                return

    def rows(self, after: tuple[datetime, int] | None) -> QuerySet[Any]:
        """Return the rows that stopped within the range, to the microsecond, behind a place."""
        found = EnvironmentUsage.objects.current().filter(
            source=self.source_id, stopped_at__gte=floor(self.ask.start), stopped_at__lt=ceiling(self.ask.end)
        )
        if self.ask.project_id:
            found = found.filter(project_id=self.ask.project_id)
        if after is not None:
            found = found.filter(TupleGreaterThan((F("stopped_at"), F("id")), after))
        return found.order_by("stopped_at", "id").values_list(*COLUMNS)

    def token(self, last: Run) -> str:
        """Return the token of the page behind a record."""
        stopped_at, key = last.place
        return self.signer.sign_object([stopped_at.isoformat(), key])

    def position(self) -> tuple[datetime, int]:
        """Return the place that the token asked with leads to; raises Refused."""
        try:
            stopped_at, key = self.signer.unsign_object(self.ask.token)
        except (signing.BadSignature, ValueError):
            raise Refused("invalid_argument", "invalid pagination token") from None
        return datetime.fromisoformat(stopped_at), key


def exact(text: Any, instant: datetime) -> int:
    """Return an instant in nanoseconds: as the vendor wrote it, where a column could not hold that."""
    kept = nanoseconds(instant)
    if not isinstance(text, str):
        return kept
    digits = text.partition(".")[2][:9].rstrip("Zz")
    return kept - kept % 1_000_000_000 + int(digits.ljust(9, "0")) if digits.isascii() and digits.isdigit() else kept


def stamp(instant: int) -> str:
    """Return nanoseconds as RFC 3339, with as many digits as protobuf's JSON writes: 0, 3, 6 or 9."""
    seconds, nanos = divmod(instant, 1_000_000_000)
    text = f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"
    digits = f"{nanos:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z" if digits else f"{text}Z"


def floor(instant: int) -> datetime:
    """Return nanoseconds as an instant, cut to microseconds; what no calendar holds is its nearest end."""
    try:
        return EPOCH + timedelta(microseconds=instant // MICROSECOND)
    except OverflowError:
        return LAST if instant > 0 else FIRST


def ceiling(instant: int) -> datetime:
    """Return nanoseconds as an instant, the part of a microsecond rounded up."""
    return floor(instant + MICROSECOND - 1)


def json_page(runs: Sequence[Run], token: str) -> bytes:
    """Return a page; after the last one the token is left out, as the vendor leaves out what is not set."""
    pagination = b'{"nextToken":%b}' % msgspec.json.encode(token) if token else b"{}"
    return b'{"pagination":%b,"records":[%b]}' % (pagination, b",".join(run.as_json() for run in runs))


def proto_page(runs: Sequence[Run], token: str) -> bytes:
    """Return a page in protobuf."""
    return protobuf.list_response(b"".join(run.as_proto() for run in runs), token)
