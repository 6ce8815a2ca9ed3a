"""The totals of the stored records of one source day: counts, sums and a digest.

The digest is the sum of a hash of every current record's vendor columns, so it depends neither on an order nor on
settings of the session. It proves that the records are still those that the last merge stored.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import connection
from psycopg.sql import Literal

from usage.models import SourceDay, UsageRecord

# Of a record `t`: summed over the rows of an export it is the digest of their manifest (usage/exports/manifest.py).
RECORD_DIGEST = "('x' || left(md5(t.id || ':' || t.revision), 16))::bit(64)::bigint"


def format_digest(total: Any) -> str:
    """Return the digest of a manifest, from the sum of its RECORD_DIGEST."""
    return f"{int(total) % 2**64:016x}"


@dataclass(frozen=True, slots=True)
class StoredDay:
    """The records of a day as they are stored; `sums`: by measure or unit, as text with all their digits."""

    records: int
    withdrawn: int
    sums: dict[str, str]
    digest: str

    @classmethod
    def from_day(cls, day: SourceDay) -> "StoredDay":
        """Return what the last merge noted of a day."""
        return cls(day.records, day.withdrawn, day.sums, day.stored_digest)

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> "StoredDay":
        """Return the totals of a row of `build_totals`."""
        records, withdrawn, sums, digest = row
        return cls(records, withdrawn, msgspec.json.decode(sums), digest)

    def write_to(self, day: SourceDay) -> None:
        """Set it on the day, unsaved."""
        day.records, day.withdrawn, day.sums, day.stored_digest = self.records, self.withdrawn, self.sums, self.digest


def build_day_filter(kind: type[UsageRecord]) -> str:
    """Return the condition for the records `t` of one day; the bounds let the index on the instant serve it."""
    condition = "t.source_id = %(source)s AND t.day = %(day)s"
    if kind.instant == "day":
        return condition
    return f"{condition} AND t.{kind.instant} >= %(starts)s AND t.{kind.instant} < %(ends)s"


def build_parameters(day: SourceDay) -> dict[str, Any]:
    """Return the parameters of `build_day_filter`."""
    return {"source": day.source_id, "day": day.day, "starts": day.starts_at, "ends": day.ends_at}


def build_hash(kind: type[UsageRecord], columns: dict[str, str]) -> str:
    """Return the SQL of the hash of one record as a number; `columns`: the SQL of each vendor column.

    MD5 is the same on every version and machine, which PostgreSQL's own hash functions do not promise; 64 bits of it
    are enough to find damage. What is hashed is the record as PostgreSQL sends it in binary: it names each column's
    type, is cheaper than text, and depends on no setting of the session but its encoding, which Django sets.
    """
    types = {name: str(kind._meta.get_field(name).db_type(connection)) for name in columns}
    values = {
        name: f"trim_scale({sql})" if types[name] == "numeric" else f"({sql})::{types[name]}"
        for name, sql in columns.items()
    }
    return f"('x' || left(md5({build_record_bytes(kind, values)}), 16))::bit(64)::bigint"


def build_record_bytes(kind: type[UsageRecord], values: dict[str, str]) -> str:
    """Return the SQL of the hashed bytes of a record; `values`: the SQL of each column.

    A column that was added since days are stored counts only where it differs from its default: it changes no digest
    of the days before.
    """
    first = ", ".join(sql for name, sql in values.items() if name not in kind.added)
    added_columns = "".join(
        f" || CASE WHEN {values[name]} IS DISTINCT FROM {write_default(kind, name)} "
        f"THEN record_send(ROW('{name}'::text, {values[name]})) ELSE ''::bytea END"
        for name in kind.added
        if name in values
    )
    return f"record_send(ROW({first})){added_columns}"


def write_default(kind: type[UsageRecord], name: str) -> str:
    """Return the default of a column as SQL."""
    field: Any = kind._meta.get_field(name)
    default = field.get_db_prep_value(field.get_default(), connection)
    return f"{Literal(default).as_string()}::{field.db_type(connection)}"


def fill_default(kind: type[UsageRecord], name: str, sql: str) -> str:
    """Return the SQL of a column's value in the lake: older files lack a column that was added."""
    return f"coalesce({sql}, {write_default(kind, name)})" if name in kind.added else sql


def build_digest(count: str, hashes: str) -> str:
    """Return the SQL of the digest of records by their number and the sum of their hashes, NULL for none."""
    return f"md5(({count})::text || ':' || COALESCE({hashes}, 0)::text)"


def build_row_hash(kind: type[UsageRecord]) -> str:
    """Return the SQL of the hash of one stored record `t` as a number."""
    return build_hash(kind, {name: f"t.{name}" for name in kind.row._fields})  # type: ignore[attr-defined]


def build_totals(kind: type[UsageRecord]) -> str:
    """Return the query for (current records, withdrawn records, sums as JSON, digest) of the rows of `groups`.

    Each of these has `is_current`, its `records` and the sum of their `hashes`, the sums of the measures, and the unit.
    """
    unit = kind.unit or "''"
    current = "FILTER (WHERE is_current)"
    by_unit = (
        f"SELECT {unit} AS unit, sum(records) {current} AS current, sum(hashes) {current} AS hashes, "
        "sum(records) FILTER (WHERE NOT is_current) AS withdrawn, "
        f"{', '.join(f'sum({name}) {current} AS {name}' for name in kind.measures)} FROM groups GROUP BY 1"
    )
    if kind.unit:
        sums = f"jsonb_object_agg(unit, {kind.measures[0]}::text) FILTER (WHERE current > 0)"
    else:
        pairs = ", ".join(f"'{name}', sum({name})::text" for name in kind.measures)
        sums = f"jsonb_strip_nulls(jsonb_build_object({pairs}))"
    count = "COALESCE(sum(current), 0)"
    return (
        f"SELECT {count}::bigint, COALESCE(sum(withdrawn), 0)::bigint, COALESCE({sums}, '{{}}'), "
        f"{build_digest(count, 'sum(hashes)')} FROM ({by_unit}) AS by_unit"
    )


def build_statement(kind: type[UsageRecord], table: str = "") -> str:
    """Return the query for the totals of one day, in one scan; `table`: another table with the kind's columns."""
    keys = ", ".join(["t.withdrawn_at IS NULL AS is_current", *([f"t.{kind.unit}"] if kind.unit else [])])
    sums = ", ".join(f"sum(t.{name}) AS {name}" for name in kind.measures)
    return (
        f"WITH groups AS (SELECT {keys}, count(*) AS records, sum({build_row_hash(kind)}) AS hashes, {sums} "
        f"FROM {table or connection.ops.quote_name(kind._meta.db_table)} t WHERE {build_day_filter(kind)} "
        f"GROUP BY {', '.join(str(place) for place in range(1, 2 + bool(kind.unit)))}) {build_totals(kind)}"
    )


def read_stored_day(kind: type[UsageRecord], day: SourceDay, table: str = "") -> StoredDay:
    """Return the totals of the records of a day now; `table`: another table with the kind's columns."""
    with connection.cursor() as cursor:
        cursor.execute(build_statement(kind, table), build_parameters(day))
        return StoredDay.from_row(cursor.fetchone())
