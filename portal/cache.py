"""Redis as requests of the web server use it: the cache, rate limits and sign-in limits share one policy.

Redis has REDIS_TIMEOUT_SECONDS to answer. Where it does not, the request continues without it: the cache is empty, what
is written to it is lost, and no caller is limited. That is logged once, until Redis answers again.
"""

import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar

import structlog
from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from sync.redis_servers import connect_redis

logger = structlog.get_logger(__name__)
T = TypeVar("T")

REDIS_TIMEOUT_SECONDS = 0.5
# After a failure Redis is not called for this long: a stalled Redis would delay every request.
RETRY_REDIS_SECONDS = 5.0


def build_connection_options() -> dict[str, Any]:
    """Return the options of a connection: bounded in time, and tried twice, as it may have been closed while idle."""
    return {
        "socket_timeout": REDIS_TIMEOUT_SECONDS,
        "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
        # Without timeouts among the errors to retry: each would add to the wait.
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }


class GuardedRedis:
    """A Redis that requests can do without: it is not called for a while after a failure.

    `client` is for commands within `call`; on its own they raise RedisError.
    """

    def __init__(self, redis_url: str) -> None:
        self.client = connect_redis(redis_url, **build_connection_options())
        self.is_down = False
        self.retry_at = 0.0

    def call(self, command: Callable[[], T], fallback: T) -> T:
        """Return what `command` returns, `fallback` where Redis does not answer."""
        now = time.monotonic()
        if self.is_down:
            if now < self.retry_at:
                return fallback
            self.retry_at = now + RETRY_REDIS_SECONDS  # other requests do not wait for this result
        try:
            answer = command()
        except RedisError as error:
            if not self.is_down:
                logger.exception("redis_unavailable", error=type(error).__name__)
            self.is_down, self.retry_at = True, time.monotonic() + RETRY_REDIS_SECONDS
            return fallback
        self.is_down = False
        return answer


@cache
def get_redis(redis_url: str) -> GuardedRedis:
    """Return the Redis at `redis_url`, the same for all threads of this process."""
    return GuardedRedis(redis_url)


class CacheClient(RedisCacheClient):
    """Django's commands on the connections that all of this process share."""

    def __init__(self, server: str, servers: list[str], **options: Any) -> None:
        super().__init__(servers, **options)
        self.server = server

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        return get_redis(self.server).client


class Cache(RedisCache):
    """Django's cache in Redis, empty while Redis does not answer; has the methods that the portal and allauth use."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = partial(CacheClient, server)  # Django takes a URL with commas for several servers
        self.server = server

    @property
    def redis(self) -> GuardedRedis:
        """The Redis; a wrong address is the checks' to report, and not raised before."""
        return get_redis(self.server)

    def add(self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Store a value under a key that has none; True also where Redis does not answer."""
        return self.redis.call(partial(super().add, key, value, timeout, version), fallback=True)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self.redis.call(partial(super().get, key, default, version), default)

    def set(self, key: Any, value: Any, timeout: float | None = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self.redis.call(partial(super().set, key, value, timeout, version), None)

    def delete(self, key: Any, version: int | None = None) -> bool:
        return self.redis.call(partial(super().delete, key, version), fallback=False)
