"""`manage.py up`: the whole portal in one terminal, with the demo's vendors and data if asked for."""

import http.client
import os
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from portal.demo import LOGIN, Demo, prepare
from portal.services.server import is_free
from portal.terminal import Terminal
from sync.tasks import tick

HOST = "127.0.0.1"
PORT = 8000
RULE = "─" * 78


class Command(BaseCommand):
    help = "Run web, worker and beat in one terminal, on loopback; Ctrl-C stops all of it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--demo", action="store_true", help="With stand-in vendors, a login and a token.")
        parser.add_argument("--port", type=int, help=f"Default: {PORT}, or the next one that is free.")

    def handle(self, *args: Any, **options: Any) -> None:
        port = web_port(options["port"])
        settings.PORTAL_DATA_DIR.mkdir(parents=True, exist_ok=True)
        call_command("migrate", interactive=False, verbosity=0)
        demo = prepare(settings.PORTAL_DATA_DIR) if options["demo"] else None
        set_for_loopback(demo)
        # The programs are forked from here and must not share a connection.
        connections.close_all()
        terminal = Terminal(programs(port, demo), beside=lambda: self._tell(port, demo), last=["sandbox"])
        if ended := terminal.run():
            raise CommandError(f"Ended without being asked to: {', '.join(ended)}. The rest was stopped too.")

    def _tell(self, port: int, demo: Demo | None) -> None:
        """Wait for web and sandbox, have everything due read at once, and say where the portal is."""
        while not (answers(port, "/health/ready") and (demo is None or answers(demo.sandbox_port, "/"))):
            time.sleep(0.1)
        tick.delay()
        self.stdout.write("\n".join(["", RULE, *lines(f"http://{HOST}:{port}", demo), RULE, ""]))
        self.stdout.flush()


def web_port(wanted: int | None) -> int:
    """Return the port to serve on; raises CommandError where the wanted one is taken."""
    candidates = [wanted] if wanted is not None else range(PORT, PORT + 100)
    for port in candidates:
        if is_free(port):
            return port
    raise CommandError(f"Port {candidates[0]} of {HOST} is taken; choose another with --port.")


def set_for_loopback(demo: Demo | None) -> None:
    """Prepare the environment of the programs: no https on loopback, logs to be read by a person.

    What is set in the environment already stays. The demo's sources are on loopback, where a source is not
    allowed to be otherwise.
    """
    os.environ.setdefault("PORTAL_HTTPS", "off")
    os.environ.setdefault("PORTAL_LOG_FORMAT", "console")
    # In a container everybody is root, and Celery's long word about it says nothing new at every start.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:You're running the worker with superuser")
    if demo is not None:
        os.environ["PORTAL_ALLOWED_VENDOR_HOSTS"] = ",".join({*settings.PORTAL_ALLOWED_VENDOR_HOSTS, HOST})


def programs(port: int, demo: Demo | None) -> dict[str, list[str]]:
    """Return the arguments of Python for each program, by the name that its lines are marked with."""
    celery = ["-m", "celery", "--quiet", "-A", "portal.celery"]
    web = ["-m", "granian", "--interface", "wsgi", "--host", HOST, "--port", str(port)]
    found = {
        "web": [*web, "--workers", "2", "--blocking-threads", "2", "--no-ws", "portal.wsgi:application"],
        "worker": [*celery, "worker", "--concurrency", "4", "--without-gossip", "--without-mingle"],
        "beat": [*celery, "beat", "--schedule", str(settings.PORTAL_DATA_DIR / "beat-schedule")],
    }
    if demo is not None:
        found["sandbox"] = ["manage.py", "sandbox", "--port", str(demo.sandbox_port)]
    return found


def lines(address: str, demo: Demo | None) -> Iterable[str]:
    """Yield what a person needs to know once the portal runs."""
    yield f"  Portal     {address}/admin/"
    yield f"  API        {address}/api/v1/docs/"
    if demo is not None:
        question = f"{address}/api/v1/environment-usage/?page_size=3"
        yield f"  Login      {LOGIN}"
        yield f"  Password   {demo.password or '(the one you set)'}"
        yield f"  Token      {demo.token}"
        yield f'  Try        curl -H "Authorization: Bearer {demo.token}" "{question}"'
    yield f"  Ctrl-C stops everything; the data stays in {settings.PORTAL_DATA_DIR}."


def answers(port: int, path: str) -> bool:
    """Tell whether something on `port` answers a GET of `path` without a failure of its own."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=5)) as connection:
        try:
            connection.request("GET", path)
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
