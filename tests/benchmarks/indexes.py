"""Indexes of the usage tables: those of the models beside other sets, by size, by loading and by questions.

For each kind a table is filled, and the sets take turns on it; a set replaces all indexes but the unique key. Loading is
a day of new records, which are taken out again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.benchmarks.contenders.columns import table
from tests.benchmarks.cost import read_cpu
from tests.benchmarks.ground import MILLION, Ground, ground
from tests.benchmarks.report import Report, Table, surroundings
from tests.benchmarks.stage import Stage

PER_DAY, FEW_PER_DAY, DAYS = 12_500, 100, 16
ASKED, FEW_ASKED = 21, 3
MODELS, BTREES, COVERING, BRIN, GIN = "the models'", "a B-tree a column", "covering B-trees", "BRIN", "one GIN"
PAGE: Final = "SELECT * FROM {table} t WHERE {condition} ORDER BY {order} LIMIT 101"
DEFINITIONS: Final = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND indexname NOT LIKE '%%_once'"
SIZES: Final = """
    SELECT sum(pg_relation_size(child.inhrelid)) FROM pg_inherits AS child
    JOIN pg_index ON indexrelid = inhparent WHERE indrelid = %s::regclass
"""
# The models' index has blocks of ids; the order is the same.
CHANGED, CHANGED_BY_BLOCK = "changed_at, id", "changed_at, (id >> 7), id"

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Subject:
    """What a kind is asked: the columns of its order, those that lists filter by, and those that are searched in."""

    order: tuple[str, ...]
    lists: tuple[str, ...]
    filters: tuple[str, ...]
    names: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()

    @property
    def instant(self) -> str:
        """The column that a list is ordered by first."""
        return self.order[0]

    def build_sets(self, kind: str) -> dict[str, list[str]]:
        """Return what is indexed in each set, as it stands after ON; none for that of the models."""
        columns = (*self.lists, *self.filters)
        names = [f"{name} gin_trgm_ops" for name in self.names]
        ordered = [f"USING btree ({self.instant}, id)", "USING btree (changed_at, id)"]
        search = [f"USING gin ({', '.join((*self.documents, *names))})"] if self.documents or names else []
        covered = "INCLUDE (id, source_id, withdrawn_at)"
        return {
            MODELS: [],
            BTREES: [*ordered, *(f"USING btree ({name}, {self.instant})" for name in columns), *search],
            COVERING: [
                *ordered,
                *(f"USING btree ({name}, {self.instant}) {covered}" for name in self.lists),
                f"USING gin ({', '.join((*self.filters, *self.documents, *names))})",
            ],
            BRIN: [f"USING brin ({name}) WITH (pages_per_range = 32)" for name in ("id", self.instant, "changed_at")],
            GIN: [
                "USING brin (id, changed_at) WITH (pages_per_range = 32)",
                f"USING gin ({', '.join((self.instant, *columns, *self.documents, *names))})",
            ],
        }

    def build_questions(self, order: str) -> dict[str, tuple[str, str]]:
        """Return the condition and the order of each page; `changed`: that of those who follow changes."""
        newest = ", ".join(f"{name} DESC" for name in self.order)
        questions = {"all": ("true", newest), "changes": ("changed_at >= %(changed_at)s", order)}
        questions |= {name: (f"{name} = %({name})s", newest) for name in (*self.lists, *self.filters)}
        questions |= {name: (f"{name} ILIKE '%%' || substr(%({name})s, 3) || '%%'", newest) for name in self.names}
        return questions | {
            name.split()[0]: (f"{name.split()[0]} @> %({name.split()[0]})s", newest) for name in self.documents
        }


SUBJECTS: Final = {
    "environment-usage": Subject(
        ("stopped_at", "id"),
        ("project_id", "user_id", "environment_id"),
        ("runner_id", "environment_class_id"),
    ),
    "resource-usage": Subject(
        ("day", "source_id", "resource_key"),
        ("project_id", "resource_type", "resource_id"),
        ("region_id", "billing_metric", "consumed_unit"),
        ("resource_name",),
        ("tags", "details jsonb_path_ops"),
    ),
    "recipe-usage": Subject(
        ("starts_at", "id"),
        ("workspace_id", "recipe_id", "folder_id"),
        ("external_id",),
        ("workspace_name", "recipe_name", "folder_name"),
    ),
}


def run(stage: Stage, *, quick: bool) -> Report:
    """Fill a table of each kind, measure every set on it, and report."""
    per_day = FEW_PER_DAY if quick else PER_DAY
    size = replace(MILLION, rows=DAYS * per_day, days=DAYS)
    figures = {}
    for kind, subject in SUBJECTS.items():
        with ground(stage, size, kind) as ready:
            figures[kind] = measure_sets(ready, subject, FEW_ASKED if quick else ASKED)
    return Report(
        name="indexes",
        title=f"Indexes of {size.rows:,} records of each kind",
        facts=surroundings()
        | {"servers": f"PostgreSQL {stage.version} (embedded)", "loaded": f"{per_day // 2:,} records"},
        tables=[build_table(kind, measured) for kind, measured in figures.items()],
        figures=figures,
        judged=not quick,
    )


def measure_sets(ready: Ground, subject: Subject, times: int) -> dict[str, dict[str, float]]:
    """Return what each set was measured to: bytes a row, µs of PostgreSQL's CPU a loaded record, ms of each page."""
    name, measured = table(ready.kind), {}
    # Values in the statements, as the portal has them: no plan is for any value.
    with psycopg.connect(ready.url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET maintenance_work_mem = '1GB'")
        own_indexes = [definition.replace(" ON ONLY ", " ON ") for definition in drop_indexes(connection, name)]
        for title, indexed in subject.build_sets(ready.kind).items():
            for statement in (
                own_indexes if title == MODELS else [f"CREATE INDEX ON {name} {columns}" for columns in indexed]
            ):
                connection.execute(statement)
            connection.execute(f"VACUUM (ANALYZE) {name}")
            (size,) = connection.execute(SIZES, [name]).fetchone() or (0,)
            figures = {"bytes a row": int(size) / ready.size.rows}
            figures["µs a loaded record"] = measure_loading(connection, ready)
            changed = CHANGED_BY_BLOCK if title == MODELS else CHANGED
            measured[title] = figures | ask(connection, name, subject.build_questions(changed), times)
            drop_indexes(connection, name)
    return measured


def drop_indexes(connection: Connection, name: str) -> list[str]:
    """Drop all indexes but the unique key; returns their definitions."""
    dropped = connection.execute(DEFINITIONS, [name]).fetchall()
    for index, _ in dropped:
        connection.execute(f"DROP INDEX {index}")
    return [definition for _, definition in dropped]


def measure_loading(connection: Connection, ready: Ground) -> float:
    """Return the µs of CPU that storing a record took: the newest day of a source once more, for another source."""
    name = table(ready.kind)
    columns = connection.execute(
        "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
        "AND attgenerated = '' AND attname NOT IN ('id', 'source_id') AND NOT attisdropped",
        [name],
    ).fetchone()
    assert columns is not None
    times = []
    for _ in range(3):
        with connection.transaction(force_rollback=True):
            before = read_cpu(connection.info.backend_pid)
            done = connection.execute(
                f"INSERT INTO {name} (source_id, {columns[0]}) SELECT 99, {columns[0]} FROM {name} "
                f"WHERE source_id = (SELECT min(source_id) FROM {name}) AND day = (SELECT max(day) FROM {name})"
            )
            times.append((read_cpu(connection.info.backend_pid) - before) / done.rowcount * 1e6)
        connection.execute(f"VACUUM {name}")
    return median(times)


def ask(connection: Connection, name: str, questions: Mapping[str, tuple[str, str]], times: int) -> dict[str, float]:
    """Return the ms of CPU of each page, the first one uncounted."""
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SET max_parallel_workers_per_gather = 0")
        middle = f"SELECT * FROM {name} WHERE day = (SELECT max(day) - 5 FROM {name}) ORDER BY id LIMIT 1 OFFSET 40"
        sample = cursor.execute(middle).fetchone() or {}
    params = {key: Jsonb(value) if isinstance(value, dict) else value for key, value in sample.items()}
    medians = {}
    for question, (condition, order) in questions.items():
        statement = PAGE.format(table=name, condition=condition, order=order)
        milliseconds = []
        for _ in range(times + 1):
            before = read_cpu(connection.info.backend_pid)
            connection.execute(statement, params).fetchall()
            milliseconds.append((read_cpu(connection.info.backend_pid) - before) * 1e3)
        medians[question] = median(milliseconds[1:])
    return medians


def build_table(kind: str, measured: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the table of a kind: a column for each set."""
    names = list(measured[MODELS])
    rows = [(name, *(f"{figures[name]:.1f}" for figures in measured.values())) for name in names]
    return Table(f"{kind}: bytes, µs, and ms of PostgreSQL's CPU for a page of 100 by", ("", *measured), rows)
