"""Which requests a streaming standby answers: reads whose caller has made no change that it has not replayed.

The primary is sampled each second: its position in the write-ahead log, beside the time and the watermark of that
moment. A standby that has replayed a position shows at least the state of its sample, so the newest such sample shows
its lag and what is settled there. No table, and nothing on the standby, is needed for that.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

from portal.cache import get_redis
from usage.api.access import get_staff_scope
from usage.standby import STANDBY, StandbyState, enter_standby, get_replica_lag, leave_standby
from usage.watermark import KEY, SINCE, WATERMARK

logger = structlog.get_logger(__name__)

SAMPLE_SECONDS: Final = 1.0
# After a failure the standby is not used for this long: a standby that hangs would delay every request.
RETRY_SECONDS: Final = 5.0
POSITION: Final = "({} - '0/0'::pg_lsn)::bigint"
CURRENT: Final = f"SELECT {POSITION.format('pg_current_wal_insert_lsn()')}"
# The position after the watermark: all that is settled lies before it.
SAMPLE: Final = (
    f"WITH settled AS MATERIALIZED (SELECT ({WATERMARK}) AS mark) "  # noqa: S608 (constants)
    f"SELECT statement_timestamp(), mark, {POSITION.format('pg_current_wal_insert_lsn()')} FROM settled"
)
REPLAYED: Final = f"SELECT pg_is_in_recovery(), {POSITION.format('pg_last_wal_replay_lsn()')}"
UNKNOWN: Any = b"unknown"  # no position
# Forms show what is about to be changed.
FORMS: Final = ("_add", "_change", "_delete", "_password_change")


@dataclass(frozen=True, slots=True)
class Sample:
    """The primary at a moment; `sampled_at` by this machine's monotonic clock."""

    sampled_at: float
    as_of: datetime
    settled_until: datetime
    position: int


class Unusable(Exception):
    """Why a request is answered by the primary: `away`, `behind`, `unreplayed`, `unknown`."""


class Standby:
    """The standby as a process of the web server sees it."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque()
        # Where the primary was at the first request: the schema that this process needs lies before it.
        self.needed = 0
        self.sampler: threading.Thread | None = None
        self.lock = threading.Lock()
        self.retry_at = 0.0
        self.problem = ""

    def sample(self) -> None:
        """Store the position of the primary, and drop samples older than the allowed lag."""
        sampled_at = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute(SAMPLE, [SINCE, KEY])
            self.samples.append(Sample(sampled_at, *cursor.fetchone()))
        self.needed = self.needed or self.samples[0].position
        while self.samples[0].sampled_at < sampled_at - settings.PORTAL_REPLICA_LAG_SECONDS:
            self.samples.popleft()

    def sample_on(self) -> None:
        """Sample for ever; without the primary there is nothing new to store."""
        while True:
            try:
                self.sample()
            except (DatabaseError, InterfaceError):
                pass
            finally:
                connection.close()
            time.sleep(SAMPLE_SECONDS)

    def ensure_sampler(self) -> None:
        """Start the thread that samples, once per process."""
        with self.lock:
            if self.sampler is None:
                self.sampler = threading.Thread(target=self.sample_on, name="standby", daemon=True)
                self.sampler.start()

    def find_state(self, needed: int) -> StandbyState:
        """Return what the standby has replayed; raises Unusable where that is before `needed`, or too old."""
        position = self.read_position()
        if position < max(needed, self.needed):
            raise Unusable("unreplayed")
        now = time.monotonic()
        oldest = now - settings.PORTAL_REPLICA_LAG_SECONDS
        for sample in reversed(list(self.samples)):
            if sample.position <= position and sample.sampled_at >= oldest:
                return StandbyState(sample.as_of, sample.settled_until, now - sample.sampled_at)
        raise Unusable("behind")

    def read_position(self) -> int:
        """Return up to where the standby has replayed, on the connection that the request then uses."""
        if time.monotonic() < self.retry_at:
            raise Unusable("away")
        try:
            with connections[STANDBY].cursor() as cursor:
                cursor.execute(REPLAYED)
                is_standby, position = cursor.fetchone()
        except (DatabaseError, InterfaceError) as error:
            self.retry_at = time.monotonic() + RETRY_SECONDS
            connections[STANDBY].close()
            raise Unusable("away") from error
        if not is_standby:
            # Promoted: it is no copy of the primary any more.
            self.retry_at = time.monotonic() + RETRY_SECONDS
            raise Unusable("away")
        return int(position)

    def note(self, problem: str) -> None:
        """Log that the standby cannot be used, or can be again, once."""
        if problem and problem != self.problem:
            logger.warning("standby not used", reason=problem)
        elif self.problem and not problem:
            logger.info("standby used again")
        self.problem = problem


standby = Standby()


def choose_database(request: HttpRequest) -> None:
    """Let the rest of a request that only reads be answered by the standby, where it may.

    The caller is known by now. Their permissions are read here, from the primary, and stay with the user.
    """
    if STANDBY not in settings.DATABASES or request.method not in {"GET", "HEAD"}:
        return
    standby.ensure_sampler()
    target: Any = request
    if target.user.is_authenticated and not target.user.is_superuser:
        target.user.get_all_permissions()
    try:
        enter_standby(standby.find_state(read_written(request)))
    except Unusable as reason:
        target.standby_reason = str(reason)
        if target.standby_reason in {"away", "behind"}:
            standby.note(target.standby_reason)
    else:
        target.standby_reason = "unreplayed"  # unless it is still in use at the end
        standby.note("")


def read_written(request: HttpRequest) -> int:
    """Return the position after the caller's last change, 0 for none; raises Unusable where Redis does not answer."""
    redis = get_redis(settings.REDIS_URL)
    value: Any = redis.call(lambda: redis.client.get(build_key(request)), UNKNOWN)
    if value == UNKNOWN:
        raise Unusable("unknown")
    return int(value or 0)


