"""Limits of the API, of the staff's pages and of guesses: requests of a token or a user, wrong passwords and tokens.

A rate is counted in Redis, in windows that begin with their first request, in one round trip for all processes.
Requests are counted when they are authenticated, before DRF would call its throttles: refused requests (403, 404,
405) count too. DRF's own throttles read and write the cache in two steps and lose the requests that other processes
count in between. Without Redis no rate is limited (portal/cache.py).

Requests under way are counted in the process: slow requests of a person leave threads and connections to the others.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from redis import Redis
from rest_framework.exceptions import Throttled

from portal.cache import get_redis
from portal.pool import WAIT_SECONDS

RATE = re.compile(r"([1-9][0-9]{0,8})/(s|min|hour|day)")
SECONDS = {"s": 1, "min": 60, "hour": 3600, "day": 86400}
RATES_ALLOWED = "a number of requests per s, min, hour or day, such as 600/min"
AT_ONCE_RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit of `quota` requests in `seconds`."""

    quota: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.quota:,} requests in {self.seconds:,} seconds"


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """The state of a window: `used` requests of `rate`, and the seconds until the window ends (`reset`)."""

    rate: Rate
    used: int
    reset: int

    @property
    def remaining(self) -> int:
        return max(self.rate.quota - self.used, 0)

    @property
    def is_exceeded(self) -> bool:
        """Whether the last request was above the quota."""
        return self.used > self.rate.quota

    def build_headers(self) -> Iterator[tuple[str, str]]:
        """Yield the fields of draft-ietf-httpapi-ratelimit-headers (10), both structured fields (RFC 9651)."""
        yield "RateLimit-Policy", f'"default";q={self.rate.quota};w={self.rate.seconds}'
        yield "RateLimit", f'"default";r={self.remaining};t={self.reset}'


class TooManyRequests(Throttled):
    """A rate is exceeded; `wait` is the number of seconds until the window ends."""

    def __init__(self, status: RateLimitStatus) -> None:
        super().__init__(detail=f"More than {status.rate} came; try again in {status.reset} seconds.")
        self.wait = status.reset


class TooManyAtOnce(Throttled):
    """A caller has as many requests under way, and waiting, as are allowed in a process."""

    def __init__(self) -> None:
        number = settings.PORTAL_REQUESTS_AT_ONCE
        super().__init__(detail=f"{number} requests of yours are under way; try again when one of them has ended.")
        self.wait = AT_ONCE_RETRY_SECONDS


class RequestsUnderWay:
    """The requests of each caller in this process: PORTAL_REQUESTS_AT_ONCE are answered, as many more wait."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.waiting: Counter[str] = Counter()
        self.changed = threading.Condition()

    def enter(self, caller: str) -> None:
        """Wait until a request may be answered; raises TooManyAtOnce."""
        with self.changed:
            if self.is_free(caller):
                self.answered[caller] += 1
                return
            if self.waiting[caller] >= settings.PORTAL_REQUESTS_AT_ONCE:
                raise TooManyAtOnce
            self.waiting[caller] += 1
        try:
            close_old_connections()  # those who wait leave the pool to others
            with self.changed:
                if not self.changed.wait_for(partial(self.is_free, caller), WAIT_SECONDS):
                    raise TooManyAtOnce
                self.answered[caller] += 1
        finally:
            with self.changed:
                self.waiting[caller] -= 1
                self.forget(caller)

    def is_free(self, caller: str) -> bool:
        return self.answered[caller] < int(settings.PORTAL_REQUESTS_AT_ONCE)

    def leave(self, caller: str) -> None:
        """Let the next request of the caller be answered."""
        with self.changed:
            self.answered[caller] -= 1
            self.forget(caller)
            self.changed.notify_all()

    def forget(self, caller: str) -> None:
        """Keep nothing of a caller without requests."""
        for numbers in (self.answered, self.waiting):
            if not numbers[caller]:
                del numbers[caller]


under_way = RequestsUnderWay()


def parse_rate(text: str) -> Rate | None:
    """Return the rate in a text such as `600/min`, None for any other text."""
    match = RATE.fullmatch(text)
    return Rate(int(match[1]), SECONDS[match[2]]) if match else None


def validate_rate(text: str) -> None:
    """Raise ValidationError for a text that is not a rate."""
    if parse_rate(text) is None:
        raise ValidationError(f"Give {RATES_ALLOWED}.")


def count_request(request: HttpRequest, caller: str, own_rate: str = "") -> None:
    """Count a request of `caller`, e.g. `token:up_12345678`; raises TooManyRequests and TooManyAtOnce.

    `own_rate` replaces PORTAL_API_RATE. The response gets the status in its headers, and with it the request is no
    longer under way (RateLimitMiddleware).
    """
    status = count(f"rate:{caller}", own_rate or settings.PORTAL_API_RATE)
    request.rate_limit_status = status  # type: ignore[attr-defined]
    if status is not None and status.is_exceeded:
        raise TooManyRequests(status)
    if not hasattr(request, "counted_caller"):
        under_way.enter(caller)
        request.counted_caller = caller  # type: ignore[attr-defined]


def count_failure(request: HttpRequest) -> None:
    """Count a failed sign-in of an address (PORTAL_API_FAILURES_RATE); raises TooManyRequests.

    Only failures are counted: other callers behind the same address are not delayed.
    """
    status = count(f"failures:{get_client_address(request)}", settings.PORTAL_API_FAILURES_RATE)
    if status is not None and status.is_exceeded:
        raise TooManyRequests(status)


def get_client_address(request: HttpRequest) -> str:
    """Return the client's address of a request; behind a proxy (PORTAL_HTTPS), the address that the proxy adds last."""
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() if settings.PORTAL_HTTPS else ""
    try:
        return str(ip_address(forwarded))
    except ValueError:
        return str(request.META.get("REMOTE_ADDR", ""))


