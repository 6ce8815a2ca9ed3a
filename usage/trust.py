"""How far the answer to a question can be trusted: judged by the source days that the question really touches."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import connection
from django.utils import timezone

from usage.days import midnight
from usage.models import Source, UsageRecord

# The kind of usage that each vendor reports; filled by whoever knows the vendors. A source of a vendor that is
# not in it may report any kind.
VENDOR_KINDS: Final[dict[str, type[UsageRecord]]] = {}
LONGEST_LIST = 100  # as many missing and partial days are named one by one
MOST_INTERVALS = 50_000  # as many pairs of an interval and a source are told apart
TICK = timedelta(microseconds=1)
FIRST_INSTANT = datetime.min.replace(tzinfo=UTC)

TOUCHED_DAYS = """
WITH days AS (
    SELECT asked.source_id, asked.slug, calendar.day::date AS day, held.loaded_at IS NOT NULL AS loaded,
           coalesce(held.complete, false) AS complete, coalesce(held.final, false) AS final, held.restated_at
    FROM unnest(%(ids)s::bigint[], %(slugs)s::text[], %(firsts)s::date[], %(lasts)s::date[])
         AS asked (source_id, slug, first, last)
    CROSS JOIN LATERAL generate_series(asked.first::timestamp, asked.last::timestamp, '1 day') AS calendar (day)
    LEFT JOIN usage_sourceday AS held ON held.source_id = asked.source_id AND held.day = calendar.day::date
)
SELECT count(*) FILTER (WHERE NOT loaded),
       ARRAY(SELECT ROW(slug, day)::text FROM days WHERE NOT loaded ORDER BY day, slug LIMIT %(most)s),
       count(*) FILTER (WHERE loaded AND NOT complete),
       ARRAY(SELECT ROW(slug, day)::text FROM days WHERE loaded AND NOT complete ORDER BY day, slug LIMIT %(most)s),
       ARRAY(SELECT ROW(source_id, min(day))::text FROM days WHERE NOT complete GROUP BY source_id),
       min(day) FILTER (WHERE NOT final),
       max(restated_at)
FROM days
"""

# One row per interval and source that has something to tell. A day belongs to every interval that it overlaps.
DAYS_BY_INTERVAL = """
SELECT place, slug, count(*) FILTER (WHERE NOT unheld), count(*) FILTER (WHERE unheld),
       count(*) FILTER (WHERE NOT unheld AND loaded_at IS NULL),
       count(*) FILTER (WHERE loaded_at IS NOT NULL AND NOT complete),
       count(*) FILTER (WHERE NOT unheld AND NOT coalesce(final, false)), count(restated_at)
FROM (
    SELECT asked.slug, calendar.day::date < asked.held_from AS unheld, held.loaded_at, held.complete, held.final,
           held.restated_at, generate_series(
               greatest(1, width_bucket(calendar.day AT TIME ZONE asked.zone, bounds.instants)),
               least(cardinality(bounds.instants) - 1, width_bucket(
                   (calendar.day + interval '1 day') AT TIME ZONE asked.zone - interval '1 microsecond',
                   bounds.instants))
           ) AS place
    FROM (SELECT %(bounds)s::timestamptz[] AS instants) AS bounds
    CROSS JOIN unnest(%(ids)s::bigint[], %(slugs)s::text[], %(zones)s::text[], %(firsts)s::date[], %(lasts)s::date[],
                      %(held)s::date[]) AS asked (source_id, slug, zone, first, last, held_from)
    CROSS JOIN LATERAL generate_series(asked.first::timestamp, asked.last::timestamp, '1 day') AS calendar (day)
    LEFT JOIN usage_sourceday AS held ON held.source_id = asked.source_id AND held.day = calendar.day::date
) AS days
GROUP BY place, slug
HAVING bool_or(unheld OR loaded_at IS NULL OR NOT complete OR NOT final OR restated_at IS NOT NULL)
ORDER BY place, slug
LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class Trust:
    """What an answer is worth. `start`, `end`, `zone`: the question; a bound that is None was not asked for.

    `complete`: every touched day was read after its end and every record of it was kept; a range that begins
    before a source is held, or has not ended yet, is not complete. `complete_through`: the last date of `zone`
    up to which, from `start` on, that is so. `missing_days`: `{"source": slug, "day": date}` of days never read,
    at most LONGEST_LIST of `missing_total`, earliest first; `partial_days`: as many of the days that were read
    but are not complete. `provisional_from`: the first touched day that may still change by itself.
    `restated_since`: when a touched day last came back different, so an answer older than that is out of date.
    """

    start: datetime | None
    end: datetime | None
    zone: ZoneInfo
    complete: bool
    complete_through: date | None
    missing_days: list[dict[str, Any]]
    missing_total: int
    partial_days: list[dict[str, Any]]
    partial_total: int
    provisional_from: date | None
    restated_since: datetime | None
    as_of: datetime

    def meta(self) -> dict[str, Any]:
        """Return it as the `meta` of an answer: JSON-ready, instants in UTC."""
        return {
            "from": written(self.start),
            "to": written(self.end),
            "tz": self.zone.key,
            "complete": self.complete,
            "complete_through": written(self.complete_through),
            "missing_days": {"total": self.missing_total, "days": self.missing_days},
            "partial_days": {"total": self.partial_total, "days": self.partial_days},
            "provisional_from": written(self.provisional_from),
            "restated_since": written(self.restated_since),
            "as_of": written(self.as_of),
        }


