"""Gcore's usage report, served from the portal's records as docs/vendors/gcore.md has it.

The requested days are summed up per resource by PostgreSQL, which also writes the answer: quantities are JSON
numbers with all their digits. A resource shows the name, size and tags of its latest day. What is assumed of the
vendor is named in request.py and, of the order of rows and of filters, in the stand-in's report.py.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from django.db import connection

from sync.api_messages import APIRequest, APIResponse
from sync.vendors.base import VendorMirror
from sync.vendors.gcore.request import (
    InvalidReportRequest,
    ReportRequest,
    TagCondition,
    Tags,
    encode_error,
    get_day_start,
    parse_report_request,
)
from sync.vendors.gcore.schema import NOT_TOTALLED, OWN_FIELDS, OWN_IDS, USAGE_REPORT, VARIANTS
from sync.vendors.record_limits import ALTERATIONS_KEY

# Types that `types` accepts though no shape is published for them.
UNDOCUMENTED_TYPES: Final = ("inference_public_models",)
NAME_FIELDS: Final = ("last_name", "uuid")
FILTERS: Final[dict[str, tuple[str, ...]]] = {
    **{
        name: tuple(sorted((own - {"size_unit"}) | {"type"} | (set() if name in OWN_IDS else set(NAME_FIELDS))))
        for name, own in OWN_FIELDS.items()
    },
    **dict.fromkeys(UNDOCUMENTED_TYPES, ()),
}
# The vendor's totals of these are not split by flavor (docs/vendors/gcore.md).
UNSPLIT: Final = ("inference",)
FILTER_COLUMNS: Final = {"uuid": "l.resource_id", "last_name": "l.resource_name", "type": "l.resource_type"}
ORDER_COLUMNS: Final = {
    "billing_value": "quantity",
    "first_seen": "first_seen",
    "last_name": 'resource_name COLLATE "C"',
    "last_seen": "last_seen",
    "project": "project_id",
    "region": "region_id",
    "type": 'resource_type COLLATE "C"',
}
ID: Final = "COALESCE(NULLIF(resource_id, ''), details ->> 'port_id', '')"
DEFAULT_ORDER: Final = (
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
# Unknown values are left out; `extra` has what no column can store, beside the portal's own key.
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
)) || CASE WHEN tags = '{{}}' THEN '{{}}' ELSE jsonb_build_object('tags', {TAGS}) END || details
    || (extra - '{ALTERATIONS_KEY}')
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
       (SELECT string_agg(numbered.json, ',' ORDER BY numbered.place) FROM (
            SELECT ({resource})::text AS json, row_number() OVER () AS place
            FROM (SELECT * FROM matching ORDER BY {order} LIMIT %(limit)s OFFSET %(offset)s) AS page) AS numbered),
       (SELECT string_agg(json, ',') FROM (
            SELECT ({total})::text AS json FROM (
                SELECT *, CASE WHEN resource_type <> ALL(%(unsplit)s) THEN {variant_name} END AS split,
                       CASE WHEN resource_type <> ALL(%(unsplit)s) THEN COALESCE({variant}) END AS variant
                FROM matching WHERE resource_type <> ALL(%(untotalled)s)) AS parts
            GROUP BY resource_type, billing_metric, consumed_unit, region_id, split, variant) AS each)
"""


class Mirror(VendorMirror):
    """Gcore, from the records of one source."""

    paths = (USAGE_REPORT,)

    def respond(self, request: APIRequest) -> APIResponse:
        """Answer a usage report, or refuse it as the vendor does."""
        if request.method != "POST":
            response = self.build_error(405, "The method is not allowed here.")
            return replace(response, headers={"Allow": "POST"})
        try:
            query = parse_report_request(request.body, FILTERS)
        except InvalidReportRequest as error:
            body = encode_error(400, f"Validation Error: {error.fields}", uuid4().hex, invalid_fields=error.fields)
            return APIResponse(400, body)
        first, end = map(get_day_start, query.get_day_range())
        return APIResponse(200, build_report(self.source.pk, query), span=(first, end))

    @classmethod
    def build_error(cls, status: int, message: str) -> APIResponse:
        return APIResponse(status, encode_error(status, message, uuid4().hex))


