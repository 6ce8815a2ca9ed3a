"""The server's own endpoints, which change it while it runs."""

from datetime import date
from typing import Any

import httpx2
import pytest

from sync.sandbox.world import Edit
from sync.vendors import readers
from sync.vendors.ona.sandbox import LIST
from tests.support.sandbox_server import SandboxServer
from tests.sync.sandbox.requests import request_page


def control(client: httpx2.Client, path: str, body: Any = None) -> Any:
    response = client.post(f"/_sandbox/{path}", json=body or {})
    assert response.status_code == 200, response.text
    return response.json()


def test_everything_can_be_changed_over_http_while_it_runs(sandbox: SandboxServer, client: httpx2.Client):
    control(client, "faults", {"ona.forbidden": 1})
    assert request_page(client).status_code == 403
    control(client, "faults/clear")
    control(client, "faults/next", {"name": "unauthorized", "times": 1})
    assert [request_page(client).status_code for _ in range(2)] == [401, 200]
    control(client, "edits", {"vendor": "ona", "day": "2026-11-10", "emptied": True})
    assert request_page(client).json()["records"] == []
    control(client, "edits/clear")
    control(client, "now", {"now": "2026-11-10T00:00:00Z"})
    assert request_page(client).json()["records"] == []
    assert control(client, "now", {"advance_seconds": 86400})["now"] == "2026-11-11T00:00:00Z"
    assert len(request_page(client).json()["records"]) == 100
    control(client, "settings", {"requests_per_minute": 1, "latency_ms": 1})
    assert request_page(client).status_code == 200
    assert request_page(client).status_code == 429
    control(client, "settings", {"requests_per_minute": None})
    control(client, "credential", {"credential": "new"})
    assert request_page(client).status_code == 401


def test_what_it_saw_and_how_it_is_set_can_be_read_over_http(sandbox: SandboxServer, client: httpx2.Client):
    sandbox.world.edits["ona", date(2026, 11, 3)] = Edit(late=0.5)
    request_page(client)
    stats = client.get("/_sandbox/stats").json()
    assert stats["by_status"] == [{"vendor": "ona", "path": LIST, "status": 200, "count": 1}]
    assert stats["max_concurrent"] == {"ona": 1}
    overview = client.get("/_sandbox/").json()
    assert overview["vendors"] == sorted(readers())
    assert overview["now"] == "2026-11-18T15:00:00Z"
    assert overview["edits"][0]["day"] == "2026-11-03"
    control(client, "stats/reset")
    assert client.get("/_sandbox/stats").json()["requests"] == 0
    assert control(client, "now")["now"] > "2026-11-18T15:00:00Z"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", {"fire": 1}),
        ("faults", {"reset": "often"}),
        ("faults", {"reset": 3}),
        ("faults/next", {"name": "fire"}),
        ("faults/next", {}),
        ("edits", {"vendor": "nobody", "day": "2026-11-10"}),
        ("edits", {"vendor": "ona", "day": "someday"}),
        ("edits", {"vendor": "ona", "day": "2026-11-10", "burnt": 1}),
        ("now", {"now": "2026-11-10T00:00:00"}),
        ("settings", {"speed": 1}),
        ("settings", {"latency_ms": "slow"}),
        ("credential", {}),
    ],
    ids=str,
)
def test_control_that_makes_no_sense_is_refused_with_a_reason(client: httpx2.Client, path: str, body: Any):
    response = client.post(f"/_sandbox/{path}", json=body)
    assert response.status_code == 400
    assert response.json()["message"]


def test_an_unknown_control_endpoint_lists_the_known_ones(client: httpx2.Client):
    response = client.post("/_sandbox/fire")
    assert response.status_code == 404
    assert "POST /_sandbox/faults/next" in response.json()["message"]
