"""Alerts about days of a source: failed, mismatched, suspect, partial or unverified, grouped by status."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Count, F, Q, Sum, Window
from django.db.models.functions import RowNumber
from django.urls import reverse
from django.utils import timezone

from portal.incidents.alerts import Alert, AlertLink, build_button, build_list_link, build_source_alert
from portal.incidents.conditions import ConditionKind
from sync.admin.coverage.messages import list_mismatches
from usage.formatting import format_count, format_date, format_instant, pluralize
from usage.models import DayState, DayStatus, Source, SourceDay

# Of each source and status, so many of the latest days are fetched; every suspect day of them has an alert.
MAX_DAYS: Final = 3
Links = Sequence[AlertLink]


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """The latest days of a source with one status, and what this person may do about them.

    Each day is annotated with the `total` of such days and the `total_rejected` records of them.
    """

    source: Source
    status: DayStatus
    days: Sequence[Any]
    can_sync: bool
    can_view_rejected: bool

    @property
    def latest(self) -> Any:
        return self.days[0]

    @property
    def total(self) -> int:
        """The number of days with the status."""
        return int(self.latest.total)

    @property
    def dates(self) -> str:
        """The date of the only day, or the number of days and the date of the latest."""
        date = format_date(self.latest.day)
        return date if self.total == 1 else f"{format_count(self.total, 'day')}, the latest {date},"

    def build_alert(
        self, condition: ConditionKind, tone: str, message: str, detail: str, buttons: Links, *links: AlertLink
    ) -> Alert:
        state = str(self.status.label).capitalize()
        return build_source_alert(
            condition, self.source, tone, state, message, detail, buttons=buttons, links=links, days=self.total
        )

    def build_sync_buttons(self, label: str = "Sync again") -> Links:
        """Return the button that syncs all days of the group again."""
        return [build_button(f"sync-{self.status}", self.source.pk, label)] if self.can_sync else []

    def build_days_link(self, **params: str) -> AlertLink:
        """Return the link to the only day, or to the list of the days."""
        if self.total == 1:
            return AlertLink("Show the day", reverse("admin:usage_sourceday_change", args=[self.latest.pk]))
        return build_list_link("usage_sourceday", "Show the days", source=self.source.slug, **params)

    def build_accept_links(self) -> list[AlertLink]:
        """Return the link to accept the findings of the only day; the findings of several days are accepted singly."""
        if self.total > 1 or not self.can_sync or not self.latest.findings:
            return []
        return [AlertLink("Accept with a reason", reverse("admin:usage_sourceday_accept", args=[self.latest.pk]))]


def fetch_alert_days(sources: Sequence[Source]) -> dict[int, dict[DayStatus, list[Any]]]:
    """Return the latest days with an alert by the source's key and their status, in one query.

    A day that is due now or being synced has no alert unless it is mismatched.
    """
    now = timezone.now()
    partition = [F("source_id"), F("status")]
    in_progress = Q(state__in=[DayState.DUE, DayState.LOADING], due_at__lte=now) & ~Q(status=DayStatus.MISMATCHED)
    days: Any = (
        SourceDay.objects.filter(source__in=sources)
        .with_status(now)
        .filter(Q(status__in=list(ALERTS)))
        .exclude(in_progress)
        .annotate(
            position=Window(RowNumber(), partition_by=partition, order_by=F("day").desc()),
            total=Window(Count("pk"), partition_by=partition),
            total_rejected=Window(Sum("rejected"), partition_by=partition),
        )
        .filter(position__lte=MAX_DAYS)
        .order_by("source_id", "-day")
    )
    days_by_source: dict[int, dict[DayStatus, list[Any]]] = {}
    for day in days:
        days_by_source.setdefault(day.source_id, {}).setdefault(DayStatus(day.status), []).append(day)
    return days_by_source


def build_failed_alerts(group: AlertGroup) -> Iterator[Alert]:
    """Yield the alert about failed days."""
    buttons = group.build_sync_buttons("Retry now")
    detail = f"{group.latest.error} {pluralize(group.total, 'It is', 'They are')} retried automatically."
    link = group.build_days_link(state="failed")
    yield group.build_alert(ConditionKind.SOURCE_FAILING, "bad", f"{group.dates} failed.", detail, buttons, link)


def build_mismatched_alerts(group: AlertGroup) -> Iterator[Alert]:
    """Yield the alert about days whose stored records the check found different."""
    latest = group.latest
    checked_at = f" on {format_instant(latest.checked_at)}" if latest.checked_at else ""
    message = (
        f"{group.dates} differs: the check of stored records{checked_at} found {list_mismatches(latest.mismatch)} "
    )
    is_archived = latest.archived_at is not None
    remedy = "No sync repairs what is archived." if is_archived else "The day is being synced again."
    message += f"different. {remedy}"
    if group.total > 1:
        remedy = remedy if is_archived else "They are being synced again."
        message = f"{group.dates} differ by the check of stored records{checked_at}. {remedy}"
    buttons = [] if is_archived else group.build_sync_buttons()
    link = group.build_days_link()
    yield group.build_alert(ConditionKind.SCRUB_MISMATCH, "bad", message, latest.error, buttons, link)


def build_suspect_alerts(group: AlertGroup) -> Iterator[Alert]:
    """Yield an alert for each of the latest suspect days, and an alert for the remaining days."""
    for day in group.days:
        yield build_suspect_alert(group, day)
    if remaining := group.total - len(group.days):
        message = f"{remaining:,} more {pluralize(remaining, 'day is', 'days are')} suspect."
        link = build_list_link("usage_sourceday", "Show the days", source=group.source.slug, state="suspect")
        yield group.build_alert(ConditionKind.DAY_SUSPECT, "warn", message, "", [], link)


def build_suspect_alert(group: AlertGroup, day: Any) -> Alert:
    """Return the alert about a suspect day."""
    figures = day.suspicion or {}
    message = f"{format_date(day.day)}: the last sync would remove too much."
    if {"held", "reported"} <= figures.keys() and figures["reported"] != figures["held"]:
        reported = format_count(figures["reported"], "record")
        message = f"{format_date(day.day)}: the vendor now reports {reported}; {figures['held']:,} are stored."
    buttons = [build_button("sync-day", day.pk, "Sync again")]
    if day.state == DayState.SUSPECT:
        buttons.append(build_button("accept", day.pk, "Accept what the vendor reports"))
    detail = day.error or "Nothing was changed. A second equal sync decides, or a person."
    return build_source_alert(
        ConditionKind.DAY_SUSPECT,
        group.source,
        "warn",
        "Suspect",
        message,
        detail,
        buttons=buttons if group.can_sync else [],
        links=[AlertLink("Show the day", reverse("admin:usage_sourceday_change", args=[day.pk]))],
        days=1,
    )


def build_partial_alerts(group: AlertGroup) -> Iterator[Alert]:
    """Yield the alert about days with rejected records."""
    rejected = group.latest.total_rejected
    message = f"{group.dates} {pluralize(group.total, 'is', 'are')} partial: not every record was stored."
    if rejected:
        count = format_count(rejected, "record was", "records were")
        message = f"{group.dates} {pluralize(group.total, 'is', 'are')} partial: {count} rejected."
    records = build_list_link("usage_rejectedrecord", "Show the records", source=group.source.slug, status="open")
    links = [records] if group.can_view_rejected else []
    links += [group.build_days_link(state="partial"), *group.build_accept_links()]
    detail = "All other records are stored. Each sync tries the rejected records again."
    condition = ConditionKind.RECORDS_REJECTED if rejected else ConditionKind.DAY_PARTIAL
    yield group.build_alert(condition, "warn", message, detail, group.build_sync_buttons(), *links)


def build_unverified_alerts(group: AlertGroup) -> Iterator[Alert]:
    """Yield the alert about days that differ from the vendor's totals."""
    message = f"{group.dates} {pluralize(group.total, 'differs', 'differ')} from the vendor's totals."
    links = [group.build_days_link(verification="unverified"), *group.build_accept_links()]
    buttons = group.build_sync_buttons()
    yield group.build_alert(ConditionKind.DAY_UNVERIFIED, "warn", message, group.latest.error, buttons, *links)


ALERTS: Final[dict[DayStatus, Callable[[AlertGroup], Iterator[Alert]]]] = {
    DayStatus.FAILED: build_failed_alerts,
    DayStatus.MISMATCHED: build_mismatched_alerts,
    DayStatus.SUSPECT: build_suspect_alerts,
    DayStatus.PARTIAL: build_partial_alerts,
    DayStatus.UNVERIFIED: build_unverified_alerts,
}
