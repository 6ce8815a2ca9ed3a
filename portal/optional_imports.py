"""Imports libraries without what they would use if it is installed, and the portal does not; imported before them."""

import sys
from importlib import import_module


def import_without(optional: str, module: str) -> None:
    """Import a module as if an optional library of it were not installed."""
    if optional in sys.modules:
        import_module(module)
        return
    sys.modules[optional] = None  # type: ignore[assignment]  # which makes its import fail
    try:
        import_module(module)
    finally:
        del sys.modules[optional]


# Tracebacks in colours and redis-py's own metrics: together 100 ms of CPU of every start.
import_without("rich", "structlog")
import_without("opentelemetry.sdk.metrics", "redis")
