"""The request for one listing of one stand-in, which these tests repeat."""

import httpx2

from sync.vendors.ona.sandbox import LIST

DAY = {"dateRange": {"startTime": "2026-11-10T00:00:00Z", "endTime": "2026-11-11T00:00:00Z"}}
BODY = {"filter": DAY, "pagination": {"pageSize": 100}}
HEADERS = {"Authorization": "Bearer sandbox-key"}


def request_page(client: httpx2.Client) -> httpx2.Response:
    return client.post(f"/ona{LIST}", json=BODY)
