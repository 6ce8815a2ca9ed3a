"""Workato's usage statistics and workspaces, served from the portal's records as docs/vendors/workato.md has them.

What is assumed of the vendor is named in request.py and in the stand-in's statistics.py and buckets.py. The
portal stores hours: an hour belongs to the bucket it begins in. Of deleted recipes it knows how many there were in
an hour but not which, so over several hours they count as many as in the hour with the most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4
from zoneinfo import ZoneInfo

import msgspec
from django.db import connection

from sync.api_messages import APIRequest, APIResponse
from sync.vendors.base import VendorMirror
from sync.vendors.workato.request import (
    InvalidUsageRequest,
    UsageRequest,
    encode_error,
    parse_page_params,
    parse_usage_request,
)
from sync.vendors.workato.schema import USAGE, WORKSPACES
from usage.summaries.intervals import cut_intervals

Row = dict[str, Any]
TICK: Final = timedelta(microseconds=1)
METRICS: Final = ("task_count", "job_succeeded_count", "job_failed_count")
LATEST: Final = "(array_agg({0} ORDER BY starts_at DESC))[1] AS {0}"
NAMES: Final = ("external_id", "workspace_name")
OF_RECIPE: Final = ("recipe_name", "folder_id", "folder_name")
# The calendar comes as instants: PostgreSQL may not know the account's zone, and of a midnight that comes twice it
# takes the second.
BY_CALENDAR: Final = "width_bucket(starts_at, %(cuts)s::timestamptz[])"
BUCKET: Final = {"none": "0", "hour": "starts_at"}
EXTENT: Final = """
SELECT min(starts_at), max(starts_at) FROM usage_recipeusage
WHERE source_id = %(source)s AND starts_at >= %(start)s AND starts_at < %(end)s
"""
STATISTICS: Final = """
SELECT workspace_id, {recipe} AS recipe_id, {bucket} AS bucket, max(ends_at) AS last_end, {columns},
       {sums}, count(DISTINCT recipe_id) + COALESCE(max(recipe_count) FILTER (WHERE recipe_id IS NULL), 0)
FROM usage_recipeusage
WHERE source_id = %(source)s AND starts_at >= %(start)s AND starts_at < %(end)s AND withdrawn_at IS NULL
      AND {conditions}
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
# Steps from one workspace to the next by the index on workspaces, however many hours each has.
OF_WORKSPACES: Final = """
WITH RECURSIVE workspaces (id) AS (
    (SELECT workspace_id FROM usage_recipeusage
     WHERE source_id = %(source)s AND withdrawn_at IS NULL ORDER BY workspace_id LIMIT 1)
    UNION ALL
    SELECT (SELECT workspace_id FROM usage_recipeusage
            WHERE source_id = %(source)s AND withdrawn_at IS NULL AND workspace_id > workspaces.id
            ORDER BY workspace_id LIMIT 1)
    FROM workspaces WHERE workspaces.id IS NOT NULL
), page AS (SELECT id FROM workspaces WHERE id IS NOT NULL ORDER BY id LIMIT %(size)s OFFSET %(offset)s)
SELECT page.id, latest.external_id, latest.workspace_name
FROM page CROSS JOIN LATERAL (
    SELECT external_id, workspace_name FROM usage_recipeusage
    WHERE source_id = %(source)s AND workspace_id = page.id AND withdrawn_at IS NULL
    ORDER BY starts_at DESC LIMIT 1) AS latest
ORDER BY page.id
"""


