"""The data quality of each interval of a range, source by source: the marks of a chart over time."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import connection
from django.utils import timezone

from usage.data_quality.days import STORED_COLUMNS, TouchedDays, build_parameters, get_last_expected_day
from usage.datetimes import get_local_date
from usage.days import iterate_days, midnight
from usage.models import Source

MAX_INTERVALS: Final = 50_000  # pairs of an interval and a source
TICK: Final = timedelta(microseconds=1)
# No vendor had usage before; earlier intervals are counted without a row of each of their days.
EPOCH: Final = date(1970, 1, 1)

# One row per interval and source that is not complete and final. A day belongs to every interval that it overlaps.
DAYS_BY_INTERVAL = f"""
SELECT place, slug, count(*) FILTER (WHERE NOT unheld), count(*) FILTER (WHERE unheld),
       count(*) FILTER (WHERE NOT unheld AND NOT loaded AND NOT open),
       count(*) FILTER (WHERE loaded AND NOT complete AND NOT open),
       count(*) FILTER (WHERE NOT unheld AND NOT settled AND NOT awaits_close),
       count(*) FILTER (WHERE NOT unheld AND NOT settled AND awaits_close),
       count(*) FILTER (WHERE suspect), count(*) FILTER (WHERE unverified AND NOT accepted),
       count(*) FILTER (WHERE mismatched), count(*) FILTER (WHERE lacking AND NOT archived),
       count(*) FILTER (WHERE lacking AND archived), count(*) FILTER (WHERE accepted), count(restated_at),
       count(*) FILTER (WHERE NOT unheld AND open)
FROM (
    SELECT touched.slug, calendar.day < touched.held_from AS unheld,
           calendar.day >= touched.today AS open, {STORED_COLUMNS},
           stored.pruned_at IS NOT NULL AND NOT %(rolled_up)s AS lacking,
           stored.accepted_at IS NOT NULL AS accepted, generate_series(
               greatest(1, width_bucket(calendar.starts_at, bounds.instants)),
               least(cardinality(bounds.instants) - 1,
                     width_bucket(calendar.ends_at - interval '1 microsecond', bounds.instants))
           ) AS place
    FROM (SELECT %(bounds)s::timestamptz[] AS instants) AS bounds
    CROSS JOIN unnest(%(ids)s::bigint[], %(slugs)s::text[], %(zones)s::text[], %(firsts)s::date[], %(lasts)s::date[],
                      %(held)s::date[], %(todays)s::date[], %(look_backs)s::int[])
         AS touched (source_id, slug, zone, first, last, held_from, today, look_back)
    JOIN unnest(%(calendar_zones)s::text[], %(days)s::date[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
         AS calendar (zone, day, starts_at, ends_at)
         ON calendar.zone = touched.zone AND calendar.day BETWEEN touched.first AND touched.last
    LEFT JOIN usage_sourceday AS stored ON stored.source_id = touched.source_id AND stored.day = calendar.day
) AS days
GROUP BY place, slug
HAVING bool_or(unheld OR NOT loaded OR NOT complete OR NOT settled OR lacking OR accepted OR restated_at IS NOT NULL)
ORDER BY place, slug
LIMIT %(limit)s
"""  # noqa: S608 (our own names)


@dataclass(frozen=True, slots=True)
class IntervalQuality:
    """Counts of the days of one source in one interval; `place`: the interval's, from 1.

    `day_count`: days from the source's first one on; `early_day_count`: earlier ones. Of the former, `missing`: were
    never read; `partial`: were read, but not completely; `provisional`: may still change by themselves;
    `awaits_close`: only wait for the closing read of their month; `suspect`, `unverified` and `mismatched`: as in
    `DataQuality`; `pruned`: lack their records, and no roll-up stands in for them; `archived`: the same, where the lake
    has them; `accepted`: have findings that a person accepted; `restated`: came back different; `open`: are not over,
    and neither missing nor partial.
    """

    place: int
    source: str
    day_count: int
    early_day_count: int
    missing: int = 0
    partial: int = 0
    provisional: int = 0
    awaits_close: int = 0
    suspect: int = 0
    unverified: int = 0
    mismatched: int = 0
    pruned: int = 0
    archived: int = 0
    accepted: int = 0
    restated: int = 0
    open: int = 0


def assess_intervals(
    sources: Collection[Source], bounds: Sequence[datetime], *, rolled_up: bool = False
) -> list[IntervalQuality]:
    """Return the quality of the intervals by source, in one query; complete and final intervals are left out.

    `bounds`: the intervals' bounds, ascending. Days that have not begun do not count. `rolled_up`: the numbers come
    from roll-ups, which have the days whose records were pruned.
    """
    if len(bounds) < 2 or not sources:
        return []
    now = timezone.now()
    touched = [get_touched_days(source, bounds, now) for source in sources]
    parameters = {
        **build_parameters(touched, now),
        **build_calendar(touched),
        "bounds": list(bounds),
        "zones": [days.source.time_zone for days in touched],
        "held": [days.source.backfill_from for days in touched],
        "limit": MAX_INTERVALS,
        "rolled_up": rolled_up,
    }
    early = [interval for source in sources for interval in count_early(source, bounds)]
    with connection.cursor() as cursor:
        cursor.execute(DAYS_BY_INTERVAL, parameters)
        return [*early, *(IntervalQuality(*row) for row in cursor.fetchall())]


def get_touched_days(source: Source, bounds: Sequence[datetime], now: datetime) -> TouchedDays:
    """Return the days of a source that the intervals overlap, from EPOCH until today."""
    today = get_last_expected_day(source, now)
    first, last = get_local_date(bounds[0], source.zone), get_local_date(bounds[-1] - TICK, source.zone)
    return TouchedDays(source, max(first, EPOCH), min(last, today), first < source.backfill_from)


def build_calendar(touched: Sequence[TouchedDays]) -> dict[str, list[Any]]:
    """Return the days of every zone among the sources, with the instants at which they start and end.

    They are computed here: PostgreSQL may not know the zone. A date that a zone skipped has no length and is left out.
    """
    spans: dict[str, tuple[ZoneInfo, date, date]] = {}
    for days in touched:
        zone, first, last = spans.get(days.source.time_zone, (days.source.zone, days.first, days.last))
        spans[days.source.time_zone] = (zone, min(first, days.first), max(last, days.last))
    rows = [
        (name, day.date, day.start, day.end)
        for name, (zone, first, last) in spans.items()
        for day in iterate_days(first, last + timedelta(days=1), zone)
    ]
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    return dict(zip(("calendar_zones", "days", "starts", "ends"), map(list, columns), strict=True))


def count_early(source: Source, bounds: Sequence[datetime]) -> Iterator[IntervalQuality]:
    """Yield the intervals that end before EPOCH, of which nothing is stored."""
    begin = midnight(EPOCH, source.zone)
    for place, (start, end) in enumerate(pairwise(bounds), start=1):
        if end > begin:
            return
        days = (get_local_date(end - TICK, source.zone) - get_local_date(start, source.zone)).days + 1
        yield IntervalQuality(place, source.slug, day_count=0, early_day_count=days)
