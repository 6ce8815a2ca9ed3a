"""The usage table of a source or a vendor: a row for every measure, with the months that are compared and a chart."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from django.utils.safestring import SafeString

from portal.dashboard.sparkline import draw_chart
from portal.dashboard.usage_stats import SpanCoverage, UsageCalendar, UsageRow, build_stats
from usage.formatting import NOTHING, Amount, format_count, format_number, format_signed, scale_amount
from usage.models import UsageRecord

MAX_PERCENT: Final = 1000


@dataclass(frozen=True, slots=True)
class TableRow:
    """A measure: its amounts in the order of the columns and with their labels, the change, and the chart."""

    label: str
    amounts: list[tuple[Amount, str]]
    change: str
    chart: SafeString


@dataclass(frozen=True, slots=True)
class AmountColumn:
    """The head of a column of amounts: its days, which are not yet stored, are missing, and may still change."""

    title: str
    span: str
    early: str
    missing: str
    open: str

    @property
    def label(self) -> str:
        """All but what may still change, for narrow screens without a head."""
        return f"{self.title}, {'; '.join(filter(None, (self.span, self.early, self.missing)))}"


@dataclass(frozen=True, slots=True)
class UsageTable:
    """The usage of a source or a vendor; `more` and `note` name what it leaves out."""

    columns: list[AmountColumn]
    rows: list[TableRow]
    more: str
    note: str


def build_table(calendar: UsageCalendar, kind: type[UsageRecord] | None, days: int) -> UsageTable:
    """Return the table of a source's or a vendor's usage."""
    stats = build_stats(calendar, kind)
    columns = [
        build_column("This month so far", stats.so_far, calendar),
        build_column("Last month, same days", stats.same_days, calendar),
        build_column("Last month", stats.last, calendar),
    ]
    return UsageTable(
        columns=columns,
        rows=[build_row(row, calendar, columns, days) for row in stats.rows],
        more=f"Explore has {format_count(stats.more_units, 'more unit')}." if stats.more_units else "",
        note=kind.totals_note if kind else "",
    )


def build_row(row: UsageRow, calendar: UsageCalendar, columns: list[AmountColumn], days: int) -> TableRow:
    """Return the row of a measure."""
    amounts = (row.so_far, row.same_days, row.last)
    is_new = row.comparable and row.so_far and not row.same_days
    return TableRow(
        label=row.measure.label,
        amounts=[
            (scale_amount(amount, row.measure.unit), column.label)
            for amount, column in zip(amounts, columns, strict=True)
        ],
        change="new" if is_new else format_change(row.change),
        chart=draw_chart(calendar, row.measure, days),
    )


def format_change(percent: Decimal | None) -> str:
    """Return a change as `+12.3 %`, `−4 %`, `±0 %`, `24 times more`; `–` where it is not known."""
    if percent is None:
        return NOTHING
    if percent > MAX_PERCENT:
        return f"{format_number(round(percent / 100))} times more"
    return f"{format_signed(round(percent, 1))} %"


def build_column(title: str, coverage: SpanCoverage, calendar: UsageCalendar) -> AmountColumn:
    """Return the head of a column."""
    missing = []
    if coverage.missing:
        missing.append(f"{format_count(coverage.missing, 'day')} not synced")
    if coverage.incomplete:
        missing.append(f"{format_count(coverage.incomplete, 'day')} incomplete")
    still_open = f"{format_count(coverage.open, 'day')} may still change" if coverage.open else ""
    early = f"not yet stored before {calendar.first.day} {calendar.first:%b}" if coverage.early else ""
    return AmountColumn(title, coverage.span.text, early, "; ".join(missing), still_open)
