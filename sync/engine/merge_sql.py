"""The SQL of a merge, built from the model of a kind of usage."""

from django.db import connection, models

from sync.engine.guard import build_loss_statement
from sync.engine.spool import build_spooled_values, get_wire_columns
from usage.models import UsageRecord
from usage.revisions import REVISE, build_insert
from usage.stored import build_day_filter, build_digest, build_hash


class MergeStatements:
    """The SQL of one kind of usage: `t` is the table, `n` the spooled rows."""

    def __init__(self, kind: type[UsageRecord]) -> None:
        meta = kind._meta
        self.table = connection.ops.quote_name(meta.db_table)
        self.spool = f"pg_temp.spool_{meta.model_name}"
        incoming = build_spooled_values(kind)
        columns = list(incoming)
        key = [name for name in kind.key if name != "day"]
        value_columns = [name for name in columns if name not in key]
        same = " AND ".join(build_equality(name, nullable=meta.get_field(name).null) for name in key)
        # As text: to JSONB 1.5 and 1.50 are equal, and what is stored would not be what was read.
        json = {name for name in value_columns if isinstance(meta.get_field(name), models.JSONField)}
        text = {name: "::text" if name in json else "" for name in value_columns}
        stored = ", ".join(f"t.{name}{text[name]}" for name in value_columns)
        read = ", ".join(f"{incoming[name]}{text[name]}" for name in value_columns)
        differs = f"({stored}) IS DISTINCT FROM ({read})"
        assign = ", ".join(f"{name} = {incoming[name]}" for name in value_columns)
        day_filter = build_day_filter(kind)
        keys = ", ".join(key)
        self.day_in_key = "day" in kind.key

        wire = get_wire_columns(kind)
        self.wire_types = list(wire.values())
        created = ", ".join(f"{name} {type_name}" for name, type_name in wire.items())
        # A new day lies beyond the table's statistics: the planner expects one record of it, and its nested loops would
        # scan the spool once for each record (35 seconds for a day of 31,000 records in place of a quarter of one).
        self.create_spool = (
            f"SET LOCAL enable_nestloop = off; DROP TABLE IF EXISTS {self.spool}; "
            f"CREATE TEMPORARY TABLE spool_{meta.model_name} ({created}) ON COMMIT DROP"
        )
        self.copy = f"COPY {self.spool} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        self.count_spool = f"SELECT count(*) FROM {self.spool}"
        self.measure_spool = (
            f"SELECT count(*), {build_digest('count(*)', f'sum({build_hash(kind, incoming)})')} FROM {self.spool} n"
        )
        self.count_stored = f"SELECT count(*) FROM {self.table} t WHERE {day_filter}"
        self.insert = (
            f"INSERT INTO {self.table} (source_id, day, changed_at, {', '.join(columns)}) "
            "SELECT %(source)s, %(day)s, statement_timestamp(), "
            f"{', '.join(incoming.values())} FROM {self.spool} n "
            # In an order that indexes share, so that a day's rows fill few of their pages.
            f"ORDER BY {', '.join(f'n.{name}' for name in (key if kind.instant == 'day' else [kind.instant]))}"
        )
        # Searches each unique index twice for a row, a tenth of the insert's CPU.
        self.insert_missing = f"{self.insert} ON CONFLICT DO NOTHING"
        # Of several rows with one key the last is the latest.
        self.drop_repeated = (
            f"DELETE FROM {self.spool} n USING (SELECT {keys}, max(ctid) AS last FROM {self.spool} "
            f"GROUP BY {keys} HAVING count(*) > 1) t WHERE {same} AND n.ctid <> t.last"
        )
        self.loss = build_loss_statement(kind, self.table, self.spool, same)
        fill_measures = ", ".join(f"{name} = COALESCE(n.{name}, t.{name})" for name in kind.optional_measures)
        current = f"{day_filter} AND t.withdrawn_at IS NULL AND {same}"
        self.keep_measures = f"UPDATE {self.spool} n SET {fill_measures} FROM {self.table} t WHERE {current}"
        self.withdraw = (
            f"UPDATE {self.table} t SET withdrawn_at = statement_timestamp(), {REVISE} "
            f"WHERE {day_filter} AND t.withdrawn_at IS NULL AND NOT EXISTS (SELECT FROM {self.spool} n WHERE {same})"
        )
        # One statement replaces a record and keeps its revision, so both have the same instant.
        gone = ", ".join(f"t.{name}" for name in ("id", "source_id", "revision", "day", *columns))
        self.withdraw_kept = (
            f"WITH gone AS ({self.withdraw} RETURNING {gone}, NULL::timestamptz AS withdrawn_at) "
            f"{build_insert(kind, 'gone', 'gone.revision - 1')} FROM gone"
        )
        self.drop_unchanged = (
            f"DELETE FROM {self.spool} n USING {self.table} t "
            f"WHERE {day_filter} AND {same} AND t.withdrawn_at IS NULL AND NOT ({differs})"
        )
        self.count_differing = (
            "SELECT count(*) FILTER (WHERE t.withdrawn_at IS NULL), count(*) FILTER (WHERE t.withdrawn_at IS NOT NULL) "
            f"FROM {self.table} t JOIN {self.spool} n ON {same} WHERE {day_filter}"
        )
        self.update = (
            f"UPDATE {self.table} t SET {assign}, withdrawn_at = NULL, {REVISE} "
            f"FROM {self.spool} n WHERE {day_filter} AND {same}"
        )
        insert_revisions = f"{build_insert(kind, 't', 't.revision')} FROM {self.table} t JOIN {self.spool} n ON"
        self.update_kept = f"WITH kept AS ({insert_revisions} {same} WHERE {day_filter}) {self.update}"
        self.drop_stored = f"DELETE FROM {self.spool} n USING {self.table} t WHERE {day_filter} AND {same}"
        # Also a record of this day whose instant was changed in the database and lies outside of it.
        elsewhere = f"t.source_id = %(source)s AND NOT ({day_filter})"
        # One array for each partition's unique index costs a fifth of a lookup for each record. Each partition's scan
        # sorts it: what is in order already costs half as much where there are 14 of them.
        self.find_other_days = (
            f"SELECT DISTINCT t.day FROM {self.table} t WHERE {elsewhere} AND t.{key[0]} = ANY(ARRAY("
            f"SELECT n.{key[0]} FROM {self.spool} n WHERE NOT EXISTS "
            f"(SELECT FROM {self.table} t WHERE {day_filter} AND {same}) ORDER BY 1))"
        )
        elsewhere = f"t.day = ANY(%(other_days)s::date[]) AND {elsewhere} AND {same}"
        self.count_elsewhere = (
            f"SELECT t.day, count(*) FILTER (WHERE t.withdrawn_at IS NULL), count(*) FROM {self.table} t "
            f"JOIN {self.spool} n ON {elsewhere} GROUP BY t.day ORDER BY t.day"
        )
        self.move = (
            f"WITH kept AS ({insert_revisions} {elsewhere}) "
            f"UPDATE {self.table} t SET {assign}, day = %(day)s, withdrawn_at = NULL, {REVISE} "
            f"FROM {self.spool} n WHERE {elsewhere}"
        )


def build_equality(name: str, *, nullable: bool) -> str:
    """Return the condition that a key's column is the same in the table and in the spool."""
    if nullable:
        return f"COALESCE(t.{name}, -1) = COALESCE(n.{name}, -1)"
    return f"t.{name} = n.{name}"
