"""How many requests a token, a member of staff or a stranger's address may make, counted in Redis.

A quota is counted in windows that begin with the first request of each: one atomic step and one round trip,
whichever process of whichever machine asks. The library `limits` needs a second round trip to say how much is
left, and DRF's own throttles read and write the cache in two steps, between which others count the same.

A Redis that does not answer limits nobody: an answer without a limit is better than none.
"""

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from redis import Redis
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.exceptions import RedisError
from redis.retry import Retry
from rest_framework.exceptions import APIException

logger = structlog.get_logger(__name__)

RATE = re.compile(r"([1-9][0-9]{0,8})/(s|min|hour|day)")
SECONDS = {"s": 1, "min": 60, "hour": 3600, "day": 86400}
RATES_ALLOWED = "a number of requests per s, min, hour or day, such as 600/min"
REDIS_SECONDS = 0.5
# For so long a Redis that did not answer is not asked again: a stalled one would delay every request.
LEFT_ALONE_SECONDS = 5.0

# KEYS: a window's count. ARGV: the milliseconds that a window lasts. Returns the count with this request in it,
# and the milliseconds until the window ends.
COUNT = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return {count, redis.call('PTTL', KEYS[1])}
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests (`quota`) in so many `seconds`."""

    quota: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.quota:,} requests in {self.seconds:,} seconds"


@dataclass(frozen=True, slots=True)
class Standing:
    """How one caller stands after a request: what is left of the rate, and the seconds until all of it is again."""

    rate: Rate
    used: int
    reset: int

    @property
    def left(self) -> int:
        """Requests that may follow in this window."""
        return max(self.rate.quota - self.used, 0)

    @property
    def exhausted(self) -> bool:
        """Whether this request was one too many."""
        return self.used > self.rate.quota

    def headers(self) -> Iterator[tuple[str, str]]:
        """Yield the fields of draft-ietf-httpapi-ratelimit-headers (10), both structured fields (RFC 9651)."""
        yield "RateLimit-Policy", f'"default";q={self.rate.quota};w={self.rate.seconds}'
        yield "RateLimit", f'"default";r={self.left};t={self.reset}'


class TooManyRequests(APIException):
    """The caller has used up its rate; `wait` are the seconds until it may go on."""

    status_code = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, standing: Standing) -> None:
        super().__init__(f"More than {standing.rate} came; try again in {standing.reset} seconds.")
        self.wait = standing.reset


def rate_of(text: str) -> Rate | None:
    """Return the rate that a text such as `600/min` says, None for a text that says none."""
    found = RATE.fullmatch(text)
    return Rate(int(found[1]), SECONDS[found[2]]) if found else None


def validate_rate(text: str) -> None:
    """Raise ValidationError for a text that says no rate."""
    if rate_of(text) is None:
        raise ValidationError(f"Give {RATES_ALLOWED}.")


def take_turn(request: HttpRequest, caller: str, own_rate: str = "") -> Standing | None:
    """Count a request of a caller that is known, e.g. `token:up_12345678`; returns how it stands, None for unknown.

    `own_rate` counts in place of PORTAL_API_RATE. The answer to `request` will carry the standing, whatever it
    is (RateLimitMiddleware). It is for whoever calls this to refuse an `exhausted` one.
    """
    rate = rate_of(own_rate or settings.PORTAL_API_RATE)
    standing = count(f"rate:{caller}", rate) if rate else None
    noted: Any = request
    noted.rate_limit_standing = standing
    return standing


def require_turn(request: HttpRequest, caller: str, own_rate: str = "") -> None:
    """Count a request of a caller that is known; raises TooManyRequests where it is one too many."""
    standing = take_turn(request, caller, own_rate)
    if standing is not None and standing.exhausted:
        raise TooManyRequests(standing)


def count_failure(request: HttpRequest) -> None:
    """Count a failed sign-in of an address (PORTAL_API_FAILURES_RATE); raises TooManyRequests where it is one too many.

    Only failures are counted: others behind the same address go on with the tokens they have.
    """
    rate = rate_of(settings.PORTAL_API_FAILURES_RATE)
    standing = count(f"failures:{address_of(request)}", rate) if rate else None
    if standing is not None and standing.exhausted:
        raise TooManyRequests(standing)


def address_of(request: HttpRequest) -> str:
    """Return the address that a request came from; behind a proxy (PORTAL_HTTPS), the one that the proxy adds last."""
    told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() if settings.PORTAL_HTTPS else ""
    try:
        return str(ip_address(told))
    except ValueError:
        return str(request.META.get("REMOTE_ADDR", ""))


class Counter:
    """The counting script on one Redis, left alone for a while after that Redis did not answer."""

    def __init__(self, redis_url: str) -> None:
        client = Redis.from_url(
            redis_url,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
            retry=Retry(NoBackoff(), 1),  # a connection that was idle may have been closed
        )
        self.script: Script = client.register_script(COUNT)
        self.down = False
        self.ask_again_at = 0.0

    def count(self, key: str, rate: Rate) -> Standing | None:
        """Count one request; None where Redis does not answer, which is logged once until it answers again."""
        if self.down and time.monotonic() < self.ask_again_at:
            return None
        try:
            used, milliseconds = self.script(keys=[key], args=[rate.seconds * 1000])
        except RedisError as error:
            if not self.down:
                logger.exception("rate_limits_off", error=type(error).__name__)
            self.down, self.ask_again_at = True, time.monotonic() + LEFT_ALONE_SECONDS
            return None
        self.down = False
        return Standing(rate, used, max(math.ceil(milliseconds / 1000), 1))


@cache
def counter(redis_url: str) -> Counter:
    """Return this process's counter on the Redis at `redis_url`."""
    return Counter(redis_url)


def count(key: str, rate: Rate) -> Standing | None:
    """Count one request under `key`; returns how it then stands, None where Redis does not answer."""
    return counter(settings.REDIS_URL).count(f"portal:{key}:{rate.seconds}", rate)


class RateLimitMiddleware:
    """Tells every caller that was counted how it stands: on answers, streams and refusals alike."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request`."""
        response = self.get_response(request)
        standing: Standing | None = getattr(request, "rate_limit_standing", None)
        if standing is not None:
            for name, value in standing.headers():
                response.headers[name] = value
        return response
