"""Gcore's usage report, served from the portal's records as contracts.md has it.

The days asked for are summed up per resource by PostgreSQL, which also writes the answer: quantities are JSON
numbers with all their digits. A resource shows the name, size and tags of its latest day. What is assumed of the
vendor is named in question.py and, of the order of rows and of filters, in the stand-in's report.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any, Final
from uuid import uuid4

from django.db import connection

from sync.vendors.gcore.openapi import DESCRIBED
from sync.vendors.gcore.question import Condition, InvalidQuestionError, Question, Tags, asked, error
from sync.vendors.gcore.wire import NOT_TOTALLED, OWN_FIELDS, OWN_IDS, USAGE_REPORT, VARIANTS
from sync.vendors.mirror import Answered, VendorMirror
from sync.vendors.mirror import Asked as Request

# Types that `types` accepts though no shape is published for them.
SHAPELESS: Final = ("inference_public_models",)
NAMED: Final = ("last_name", "uuid")
FILTERS: Final[dict[str, tuple[str, ...]]] = {
    **{
        name: tuple(sorted((own - {"size_unit"}) | {"type"} | (set() if name in OWN_IDS else set(NAMED))))
        for name, own in OWN_FIELDS.items()
    },
    **dict.fromkeys(SHAPELESS, ()),
}
# The vendor's totals of these are not split by flavor (contracts.md).
UNSPLIT: Final = ("inference",)
COLUMN_OF: Final = {"uuid": "l.resource_id", "last_name": "l.resource_name", "type": "l.resource_type"}
SORTED_BY: Final = {
    "billing_value": "quantity",
    "first_seen": "first_seen",
    "last_name": 'resource_name COLLATE "C"',
    "last_seen": "last_seen",
    "project": "project_id",
    "region": "region_id",
    "type": 'resource_type COLLATE "C"',
}
ID: Final = "COALESCE(NULLIF(resource_id, ''), details ->> 'port_id', '')"
USUAL_ORDER: Final = (
    'resource_type COLLATE "C"',
    f'{ID} COLLATE "C"',
    f"(CASE WHEN {ID} = '' THEN resource_name ELSE '' END) COLLATE \"C\"",
    "first_seen",
    'billing_metric COLLATE "C"',
    "resource_key",
)
TAGS: Final = """
(SELECT jsonb_agg(jsonb_build_object(tag.key, each.value) ORDER BY tag.key COLLATE "C", each.place)
 FROM jsonb_each(tags) AS tag,
      jsonb_array_elements(CASE jsonb_typeof(tag.value) WHEN 'array' THEN tag.value
                           ELSE jsonb_build_array(tag.value) END) WITH ORDINALITY AS each (value, place))
