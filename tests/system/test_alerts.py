"""Each alert rule fires for its cause alone, as promtool of Debian evaluates it over samples of `/metrics`."""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connection, connections
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from portal.accounts.models import ApiToken, Scope, create_token
from portal.environment import BASE_DIR
from portal.metrics.http_requests import RequestCounts
from sync.engine.scrub import scrub
from sync.errors import CredentialError, VendorUnavailable
from sync.heartbeats import Heartbeat, build_key, record_heartbeat
from sync.vendors.base import Comparison, Rejection
from tests.support.api_clients import API, create_api_client
from tests.support.scripted_vendor import Listing, build_run, make_source, read_day
from tests.system.programs import find_program
from usage.models import DayState, EnvironmentUsage, Source, SourceDay, Verification
from usage.slots import hold_slot

pytestmark = pytest.mark.django_db(transaction=True)
RULES = BASE_DIR / "docs/prometheus/alerts.yml"
DASHBOARD = BASE_DIR / "docs/prometheus/dashboard.json"
ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text())
# Longer than any rule waits.
MINUTES = 26 * 60
CHANGES_AT = 10
Samples = dict[str, float]


class Portal:
    """A healthy portal with one synced source, and the causes of its alerts."""

    def __init__(self, listing: Listing, redis_client: redis.Redis, settings: Settings) -> None:
        self.listing, self.redis, self.settings = listing, redis_client, settings
        # Read whole, yesterday to today: no day is missing.
        self.day = timezone.now().date() - timedelta(days=1)
        self.source: Source = make_source(
            backfill_from=self.day, vendor="ona"
        )  # only days of known vendors are checked
        listing.records[self.day] = [build_run(number, on=self.day) for number in range(30)]
        read_day(self.source, self.day)
        for heartbeat in Heartbeat:
            record_heartbeat(heartbeat)
        self.prometheus = create_api_client(Scope.METRICS_READ)
        self.api = create_api_client(Scope.USAGE_READ, Scope.SYNC_READ)
        self.api.get(f"{API}/environment-usage/")
        self.api.get(f"{API}/sources/")

    def scrape(self) -> Samples:
        """Return the samples in the notation of promtool; none where the portal refuses."""
        response = self.prometheus.get("/metrics")
        if response.status_code != 200:
            return {}
        samples = [sample for family in text_string_to_metric_families(response.text) for sample in family.samples]
        # promtool has no notation for an infinite value that lasts.
        return {f"{sample.name}{format_labels(sample.labels)}": min(sample.value, 1e18) for sample in samples}

    def age(self, heartbeat: Heartbeat, seconds: int) -> None:
        self.redis.pexpire(build_key(heartbeat), (7 * 24 * 3600 - seconds) * 1000)

    def cause_not_scraped(self) -> None:
        ApiToken.objects.update(revoked_at=timezone.now())

    def cause_redis_down(self) -> None:
        self.settings.REDIS_URL = "redis://127.0.0.1:9/0"

    def cause_beat_silent(self) -> None:
        self.age(Heartbeat.BEAT, 200)

    def cause_worker_silent(self) -> None:
        self.age(Heartbeat.WORKER, 200)

    def cause_tick_silent(self) -> None:
        self.redis.delete(build_key(Heartbeat.TICK))

    def cause_queue_stuck(self) -> None:
        SourceDay.objects.update(state=DayState.DUE, due_at=timezone.now() - timedelta(hours=2))

    def cause_source_halted(self) -> None:
        self.fail(CredentialError("The vendor refuses the credential."))

    def cause_source_failing(self) -> None:
        self.fail(VendorUnavailable("The vendor answered 500."))

    def cause_source_late(self) -> None:
        Source.objects.update(backfill_from=self.day - timedelta(days=3))

    def cause_day_mismatched(self) -> None:
        SourceDay.objects.update(checked_at=timezone.now() - timedelta(days=40))
        EnvironmentUsage.objects.filter(record_id="run-1").delete()
        assert scrub(60)

    def cause_day_suspect(self) -> None:
        self.listing.records[self.day] = []
        read_day(self.source, self.day)

    def cause_day_unverified(self) -> None:
        differences = [{"what": "records", "vendor": "31", "portal": "30"}]
        self.listing.checks = [Comparison(Verification.UNVERIFIED, differences) for _ in range(2)]
        read_day(self.source, self.day)

    def cause_records_rejected(self) -> None:
        today = self.day + timedelta(days=1)  # yesterday would be incomplete, and the source late
        self.listing.rejected[today] = [Rejection("{}", "It has no id.")]
        read_day(self.source, today)

    def cause_server_errors(self) -> None:
        with rename_table("usage_environmentusage"):
            client = create_api_client(Scope.USAGE_READ)
            client.raise_request_exception = False
            assert client.get(f"{API}/environment-usage/").status_code == 500

    def cause_requests_refused(self) -> None:
        with hold_slot():
            for _ in range(3):
                assert self.api.get(f"{API}/environment-usage/?format=csv").status_code == 503

    def cause_clients_limited(self) -> None:
        _, secret = create_token("fast", [Scope.SYNC_READ], rate="1/min")
        client = Client(headers={"Authorization": f"Bearer {secret}"})
        statuses = [client.get(f"{API}/sources/").status_code for _ in range(5)]
        assert statuses == [200, 429, 429, 429, 429]

    def cause_slow(self) -> None:
        with lock_table("usage_source", seconds=3):
            assert self.api.get(f"{API}/sources/").status_code == 200

    def fail(self, error: Exception) -> None:
        def refuse(*_: Any) -> None:
            raise error

        self.listing.before_page = refuse
        read_day(self.source, self.day)


