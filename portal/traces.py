"""Traces of OpenTelemetry, where PORTAL_TRACES_URL names a collector; `sync/tracing.py` makes the spans."""

import os
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from sync.tracing import TRACERS

SERVICE: Final = "usage-portal"
# A process that ends waits so long for an unresponsive collector, with all that it still has in a single request.
EXPORT_SECONDS: Final = 3
MAX_SPANS: Final = 2048
# A process that is killed loses what it has not sent yet.
DELAY_MILLISECONDS: Final = 1000


def is_installed() -> bool:
    """Return whether the extra `traces` is installed."""
    return find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None


def is_collector(url: str) -> bool:
    """Return whether a text is the address of a collector."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        return False


def start_traces(url: str) -> None:
    """Send the spans of this process to a collector; does nothing without an address, or where the checks refuse it.

    OpenTelemetry's own variables apply too, such as OTEL_TRACES_SAMPLER and OTEL_EXPORTER_OTLP_HEADERS. Its global
    provider is left alone: no library that uses it adds what the portal leaves out.
    """
    if not url or not is_installed() or not is_collector(url):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    service = os.environ.get("OTEL_SERVICE_NAME") or SERVICE
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(endpoint=url, timeout=EXPORT_SECONDS)
    processor = BatchSpanProcessor(
        exporter,
        max_queue_size=MAX_SPANS,
        schedule_delay_millis=DELAY_MILLISECONDS,
        max_export_batch_size=MAX_SPANS,
    )
    provider.add_span_processor(processor)
    TRACERS[:] = [provider.get_tracer("portal")]
