"""Expected sums, computed in Python over raw rows."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from usage.models import SourceDay
from usage.summaries.combined import FILTERS
from usage.summaries.metrics import METRICS
from usage.summaries.params import ENVIRONMENT_PARAMS, parse_params
from usage.summaries.query import SummaryQuery

BOUNDED = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
Key = tuple[Any, ...]
MINUTE = timedelta(minutes=1)


def begins_hour(minute: datetime, zone: ZoneInfo) -> bool:
    """Return whether the clock on the wall comes to another hour at this minute, or to the full one again."""
    now, before = minute.astimezone(zone), (minute - MINUTE).astimezone(zone)
    return now.minute == 0 or (now.date(), now.hour) != (before.date(), before.hour)


def format_interval_start(instant: datetime, interval: str, zone: ZoneInfo) -> str:
    """Return the interval that an instant falls in by the calendar on the wall."""
    on = instant.astimezone(zone).date()
    if interval == "hour":
        minute = instant.replace(second=0, microsecond=0)
        while not begins_hour(minute, zone):
            minute -= MINUTE
        return minute.astimezone(zone).isoformat()
    if interval == "week":
        year, week, _ = on.isocalendar()
        return date.fromisocalendar(year, week, 1).isoformat()
    if interval == "month":
        return on.replace(day=1).isoformat()
    if interval == "quarter":
        return date(on.year, {1: 1, 2: 4, 3: 7, 4: 10}[(on.month + 2) // 3], 1).isoformat()
    return on.replace(month=1, day=1).isoformat() if interval == "year" else on.isoformat()


def build_query(kind: str, rolled_up: Any = True, **params: Any) -> SummaryQuery:
    """Return the query that the API would build, over days that are rolled up or not."""
    SourceDay.objects.update(rolled_up=rolled_up)
    filters = {name.rstrip("_"): value for name, value in params.items() if value}
    summary_params: dict[str, str] = {name: filters.pop(name) for name in ENVIRONMENT_PARAMS if name in filters}
    filterset = FILTERS[kind](filters, row_scope=None)
    assert filterset.is_valid(), filterset.errors
    return parse_params(summary_params, METRICS[kind], filterset)


def index_rows(response: dict[str, Any], names: Iterable[str], measures: Iterable[str]) -> dict[Key, Key]:
    """Return the measures of a response's rows by the values of their groups."""
    rows = {tuple(row[name] for name in names): tuple(row[name] for name in measures) for row in response["results"]}
    assert len(rows) == len(response["results"])
    return rows


def cut_range(first: date, last: date, zone: ZoneInfo, *, hours: bool) -> list[tuple[datetime, datetime]]:
    """Return the days, or hours, of the dates `[first, last)` by the calendar, or clock, on the wall."""
    midnights = [
        datetime(on.year, on.month, on.day, tzinfo=zone).astimezone(UTC)
        for on in (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    ]
    if hours:
        minutes = int((midnights[-1] - midnights[0]) / MINUTE)
        passing = (midnights[0] + number * MINUTE for number in range(minutes + 1))
        midnights = [minute for minute in passing if begins_hour(minute, zone)]
    return list(pairwise(midnights))


QUANTITIES = st.lists(
    st.tuples(
        st.integers(0, 70),
        st.decimals(0, 10**25, places=9, allow_nan=False, allow_infinity=False),
        st.sampled_from(["minutes", "bytes"]),
        st.sampled_from([None, 1, 2]),
        st.sampled_from(["", "x", "y"]),
    ),
    max_size=15,
)
