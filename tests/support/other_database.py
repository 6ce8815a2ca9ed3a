"""Django on another database than that of the test, for a moment and without another process."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from unittest.mock import patch
from urllib.parse import urlsplit

from django.db import connections

T = TypeVar("T")


def call_on(url: str, work: Callable[[], T]) -> T:
    """Call `work` in a thread whose connection is to the database of a URL, as the test's own is open; returns its result."""
    default = connections.settings["default"]
    with ThreadPoolExecutor(1) as thread, patch.dict(default, parse_database(url)):
        try:
            return thread.submit(work).result()
        finally:
            thread.submit(connections.close_all).result()


def parse_database(url: str) -> dict[str, str]:
    """Return Django's settings for the database of a URL."""
    parts = urlsplit(url)
    return {
        "NAME": parts.path.removeprefix("/"),
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
    }
