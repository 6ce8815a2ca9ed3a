"""Reports of errors to Sentry, where PORTAL_SENTRY_DSN is set: which line of the code failed, without any values.

Every report is built from a list of allowed fields. Messages of exceptions are left out too: PostgreSQL's repeat
the row that failed, and a vendor's may repeat anything. The log has them, under the ids of the report.
"""

import logging
from importlib.util import find_spec
from typing import Any, Final

from sync.tracing import get_ids

EVENT_KEYS: Final = ("event_id", "timestamp", "platform", "level", "logger", "environment", "release")
FRAME_KEYS: Final = ("filename", "module", "function", "lineno", "in_app")
SHUTDOWN_SECONDS: Final = 2


def is_installed() -> bool:
    """Return whether the extra `sentry` is installed."""
    return find_spec("sentry_sdk") is not None


def is_dsn(text: str) -> bool:
    """Return whether a text is the address of a project at Sentry."""
    from sentry_sdk.utils import BadDsn, Dsn

    try:
        Dsn(text)
    except (BadDsn, ValueError):
        return False
    return True


def start_reports(dsn: str) -> None:
    """Report errors of this process; does nothing without an address, or where the checks refuse it."""
    if not dsn or not is_installed() or not is_dsn(dsn):
        return
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.celery import CeleryIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.django import DjangoIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.integrations.threading import ThreadingIntegration

    sentry_sdk.init(
        dsn=dsn,
        integrations=[
            AtexitIntegration(callback=lambda *_: None),
            CeleryIntegration(propagate_traces=False),
            DedupeIntegration(),
            DjangoIntegration(middleware_spans=False, signals_spans=False),
            ExcepthookIntegration(),
            LoggingIntegration(level=None, event_level=logging.ERROR),
            ThreadingIntegration(propagate_scope=False),
        ],
        # Others change what is sent to vendors, or read command lines and the environment.
        default_integrations=False,
        auto_enabling_integrations=False,
        trace_propagation_targets=[],
        before_send=build_report,  # type: ignore[arg-type]  # its events are dicts
        before_breadcrumb=lambda *_: None,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        send_default_pii=False,
        server_name="",
        traces_sample_rate=None,
        send_client_reports=False,
        auto_session_tracking=False,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )


def build_report(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """Return a report with what an error report may have, and with the ids that every line of the log has."""
    report: dict[str, Any] = {key: event[key] for key in EVENT_KEYS if key in event}
    if trace := event.get("contexts", {}).get("trace"):
        report["contexts"] = {"trace": {key: trace[key] for key in ("trace_id", "span_id") if key in trace}}
    report["tags"] = get_ids()
    # A line of our own has a constant text and its data beside it; that of a library may be anything.
    line = getattr(hint.get("log_record"), "msg", None)
    if isinstance(line, dict):
        report["message"] = str(line.get("event"))
    exceptions = event.get("exception", {}).get("values", [])
    report["exception"] = {"values": [build_exception(exception) for exception in exceptions]}
    return report


def build_exception(exception: dict[str, Any]) -> dict[str, Any]:
    """Return the type of an exception and where it was raised, without its message."""
    frames = (exception.get("stacktrace") or {}).get("frames", [])
    reported_frames = [{key: frame[key] for key in FRAME_KEYS if key in frame} for frame in frames]
    mechanism = {key: value for key, value in (exception.get("mechanism") or {}).items() if key in {"type", "handled"}}
    return {
        "type": exception.get("type"),
        "module": exception.get("module"),
        "mechanism": mechanism,
        "stacktrace": {"frames": reported_frames},
    }
