"""What a vendor reports of a day now, read without the engine, beside what the portal stores of it."""

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
from tests.support.read_day import list_rows, read_pages
from usage.data_quality import VENDOR_KINDS
from usage.days import Day
from usage.models import KINDS, Source, UsageRecord

Records = dict[tuple[Any, ...], tuple[Any, ...]]
PATIENT = Bounds(timeout=60.0, attempts=3)


def kind_of(source: Source) -> type[UsageRecord]:
    """Return the model of what a source's vendor reports."""
    return VENDOR_KINDS[source.vendor]


def read_truth(source: Source, on: date) -> Records:
    """Return the vendor's records of a day, by the key within the day."""
    kind = kind_of(source)
    with open_reader(source, bounds=PATIENT) as reader:
        pages, _ = read_pages(reader, Day.of(on, source.zone))
    assert not any(page.rejected for page in pages), f"the sandbox still spoils records of {source} {on}"
    return index_records(kind, list_rows(pages))


def read_stored(source: Source, on: date) -> Records:
    """Return the current records that the portal stores of a day, in the same form."""
    kind = kind_of(source)
    found = kind.objects.current().filter(source=source, day=on)
    return index_records(kind, found.values_list(*fields_of(kind)))


def index_records(kind: type[UsageRecord], found: Iterable[tuple[Any, ...]]) -> Records:
    """Return records with all their columns, by their key; JSON text and JSON values are made the same."""
    names = fields_of(kind)
    json_places = {at for at, name in enumerate(names) if kind._meta.get_field(name).get_internal_type() == "JSONField"}
    key_places = [names.index(name) for name in kind.key if name in names]
    plain = (
        tuple(plain_json(value) if at in json_places else value for at, value in enumerate(record)) for record in found
    )
    return {tuple(record[at] for at in key_places): record for record in plain}


def fields_of(kind: type[UsageRecord]) -> list[str]:
    """Return the columns that a reader fills."""
    return list(kind.row._fields)  # type: ignore[attr-defined]


def plain_json(value: Any) -> Any:
    """Return the value of a JSON column, whether it comes as text or as a value."""
    if value is None:
        return {}
    return json.loads(value) if isinstance(value, str) else value


def describe_difference(what: str, truth: Records, stored: Records) -> str:
    """Return how stored records differ from the vendor's, in a sentence; empty where they do not."""
    if truth == stored:
        return ""
    missing, extra = len(truth.keys() - stored.keys()), len(stored.keys() - truth.keys())
    different = sum(truth[key] != stored[key] for key in truth.keys() & stored.keys())
    return (
        f"{what}: of {len(truth)} records {missing} are missing, {different} differ, and {extra} are not the vendor's"
    )


@dataclass(frozen=True)
class Said:
    """How many records a vendor has of a day, where it tells, and sums under the names that the portal uses."""

    count: int | None
    sums: dict[str, Decimal]


def ask_count_and_sums(source: Source, on: date) -> Said:
    """Return what a vendor says of a day to somebody who knows nothing of the portal's readers."""
    return {"gcore": ask_gcore, "ona": ask_ona, "workato": ask_workato}[source.vendor](source, Day.of(on, source.zone))


def ask_gcore(source: Source, day: Day) -> Said:
    """Ask for a day in one page."""
    body = {"time_from": f"{day.date}T00:00:00Z", "time_to": f"{day.date + timedelta(days=1)}T00:00:00Z"}
    answer = post(source, "/cloud/v1/usage_report", f"APIKey {source.credential}", body | {"limit": 100_000})
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for resource in answer["resources"]:
        sums[resource["billing_value_unit"]] += Decimal(resource["billing_value"])
    assert answer["count"] == len(answer["resources"])
    return Said(answer["count"], dict(sums))


def ask_ona(source: Source, day: Day) -> Said:
    """Count a day's records page by page."""
    found, token = set(), ""
    period = {"startTime": day.start.isoformat(), "endTime": day.end.isoformat()}
    while True:
        body = {"filter": {"dateRange": period}, "pagination": {"pageSize": 100, "token": token}}
        path = "/gitpod.v1.UsageService/ListEnvironmentUsageRecords"
        answer = post(source, path, f"Bearer {source.credential}", body)
        found |= {record["id"] for record in answer["records"]}
        token = answer["pagination"].get("nextToken", "")
        if not token:
            return Said(len(found), {})


def ask_workato(source: Source, day: Day) -> Said:
    """Ask for a day's sums over all workspaces, in which deleted recipes count."""
    listing = httpx2.get(
        f"{source.base_url}/api/managed_users",
        params={"per_page": 1000},
        headers={"Authorization": f"Bearer {source.credential}"},
        timeout=60,
    )
    ids = [workspace["id"] for workspace in listing.raise_for_status().json()["result"]]
    start, end = (f"{instant:%Y-%m-%dT%H:%M:%S}.000Z" for instant in (day.start, day.end))
    body = {"from": start, "to": end, "interval": "hour", "workspace_ids": ids}
    answer = post(source, "/api/v2/managed_users/statistics/usage", f"Bearer {source.credential}", body)
    rows: list[dict[str, Any]] = answer["data"] or []
    names = ("task_count", "job_succeeded_count", "job_failed_count")
    return Said(None, {name: sum((Decimal(row[name]) for row in rows), Decimal()) for name in names})


def post(source: Source, path: str, authorization: str, body: dict[str, Any]) -> Any:
    """Return the JSON of a vendor's answer, numbers as they are written."""
    headers = {"Authorization": authorization}
    answer = httpx2.post(f"{source.base_url}{path}", json=body, headers=headers, timeout=60).raise_for_status()
    return json.loads(answer.content, parse_float=Decimal)


def count_records(sources: Iterable[Source]) -> int:
    """Return how many current records the portal stores of sources."""
    keys = [source.pk for source in sources]
    return sum(kind.objects.current().filter(source__in=keys).count() for kind in KINDS.values())
