"""Requests of these tests: one Monday of a world whose clock stands still on a Wednesday."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from sync.vendors.ona.sandbox import LIST

NOW = datetime(2026, 11, 18, 15, 0, tzinfo=UTC)
START = datetime(2026, 11, 16, tzinfo=UTC)
END = START + timedelta(days=1)
KEY = "sandbox-key"


def build_filter(start: datetime | str = START, end: datetime | str = END, **more: Any) -> dict[str, Any]:
    texts = [bound if isinstance(bound, str) else bound.isoformat() for bound in (start, end)]
    return {"dateRange": {"startTime": texts[0], "endTime": texts[1]}, **more}


def request_page(client: httpx2.Client, size: int = 100, token: str = "", **more: Any) -> httpx2.Response:
    body = {"filter": build_filter(**more), "pagination": {"pageSize": size, "token": token}}
    return client.post(LIST, json=body)


def list_pages(client: httpx2.Client, size: int = 100, **more: Any) -> list[list[Any]]:
    """Return the records of every page."""
    pages, token = [], ""
    while True:
        response = request_page(client, size, token, **more).raise_for_status().json()
        pages.append(response["records"])
        token = response.get("pagination", {}).get("nextToken", "")
        if not token:
            return pages


def list_records(client: httpx2.Client, **more: Any) -> list[Any]:
    return [record for page in list_pages(client, **more) for record in page]


def list_ids(records: list[Any]) -> list[str]:
    return [record["id"] for record in records]


def get_error(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]
