"""Behind PgBouncer in transaction mode the portal stores and returns the same as without it."""

import csv
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import httpx2
import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Count, Sum
from django.test import Client

from portal.accounts.models import Scope, create_token
from portal.environment import BASE_DIR
from portal.management.commands.up import build_programs
from sync import tasks
from sync.models import SyncRun
from tests.support.api_clients import hold_port, is_ready
from tests.support.processes import build_environment, portal_process
from tests.support.sandbox_process import SandboxProcess
from tests.support.vendor_readers import build_sandbox_url
from tests.support.vendor_truth import (
    count_records,
    describe_difference,
    fetch_day_totals,
    get_kind,
    read_stored,
    read_truth,
)
from tests.system.pgbouncer import run_pgbouncer
from usage.models import KINDS, DayState, Source, SourceDay
from usage.rollups import compare_rollups

pytestmark = pytest.mark.django_db(transaction=True)
DAYS = 2  # before today
SOURCES = 30
CREDENTIAL = "sandbox-key"
ZONE = "Europe/Berlin"
WORKER = ["-m", "celery", "-A", "portal.celery", "worker", "--concurrency", "4"]
TICK_SECONDS = 10
LONGEST = 300
CALLERS = 8


@pytest.fixture(autouse=True)
def _loopback(settings: Any) -> None:
    settings.PORTAL_ALLOWED_VENDOR_HOSTS = ["127.0.0.1:*"]


@pytest.fixture
def sandboxes() -> Iterator[list[SandboxProcess]]:
    """Two stand-ins with different histories, whose clocks stand still so that today does not grow."""
    size = ("--days", str(DAYS + 2), "--records-per-day", "160", "--zone", ZONE)
    with SandboxProcess("--seed", "1", *size) as first, SandboxProcess("--seed", "2", *size) as second:
        for sandbox in (first, second):
            sandbox.post("now", now=datetime.now(UTC).isoformat())
        yield [first, second]