"""
# What is not known is left out; `extra` holds what the vendor said in a way that no column can.
RESOURCE: Final = f"""
jsonb_strip_nulls(jsonb_build_object(
    'type', resource_type,
    'billing_metric_name', NULLIF(billing_metric, ''),
    'billing_value', quantity,
    'billing_value_unit', consumed_unit,
    'project_id', project_id,
    'region', region_id,
    'region_id', region_id,
    'uuid', NULLIF(resource_id, ''),
    'last_name', NULLIF(resource_name, ''),
    'first_seen', replace((first_seen AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z',
    'last_seen', replace((last_seen AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'
)) || CASE WHEN tags = '{{}}' THEN '{{}}' ELSE jsonb_build_object('tags', {TAGS}) END || details || extra
"""
VARIANT: Final = ", ".join(f"details -> '{name}'" for name in VARIANTS)
WHENS: Final = " ".join(f"WHEN details ? '{name}' THEN '{name}'" for name in VARIANTS)
VARIANT_NAME: Final = f"CASE {WHENS} END"
TOTAL: Final = """
jsonb_strip_nulls(jsonb_build_object(
    'type', resource_type,
    'billing_metric_name', NULLIF(billing_metric, ''),
    'billing_value', sum(quantity),
    'billing_value_unit', consumed_unit,
    'region', region_id,
    'region_id', region_id
)) || CASE WHEN split IS NULL THEN '{}' ELSE jsonb_build_object(split, variant) END
"""
REPORT: Final = """
WITH summed AS (
    SELECT resource_key, sum(consumed_quantity) AS quantity, min(first_seen) AS first_seen,
           max(last_seen) AS last_seen, min(day) AS first_day, max(day) AS last_day
    FROM usage_resourceusage
    WHERE source_id = %(source)s AND day >= %(first)s AND day < %(end)s AND withdrawn_at IS NULL {rows}
    GROUP BY resource_key
), matching AS MATERIALIZED (
    SELECT l.resource_key, l.resource_type, l.billing_metric, l.consumed_unit, l.project_id, l.region_id,
           l.resource_id, l.resource_name, l.details, l.tags, s.quantity, s.first_seen, s.last_seen,
           CASE WHEN s.first_day = s.last_day THEN l.extra
                ELSE l.extra - 'first_seen' || COALESCE((
                    SELECT jsonb_build_object('first_seen', f.extra -> 'first_seen') FROM usage_resourceusage f
                    WHERE f.source_id = %(source)s AND f.day = s.first_day AND f.resource_key = s.resource_key
                      AND f.extra ? 'first_seen'), '{{}}') END AS extra
    FROM summed s JOIN usage_resourceusage l
      ON l.source_id = %(source)s AND l.day = s.last_day AND l.resource_key = s.resource_key
    {resources}
)
SELECT (SELECT count(*) FROM matching),
       (SELECT string_agg(one.said, ',' ORDER BY one.place) FROM (
            SELECT ({resource})::text AS said, row_number() OVER () AS place
            FROM (SELECT * FROM matching ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s) AS page) AS one),
       (SELECT string_agg(said, ',') FROM (
            SELECT ({total})::text AS said FROM (
                SELECT *, CASE WHEN resource_type <> ALL(%(unsplit)s) THEN {variant_name} END AS split,
                       CASE WHEN resource_type <> ALL(%(unsplit)s) THEN COALESCE({variant}) END AS variant
                FROM matching WHERE resource_type <> ALL(%(untotalled)s)) AS parts
            GROUP BY resource_type, billing_metric, consumed_unit, region_id, split, variant) AS each)
"""


class Mirror(VendorMirror):
    """Gcore, from the records of one source."""

    paths = (USAGE_REPORT,)
    described = DESCRIBED

    def answer(self, asked_for: Request) -> Answered:
        """Answer a usage report, or refuse it as the vendor does."""
        if asked_for.method != "POST":
            refused = self.refuse(405, "The method is not allowed here.")
            return replace(refused, headers={"Allow": "POST"})
        try:
            question = asked(asked_for.body, FILTERS)
        except InvalidQuestionError as wrong:
            body = error(400, f"Validation Error: {wrong.fields}", uuid4().hex, invalid_fields=wrong.fields)
            return Answered(400, body)
        first, end = question.span()
        span = (datetime.combine(first, time(), UTC), datetime.combine(end, time(), UTC))
        return Answered(200, report(self.source.pk, question), span=span)

    @classmethod
    def refuse(cls, status: int, message: str) -> Answered:
        """Answer with an error of the vendor's shape."""
        return Answered(status, error(status, message, uuid4().hex))


def report(source_id: int, question: Question) -> bytes:
    """Return the answer's JSON: one page of resources, the count of all and their totals, in one query."""
    first, end = question.span()
    bound: dict[str, Any] = {
        "source": source_id,
        "first": first,
        "end": end,
        "limit": min(question.limit, 2**31),
        "offset": min(question.offset, 2**62),
        "unsplit": [*UNSPLIT, *SHAPELESS],
        "untotalled": list(NOT_TOTALLED),
    }
    rows = "".join(f" AND {condition}" for condition in of_rows(question, bound))
    conditions = " AND ".join(of_resources(question, bound))
    sql = REPORT.format(
        rows=rows,
        resources=f"WHERE {conditions}" if conditions else "",
        resource=RESOURCE,
        order=", ".join(ordered(question)),
        total=TOTAL,
        variant_name=VARIANT_NAME,
        variant=VARIANT,
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, bound)
        count, resources, totals = cursor.fetchone()
    return f'{{"count":{count},"resources":[{resources or ""}],"totals":[{totals or ""}]}}'.encode()


def of_rows(question: Question, bound: dict[str, Any]) -> Iterator[str]:
    """Yield the conditions that hold for a resource on all of its days, and bind their values."""
    for name, column in (("projects", "project_id"), ("regions", "region_id"), ("types", "resource_type")):
        values = getattr(question, name)
        if values:
            bound[name] = values
            yield f"{column} = ANY(%({name})s)"
    if question.schema_filter:
        bound["filtered_type"] = question.schema_filter.type
        yield "resource_type = %(filtered_type)s"


def of_resources(question: Question, bound: dict[str, Any]) -> Iterator[str]:
    """Yield the conditions on what a resource was on its latest day, and bind their values."""
    wanted = question.schema_filter
    if wanted:
        bound |= {"field": wanted.field, "values": wanted.values}
        yield f"{COLUMN_OF.get(wanted.field, 'l.details ->> %(field)s')} = ANY(%(values)s)"
    if question.tags and question.tags.conditions:
        yield tagged(question.tags, bound)


def tagged(tags: Tags, bound: dict[str, Any]) -> str:
    """Return the condition that a resource's tags satisfy, and bind its values."""
    met = [holds(number, condition, bound) for number, condition in enumerate(tags.conditions)]
    return "(" + (" AND " if tags.condition_type == "AND" else " OR ").join(met) + ")"


def holds(number: int, condition: Condition, bound: dict[str, Any]) -> str:
    """Return the condition that one tag has this key, and this value exactly or in part, whatever its case."""
    said = []
    if condition.key is not None:
        bound[f"key{number}"] = condition.key
        said.append(f"tag.key = %(key{number})s")
    if condition.value is not None:
        bound[f"value{number}"] = condition.value
        exact, part = f"given.value = %(value{number})s", f"strpos(lower(given.value), lower(%(value{number})s)) > 0"
        said.append(exact if condition.strict else part)
    where = " AND ".join(said) or "true"
    return (
        "EXISTS (SELECT FROM jsonb_each(l.tags) AS tag, jsonb_array_elements_text("
        "CASE jsonb_typeof(tag.value) WHEN 'array' THEN tag.value ELSE jsonb_build_array(tag.value) END"
        f") AS given (value) WHERE {where})"
    )


def ordered(question: Question) -> Iterator[str]:
    """Yield what resources are sorted by, made total by the usual order."""
    for field, downward in question.order():
        yield f"{SORTED_BY[field]} {'DESC NULLS LAST' if downward else 'ASC NULLS FIRST'}"
    yield from USUAL_ORDER
