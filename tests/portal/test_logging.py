"""Logs: the ids that lead from a request to every line about it, and colours only for a terminal."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import Future
from io import StringIO
from typing import Any

import pytest
import structlog
from django.core.management import CommandError, call_command
from django.test import Client

from portal.logging import has_colors, log_settings
from sync.engine.load import load_next
from sync.engine.plan import request_sync
from sync.http.background import BackgroundThreads
from sync.models import SyncRun, Trigger
from tests.support.scripted_vendor import DAY, Listing, build_run
from usage.models import Source

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """The lines of the portal's own handler of logs."""
    log_settings("json", "INFO")
    [handler] = [item for item in logging.getLogger().handlers if getattr(item, "of_portal", False)]
    stream = StringIO()
    monkeypatch.setattr(handler, "stream", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "request_id", ["0af7651916cd43dd8448eb211c80319c", "Root=1-67891233-abcdef012345678912345678", "7f8c:1/2+3_4"]
)
def test_the_request_id_of_a_proxy_is_kept(client: Client, lines: Lines, request_id: str) -> None:
    assert client.get("/health/live", headers={"X-Request-Id": request_id})["X-Request-Id"] == request_id
    assert lines()[-1]["request_id"] == request_id


@pytest.mark.parametrize(
    "request_id", ["", "short", "a" * 129, "with a space", "ünicode-id", "<script>alert</script>", "a\x00bcdefgh"]
)
def test_a_request_id_that_is_not_fit_for_a_line_is_replaced(client: Client, request_id: str) -> None:
    new_id = client.get("/health/live", headers={"X-Request-Id": request_id})["X-Request-Id"]
    assert new_id != request_id
    assert len(new_id) == 32


@pytest.mark.django_db
def test_every_line_about_a_run_has_the_id_of_the_request_that_asked_for_it(
    source: Source, listing: Listing, lines: Lines, django_capture_on_commit_callbacks: Any
) -> None:
    listing.records[DAY] = [build_run(1)]
    with django_capture_on_commit_callbacks(execute=True):
        with structlog.contextvars.bound_contextvars(request_id="request-1"):
            run = request_sync(source, DAY, DAY.replace(day=DAY.day + 1), Trigger.API)
        load_next(source.pk)
    by_event = {line["event"]: line for line in lines()}
    assert {line["request_id"] for line in by_event.values()} == {"request-1"}
    assert {line["run_id"] for line in by_event.values()} == {str(run.pk)}
    assert by_event["run planned"]["days"] == 1
    read, finished = by_event["day read"], by_event["run finished"]
    assert (read["source"], read["day"], read["attempt"], read["records"]) == (source.slug, f"{DAY}", 1, 1)
    assert (finished["days_done"], finished["days_failed"], finished["records"]) == (1, 0, 1)


@pytest.mark.django_db
def test_a_day_that_two_requests_wait_for_names_both(source: Source, listing: Listing, lines: Lines) -> None:
    end = DAY.replace(day=DAY.day + 1)
    for request_id, first in (("request-1", DAY), ("request-2", DAY.replace(day=DAY.day - 1))):
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            request_sync(source, first, end, Trigger.API)
    load_next(source.pk)
    [read] = [line for line in lines() if line["event"] == "day read"]
    assert read["request_id"] == "request-1,request-2"
    assert read["run_id"] == ",".join(str(run.pk) for run in SyncRun.objects.order_by("pk"))


def test_lines_of_the_threads_that_ask_a_vendor_have_the_same_ids() -> None:
    threads = BackgroundThreads(1)
    with structlog.contextvars.bound_contextvars(run_id="7"):
        bound: Future[dict[str, Any]] = threads.submit(structlog.contextvars.get_contextvars)
    assert bound.result(10)["run_id"] == "7"
    threads.close()


@pytest.mark.parametrize(
    ("variables", "terminal", "colors"),
    [({}, True, True), ({}, False, False), ({"NO_COLOR": "1"}, True, False), ({"FORCE_COLOR": "1"}, False, True)],
)
def test_colours_are_for_terminals(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], terminal: bool, colors: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stderr", stream)
    log_settings("console", "INFO")
    structlog.get_logger("test").warning("coloured?")
    assert has_colors() == colors == ("\x1b[" in stream.getvalue())


@pytest.mark.django_db
def test_the_command_that_syncs_leaves_the_logs_of_its_process_as_they_were() -> None:
    logger = logging.getLogger("sync")
    before = logger.level
    with pytest.raises(CommandError, match="nowhere"):
        call_command("sync", "nowhere")
    assert logger.level == before
