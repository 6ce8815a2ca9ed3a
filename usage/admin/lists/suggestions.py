"""Suggestions for the inputs of a filter: stored values, found by a part of them or of their name.

The work is bounded for tables of any size: the newest days' rollups, or the newest records where no rollup
has the column, are read off an index up to a limit, and cut off after SECONDS.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import available_timezones

from django.db import connection, models

from usage.api.filters.values import DETAIL_NUMBERS, DETAIL_TEXTS
from usage.columns import NameLookup
from usage.directory.access import NameAccess
from usage.directory.lookup import NAMED_COLUMNS
from usage.models import (
    EnvironmentAccrual,
    EnvironmentDay,
    EnvironmentUsage,
    RecipeDay,
    RecipeUsage,
    RecipeWorkspaceDay,
    ResourceDay,
    ResourceUsage,
    UsageRecord,
)
from usage.text_search import list_spellings
from usage.timeouts import limit_query_time

ONE_DAY = timedelta(days=1)
MOST = 20
SECONDS = 1.0
ROLLUP_ROWS = 50_000
RECORDS = 20_000
TOO_MANY: Final = "Too many to suggest from; type the whole of it."

FIND = """
WITH latest AS MATERIALIZED (
    SELECT newest.*
    FROM unnest(%(sources)s::bigint[]) AS source (id)
    CROSS JOIN LATERAL (
        SELECT {value} AS value, {label} AS label FROM {table} AS t
        WHERE t.source_id = source.id {range}
        ORDER BY t.{instant} DESC LIMIT %(rows_per_source)s
    ) AS newest
), candidate AS (
    SELECT {single}::text AS value, max(label) AS label FROM latest {unnesting} GROUP BY 1
), labelled AS (
    SELECT candidate.value, coalesce({name}, '') AS label FROM candidate {naming} WHERE candidate.value <> ''
)
SELECT value, label FROM labelled
WHERE value ILIKE ANY(%(parts)s) OR label ILIKE ANY(%(parts)s)
ORDER BY value ILIKE ANY(%(beginnings)s) OR label ILIKE ANY(%(beginnings)s) DESC, label, value
LIMIT %(most)s
"""
# A name that no rollup has: that of the newest record.
NAMED = """
LEFT JOIN LATERAL (
    SELECT t.{name} AS name FROM {table} AS t
    WHERE t.{key} = candidate.value::bigint AND t.source_id = ANY(%(sources)s)
    ORDER BY t.{instant} DESC LIMIT 1
) AS named ON true
"""
# The name that the directory has today.
LISTED = """
LEFT JOIN LATERAL (
    SELECT nullif(d.{column}, '') AS name FROM usage_directoryentry AS d
    WHERE d.source_id = ANY(%(sources)s) AND d.kind = '{kind}' AND d.vendor_id = candidate.value
    ORDER BY d.last_seen_at DESC LIMIT 1
) AS listed ON true
"""
EACH_TAG = """
CROSS JOIN LATERAL jsonb_each(value) AS tag (key, content)
CROSS JOIN LATERAL jsonb_array_elements_text(
    CASE jsonb_typeof(tag.content) WHEN 'array' THEN tag.content ELSE jsonb_build_array(tag.content) END
) AS element (text)
"""


@dataclass(frozen=True, slots=True)
class SuggestionSource:
    """The source of a parameter's values: the `value` of a rollup or of records, SQL over a row `t`.

    `label`: SQL of the value's name. `name_source`: (records, column) of its name where the rollup has none, looked up
    by the value's own column. `unnesting`: the SQL join that splits a value, `single`: the SQL of each part.
    """

    table: type[models.Model]
    value: str
    label: str = "''"
    name_source: tuple[type[UsageRecord], str] | None = None
    single: str = "value"
    unnesting: str = ""

    @property
    def instant(self) -> str:
        """The column that the newest rows are found by."""
        return self.table.instant if issubclass(self.table, UsageRecord) else "day"

    @property
    def row_limit(self) -> int:
        return RECORDS if issubclass(self.table, UsageRecord) else ROLLUP_ROWS

    def get_bounds(self, start: datetime | None, end: datetime | None) -> dict[str, date | datetime]:
        """Return the bounds of the rows to read: instants, or dates with a day more on either side, as zones differ."""
        bounds: dict[str, date | datetime] = {}
        of_days = self.instant == "day"
        if start is not None:
            bounds["start"] = max(start.date(), date.min + ONE_DAY) - ONE_DAY if of_days else start
        if end is not None:
            bounds["end"] = min(end.date(), date.max - ONE_DAY) + ONE_DAY if of_days else end
        return bounds

    def build_statement(self, bounds: Collection[str], lookup: NameLookup | None = None) -> str:
        """Return the SELECT of (value, label) within these bounds; `lookup`: where the directory has the labels."""
        signs = {"start": ">=", "end": "<"}
        naming, name = "", "candidate.label"
        if self.name_source:
            records, column = self.name_source
            naming = NAMED.format(
                name=column, table=records._meta.db_table, key=self.value.removeprefix("t."), instant=records.instant
            )
            name = "named.name"
        if lookup:
            naming += LISTED.format(column=lookup.column, kind=lookup.kind)
            name = f"coalesce(listed.name, {name})"
        return FIND.format(
            value=self.value,
            label=self.label,
            table=self.table._meta.db_table,
            range=" ".join(f"AND t.{self.instant} {signs[bound]} %({bound})s" for bound in bounds),
            instant=self.instant,
            single=self.single,
            unnesting=self.unnesting,
            name=name,
            naming=naming,
        )


def suggest_columns(table: type[models.Model], *columns: str) -> dict[str, SuggestionSource]:
    """Return the suggestions of columns by their own values."""
    return {column: SuggestionSource(table, f"t.{column}") for column in columns}


SUGGESTED: Final[Mapping[type[UsageRecord], Mapping[str, SuggestionSource]]] = {
    EnvironmentUsage: {
        **suggest_columns(EnvironmentDay, "project_id"),
        **suggest_columns(EnvironmentAccrual, "environment_class_id", "runner_id", "user_id"),
        **suggest_columns(EnvironmentUsage, "environment_id", "record_id"),
    },
    ResourceUsage: {
        **suggest_columns(ResourceDay, "resource_type", "billing_metric", "consumed_unit", "project_id", "region_id"),
        "resource_id": SuggestionSource(ResourceUsage, "t.resource_id", "t.resource_name"),
        **suggest_columns(ResourceUsage, "resource_name"),
        "flavor": SuggestionSource(ResourceUsage, "t.details ->> 'flavor'"),
        **{
            f"details.{field}": SuggestionSource(ResourceUsage, f"t.details ->> '{field}'")
            for field in (*DETAIL_TEXTS, *DETAIL_NUMBERS)
        },
        "tag": SuggestionSource(ResourceUsage, "t.tags", single="(tag.key || ':' || element.text)", unnesting=EACH_TAG),
        "tag_key": SuggestionSource(ResourceUsage, "t.tags", single="tag.key", unnesting=EACH_TAG),
    },
    RecipeUsage: {
        "workspace_id": SuggestionSource(RecipeWorkspaceDay, "t.workspace_id", "t.workspace_name"),
        "external_id": SuggestionSource(RecipeWorkspaceDay, "t.external_id", "t.workspace_name"),
        "recipe_id": SuggestionSource(RecipeDay, "t.recipe_id", name_source=(RecipeUsage, "recipe_name")),
        "folder_id": SuggestionSource(RecipeDay, "t.folder_id", name_source=(RecipeUsage, "folder_name")),
    },
}


def get_suggested_params(kind: type[UsageRecord]) -> tuple[str, ...]:
    """Return the parameters with suggestions."""
    return (*SUGGESTED[kind], "tz")


def find_suggestions(
    kind: type[UsageRecord],
    parameter: str,
    part: str,
    source_ids: Sequence[int],
    start: datetime | None,
    end: datetime | None,
    names: NameAccess,
) -> list[tuple[str, str]]:
    """Return up to MOST values with `part` in them or in their name, and a further one where there are more.

    Only of these sources, and of the days about `[start, end)`. `names`: which names are searched and shown. Raises
    KeyError for a parameter without suggestions, QueryTimeout where the query took longer than SECONDS.
    """
    if parameter == "tz":
        return find_zones(part)
    source = SUGGESTED[kind][parameter]
    bounds = source.get_bounds(start, end)
    spellings = [connection.ops.prep_for_like_query(spelling) for spelling in list_spellings(part)]
    parameters: dict[str, Any] = {
        "sources": list(source_ids),
        "rows_per_source": max(1, source.row_limit // max(1, len(source_ids))),
        "parts": [f"%{spelling}%" for spelling in spellings],
        "beginnings": [f"{spelling}%" for spelling in spellings],
        "most": MOST + 1,
        **bounds,
    }
    with limit_query_time(SECONDS), connection.cursor() as cursor:
        cursor.execute(source.build_statement(bounds, get_lookup(kind, parameter, names)), parameters)
        return [(str(value), str(name)) for value, name in cursor.fetchall()]


def get_lookup(kind: type[UsageRecord], parameter: str, names: NameAccess) -> NameLookup | None:
    """Return where the directory has the names of a parameter's values; None where it has none to show."""
    name_kind = NAMED_COLUMNS[kind].get(parameter)
    column = names.get_column(name_kind) if name_kind else None
    return NameLookup(name_kind, column) if name_kind and column else None


def find_zones(part: str) -> list[tuple[str, str]]:
    """Return the time zones with `part` in their name, spaces standing for underscores."""
    zone_part = part.lower().replace(" ", "_")
    names = sorted(name for name in available_timezones() if zone_part in name.lower())
    return [(name, "") for name in names[: MOST + 1]]
