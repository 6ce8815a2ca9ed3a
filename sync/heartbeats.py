"""Heartbeats: when beat, a worker and the tick were last seen.

Each is one key in Redis, one command a tick. Without Redis no message reaches a worker, so it is no further thing to
depend on; its connections have a time limit, which a main process needs that must not hang with the database; and it
has one clock for all machines. A row would cost a version of itself, and write-ahead log, for each.
"""

import time
from enum import StrEnum
from functools import cache

from django.conf import settings
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from sync.redis_servers import connect_redis

REDIS_SECONDS = 0.5
# A heartbeat that is older is forgotten. The remaining time of its key gives its age by Redis's own clock.
KEPT_MILLISECONDS = 7 * 24 * 3600 * 1000
TICKS_BEFORE_SILENT = 3


class Heartbeat(StrEnum):
    """What shows signs of life."""

    BEAT = "beat"
    WORKER = "worker"
    TICK = "tick"


@cache
def get_client(redis_url: str) -> Redis:
    """Return a client with a time limit; its connections live as long as this process."""
    bounds = {"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS}
    return connect_redis(redis_url, **bounds, retry=Retry(NoBackoff(), 0))


def record_heartbeat(heartbeat: Heartbeat) -> None:
    """Record a sign of life; where Redis does not take it, it is lost, and the next counts."""
    try:
        get_client(settings.REDIS_URL).set(build_key(heartbeat), "", px=KEPT_MILLISECONDS)
    except RedisError:
        pass


def get_ages() -> dict[Heartbeat, float | None]:
    """Return the seconds since each heartbeat, None where it was not seen for a week; raises RedisError."""
    pipeline = get_client(settings.REDIS_URL).pipeline(transaction=False)
    for heartbeat in Heartbeat:
        pipeline.pttl(build_key(heartbeat))
    lifetimes = dict(zip(Heartbeat, pipeline.execute(), strict=True))
    return {name: (KEPT_MILLISECONDS - left) / 1000 if left > 0 else None for name, left in lifetimes.items()}


def is_silent(age: float | None) -> bool:
    """Return whether a heartbeat of this age is older than three ticks."""
    return age is None or age > TICKS_BEFORE_SILENT * settings.PORTAL_TICK_SECONDS


def build_key(heartbeat: Heartbeat) -> str:
    """Return the key in Redis."""
    return f"portal:heartbeat:{heartbeat}"


class Pulse:
    """Records a heartbeat three times a tick, however often it is called."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.heartbeat = heartbeat
        self.next_at = 0.0

    def beat(self) -> None:
        """Record the heartbeat where it is time to."""
        now = time.monotonic()
        if now >= self.next_at:
            self.next_at = now + settings.PORTAL_TICK_SECONDS / 3
            record_heartbeat(self.heartbeat)
