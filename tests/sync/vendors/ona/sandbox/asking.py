"""How these tests ask: one Monday of a world that stands still on a Wednesday."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from sync.vendors.ona.sandbox import LIST

NOW = datetime(2026, 11, 18, 15, 0, tzinfo=UTC)
START = datetime(2026, 11, 16, tzinfo=UTC)
END = START + timedelta(days=1)
KEY = "sandbox-key"


def filtered(start: datetime | str = START, end: datetime | str = END, **more: Any) -> dict[str, Any]:
    texts = [bound if isinstance(bound, str) else bound.isoformat() for bound in (start, end)]
    return {"dateRange": {"startTime": texts[0], "endTime": texts[1]}, **more}


def ask(client: httpx2.Client, size: int = 100, token: str = "", **more: Any) -> httpx2.Response:
    body = {"filter": filtered(**more), "pagination": {"pageSize": size, "token": token}}
    return client.post(LIST, json=body)


def pages(client: httpx2.Client, size: int = 100, **more: Any) -> list[list[Any]]:
    """Return the records of every page."""
    found, token = [], ""
    while True:
        answer = ask(client, size, token, **more).raise_for_status().json()
        found.append(answer["records"])
        token = answer.get("pagination", {}).get("nextToken", "")
        if not token:
            return found


def listed(client: httpx2.Client, **more: Any) -> list[Any]:
    return [record for page in pages(client, **more) for record in page]


def ids(records: list[Any]) -> list[str]:
    return [record["id"] for record in records]


def error(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]