def create_sources(prefix: str, number: int, sandboxes: list[SandboxProcess]) -> list[Source]:
    """Create sources of every vendor in turn, on one sandbox and then the other."""
    vendors = ("gcore", "ona", "workato")
    return [
        Source.objects.create(
            slug=f"{prefix}-{place}",
            vendor=vendors[place % 3],
            base_url=build_sandbox_url(vendors[place % 3], sandboxes[place // 3 % 2].url),
            credential=CREDENTIAL,
            time_zone=ZONE if vendors[place % 3] == "workato" else "UTC",
            backfill_from=datetime.now(UTC).date() - timedelta(days=DAYS),
            max_concurrency=2,
        )
        for place in range(number)
    ]


def list_days(source: Source) -> list[date]:
    """Return the days that the portal knows of a source."""
    return list(SourceDay.objects.filter(source=source).order_by("day").values_list("day", flat=True))


def is_read(sources: list[Source]) -> bool:
    """Return whether every day of the sources was read and every run has ended."""
    days = SourceDay.objects.filter(source__in=sources)
    unread = days.filter(loaded_at=None).exclude(state=DayState.FAILED)
    return days.exists() and not unread.exists() and not SyncRun.objects.filter(finished_at=None).exists()


def sync_directly(sources: list[Source]) -> None:
    """Read sources by a process that is connected to PostgreSQL itself."""
    command = ["manage.py", "sync", *(source.slug for source in sources)]
    with portal_process(command) as process:
        assert process.wait(LONGEST) == 0, process.output()


def sync_by_workers(sources: list[Source], pooled: dict[str, str]) -> None:
    """Sync the days that the tick plans by workers behind the pooler; days that are not reached in time stay unread."""
    with portal_process(WORKER, **pooled) as worker:
        deadline = time.monotonic() + LONGEST
        next_tick = 0.0
        while not is_read(sources) and time.monotonic() < deadline:
            assert worker.poll() is None
            if time.monotonic() >= next_tick:
                tasks.tick.delay()
                next_tick = time.monotonic() + TICK_SECONDS
            time.sleep(0.5)


def describe_day(source: Source, on: date, truth: Any) -> list[str]:
    """Return the differences of a stored day: in its records, its state, its counts, sums or roll-ups."""
    day = SourceDay.objects.get(source=source, day=on)
    stored = read_stored(source, on)
    lines = [describe_difference(f"{source} {on}", truth, stored)]
    if (day.state, day.error) not in {(DayState.LOADED, ""), (DayState.DUE, "")}:
        lines.append(f"{source} {on} is {day.state}: {day.error}")
    if day.records != len(stored):
        lines.append(f"{source} {on} counts {day.records} records and holds {len(stored)}")
    if differences := compare_rollups(get_kind(source), day)[1]:
        lines.append(f"{source} {on}: roll-ups differ: {differences}")
    return [line for line in lines if line]


def test_workers_behind_a_transaction_pooler_store_exactly_what_the_vendors_report(
    sandboxes: list[SandboxProcess], redis_client: object
) -> None:
    direct_sources = create_sources("direct", 6, sandboxes)
    sync_directly(direct_sources)
    sources = create_sources("pooled", SOURCES, sandboxes)
    Source.objects.filter(pk__in=[source.pk for source in direct_sources]).update(enabled=False)
    with run_pgbouncer() as pooled:
        sync_by_workers(sources, pooled)

    truths = {(source.slug, on): read_truth(source, on) for source in direct_sources for on in list_days(source)}
    differences = [
        line
        for place, source in enumerate([*direct_sources, *sources])
        for on in list_days(source)
        for line in describe_day(source, on, truths[f"direct-{place % 6}", on])
    ]
    days = SourceDay.objects.filter(source__in=sources)
    print(f"{days.count()} days, {count_records(sources):,} records behind the pooler; {len(differences)} faults")
    assert not differences, "\n".join([f"{len(differences)} faults in {days.count()} days:", *differences])
    assert days.filter(state=DayState.LOADED).count() >= SOURCES * DAYS
    for source in sources:
        for on in list_days(source):
            assert_sums(source, on)


def assert_sums(source: Source, on: date) -> None:
    """Compare the count and sums of a stored day with those of the vendor, which the portal's reader did not read."""
    reported = fetch_day_totals(source, on)
    day = SourceDay.objects.get(source=source, day=on)
    stored = {name: Decimal(total) for name, total in day.sums.items()}
    assert reported.count in {None, day.records}, f"{source} {on}"
    assert {name: stored.get(name, Decimal()) for name in reported.sums} == reported.sums, f"{source} {on}"


@contextmanager
def serve(pooled: dict[str, str]) -> Iterator[str]:
    """Serve the portal behind the pooler; yields its URL."""
    # Either process may get every caller.
    settings = {"PORTAL_EXPORTS_AT_ONCE": str(CALLERS), "PORTAL_DB_POOL_SIZE": str(2 * CALLERS + 1)}
    with hold_port() as port, portal_process(build_programs(port, None)["web"], **settings, **pooled):
        deadline = time.monotonic() + LONGEST
        while not is_ready(port):
            assert time.monotonic() < deadline, "granian does not answer"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"


@dataclass
class Caller:
    """A client of the served portal, with a token or as a signed-in member of staff."""

    address: str
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, **query: str) -> httpx2.Response:
        """Return the response to a GET, which must be a 200."""
        url = f"{self.address}{path}"
        with httpx2.Client(headers=self.headers, cookies=self.cookies, timeout=120, follow_redirects=True) as client:
            response = client.get(url, params=query)
        assert response.status_code == 200, f"{path} {query}: {response.status_code} {response.text[:300]}"
        assert "/accounts/login/" not in str(response.url)
        return response

    def list_all(self, kind: str) -> list[dict[str, Any]]:
        """Return all records of a list, page by page."""
        records: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.get(f"/api/v1/{kind}/", page_size="200", **({"cursor": cursor} if cursor else {})).json()
            records += page["results"]
            cursor = page["next_cursor"]
        return records


def create_token_caller(address: str) -> Caller:
    """Create a client with a token."""
    _, secret = create_token("pooled", [Scope.USAGE_READ, Scope.SYNC_READ])
    return Caller(address, {"Authorization": f"Bearer {secret}"})


def create_staff_caller(address: str) -> Caller:
    """Create a client that is signed in as an administrator."""
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("pooled"))
    return Caller(address, cookies={"sessionid": client.cookies["sessionid"].value})


def count_everything(caller: Caller, kind: str) -> tuple[int, Decimal, int, int]:
    """Return the counts of a list, a summary and two exports of a kind."""
    measure = {"environment-usage": "runtime_seconds", "resource-usage": "consumed_quantity"}.get(kind, "task_count")
    records = caller.list_all(kind)
    dimensions = "source,consumed_unit" if kind == "resource-usage" else "source"
    rows = caller.get(f"/api/v1/{kind}/summary/", group_by=dimensions, measures=f"records,{measure}").json()["results"]
    lines = caller.get(f"/api/v1/{kind}/", format="ndjson").text.splitlines()
    table = list(csv.reader(io.StringIO(caller.get(f"/api/v1/{kind}/", format="csv").text), strict=True))
    assert sorted(record["id"] for record in records) == sorted(json.loads(line)["id"] for line in lines)
    assert sum(int(row["records"]) for row in rows) == len(records)
    with localcontext(prec=60):
        total = sum((Decimal(row[measure] or 0) for row in rows), Decimal())
    return len(records), total, len(lines), len(table) - 1


def read_stored_counts(kind: str) -> tuple[int, Decimal, int, int]:
    """Return the same counts from the database."""
    model = KINDS[kind]
    totals = model.objects.current().aggregate(count=Count("pk"), total=Sum(model.measures[0]))
    return totals["count"], totals["total"], totals["count"], totals["count"]


@pytest.fixture
def synced_sources(sandboxes: list[SandboxProcess]) -> list[Source]:
    """Six sources, read without a pooler."""
    sources = create_sources("direct", 6, sandboxes)
    sync_directly(sources)
    return sources


