"""The source days that an answer is made from, in one query; no statement names a time zone.

PostgreSQL and Python have separate zone databases, and a zone that only Python knows is a valid zone of a source.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db import connection

from usage.days import find_skipped_dates, get_today
from usage.models import Source

MAX_LISTED_DAYS: Final = 100  # of each list, one by one

SUSPECT = "(stored.state = 'suspect' OR stored.suspicion IS NOT NULL)"
LOOK_BACK = "make_interval(hours => 24 * touched.look_back)"
# Days that do not change by themselves any more. An accepted day counts once it was read after the closing read of its
# month, which is that of the month's last day; see SourceDay.final_from.
SETTLED = f"""(
    NOT {SUSPECT} AND (stored.final OR (
        stored.accepted_at IS NOT NULL AND stored.mismatch IS NULL AND stored.loaded_at >= (
            SELECT greatest(stored.ends_at, month_end.ends_at) + {LOOK_BACK}
            FROM usage_sourceday AS month_end
            WHERE month_end.source_id = stored.source_id
              AND month_end.day = (date_trunc('month', stored.day::timestamp) + interval '1 month - 1 day')::date
        )
    ))
)"""  # noqa: S608 (our own names)
# The same as usage/models/day_status.py has it.
AWAITS_CLOSE = f"""(
    NOT stored.final AND stored.complete AND stored.state = 'loaded'
    AND stored.suspicion IS NULL AND stored.mismatch IS NULL AND stored.verification <> 'unverified'
    AND stored.loaded_at >= stored.ends_at + {LOOK_BACK}
)"""
# What is known of a day `stored`, whose columns are NULL where the day is not stored.
STORED_COLUMNS = f"""
    stored.loaded_at IS NOT NULL AS loaded, coalesce(stored.complete, false) AS complete,
    coalesce({SUSPECT}, false) AS suspect, coalesce(stored.verification = 'unverified', false) AS unverified,
    stored.mismatch IS NOT NULL AS mismatched, coalesce({SETTLED}, false) AS settled,
    coalesce({AWAITS_CLOSE}, false) AS awaits_close, stored.archived_at IS NOT NULL AS archived, stored.restated_at"""
# The lists of days in an answer's `meta`, by their names there.
LISTS: Final = {
    "missing_days": "NOT loaded AND NOT open",
    "partial_days": "loaded AND NOT complete AND NOT open",
    "open_days": "open",
    "suspect_days": "suspect",
    "unverified_days": "unverified",
    "mismatched_days": "mismatched",
    "pruned_days": "pruned",
    "archived_days": "archived",
}
# The lists whose days a person may have accepted.
ACCEPTABLE: Final = ("partial_days", "unverified_days")
ACCEPTANCE: Final = (
    "CASE WHEN accepted_at IS NOT NULL THEN json_build_object('reason', accepted_reason, 'at', accepted_at) END"
)


def build_list(name: str, condition: str) -> str:
    """Return the column of a list: `{"total": …, "days": […]}`, the earliest days one by one."""
    accepted = f", 'accepted', {ACCEPTANCE}" if name in ACCEPTABLE else ""
    listed_days = f"SELECT * FROM days WHERE {condition} ORDER BY day, slug LIMIT %(limit)s"  # noqa: S608 (our own names)
    member = f"json_build_object('source', slug, 'day', day{accepted})"
    days = f"SELECT coalesce(json_agg({member}), '[]') FROM ({listed_days}) AS listed"  # noqa: S608 (our own names)
    return f"json_build_object('total', count(*) FILTER (WHERE {condition}), 'days', ({days})) AS {name}"


def build_gaps(condition: str) -> str:
    """Return the column of the first day of each source that meets a condition."""
    first = f"SELECT source_id, min(day) AS day FROM days WHERE {condition} GROUP BY source_id"  # noqa: S608 (our own names)
    return f"(SELECT coalesce(json_object_agg(source_id, day), '{{}}') FROM ({first}) AS first)"  # noqa: S608 (our own names)


# `open`: the day is not over. `pruned`: its records are nowhere; `archived`: they are in the lake. `gaps`: the first
# incomplete day of each source; `lake_gaps`: the same, where a pruned day is incomplete; `record_gaps`: where an
# archived day is, too. A date that a zone skipped has no row and is no missing day.
TOUCHED_DAYS = f"""
WITH days AS (
    SELECT touched.source_id, touched.slug, calendar.day::date AS day, {STORED_COLUMNS},
           stored.pruned_at IS NOT NULL AND stored.archived_at IS NULL AS pruned,
           stored.accepted_at, stored.accepted_reason, calendar.day >= touched.today AS open
    FROM unnest(%(ids)s::bigint[], %(slugs)s::text[], %(firsts)s::date[], %(lasts)s::date[], %(todays)s::date[],
                %(look_backs)s::int[])
         AS touched (source_id, slug, first, last, today, look_back)
    CROSS JOIN LATERAL generate_series(touched.first::timestamp, touched.last::timestamp, '1 day') AS calendar (day)
    LEFT JOIN usage_sourceday AS stored ON stored.source_id = touched.source_id AND stored.day = calendar.day::date
    WHERE stored.id IS NOT NULL OR (touched.source_id, calendar.day::date) NOT IN (
        SELECT * FROM unnest(%(skipped_ids)s::bigint[], %(skipped_days)s::date[])
    )
)
SELECT {", ".join(build_list(name, condition) for name, condition in LISTS.items())},
       {build_gaps("NOT complete")} AS gaps, {build_gaps("NOT complete OR pruned")} AS lake_gaps,
       {build_gaps("NOT complete OR pruned OR archived")} AS record_gaps,
       min(day) FILTER (WHERE NOT settled) AS provisional_from,
       min(day) FILTER (WHERE NOT settled AND NOT awaits_close) AS unsettled_from,
       max(restated_at) AS restated_since
