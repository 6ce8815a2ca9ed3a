"""What was used: a source's days with their sums, added up over parts of months, each unit for itself.

The sums are those that every merge writes on its source day, so the page costs the same however many records
the days stand for. Months and days are those of the source's own zone.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from usage import exactly
from usage.days import dates
from usage.models import Source, SourceDay, UsageRecord
from usage.summaries.overall import QUANTITIES
from usage.summaries.shapes import SHAPES
from usage.trust import VENDOR_KINDS

ONE_DAY: Final = timedelta(days=1)
# A vendor's units may be free text: more of them than this are left to Explore.
MOST_UNITS: Final = 12


@dataclass(frozen=True, slots=True)
class Cell:
    """One day: the sums of what is held of it, and how far they can be trusted.

    `held`: it was read; `complete`: after its end, with every record kept; `final`: not read again by itself.
    """

    sums: dict[str, Decimal] = field(default_factory=dict)
    held: bool = False
    complete: bool = False
    final: bool = False


NOT_HELD: Final = Cell()


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days of one or several sources up to `today`; from `held_from` on every one of them is to be held.

    `active` is False for a source that is switched off, of which no further day will come.
    """

    today: date
    held_from: date
    cells: dict[date, Cell]
    active: bool = True

    def cell(self, on: date) -> Cell:
        """Return a day; one that nobody asked to hold or has read yet is not held."""
        return self.cells.get(on, NOT_HELD)

    @property
    def measures(self) -> list[str]:
        """The names of the sums: those that most days have first."""
        seen = Counter(name for cell in self.cells.values() for name in cell.sums)
        return sorted(seen, key=lambda name: (-seen[name], name))


@dataclass(frozen=True, slots=True)
class Span:
    """Days `[first, end)`, in words such as `1–22 Nov`; empty on a month's first day."""

    first: date
    end: date

    @property
    def words(self) -> str:
        """The days, as one says them."""
        last = self.end - ONE_DAY
        if last < self.first:
            return "no whole day yet"
        if last == self.first:
            return f"{last.day} {last:%b}"
        return f"{self.first.day}–{last.day} {last:%b}"


@dataclass(frozen=True, slots=True)
class Months:
    """What is compared: the whole days of this month so far, as many of last month, and last month."""

    so_far: Span
    same_part: Span
    last: Span

    @classmethod
    def of(cls, today: date) -> "Months":
        """Return the spans as they are on a date; the day that has not ended yet is in none."""
        this = today.replace(day=1)
        last = (this - ONE_DAY).replace(day=1)
        return cls(Span(this, today), Span(last, min(last + (today - this), this)), Span(last, this))


@dataclass(frozen=True, slots=True)
class Reach:
    """How much of a span is held: `missing` days are not though they should be, `early` ones were never to be.

    `partial`: held days that are not complete; `open`: complete ones that may still change.
    """

    span: Span
    missing: int
    early: int
    partial: int
    open: int

    @property
    def whole(self) -> bool:
        """Whether every day of it is held, and there is one."""
        return self.span.end > self.span.first and not (self.missing or self.early)


@dataclass(frozen=True, slots=True)
class Measure:
    """A day's sum by its name there, in words: what it is of, and its unit."""

    key: str
    label: str
    unit: str


@dataclass(frozen=True, slots=True)
class Line:
    """One unit's usage over the spans that are compared; None where nothing is held of a span."""

    measure: Measure
    so_far: Decimal | None
    same_part: Decimal | None
    last: Decimal | None
    comparable: bool

    @property
    def change(self) -> Decimal | None:
        """The growth since last month's same days in per cent; None where that cannot be said."""
        if not self.comparable or self.so_far is None or not self.same_part:
            return None
        return (self.so_far - self.same_part) / abs(self.same_part) * 100


@dataclass(frozen=True, slots=True)
class Figures:
    """What a source or a vendor used: how far each span is held, and a line for every unit."""

    so_far: Reach
    same_part: Reach
    last: Reach
    lines: list[Line]
    more_units: int


def first_needed(today: date, days: int) -> date:
    """Return the first day of which anything is shown: last month's, or the trend's."""
    return min(Months.of(today).last.first, today - timedelta(days=days - 1))


