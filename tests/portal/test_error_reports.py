"""Reports to Sentry, in every way that an error takes: they say where, and carry nothing that was there."""

import gzip
import http.client
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from portal.accounts.models import Scope, create_token
from portal.error_reports import build_report
from sync import tasks
from sync.engine.plan import ensure_days
from tests.support.api_clients import API, serve_portal
from tests.support.processes import portal_process, wait_for
from tests.support.scripted_vendor import make_source
from tests.support.users import create_person
from usage.models import SourceDay

CANARY = "canary-9f3a"
REQUEST_ID = "request-of-the-test"


class Sentry:
    """A server that takes reports."""

    def __init__(self, server: HTTPServer) -> None:
        self.bodies: list[str] = []
        self.dsn = f"http://key@127.0.0.1:{server.port}/1"
        server.expect_request("/api/1/envelope/", method="POST").respond_with_handler(self.take)

    def take(self, request: Request) -> Response:
        body = request.get_data()
        packed = request.headers.get("Content-Encoding") == "gzip"
        self.bodies.append((gzip.decompress(body) if packed else body).decode() + str(request.headers))
        return Response("{}", content_type="application/json")

    def reports(self) -> list[dict[str, Any]]:
        """Return the reports that came."""
        lines = [line for body in self.bodies for line in body.splitlines() if line.startswith('{"')]
        return [report for report in map(json.loads, lines) if "exception" in report]

    def wait(self, kind: str) -> dict[str, Any]:
        """Return the first report of an exception of this type."""

        def find() -> list[dict[str, Any]]:
            values = [(report, report["exception"]["values"]) for report in self.reports()]
            return [
                report for report, exceptions in values if any(exception["type"] == kind for exception in exceptions)
            ]

        return wait_for(find, f"a report of {kind}")[0]


@pytest.fixture
def sentry(httpserver: HTTPServer) -> Sentry:
    return Sentry(httpserver)