FROM days
"""  # noqa: S608 (our own names)


@dataclass(frozen=True, slots=True)
class TouchedDays:
    """The days of a source from `first` to `last`, both included, that an answer is made from.

    `begins_before_source`: the range also has days before the source's first one.
    """

    source: Source
    first: date
    last: date
    begins_before_source: bool


def fetch_touched_days(touched: Collection[TouchedDays], now: datetime) -> dict[str, Any]:
    """Return the columns of TOUCHED_DAYS over these days, by `now`."""
    skipped = [
        (days.source.pk, day)
        for days in touched
        for day in find_skipped_dates(days.first, days.last + timedelta(days=1), days.source.zone)
    ]
    parameters = build_parameters(touched, now) | {
        "skipped_ids": [source_id for source_id, _ in skipped],
        "skipped_days": [day for _, day in skipped],
        "limit": MAX_LISTED_DAYS,
    }
    with connection.cursor() as cursor:
        cursor.execute(TOUCHED_DAYS, parameters)
        names = [column.name for column in cursor.description or ()]
        return dict(zip(names, cursor.fetchone() or (), strict=True))


def build_parameters(touched: Collection[TouchedDays], now: datetime) -> dict[str, Any]:
    """Return the columns of `touched` in the statements: of each source its days, its date, and how it is read."""
    return {
        "ids": [days.source.pk for days in touched],
        "slugs": [days.source.slug for days in touched],
        "firsts": [days.first for days in touched],
        "lasts": [days.last for days in touched],
        "todays": [get_today(days.source.zone, now) for days in touched],
        "look_backs": [days.source.look_back_days for days in touched],
    }


def get_last_expected_day(source: Source, now: datetime) -> date:
    """Return the last day that a source should have by `now`: today in its zone, or its last day if it is retired."""
    today = get_today(source.zone, now)
    return min(today, source.retired_after or today)
