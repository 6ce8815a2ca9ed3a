"""`manage.py up`: the whole portal from nothing, and down again."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, patch
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from portal.accounts.models import ApiToken
from portal.embedded import Services, demo
from portal.environment import BASE_DIR
from portal.management.commands import up
from sync.vendors import readers
from tests.benchmarks.cost import children
from tests.support.processes import wait_for
from usage.models import Source

KINDS = ("environment-usage", "resource-usage", "recipe-usage")
PATIENCE = 180


@dataclass
class Run:
    """One `manage.py up --demo` on a data folder, with what it has printed."""

    data_dir: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--demo"],
                cwd=BASE_DIR,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait(lambda: "Ctrl-C stops everything" in self.text or self.process.poll() is not None)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes: none that names other servers."""
        removed_names = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PORTAL_ENCRYPTION_KEYS", "PORTAL_HTTPS"}
        variables = {name: value for name, value in os.environ.items() if name not in removed_names}
        return variables | {"PORTAL_DATA_DIR": str(self.data_dir), "PORTAL_IGNORE_DOTENV": "1"}

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.data_dir.with_suffix(".log")

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def find_value(self, label: str) -> str:
        """Return the value that follows `label` in the output."""
        match = re.search(rf"^  {label} +(\S+)", self.text, re.MULTILINE)
        assert match, self.text
        return match[1]

    def wait(self, condition: Callable[[], Any]) -> None:
        """Ask until `condition` holds; fails with the output where it does not in time."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.text
            time.sleep(0.1)

    def get(self, path: str) -> tuple[int, Any]:
        """Return status and JSON of a GET of `path` with the token that was shown."""
        address = urlsplit(self.find_value("Portal"))
        with closing(http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.find_value('Token')}"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def slow_vendors(self) -> None:
        """Let the stand-in vendors take their time: reading 90 days as fast as it goes would keep the machine busy."""
        address = f"http://127.0.0.1:{demo_file(self.data_dir)['sandbox_port']}/_sandbox/settings"
        with urlopen(address, json.dumps({"latency_ms": 400}).encode(), timeout=30) as response:
            assert response.status == 200

    def rows(self) -> list[int]:
        """Return how many records there are of each kind."""
        return [self.get(f"/api/v1/{kind}/?count=exact&page_size=1")[1]["count"] for kind in KINDS]

    def end(self, number: int, pid: int | None = None) -> int:
        """Send a signal to the command, or to one of its programs; returns the command's exit status."""
        os.kill(pid or self.process.pid, number)
        return self.process.wait(PATIENCE)


