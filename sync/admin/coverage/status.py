"""The status of every day of a calendar, and how each status is shown, counted and described."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Final, NamedTuple

from django.utils import timezone

from usage.days import iterate_dates
from usage.formatting import format_count, format_date, format_long_date, format_short_number
from usage.models import DayStatus, Source, SourceDay, Verification
from usage.models.day_status import COMPLETE_STATUSES, get_status_without_row


@dataclass(frozen=True, slots=True)
class Appearance:
    """How days of one status look: `kind` is their colour and shape, `mark` a sign, `tone` the colour of a badge.

    `is_gap`: their usage is missing from sums, or may be.
    """

    kind: str
    mark: str
    tone: str
    is_gap: bool = False


APPEARANCES: Final[dict[DayStatus, Appearance]] = {
    DayStatus.FINAL: Appearance("complete", "●", "good"),
    DayStatus.AWAITS_CLOSE: Appearance("complete", "●", "good"),
    DayStatus.EMPTY: Appearance("empty", "○", "good"),
    DayStatus.PROVISIONAL: Appearance("provisional", "~", "good"),
    DayStatus.INCOMPLETE: Appearance("open", "…", "busy"),
    DayStatus.PENDING: Appearance("open", "…", "busy"),
    DayStatus.UNVERIFIED_ACCEPTED: Appearance("accepted", "≈", "plain"),
    DayStatus.PARTIAL_ACCEPTED: Appearance("accepted", "≈", "plain"),
    DayStatus.UNVERIFIED: Appearance("unverified", "≠", "warn", is_gap=True),
    DayStatus.PARTIAL: Appearance("partial", "½", "warn", is_gap=True),
    DayStatus.SUSPECT: Appearance("suspect", "?", "warn", is_gap=True),
    DayStatus.MISMATCHED: Appearance("mismatched", "!", "bad", is_gap=True),
    DayStatus.FAILED: Appearance("failed", "✕", "bad", is_gap=True),
    DayStatus.LOADING: Appearance("loading", "↻", "busy"),
    DayStatus.WAITING: Appearance("missing", "–", "warn", is_gap=True),
    DayStatus.MISSING: Appearance("missing", "–", "warn", is_gap=True),
    DayStatus.PRUNED: Appearance("pruned", "▫", "plain"),
    DayStatus.ARCHIVED: Appearance("archived", "▪", "plain"),
    DayStatus.BEFORE_BACKFILL: Appearance("before", "", "plain"),
    DayStatus.RETIRED: Appearance("before", "", "plain"),
    DayStatus.FUTURE: Appearance("ahead", "", "plain"),
}
VERIFIED_MARK: Final = "✓"
# Every kind once, in the order of the legend: its name and what it means.
LEGEND: Final[dict[str, tuple[str, str]]] = {
    "complete": ("Complete", "synced after its end, every record stored; ✓ where the vendor's totals agree"),
    "empty": ("Empty", "complete, without a record"),
    "provisional": ("Provisional", "complete, and synced again while the vendor may still change it"),
    "open": ("Incomplete", "synced before its end, or not yet"),
    "accepted": ("Accepted", "has findings that a person accepted, with a reason"),
    "unverified": ("Unverified", "differs from the vendor's totals"),
    "partial": ("Partial", "some records were rejected"),
    "suspect": ("Suspect", "the last sync would remove too much; a second sync or a person decides"),
    "mismatched": ("Mismatched", "the stored records differ from what was synced; the day is synced again"),
    "failed": ("Failed", "the last sync did not succeed"),
    "loading": ("Being synced", "a worker syncs it now"),
    "missing": ("Missing", "never synced, though it should be stored"),
    "pruned": ("Pruned", "the records were dropped for their age; sums come from roll-ups"),
    "archived": ("Archived", "the records are in the lake alone; exports have them, and sums come from roll-ups"),
    "before": ("Outside", "before the source's first day, or after the last of a retired one"),
    "ahead": ("Future", "has not started"),
}
KINDS_NOT_DUE: Final = ("before", "ahead")
COUNTED_APART: Final = (
    "accepted", "mismatched", "unverified", "partial", "suspect", "failed", "missing", "loading", "open", "pruned",
    "archived",
)  # fmt: skip


class CalendarDay(NamedTuple):
    """One day of a calendar, whether it has a row or not; `error` is why its last sync failed."""

    date: date
    status: DayStatus
    verified: bool = False
    restated: bool = False
    records: int = 0
    withdrawn: int = 0
    rejected: int = 0
    error: str = ""

    @property
    def appearance(self) -> Appearance:
        return APPEARANCES[self.status]

    @property
    def description(self) -> str:
        """The status as text: `complete, final, verified, restated`."""
        verified = ", verified" if self.verified and self.status in COMPLETE_STATUSES else ""
        return f"{self.status.label}{verified}{', restated' if self.restated else ''}"

    @property
    def has_page(self) -> bool:
        """Whether it can be opened: it has started."""
        return self.status != DayStatus.FUTURE

    @property
    def marks(self) -> str:
        """The sign of its status, R where it was restated, and W where records were withdrawn."""
        sign = VERIFIED_MARK if self.verified and self.appearance.kind == "complete" else self.appearance.mark
        return f"{sign}{'R' if self.restated else ''}{'W' if self.withdrawn else ''}"

    @property
    def number(self) -> str:
        """Its records in few characters; '' for none."""
        return format_short_number(self.records) if self.records else ""

    @property
    def label(self) -> str:
        """The day as text: `20 November 2026: complete, final, verified, 1,204 records`."""
        parts = [self.description]
        if self.records:
            parts.append(format_count(self.records, "record"))
        counts = ((self.rejected, "rejected"), (self.withdrawn, "withdrawn"))
        parts += [f"{number:,} {what}" for number, what in counts if number]
        return f"{format_long_date(self.date)}: {', '.join(parts)}"


@dataclass(frozen=True, slots=True)
class StatusRun:
    """Consecutive days of one status from `first` to `last`, both included."""

    first: date
    last: date
    status: DayStatus

    @property
    def appearance(self) -> Appearance:
        return APPEARANCES[self.status]

    @property
    def dates(self) -> str:
        """The dates as text: `14 Nov 2026`, `3–7 Mar 2026 (5 days)`, `30 Dec 2025 – 2 Jan 2026 (4 days)`."""
        days = (self.last - self.first).days + 1
        if days == 1:
            return format_date(self.last)
        same_month = (self.first.year, self.first.month) == (self.last.year, self.last.month)
        start = f"{self.first.day}–" if same_month else f"{format_date(self.first)} – "
        return f"{start}{format_date(self.last)} ({days:,} days)"


def fetch_calendars(
    sources: Collection[Source], first: date, last: date, now: datetime | None = None
) -> dict[int, list[CalendarDay]]:
    """Return the days from `first` to `last`, both included, of each source by its key, in one query."""
    now = now or timezone.now()
    rows: dict[int, dict[date, CalendarDay]] = {source.pk: {} for source in sources}
    days = SourceDay.objects.filter(source__in=list(rows), day__gte=first, day__lte=last).order_by().with_status(now)
    columns = ("verification", "restated_at", "records", "withdrawn", "rejected", "error")
    for source_id, day, status, verification, restated_at, *details in days.values_list(
        "source_id", "day", "status", *columns
    ):
        verified = verification == Verification.VERIFIED
        rows[source_id][day] = CalendarDay(day, DayStatus(status), verified, restated_at is not None, *details)
    return {source.pk: fill_calendar(source, rows[source.pk], first, last, now) for source in sources}


def fill_calendar(
    source: Source, rows: dict[date, CalendarDay], first: date, last: date, now: datetime
) -> list[CalendarDay]:
    """Return every day from `first` to `last`, both included: those of `rows`, and the others by their date."""
    today, bounds = now.astimezone(source.zone).date(), (source.backfill_from, source.retired_after)
    return [
        rows.get(day) or CalendarDay(day, get_status_without_row(day, *bounds, today=today))
        for day in iterate_dates(first, last + timedelta(days=1))
    ]


def build_calendar_day(source: Source, day: date, row: SourceDay | None) -> CalendarDay:
    """Return one day from its row, which was fetched `with_status`, or without one."""
    if row is None:
        return fill_calendar(source, {}, day, day, timezone.now())[0]
    verified = row.verification == Verification.VERIFIED
    restated = row.restated_at is not None
    counts = (row.records, row.withdrawn, row.rejected)
    return CalendarDay(day, DayStatus(row.status), verified, restated, *counts, row.error)


def count_kinds(days: Sequence[CalendarDay]) -> Counter[str]:
    """Return how many days there are of each kind."""
    counts: Counter[str] = Counter()
    for status, number in Counter(day.status for day in days).items():
        counts[APPEARANCES[status].kind] += number
    return counts


def describe_days(days: Sequence[CalendarDay]) -> str:
    """Return the counts in one sentence: `320 of 327 days complete, 3 of them provisional; 2 failed; 2 missing.`"""
    counts = count_kinds(days)
    due = sum(number for kind, number in counts.items() if kind not in KINDS_NOT_DUE)
    if not due:
        return "No days to sync."
    complete = counts["complete"] + counts["empty"] + counts["provisional"]
    provisional = f", {counts['provisional']:,} of them provisional" if counts["provisional"] else ""
    parts = [f"{complete:,} of {format_count(due, 'day')} complete{provisional}"]
    parts += [f"{counts[kind]:,} {LEGEND[kind][0].lower()}" for kind in COUNTED_APART if counts[kind]]
    if restated := sum(day.restated for day in days):
        parts.append(f"{restated:,} restated")
    return "; ".join(parts) + "."


def find_gaps(days: Sequence[CalendarDay]) -> Iterator[StatusRun]:
    """Yield the runs of days whose usage may be missing, the latest first."""
    for status, group in groupby(reversed(days), key=lambda day: day.status):
        if APPEARANCES[status].is_gap:
            run = [*group]
            yield StatusRun(run[-1].date, run[0].date, status)
