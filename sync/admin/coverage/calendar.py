"""One year of one source in detail: its months, each day with its records and what is known of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from sync.admin.coverage.letters import LOOKS, NOT_TO_BE_HELD, Look, Span, long
from usage.models import Source, SourceDay


@dataclass(frozen=True, slots=True)
class Row:
    """What the calendar tells of a day that has a row."""

    records: int
    withdrawn: int
    rejected: int
    error: str


NOTHING_HELD = Row(0, 0, 0, "")


@dataclass(frozen=True, slots=True)
class Cell:
    """One day of the calendar."""

    on: date
    letter: str
    row: Row

    @property
    def look(self) -> Look:
        """Its colour, shape and words."""
        return LOOKS[self.letter.lower()]

    @property
    def restated(self) -> bool:
        """Whether it came back different."""
        return self.letter.isupper()

    @property
    def marks(self) -> str:
        """Its sign, and letters for what came later: R restated, W some of it withdrawn."""
        return f"{self.look.mark}{'R' if self.restated else ''}{'W' if self.row.withdrawn else ''}"

    @property
    def reached(self) -> bool:
        """Whether it has begun: others cannot be opened."""
        return self.look.kind != "ahead"

    @property
    def number(self) -> str:
        """Its records, as far as its square has room: `1,204`, `12.0k`, `3.4M`."""
        if not self.row.records:
            return ""
        return shortened(self.row.records)

    @property
    def label(self) -> str:
        """The day in words: `20 November 2026: complete, verified, 1,204 records`."""
        row = self.row
        said = [self.look.said]
        if self.restated:
            said.append("restated")
        if row.records:
            said.append(f"{row.records:,} {'record' if row.records == 1 else 'records'}")
        besides = ((row.rejected, "rejected"), (row.withdrawn, "withdrawn"))
        said += [f"{number:,} {what}" for number, what in besides if number]
        return f"{long(self.on)}: {', '.join(said)}"


@dataclass(frozen=True, slots=True)
class Month:
    """One month: its cells, and what they come to."""

    first: date
    cells: list[Cell]

    @property
    def name(self) -> str:
        """`November 2026`."""
        return f"{self.first:%B %Y}"

    @property
    def worth_showing(self) -> bool:
        """Whether a day of it is or should be held."""
        return any(cell.look.kind not in NOT_TO_BE_HELD for cell in self.cells)

    @property
    def words(self) -> str:
        """How much of it is held."""
        words = Span(self.first, "".join(cell.letter for cell in self.cells)).words
        records = sum(cell.row.records for cell in self.cells)
        return f"{words} {records:,} records." if records else words

    @property
    def weeks(self) -> Iterator[list[Cell | None]]:
        """The cells week by week, from Monday to Sunday; None outside the month."""
        padded: list[Cell | None] = [*[None] * self.first.weekday(), *self.cells]
        padded += [None] * (-len(padded) % 7)
        return (padded[start : start + 7] for start in range(0, len(padded), 7))


def shortened(number: int) -> str:
    """Return a number in at most five signs, as a square has room for; the exact one is in the day's name."""
    for size, sign in ((10**9, "G"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.1f}{sign}"
    if number >= 100_000:
        return f"{number // 1000}k"
    return f"{number / 1000:.1f}k" if number >= 10_000 else f"{number:,}"


def rows_of(source: Source, first: date, last: date) -> dict[date, Row]:
    """Return what is told of the days from `first` to `last`, both included, in one query."""
    days = SourceDay.objects.filter(source=source, day__gte=first, day__lte=last).order_by()
    told = days.values_list("day", "records", "withdrawn", "rejected", "error")
    return {day: Row(records, withdrawn, rejected, error) for day, records, withdrawn, rejected, error in told}


def months(span: Span, rows: Mapping[date, Row], asked: date | None = None) -> list[Month]:
    """Return the months of a span of whole months in which days are to be held, and that of the day asked for."""
    cells = (Cell(on, letter, rows.get(on, NOTHING_HELD)) for on, letter in span.days())
    found = [Month(first, list(days)) for first, days in groupby(cells, key=lambda cell: cell.on.replace(day=1))]
    opened = asked.replace(day=1) if asked else None
    return [month for month in found if month.worth_showing or month.first == opened]


def year_of(number: int) -> tuple[date, date]:
    """Return the first and the last day of a year."""
    return date(number, 1, 1), date(number + 1, 1, 1) - timedelta(days=1)
