"""`manage.py sandbox`, and the sandbox in a process of its own."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.core.management import CommandError, call_command

from sync.vendors.ona.sandbox import LIST
from tests.support.sandbox_process import GREETING, SandboxProcess
from tests.support.sandbox_server import SandboxServer
from tests.sync.sandbox.requests import BODY, HEADERS

ROOT = Path(__file__).resolve().parents[3]


def start_sandbox(*arguments: str, **options: Any) -> tuple[subprocess.Popen[str], str]:
    """Start the command without the servers that it must not need; return it and its address."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    command = [sys.executable, "manage.py", "sandbox", "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout
    line = process.stdout.readline()
    greeting = GREETING.match(line)
    assert greeting, line
    return process, greeting[1]


def test_the_command_needs_no_database_and_stops_cleanly_when_told():
    process, url = start_sandbox("--credential", "mine", "--records-per-day", "7", "--seed", "5", "--days", "9")
    with process:
        response = httpx2.post(
            f"{url}/ona{LIST}",
            json={**BODY, "filter": build_yesterday_filter()},
            headers={"Authorization": "Bearer mine"},
        )
        assert len(response.json()["records"]) == 7
        process.terminate()
        assert process.wait(60) == 0


def build_yesterday_filter() -> dict[str, Any]:
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return {"dateRange": {"startTime": (end - timedelta(days=1)).isoformat(), "endTime": end.isoformat()}}


def test_the_command_ends_with_its_parent():
    starter = (
        "import subprocess, sys, os; command = [*sys.argv[1:], str(os.getpid())]; "
        "os.write(1, str(subprocess.Popen(command).pid).encode() + b'\\n'); input()"
    )
    command = [sys.executable, "manage.py", "sandbox", "--port", "0", "--with-parent"]
    with subprocess.Popen(
        [sys.executable, "-c", starter, *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        int(parent.stdout.readline())
        assert GREETING.match(parent.stdout.readline())
        parent.kill()
        parent.wait()
        # The sandbox has the other end of this pipe open; it closes when the sandbox exits.
        assert parent.stdout.read() == ""


def test_the_command_ends_where_its_parent_died_while_it_started():
    dead_process = subprocess.Popen([sys.executable, "-c", ""])
    dead_process.wait()
    # Ends a sandbox that would serve for ever.
    timer = threading.Timer(60, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    call_command("sandbox", "--port", "0", "--with-parent", str(dead_process.pid))
    assert timer.is_alive()
    timer.cancel()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--fault", "fire=1"], "Unknown fault"),
        (["--fault", "reset=often"], "name=probability"),
        (["--zone", "Mars/Olympus"], "no time zone"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_options(arguments: list[str], reason: str):
    with pytest.raises(CommandError, match=reason):
        call_command("sandbox", *arguments)


def test_the_command_says_that_its_port_is_taken(sandbox: SandboxServer):
    with pytest.raises(CommandError, match=f"Port {sandbox.port}"):
        call_command("sandbox", "--port", str(sandbox.port))


def test_a_sandbox_in_a_process_of_its_own_is_controlled_over_http_and_stops_cleanly_at_ctrl_c():
    with SandboxProcess("--fault", "ona.forbidden=1", "--records-per-day", "3") as sandbox:
        body = {"filter": build_yesterday_filter()}
        assert httpx2.post(f"{sandbox.url}/ona{LIST}", json=body, headers=HEADERS).status_code == 403
        sandbox.post("faults/clear")
        assert len(httpx2.post(f"{sandbox.url}/ona{LIST}", json=body, headers=HEADERS).json()["records"]) == 3
        assert sandbox.get("stats")["faults"] == {"ona.forbidden": 1}
        os.kill(sandbox.pid, signal.SIGINT)
        assert sandbox._process.wait(60) == 0


def test_a_sandbox_process_that_does_not_start_says_so(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(RuntimeError, match="did not start"):
        SandboxProcess("--fault", "fire=1").start()
    assert "Unknown fault" in capfd.readouterr().err


def test_without_its_web_server_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "sync.sandbox.server")
    with pytest.raises(CommandError, match=r"needs aiohttp, .* install the extra `sandbox`"):
        call_command("sandbox")