def test_the_web_server_behind_a_transaction_pooler_answers_lists_summaries_and_exports_exactly(
    synced_sources: list[Source], redis_client: object
) -> None:
    expected = {kind: read_stored_counts(kind) for kind in KINDS}
    with run_pgbouncer() as pooled, serve(pooled) as address, ThreadPoolExecutor(CALLERS) as pool:
        caller = create_token_caller(address)
        futures = {(kind, turn): pool.submit(count_everything, caller, kind) for turn in range(4) for kind in KINDS}
        counts = {key: future.result() for key, future in futures.items()}
    assert all(count for count, *_ in expected.values())
    for (kind, _), kind_counts in counts.items():
        assert kind_counts == expected[kind]


def test_every_page_opens_and_follows_its_forms_behind_a_transaction_pooler(
    synced_sources: list[Source], redis_client: object
) -> None:
    with run_pgbouncer() as pooled, serve(pooled) as address, ThreadPoolExecutor(4) as pool:
        caller = create_staff_caller(address)
        first_urls = find_urls(caller.get("/admin/").text)
        first_pages = list(pool.map(caller.get, sorted(first_urls)))
        # One record's page of each kind stands for all of them.
        urls_by_pattern = {
            re.sub(r"[0-9]+", "0", url): url for page in first_pages for url in find_urls(page.text) - first_urls
        }
        responses = list(pool.map(caller.get, sorted(urls_by_pattern.values())))
    assert len(first_pages) > 10, sorted(first_urls)
    assert len(responses) > 10, sorted(urls_by_pattern)


def find_urls(page: str) -> set[str]:
    """Return the URLs of the admin that a page links to, without query strings; pages that need one are left out."""
    urls = {url.partition("?")[0].partition("#")[0] for url in re.findall(r'href="(/admin/[^"]*)"', page)}
    return {url for url in urls if not re.search(r"logout|password|export|/jsi18n|download|api-request", url)}


def run_code(code: str, **environ: str) -> str:
    """Run Python code within a portal process; returns its output."""
    program = f"import django; django.setup()\n{code}"
    settings = {"DJANGO_SETTINGS_MODULE": "portal.settings", **environ}
    command = [sys.executable, "-c", program]
    result = subprocess.run(
        command,
        cwd=BASE_DIR,
        env=build_environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_rows_read_in_chunks_are_all_read_behind_a_transaction_pooler(synced_sources: list[Source]) -> None:
    code = """
from usage.models import SourceDay
from django.db import connection
days = SourceDay.objects.order_by("pk").iterator(chunk_size=2)
rows = [next(days)]
other_connection = connection.copy()
other_connection.set_autocommit(False)
with other_connection.cursor() as cursor:
    cursor.execute("SELECT 1")  # takes the server connection of the rows' first chunk
    print(len([*rows, *days]))
other_connection.close()
"""
    with run_pgbouncer() as pooled:
        assert int(run_code(code, **pooled)) == SourceDay.objects.count()


def test_an_export_needs_one_connection_of_a_transaction_pooler() -> None:
    code = """
from usage.models import SourceDay
from usage.snapshot import open_snapshot
with open_snapshot() as snapshot, snapshot.share():
    print("counted", SourceDay.objects.count())
"""
    with run_pgbouncer(pool_size=1) as pooled:
        assert run_code(code, **pooled) == "counted 0"


def test_an_export_that_lasts_too_long_is_ended_behind_a_transaction_pooler() -> None:
    code = """
import time
from django.db import OperationalError
from usage.snapshot import open_snapshot
with open_snapshot() as snapshot:
    time.sleep(4)
    try:
        with snapshot.connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        print("it goes on")
    except OperationalError:
        print("ended")
"""
    with run_pgbouncer() as pooled:
        assert run_code(code, PORTAL_EXPORT_SECONDS="1", **pooled) == "ended"


def test_times_and_the_programs_name_are_the_same_behind_a_transaction_pooler() -> None:
    code = """
from django.db import connection
from django.db.models import Count, Sum
copies = [connection.copy() for _ in range(3)]
for each_connection in [connection, *copies]:
    each_connection.set_autocommit(False)
    with each_connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('TimeZone'), current_setting('application_name')")
        print(*cursor.fetchone())
connection.commit()
copies[0].commit()
with connection.cursor() as cursor:
    cursor.execute("SELECT current_setting('TimeZone'), current_setting('application_name')")
    print(*cursor.fetchone())
"""
    with set_time_zone("Asia/Tokyo"), run_pgbouncer() as pooled:
        assert set(run_code(code, **pooled).splitlines()) == {"UTC -c"}


@contextmanager
def set_time_zone(zone: str) -> Iterator[None]:
    """Let new connections to the test's database begin in another zone."""
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        cursor.execute(f"ALTER DATABASE {name} SET TimeZone = '{zone}'")
        try:
            yield
        finally:
            cursor.execute(f"ALTER DATABASE {name} RESET TimeZone")