@contextmanager
def rename_table(table: str) -> Iterator[None]:
    """Let a table have another name for the time of the block: who needs it fails."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")


def ask(port: int, method: str, path: str, body: str = "", **headers: str) -> int:
    """Return the status of an answer to a request with the canary wherever a client may put it."""
    all_headers = {
        "X-Request-Id": REQUEST_ID,
        "Cookie": f"sessionid={CANARY}",
        "User-Agent": CANARY,
        "X-Anything": CANARY,
        "Referer": f"http://127.0.0.1/{CANARY}",
        "X-Forwarded-For": CANARY,
    }
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, path, body or None, all_headers | headers)
        return connection.getresponse().status


@pytest.mark.django_db(transaction=True)
def test_requests_that_fail_report_where_and_nothing_of_the_request(sentry: Sentry) -> None:
    create_person("admin")
    source = make_source(CANARY)
    _, secret = create_token(CANARY, Scope.values)
    bearer = {"Authorization": f"Bearer {secret}"}
    with serve_portal(PORTAL_SENTRY_DSN=sentry.dsn, PORTAL_VENDOR_KEY=CANARY) as port:
        with rename_table("usage_environmentusage"):
            assert ask(port, "GET", f"{API}/environment-usage/?environment_id={CANARY}", **bearer) == 500
        with rename_table("sync_syncrun"):
            days = json.dumps({"from": "2026-11-03", "to": "2026-11-04"})
            json_body = {"Content-Type": "application/json", **bearer}
            assert ask(port, "POST", f"{API}/sources/{source.slug}/sync/", days, **json_body) >= 400
        with rename_table("django_session"):
            form = {"Content-Type": "application/x-www-form-urlencoded"}
            ask(port, "POST", "/accounts/login/", f"login={CANARY}&password={CANARY}", **form)
            assert ask(port, "GET", f"/admin/?name={CANARY}") == 500
        report = sentry.wait("ProgrammingError")
        wait_for(lambda: len(sentry.reports()) >= 2, "the other reports")
    assert report["tags"]["request_id"] == REQUEST_ID
    frames = report["exception"]["values"][-1]["stacktrace"]["frames"]
    assert any(frame["filename"].startswith("django/") and frame["lineno"] for frame in frames)
    check_clean(sentry, secret)


@pytest.mark.django_db(transaction=True)
def test_tasks_and_days_that_fail_report_where_and_no_credential(sentry: Sentry, redis_client: object) -> None:
    source = make_source("failing", vendor="ona", credential=CANARY, base_url="https://api.example.com/" + CANARY)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    ensure_days(source, yesterday, yesterday + timedelta(days=1))
    command = ["-m", "celery", "-A", "portal.celery", "worker", "--concurrency", "1", "--without-mingle"]
    with portal_process(command, PORTAL_SENTRY_DSN=sentry.dsn) as worker:
        wait_for(lambda: " ready." in worker.output(), "the worker")
        with rename_table("sync_syncrunday"):
            tasks.load.delay(source.pk)
            report = sentry.wait("ProgrammingError")
        # No instant at all: the task itself fails, with its arguments in the message.
        tasks.tick.delay(CANARY)
        failed = sentry.wait("ValueError")
    assert SourceDay.objects.exists()
    assert report["tags"]["task"] == "sync.tasks.load"
    assert failed["tags"]["task_id"]
    check_clean(sentry)


@pytest.mark.django_db(transaction=True)
def test_commands_and_threads_that_fail_report_where_and_no_argument(sentry: Sentry) -> None:
    code = (
        "import django, threading; django.setup()\n"
        f"def work(secret): raise LookupError(secret)\n"
        f"thread = threading.Thread(target=work, args=['{CANARY}']); thread.start(); thread.join()\n"
        f"raise ArithmeticError('{CANARY}')"
    )
    settings = {
        "PORTAL_SENTRY_DSN": sentry.dsn,
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "PORTAL_VENDOR_KEY": CANARY,
    }
    with portal_process(["-c", code, CANARY], **settings) as process:
        process.wait(60)
    sentry.wait("LookupError")
    sentry.wait("ArithmeticError")
    check_clean(sentry)


def test_a_report_has_only_what_is_listed() -> None:
    frame = {"filename": "a.py", "lineno": 3, "vars": {"key": CANARY}, "context_line": CANARY, "abs_path": CANARY}
    exception = {
        "type": "ValueError",
        "value": CANARY,
        "stacktrace": {"frames": [frame]},
        "mechanism": {"data": CANARY},
    }
    event = {
        "event_id": "1",
        "level": "error",
        "exception": {"values": [exception]},
        **dict.fromkeys(
            ("message", "request", "user", "extra", "breadcrumbs", "server_name", "modules", "new"), CANARY
        ),
        "contexts": {"runtime": CANARY, "trace": {"trace_id": "2", "data": CANARY}},
    }
    report = build_report(event, {})
    assert CANARY not in json.dumps(report)
    assert report["exception"]["values"][0]["stacktrace"]["frames"] == [{"filename": "a.py", "lineno": 3}]


@pytest.mark.parametrize(
    ("line", "message"), [({"event": "day_failed", "source": CANARY}, "day_failed"), (f"GET {CANARY}", None)]
)
def test_a_report_has_the_event_of_a_line_of_our_own_and_nothing_of_others(line: Any, message: str | None) -> None:
    record = logging.LogRecord("portal", logging.ERROR, "a.py", 3, line, None, None)
    report = build_report({"event_id": "1", "logentry": {"message": CANARY}}, {"log_record": record})
    assert CANARY not in json.dumps(report)
    assert (report.get("message"), report["exception"], "contexts" in report) == (message, {"values": []}, False)


def check_clean(sentry: Sentry, *secrets: str) -> None:
    """Check that nothing that is secret, or came from outside, was sent."""
    text = "\n".join(sentry.bodies)
    variables = [os.environ[name] for name in ("SECRET_KEY", "PORTAL_ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL")]
    assert [secret for secret in (CANARY, *secrets, *variables) if secret in text] == []
    assert sys.executable not in text
