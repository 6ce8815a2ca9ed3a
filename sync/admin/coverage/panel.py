"""One day: its status as text, its numbers, its comparison with the vendor's totals, and what this person may do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse

from sync.admin.actions import has_sync_permission
from sync.admin.coverage.day_tables import (
    build_attempts_table,
    build_differences_table,
    build_mismatch_table,
    build_rejected_table,
    build_restatements_table,
    parse_decimal,
)
from sync.admin.coverage.messages import DayMessage, describe_day
from sync.admin.coverage.status import CalendarDay, build_calendar_day
from sync.models import SyncRun
from usage.admin.display import Table
from usage.admin.sums import format_exact_sum, get_sum_label
from usage.data_quality import VENDOR_KINDS
from usage.days import Day
from usage.formatting import NOTHING, format_long_date, format_number, format_timestamp
from usage.models import DayState, DayStatus, Source, SourceDay


@dataclass(frozen=True, slots=True)
class WitnessFigures:
    """A second figure of the vendor beside that of the records, and what follows from the two."""

    endpoint: str
    vendor: str
    portal: str
    conclusion: str


@dataclass(frozen=True, slots=True)
class DayPanel:
    """One day as the calendar's panel and the day's own page show it; `row` is None where it was never planned."""

    request: HttpRequest
    source: Source
    day: CalendarDay
    row: SourceDay | None

    @classmethod
    def build(cls, request: HttpRequest, source: Source, day: date) -> "DayPanel":
        """Return a day of a source that is in the person's scope."""
        row = SourceDay.objects.with_status().filter(source=source, day=day).first()
        if row is not None:
            row.source = source
        return cls(request, source, build_calendar_day(source, day, row), row)

    @property
    def name(self) -> str:
        """`Friday, 20 November 2026`."""
        return f"{self.day.date:%A}, {format_long_date(self.day.date)}"

    @property
    def message(self) -> DayMessage:
        """The status as text, what it means and what to do."""
        return describe_day(self.source, self.day, self.row)

    @property
    def time_span(self) -> str:
        """From when to when it lasts in UTC, where that is not from midnight to midnight."""
        if self.source.time_zone == "UTC":
            return ""
        span = Day.of(self.day.date, self.source.zone)
        length = "" if span.hours == 24 else f" It has {span.hours:g} hours, because the clocks change."
        bounds = f"from {span.start:%Y-%m-%d %H:%M} to {span.end:%Y-%m-%d %H:%M} UTC"
        return f"A day of {self.source.time_zone}: {bounds}.{length}"

    @property
    def facts(self) -> Sequence[tuple[str, Any]]:
        """The facts about its records, as labels and values."""
        row = self.row
        if row is None:
            return ()
        label = "Records pruned at (UTC)" if row.archived_at is None else "Records archived at (UTC)"
        pruned = ((label, format_timestamp(row.pruned_at)),) if row.pruned_at else ()
        return (
            *pruned,
            ("Records", format_number(row.records)),
            ("Withdrawn by the vendor", format_number(row.withdrawn)),
            ("Rejected", format_number(row.rejected)),
            ("Verification", row.get_verification_display()),
            ("Final", "yes" if row.final else "no"),
            ("Synced at (UTC)", format_timestamp(row.loaded_at)),
            ("Synced up to (UTC)", format_timestamp(row.covered_until)),
            ("Restated at (UTC)", format_timestamp(row.restated_at)),
            ("Stored records checked at (UTC)", format_timestamp(row.checked_at)),
            ("Attempts", format_number(row.attempt)),
        )

    @property
    def sums(self) -> Sequence[tuple[str, str]]:
        """The sum of each measure or unit; different units are never added."""
        sums = self.row.sums.items() if self.row else ()
        return [(get_sum_label(name), format_exact_sum(name, Decimal(number))) for name, number in sums]

    @property
    def suspicion(self) -> dict[str, Any] | None:
        """Of a suspect day: how many records are stored, reported, and would be withdrawn."""
        return self.row.suspicion if self.row else None

    @property
    def witness(self) -> WitnessFigures | None:
        """A second figure of the vendor beside that of the records; None where there is none."""
        return build_witness(self.row.witness) if self.row and self.row.witness else None

    @property
    def mismatch(self) -> Table | None:
        """The mismatches of the check of stored records; None for none."""
        return build_mismatch_table(self.row.mismatch) if self.row and self.row.mismatch is not None else None

    @property
    def acceptance(self) -> str:
        """Why, when and by whom its findings were accepted; '' where they were not."""
        row = self.row
        if row is None or row.accepted_at is None:
            return ""
        by = f" by {row.accepted_by}" if row.accepted_by else ""
        return f"Accepted{by} on {format_timestamp(row.accepted_at)} UTC: “{row.accepted_reason}”"

    @property
    def differences(self) -> Table | None:
        """Where the vendor's totals differ; None where they do not."""
        return build_differences_table(self.row.differences) if self.row and self.row.differences else None

    @property
    def tables(self) -> Sequence[Table]:
        """The latest attempts, restatements and rejected records that this person may see."""
        return [*self._iterate_tables()]

    def _iterate_tables(self) -> Iterator[Table]:
        if self.row is None:
            return
        has_perm = self.request.user.has_perm
        if has_perm("sync.view_loadattempt"):
            yield build_attempts_table(self.row)
        if has_perm("usage.view_restatement"):
            yield build_restatements_table(self.request, self.row)
        if has_perm("usage.view_rejectedrecord"):
            yield build_rejected_table(self.request, self.row)

    @property
    def run(self) -> SyncRun | None:
        """The latest run that includes the day."""
        if self.row is None or not self.request.user.has_perm("sync.view_syncrun"):
            return None
        run_days = self.row.run_days.select_related("run__source").defer("run__source__credential")
        latest = run_days.order_by("-run_id").first()
        return latest.run if latest else None

    @property
    def usage_url(self) -> str:
        """The list of the day's records, as days of the source's zone; '' where there are none to see."""
        kind = VENDOR_KINDS.get(self.source.vendor)
        if kind is None or self.is_pruned or not (self.day.records or self.day.withdrawn):
            return ""
        if not self.request.user.has_perm(f"usage.view_{kind._meta.model_name}"):
            return ""
        params = {"source": self.source.slug, "from": self.day.date, "to": self.day.date + timedelta(days=1)}
        if self.source.time_zone != "UTC":
            params["tz"] = self.source.time_zone
        return f"{reverse(f'admin:usage_{kind._meta.model_name}_changelist')}?{urlencode(params)}"

    @property
    def is_pruned(self) -> bool:
        """Whether its records are not here any more; a mismatched archived day has another status."""
        return self.row is not None and self.row.pruned_at is not None

    @property
    def can_sync(self) -> bool:
        """Whether this person may sync it: a day that has started and was not pruned."""
        return has_sync_permission(self.request) and self.day.status != DayStatus.FUTURE and not self.is_pruned

    @property
    def can_accept_read(self) -> bool:
        """Whether this person may accept what the vendor reports for a suspect day."""
        return self.can_sync and self.row is not None and self.row.state == DayState.SUSPECT

    @property
    def can_accept_findings(self) -> bool:
        """Whether this person may accept its differences and rejected records, or withdraw an acceptance."""
        return self.can_sync and self.row is not None and bool(self.row.findings)

    @property
    def calendar_url(self) -> str:
        """The day in the calendar."""
        return f"{reverse('admin:coverage')}?{urlencode({'source': self.source.slug, 'day': self.day.date})}"


def build_witness(witness: dict[str, Any]) -> WitnessFigures:
    """Return the two figures as text. The vendor may count its figure differently, so it never refutes a day."""
    unit = str(witness.get("unit") or "")
    vendor, portal = (f"{format_figure(witness.get(name))} {unit}".strip() for name in ("vendor", "portal"))
    if witness.get("agrees"):
        conclusion = "They agree, so the day is verified."
    elif witness.get("vendor") is None:
        conclusion = "The vendor gave no figure, so nothing follows for the day."
    else:
        conclusion = "They differ. The vendor may count differently, so the day is neither verified nor unverified."
    return WitnessFigures(str(witness.get("endpoint") or ""), vendor, portal, conclusion)


def format_figure(figure: Any) -> str:
    """Return a figure that was stored as a number or as text with all its digits; `–` for none."""
    number = parse_decimal(str(figure)) if figure is not None else None
    return NOTHING if number is None else format_number(number)