def list_processes(data_dir: Path) -> list[int]:
    """Return the processes that run on this data folder: its name is in the environment or the command line."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            values = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(data_dir) in values:
            pids.append(int(process.name))
    return pids


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        yield Path(folder, "demo")
        for pid in list_processes(Path(folder, "demo")):
            os.kill(pid, signal.SIGKILL)
        Services(Path(folder, "demo")).remove()


@pytest.mark.slow
def test_the_demo_fills_itself_survives_kills_stops_cleanly_and_goes_on_where_it_was(data_dir: Path) -> None:
    first = Run(data_dir)
    assert first.get("/health/ready") == (200, {"ready": True, "reasons": []})
    first.wait(lambda: all(first.rows()))
    first.slow_vendors()
    first.wait(lambda: first.get("/health/work") == (200, {"work": True, "reasons": []}))
    assert sorted(source["slug"] for source in first.get("/api/v1/sources/")[1]["results"]) == sorted(
        f"{vendor}-demo" for vendor in readers()
    )
    result = subprocess.run(
        [sys.executable, "manage.py", "up", "--credentials"],
        cwd=BASE_DIR,
        env=first.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() in first.text
    assert "\x1b" not in first.text
    # Celery gives up where a child is killed before its pool is complete: now it is.
    before = first.rows()
    kill_one_process_of_each(first)
    first.wait(lambda: grows(first, before))
    assert first.process.poll() is None
    counts = first.rows()
    first.end(signal.SIGKILL)
    # The programs stop by themselves; only the servers stay, for the next command to adopt.
    first.wait(lambda: {*list_processes(data_dir)} == {*servers(data_dir)})

    second = Run(data_dir)
    second.slow_vendors()
    assert [second.find_value(label) for label in ("Login", "Password", "Token")] == [
        "admin",
        demo_file(data_dir)["password"],
        demo_file(data_dir)["token"],
    ]
    assert all(now >= before for now, before in zip(second.rows(), counts, strict=True))
    assert second.end(signal.SIGINT) == 0, second.text
    assert "Traceback" not in second.text
    assert list_processes(data_dir) == []


def kill_one_process_of_each(run: Run) -> None:
    """Kill a process of the web server and one of the worker; others take their places."""
    for program in ("web", "worker"):
        match = re.search(rf"{program}\.\d* *started \(pid=(\d+)\)|{program} started \(pid=(\d+)\)", run.text)
        assert match, run.text
        parent = int(match[1] or match[2])
        run.wait(lambda: len(children(parent)) >= 2)  # noqa: B023 (called at once)
        victim = children(parent)[-1]
        os.kill(victim, signal.SIGKILL)
        run.wait(lambda: len({*children(parent)} - {victim}) >= 2)  # noqa: B023 (called at once)


def grows(run: Run, before: list[int]) -> bool:
    """Return whether the portal serves, and has read more since."""
    try:
        return run.get("/health/ready") == (200, {"ready": True, "reasons": []}) and sum(run.rows()) > sum(before)
    except ConnectionError:
        return False


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
ENDS = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
LOUD = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print('x' * 10**6, flush=True), sys.exit())); "
    "print('up', flush=True); time.sleep(600)"
)
TERMINAL = """
import sys, honcho.manager
from portal.embedded.runner import ProgramRunner
honcho.manager.KILL_WAIT = 1
programs = {str(number): ["-c", program, sys.argv[1]] for number, program in enumerate(sys.argv[2:], start=1)}
print(*ProgramRunner(programs, on_start=lambda: None).run())
"""


@pytest.mark.parametrize("program", [DEAF, LOUD], ids=["deaf", "loud"])
def test_no_program_outlives_a_terminal_that_was_killed(tmp_path: Path, program: str) -> None:
    mark = tmp_path / "mark"
    terminal = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, str(mark), program],
        cwd=BASE_DIR,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with terminal, killed_at_the_end(mark):
        assert terminal.stdout is not None
        while b"up" not in terminal.stdout.readline().split():
            pass
        terminal.kill()
        wait_for(lambda: list_processes(mark) == [], "the program and its reader to end")


def test_where_a_program_ends_by_itself_the_others_are_stopped(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", TERMINAL, str(mark), LOUD, ENDS]
    with killed_at_the_end(mark):
        ran = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert ran.stdout.splitlines()[-1] == "2 (status -9)", ran.stderr
        assert list_processes(mark) == []


def test_the_command_fails_and_names_the_program_that_ended_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = SimpleNamespace(run=lambda: ["beat (status -9)"])
    for name, stand_in in {
        "ProgramRunner": lambda *_, **__: runner,
        "call_command": Mock(),
        "connections": Mock(),
    }.items():
        monkeypatch.setattr(up, name, stand_in)
    monkeypatch.setattr(up, "wait_for_servers", lambda: None)
    with patch.dict(os.environ), pytest.raises(CommandError, match=r"Ended without being asked to: beat \(status -9\)"):
        call_command("up")


@contextmanager
def killed_at_the_end(mark: Path) -> Iterator[None]:
    """Leave no process behind that has this path in its command line."""
    try:
        yield
    finally:
        for pid in list_processes(mark):
            os.kill(pid, signal.SIGKILL)


def servers(data_dir: Path) -> list[int | None]:
    """Return the process ids of the embedded servers."""
    return [server.pid() for server in Services(data_dir).servers]


def demo_file(data_dir: Path) -> dict[str, Any]:
    path = data_dir / "demo.json"
    assert path.stat().st_mode & 0o777 == 0o600
    content: dict[str, Any] = json.loads(path.read_text())
    return content


@pytest.mark.django_db
def test_the_demo_is_made_once(tmp_path: Path) -> None:
    created = demo.create_demo(tmp_path, 8000)
    assert demo.create_demo(tmp_path, 8000) == created
    assert [Source.objects.count(), User.objects.count(), ApiToken.objects.count()] == [len(readers()), 1, 1]
    assert User.objects.get(username=demo.LOGIN, is_superuser=True).check_password(created.password)


@pytest.mark.django_db
def test_the_demos_sources_follow_the_sandbox_to_another_port_and_keep_the_rest(tmp_path: Path) -> None:
    created = demo.create_demo(tmp_path, 8000)
    Source.objects.update(interval_minutes=5)
    with socket.create_server(("127.0.0.1", created.sandbox_port)):
        moved = demo.create_demo(tmp_path, 8000)
    assert moved.sandbox_port != created.sandbox_port
    for source in Source.objects.all():
        assert source.base_url.startswith(f"http://127.0.0.1:{moved.sandbox_port}/{source.vendor}")
        assert source.interval_minutes == 5


@pytest.mark.django_db
def test_the_demo_leaves_a_password_that_somebody_set(tmp_path: Path) -> None:
    User.objects.create_superuser(demo.LOGIN, password="mine-since-long")
    assert demo.create_demo(tmp_path, 8000).password == ""
    assert User.objects.get(username=demo.LOGIN).check_password("mine-since-long")


@pytest.mark.django_db
def test_a_revoked_demo_token_is_replaced(tmp_path: Path) -> None:
    created = demo.create_demo(tmp_path, 8000)
    ApiToken.objects.get().revoke()
    assert demo.create_demo(tmp_path, 8000).token != created.token


def test_a_data_folder_that_cannot_be_made_is_refused_with_what_to_set(settings: Any, tmp_path: Path) -> None:
    settings.PORTAL_DATA_DIR = tmp_path / "file"
    settings.PORTAL_DATA_DIR.touch()
    with pytest.raises(CommandError, match="Set PORTAL_DATA_DIR to a folder"):
        call_command("up")


def test_a_wanted_port_that_is_taken_is_said_to_be() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} of 127.0.0.1 is taken"):
            call_command("up", port=port)


@pytest.mark.parametrize(("is_terminal", "color"), [(True, "1"), (False, None)])
def test_the_programs_colour_their_output_on_a_terminal_alone(
    is_terminal: bool, color: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal, raising=False)
    with patch.dict(os.environ, clear=True):
        up.set_environment(None)
        assert os.environ.get("FORCE_COLOR") == color
        assert os.environ["PORTAL_HTTPS"] == "off"
        assert "PORTAL_ALLOWED_VENDOR_HOSTS" not in os.environ


def test_without_the_demo_the_banner_has_addresses_and_no_login() -> None:
    banner = "\n".join(up.build_banner("http://127.0.0.1:8000", None))
    assert "http://127.0.0.1:8000/admin/" in banner
    assert "Ctrl-C stops everything" in banner
    assert not re.search("Login|Password|Token", banner)
