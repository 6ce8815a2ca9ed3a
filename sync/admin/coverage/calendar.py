"""The calendar of one year of one source by its months."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from sync.admin.coverage.status import KINDS_NOT_DUE, CalendarDay, describe_days


@dataclass(frozen=True, slots=True)
class Month:
    """One month of the calendar."""

    days: Sequence[CalendarDay]

    @property
    def first(self) -> date:
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
    def weeks(self) -> Iterator[list[CalendarDay | None]]:
        """The squares week by week, from Monday to Sunday; None outside the month."""
        padded: list[CalendarDay | None] = [*[None] * self.first.weekday(), *self.days]
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