@pytest.fixture
def portal(listing: Listing, redis_client: redis.Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Portal:
    counts = RequestCounts()
    for module in ("portal.middleware", "portal.metrics.views"):
        monkeypatch.setattr(f"{module}.request_counts", counts)
    return Portal(listing, redis_client, settings)


@contextmanager
def rename_table(table: str) -> Iterator[None]:
    """Let a table have another name for the time of the block."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        yield
        cursor.execute(f"ALTER TABLE away RENAME TO {table}")


@contextmanager
def lock_table(table: str, seconds: float) -> Iterator[None]:
    """Let another session lock a table for so long."""
    has_lock = threading.Event()

    def hold() -> None:
        other_connection = connections["default"].copy()
        with other_connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            has_lock.set()
            cursor.execute("SELECT pg_sleep(%s)", [seconds])
            cursor.execute("COMMIT")
        other_connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert has_lock.wait(30)
    yield
    thread.join()


def format_labels(labels: Mapping[str, str]) -> str:
    """Return labels as PromQL writes them."""
    return "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items())) + "}"


def build_series(before: Samples, after: Samples) -> list[dict[str, str]]:
    """Return each series: as before at first; then a gauge as after, and a counter that grows as much each minute."""
    minutes_after = MINUTES - CHANGES_AT
    series = []
    for name in sorted(before.keys() | after.keys()):
        first, then = before.get(name), after.get(name)
        grows = re.search(r"_(total|bucket|count|sum)\{", name) is not None
        values = f"_x{CHANGES_AT}" if first is None else f"{first}x{CHANGES_AT}"
        if then is None:
            values += f" stale _x{minutes_after}"
        elif grows:
            values += f" {then}+{max(then - (first or 0), 0)}x{minutes_after}"
        else:
            values += f" {then}x{minutes_after}"
        series.append({"series": name, "values": values})
    return series


def list_firing(folder: Path, before: Samples, after: Samples, expected: set[str]) -> str:
    """Have promtool evaluate the rules over a day; returns what it says where not exactly `expected` fire at its end."""
    names = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)]
    test = {
        "interval": "1m",
        "input_series": build_series(before, after),
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"}) > bool 0',
                "eval_time": f"{MINUTES - 5}m",
                "exp_samples": names,
            }
        ],
    }
    path = folder / "test.json"
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}))
    result = subprocess.run(
        [find_program("promtool"), "test", "rules", str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr


def test_promtool_accepts_the_rules_and_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"].replace("$__rate_interval", "5m") for panel in panels for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(expressions)]
    (tmp_path / "panels.json").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    for path in (RULES, tmp_path / "panels.json"):
        subprocess.run([find_program("promtool"), "check", "rules", str(path)], check=True, capture_output=True)


def test_the_rules_and_the_dashboard_name_metrics_that_there_are(portal: Portal) -> None:
    metrics = {name.partition("{")[0] for name in portal.scrape()}
    named_metrics = set(re.findall(r"\bportal_[a-z_]+", RULES.read_text() + DASHBOARD.read_text()))
    assert named_metrics <= metrics


def test_a_healthy_portal_fires_nothing(portal: Portal, tmp_path: Path) -> None:
    samples = portal.scrape()
    assert list_firing(tmp_path, samples, samples, set()) == ""


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_for_what_it_names_and_no_other_does(alert: str, portal: Portal, tmp_path: Path) -> None:
    before = portal.scrape()
    cause: Callable[[], None] = getattr(
        portal, re.sub(r"(?<!^)([A-Z])", r"_\1", alert).lower().replace("portal", "cause", 1)
    )
    cause()
    assert list_firing(tmp_path, before, portal.scrape(), {alert}) == ""