class Mirror(VendorMirror):
    """Workato Embedded, from the records of one source."""

    paths = (USAGE, WORKSPACES)

    def respond(self, request: APIRequest) -> APIResponse:
        """Answer one request, or refuse it as the vendor does."""
        try:
            match request.method, request.path:
                case "POST", path if path == USAGE:
                    return self.build_usage(parse_usage_request(request))
                case "GET", path if path == WORKSPACES:
                    return self.build_workspaces(*parse_page_params(request.query))
                case _:
                    return self.build_error(404, "Not found")
        except InvalidUsageRequest as error:
            return APIResponse(error.status, encode_error(error.message, error.errors))

    @classmethod
    def build_error(cls, status: int, message: str) -> APIResponse:
        """Answer with an error of the vendor's shape; 5xx come with an `id`."""
        return APIResponse(status, encode_error(message, None, **({"id": uuid4().hex} if status >= 500 else {})))

    def build_usage(self, query: UsageRequest) -> APIResponse:
        """Answer with the statistics' rows, null where there are none."""
        rows = list(UsageReport(self.source.pk, self.source.zone, query).iterate_rows())
        return APIResponse(200, msgspec.json.encode({"data": rows or None}), span=(query.start, query.end))

    def build_workspaces(self, page: int, size: int) -> APIResponse:
        """Answer with a page of the workspaces that have any usage, as the portal last saw them."""
        params = {"source": self.source.pk, "size": size, "offset": min((page - 1) * size, 2**62)}
        with connection.cursor() as cursor:
            cursor.execute(OF_WORKSPACES, params)
            rows = cursor.fetchall()
        result = [{"id": key, "external_id": external or None, "name": name} for key, external, name in rows]
        return APIResponse(200, msgspec.json.encode({"result": result}))


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The rows that answer a request about one source whose calendar is that of `zone`."""

    source_id: int
    zone: ZoneInfo
    query: UsageRequest

    def iterate_rows(self) -> Iterator[Row]:
        """Yield rows by workspace, recipe and bucket; a metric that was not reported is left out."""
        by_recipe = self.query.group_by == "recipe"
        columns = [*NAMES, *(OF_RECIPE if by_recipe else ())]
        with connection.cursor() as cursor:
            boundaries = self.find_boundaries(cursor)
            cursor.execute(self.build_sql(columns, by_recipe=by_recipe), self.build_params() | {"cuts": boundaries})
            records = cursor.fetchall()
        for workspace, recipe, bucket, last_end, *values in records:
            names = dict(zip(columns, values, strict=False))
            row: Row = {"workspace_id": workspace, **names, "external_id": names["external_id"] or None}
            if by_recipe:
                row["recipe_id"] = recipe
            row["from"], row["to"] = map(self.format_instant, self.get_bounds(bucket, last_end, boundaries))
            *sums, recipes = values[len(columns) :]
            row |= {name: int(value) for name, value in zip(METRICS, sums, strict=True) if value is not None}
            yield row if by_recipe else {**row, "recipe_count": recipes}

    def build_sql(self, columns: list[str], *, by_recipe: bool) -> str:
        """Return the query; `build_params` has its values."""
        return STATISTICS.format(
            recipe="recipe_id" if by_recipe else "NULL::bigint",
            bucket=BUCKET.get(self.query.interval, BY_CALENDAR),
            columns=", ".join(LATEST.format(name) for name in columns),
            sums=", ".join(f"sum({name})" for name in METRICS),
            conditions=" AND ".join(self.build_conditions()),
        )

    def build_conditions(self) -> Iterator[str]:
        """Yield the conditions of the request; deleted recipes count only in a request without filters."""
        yield "(workspace_id = ANY(%(workspace_ids)s) OR external_id = ANY(%(external_ids)s))"
        if not self.query.bare:
            yield "recipe_id IS NOT NULL"
        for kind in ("recipe", "folder"):
            if getattr(self.query, f"{kind}_ids") is not None:
                yield f"{kind}_id = ANY(%({kind}_ids)s)"
            if getattr(self.query, f"{kind}_name_pattern") is not None:
                yield f"strpos({kind}_name, %({kind}_name_pattern)s) > 0"

    def build_params(self) -> dict[str, Any]:
        query = self.query
        return {
            "source": self.source_id,
            "start": query.start,
            "end": query.end,
            "workspace_ids": sorted(query.workspace_ids),
            # No workspace has the empty text for an id: that is how the portal stores a workspace without an id.
            "external_ids": sorted(query.external_ids - {""}),
            "recipe_ids": sorted(query.recipe_ids or ()),
            "folder_ids": sorted(query.folder_ids or ()),
            "recipe_name_pattern": query.recipe_name_pattern,
            "folder_name_pattern": query.folder_name_pattern,
        }

    def find_boundaries(self, cursor: Any) -> list[datetime]:
        """Return the bounds of the calendar intervals of the range's hours; none for hours or no intervals."""
        if self.query.interval in BUCKET:
            return []
        cursor.execute(EXTENT, self.build_params())
        first, last = cursor.fetchone()
        return cut_intervals(self.query.interval, self.zone, first, last + TICK) if first else []

    def get_bounds(self, bucket: Any, last_end: datetime, boundaries: list[datetime]) -> tuple[datetime, datetime]:
        """Return the half-open bounds of a bucket, cut to the range; `last_end` is where its last hour ends."""
        query = self.query
        if query.interval == "none":
            return query.start, query.end
        start, end = (bucket, last_end) if query.interval == "hour" else (boundaries[bucket - 1], boundaries[bucket])
        return max(start, query.start), min(end, query.end)

    def format_instant(self, instant: datetime) -> str:
        """Return an instant as the vendor writes it, with the offset of the account's zone."""
        return instant.astimezone(UTC).astimezone(self.zone).isoformat(timespec="milliseconds")
