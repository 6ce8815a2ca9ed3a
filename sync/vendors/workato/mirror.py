"""Workato's usage statistics and workspaces, served from the portal's records as contracts.md has them.

What is assumed of the vendor is named in question.py and in the stand-in's statistics.py and buckets.py. The
portal keeps hours: an hour belongs to the bucket it begins in. Of deleted recipes it knows how many there were in
an hour but not which, so over several hours they count as many as in the hour with the most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import uuid4
from zoneinfo import ZoneInfo

import msgspec
from django.db import connection

from sync.vendors.mirror import Answered, Asked, VendorMirror
from sync.vendors.workato.openapi import DESCRIBED
from sync.vendors.workato.question import Question, RefusedError, asked, error, paged
from sync.vendors.workato.wire import USAGE, WORKSPACES
from usage.days import midnight

Row = dict[str, Any]
METRICS: Final = ("task_count", "job_succeeded_count", "job_failed_count")
LATEST: Final = "(array_agg({0} ORDER BY starts_at DESC))[1] AS {0}"
NAMES: Final = ("external_id", "workspace_name")
OF_RECIPE: Final = ("recipe_name", "folder_id", "folder_name")
BUCKET: Final = {
    "none": "%(start)s::timestamptz",
    "hour": "starts_at",
    **{unit: f"date_trunc('{unit}', starts_at, %(zone)s)" for unit in ("day", "week", "month", "year")},
}
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
WITH RECURSIVE found (id) AS (
    (SELECT workspace_id FROM usage_recipeusage
     WHERE source_id = %(source)s AND withdrawn_at IS NULL ORDER BY workspace_id LIMIT 1)
    UNION ALL
    SELECT (SELECT workspace_id FROM usage_recipeusage
            WHERE source_id = %(source)s AND withdrawn_at IS NULL AND workspace_id > found.id
            ORDER BY workspace_id LIMIT 1)
    FROM found WHERE found.id IS NOT NULL
), page AS (SELECT id FROM found WHERE id IS NOT NULL ORDER BY id LIMIT %(size)s OFFSET %(offset)s)
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
    described = DESCRIBED

    def answer(self, request: Asked) -> Answered:
        """Answer one request, or refuse it as the vendor does."""
        try:
            match request.method, request.path:
                case "POST", path if path == USAGE:
                    return self.usage(asked(request))
                case "GET", path if path == WORKSPACES:
                    return self.workspaces(*paged(request.query))
                case _:
                    return self.refuse(404, "Not found")
        except RefusedError as refused:
            return Answered(refused.status, error(refused.message, refused.errors))

    @classmethod
    def refuse(cls, status: int, message: str) -> Answered:
        """Answer with an error of the vendor's shape; 5xx come with an `id`."""
        return Answered(status, error(message, None, **({"id": uuid4().hex} if status >= 500 else {})))

    def usage(self, question: Question) -> Answered:
        """Answer with the statistics' rows, null where there are none."""
        rows = list(Report(self.source.pk, self.source.zone, question).rows())
        return Answered(200, msgspec.json.encode({"data": rows or None}), span=(question.start, question.end))

    def workspaces(self, page: int, size: int) -> Answered:
        """Answer with a page of the workspaces that have any usage, as the portal last saw them."""
        bound = {"source": self.source.pk, "size": size, "offset": min((page - 1) * size, 2**62)}
        with connection.cursor() as cursor:
            cursor.execute(OF_WORKSPACES, bound)
            rows = cursor.fetchall()
        result = [{"id": key, "external_id": external or None, "name": name} for key, external, name in rows]
        return Answered(200, msgspec.json.encode({"result": result}))


@dataclass(frozen=True, slots=True)
class Report:
    """The rows that answer a question about one source whose calendar is that of `zone`."""

    source_id: int
    zone: ZoneInfo
    question: Question

    def rows(self) -> Iterator[Row]:
        """Yield rows by workspace, recipe and bucket; a metric that was not reported is left out."""
        by_recipe = self.question.group_by == "recipe"
        columns = [*NAMES, *(OF_RECIPE if by_recipe else ())]
        with connection.cursor() as cursor:
            cursor.execute(self.statement(columns, by_recipe=by_recipe), self.bound())
            found = cursor.fetchall()
        for workspace, recipe, bucket, last_end, *rest in found:
            said = dict(zip(columns, rest, strict=False))
            row: Row = {"workspace_id": workspace, **said, "external_id": said["external_id"] or None}
            if by_recipe:
                row["recipe_id"] = recipe
            row["from"], row["to"] = map(self.shown, self.bounds(bucket, last_end))
            *sums, recipes = rest[len(columns) :]
            row |= {name: int(value) for name, value in zip(METRICS, sums, strict=True) if value is not None}
            yield row if by_recipe else {**row, "recipe_count": recipes}

    def statement(self, columns: list[str], *, by_recipe: bool) -> str:
        """Return the query; its values are those of `bound`."""
        return STATISTICS.format(
            recipe="recipe_id" if by_recipe else "NULL::bigint",
            bucket=BUCKET[self.question.interval],
            columns=", ".join(LATEST.format(name) for name in columns),
            sums=", ".join(f"sum({name})" for name in METRICS),
            conditions=" AND ".join(self.conditions()),
        )

    def conditions(self) -> Iterator[str]:
        """Yield the conditions of the question; deleted recipes count only where nothing else is asked."""
        yield "(workspace_id = ANY(%(workspace_ids)s) OR external_id = ANY(%(external_ids)s))"
        if not self.question.bare:
            yield "recipe_id IS NOT NULL"
        for kind in ("recipe", "folder"):
            if getattr(self.question, f"{kind}_ids") is not None:
                yield f"{kind}_id = ANY(%({kind}_ids)s)"
            if getattr(self.question, f"{kind}_name_pattern") is not None:
                yield f"strpos({kind}_name, %({kind}_name_pattern)s) > 0"

    def bound(self) -> dict[str, Any]:
        """Return the values of the query's parameters."""
        question = self.question
        return {
            "source": self.source_id,
            "zone": self.zone.key,
            "start": question.start,
            "end": question.end,
            "workspace_ids": sorted(question.workspace_ids),
            # No workspace has the empty text for an id: that is how the portal keeps one without.
            "external_ids": sorted(question.external_ids - {""}),
            "recipe_ids": sorted(question.recipe_ids or ()),
            "folder_ids": sorted(question.folder_ids or ()),
            "recipe_name_pattern": question.recipe_name_pattern,
            "folder_name_pattern": question.folder_name_pattern,
        }

    def bounds(self, bucket: datetime, last_end: datetime) -> tuple[datetime, datetime]:
        """Return the half-open bounds of a bucket, cut to the range; `last_end` is where its last hour ends."""
        question = self.question
        if question.interval == "none":
            return question.start, question.end
        end = last_end if question.interval == "hour" else self.following(bucket)
        return max(bucket, question.start), min(end, question.end)

    def following(self, bucket: datetime) -> datetime:
        """Return the instant at which the calendar begins the interval after the one of `bucket`."""
        on = bucket.astimezone(self.zone).date()
        match self.question.interval:
            case "year":
                following = date(on.year + 1, 1, 1)
            case "month":
                following = (on.replace(day=1) + timedelta(days=31)).replace(day=1)
            case "week":
                following = on + timedelta(days=7)
            case _:
                following = on + timedelta(days=1)
        return midnight(following, self.zone)

    def shown(self, instant: datetime) -> str:
        """Return an instant as the vendor writes it, with the offset of the account's zone."""
        return instant.astimezone(UTC).astimezone(self.zone).isoformat(timespec="milliseconds")
