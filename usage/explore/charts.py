"""The charts of an answer, as data for the browser: one chart per measure and unit, since units share no axis."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from usage.data_quality import IntervalQuality
from usage.data_quality.messages import AWAITS_CLOSE
from usage.decimals import add_exactly
from usage.explore.baselines import format_period
from usage.explore.query import Answer
from usage.explore.rows import AnswerRows, Row, get_unit, is_additive
from usage.explore.steps import Question
from usage.formatting import format_interval
from usage.labels import get_label
from usage.models.day_status import TODAY_OPEN
from usage.summaries.intervals import format_label
from usage.units import find_scale

MAX_SERIES: Final = 8  # distinct colours, unless the limit is higher; Others is one more
MOST_SERIES: Final = 20
MAX_BARS: Final = 15
MOST_BARS: Final = 40
MAX_PANELS: Final = 40
MAX_VALUES: Final = 60_000  # sent to the browser
MAX_INTERVALS: Final = 1_500
OTHERS: Final = "Others"

# The values of one series by interval.
Values = dict[str, Decimal | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """The subject of one chart: a measure, and the rows that its sums may be added over."""

    measure: str
    title: str
    unit: str
    rows: list[Row]


def build_charts(answer: Answer, rows: AnswerRows, question: Question) -> dict[str, Any] | None:
    """Return the charts, JSON-ready, None without rows, groups or a drawable number of intervals.

    `labels`: those of the intervals, none where each chart has bars of its own. `panels`: see `build_time_chart` and
    `build_bar_chart`; those of most records, over time with the marks of the intervals' `days`. `left_out`: the
    number of panels that are not drawn. `before`: the label of the period to compare with. `step`: the query about one
    interval, with {from} and {to} for its bounds, which `bounds` has. Numbers are texts with all digits; an axis shows
    them in the unit `drawn_in`, which is `size` of the numbers' own unit.
    """
    if not rows.is_grouped or not rows.results or len(answer.bounds) > MAX_INTERVALS + 1:
        return None
    panels = list(build_panels(rows))
    before = describe_before(answer)
    if not rows.interval:
        charts = [build_bar_chart(rows, panel, question) for panel in panels[:MAX_PANELS]]
        return {"labels": [], "panels": charts, "left_out": len(panels) - len(charts), "before": before}
    intervals = list_intervals(answer, rows)
    limit = max(
        1, min(MAX_PANELS, MAX_VALUES // (min(rows.limit or MAX_SERIES, MOST_SERIES) + 1) // max(1, len(intervals)))
    )
    return {
        "labels": [format_interval(interval, rows.interval) for interval in intervals],
        "step": question.interval_step,
        "bounds": [question.get_interval_bounds(interval) for interval in intervals],
        "before": before,
        "panels": [
            {
                **build_time_chart(rows, panel, intervals, question),
                "days": build_panel_marks(answer, rows, panel, len(intervals)),
            }
            for panel in panels[:limit]
        ],
        "left_out": max(0, len(panels) - limit),
    }


def list_intervals(answer: Answer, rows: AnswerRows) -> list[str]:
    """Return the intervals of the range; those that have rows where the answer has no bounds."""
    if not answer.bounds:
        return list(dict.fromkeys(row[rows.interval] for row in rows.results))
    zone = ZoneInfo(answer.summary["meta"]["tz"])
    return [format_label(bound, rows.interval, zone) for bound in answer.bounds[:-1]]


def build_panels(rows: AnswerRows) -> Iterator[Panel]:
    """Yield the panels: the main measure first, within a measure the metric of most records."""
    parts: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows.results:
        parts.setdefault(rows.get_key(row), []).append(row)
    ranked = sorted(parts, key=lambda key: -count_records(parts[key]))
    for measure in rows.ordered_measures:
        for key in ranked:
            unit = get_unit(measure, parts[key][0])
            names = ", ".join(str(value) for value in key if value and value != unit)
            title = f"{get_label(measure)}: {names}" if names else get_label(measure)
            yield Panel(measure, title, unit, parts[key])


def count_records(rows: Iterable[Row]) -> int:
    """Return the number of records behind rows, or without that measure the number of rows."""
    return sum(row.get("records") or 1 for row in rows)


def get_series_name(rows: AnswerRows, row: Row) -> str:
    """Return the values of a row's dimensions besides its interval, '' for a row without dimensions."""
    names = [name for name in rows.dimensions if name not in (*rows.partition, "deleted_recipes")]
    return " · ".join(rows.get_text(row, name) for name in names)


