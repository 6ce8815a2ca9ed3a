"""Whether worker and beat are alive: each leaves a sign in Redis, and the web processes look for it."""

import time
from typing import Final

from django.conf import settings
from redis.exceptions import RedisError

from portal.cache import get_redis
from portal.celery import app

BEAT: Final = "beat"
WORKER: Final = "worker"
# So many ticks without a sign are silence.
MISSED_TICKS: Final = 3
PING_SECONDS: Final = 1.0
KEY: Final = "portal:alive:{}"


def record_alive(process: str) -> None:
    """Note that a process does its work now; without Redis nothing is noted."""
    redis = get_redis(settings.REDIS_URL)
    redis.call(lambda: redis.client.set(KEY.format(process), str(time.time())), None)


def list_silent_processes(started: float) -> list[str] | None:
    """Return which of BEAT and WORKER are silent; None where Redis, which has their signs, does not answer.

    `started`: the time from which on the caller could have seen a sign. A worker that gets no ticks because beat is
    silent is asked itself.
    """
    longest = MISSED_TICKS * settings.PORTAL_TICK_SECONDS
    try:
        ages = {process: measure_silence(process, started) for process in (BEAT, WORKER)}
        silent = [process for process, age in ages.items() if age > longest]
        if silent == [BEAT, WORKER] and app.control.ping(timeout=PING_SECONDS):
            return [BEAT]
    except (RedisError, OSError):
        return None
    return silent


def measure_silence(process: str, started: float) -> float:
    """Return the seconds since the last sign of a process, or since `started`; raises RedisError."""
    sign: bytes | None = get_redis(settings.REDIS_URL).client.get(KEY.format(process))  # type: ignore[assignment]
    return time.time() - max(float(sign or 0), started)
