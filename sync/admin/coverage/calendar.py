"""The calendar of one year of one source: its months, and each day as the page shows it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from sync.admin.coverage.status import KINDS_NOT_DUE, VERIFIED_MARK, Appearance, CalendarDay, describe_days
from usage.formatting import format_count, format_long_date, format_short_number
from usage.models import DayStatus


@dataclass(frozen=True, slots=True)
class DayCell:
    """One square of the calendar."""

    day: CalendarDay

    @property
    def date(self) -> date:
        """The date of the square."""
        return self.day.date

    @property
    def appearance(self) -> Appearance:
        """Colour, shape and mark of the day."""
        return self.day.appearance

    @property
    def has_page(self) -> bool:
        """Whether the day can be opened: it has started."""
        return self.day.status != DayStatus.FUTURE

    @property
    def marks(self) -> str:
        """The sign of its status, R where it was restated, and W where records were withdrawn."""
        sign = VERIFIED_MARK if self.day.verified and self.appearance.kind == "complete" else self.appearance.mark
        return f"{sign}{'R' if self.day.restated else ''}{'W' if self.day.withdrawn else ''}"

    @property
    def number(self) -> str:
        """Its records in few characters; '' for none."""
        return format_short_number(self.day.records) if self.day.records else ""

    @property
    def label(self) -> str:
        """The day as text: `20 November 2026: complete, final, verified, 1,204 records`."""
        day = self.day
        parts = [day.description]
        if day.records:
            parts.append(format_count(day.records, "record"))
        counts = ((day.rejected, "rejected"), (day.withdrawn, "withdrawn"))
        parts += [f"{number:,} {what}" for number, what in counts if number]
        return f"{format_long_date(day.date)}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class Month:
    """One month of the calendar."""

    days: Sequence[CalendarDay]

    @property
    def first(self) -> date:
        """Its first date."""
        return self.days[0].date

    @property
    def name(self) -> str:
        """`November 2026`."""
        return f"{self.first:%B %Y}"

    @property
    def has_due_days(self) -> bool:
        """Whether a day of it should be stored."""
        return any(day.appearance.kind not in KINDS_NOT_DUE for day in self.days)

    @property
    def summary(self) -> str:
        """How many of its days are complete, and their records."""
        records = sum(day.records for day in self.days)
        return f"{describe_days(self.days)} {records:,} records." if records else describe_days(self.days)

    @property
    def weeks(self) -> Iterator[list[DayCell | None]]:
        """The squares week by week, from Monday to Sunday; None outside the month."""
        padded: list[DayCell | None] = [*[None] * self.first.weekday(), *(DayCell(day) for day in self.days)]
        padded += [None] * (-len(padded) % 7)
        return (padded[start : start + 7] for start in range(0, len(padded), 7))


def build_months(days: Sequence[CalendarDay], selected_day: date | None) -> list[Month]:
    """Return the months of a year that have days to be stored, and the month of the selected day."""
    months = [Month([*group]) for _, group in groupby(days, key=lambda day: day.date.replace(day=1))]
    selected_month = selected_day.replace(day=1) if selected_day else None
    return [month for month in months if month.has_due_days or month.first == selected_month]


def get_year_bounds(year: int) -> tuple[date, date]:
    """Return the first and the last day of a year."""
    return date(year, 1, 1), date(year + 1, 1, 1) - timedelta(days=1)