def describe_before(answer: Answer) -> str:
    """Return the label of the period to compare with: its dates; '' without a comparison."""
    meta = answer.summary["meta"]
    previous = meta.get("previous")
    if not previous:
        return ""
    start, end = (datetime.fromisoformat(previous[name]) for name in ("from", "to"))
    return format_period(start, end, ZoneInfo(meta["tz"]))


def build_time_chart(rows: AnswerRows, panel: Panel, intervals: list[str], question: Question) -> dict[str, Any]:
    """Return a chart over the intervals: a series per group, the largest first, and one of the remaining groups."""
    groups: dict[str, Values] = {}
    steps: dict[str, str] = {}
    previous: Values = {}
    for row in panel.rows:
        interval, name = row[rows.interval], get_series_name(rows, row)
        if name not in groups:
            groups[name], steps[name] = {}, question.step_into_row(rows, row)
        add_value(groups[name], interval, row[panel.measure])
        if rows.has_previous:
            add_value(previous, interval, row["previous"][panel.measure])
    ranked = sorted(groups, key=lambda name: -sum(filter(None, groups[name].values()), Decimal(0)))
    others_over_time = [row for row in rows.others_over_time if rows.get_key(row) == rows.get_key(panel.rows[0])]
    limit = min(rows.limit or MAX_SERIES, MOST_SERIES)
    limit += not others_over_time and len(ranked) == limit + 1  # a single group would be Others
    series = [
        {**build_series(name or panel.title, groups[name], intervals), "query": steps[name]} for name in ranked[:limit]
    ]
    if (others_over_time or ranked[limit:]) and is_additive(panel.measure):
        remainder = add_series(groups[name] for name in ranked[limit:])
        for row in others_over_time:
            add_value(remainder, row[rows.interval], row[panel.measure])
            if rows.has_previous:
                add_value(previous, row[rows.interval], row["previous"][panel.measure])
        series.append(build_series(OTHERS, remainder, intervals))
    compared = rows.has_previous and (is_additive(panel.measure) or len(groups) == 1)
    return {
        "title": panel.title,
        "unit": panel.unit,
        **scale_axis(panel.unit, (value for values in groups.values() for value in values.values())),
        "stacked": is_additive(panel.measure),
        "series": series,
        "before": build_series("", previous, intervals)["values"] if compared else [],
    }


def scale_axis(unit: str, values: Iterable[Any]) -> dict[str, Any]:
    """Return the unit of an axis, and its size in the numbers' own unit."""
    largest = max((abs(Decimal(value)) for value in values if value is not None), default=Decimal(0))
    axis_unit, size = find_scale(unit, largest)
    return {"drawn_in": axis_unit, "size": float(size)}


def build_series(name: str, values: Values, intervals: list[str]) -> dict[str, Any]:
    """Return one series; an interval without a value is a gap."""
    return {"name": name, "values": [format_exact(values.get(interval)) for interval in intervals]}


def add_series(series: Iterable[Values]) -> Values:
    """Return the sums of several series."""
    sums: Values = {}
    for values in series:
        for interval, value in values.items():
            add_value(sums, interval, value)
    return sums


def add_value(values: Values, interval: str, value: Any) -> None:
    """Add a number to that of an interval; an unknown number adds nothing."""
    if value is not None:
        values[interval] = add_exactly((values.get(interval) or Decimal(0), Decimal(value)))
    else:
        values.setdefault(interval, None)


