"""The charts of an answer, as data for the browser: one per measure and unit, since different units share no axis."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from usage.admin.records.units import SIZES
from usage.exactly import total
from usage.explore.asking import Answer
from usage.explore.kinds import label_of
from usage.explore.lines import Line, Lines, additive, unit_of
from usage.explore.table import interval_in_words
from usage.summaries.intervals import label
from usage.trust import DaysTold

SERIES: Final = 7  # told apart by colour; the others are one more
BARS: Final = 15
MOST_PANELS: Final = 40
MOST_VALUES: Final = 60_000  # sent to the browser
MOST_INTERVALS: Final = 1_500
OTHERS: Final = "Others"
HOUR: Final = 3600

Values = dict[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """What one chart is of: a measure, and the lines that its sums may be added over."""

    measure: str
    title: str
    unit: str
    lines: list[Line]


def charts_of(answer: Answer, lines: Lines) -> dict[str, Any] | None:
    """Return the charts, JSON-ready, None where there is nothing to draw.

    `labels`: the intervals in words, none where each chart has bars of its own; `panels`: see `over_time` and `bars`,
    those of most records, over time with the marks of the intervals' `days`; `left_out`: how many more there would be.
    Numbers are texts with all digits; an axis shows
    them `drawn_in` a unit of which each is so many of the numbers' own: its `size`.
    """
    if not lines.parted or not lines.results or len(answer.bounds) > MOST_INTERVALS + 1:
        return None
    panels = list(panels_of(lines))
    if not lines.interval:
        drawn = [bars(lines, panel) for panel in panels[:MOST_PANELS]]
        return {"labels": [], "panels": drawn, "left_out": len(panels) - len(drawn)}
    names = labels_of(answer, lines)
    most = max(1, min(MOST_PANELS, MOST_VALUES // (SERIES + 1) // max(1, len(names))))
    return {
        "labels": [interval_in_words(name, lines.interval) for name in names],
        "panels": [
            {**over_time(lines, panel, names), "days": days_of(answer, lines, panel, len(names))}
            for panel in panels[:most]
        ],
        "left_out": max(0, len(panels) - most),
    }


def labels_of(answer: Answer, lines: Lines) -> list[str]:
    """Return the names of the intervals: of the whole range where it is known, else those that hold something."""
    if not answer.bounds:
        return sorted({line[lines.interval] for line in lines.results})
    zone = ZoneInfo(answer.said["meta"]["tz"])
    return [label(bound, lines.interval, zone) for bound in answer.bounds[:-1]]


def panels_of(lines: Lines) -> Iterator[Panel]:
    """Yield the panels: the main measure first, within a measure the metric of most records."""
    parts: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines.results:
        parts.setdefault(lines.key(line), []).append(line)
    ranked = sorted(parts, key=lambda key: -weight(parts[key]))
    for measure in lines.mattering:
        for key in ranked:
            unit = unit_of(measure, parts[key][0])
            named = ", ".join(str(value) for value in key if value and value != unit)
            title = f"{label_of(measure)}: {named}" if named else label_of(measure)
            yield Panel(measure, title, unit, parts[key])


def weight(lines: Iterable[Line]) -> int:
    """Return how many records lines are of, or where that was not asked for, how many lines there are."""
    return sum(line.get("records") or 1 for line in lines)


def series_name(lines: Lines, line: Line) -> str:
    """Return what a line is called besides its interval, '' where it is of everything."""
    values = [line[name] for name in lines.dimensions if name not in (*lines.apart, "deleted_recipes")]
    return " · ".join("none" if value in (None, "") else str(value) for value in values)


def over_time(lines: Lines, panel: Panel, names: list[str]) -> dict[str, Any]:
    """Return a chart over the intervals: a series per group, the largest first, the rest as one."""
    found: dict[str, Values] = {}
    before: Values = {}
    for line in panel.lines:
        at = line[lines.interval]
        add(found.setdefault(series_name(lines, line), {}), at, line[panel.measure])
        if lines.compared:
            add(before, at, line["previous"][panel.measure])
    ranked = sorted(found, key=lambda name: -sum(filter(None, found[name].values()), Decimal(0)))
    left = [line for line in lines.others_over_time if lines.key(line) == lines.key(panel.lines[0])]
    most = SERIES if left or len(ranked) > SERIES + 1 else SERIES + 1
    series = [drawn(name or panel.title, found[name], names) for name in ranked[:most]]
    if (left or ranked[most:]) and additive(panel.measure):
        rest = together(found[name] for name in ranked[most:])
        for line in left:
            add(rest, line[lines.interval], line[panel.measure])
            if lines.compared:
                add(before, line[lines.interval], line["previous"][panel.measure])
        series.append(drawn(OTHERS, rest, names))
    whole = lines.compared and (additive(panel.measure) or len(found) == 1)
    return {
        "title": panel.title,
        "unit": panel.unit,
        **axis(panel.unit, (value for values in found.values() for value in values.values())),
        "stacked": additive(panel.measure),
        "series": series,
        "before": drawn("Period before", before, names)["values"] if whole else [],
    }


def axis(unit: str, values: Iterable[Any]) -> dict[str, Any]:
    """Return in which unit an axis shows numbers, and its size: seconds in hours, bytes by the largest of them."""
    if unit == "seconds":
        return {"drawn_in": "hours", "size": HOUR}
    if unit.lower() == "bytes":
        most = max((abs(Decimal(value)) for value in values if value is not None), default=Decimal(0))
        place = min(max(most.adjusted(), 0) // 3, len(SIZES) - 1)
        return {"drawn_in": SIZES[place], "size": 1000**place}
    return {"drawn_in": unit, "size": 1}


def drawn(name: str, values: Values, names: list[str]) -> dict[str, Any]:
    """Return one series; an interval without a value is a gap."""
    return {"name": name, "values": [said(values.get(at)) for at in names]}


def together(several: Iterable[Values]) -> Values:
    """Return the sums of several series."""
    whole: Values = {}
    for values in several:
        for at, value in values.items():
            add(whole, at, value)
    return whole


def add(values: Values, at: str, value: Any) -> None:
    """Add a number to what an interval has; an unknown one adds nothing."""
    if value is not None:
        values[at] = total((values.get(at) or Decimal(0), Decimal(value)))
    else:
        values.setdefault(at, None)


def bars(lines: Lines, panel: Panel) -> dict[str, Any]:
    """Return a chart of one bar per group, the largest first, the rest and what the limit left out as one."""
    ranked = sorted(panel.lines, key=lambda line: -Decimal(line[panel.measure] or 0))
    shown, rest = ranked[:BARS], ranked[BARS:]
    labels = [series_name(lines, line) or panel.title for line in shown]
    values = [said(line[panel.measure]) for line in shown]
    before = [said(line["previous"][panel.measure]) for line in shown] if lines.compared else []
    key = lines.key(panel.lines[0])
    left = [line for line in lines.others if lines.key(line) == key]
    if (rest or left) and additive(panel.measure):
        more: Values = {}
        was: Values = {}
        for line in (*rest, *left):
            add(more, OTHERS, line[panel.measure])
            if lines.compared:
                add(was, OTHERS, line["previous"][panel.measure])
        labels.append(OTHERS)
        values.append(said(more[OTHERS]))
        before += [said(was[OTHERS])] if lines.compared else []
    drawn_as = axis(panel.unit, values)
    return {"title": panel.title, "unit": panel.unit, **drawn_as, "labels": labels, "values": values, "before": before}


def said(value: Any) -> str | None:
    """Return a number as a text with all its digits."""
    return None if value is None else f"{Decimal(value):f}"


def days_of(answer: Answer, lines: Lines, panel: Panel, count: int) -> list[dict[str, Any] | None]:
    """Return the marks of a chart's intervals: of the sources that its numbers may come from."""
    if not answer.bounds:
        return []
    vendors = {line["vendor"] for line in panel.lines} if "vendor" in lines.apart else None
    sources = {source.slug for source in answer.sources if vendors is None or source.vendor in vendors}
    return marks([one for one in answer.days if one.source in sources], count, len(sources))


