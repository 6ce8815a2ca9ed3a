"""Limit a source's request rate over all workers and machines, by evenly spaced slots in Redis.

A window of so many requests a minute would let workers burst and then wait for most of that minute; a day with more
pages than the window has requests could never be read to its end. So every request takes the next slot, 60 / rate
seconds after the last slot, and waits for it.
"""

import time
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from redis.commands.core import Script
from redis.exceptions import RedisError

from sync.errors import ErrorCode, ReadDeferred
from sync.redis_servers import connect_redis

WAIT_SECONDS = 20.0
REDIS_SECONDS = 5.0

# KEYS: where the next free slot is stored. ARGV: microseconds between slots, the longest acceptable wait.
# Returns whether the slot was taken, and the microseconds until it. Only Redis's own clock is used.
TAKE_SLOT = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local slot = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
if slot - now > tonumber(ARGV[2]) then
  return {0, slot - now}
end
local following = slot + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', following), 'PX', math.ceil((following - now) / 1000) + 1000)
return {1, slot - now}
"""


@cache
def get_slot_script(redis_url: str) -> Script:
    """Return the script on the Redis at `redis_url`; its connections live as long as this process."""
    client = connect_redis(redis_url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS)
    return client.register_script(TAKE_SLOT)


@dataclass(frozen=True, slots=True)
class SourceLimiter:
    """Limits one source to `requests_per_minute` over all workers."""

    source: str
    requests_per_minute: int
    longest_wait: float = WAIT_SECONDS

    def acquire(self) -> None:
        """Wait for the slot of the next request.

        Raises ReadDeferred where the slot is more than `longest_wait` seconds and more than two slots away, and where
        Redis does not answer: no request is better than one too many, and the vendor has not failed.
        """
        between = 60 / self.requests_per_minute
        is_taken, wait = self._take_slot(between, max(self.longest_wait, 2 * between))
        if not is_taken:
            raise ReadDeferred(
                f"The {self.requests_per_minute} requests a minute of {self.source} are used up for now.",
                retry_after=wait,
            )
        if wait:
            time.sleep(wait)

    def _take_slot(self, between: float, longest: float) -> tuple[bool, float]:
        """Return whether a slot was taken and the seconds until it; both arguments are in seconds."""
        try:
            is_taken, wait = get_slot_script(settings.REDIS_URL)(
                keys=[f"portal:request-slot:{self.source}"],
                args=[round(between * 1_000_000), round(longest * 1_000_000)],
            )
        except RedisError:
            raise ReadDeferred(
                "Redis does not answer, and it keeps the request rate of all workers: nothing was asked.",
                retry_after=REDIS_SECONDS,
                code=ErrorCode.LIMITER_UNAVAILABLE,
            ) from None
        return bool(is_taken), wait / 1_000_000
