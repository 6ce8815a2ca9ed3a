"""One listing of one stand-in, asked for again and again."""

import httpx2

from sync.vendors.ona.sandbox import LIST

DAY = {"dateRange": {"startTime": "2026-11-10T00:00:00Z", "endTime": "2026-11-11T00:00:00Z"}}
BODY = {"filter": DAY, "pagination": {"pageSize": 100}}
HEADERS = {"Authorization": "Bearer sandbox-key"}


def ask(client: httpx2.Client) -> httpx2.Response:
    return client.post(f"/ona{LIST}", json=BODY)
