"""Responses of the web server during a chaos run: no list, sum or export has a part of a day."""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2

from tests.support.vendor_truth import get_kind
from usage.models import KINDS, SourceDay

NAMES = {kind: name for name, kind in KINDS.items()}


@dataclass
class ResponseChecker:
    """Requests one day at a time and compares list, summary and export with the record count of the day's row."""

    address: str
    token: str
    dice: random.Random
    statuses: Counter[str] = field(default_factory=Counter)
    compared: int = 0

    def check_day(self) -> list[str]:
        """Request one day of one source; returns wrong counts, and nothing where the day changed meanwhile."""
        day = self.dice.choice(list(SourceDay.objects.select_related("source")))
        before = describe_version(day)
        counts = {form: self.count(day, form) for form in ("list", "summary", "ndjson", "csv")}
        day.refresh_from_db()
        if describe_version(day) != before:
            return []
        available_counts = {form: count for form, count in counts.items() if count is not None}
        self.compared += len(available_counts)
        wrong_counts = {form: count for form, count in available_counts.items() if count != day.records}
        return [f"{day} has {day.records} records and is answered with {wrong_counts}"] if wrong_counts else []

    def count(self, day: SourceDay, form: str) -> int | None:
        """Return the number of records in a response; None where it is an error or visibly incomplete."""
        kind = NAMES[get_kind(day.source)]
        query = {"source": day.source.slug, "from": day.starts_at.isoformat(), "to": day.ends_at.isoformat()}
        try:
            if form == "list":
                return self.count_list(f"/api/v1/{kind}/", query)
            if form == "summary":
                response = self.get(f"/api/v1/{kind}/summary/", query | {"group_by": "source", "measures": "records"})
                return sum(int(row["records"]) for row in response.json()["results"])
            lines = self.get(f"/api/v1/{kind}/", query | {"format": form}).text.splitlines()
            return count_lines(lines, form)
        except (httpx2.HTTPError, UnavailableError):
            return None

    def count_list(self, path: str, query: dict[str, str]) -> int:
        """Return how many different records the pages of a list have."""
        ids: set[int] = set()
        cursor: str | None = ""
        while cursor is not None:
            page: dict[str, Any] = self.get(path, query | ({"cursor": cursor} if cursor else {})).json()
            ids |= {record["id"] for record in page["results"]}
            cursor = page["next_cursor"]
        return len(ids)

    def get(self, path: str, query: dict[str, str]) -> httpx2.Response:
        """Return a 200; raises UnavailableError for any other status."""
        headers = {"Authorization": f"Bearer {self.token}"}
        response = httpx2.get(f"{self.address}{path}", params=query, headers=headers, timeout=5)
        self.statuses[str(response.status_code)] += 1
        if response.status_code != 200:
            raise UnavailableError(f"{path}: {response.status_code} {response.text[:200]}")
        return response


class UnavailableError(Exception):
    """The portal does not serve a request now."""


def count_lines(lines: list[str], form: str) -> int | None:
    """Return how many records an export has; None where it ends in the mark of an incomplete one."""
    if lines and "broke off" in lines[-1]:
        return None
    if form == "ndjson":
        return len([json.loads(line) for line in lines])
    return len(lines) - 1


def describe_version(day: SourceDay) -> tuple[Any, ...]:
    """Return the values that differ between versions of a day."""
    return day.attempt, day.records, day.loaded_at, day.restated_at, day.sums