@dataclass(frozen=True, slots=True)
class Touched:
    """The days `[first, last]` of a source that a question touches; `beforehand`: it also asks for earlier ones."""

    source: Source
    first: date
    last: date
    beforehand: bool


def trust_of(
    kind: type[UsageRecord] | None,
    *,
    source_ids: Collection[int] | None,
    start: datetime | None,
    end: datetime | None,
    zone: ZoneInfo,
    row_scope: frozenset[int] | None,
    accrued: bool = False,
) -> Trust:
    """Return the trust in an answer about `[start, end)` of a kind, over the sources asked for within the row scope.

    `kind` None stands for every kind; `source_ids` None for every source.
    With `accrued`, the days up to yesterday are touched too: a run is only told of when it stops, so what it
    used in the range may come with any later day, and is provisional from the start.
    """
    now = timezone.now()
    sources = reporting(kind, source_ids, row_scope)
    until = end if not accrued else max(filter(None, (end, now - timedelta(days=1))))
    touched = [days for days in (touched_days(source, start, until, now) for source in sources) if days]
    missing, missing_days, partial, partial_days, gaps, provisional, restated = days_found(touched)
    # The first instant from which on something is not held to its end.
    edges = [midnight(date.fromisoformat(day), zones(touched)[int(pk)]) for pk, day in map(cells, gaps)]
    if any(days.beforehand for days in touched):
        edges.append(start or FIRST_INSTANT)
    reach = min([*edges, end or now, now])
    if provisional is not None and accrued and start is not None:
        provisional = min(provisional, local_date(start, zone))
    return Trust(
        start=start,
        end=end,
        zone=zone,
        complete=not edges and end is not None and end <= now,
        complete_through=last_whole_date(start, end, reach, zone) if touched else None,
        missing_days=[named(day) for day in missing_days],
        missing_total=missing,
        partial_days=[named(day) for day in partial_days],
        partial_total=partial,
        provisional_from=provisional,
        restated_since=restated,
        as_of=now,
    )


@dataclass(frozen=True, slots=True)
class DaysTold:
    """What the days of one source in one interval are worth; `place`: the interval's, from 1.

    Counts of days: `held`: are to be held, `unheld`: lie before the source is held; of the held, `missing`: were
    never read, `partial`: were read but not completely, `provisional`: may still change by themselves, `restated`:
    came back different.
    """

    place: int
    source: str
    held: int
    unheld: int
    missing: int
    partial: int
    provisional: int
    restated: int