def marks(days: list[DaysTold], count: int, sources: int) -> list[dict[str, Any] | None]:
    """Return by interval what its days are worth: marks to draw and words; None where all is complete and final."""
    found: list[dict[str, Any] | None] = [None] * count
    told: dict[int, list[DaysTold]] = {}
    for one in days:
        told.setdefault(one.place, []).append(one)
    for place, ones in told.items():
        if 1 <= place <= count:
            found[place - 1] = mark(ones, sources)
    return found


def mark(ones: list[DaysTold], sources: int) -> dict[str, Any]:
    """Return the marks of one interval, and a line of words per source; of all `sources` none may be held yet."""
    unheld = sum(not one.held for one in ones) == sources
    return {
        "missing": unheld or any(one.missing or one.partial for one in ones),
        "provisional": any(one.provisional for one in ones),
        "restated": any(one.restated for one in ones),
        "words": [words for one in ones if (words := in_words(one))],
    }


def in_words(one: DaysTold) -> str:
    """Return what a source's days in an interval are worth: `main: 2 of 30 days never read, 1 restated`."""
    of = f" of {one.held}" if one.held > 1 else ""
    counts = (
        (one.missing, "never read"),
        (one.partial, "not read completely"),
        (one.provisional - one.missing, "provisional"),
        (one.restated, "restated"),
        (one.unheld, "before this source is held"),
    )
    said = [f"{number}{of if what != counts[-1][1] else ''} {what}" for number, what in counts if number > 0]
    return f"{one.source}: {', '.join(said)}" if said else ""