def count(key: str, rate: str) -> RateLimitStatus | None:
    """Count a request under `key`; None where Redis does not answer or `rate` is not a rate."""
    parsed = parse_rate(rate)
    return count_rate(key, parsed) if parsed else None


def count_rate(key: str, rate: Rate) -> RateLimitStatus | None:
    """Count a request under `key`; None where Redis does not answer."""
    redis = get_redis(settings.REDIS_URL)
    return redis.call(partial(count_in_window, redis.client, build_key(key, rate), rate), None)


def count_in_window(redis: Redis, key: str, rate: Rate) -> RateLimitStatus:
    """Count a request; raises RedisError."""
    pipeline = redis.pipeline(transaction=False)
    pipeline.incr(key)
    pipeline.expire(key, rate.seconds, nx=True)
    pipeline.ttl(key)
    used, _, reset = pipeline.execute()
    return RateLimitStatus(rate, used, max(reset, 1))


def uncount(counters: Sequence[tuple[str, Rate]]) -> None:
    """Uncount a request of each of these keys; a window that has ended meanwhile ends again."""
    redis = get_redis(settings.REDIS_URL)
    pipeline = redis.client.pipeline(transaction=False)
    for key, rate in counters:
        pipeline.decr(build_key(key, rate))
        pipeline.expire(build_key(key, rate), rate.seconds, nx=True)
    redis.call(pipeline.execute, None)


def build_key(key: str, rate: Rate) -> str:
    """Return the name of a counter in Redis."""
    return f"portal:{key}:{rate.seconds}"


class RateLimitMiddleware:
    """Adds the rate limit headers to every response to a counted request: pages, streams and refusals alike.

    What is streamed after the response is no longer under way: exports have their own slots (usage/slots.py).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            response = self.get_response(request)
        finally:
            if hasattr(request, "counted_caller"):
                under_way.leave(request.counted_caller)
        status: RateLimitStatus | None = getattr(request, "rate_limit_status", None)
        for name, value in status.build_headers() if status else ():
            response.headers[name] = value
        return response


class StaffPageMiddleware:
    """Counts a signed-in person's requests for the staff's pages and files like those to the API."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer `request`, with 429 where it exceeds the rate."""
        if request.path.startswith(reverse("admin:index")) and request.user.is_authenticated:
            try:
                count_request(request, f"user:{request.user.pk}")
            except (TooManyRequests, TooManyAtOnce) as refusal:
                return render_refusal(request, refusal)
        return self.get_response(request)


def render_refusal(request: HttpRequest, refusal: TooManyRequests | TooManyAtOnce) -> HttpResponseBase:
    """Return the page that states when to try again."""
    response = render(request, "429.html", {"reason": refusal.detail}, status=refusal.status_code)
    response.headers["Retry-After"] = str(refusal.wait)
    return response
