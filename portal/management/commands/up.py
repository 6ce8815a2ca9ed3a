"""`manage.py up`: the whole portal in one terminal, optionally with the demo."""

import http.client
import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from portal.embedded.demo import LOGIN, Demo, create_demo, read_stored
from portal.embedded.paths import build_folder_error
from portal.embedded.runner import ProgramRunner
from portal.embedded.server import is_port_free
from portal.startup import wait_for_servers
from sync.tasks import tick
from usage.management.arguments import LARGEST_PORT, build_number_type

HOST = "127.0.0.1"
PORT = 8000
RULE = "─" * 78


class Command(BaseCommand):
    help = "Run web, worker and beat in one terminal, on loopback; Ctrl-C stops all of it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="With stand-in vendors, a login and a token.")
        parser.add_argument(
            "--credentials", action="store_true", help="Print address, login and token of the demo again, and end."
        )
        port = build_number_type(1, LARGEST_PORT)
        parser.add_argument("--port", type=port, help=f"Default: {PORT}, or the next one that is free.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["credentials"]:
            self._print_banner(*read_demo(settings.PORTAL_DATA_DIR))
            return
        port = choose_port(options["port"])
        try:
            settings.PORTAL_DATA_DIR.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CommandError(str(build_folder_error(settings.PORTAL_DATA_DIR, error))) from None
        wait_for_servers()
        call_command("migrate", interactive=False, verbosity=0)
        # The programs need no right to change the audit log.
        os.environ.pop("PORTAL_OWNER_DATABASE_URL", None)
        demo = create_demo(settings.PORTAL_DATA_DIR, port) if options["demo"] else None
        set_environment(demo)
        # The programs are forked from here and must not share a connection.
        connections.close_all()
        runner = ProgramRunner(build_programs(port, demo), lambda: self._announce(port, demo), stop_last=["sandbox"])
        if ended_programs := runner.run():
            raise CommandError(f"Ended without being asked to: {', '.join(ended_programs)}. The rest was stopped too.")

    def _announce(self, port: int, demo: Demo | None) -> None:
        """Wait for web and sandbox, run a tick at once, and print the banner."""
        while not (is_answering(port, "/health/ready") and (demo is None or is_answering(demo.sandbox_port, "/"))):
            time.sleep(0.1)
        tick.delay()
        self._print_banner(port, demo)

    def _print_banner(self, port: int, demo: Demo | None) -> None:
        self.stdout.write("\n".join(["", RULE, *build_banner(f"http://{HOST}:{port}", demo), RULE, ""]))
        self.stdout.flush()


def read_demo(data_dir: Path) -> tuple[int, Demo]:
    """Return the port and the demo of the last start; raises CommandError where there was none."""
    stored = read_stored(data_dir)
    try:
        return stored.pop("port"), Demo(**stored)
    except (KeyError, TypeError):
        raise CommandError(f"No demo was started in {data_dir}: run manage.py up --demo.") from None


def choose_port(requested: int | None) -> int:
    """Return the port to serve on; raises CommandError if the requested one is taken."""
    candidates = [requested] if requested is not None else range(PORT, PORT + 100)
    for port in candidates:
        if is_port_free(port):
            return port
    raise CommandError(f"Port {candidates[0]} of {HOST} is taken; choose another with --port.")


def set_environment(demo: Demo | None) -> None:
    """Set the environment of the programs: no https, readable logs; existing values stay.

    The demo's sources read the sandbox on loopback, which has to be an allowed vendor host.
    """
    os.environ.setdefault("PORTAL_HTTPS", "off")
    os.environ.setdefault("PORTAL_LOG_FORMAT", "console")
    # The programs write to a pipe; what it leads to is a terminal.
    if sys.stdout.isatty():
        os.environ.setdefault("FORCE_COLOR", "1")
    # In containers the user is root; Celery warns of that at every start.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:You're running the worker with superuser")
    if demo is not None:
        sandbox = f"{HOST}:{demo.sandbox_port}"
        os.environ["PORTAL_ALLOWED_VENDOR_HOSTS"] = ",".join({*settings.PORTAL_ALLOWED_VENDOR_HOSTS, sandbox})


def build_programs(port: int, demo: Demo | None) -> dict[str, list[str]]:
    """Return the arguments of Python for each program, by the prefix of its output."""
    celery = ["-m", "celery", "--quiet", "-A", "portal.celery"]
    arguments = {
        "web": ["-m", "portal.web", "--host", HOST, "--port", str(port)],
        "worker": [*celery, "worker", "--concurrency", "4", "--without-gossip", "--without-mingle"],
        "beat": [*celery, "beat"],
    }
    if demo is not None:
        arguments["sandbox"] = ["manage.py", "sandbox", "--port", str(demo.sandbox_port)]
    return arguments


def build_banner(address: str, demo: Demo | None) -> Iterable[str]:
    """Yield the lines of the banner: URLs, login, token."""
    yield f"  Portal     {address}/admin/"
    yield f"  API        {address}/api/v1/docs/"
    if demo is not None:
        url = f"{address}/api/v1/environment-usage/?page_size=3"
        yield f"  Login      {LOGIN}"
        yield f"  Password   {demo.password or '(the one you set)'}"
        yield f"  Token      {demo.token}"
        yield f'  Try        curl -H "Authorization: Bearer {demo.token}" "{url}"'
    yield f"  Ctrl-C stops everything; the data stays in {settings.PORTAL_DATA_DIR}."


def is_answering(port: int, path: str) -> bool:
    """Return whether a server on `port` responds to a GET of `path` with a status below 500."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=5)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
