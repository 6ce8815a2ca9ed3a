"""The periods that a question may be compared with: by name, each with its dates."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.http import QueryDict
from django.utils import timezone

from usage.datetimes import parse_moment, to_instant
from usage.explore.params import get_zone
from usage.explore.steps import Question
from usage.formatting import format_dates, format_instant
from usage.summaries.intervals import get_baseline

LABELS: Final = {
    "previous": "Period before",
    "last_month": "Same days last month",
    "last_year": "Same days last year",
    "same_weekday": "Same weekdays before",
}


@dataclass(frozen=True, slots=True)
class Baseline:
    """A period to compare with: its name, its dates, and the address of the question with it."""

    label: str
    dates: str
    url: str
    is_current: bool


def list_baselines(question: Question, data: QueryDict) -> Iterator[Baseline]:
    """Yield the periods that a question may be compared with, none for a range that is open or not valid."""
    if question.kind.metrics is None:
        return
    zone = get_zone(data)
    try:
        start, end = (to_instant(parse_moment(data.get(name, "")), zone) for name in ("from", "to"))
    except ValueError:
        return
    for name, label in LABELS.items():
        try:
            dates = format_period(*get_baseline(name, start, end, zone, timezone.now()), zone)
        except (ValueError, OverflowError):
            continue
        url = f"?{question.regroup(question.dimensions, question.interval, compare=name)}"
        yield Baseline(label, dates, url, data.get("compare") == name)


def format_period(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    """Return a half-open period for people: by its dates where it begins and ends at midnight."""
    first, last = start.astimezone(zone), end.astimezone(zone)
    if first.time() == last.time() == datetime.min.time():
        return format_dates(first.date(), last.date() - timedelta(days=1))
    return f"{format_instant(first)} – {format_instant(last)}"
