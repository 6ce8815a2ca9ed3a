"""`/metrics`: what Prometheus reads, for tokens that may, the same from every process and host."""

import http.client
import re
from contextlib import closing
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.conf import settings as django_settings
from django.test import Client, RequestFactory
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from portal.accounts.models import Scope, create_token
from portal.environment import BASE_DIR
from portal.incidents.models import Channel, Incident, Message
from portal.metrics.http_requests import PROCESSES, RequestCounts
from portal.metrics.work import collect_standby
from portal.reports.models import Report
from sync.engine.claim import claim_day
from sync.engine.load import load_next
from sync.heartbeats import Heartbeat, record_heartbeat
from sync.models import AttemptTotal, LoadAttempt
from sync.vendors.base import Rejection
from tests.support.api_clients import API, create_api_client, get_problem_details, serve_portal
from tests.support.factories import SourceDayFactory, SourceFactory
from tests.support.processes import wait_for
from tests.support.scripted_vendor import DAY, Listing, build_run, make_source, read_day
from tests.support.users import create_person, sign_in_as
from usage.models import DayState, Source, SourceDay
from usage.slots import hold_slot
from usage.standby import STANDBY

pytestmark = pytest.mark.django_db
Labels = tuple[tuple[str, str], ...]


@pytest.fixture(autouse=True)
def counts(monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis) -> RequestCounts:
    """A process that has counted no request, and an empty Redis."""
    counts = RequestCounts()
    for module in ("portal.middleware", "portal.metrics.views"):
        monkeypatch.setattr(f"{module}.request_counts", counts)
    return counts


def scrape(client: Client | None = None) -> dict[tuple[str, Labels], float]:
    """Return every sample by name and labels."""
    response = (client or create_api_client(Scope.METRICS_READ)).get("/metrics")
    assert response.status_code == 200, response.content
    return parse(response.text)


def parse(text: str) -> dict[tuple[str, Labels], float]:
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def value(samples: dict[tuple[str, Labels], float], name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def test_only_a_token_with_the_scope_reads_metrics() -> None:
    get_problem_details(Client().get("/metrics"), 401)
    get_problem_details(sign_in_as("administrator").get("/metrics"), 401)
    scopes = [scope for scope in Scope if scope != Scope.METRICS_READ]
    assert "metrics:read" in get_problem_details(create_api_client(*scopes).get("/metrics"), 403)[""][0]
    get_problem_details(create_api_client(Scope.METRICS_READ).post("/metrics"), 405)
    get_problem_details(create_api_client(Scope.METRICS_READ).get(f"{API}/environment-usage/"), 403)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics",
        ),
        ("image/png", "text/plain; version=0.0.4"),
    ],
)
def test_the_format_is_the_one_that_the_client_takes(accept: str, content_type: str) -> None:
    response = create_api_client(Scope.METRICS_READ).get("/metrics", headers={"Accept": accept})
    assert (response.status_code, response["Content-Type"].startswith(content_type)) == (200, True)


def test_a_source_has_its_lag_its_days_by_status_its_records_and_what_reading_cost(
    source: Source, listing: Listing
) -> None:
    listing.records[DAY] = [build_run(1), build_run(2)]
    listing.rejected[DAY] = [Rejection("{}", "bad")]
    read_day(source)
    samples = scrape()
    labels = {"source": source.slug}
    assert value(samples, "portal_source_records", **labels) == 2
    assert value(samples, "portal_source_days", **labels, status="partial") == 1
    assert value(samples, "portal_source_days", **labels, status="failed") == 0
    assert value(samples, "portal_source_requests_total", **labels) == 1
    assert value(samples, "portal_source_records_read_total", **labels) == 3
    assert value(samples, "portal_source_records_rejected_total", **labels) == 1
    assert value(samples, "portal_source_rejected_records", **labels) == 1
    assert value(samples, "portal_source_attempts_total", **labels, outcome="partial") == 1
    assert value(samples, "portal_source_health", **labels, health="partial") == 1
    assert value(samples, "portal_source_info", **labels, vendor="scripted") == 1
    lag = (timezone.now() - SourceDay.objects.get().starts_at).total_seconds()
    assert value(samples, "portal_source_lag_seconds", **labels) == pytest.approx(lag, abs=60)
    read_at = SourceDay.objects.get().loaded_at.timestamp()
    assert value(samples, "portal_source_last_success_timestamp_seconds", **labels) == pytest.approx(read_at)


def test_counters_of_attempts_only_ever_grow(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(1)]
    for _ in range(3):
        read_day(source)
    LoadAttempt.objects.all().delete()  # as prune does
    samples = scrape()
    assert value(samples, "portal_source_attempts_total", source=source.slug, outcome="loaded") == 1
    assert value(samples, "portal_source_attempts_total", source=source.slug, outcome="unchanged") == 2
    assert value(samples, "portal_source_requests_total", source=source.slug) == 3


