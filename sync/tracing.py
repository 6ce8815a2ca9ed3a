"""Spans of OpenTelemetry around what the portal does; none are made until something takes them (portal/traces.py).

A span has what the code names, and the ids that lines of the log have. It never has an address, a query, a header, a
body or the text of an exception, which may have names of people and secrets.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog

# The ids of the portal's own that lines of the log, spans and reports of errors have.
IDS: Final = ("request_id", "run_id", "attempt", "task_id", "task", "source", "day")
LONGEST_ID: Final = 200
# The tracer of this process, once it exists.
TRACERS: Final[list[Any]] = []


@contextmanager
def open_span(
    name: str,
    kind: str = "INTERNAL",
    attributes: Mapping[str, Any] | None = None,
    carrier: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Make a span of the block; an error that leaves it is recorded by its type.

    `kind`: the name of one of OpenTelemetry's kinds. `carrier`: headers that may name the parent span.
    """
    if not TRACERS:
        yield
        return
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = TraceContextTextMapPropagator().extract(carrier) if carrier is not None else None
    options: Any = {"record_exception": False, "set_status_on_exception": False}
    attributes = {**get_ids(), **(attributes or {})}
    with TRACERS[0].start_as_current_span(name, parent, SpanKind[kind], attributes, **options) as span:
        try:
            yield
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise


def annotate_span(attributes: Mapping[str, Any], name: str = "") -> None:
    """Add attributes to the innermost span; `name` renames it."""
    if not TRACERS:
        return
    from opentelemetry.trace import get_current_span

    span = get_current_span()
    span.set_attributes(attributes)
    if name:
        span.update_name(name)


def get_ids() -> dict[str, str]:
    """Return the ids that lines of the log have here."""
    bound = structlog.contextvars.get_contextvars()
    return {name: str(bound[name])[:LONGEST_ID] for name in IDS if name in bound}
