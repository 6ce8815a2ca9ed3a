"""The one statement of a summary: groups and totals together, over records, a rollup or split runs."""

from dataclasses import dataclass
from typing import Any, Final

from django.db import connections
from rest_framework.exceptions import ValidationError

from usage.columns import Statement, rows
from usage.summaries.question import Question
from usage.summaries.relation import Relation
from usage.summaries.shapes import Measure

MOST_GROUPS: Final = 100_000
TOTALS: Final = 1_000  # more pairs of unit and metric than any vendor has

# A run that was never said to begin is of the interval it stopped in, and of no length that is known.
SPLIT = """
SELECT t.*, cut.bucket, cut.accrued_seconds
FROM (SELECT t.*, %s::{array} AS bounds FROM ({inner}) AS t ({names}) OFFSET 0) AS t
CROSS JOIN LATERAL (
    SELECT bucket, CASE WHEN t.created_at IS NOT NULL THEN
               EXTRACT(EPOCH FROM least(t.stopped_at, t.bounds[bucket + 1]) - greatest(t.created_at, t.bounds[bucket]))
           END AS accrued_seconds
    FROM generate_series(
        greatest(1, width_bucket(coalesce(t.created_at, t.stopped_at), t.bounds)),
        least(cardinality(t.bounds) - 1, width_bucket(t.stopped_at, t.bounds))
    ) AS bucket
) AS cut
WHERE t.created_at IS NULL OR cut.accrued_seconds > 0
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that belong together: the values of the dimensions, the interval's place (from 1, 0 for none), the sums."""

    key: tuple[Any, ...]
    bucket: int
    sums: dict[str, Any]


def ask(question: Question, relation: Relation) -> tuple[list[Group], list[Group]]:
    """Return the groups and the totals, in one query; raises ValidationError for more groups than MOST_GROUPS.

    A total's key has None where it is of all values.
    """
    statement = statement_of(question, relation)
    with connections[relation.queryset.db].cursor() as cursor:
        cursor.execute(statement.sql, statement.params)
        found = [group(question, row) for row in cursor.fetchall()]
    groups = [one for whole, one in found if not whole]
    totals = [one for whole, one in found if whole]
    if len(groups) > MOST_GROUPS:
        reason = f"More than {MOST_GROUPS} groups; narrow the filter, the range or the grouping."
        raise ValidationError({"group_by": [reason]})
    return (groups if parted(question) else totals), totals


def parted(question: Question) -> list[str]:
    """Return the columns that groups are parted by and totals are not."""
    always = question.shape.always
    found = [f"dimension_{at}" for at, one in enumerate(question.dimensions) if one.name not in always]
    return [*found, "bucket"] if question.interval else found


def group(question: Question, row: tuple[Any, ...]) -> tuple[bool, Group]:
    """Return whether a row is a total, and what it says."""
    count = len(question.dimensions)
    key, (bucket, whole), sums = row[:count], row[count : count + 2], row[count + 2 :]
    return bool(whole), Group(key, bucket or 0, dict(zip(question.measures, sums, strict=True)))


def statement_of(question: Question, relation: Relation) -> Statement:
    """Return the SELECT of (dimensions…, interval's place, whether a total, measures…)."""
    source = parts(question, relation)
    dimensions = [f"dimension_{at}" for at, _ in enumerate(question.dimensions)]
    apart = parted(question)
    fixed = [name for name in dimensions if name not in apart]
    bucket = "bucket" if question.interval else "NULL::integer"
    sums = [sum_of(measure, relation) for measure in question.summed.values()]
    # Of the two grouping sets the totals' has none of the columns that the groups are parted by.
    whole = f"GROUPING({apart[0]})" if apart else "1"
    chosen = ", ".join([*dimensions, bucket, whole, *sums])
    sets = f"GROUPING SETS (({', '.join([*fixed, *apart])}), ({', '.join(fixed)}))" if apart else ", ".join(fixed)
    grouped = f"GROUP BY {sets}" if sets else ""
    sql = f"SELECT {chosen} FROM ({source.sql}) AS t {grouped} LIMIT {MOST_GROUPS + TOTALS}"  # noqa: S608 (our own names)
    return Statement(sql, source.params)


def sum_of(measure: Measure, relation: Relation) -> str:
    """Return the SQL of a measure over the relation's rows; a rollup of split runs holds parts of runs."""
    sort = "accrued" if relation.instant == "accrued_on" else relation.sort
    return {"raw": measure.raw, "rolled": measure.rolled, "accrued": measure.accrued}[sort]


def parts(question: Question, relation: Relation) -> Statement:
    """Return the SELECT of the rows that are added up, each with its interval's place."""
    made = {f"dimension_{at}": one.expression for at, one in enumerate(question.dimensions)}
    columns = dict.fromkeys([*made, *read_columns(question, relation)])
    records = relation.queryset.annotate(**made)
    if relation.sort == "accrued" and set(question.summed) == {"runtime_seconds"}:
        # Runs whose beginning nobody told are records, but no part of any date; the rollup leaves them out too.
        records = records.filter(created_at__isnull=False)
    inner = rows(records, list(columns))
    names = ", ".join(columns)
    if relation.sort == "accrued":
        sql = SPLIT.format(array=relation.array, inner=inner.sql, names=names)
        return Statement(sql, (list(relation.bounds), *inner.params))
    if not question.interval:
        return Statement(f"SELECT * FROM ({inner.sql}) AS t ({names})", inner.params)  # noqa: S608 (our own names)
    place = f"width_bucket(t.{relation.instant}, %s::{relation.array}) AS bucket"
    sql = f"SELECT t.*, {place} FROM ({inner.sql}) AS t ({names})"  # noqa: S608 (our own names)
    return Statement(sql, (list(relation.bounds), *inner.params))


def read_columns(question: Question, relation: Relation) -> list[str]:
    """Return the columns that the measures and the intervals are made of."""
    if relation.sort == "accrued":
        own = [name for measure in question.summed.values() for name in measure.columns if name != "runtime_seconds"]
        return ["id", "created_at", "stopped_at", *own]
    rolled = relation.sort == "rolled"
    columns = [
        "accrued_seconds" if name == "runtime_seconds" and relation.instant == "accrued_on" else name
        for measure in question.summed.values()
        for name in (measure.rolled_columns if rolled else measure.columns)
    ]
    return [relation.instant, *columns]