def test_an_attempt_that_another_worker_took_over_is_counted_once(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(1)]

    def take_over(*_: Any) -> None:
        listing.before_page = None
        SourceDay.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        assert claim_day(source.pk, "another") is not None

    listing.before_page = take_over
    SourceDayFactory(source=source, day=DAY, state=DayState.DUE, due_at=timezone.now())
    load_next(source.pk)
    assert dict(AttemptTotal.objects.values_list("outcome", "attempts")) == {"lost": 1}


def test_open_incidents_and_messages_that_nobody_has_sent(source: Source) -> None:
    values = {"subject": "x", "severity": "critical", "state": "Low", "message": "is wrong."}
    incident = Incident.objects.create(condition="disk_low", key="host:a", **values)
    Incident.objects.create(condition="disk_low", key="host:b", **values, resolved_at=timezone.now())
    channel = Channel.objects.create(name="ops", recipients="ops@example.com")
    hour_ago = timezone.now() - timedelta(hours=1)
    Message.objects.create(key="1", channel=channel, incident=incident, event="opened", created_at=hour_ago)
    report = Report.objects.create(name="monthly", owner=create_person("viewer"), next_at=timezone.now())
    waits = {"scheduled_at": hour_ago, "created_at": hour_ago, "wait_until": timezone.now() + timedelta(days=1)}
    Message.objects.create(key="2", report=report, event="report", **waits)
    samples = scrape()
    assert value(samples, "portal_incidents_open", condition="disk_low", severity="critical") == 1
    assert value(samples, "portal_incidents_open", condition="worker_silent", severity="critical") == 0
    assert value(samples, "portal_outbox_messages") == 2
    assert value(samples, "portal_outbox_oldest_seconds") == pytest.approx(3600, abs=60)
    Message.objects.filter(key="1").delete()
    assert value(scrape(), "portal_outbox_oldest_seconds") == 0


def test_what_is_due_and_who_was_seen(source: Source) -> None:
    SourceDayFactory(source=source, state=DayState.DUE, due_at=timezone.now() - timedelta(hours=2))
    SourceDayFactory(source=source, state=DayState.DUE, due_at=timezone.now() + timedelta(hours=2))
    halted = make_source("halted", halted_at=timezone.now(), halt_reason="It was refused.")
    SourceDayFactory(source=halted, state=DayState.DUE, due_at=timezone.now() - timedelta(hours=9))
    record_heartbeat(Heartbeat.BEAT)
    samples = scrape()
    assert value(samples, "portal_queue_days") == 1
    assert value(samples, "portal_queue_oldest_seconds") == pytest.approx(7200, abs=60)
    assert value(samples, "portal_queue_messages") == 0
    assert value(samples, "portal_heartbeat_age_seconds", program="beat") < 60
    assert value(samples, "portal_heartbeat_age_seconds", program="worker") == float("inf")
    assert value(samples, "portal_source_health", source="halted", health="halted") == 1


def test_a_token_that_is_limited_to_sources_sees_no_other(source: Source) -> None:
    hidden_source = SourceFactory(slug="hidden")
    SourceDayFactory(source=hidden_source, state=DayState.DUE, due_at=timezone.now() - timedelta(hours=1))
    samples = scrape(create_api_client(Scope.METRICS_READ, sources=[source]))
    assert {dict(labels)["source"] for _, labels in samples if "source" in dict(labels)} == {source.slug}
    assert value(samples, "portal_queue_days") == 0


def test_requests_are_counted_by_route_method_and_status_and_make_no_series_of_their_own() -> None:
    client = create_api_client()
    for path in (
        "environment-usage/?page_size=1",
        "environment-usage/",
        "environment-usage/?page_size=x",
        "nowhere/1/",
        "nowhere/2/",
    ):
        client.get(f"{API}/{path}")
    client.generic("BREW", f"{API}/environment-usage/")
    samples = scrape()
    route_labels = {"route": "api:environment-usage-list", "method": "GET"}
    assert value(samples, "portal_http_requests_total", **route_labels, status="200") == 2
    assert value(samples, "portal_http_requests_total", **route_labels, status="400") == 1
    assert value(samples, "portal_http_requests_total", **route_labels | {"method": "other"}, status="405") == 1
    unknown = [labels for name, labels in samples if name == "portal_http_requests_total" and "nowhere" in str(labels)]
    assert unknown == []
    buckets = {
        dict(labels)["le"]: number
        for (name, labels), number in samples.items()
        if name == "portal_http_request_duration_seconds_bucket" and ("route", route_labels["route"]) in labels
    }
    assert buckets["+Inf"] == 4
    assert list(buckets.values()) == sorted(buckets.values())
    assert value(samples, "portal_http_request_duration_seconds_sum", route=route_labels["route"]) > 0