def days_of_trust(sources: Collection[Source], bounds: Sequence[datetime]) -> list[DaysTold]:
    """Return the states of the sources' days by interval, in one query; whole and final intervals are left out.

    `bounds`: the intervals' bounds, ascending. Days that have not begun are not told of.
    """
    if len(bounds) < 2 or not sources:
        return []
    now = timezone.now()
    asked = [
        (source, local_date(bounds[0], source.zone), min(local_date(bounds[-1] - TICK, source.zone), today))
        for source in sources
        for today in (now.astimezone(source.zone).date(),)
    ]
    parameters: dict[str, Any] = {
        "bounds": list(bounds),
        "ids": [source.pk for source, *_ in asked],
        "slugs": [source.slug for source, *_ in asked],
        "zones": [source.time_zone for source, *_ in asked],
        "firsts": [first for _, first, _ in asked],
        "lasts": [last for *_, last in asked],
        "held": [source.backfill_from for source, *_ in asked],
        "most": MOST_INTERVALS,
    }
    with connection.cursor() as cursor:
        cursor.execute(DAYS_BY_INTERVAL, parameters)
        return [DaysTold(*row) for row in cursor.fetchall()]


def reporting(
    kind: type[UsageRecord] | None, source_ids: Collection[int] | None, row_scope: frozenset[int] | None
) -> list[Source]:
    """Return the sources that report `kind` (None: any), of those asked for, within the row scope."""
    others = [vendor for vendor, reported in VENDOR_KINDS.items() if kind not in (None, reported)]
    found = Source.objects.exclude(vendor__in=others)
    for allowed in (source_ids, row_scope):
        found = found if allowed is None else found.filter(pk__in=allowed)
    return list(found.only("slug", "vendor", "time_zone", "backfill_from"))


def touched_days(source: Source, start: datetime | None, end: datetime | None, now: datetime) -> Touched | None:
    """Return the days of a source that overlap `[start, end)`, are to be held and have begun; None for none."""
    if start is not None and end is not None and start >= end:
        return None
    today = now.astimezone(source.zone).date()
    first = source.backfill_from if start is None else local_date(start, source.zone)
    last = today
    if end is not None:
        asked_to = local_date(end - TICK if end > FIRST_INSTANT else end, source.zone)
        if start is None and asked_to < first:
            return Touched(source, first, asked_to, beforehand=True)
        last = min(today, asked_to)
    held_from = max(first, source.backfill_from)
    return Touched(source, held_from, last, first < source.backfill_from) if first <= last else None


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """Return the date that `zone` shows; at the calendar's ends, the instant's own."""
    try:
        return instant.astimezone(zone).date()
    except OverflowError:
        return instant.date()


def days_found(touched: list[Touched]) -> Any:
    """Return what TOUCHED_DAYS says of these days."""
    parameters: dict[str, Any] = {
        "ids": [days.source.pk for days in touched],
        "slugs": [days.source.slug for days in touched],
        "firsts": [days.first for days in touched],
        "lasts": [days.last for days in touched],
        "most": LONGEST_LIST,
    }
    with connection.cursor() as cursor:
        cursor.execute(TOUCHED_DAYS, parameters)
        return cursor.fetchone()


def zones(touched: list[Touched]) -> dict[int, ZoneInfo]:
    """Return the zone of each source by its key."""
    return {days.source.pk: days.source.zone for days in touched}


def cells(row: str) -> list[str]:
    """Return the two cells of a row that PostgreSQL wrote as text, `(left,right)`; neither needs quoting."""
    return row.strip("()").split(",")


def named(row: str) -> dict[str, Any]:
    """Return a day as the answer names it."""
    slug, day = cells(row)
    return {"source": slug, "day": day}


def last_whole_date(start: datetime | None, end: datetime | None, reach: datetime, zone: ZoneInfo) -> date | None:
    """Return the last date of `zone` that lies in `[start, reach)` as far as it lies in `[start, end)` at all."""
    if start is not None and reach <= start:
        return None
    try:
        last = (reach - TICK).astimezone(zone).date()
    except OverflowError:  # no date is before the calendar's first
        return None
    whole = reach == end or midnight(last + timedelta(days=1), zone) <= reach
    if not whole:
        last -= timedelta(days=1)
    return last if start is None or last >= start.astimezone(zone).date() else None


def written(moment: date | datetime | None) -> str | None:
    """Return a date or an instant as JSON has it: ISO 8601, instants in UTC with Z."""
    if isinstance(moment, datetime):
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return moment.isoformat() if moment else None
