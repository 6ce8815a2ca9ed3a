"""Spool: the rows of one read, digested as they arrive and kept in a local file until the merge copies them.

No state of a read is on a database connection before the merge's transaction, so a pooler may switch connections at
any time. Rows are stored as the MessagePack that the digest is made of: the first megabytes in memory, more in an
unnamed file. A day that comes back unchanged is recognised by its digest and never decoded.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from struct import unpack
from tempfile import SpooledTemporaryFile
from types import GenericAlias, TracebackType
from typing import Any, Self, get_type_hints

import msgspec
from django.db import connection, models

from sync.errors import SpoolError
from sync.vendors.base import Rejection
from usage.models import UsageRecord

BYTES_IN_MEMORY = 8 * 1024 * 1024
ROWS_PER_BLOCK = 5_000
REJECTED_KEPT = 1_000
# MessagePack's header of an array with a 4-byte length, and the length prefix of a block.
ARRAY = b"\xdd"
LENGTH = 4

# Column types as psycopg's binary dumpers know them. JSON travels as text and is cast by the merge.
WIRE_TYPES = {
    "timestamp with time zone": "timestamptz",
    "bigint": "int8",
    "jsonb": "text",
    "text": "text",
    "uuid": "uuid",
    "numeric": "numeric",
}

_encode = msgspec.msgpack.Encoder().encode


def get_wire_columns(kind: type[UsageRecord]) -> dict[str, str]:
    """Return the columns a reader fills, in COPY order, with their types on the wire."""
    fields = kind.row._fields  # type: ignore[attr-defined]
    return {name: WIRE_TYPES[str(kind._meta.get_field(name).db_type(connection))] for name in fields}


def get_decoder(kind: type[UsageRecord]) -> msgspec.msgpack.Decoder[list[tuple[Any, ...]]]:
    """Return the decoder of a block; plain tuples are faster to make than named tuples."""
    row = GenericAlias(tuple, tuple(get_type_hints(kind.row).values()))
    return msgspec.msgpack.Decoder(GenericAlias(list, (row,)))


def build_spooled_values(kind: type[UsageRecord]) -> dict[str, str]:
    """Return, by column, the SQL of the value of a spooled row `n` as the table stores it."""
    json = {field.name for field in kind._meta.fields if isinstance(field, models.JSONField)}
    return {name: f"COALESCE(n.{name}::jsonb, '{{}}')" if name in json else f"n.{name}" for name in kind.row._fields}  # type: ignore[attr-defined]


class Digest:
    """A digest of a multiset of rows: the same rows in any order give the same digest."""

    def __init__(self) -> None:
        self.total = 0
        self.count = 0

    def add(self, rows: Sequence[bytes]) -> None:
        digests = b"".join([blake2b(row, digest_size=16).digest() for row in rows])
        # All numbers at once: one by one takes longer than the hashes.
        halves = unpack(f"<{2 * len(rows)}Q", digests)
        self.total += sum(halves[::2]) + (sum(halves[1::2]) << 64)
        self.count += len(rows)

    def hexdigest(self) -> str:
        """Return 32 hexadecimal digits."""
        state = f"{self.count}:{self.total % (1 << 128)}"
        return blake2b(state.encode(), digest_size=16).hexdigest()


class Spool:
    """The rows and rejected records of one read of one day; its file is gone when it is closed."""

    def __init__(self, kind: type[UsageRecord]) -> None:
        self.kind = kind
        self.digest = Digest()
        self.rejected: dict[str, Rejection] = {}
        self.rejected_digest = Digest()
        # Python opens it with mode 0600 and unlinks it at once.
        self._file = SpooledTemporaryFile(BYTES_IN_MEMORY)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing flushes a buffer, which fails on a full disk; the file is not read any more.
        with suppress(OSError):
            self._file.close()

    @property
    def rejected_count(self) -> int:
        """How many records were rejected, including those that are not kept."""
        return self.rejected_digest.count

    @property
    def fetched(self) -> int:
        """How many records the vendor returned, including rejected records."""
        return self.digest.count + self.rejected_count

    def add(self, rows: Sequence[tuple[Any, ...]], rejected: Sequence[Rejection] = ()) -> None:
        """Add one page; raises SpoolError where the disk is full."""
        encoded = [_encode(row) for row in rows]
        self.digest.add(encoded)
        for start in range(0, len(encoded), ROWS_PER_BLOCK):
            self._write_block(encoded[start : start + ROWS_PER_BLOCK])
        self.rejected_digest.add([record.digest.encode() for record in rejected])
        for record in rejected:
            if len(self.rejected) < REJECTED_KEPT:
                self.rejected[record.digest] = record

    def clear(self) -> None:
        """Drop what was read so far: the listing is read again from its start."""
        self.digest, self.rejected, self.rejected_digest = Digest(), {}, Digest()
        self._file.seek(0)
        self._file.truncate()

    def hexdigest(self) -> str:
        """Return the digest of all rows and of what was rejected."""
        if not self.rejected:
            return self.digest.hexdigest()
        state = f"{self.digest.hexdigest()}:{self.rejected_digest.hexdigest()}"
        return blake2b(state.encode(), digest_size=16).hexdigest()

    def describe_rejected(self) -> str:
        """Return a digest of all rejected records in any order; "" without any."""
        return self.rejected_digest.hexdigest() if self.rejected else ""

    def read_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows in the order in which they came."""
        decode = get_decoder(self.kind).decode
        try:
            self._file.seek(0)
            while length := self._file.read(LENGTH):
                yield from decode(self._file.read(int.from_bytes(length, "big")))
        except OSError as error:
            raise SpoolError(error) from None

    def _write_block(self, rows: Sequence[bytes]) -> None:
        block = b"".join((ARRAY, len(rows).to_bytes(4, "big"), *rows))
        try:
            self._file.write(len(block).to_bytes(LENGTH, "big") + block)
        except OSError as error:
            raise SpoolError(error) from None
