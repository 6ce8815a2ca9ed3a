"""Wait for PostgreSQL and Redis when a process starts: after a power cut all of them start at once."""

import sys
import time
from collections.abc import Callable

import psycopg
import structlog
from django.conf import settings
from django.db import connection
from redis.exceptions import RedisError

from sync.redis_servers import connect_redis

logger = structlog.get_logger(__name__)

# PostgreSQL replays what it wrote since its last checkpoint, which may take minutes on a busy server.
WAIT_SECONDS = 300.0
CONNECT_SECONDS = 5
PAUSE_SECONDS = 0.5
LOG_EVERY_SECONDS = 10.0


def wait_for_servers() -> None:
    """Wait until PostgreSQL and Redis answer; ends the process with status 1 if PostgreSQL does not in time.

    Without Redis the process starts after that time: pages and the API work without it, and Celery keeps trying.
    """
    if reason := wait_for("the database", connect_to_database):
        sys.exit(f"The portal does not start: the database does not answer. {reason}")
    wait_for("Redis", ping_redis)


def wait_for(name: str, connect: Callable[[], None]) -> str:
    """Call `connect` until it succeeds, for at most WAIT_SECONDS; returns why it still fails, or ""."""
    started = time.monotonic()
    next_line = 0.0
    while reason := explain_failure(connect):
        waited = time.monotonic() - started
        if waited >= WAIT_SECONDS:
            break
        if waited >= next_line:
            logger.warning("waiting for a server", server=name, reason=reason, seconds=round(waited))
            next_line = waited + LOG_EVERY_SECONDS
        time.sleep(PAUSE_SECONDS)
    return reason


def explain_failure(connect: Callable[[], None]) -> str:
    """Return why a server does not answer; "" where it does."""
    try:
        connect()
    except (psycopg.OperationalError, RedisError) as error:
        return " ".join(str(error).split())
    return ""


def connect_to_database() -> None:
    """Open and close a connection outside the pool, which does not report why it has none."""
    params = {**connection.get_connection_params(), "connect_timeout": CONNECT_SECONDS}
    psycopg.connect(**params).close()


def ping_redis() -> None:
    """Ping Redis; while it loads its file it refuses."""
    with connect_redis(settings.REDIS_URL, socket_timeout=CONNECT_SECONDS) as client:
        client.ping()
