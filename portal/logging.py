"""Logs: structlog over the standard library, JSON in production; never a secret."""

import logging
import os
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# Its events are written at every PORTAL_LOG_LEVEL.
SECURITY_LOGGER = "portal.security"

# What follows opens the account of a user. No other address of the portal contains a secret (portal/accounts/urls.py).
KEY_IN_ADDRESS = re.compile(r"(/password/reset/key/|/accounts/invitation/)(?!done/?$).+", re.IGNORECASE | re.DOTALL)


def without_keys(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take the keys of forgotten passwords out of a line: of a request's, and of Django's own about a request."""
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = KEY_IN_ADDRESS.sub(r"\1[hidden]", value)
    return line


def has_colors() -> bool:
    """Return whether lines have colours: on a terminal, unless NO_COLOR is set, and where FORCE_COLOR is."""
    return not os.environ.get("NO_COLOR") and bool(os.environ.get("FORCE_COLOR") or sys.stderr.isatty())


def log_settings(log_format: str, level: str) -> None:
    """Send every log record, the libraries' too, through structlog as `json` or `console` lines at `level`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks without local variables: a local can be a credential.
    tracebacks = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    )
    plain = structlog.dev.ConsoleRenderer(colors=has_colors(), exception_formatter=structlog.dev.plain_traceback)
    last: list[Any] = [tracebacks, structlog.processors.JSONRenderer()] if log_format == "json" else [plain]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, without_keys, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [root_handler for root_handler in root.handlers if not getattr(root_handler, "of_portal", False)]
    handler.of_portal = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger(SECURITY_LOGGER).setLevel(logging.INFO)
    # Celery's own two lines for each task would repeat ours for each day and run.
    for tasks in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(tasks).setLevel(level if level == "DEBUG" else logging.WARNING)
    for noisy in ("httpx2", "httpcore2", "faker", "asyncio", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
