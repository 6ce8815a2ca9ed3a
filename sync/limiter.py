"""A source's request rate, kept over all workers on all machines by evenly spaced slots in Redis.

A window of so many requests a minute would let workers burst and then stand still for most of that minute: a
day of more pages than the window holds could never be read to its end. So every request takes the next slot
of a row of slots that are 60 / rate seconds apart, and waits for it.
"""

import time
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from redis import Redis
from redis.commands.core import Script
from redis.exceptions import RedisError

from sync.errors import PutOff, SyncError

WAIT_SECONDS = 20.0
REDIS_SECONDS = 5.0

# KEYS: where the next free slot is kept. ARGV: microseconds between slots, the longest acceptable wait.
# Returns whether the slot was taken, and the microseconds until it. Redis's own clock is the only one.
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
def take_slot(redis_url: str) -> Script:
    """Return the script on the Redis at `redis_url`, whose connections this process keeps."""
    client = Redis.from_url(redis_url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS)
    return client.register_script(TAKE_SLOT)


@dataclass(frozen=True, slots=True)
class SourceLimiter:
    """Keeps `requests_per_minute` of one source over all workers; a source without a limit needs none."""

    source: str
    requests_per_minute: int
    longest_wait: float = WAIT_SECONDS

    def acquire(self) -> None:
        """Wait until it is this worker's turn to make a request.

        Raises PutOff where its turn is more than `longest_wait` seconds (and more than two slots) away, and
        SyncError where Redis does not answer: rather no request than one too many.
        """
        between = 60 / self.requests_per_minute
        taken, wait = self._ask(between, max(self.longest_wait, 2 * between))
        if not taken:
            raise PutOff(
                f"The {self.requests_per_minute} requests a minute of {self.source} are used up for now.",
                retry_after=wait,
            )
        if wait:
            time.sleep(wait)

    def _ask(self, between: float, longest: float) -> tuple[bool, float]:
        """Return whether a slot was taken and the seconds until it; both arguments are in seconds."""
        try:
            taken, wait = take_slot(settings.REDIS_URL)(
                keys=[f"portal:request-slot:{self.source}"],
                args=[round(between * 1_000_000), round(longest * 1_000_000)],
            )
        except RedisError:
            raise SyncError(
                "Redis does not answer, and it keeps the request rate of all workers: nothing was asked.",
                retry_after=REDIS_SECONDS,
            ) from None
        return bool(taken), wait / 1_000_000
