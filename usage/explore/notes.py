"""The notes of the days that a chart is over."""

from bisect import bisect_right
from datetime import timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from usage.datetimes import get_local_date
from usage.days import midnight
from usage.explore.query import Answer
from usage.formatting import format_date
from usage.notes import describe_note, fetch_notes

TICK: Final = timedelta(microseconds=1)
ONE_DAY: Final = timedelta(days=1)


def add_notes(charts: dict[str, Any], answer: Answer) -> list[tuple[str, str]]:
    """Add the texts of notes to charts over time, as `notes` by interval; return each with its day."""
    if not answer.bounds or not answer.sources:
        return []
    zone = ZoneInfo(answer.summary["meta"]["tz"])
    first, end = answer.bounds[0], answer.bounds[-1]
    if answer.query is not None:  # the first and the last interval may reach beyond the range
        first, end = max(first, answer.query.start or first), min(end, answer.query.end or end)
    days = get_local_date(first, zone), get_local_date(end - TICK, zone) + ONE_DAY
    notes = fetch_notes(*days, [source.pk for source in answer.sources])
    texts: list[list[str]] = [[] for _ in answer.bounds[:-1]]
    for note in notes:
        place = max(0, bisect_right(answer.bounds, midnight(note.day, zone)) - 1)
        texts[min(place, len(texts) - 1)].append(f"{format_date(note.day)}: {describe_note(note)}")
    charts["notes"] = texts if notes else []
    return [(format_date(note.day), describe_note(note)) for note in notes]