def record_written(request: HttpRequest) -> None:
    """Store the position of the log after a change, for as long as a standby may be behind it."""
    if not build_key(request):
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(CURRENT)
            (position,) = cursor.fetchone()
    except (DatabaseError, InterfaceError):
        return  # what was done is done
    redis = get_redis(settings.REDIS_URL)
    milliseconds = round(settings.PORTAL_REPLICA_LAG_SECONDS * 1000) + 1000
    redis.call(partial(redis.client.set, build_key(request), position, px=milliseconds), None)


def build_key(request: HttpRequest) -> str:
    """Return the key in Redis of the caller of a request, "" for an anonymous caller."""
    user = request.user
    caller = getattr(request, "counted_caller", "") or (f"user:{user.pk}" if user.is_authenticated else "")
    return f"portal:written:{caller}" if caller else ""


class StandbyMiddleware:
    """Has the standby answer staff pages, reports which database answered, and records changes.

    It is the innermost middleware, as those outside of it write. Requests to the API
    choose once their token is known (portal/accounts/authentication.py).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if STANDBY not in settings.DATABASES:
            return self.get_response(request)
        try:
            response = self.get_response(request)
            lag = get_replica_lag()
        finally:
            leave_standby()
        if request.method not in {"GET", "HEAD", "OPTIONS"}:
            record_written(request)
        if lag is not None:
            response.headers["Portal-Database"] = f"standby; lag={lag}"
        elif reason := getattr(request, "standby_reason", ""):
            response.headers["Portal-Database"] = f"primary; standby={reason}"
        return response

    def process_view(self, request: HttpRequest, *_: Any) -> None:
        """Choose for a staff page, after reading from the primary what its user may do and see."""
        if STANDBY not in settings.DATABASES:
            return
        name = (request.resolver_match and request.resolver_match.url_name) or ""
        is_page = request.path.startswith(reverse("admin:index")) and request.user.is_authenticated
        if is_page and not name.endswith(FORMS):
            get_staff_scope(request)
            choose_database(request)
