"""The rows of an export, as PostgreSQL renders them (COPY … TO STDOUT)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from usage.columns import CELL_SQL, Column, Statement, build_cell_select, build_json_select
from usage.datetimes import UTC_ZONE
from usage.exports.about import Line
from usage.snapshot import Snapshot

BLOCK_BYTES = 64 * 1024
Record = bytes | memoryview
RFC_4180 = "(FORMAT csv, HEADER, ENCODING 'UTF8')"
# One column of JSON as CSV with a quote and a delimiter that JSON never holds raw, so nothing is escaped.
ONE_OBJECT_A_LINE = r"(FORMAT csv, DELIMITER E'\x02', QUOTE E'\x01', ENCODING 'UTF8')"


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """What is exported: the rows of `queryset`, in its order, in these columns, from one snapshot.

    `on_rows` receives the number of rows read so far, once a block, and may raise to end the export. `about`: what a
    file that has room for it says of itself. `zone`, `bom`: as ExportRequest has them.
    """

    snapshot: Snapshot
    queryset: QuerySet[Any]
    columns: Sequence[Column]
    on_rows: Callable[[int], None] | None = None
    about: Sequence[Line] = ()
    zone: ZoneInfo = UTC_ZONE
    bom: bool = False

    def read_csv(self, sql_by_kind: Mapping[str, str] = CELL_SQL) -> Iterator[list[Record]]:
        """Yield the header and the rows as records of CSV that end in LF, about 64 KB at a time."""
        return self._copy(build_cell_select(self.queryset, self.columns, sql_by_kind), RFC_4180, first=0)

    def read_records(self, sql_by_kind: Mapping[str, str] = CELL_SQL) -> Iterator[Record]:
        """Yield the records of `read_csv` one by one."""
        return chain.from_iterable(self.read_csv(sql_by_kind))

    def read_json(self) -> Iterator[list[Record]]:
        """Yield the rows as JSON objects that end in LF, about 64 KB at a time."""
        return self._copy(build_json_select(self.queryset, self.columns), ONE_OBJECT_A_LINE, first=1)

    def _copy(self, statement: Statement, options: str, first: int) -> Iterator[list[Record]]:
        copy_sql = f"COPY ({statement.sql}) TO STDOUT WITH {options}"
        with self.snapshot.connection.cursor() as cursor, cursor.copy(copy_sql, statement.params) as copy:
            number = first - 1
            for batch in batch_records(copy):
                number += len(batch)
                if self.on_rows is not None:
                    self.on_rows(number)
                yield batch
        if self.on_rows is not None:
            self.on_rows(max(number, 0))


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
