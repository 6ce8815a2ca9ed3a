"""The lake: its start-up check, the task that publishes what has changed, and what is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from celery import shared_task
from django.conf import settings
from django.core.cache import cache
from django.core.checks import CheckMessage, Error, register

from sync.tasks import is_stale
from usage.lake import is_enabled, is_installed

SCHEMES: Final = {"file", "s3", "gs", "abfss"}
# So often is looked whether an hour has passed; after a failure or a kill the next attempt is as far away.
SECONDS_BETWEEN_ATTEMPTS: Final = 600
FAILURES: Final = "lake-failures"
FAILURES_BEFORE_ALERT: Final = 2
ERROR_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed attempts in a row, with an attempt under way; `error`: the error of the last of them."""

    attempts: int = 0
    error: str = "It did not end; its worker was killed, perhaps."


@register()
def check_lake(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_LAKE_URL is a folder or a bucket, and the library is installed."""
    if is_enabled() and not is_location(settings.PORTAL_LAKE_URL):
        yield Error(
            "PORTAL_LAKE_URL is not the address of a folder or a bucket.",
            hint="Set it like file:///srv/lake, s3://bucket/lake, gs://bucket/lake or "
            "abfss://container@account.dfs.core.windows.net/lake, or leave it unset.",
            id="portal.E036",
        )
    elif is_enabled() and not is_installed():
        yield Error(
            "PORTAL_LAKE_URL needs a library that is not installed.",
            hint="Install the extra `lake` of the portal, or leave the variable unset.",
            id="portal.E036",
        )


def is_location(url: str) -> bool:
    """Return whether a text is where a lake can be."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    has_place = len(parts.path) > 1 if parts.scheme == "file" else bool(parts.hostname)
    return parts.scheme in SCHEMES and has_place and not parts.query and url.isprintable()


@shared_task
def publish_days(sent_at: str = "") -> None:
    """Publish what has changed, if the last time is an hour ago."""
    if is_stale(sent_at) or not is_enabled() or not cache.add("lake", "1", SECONDS_BETWEEN_ATTEMPTS):
        return
    from usage.lake.publish import publish

    # Counted before: an attempt that is killed reports nothing.
    failures = get_failures()
    attempt = replace(failures, attempts=failures.attempts + 1)
    cache.set(FAILURES, attempt, timeout=None)
    try:
        publish(only_if_due=True)
    except Exception as error:
        cache.set(FAILURES, replace(attempt, error=describe_error(error)), timeout=None)
        raise
    cache.delete(FAILURES)


def describe_error(error: Exception) -> str:
    """Return the first line of an error: libraries add the statement or the request."""
    return f"{type(error).__name__}: {error}".partition("\n")[0][:ERROR_CHARACTERS]


def get_failures() -> Failures:
    """Return how publishing goes; no attempt has failed where Redis has lost them."""
    return cache.get(FAILURES) or Failures()


def find_trouble() -> str:
    """Return why nothing is published; "" where it is, or after one failure, which the next attempt may repair."""
    failures = get_failures() if is_enabled() else Failures()
    return failures.error if failures.attempts >= FAILURES_BEFORE_ALERT else ""
