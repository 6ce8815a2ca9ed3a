"""Spool: the rows of one read, digested as they come and streamed by binary COPY into a temporary table.

A few thousand rows wait in memory at most, so a day of a million records needs no more of it than a small one,
and a day that comes back unchanged is often recognised before anything is sent to the database.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self

import msgspec
from django.db import DatabaseError, connection

from sync.vendors.base import Rejected
from usage.models import UsageRecord

ROWS_IN_MEMORY = 20_000
ROWS_PER_COPY = 5_000
REJECTED_KEPT = 1_000

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


@cache
def wire_columns(kind: type[UsageRecord]) -> dict[str, str]:
    """Return the columns a reader fills, in COPY order, with their types on the wire."""
    fields = kind.row._fields  # type: ignore[attr-defined]
    return {name: WIRE_TYPES[str(kind._meta.get_field(name).db_type(connection))] for name in fields}


class Digest:
    """A digest of a multiset of rows: the same rows in any order give the same digest."""

    def __init__(self) -> None:
        self.total = 0
        self.count = 0

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Take `rows` in."""
        self.total += sum(int.from_bytes(blake2b(_encode(row), digest_size=16).digest(), "little") for row in rows)
        self.count += len(rows)

    def hexdigest(self) -> str:
        """Return 32 hexadecimal digits."""
        state = f"{self.count}:{self.total % (1 << 128)}"
        return blake2b(state.encode(), digest_size=16).hexdigest()


class Spool:
    """The rows and rejected records of one read of one day; leaves no temporary table behind."""

    def __init__(self, kind: type[UsageRecord], *, expect_unchanged: bool) -> None:
        self.kind = kind
        self.table = f"spool_{kind._meta.model_name}"
        self.columns = wire_columns(kind)
        self.limit = ROWS_IN_MEMORY if expect_unchanged else ROWS_PER_COPY
        self.rows: list[tuple[Any, ...]] = []
        self.digest = Digest()
        self.rejected: dict[str, Rejected] = {}
        self.rejected_count = 0
        self.created = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.created:
            # After a lost connection there is no table left either.
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{self.table}")

    @property
    def fetched(self) -> int:
        """How many records the vendor gave, the rejected ones included."""
        return self.digest.count + self.rejected_count

    def add(self, rows: Sequence[tuple[Any, ...]], rejected: Sequence[Rejected] = ()) -> None:
        """Take one page in."""
        self.digest.add(rows)
        self.rows.extend(rows)
        for one in rejected:
            self.rejected_count += 1
            if len(self.rejected) < REJECTED_KEPT:
                self.rejected[blake2b(one.payload.encode(), digest_size=16).hexdigest()] = one
        if len(self.rows) >= self.limit:
            self.flush()
            self.limit = ROWS_PER_COPY

    def clear(self) -> None:
        """Forget what was read so far: the listing is read again from its start."""
        self.rows, self.digest, self.rejected, self.rejected_count = [], Digest(), {}, 0
        if self.created:
            with connection.cursor() as cursor:
                cursor.execute(f"TRUNCATE pg_temp.{self.table}")

    def hexdigest(self) -> str:
        """Return the digest of all rows and of what was rejected."""
        if not self.rejected:
            return self.digest.hexdigest()
        state = ":".join([self.digest.hexdigest(), str(self.rejected_count), *sorted(self.rejected)])
        return blake2b(state.encode(), digest_size=16).hexdigest()

    def flush(self) -> None:
        """Send the rows in memory to the temporary table, which is created when first needed."""
        names = ", ".join(self.columns)
        with connection.cursor() as cursor:
            if not self.created:
                columns = ", ".join(f"{name} {wire}" for name, wire in self.columns.items())
                cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{self.table}")
                cursor.execute(f"CREATE TEMPORARY TABLE {self.table} ({columns})")
                self.created = True
            if not self.rows:
                return
            with cursor.copy(f"COPY pg_temp.{self.table} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(list(self.columns.values()))
                write_row = copy.write_row
                for row in self.rows:
                    write_row(row)
        self.rows = []