def build_bar_chart(rows: AnswerRows, panel: Panel, question: Question) -> dict[str, Any]:
    """Return a chart of one bar per group, the largest first, and one of the remaining groups and the others.

    Rows in the order of their change stay in it.
    """
    ranked = panel.rows if rows.by_change else sorted(panel.rows, key=lambda row: -Decimal(row[panel.measure] or 0))
    limit = min(rows.limit or MAX_BARS, MOST_BARS)
    shown_rows, remaining = ranked[:limit], ranked[limit:]
    queries = [question.step_into_row(rows, row) for row in shown_rows]
    labels = [get_series_name(rows, row) or panel.title for row in shown_rows]
    values = [format_exact(row[panel.measure]) for row in shown_rows]
    previous = [format_exact(row["previous"][panel.measure]) for row in shown_rows] if rows.has_previous else []
    key = rows.get_key(panel.rows[0])
    remaining += [row for row in rows.others if rows.get_key(row) == key]
    if remaining and is_additive(panel.measure):
        sums: Values = {}
        for row in remaining:
            add_value(sums, "now", row[panel.measure])
            if rows.has_previous:
                add_value(sums, "previous", row["previous"][panel.measure])
        labels.append(OTHERS)
        values.append(format_exact(sums["now"]))
        previous += [format_exact(sums["previous"])] if rows.has_previous else []
    scale = scale_axis(panel.unit, values)
    return {
        "title": panel.title,
        "unit": panel.unit,
        **scale,
        "labels": labels,
        "values": values,
        "before": previous,
        "queries": queries,
    }


def format_exact(value: Any) -> str | None:
    """Return a number as a text with all its digits, None for an unknown number."""
    return None if value is None else f"{Decimal(value):f}"


def build_panel_marks(answer: Answer, rows: AnswerRows, panel: Panel, count: int) -> list[dict[str, Any] | None]:
    """Return the marks of a chart's intervals: of the sources that its numbers may come from."""
    if not answer.bounds:
        return []
    vendors = {row["vendor"] for row in panel.rows} if "vendor" in rows.partition else None
    sources = {source.slug for source in answer.sources if vendors is None or source.vendor in vendors}
    return build_marks([days for days in answer.days if days.source in sources], count, len(sources))


def build_marks(qualities: list[IntervalQuality], count: int, sources: int) -> list[dict[str, Any] | None]:
    """Return by interval the marks and the texts of its days; None where all are complete and final."""
    marks: list[dict[str, Any] | None] = [None] * count
    by_interval: dict[int, list[IntervalQuality]] = {}
    for quality in qualities:
        by_interval.setdefault(quality.place, []).append(quality)
    for place, interval_qualities in by_interval.items():
        if 1 <= place <= count:
            marks[place - 1] = build_mark(interval_qualities, sources)
    return marks


def build_mark(qualities: list[IntervalQuality], sources: int) -> dict[str, Any]:
    """Return the marks of one interval, and a line of text per source.

    The interval is missing where it lies before the first day of all `sources`, too.
    """
    before_all_sources = sum(not quality.day_count for quality in qualities) == sources
    has_gaps = any(quality.missing or quality.partial or quality.pruned or quality.archived for quality in qualities)
    return {
        "missing": before_all_sources or has_gaps,
        "provisional": any(quality.provisional for quality in qualities),
        "restated": any(quality.restated for quality in qualities),
        "words": [text for quality in qualities if (text := describe_days(quality))],
    }


def describe_days(days: IntervalQuality) -> str:
    """Return the status of a source's days in an interval: `main: 2 of 30 days never read, 1 restated`."""
    total = f" of {days.day_count}" if days.day_count > 1 else ""
    counts = (
        (days.missing, f"{total} never read"),
        (days.partial, f"{total} not read completely"),
        (days.mismatched, f"{total} with stored records that differ"),
        (days.pruned, f"{total} without records, which were pruned"),
        (days.archived, f"{total} without records, which are archived"),
        (days.suspect, f"{total} suspect"),
        (days.unverified, f"{total} unverified"),
        (days.accepted, f"{total} with findings that a person accepted"),
        (days.provisional - days.missing - days.open, f"{total} provisional"),
        (days.awaits_close, f"{total} {AWAITS_CLOSE}"),
        (days.restated, f"{total} restated"),
        (days.early_day_count, " before the first day of this source"),
    )
    texts = [*([TODAY_OPEN] if days.open else []), *(f"{number}{text}" for number, text in counts if number > 0)]
    return f"{days.source}: {', '.join(texts)}" if texts else ""
