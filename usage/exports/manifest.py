"""The totals of a complete export, so that its reader can check that nothing is missing.

The digest does not depend on the order. A reader computes it from the columns `id` and `revision`: the sum, modulo
2^64, over all rows of the first 16 hexadecimal digits of MD5 of `<id>:<revision>`. A record's revision grows whenever
it changes, so equal digests mean the same records in the same state.

Where the filter takes full days of sources, and columns that a roll-up has, the totals are added up from roll-ups:
those of a month in milliseconds, where its records take seconds.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from usage.columns import FITS_DECIMAL, Statement, build_select
from usage.data_quality import assess_filtered
from usage.datetimes import format_iso
from usage.decimals import EXACT
from usage.directory.lookup import get_directory_version
from usage.exports.archive import ArchivedRange, ExportPart, find_archive
from usage.models import SourceDay, UsageRecord
from usage.rollups import BEYOND_COUNTS, MISSING_COUNTS
from usage.stored import RECORD_DIGEST, format_digest
from usage.summaries.combined import QUANTITIES
from usage.summaries.metrics import METRICS_BY_KIND
from usage.summaries.query import build_query
from usage.summaries.rows import get_rollup_rows

# A unit (None for a kind without), the number of its rows, when the last of them changed, and the sum of their digests;
# then of each measure the sum, how many rows have a value, and how many of these are beyond a Parquet decimal.
Group = tuple[Any, ...]
UNITS = {measure: unit for quantities in QUANTITIES.values() for measure, _, unit in quantities}


def compute_manifest(queryset: QuerySet[Any], filterset: Any) -> dict[str, Any]:
    """Return the totals of an export, its data quality, and the version of its names; see `compute_totals`."""
    quality = assess_filtered(filterset, reads_lake=True)
    return {
        **compute_totals(queryset, filterset),
        "meta": quality.meta(),
        "directory_version": get_directory_version(filterset.row_scope),
    }


def compute_totals(queryset: QuerySet[Any], filterset: Any) -> dict[str, Any]:
    """Return the totals of all rows of `queryset`, JSON-ready: of those that `filterset` keeps.

    `sums` has one for each measure and unit (see `build_sums`). `last_changed_at`: when the last of the rows changed.
    `filterset` is valid, of the kind (usage/api/filters/sets.py), and has every filter, but for the
    watermark of `updated_since`. Raises what `find_archive` raises, and ArchiveUnavailable.
    """
    archive = find_archive(filterset)
    query = build_query(METRICS_BY_KIND[queryset.model], filterset)
    rollup = get_rollup_rows(query, [], list_needed_columns(queryset.model))
    if rollup is None:
        groups = fetch_record_groups(queryset, archive)
    else:
        # An export has no records of a pruned day, whose roll-ups stay; those of an archived day are in the lake.
        pruned = SourceDay.objects.filter(source_id=OuterRef("source_id"), day=OuterRef("day"), archived_at=None)
        groups = fetch_rollup_groups(
            queryset.model, rollup.queryset.exclude(Exists(pruned.filter(pruned_at__isnull=False)))
        )
    total = sum(int(digest) for _, _, _, digest, *_ in groups)
    return {
        "rows": sum(int(count) for _, count, *_ in groups),
        "sums": [line for row in groups for line in build_sums(queryset.model.measures, row)],
        "digest": format_digest(total),
        "last_changed_at": format_iso(max((changed for _, _, changed, *_ in groups), default=None)),
    }


def list_needed_columns(kind: type[UsageRecord]) -> list[str]:
    """Return the columns that a roll-up needs for a manifest of the kind."""
    missing = [MISSING_COUNTS[measure] for measure in kind.measures if measure in MISSING_COUNTS]
    beyond = [BEYOND_COUNTS[measure] for measure in kind.measures if measure in BEYOND_COUNTS]
    return ["records", "last_changed_at", "digest", *kind.measures, *missing, *beyond, *filter(None, [kind.unit])]


def fetch_record_groups(queryset: QuerySet[Any], archive: ArchivedRange | None) -> list[Group]:
    """Return the groups of the rows of `queryset`, and of archived records."""
    kind = queryset.model
    columns = ["id", "revision", "changed_at", *kind.measures, *filter(None, [kind.unit])]
    sums = [
        expression
        for measure in kind.measures
        for expression in (
            f"sum({measure})",
            f"count({measure})",
            f"count({measure}) FILTER (WHERE NOT {FITS_DECIMAL.format(measure)})",
        )
    ]
    expressions = ["count(*)", "max(changed_at)", f"sum({RECORD_DIGEST})", *sums]
    groups = fetch_groups(queryset, columns, expressions, kind.unit)
    if archive is None:
        return groups

    def build(rows: QuerySet[Any]) -> Statement:
        return build_groups(rows, columns, expressions, kind.unit)

    part = ExportPart(queryset.order_by(), archive.days)
    return merge_groups([*groups, *archive.fetch(connection, part, columns, build)])


def merge_groups(groups: Iterable[Group]) -> list[Group]:
    """Return one group of each unit, in the order of the units."""
    merged: dict[str, Group] = {}
    for group in groups:
        unit = group[0]
        merged[unit] = add_groups(merged[unit], group) if unit in merged else group
    return [merged[unit] for unit in sorted(merged, key=str)]


def add_groups(first: Group, second: Group) -> Group:
    """Return the group of the rows of two."""
    unit, count, changed, *numbers = first
    _, second_count, second_changed, *second_numbers = second
    return unit, count + second_count, max(changed, second_changed), *map(add_numbers, numbers, second_numbers)


def add_numbers(first: Decimal | int | None, second: Decimal | int | None) -> Decimal | int | None:
    """Return the exact sum of two numbers; None is the sum of no values."""
    if first is None or second is None:
        return first if second is None else second
    return EXACT.add(Decimal(first), Decimal(second))


def fetch_rollup_groups(kind: type[UsageRecord], rows: QuerySet[Any]) -> list[Group]:
    """Return the groups of the records that roll-up rows stand for."""
    counts = {name: f"sum(records - {MISSING_COUNTS[name]})" for name in kind.measures if name in MISSING_COUNTS}
    beyond = {name: f"sum({column})" for name, column in BEYOND_COUNTS.items()}
    sums = [
        expression
        for name in kind.measures
        for expression in (f"sum({name})", counts.get(name, "sum(records)"), beyond.get(name, "0"))
    ]
    expressions = ["sum(records)", "max(last_changed_at)", "sum(digest)", *sums]
    return fetch_groups(rows, list_needed_columns(kind), expressions, kind.unit)


def fetch_groups(rows: QuerySet[Any], columns: list[str], expressions: list[str], unit: str) -> list[Group]:
    """Return (unit, expressions…) of the rows of each unit, in the order of the units."""
    statement = build_groups(rows, columns, expressions, unit)
    with connection.cursor() as cursor:
        cursor.execute(statement.sql, statement.params)
        groups: list[Group] = cursor.fetchall()
    return groups


def build_groups(rows: QuerySet[Any], columns: list[str], expressions: list[str], unit: str) -> Statement:
    """Return the statement of `fetch_groups`."""
    inner = build_select(rows.order_by(), columns)
    sql = f"""
        SELECT {unit or "NULL::text"}, {", ".join(expressions)}
        FROM ({inner.sql}) AS t ({", ".join(columns)}) GROUP BY 1 ORDER BY 1
    """  # noqa: S608 (names are the model's)
    return Statement(sql, inner.params)


def build_sums(measures: tuple[str, ...], group: Group) -> list[dict[str, Any]]:
    """Return the sums of one unit's rows, as texts with all their digits.

    `without`: how many of the `rows` have no value, which the sum leaves out; `beyond_decimal`: how many are texts in
    Parquet.
    """
    unit, count, _, _, *numbers = group
    return [
        {
            "measure": measure,
            "unit": UNITS[measure] if unit is None else unit,
            "rows": int(count),
            "without": int(count - value_count),
            "beyond_decimal": int(beyond),
            "sum": None if total is None else f"{Decimal(total):f}",
        }
        for measure, total, value_count, beyond in zip(measures, *(numbers[at::3] for at in range(3)), strict=True)
    ]
