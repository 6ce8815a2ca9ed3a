"""Everything about one day: its state in words, what is held, how it compares with the vendor, what was tried."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sync.admin import states
from sync.admin.actions import may_sync
from sync.admin.coverage.letters import LOOKS, Look, long, spans_of
from sync.admin.coverage.verdict import Verdict, verdict
from sync.models import SyncRun
from usage.admin.changes import affected, changes_of, in_lines, signed
from usage.admin.display import NOTHING, Table, at, badge, duration, exact, prose, quantity
from usage.admin.records.units import human
from usage.admin.restatements import number_cell
from usage.admin.sums import counted, unit_of
from usage.days import Day
from usage.models import DayState, Source, SourceDay
from usage.trust import VENDOR_KINDS

LATEST: Final = 20
LOCATED_BY: Final = frozenset({"what", "vendor", "portal", "rejected"})


@dataclass(frozen=True, slots=True)
class Panel:
    """One day as the pages show it; `day` is None where it was never planned."""

    request: HttpRequest
    source: Source
    on: date
    letter: str
    day: SourceDay | None

    @classmethod
    def of(cls, request: HttpRequest, source: Source, on: date) -> "Panel":
        """Return the day `on` of a source that the person may know of."""
        letter = spans_of([source], on, on)[source.pk].letters
        day = SourceDay.objects.filter(source=source, day=on).first()
        if day is not None:
            day.source = source
        return cls(request, source, on, letter, day)

    @property
    def name(self) -> str:
        """`Friday, 20 November 2026`."""
        return f"{self.on:%A}, {long(self.on)}"

    @property
    def look(self) -> Look:
        """How the calendar shows it."""
        return LOOKS[self.letter.lower()]

    @property
    def verdict(self) -> Verdict:
        """The day in words."""
        return verdict(self.source, self.on, self.letter, self.day)

    @property
    def hours(self) -> str:
        """From when to when it lasts in UTC, where that is not from midnight to midnight."""
        span = Day.of(self.on, self.source.zone)
        if self.source.time_zone == "UTC":
            return ""
        unusual = "" if span.hours == 24 else f" It has {span.hours} hours, as the clocks change."
        bounds = f"from {span.start:%Y-%m-%d %H:%M} to {span.end:%Y-%m-%d %H:%M} UTC"
        return f"A day of {self.source.time_zone}: {bounds}.{unusual}"

    @property
    def facts(self) -> Sequence[tuple[str, Any]]:
        """What is held of it, as pairs."""
        day = self.day
        if day is None:
            return ()
        return (
            ("Records", exact(day.records)),
            ("Withdrawn by the vendor", exact(day.withdrawn)),
            ("Could not be kept", exact(day.rejected)),
            ("Checked against the vendor's sums", day.get_verification_display()),
            ("Final", "yes" if day.final else "not yet"),
            ("Read at (UTC)", at(day.loaded_at)),
            ("Read up to (UTC)", at(day.covered_until)),
            ("Restated at (UTC)", at(day.restated_at)),
            ("Attempts", exact(day.attempt)),
        )

    @property
    def sums(self) -> Sequence[tuple[str, str]]:
        """The sum of each measure or unit, in words too where that helps; they are never added."""
        return [sum_row(name, Decimal(number)) for name, number in self.day.sums.items()] if self.day else ()

    @property
    def suspicion(self) -> dict[str, Any] | None:
        """Of a suspect day: how many records are held, reported, and would be withdrawn."""
        return self.day.suspicion if self.day is not None and self.day.state == DayState.SUSPECT else None

    @property
    def differences(self) -> Table | None:
        """Where the vendor's own sums say something else; None where nothing does."""
        if self.day is None or not self.day.differences:
            return None
        columns = ("what", "of", "the vendor says", "held", "difference")
        return Table(
            "Differences from the vendor's own sums", columns, [difference_row(one) for one in self.day.differences]
        )

    @property
    def tables(self) -> Sequence[Table]:
        """The latest attempts, restatements and rejected records, each for who may see such."""
        return [*self._tables()]

    def _tables(self) -> Iterator[Table]:
        if self.day is None:
            return
        may = self.request.user.has_perm
        if may("sync.view_loadattempt"):
            yield attempts_of(self.day)
        if may("usage.view_restatement"):
            yield restatements_of(self.day)
        if may("usage.view_rejectedrecord"):
            yield rejected_of(self.day)

    @property
    def run(self) -> SyncRun | None:
        """The latest run that waited for the day."""
        if self.day is None or not self.request.user.has_perm("sync.view_syncrun"):
            return None
        found = (
            self.day.run_days.select_related("run__source").defer("run__source__credential").order_by("-run_id").first()
        )
        return found.run if found else None

    @property
    def usage_url(self) -> str:
        """Where the day's records are listed, as days of the source's zone; '' where nothing is held."""
        kind = VENDOR_KINDS.get(self.source.vendor)
        if self.day is None or kind is None or not (self.day.records or self.day.withdrawn):
            return ""
        if not self.request.user.has_perm(f"usage.view_{kind._meta.model_name}"):
            return ""
        asked = {"source": self.source.slug, "from": self.on, "to": self.on + timedelta(days=1)}
        if self.source.time_zone != "UTC":
            asked["tz"] = self.source.time_zone
        return f"{reverse(f'admin:usage_{kind._meta.model_name}_changelist')}?{urlencode(asked)}"

    @property
    def may_sync(self) -> bool:
        """Whether this person may have it read: a day that has begun."""
        return may_sync(self.request) and self.look.kind != "ahead"

    @property
    def may_accept(self) -> bool:
        """Whether the vendor's word may be taken for it."""
        return self.may_sync and self.suspicion is not None

    @property
    def calendar_url(self) -> str:
        """Where the calendar shows it."""
        return f"{reverse('admin:coverage')}?{urlencode({'source': self.source.slug, 'day': self.on})}"


