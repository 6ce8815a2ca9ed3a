"""Rereads: when a day that was read is read again because its result is doubtful."""

import random
from datetime import datetime, timedelta

from sync.models import LoadAttempt
from usage.models import Source, SourceDay

LONGEST_UNVERIFIED_WAIT = timedelta(days=1)
# The same weekday is compared: the nearest days that were read, within two months.
WEEKDAYS_COMPARED = 4
WEEKDAYS_WITH_RECORDS = 3
WEEKS_AROUND = 8


def compute_unverified_wait(reads: int, interval: timedelta) -> timedelta:
    """Return the wait after so many reads in a row that disagreed with the vendor's checksum.

    It doubles from the source's interval to a day, jittered by a tenth so that a source's days spread out.
    """
    longest = max(LONGEST_UNVERIFIED_WAIT, interval).total_seconds()
    seconds = interval.total_seconds() * 2.0 ** min(max(reads - 1, 0), 20)
    return timedelta(seconds=min(seconds * random.uniform(0.9, 1.1), longest))  # noqa: S311


def needs_second_look(day: SourceDay, source: Source, reached: datetime) -> bool:
    """Return whether a day that the schedule does not read again is empty, though its weekday usually has records.

    `reached`: when this read began; its attempt has not ended yet. A vendor that answers before it has counted would
    otherwise leave the day empty for good. A second read that agrees settles it.
    """
    if day.records or day.withdrawn or day.rejected:
        return False
    if reached < day.final_from or was_read_before(day):
        return False
    return has_usual_records(day, source)


def was_read_before(day: SourceDay) -> bool:
    """Return whether an earlier attempt at the day stored or confirmed what the vendor reported."""
    outcome = LoadAttempt.Outcome
    stored = [outcome.LOADED, outcome.UNCHANGED, outcome.REPAIRED, outcome.PARTIAL]
    return LoadAttempt.objects.filter(source_day=day, outcome__in=stored).exists()


def has_usual_records(day: SourceDay, source: Source) -> bool:
    """Return whether most of the nearest days of the same weekday, before or after, have records.

    A backfill goes backwards, so the days before are often not read yet.
    """
    weeks = [week for week in range(-WEEKS_AROUND, WEEKS_AROUND + 1) if week]
    nearby_dates = [day.day + timedelta(weeks=week) for week in weeks]
    read_days = SourceDay.objects.filter(source=source, day__in=nearby_dates, loaded_at__isnull=False)
    by_distance = sorted((abs(on - day.day), records) for on, records in read_days.values_list("day", "records"))
    return sum(records > 0 for _, records in by_distance[:WEEKDAYS_COMPARED]) >= WEEKDAYS_WITH_RECORDS
