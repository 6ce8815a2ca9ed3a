"""Spans: made only where the settings name a collector, with the ids of the log and no words of an error."""

from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from sync import tracing
from sync.tracing import annotate_span, open_span


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans that end in this test."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "TRACERS", [provider.get_tracer("test")])
    return exporter


@pytest.fixture(autouse=True)
def _without_ids() -> Iterator[None]:
    with structlog.contextvars.bound_contextvars():
        structlog.contextvars.clear_contextvars()
        yield


def test_a_span_has_its_attributes_the_ids_of_the_log_and_the_name_it_is_given(spans: InMemorySpanExporter) -> None:
    with (
        structlog.contextvars.bound_contextvars(source="gcore-main", secret="not an id"),
        open_span("request", "SERVER", {"method": "GET"}),
        open_span("inner"),
    ):
        annotate_span({"outcome": "loaded"})
        annotate_span({"records": 5}, "read day")
    inner, outer = spans.get_finished_spans()
    assert (inner.name, outer.name, outer.kind) == ("read day", "request", SpanKind.SERVER)
    assert dict(inner.attributes or {}) == {"source": "gcore-main", "outcome": "loaded", "records": 5}
    assert dict(outer.attributes or {}) == {"source": "gcore-main", "method": "GET"}
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id


def test_a_span_continues_the_trace_of_its_caller(spans: InMemorySpanExporter) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with open_span("request", carrier={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}):
        pass
    assert f"{spans.get_finished_spans()[0].context.trace_id:032x}" == trace


def test_an_error_is_told_by_its_type_alone(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), open_span("work"):
        raise ValueError("secret")
    [span] = spans.get_finished_spans()
    assert (span.status.status_code, dict(span.attributes or {})) == (StatusCode.ERROR, {"error.type": "ValueError"})
    assert "secret" not in span.to_json()


def test_without_a_collector_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "TRACERS", [])
    with open_span("work"):
        annotate_span({"outcome": "loaded"}, "other")