def build_report(source_id: int, query: ReportRequest) -> bytes:
    """Return the answer's JSON: one page of resources, the count of all and their totals, in one query."""
    first, end = query.get_day_range()
    params: dict[str, Any] = {
        "source": source_id,
        "first": first,
        "end": end,
        "limit": min(query.limit, 2**31),
        "offset": min(query.offset, 2**62),
        "unsplit": [*UNSPLIT, *UNDOCUMENTED_TYPES],
        "untotalled": list(NOT_TOTALLED),
    }
    rows = "".join(f" AND {condition}" for condition in build_row_conditions(query, params))
    conditions = " AND ".join(build_resource_conditions(query, params))
    sql = REPORT.format(
        rows=rows,
        resources=f"WHERE {conditions}" if conditions else "",
        resource=RESOURCE,
        order=", ".join(list_order(query)),
        total=TOTAL,
        variant_name=VARIANT_NAME,
        variant=VARIANT,
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        count, resources, totals = cursor.fetchone()
    return f'{{"count":{count},"resources":[{resources or ""}],"totals":[{totals or ""}]}}'.encode()


def build_row_conditions(query: ReportRequest, params: dict[str, Any]) -> Iterator[str]:
    """Yield the conditions that hold for a resource on all of its days, and bind their values."""
    for name, column in (("projects", "project_id"), ("regions", "region_id"), ("types", "resource_type")):
        values = getattr(query, name)
        if values:
            params[name] = values
            yield f"{column} = ANY(%({name})s)"
    if query.schema_filter:
        params["filtered_type"] = query.schema_filter.type
        yield "resource_type = %(filtered_type)s"


def build_resource_conditions(query: ReportRequest, params: dict[str, Any]) -> Iterator[str]:
    """Yield the conditions on what a resource was on its latest day, and bind their values."""
    schema_filter = query.schema_filter
    if schema_filter:
        params |= {"field": schema_filter.field, "values": schema_filter.values}
        yield f"{FILTER_COLUMNS.get(schema_filter.field, 'l.details ->> %(field)s')} = ANY(%(values)s)"
    if query.tags and query.tags.conditions:
        yield build_tags_condition(query.tags, params)


def build_tags_condition(tags: Tags, params: dict[str, Any]) -> str:
    """Return the condition that a resource's tags satisfy, and bind its values."""
    conditions = [build_tag_condition(number, condition, params) for number, condition in enumerate(tags.conditions)]
    return "(" + (" AND " if tags.condition_type == "AND" else " OR ").join(conditions) + ")"


def build_tag_condition(number: int, condition: TagCondition, params: dict[str, Any]) -> str:
    """Return the condition that one tag has this key, and this value exactly or in part, whatever its case."""
    conditions = []
    if condition.key is not None:
        params[f"key{number}"] = condition.key
        conditions.append(f"tag.key = %(key{number})s")
    if condition.value is not None:
        params[f"value{number}"] = condition.value
        exact, part = f"single.value = %(value{number})s", f"strpos(lower(single.value), lower(%(value{number})s)) > 0"
        conditions.append(exact if condition.strict else part)
    where = " AND ".join(conditions) or "true"
    return (
        "EXISTS (SELECT FROM jsonb_each(l.tags) AS tag, jsonb_array_elements_text("
        "CASE jsonb_typeof(tag.value) WHEN 'array' THEN tag.value ELSE jsonb_build_array(tag.value) END"
        f") AS single (value) WHERE {where})"
    )


def list_order(query: ReportRequest) -> Iterator[str]:
    """Yield what resources are sorted by, made total by the usual order."""
    for field, is_descending in query.get_order():
        yield f"{ORDER_COLUMNS[field]} {'DESC NULLS LAST' if is_descending else 'ASC NULLS FIRST'}"
    yield from DEFAULT_ORDER
