"""The chart of a measure: a bar for every day, drawn by the server as SVG.

A day that may still change is lighter; a missing or incomplete day is hatched. Colours are in
static/portal/overview.css.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from django.utils.html import escape
from django.utils.safestring import SafeString

from portal.dashboard.usage_stats import DayMeasure, DayUsage, UsageCalendar
from usage.admin.display import render_trend
from usage.days import iterate_dates
from usage.formatting import format_count, scale_amount
from usage.models.day_status import TODAY_OPEN

CHART_DAYS: Final = (30, 90)
STEP, GAP, HEIGHT = 8, 1, 44
HATCHED: Final = ' fill="url(#not-read)"'  # the pattern is in templates/admin/index.html
HATCHED_STATES: Final = frozenset({"missing", "partial"})
MIN_HEIGHT: Final = 1.5  # a day with little usage must not look like a day without any
STATES: Final = {"missing": "not synced", "partial": "incomplete", "open": "may still change"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A day of a chart; `value` is None where nothing of it is stored."""

    day: date
    value: Decimal | None
    state: str
    label: str
    note: str = ""


def build_bars(calendar: UsageCalendar, measure: DayMeasure, days: int) -> list[Bar]:
    """Return the last `days` days, including today."""
    first = calendar.today - timedelta(days=days - 1)
    return [build_bar(calendar, measure, day) for day in iterate_dates(first, calendar.today + timedelta(days=1))]


def build_bar(calendar: UsageCalendar, measure: DayMeasure, day: date) -> Bar:
    """Return the bar of a day."""
    usage = calendar.get(day)
    value = usage.sums.get(measure.key, Decimal(0)) if usage.stored or usage.sums else None
    state, note = find_state(calendar, usage, day)
    text = note if value is None else f"{scale_amount(value, measure.unit)}{f' ({note})' if note else ''}"
    remark = calendar.notes.get(day, "")
    label = f"{day.day} {day:%b}: {text}{f'. Note: {remark}' if remark else ''}"
    return Bar(day, value, state, label, remark)


def find_state(calendar: UsageCalendar, usage: DayUsage, day: date) -> tuple[str, str]:
    """Return how a day is drawn, and a note where it is not final."""
    if not usage.stored:
        if day < calendar.first:
            return "before", "some sources only" if usage.sums else "not yet stored"
        return "missing", "not synced for every source yet" if usage.sums else "not synced yet"
    if day == calendar.today:
        return "open", TODAY_OPEN
    if not usage.complete:
        return "partial", "incomplete"
    return ("whole", "") if usage.settled else ("open", usage.doubt or "may still change")


def draw_chart(calendar: UsageCalendar, measure: DayMeasure, days: int) -> SafeString:
    """Return the chart as SVG; every bar has its day and amount as a title."""
    bars = build_bars(calendar, measure, days)
    top = max((bar.value for bar in bars if bar.value is not None), default=Decimal(0))
    # Only labels can contain anything but numbers and states, so only they are escaped: there are thousands of bars.
    shapes = "".join(
        f'<rect class="bar-{state}" x="{position * STEP}" y="{y}" width="{STEP - GAP}" height="{height}"'
        f"{HATCHED if state in HATCHED_STATES else ''}><title>{escape(bar.label)}</title></rect>"
        for position, bar in enumerate(bars)
        for state, y, height in draw_bar(bar, top)
    )
    # A note is a line over its bar: what is under a pointer is the bar with its text.
    shapes += "".join(
        f'<rect class="bar-note" x="{position * STEP}" y="0" width="{STEP - GAP}" height="2"/>'
        for position, bar in enumerate(bars)
        if bar.note
    )
    return render_trend(days * STEP - GAP, HEIGHT, describe_chart(bars, measure), shapes)


def draw_bar(bar: Bar, top: Decimal) -> Iterator[tuple[str, str, str]]:
    """Yield the shapes of a day as (state, y, height): the hatching first, then what is stored."""
    if bar.state == "before" or bar.state in HATCHED_STATES:
        yield bar.state, "0", str(HEIGHT)
    if bar.value is not None:
        height = MIN_HEIGHT if bar.value <= 0 or not top else max(MIN_HEIGHT, float(bar.value / top) * HEIGHT)
        fill = "whole" if bar.state == "before" else "open" if bar.state in HATCHED_STATES else bar.state
        yield fill if bar.value else "none", f"{HEIGHT - height:.1f}", f"{height:.1f}"


def describe_chart(bars: Sequence[Bar], measure: DayMeasure) -> str:
    """Return the chart as text, for screen readers."""
    first, last = bars[0].day, bars[-1].day
    sentences = [f"{measure.label} by day from {first.day} {first:%b} to {last.day} {last:%b}."]
    if bars_with_usage := [bar for bar in bars if bar.value]:
        sentences.append(f"Highest on {max(bars_with_usage, key=lambda bar: bar.value or 0).label}.")
    else:
        sentences.append("No usage.")
    sentences += [f"Note on {bar.day.day} {bar.day:%b}: {bar.note}." for bar in bars if bar.note]
    for state, label in STATES.items():
        if number := sum(bar.state == state for bar in bars):
            sentences.append(f"{format_count(number, 'day')} {label}.")
    return " ".join(sentences)