def test_without_redis_the_metrics_of_the_database_are_there_and_no_request_is_lost(
    source: Source, settings: Settings
) -> None:
    client = create_api_client(Scope.METRICS_READ)
    url = settings.REDIS_URL
    create_api_client().get(f"{API}/sources/")
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    samples = scrape(client)
    assert value(samples, "portal_redis_up") == 0
    assert value(samples, "portal_source_records", source=source.slug) == 0
    assert not any(name.startswith("portal_http") for name, _ in samples)
    settings.REDIS_URL = url
    samples = scrape(client)
    assert value(samples, "portal_redis_up") == 1
    assert value(samples, "portal_http_requests_total", route="api:sources-list", method="GET", status="200") == 1


def test_each_process_of_the_web_server_writes_its_counts_by_one_thread(
    counts: RequestCounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    thread = SimpleNamespace(Thread=lambda **options: SimpleNamespace(start=lambda: started.append(options)))
    monkeypatch.setattr("portal.metrics.http_requests.threading", thread)
    monkeypatch.setattr("portal.metrics.http_requests.is_web_server", lambda: False)
    request = RequestFactory().get("/")
    request.resolver_match = None
    counts.record(request, 404, 0.1)
    assert started == []
    monkeypatch.setattr("portal.metrics.http_requests.is_web_server", lambda: True)
    for _ in range(2):
        counts.record(request, 404, 0.1)
    assert started == [{"target": counts.flush_forever, "daemon": True}]
    worker = SimpleNamespace(getpid=lambda: -1)  # that was forked from it
    monkeypatch.setattr("portal.metrics.http_requests.os", worker)
    counts.record(request, 404, 0.1)
    assert len(started) == 2


@pytest.mark.parametrize(("lag", "figures"), [(None, (0, None)), (3.5, (1, 3.5))])
def test_a_standby_says_whether_it_serves_the_figures_and_how_far_it_is_behind(
    lag: float | None, figures: tuple[float, float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(collect_standby()) == []
    monkeypatch.setitem(django_settings.DATABASES, STANDBY, {})
    monkeypatch.setattr("portal.metrics.work.get_replica_lag", lambda: lag)
    samples = {sample.name: sample.value for metric in collect_standby() for sample in metric.samples}
    assert (samples["portal_standby_up"], samples.get("portal_standby_lag_seconds")) == figures


def test_exports_under_way_are_those_of_the_processes_that_live(redis_client: redis.Redis) -> None:
    redis_client.sadd(PROCESSES, "elsewhere:1", "gone:1")
    redis_client.set(f"{PROCESSES}:elsewhere:1", 2, ex=10)
    with hold_slot():
        samples = scrape()
    assert value(samples, "portal_exports_running") == 3
    assert value(samples, "portal_web_processes") == 2
    assert redis_client.sismember(PROCESSES, "gone:1") == 0


@pytest.mark.django_db(transaction=True)
def test_two_web_servers_with_several_processes_give_the_same_figures() -> None:
    _, secret = create_token("test", [Scope.METRICS_READ, Scope.SYNC_READ])
    with serve_portal("--workers", "2") as first_port, serve_portal() as second_port:
        responses = [ask(port, f"{API}/sources/", secret) for port in (first_port, second_port) for _ in range(20)]
        assert {status for status, _ in responses} == {200}
        labels = {"route": "api:sources-list", "method": "GET", "status": "200"}

        def count(samples: Any) -> float:
            return value(samples, "portal_http_requests_total", **labels) or 0

        # Each process passes on what it has counted within a second, or later where the machine is busy.
        wait_for(
            lambda: count(parse(ask(first_port, "/metrics", secret)[1])) >= 40, "all requests to be counted", every=0.5
        )
        scrapes = [
            parse(ask(port, "/metrics", secret)[1]) for port in (first_port, second_port, first_port, second_port)
        ]
    assert {count(samples) for samples in scrapes} == {40}
    assert all(value(samples, "portal_web_processes") >= 2 for samples in scrapes)


def test_the_documentation_names_every_metric(source: Source, listing: Listing) -> None:
    read_day(source)
    create_api_client().get(f"{API}/sources/")
    record_heartbeat(Heartbeat.BEAT)
    page = (BASE_DIR / "docs/monitoring.md").read_text()
    documented = set(re.findall(r"^\| `(portal_\w+)` \|", page, re.MULTILINE))
    scraped = {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in scrape() if not name.endswith("_created")}
    # tests/end_to_end/test_standby.py scrapes those of a standby.
    assert documented == scraped | {"portal_standby_up", "portal_standby_lag_seconds"}


def ask(port: int, path: str, secret: str) -> tuple[int, str]:
    """Return status and body of an answer, over a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {secret}"})
        response = connection.getresponse()
        return response.status, response.read().decode()
