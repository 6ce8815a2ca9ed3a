"""The rows of an export, as PostgreSQL renders them (COPY … TO STDOUT)."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from usage.columns import CELL_SQL, Column, Statement, build_cell_select, build_json_select
from usage.datetimes import UTC_ZONE
from usage.exports.about import Line
from usage.exports.archive import ArchivedRange, Build
from usage.snapshot import Snapshot

BLOCK_BYTES = 64 * 1024
Record = bytes | memoryview
RFC_4180 = "(FORMAT csv, ENCODING 'UTF8')"
RFC_4180_HEADER = "(FORMAT csv, HEADER, ENCODING 'UTF8')"
# One column of JSON as CSV with a quote and a delimiter that JSON never has raw, so nothing is escaped.
ONE_OBJECT_A_LINE = r"(FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01', ENCODING 'UTF8')"


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """What is exported: the rows of `queryset`, in its order, in these columns, from one snapshot.

    `on_rows` receives the number of rows read so far, once a block, and may raise to end the export. `about`: the
    description in a format that has room for it. `zone`, `bom`: as ExportRequest has them. `archive`: the archived days
    that it touches.
    """

    snapshot: Snapshot
    queryset: QuerySet[Any]
    columns: Sequence[Column]
    on_rows: Callable[[int], None] | None = None
    about: Sequence[Line] = ()
    zone: ZoneInfo = UTC_ZONE
    bom: bool = False
    archive: ArchivedRange | None = None

    def read_csv(self, sql_by_kind: Mapping[str, str] = CELL_SQL) -> Iterator[list[Record]]:
        """Yield the header and the rows as records of CSV that end in LF, about 64 KB at a time."""

        def build(rows: QuerySet[Any]) -> Statement:
            return build_cell_select(rows, self.columns, sql_by_kind)

        return self._copy(self._build_statements(build), [RFC_4180_HEADER, RFC_4180], first=0)

    def read_records(self, sql_by_kind: Mapping[str, str] = CELL_SQL) -> Iterator[Record]:
        """Yield the records of `read_csv` one by one."""
        return chain.from_iterable(self.read_csv(sql_by_kind))

    def read_json(self) -> Iterator[list[Record]]:
        """Yield the rows as JSON objects that end in LF, about 64 KB at a time."""

        def build(rows: QuerySet[Any]) -> Statement:
            return build_json_select(rows, self.columns)

        return self._copy(self._build_statements(build), [ONE_OBJECT_A_LINE], first=1)

    def count_rows(self, most: int) -> int:
        """Return how many rows there are; stored rows are counted up to `most`."""
        rows = self.queryset.order_by().values("pk")[:most]
        with self.snapshot.share():
            number = rows.count()
        if self.archive is not None:
            number += self.archive.count_rows(self.queryset, self.snapshot.connection)
        return number

    def _build_statements(self, build: Build) -> Iterator[Statement]:
        if self.archive is None:
            yield build(self.queryset)
        else:
            paths = [column.path for column in self.columns]
            yield from self.archive.build_statements(self.snapshot, self.queryset, paths, build)

    def _copy(self, statements: Iterable[Statement], options: Sequence[str], first: int) -> Iterator[list[Record]]:
        """Yield the records of statements one after the other; `options`: of the first, and of those that follow."""
        number = first - 1
        with closing(self._open_copies(statements, options)) as copies:
            for batch in batch_records(chain.from_iterable(copies)):
                number += len(batch)
                if self.on_rows is not None:
                    self.on_rows(number)
                yield batch
        if self.on_rows is not None:
            self.on_rows(max(number, 0))

    def _open_copies(self, statements: Iterable[Statement], options: Sequence[str]) -> Generator[Iterable[Record]]:
        for statement, option in zip(statements, chain(options, repeat(options[-1])), strict=False):
            copy_sql = f"COPY ({statement.sql}) TO STDOUT WITH {option}"
            with self.snapshot.connection.cursor() as cursor, cursor.copy(copy_sql, statement.params) as copy:
                yield copy


def batch_records(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Gather records into lists of about 64 KB."""
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record)
        if size >= BLOCK_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
