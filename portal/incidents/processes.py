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

    `started`: the time from which on the caller could have seen a sign. A worker without one is asked itself: it gets
    no ticks while beat is silent, and carries out none while all its processes read long days.
    """
    try:
        silent = [process for process in (BEAT, WORKER) if is_overdue(process, started)]
        if WORKER in silent and app.control.ping(timeout=PING_SECONDS):
            silent.remove(WORKER)
    except (RedisError, OSError):
        return None
    return silent


def is_overdue(process: str, started: float) -> bool:
    """Tell whether a process has given no sign for MISSED_TICKS; raises RedisError."""
    return measure_silence(process, started) > MISSED_TICKS * settings.PORTAL_TICK_SECONDS


def measure_silence(process: str, started: float) -> float:
    """Return the seconds since the last sign of a process, or since `started`; raises RedisError."""
    sign: bytes | None = get_redis(settings.REDIS_URL).client.get(KEY.format(process))  # type: ignore[assignment]
    return time.time() - max(float(sign or 0), started)