def sum_row(name: str, number: Decimal) -> tuple[str, str]:
    """Return one sum: what it is of, and its number as in `32,641.75 (9 h 4 min)`."""
    words = human(number, unit_of(name))
    return counted(name), f"{exact(number)} ({words})" if words else exact(number)


def difference_row(found: dict[str, Any]) -> list[Any]:
    """Return one difference: what of, the vendor's number, the portal's, and what lies between them."""
    where = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items() if name not in LOCATED_BY)
    vendor, held = as_number(found.get("vendor")), as_number(found.get("portal"))
    between = signed(held - vendor) if vendor is not None and held is not None else NOTHING
    return [found.get("what", NOTHING), prose(where), quantity(vendor), quantity(held), number_cell(between)]


def as_number(text: str | None) -> Decimal | None:
    """Return a number that was kept with all its digits; None for none."""
    try:
        return Decimal(text) if text else None
    except InvalidOperation:
        return None


def attempts_of(day: SourceDay) -> Table:
    """Return the latest attempts to read a day."""
    columns = ("#", "began (UTC)", "outcome", "why", "records read", "changed", "took", "requests", "by")
    rows = [
        [
            quantity(attempt.number),
            at(attempt.started_at),
            states.attempt_outcome(attempt),
            prose(attempt.error),
            quantity(attempt.fetched),
            quantity(attempt.inserted + attempt.changed + attempt.withdrawn + attempt.returned),
            number_cell(duration(attempt.seconds)),
            quantity(attempt.requests),
            attempt.worker,
        ]
        for attempt in day.attempts.all()[:LATEST]
    ]
    return Table("Attempts", columns, rows, "It was never tried.")


def restatements_of(day: SourceDay) -> Table:
    """Return the latest restatements of a day."""
    rows = [[linked(one), in_lines(changes_of(one)), affected(one)] for one in day.restatements.all()[:LATEST]]
    columns = ("restated at (UTC)", "difference", "records affected")
    return Table("Restatements", columns, rows, "It never came back different.")


def linked(restatement: Any) -> SafeString:
    """Return when a restatement was, with the way to its page."""
    url = reverse("admin:usage_restatement_change", args=[restatement.pk])
    return format_html('<a href="{}">{}</a>', url, at(restatement.at))


def rejected_of(day: SourceDay) -> Table:
    """Return the latest rejected records of a day, those that still come so first."""
    rows = [
        [
            format_html('<a href="{}">{}</a>', reverse("admin:usage_rejectedrecord_change", args=[one.pk]), one.reason),
            badge("Resolved", "good") if one.resolved_at else badge("Open", "warn"),
            at(one.last_seen_at),
        ]
        for one in day.rejected_records.all()[:LATEST]
    ]
    return Table("Rejected records", ("why", "status", "last seen (UTC)"), rows, "Every record could be kept.")