def calendars(sources: Sequence[Source], todays: dict[int, date], days: int) -> dict[int, Calendar]:
    """Return the calendar of each source by its primary key, in one query however many there are."""
    cells: dict[int, dict[date, Cell]] = {source.pk: {} for source in sources}
    earliest = min((first_needed(today, days) for today in todays.values()), default=date.max)
    rows = SourceDay.objects.filter(source_id__in=list(cells), day__gte=earliest, loaded_at__isnull=False)
    for source_id, on, sums, complete, final in rows.values_list("source_id", "day", "sums", "complete", "final"):
        numbers = {name: Decimal(number) for name, number in sums.items()}
        cells[source_id][on] = Cell(numbers, held=True, complete=complete, final=final)
    return {
        source.pk: Calendar(todays[source.pk], source.backfill_from, cells[source.pk], source.enabled)
        for source in sources
    }


def together(parts: Collection[Calendar]) -> Calendar:
    """Return several sources' days as one: each unit added up, a day as trustworthy as the least of them.

    Of a source that is switched off, a day that is not held is no gap.
    """
    today = min(part.today for part in parts)
    found = {}
    for on in {on for part in parts for on in part.cells}:
        cells = [part.cell(on) for part in parts if part.active or part.cell(on).held]
        sums: dict[str, Decimal] = {}
        for cell in cells:
            for name, number in cell.sums.items():
                sums[name] = exactly.total((sums.get(name, Decimal(0)), number))
        found[on] = Cell(
            sums,
            held=all(cell.held for cell in cells),
            complete=all(cell.complete for cell in cells),
            final=all(cell.final for cell in cells),
        )
    begun = [part.held_from for part in parts if part.active] or [part.held_from for part in parts]
    return Calendar(today, max(begun), found)


def figures(calendar: Calendar, kind: type[UsageRecord] | None) -> Figures:
    """Return a line for each unit, MOST_UNITS at most: in the order of the kind's measures, then the commonest."""
    months = Months.of(calendar.today)
    so_far, same_part, last = (reach(calendar, span) for span in (months.so_far, months.same_part, months.last))
    known = named(kind)
    order = list(known)
    names = sorted(calendar.measures, key=lambda name: order.index(name) if name in known else len(order))
    lines = [
        Line(
            known.get(name) or Measure(name, name or "without a unit", name),
            total(calendar, months.so_far, name),
            total(calendar, months.same_part, name),
            total(calendar, months.last, name),
            comparable=so_far.whole and same_part.whole,
        )
        for name in names[:MOST_UNITS]
    ]
    return Figures(so_far, same_part, last, lines, len(names) - len(lines))


def reach(calendar: Calendar, span: Span) -> Reach:
    """Return how much of a span is held."""
    days = {on: calendar.cell(on) for on in dates(span.first, span.end)}
    absent = [on for on, cell in days.items() if not cell.held]
    early = sum(on < calendar.held_from for on in absent)
    partial = sum(cell.held and not cell.complete for cell in days.values())
    still = sum(cell.held and cell.complete and not cell.final for cell in days.values())
    return Reach(span, len(absent) - early, early, partial, still)


def total(calendar: Calendar, span: Span, measure: str) -> Decimal | None:
    """Return what a span adds up to; None where nothing is held of it."""
    cells = [calendar.cell(on) for on in dates(span.first, span.end)]
    known = [cell.sums for cell in cells if cell.held or cell.sums]
    return exactly.total(sums.get(measure, Decimal(0)) for sums in known) if known else None


def named(kind: type[UsageRecord] | None) -> dict[str, Measure]:
    """Return the words for the sums of a kind; a kind whose sums are named by their units has none."""
    name = next((name for name, shape in SHAPES.items() if shape.kind is kind), "")
    quantities = QUANTITIES.get(name, ())
    return {
        key: Measure(key, metric.replace("_", " ").capitalize(), unit) for key, metric, unit in quantities if metric
    }


def kind_of(source: Source) -> type[UsageRecord] | None:
    """Return what a source reports; None where no reader of its vendor is installed."""
    return VENDOR_KINDS.get(source.vendor)
