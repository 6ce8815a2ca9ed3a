"""Usage of this month and last: the sums of a source's days, each unit for itself.

The sums are those that every merge writes on its source day, so the cost does not depend on the number of records.
Months and days are those of the source's own zone.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import BooleanField, Case, Q, When

from usage import decimals
from usage.data_quality import VENDOR_KINDS
from usage.days import iterate_dates
from usage.labels import get_label
from usage.models import KIND_NAMES, DayStatus, Source, SourceDay, UsageRecord
from usage.models.day_status import AWAITS_CLOSE
from usage.notes import fetch_notes
from usage.summaries.combined import QUANTITIES

ONE_DAY: Final = timedelta(days=1)
# A vendor's units may be free text: more of them than this are left to Explore.
MAX_UNITS: Final = 12
# These are shown as the reason why a day may still change.
DOUBTFUL: Final = frozenset(
    {DayStatus.MISMATCHED, DayStatus.SUSPECT, DayStatus.UNVERIFIED_ACCEPTED, DayStatus.UNVERIFIED}
)


@dataclass(frozen=True, slots=True)
class DayUsage:
    """The sums of a day. `stored`: it was synced; `settled`: final, or it waits only for its month's closing sync."""

    sums: dict[str, Decimal] = field(default_factory=dict)
    stored: bool = False
    complete: bool = False
    settled: bool = False
    doubt: str = ""


NOT_STORED: Final = DayUsage()


@dataclass(frozen=True, slots=True)
class UsageCalendar:
    """The days of one or several sources up to `today`; every day from `first` on should be stored.

    `notes`: what people noted of a day. `active` is False for a source that is switched off, of which no further day
    will come.
    """

    today: date
    first: date
    days: dict[date, DayUsage]
    active: bool = True
    notes: Mapping[date, str] = field(default_factory=dict)

    def get(self, day: date) -> DayUsage:
        """Return a day; a day that was never synced is NOT_STORED."""
        return self.days.get(day, NOT_STORED)

    @property
    def measures(self) -> list[str]:
        """The names of the sums, the commonest first."""
        counts = Counter(name for usage in self.days.values() for name in usage.sums)
        return sorted(counts, key=lambda name: (-counts[name], name))


@dataclass(frozen=True, slots=True)
class DateSpan:
    """Days `[first, end)`; empty on a month's first day."""

    first: date
    end: date

    @property
    def text(self) -> str:
        """The days as text: `1–22 Nov`."""
        last = self.end - ONE_DAY
        if last < self.first:
            return "no complete day yet"
        if last == self.first:
            return f"{last.day} {last:%b}"
        return f"{self.first.day}–{last.day} {last:%b}"


@dataclass(frozen=True, slots=True)
class ComparedMonths:
    """The days of this month before today, the same days of last month, and last month."""

    so_far: DateSpan
    same_days: DateSpan
    last: DateSpan

    @classmethod
    def build(cls, today: date) -> "ComparedMonths":
        """Return the spans as they are on a date; today is in none of them."""
        this = today.replace(day=1)
        last = (this - ONE_DAY).replace(day=1)
        return cls(DateSpan(this, today), DateSpan(last, min(last + (today - this), this)), DateSpan(last, this))


@dataclass(frozen=True, slots=True)
class SpanCoverage:
    """How much of a span is stored, in days.

    `missing`: not stored though they should be; `early`: before the first day; `incomplete`: stored and not complete;
    `open`: complete and may still change before their month's closing sync.
    """

    span: DateSpan
    missing: int
    early: int
    incomplete: int
    open: int

    @property
    def is_stored(self) -> bool:
        """Whether the span has days and all of them are stored."""
        return self.span.end > self.span.first and not (self.missing or self.early)


@dataclass(frozen=True, slots=True)
class DayMeasure:
    """A sum of a day: its name there, its label and its unit."""

    key: str
    label: str
    unit: str


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The sums of a measure over the compared spans; None where nothing of a span is stored."""

    measure: DayMeasure
    so_far: Decimal | None
    same_days: Decimal | None
    last: Decimal | None
    comparable: bool

    @property
    def change(self) -> Decimal | None:
        """The growth since last month's same days in per cent; None where it is not known."""
        if not self.comparable or self.so_far is None or not self.same_days:
            return None
        return (self.so_far - self.same_days) / abs(self.same_days) * 100


@dataclass(frozen=True, slots=True)
class UsageStats:
    """The usage of a source or a vendor: the coverage of each span, and a row for every measure."""

    so_far: SpanCoverage
    same_days: SpanCoverage
    last: SpanCoverage
    rows: list[UsageRow]
    more_units: int


def find_first_day(today: date, days: int) -> date:
    """Return the first day that is shown: last month's, or the first of the chart's `days`."""
    return min(ComparedMonths.build(today).last.first, today - timedelta(days=days - 1))


