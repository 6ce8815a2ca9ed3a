"""The records that a vendor reports for a day, read without the engine, and those that the portal stores."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import httpx2

from sync.engine.connect import open_reader
from sync.http import Bounds
from tests.support.vendor_readers import list_rows, read_pages
from usage.data_quality import VENDOR_KINDS
from usage.days import Day
from usage.models import KINDS, Source, UsageRecord

Records = dict[tuple[Any, ...], tuple[Any, ...]]
PATIENT = Bounds(timeout=60.0, attempts=3)


def get_kind(source: Source) -> type[UsageRecord]:
    """Return the model of the records that a source's vendor reports."""
    return VENDOR_KINDS[source.vendor]


def read_truth(source: Source, on: date) -> Records:
    """Return the vendor's records of a day, by the key within the day."""
    kind = get_kind(source)
    with open_reader(source, bounds=PATIENT) as reader:
        pages, _ = read_pages(reader, Day.of(on, source.zone))
    assert not any(page.rejected for page in pages), f"the sandbox still spoils records of {source} {on}"
    return index_records(kind, list_rows(pages))


def read_stored(source: Source, on: date) -> Records:
    """Return the current records that the portal stores for a day, in the same form."""
    kind = get_kind(source)
    records = kind.objects.current().filter(source=source, day=on)
    return index_records(kind, records.values_list(*list_fields(kind)))


def index_records(kind: type[UsageRecord], records: Iterable[tuple[Any, ...]]) -> Records:
    """Return records with all their columns, by their key; JSON text becomes a value."""
    names = list_fields(kind)
    json_places = {
        index for index, name in enumerate(names) if kind._meta.get_field(name).get_internal_type() == "JSONField"
    }
    key_places = [names.index(name) for name in kind.key if name in names]
    normalized = (
        tuple(normalize_json(value) if index in json_places else value for index, value in enumerate(record))
        for record in records
    )
    return {tuple(record[index] for index in key_places): record for record in normalized}


def list_fields(kind: type[UsageRecord]) -> list[str]:
    """Return the columns that a reader fills."""
    return list(kind.row._fields)  # type: ignore[attr-defined]


def normalize_json(value: Any) -> Any:
    """Return the value of a JSON column, which may come as text."""
    if value is None:
        return {}
    return json.loads(value) if isinstance(value, str) else value


def describe_difference(label: str, truth: Records, stored: Records) -> str:
    """Return how stored records differ from the vendor's, in a sentence; empty where they do not."""
    if truth == stored:
        return ""
    missing, extra = len(truth.keys() - stored.keys()), len(stored.keys() - truth.keys())
    different = sum(truth[key] != stored[key] for key in truth.keys() & stored.keys())
    return (
        f"{label}: of {len(truth)} records {missing} are missing, {different} differ, and {extra} are not the vendor's"
    )


@dataclass(frozen=True)
class DayTotals:
    """A vendor's number of records for a day, where it has one, and its sums under the portal's names."""

    count: int | None
    sums: dict[str, Decimal]


def fetch_day_totals(source: Source, on: date) -> DayTotals:
    """Return a vendor's totals for a day, read without the portal's readers."""
    return {"gcore": fetch_gcore_totals, "ona": fetch_ona_totals, "workato": fetch_workato_totals}[source.vendor](
        source, Day.of(on, source.zone)
    )


def fetch_gcore_totals(source: Source, day: Day) -> DayTotals:
    """Return the totals of a day, read in one page."""
    body = {"time_from": f"{day.date}T00:00:00Z", "time_to": f"{day.date + timedelta(days=1)}T00:00:00Z"}
    response = post(source, "/cloud/v1/usage_report", f"APIKey {source.credential}", body | {"limit": 100_000})
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for resource in response["resources"]:
        sums[resource["billing_value_unit"]] += Decimal(resource["billing_value"])
    assert response["count"] == len(response["resources"])
    return DayTotals(response["count"], dict(sums))


def fetch_ona_totals(source: Source, day: Day) -> DayTotals:
    """Return the number of a day's records, read page by page."""
    ids, token = set(), ""
    period = {"startTime": day.start.isoformat(), "endTime": day.end.isoformat()}
    while True:
        body = {"filter": {"dateRange": period}, "pagination": {"pageSize": 100, "token": token}}
        path = "/gitpod.v1.UsageService/ListEnvironmentUsageRecords"
        response = post(source, path, f"Bearer {source.credential}", body)
        ids |= {record["id"] for record in response["records"]}
        token = response["pagination"].get("nextToken", "")
        if not token:
            return DayTotals(len(ids), {})


def fetch_workato_totals(source: Source, day: Day) -> DayTotals:
    """Return a day's sums over all workspaces, deleted recipes included."""
    workspaces_response = httpx2.get(
        f"{source.base_url}/api/managed_users",
        params={"per_page": 1000},
        headers={"Authorization": f"Bearer {source.credential}"},
        timeout=60,
    )
    ids = [workspace["id"] for workspace in workspaces_response.raise_for_status().json()["result"]]
    start, end = (f"{instant:%Y-%m-%dT%H:%M:%S}.000Z" for instant in (day.start, day.end))
    body = {"from": start, "to": end, "interval": "hour", "workspace_ids": ids}
    response = post(source, "/api/v2/managed_users/statistics/usage", f"Bearer {source.credential}", body)
    rows: list[dict[str, Any]] = response["data"] or []
    names = ("task_count", "job_succeeded_count", "job_failed_count")
    return DayTotals(None, {name: sum((Decimal(row[name]) for row in rows), Decimal()) for name in names})


def post(source: Source, path: str, authorization: str, body: dict[str, Any]) -> Any:
    """Return the JSON of a vendor's response, with every number exact."""
    headers = {"Authorization": authorization}
    response = httpx2.post(f"{source.base_url}{path}", json=body, headers=headers, timeout=60).raise_for_status()
    return json.loads(response.content, parse_float=Decimal)


def count_records(sources: Iterable[Source]) -> int:
    """Return how many current records of sources the portal stores."""
    keys = [source.pk for source in sources]
    return sum(kind.objects.current().filter(source__in=keys).count() for kind in KINDS.values())
