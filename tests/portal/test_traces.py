"""Traces of OpenTelemetry, as a collector gets them: what happened and how long it took, and nothing that was said."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.trace import TracerProvider
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from portal.accounts.models import Scope, create_token
from portal.traces import start_traces
from sync import tasks
from sync.engine.plan import ensure_days
from sync.tracing import open_span
from tests.portal.test_error_reports import CANARY, REQUEST_ID, ask
from tests.support.api_clients import API, serve_portal
from tests.support.processes import portal_process, wait_for
from tests.support.scripted_vendor import make_source
from usage.models import DayState, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """A server that takes spans."""

    def __init__(self, server: HTTPServer) -> None:
        self.bodies: list[bytes] = []
        self.url = f"http://127.0.0.1:{server.port}/v1/traces"
        server.expect_request("/v1/traces", method="POST").respond_with_handler(self.take)

    def take(self, request: Request) -> Response:
        self.bodies.append(request.get_data())
        return Response(b"", content_type="application/x-protobuf")

    def list_spans(self) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the spans that came, each with its attributes."""
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield span, {attribute.key: read(attribute.value) for attribute in span.attributes}

    def wait(self, name: str) -> tuple[Any, dict[str, Any]]:
        """Return the first span of a name, once it came."""
        return wait_for(lambda: [span for span in self.list_spans() if span[0].name == name], name)[0]

    def check_clean(self, *secrets: str) -> None:
        """Check that nothing came that was secret, or from outside."""
        assert [secret for secret in (CANARY, *secrets) if any(secret.encode() in body for body in self.bodies)] == []


def read(value: AnyValue) -> Any:
    """Return the value of an attribute."""
    return getattr(value, value.WhichOneof("value") or "")


@pytest.fixture
def collector(httpserver: HTTPServer) -> Collector:
    return Collector(httpserver)


def test_a_request_is_a_span_of_its_route_in_the_proxys_trace(collector: Collector) -> None:
    _, secret = create_token(CANARY, Scope.values)
    headers = {"Authorization": f"Bearer {secret}", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    with serve_portal(PORTAL_TRACES_URL=collector.url) as port:
        assert ask(port, "GET", f"{API}/environment-usage/?environment_id={CANARY}", **headers) == 200
        assert ask(port, "GET", f"/{CANARY}", **headers) == 404
        span, facts = collector.wait("GET api:environment-usage-list")
        collector.wait("GET other")
    assert (span.trace_id.hex(), span.kind) == (TRACE, span.SPAN_KIND_SERVER)
    assert facts == {
        "request_id": REQUEST_ID,
        "http.request.method": "GET",
        "http.route": "api:environment-usage-list",
        "http.response.status_code": 200,
    }
    collector.check_clean(secret)


def test_a_task_the_day_that_it_reads_and_its_requests_are_one_trace(
    collector: Collector, httpserver: HTTPServer, redis_client: object
) -> None:
    httpserver.expect_request("/gitpod.v1.UsageService/ListEnvironmentUsageRecords").respond_with_json(
        {"code": "unauthenticated", "message": CANARY}, status=401
    )
    source = make_source("main", vendor="ona", credential=CANARY, base_url=f"http://127.0.0.1:{httpserver.port}")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    ensure_days(source, yesterday, yesterday + timedelta(days=1))
    command = ["-m", "celery", "-A", "portal.celery", "worker", "--concurrency", "1"]
    with portal_process(command, PORTAL_TRACES_URL=collector.url) as worker:
        wait_for(lambda: " ready." in worker.output(), "the worker")
        tasks.load.delay(source.pk)
        request, request_facts = collector.wait("POST 127.0.0.1")
        day, day_facts = collector.wait("read day")
        task, task_facts = collector.wait("sync.tasks.load")
    assert SourceDay.objects.filter(state=DayState.DUE).exists()
    assert request.trace_id == day.trace_id == task.trace_id
    assert (request.parent_span_id, day.parent_span_id) == (day.span_id, task.span_id)
    assert request_facts["http.response.status_code"] == 401
    assert (day_facts["source"], day_facts["day"]) == ("main", str(yesterday))
    assert (day_facts["error.type"], day.status.code) == ("CredentialError", day.status.STATUS_CODE_ERROR)
    assert (task_facts["task"], task_facts["outcome"]) == ("sync.tasks.load", "SUCCESS")
    collector.check_clean()


def test_spans_of_a_process_go_to_its_collector_under_its_name(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    providers = []

    class Provider(TracerProvider):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            providers.append(self)

    monkeypatch.setattr("opentelemetry.sdk.trace.TracerProvider", Provider)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "portal-of-the-test")
    tracers: list[Any] = []
    for module in ("portal.traces", "sync.tracing"):
        monkeypatch.setattr(f"{module}.TRACERS", tracers)
    for url in ("", "127.0.0.1:4318", "ftp://127.0.0.1/"):
        start_traces(url)
        assert tracers == []
    start_traces(collector.url)
    with open_span("read day"):
        pass
    (provider,) = providers
    provider.shutdown()
    assert [span.name for span, _ in collector.list_spans()] == ["read day"]
    assert b"portal-of-the-test" in collector.bodies[0]