def fetch_calendars(sources: Sequence[Source], todays: dict[int, date], days: int) -> dict[int, UsageCalendar]:
    """Return the calendar of each source by its key, in one query."""
    days_by_source: dict[int, dict[date, DayUsage]] = {source.pk: {} for source in sources}
    earliest = min((find_first_day(today, days) for today in todays.values()), default=date.max)
    rows: Any = (
        SourceDay.objects.filter(source_id__in=list(days_by_source), day__gte=earliest, loaded_at__isnull=False)
        .with_status()
        .annotate(
            settled=Case(When(Q(final=True) | AWAITS_CLOSE, then=True), default=False, output_field=BooleanField())
        )
    )
    for source_id, day, sums, complete, settled, status in rows.values_list(
        "source_id", "day", "sums", "complete", "settled", "status"
    ):
        numbers = {name: Decimal(number) for name, number in sums.items()}
        doubt = DayStatus(status).label if status in DOUBTFUL else ""
        days_by_source[source_id][day] = DayUsage(numbers, True, complete, settled, str(doubt))
    latest = max(todays.values(), default=date.min)
    notes = fetch_notes(earliest, latest + ONE_DAY, list(days_by_source)) if days_by_source else []
    return {
        source.pk: UsageCalendar(
            todays[source.pk],
            source.backfill_from,
            days_by_source[source.pk],
            source.enabled,
            join_notes((note.day, note.text) for note in notes if note.source_id in (None, source.pk)),
        )
        for source in sources
    }


def join_notes(notes: Iterable[tuple[date, str]]) -> dict[date, str]:
    """Return the notes by day, each once."""
    texts: dict[date, dict[str, None]] = {}
    for day, text in notes:
        texts.setdefault(day, {})[text] = None
    return {day: "; ".join(day_texts) for day, day_texts in texts.items()}


def combine_calendars(parts: Collection[UsageCalendar]) -> UsageCalendar:
    """Return a combined calendar of several sources: sums are added by unit, a day is as complete as the least of them.

    Of a source that is switched off, a day that is not stored is no gap.
    """
    combined = {}
    for day in {day for part in parts for day in part.days}:
        usages = [part.get(day) for part in parts if part.active or part.get(day).stored]
        sums: dict[str, Decimal] = {}
        for usage in usages:
            for name, number in usage.sums.items():
                sums[name] = decimals.add_exactly((sums.get(name, Decimal(0)), number))
        combined[day] = DayUsage(
            sums,
            stored=all(usage.stored for usage in usages),
            complete=all(usage.complete for usage in usages),
            settled=all(usage.settled for usage in usages),
            doubt=next((usage.doubt for usage in usages if usage.doubt), ""),
        )
    firsts = [part.first for part in parts if part.active] or [part.first for part in parts]
    notes = join_notes(note for part in parts for note in part.notes.items())
    return UsageCalendar(min(part.today for part in parts), max(firsts), combined, notes=notes)


def build_stats(calendar: UsageCalendar, kind: type[UsageRecord] | None) -> UsageStats:
    """Return a row for each measure, MAX_UNITS at most: in the order of the kind's measures, then the commonest."""
    months = ComparedMonths.build(calendar.today)
    so_far, same_days, last = (
        measure_coverage(calendar, span) for span in (months.so_far, months.same_days, months.last)
    )
    kind_measures = list_measures(kind)
    order = list(kind_measures)
    names = sorted(calendar.measures, key=lambda name: order.index(name) if name in kind_measures else len(order))
    rows = [
        UsageRow(
            kind_measures.get(name) or DayMeasure(name, name or "without a unit", name),
            sum_span(calendar, months.so_far, name),
            sum_span(calendar, months.same_days, name),
            sum_span(calendar, months.last, name),
            comparable=so_far.is_stored and same_days.is_stored,
        )
        for name in names[:MAX_UNITS]
    ]
    return UsageStats(so_far, same_days, last, rows, len(names) - len(rows))


def measure_coverage(calendar: UsageCalendar, span: DateSpan) -> SpanCoverage:
    """Return how much of a span is stored."""
    days = {day: calendar.get(day) for day in iterate_dates(span.first, span.end)}
    absent = [day for day, usage in days.items() if not usage.stored]
    early = sum(day < calendar.first for day in absent)
    incomplete = sum(usage.stored and not usage.complete for usage in days.values())
    still_open = sum(usage.stored and usage.complete and not usage.settled for usage in days.values())
    return SpanCoverage(span, len(absent) - early, early, incomplete, still_open)


def sum_span(calendar: UsageCalendar, span: DateSpan, measure: str) -> Decimal | None:
    """Return the sum of a measure over a span; None where nothing of it is stored."""
    usages = [calendar.get(day) for day in iterate_dates(span.first, span.end)]
    sums = [usage.sums for usage in usages if usage.stored or usage.sums]
    return decimals.add_exactly(numbers.get(measure, Decimal(0)) for numbers in sums) if sums else None


def list_measures(kind: type[UsageRecord] | None) -> dict[str, DayMeasure]:
    """Return the measures of a kind by their names; {} for a kind whose sums are named by their units."""
    quantities = QUANTITIES[KIND_NAMES[kind]] if kind else ()
    return {name: DayMeasure(name, get_label(name), unit) for name, metric, unit in quantities if metric}


def get_kind(source: Source) -> type[UsageRecord] | None:
    """Return the model of a source's records; None where no reader of its vendor is installed."""
    return VENDOR_KINDS.get(source.vendor)
