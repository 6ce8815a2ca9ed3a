"""The notes of the days that a chart is over."""

from bisect import bisect_right
from typing import Any
from zoneinfo import ZoneInfo

from usage.datetimes import get_local_date
from usage.days import midnight
from usage.explore.query import Answer
from usage.formatting import format_date
from usage.notes import describe_note, fetch_notes


def add_notes(charts: dict[str, Any], answer: Answer) -> list[tuple[str, str]]:
    """Add the texts of notes to charts over time, as `notes` by interval; return each with its day."""
    if not answer.bounds or not answer.sources:
        return []
    zone = ZoneInfo(answer.summary["meta"]["tz"])
    first, last = get_local_date(answer.bounds[0], zone), get_local_date(answer.bounds[-1], zone)
    notes = fetch_notes(first, last, [source.pk for source in answer.sources])
    texts: list[list[str]] = [[] for _ in answer.bounds[:-1]]
    for note in notes:
        place = max(0, bisect_right(answer.bounds, midnight(note.day, zone)) - 1)
        texts[min(place, len(texts) - 1)].append(f"{format_date(note.day)}: {describe_note(note)}")
    charts["notes"] = texts if notes else []
    return [(format_date(note.day), describe_note(note)) for note in notes]
