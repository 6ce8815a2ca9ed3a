"""The trend of one unit: a bar for every day, drawn by the server so that it shows without any script.

How far a day can be trusted is drawn too: a day that may still change is lighter, one that was not read, or not
completely, is hatched. Colours are the stylesheet's (static/portal/overview.css).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString

from portal.overview.figures import Calendar, Cell, Measure
from portal.overview.words import shown
from usage.admin.display import exact
from usage.days import dates

SPANS: Final = (30, 90)
STEP, GAP, HEIGHT = 8, 1, 44
HATCHED: Final = ' fill="url(#not-read)"'  # the pattern is in templates/admin/index.html
LACKING: Final = frozenset({"missing", "partial"})
LEAST = 1.5  # a day with a little must not look like a day with nothing


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of a chart; `value` None where nothing is held of it."""

    on: date
    value: Decimal | None
    state: str
    said: str


def bars(calendar: Calendar, measure: Measure, days: int) -> list[Bar]:
    """Return the last `days` days, today among them."""
    first = calendar.today - timedelta(days=days - 1)
    return [bar(calendar, measure, on) for on in dates(first, calendar.today + timedelta(days=1))]


def bar(calendar: Calendar, measure: Measure, on: date) -> Bar:
    """Return one day."""
    cell = calendar.cell(on)
    value = cell.sums.get(measure.key, Decimal(0)) if cell.held or cell.sums else None
    state, words = standing(calendar, cell, on)
    said = words if value is None else f"{shown(value, measure.unit)}{f' ({words})' if words else ''}"
    return Bar(on, value, state, f"{on.day} {on:%b}: {said}")


def standing(calendar: Calendar, cell: Cell, on: date) -> tuple[str, str]:
    """Return how a day is drawn, and why if not plainly."""
    if not cell.held:
        if on < calendar.held_from:
            return "before", "of some sources only" if cell.sums else "before the first day that is kept"
        return "missing", "not read of every source yet" if cell.sums else "not read yet"
    if on == calendar.today:
        return "open", "the day has not ended"
    if not cell.complete:
        return "partial", "not complete"
    return ("whole", "") if cell.final else ("open", "may still change")


def drawn(calendar: Calendar, measure: Measure, days: int) -> SafeString:
    """Return the chart as SVG; every bar tells its day and amount where a pointer rests on it."""
    found = bars(calendar, measure, days)
    top = max((one.value for one in found if one.value is not None), default=Decimal(0))
    # Only words can hold anything but numbers and states, so only they are escaped: there are thousands of bars.
    shapes = "".join(
        f'<rect class="bar-{state}" x="{place * STEP}" y="{top_edge}" width="{STEP - GAP}" height="{height}"'
        f"{HATCHED if state in LACKING else ''}><title>{escape(one.said)}</title></rect>"
        for place, one in enumerate(found)
        for state, top_edge, height in pieces(one, top)
    )
    return format_html(
        '<svg class="trend" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        days * STEP - GAP,
        HEIGHT,
        in_words(found, measure),
        SafeString(shapes),
    )


def pieces(one: Bar, top: Decimal) -> Iterator[tuple[str, str, str]]:
    """Yield what is drawn of a day: (state, top edge, height); hatching first, then what is held."""
    if one.state == "before" or one.state in LACKING:
        yield one.state, "0", str(HEIGHT)
    if one.value is not None:
        height = LEAST if one.value <= 0 or not top else max(LEAST, float(one.value / top) * HEIGHT)
        known = "whole" if one.state == "before" else "open" if one.state in LACKING else one.state
        state = known if one.value else "none"
        yield state, f"{HEIGHT - height:.1f}", f"{height:.1f}"


def in_words(found: list[Bar], measure: Measure) -> str:
    """Return what the chart shows to somebody who cannot see it."""
    said = [f"{measure.label} a day from {found[0].on.day} {found[0].on:%b} to {found[-1].on.day} {found[-1].on:%b}."]
    held = [one for one in found if one.value]
    if held:
        most = max(held, key=lambda one: one.value or 0)
        said.append(f"Most on {most.said}.")
    else:
        said.append("Nothing was used.")
    for state, words in (("missing", "not read"), ("partial", "not complete"), ("open", "may still change")):
        number = sum(one.state == state for one in found)
        if number:
            said.append(f"{exact(number)} {'day' if number == 1 else 'days'} {words}.")
    return " ".join(said)
