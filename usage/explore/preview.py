"""The beginning of an answer: the totals, and the largest groups or a small chart over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.utils.html import escape
from django.utils.safestring import SafeString

from usage.admin.display import render_trend
from usage.decimals import add_exactly
from usage.explore.charts import list_intervals
from usage.explore.quality import AnswerQuality, describe_answer_quality
from usage.explore.query import Answer
from usage.explore.rows import AnswerRows, Row, build_rows, get_unit
from usage.explore.table import render_amount
from usage.formatting import format_interval, format_percent, scale_amount
from usage.labels import get_label

MOST: Final = 6
MOST_TOTALS: Final = 4
STEP, GAP, HEIGHT = 8, 1, 44


@dataclass(frozen=True, slots=True)
class PreviewLine:
    """A group or a total: its name, its amount, and its share of the total."""

    name: str
    amount: SafeString | str
    share: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    """The totals of an answer, its largest groups or its chart, and its data quality."""

    measure: str
    totals: Sequence[PreviewLine]
    lines: Sequence[PreviewLine]
    more: int
    chart: SafeString | str
    quality: AnswerQuality


def build_preview(answer: Answer) -> Preview:
    """Return the beginning of an answer."""
    rows = build_rows(answer)
    grouped = rows.results if rows.is_grouped and not rows.interval else []
    return Preview(
        measure=get_label(rows.main),
        totals=[build_line(rows, row, rows.partition) for row in rows.totals[:MOST_TOTALS]],
        lines=[build_line(rows, row, rows.dimensions) for row in grouped[:MOST]],
        more=max(0, len(grouped) - MOST) + rows.other_groups,
        chart=draw_chart(rows, list_intervals(answer, rows)) if rows.interval and rows.results else "",
        quality=describe_answer_quality(answer.summary["meta"]),
    )


def build_line(rows: AnswerRows, row: Row, names: Sequence[str]) -> PreviewLine:
    """Return the line of a row."""
    texts = [str(row[name]) if name in rows.partition else rows.get_text(row, name) for name in names]
    name = " · ".join(text for text in texts if text) or get_label(rows.main)
    share = format_percent(rows.get_share(row)) if names is rows.dimensions else ""
    return PreviewLine(name, render_amount(row[rows.main], get_unit(rows.main, row)), share)


def draw_chart(rows: AnswerRows, intervals: Sequence[str]) -> SafeString:
    """Return bars of the main measure over time, of the metric and unit that comes first; a gap where it has no row."""
    key = rows.get_key(rows.results[0])
    sums: dict[str, Decimal] = {}
    for row in (*rows.results, *rows.others_over_time):
        if rows.get_key(row) == key and row[rows.main] is not None:
            interval = row[rows.interval]
            sums[interval] = add_exactly((sums.get(interval, Decimal(0)), Decimal(row[rows.main])))
    unit = get_unit(rows.main, rows.results[0])
    top = max(sums.values(), default=Decimal(0)) or Decimal(1)
    bars = "".join(
        draw_bar(
            place,
            float(sums[interval] / top),
            f"{format_interval(interval, rows.interval)}: {scale_amount(sums[interval], unit)}",
        )
        for place, interval in enumerate(intervals)
        if interval in sums
    )
    description = [f"{get_label(rows.main)} by {rows.interval}", *(str(value) for value in key if value)]
    return render_trend(max(1, len(intervals) * STEP - GAP), HEIGHT, ", ".join(description), bars)


def draw_bar(place: int, share: float, label: str) -> str:
    """Return one bar; `share` is of the highest."""
    height = max(1.5, share * HEIGHT)
    return (
        f'<rect class="bar-whole" x="{place * STEP}" y="{HEIGHT - height:.1f}" width="{STEP - GAP}" '
        f'height="{height:.1f}"><title>{escape(label)}</title></rect>'
    )
