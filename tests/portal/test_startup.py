"""A process that starts before its servers: it waits, says so now and then, and goes on."""

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from portal import startup


@pytest.mark.parametrize(
    ("seconds", "failures", "reason", "told_at"),
    [
        (300.0, 0, "", []),
        (300.0, 25, "", [0, 10, 20]),
        (12.0, 25, "connection refused twice", [0, 10]),
    ],
)
def test_a_server_is_waited_for_with_a_line_every_ten_seconds(
    seconds: float,
    failures: int,
    reason: str,
    told_at: list[int],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    now, tries = 0.0, 0

    def connect() -> None:
        nonlocal tries
        tries += 1
        if tries <= failures:
            raise psycopg.OperationalError("connection refused\n\ttwice")

    def sleep(pause: float) -> None:
        nonlocal now
        now += 2 * pause  # a second

    monkeypatch.setattr(startup, "WAIT_SECONDS", seconds)
    monkeypatch.setattr(startup, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    assert startup.wait_for("the database", connect) == reason
    lines: list[Any] = [record.msg for record in caplog.records if record.name == "portal.startup"]
    assert [line["seconds"] for line in lines] == told_at
