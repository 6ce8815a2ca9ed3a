"""Alerts about sources that are not synced: halted, paused, behind, or because no worker or schedule runs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import Count, Q
from django.utils import timezone

from portal.incidents.alerts import Alert, HasPerm, build_button, build_source_alert
from portal.incidents.conditions import ConditionKind
from portal.incidents.day_alerts import ALERTS, AlertGroup, fetch_alert_days
from portal.incidents.restatement_alerts import build_restatement_alerts
from sync.errors import ErrorCode
from sync.health import LONGEST_DAY, MISSED_READS, Condition, Health
from sync.vendors import readers
from usage.data_quality.coverage import get_coverage
from usage.formatting import format_age, format_count, format_date, format_instant, pluralize
from usage.models import DayState, DayStatus, Source, SourceDay

# A due day is claimed within a tick, which is a minute, while any worker runs.
OVERDUE: Final = timedelta(minutes=10)
UNREADABLE: Final = frozenset(
    {
        ErrorCode.CREDENTIAL_LOCKED,
        ErrorCode.CREDENTIAL_MISSING,
        ErrorCode.CREDENTIAL_MALFORMED,
        ErrorCode.VARIABLE_NOT_ALLOWED,
    }
)
DaysByStatus = Mapping[DayStatus, Sequence[Any]]


def fetch_conditions(sources: Sequence[Source]) -> list[Condition]:
    """Return the condition of each source."""
    coverages, now = get_coverage(sources), timezone.now()
    return [Condition(source, coverages[source.pk], now) for source in sources]


def build_source_alerts(conditions: Sequence[Condition], has_perm: HasPerm) -> list[Alert]:
    """Return the alerts about sources that are switched on, the worst first.

    A few queries, however many sources: of the days with an alert, of those that are overdue, of restatements.
    """
    enabled = [condition for condition in conditions if condition.source.enabled]
    stopped = find_stopped_sync(enabled)
    sources = [condition.source for condition in enabled]
    days = fetch_alert_days(sources) if has_perm("usage.view_sourceday") else {}
    restated = build_restatement_alerts(sources) if has_perm("usage.view_restatement") else []
    alerts = [
        alert
        for condition in enabled
        for alert in iterate_alerts(condition, days.get(condition.source.pk, {}), has_perm, is_alone=not stopped)
    ]
    return [*stopped, *sorted([*alerts, *restated], key=lambda alert: alert.tone != "bad")]


def iterate_alerts(condition: Condition, days: DaysByStatus, has_perm: HasPerm, *, is_alone: bool) -> Iterator[Alert]:
    """Yield the alerts about a source; `is_alone`: other sources are synced, so the fault is this source's own."""
    source = condition.source
    if source.vendor not in readers():
        message = f"There is no reader for the vendor “{source.vendor}”."
        yield build_source_alert(ConditionKind.SOURCE_HALTED, source, "bad", "No reader", message)
        return
    if alert := find_blocked_sync(condition, has_perm, is_alone=is_alone):
        yield alert
    # A halted source cannot be synced, and the button of a paused source syncs these days too.
    can_sync = has_perm("usage.change_sourceday") and condition.health not in (Health.HALTED, Health.PAUSED)
    for status, build_alerts in ALERTS.items():
        if status in days:
            can_view_rejected = has_perm("usage.view_rejectedrecord")
            yield from build_alerts(AlertGroup(source, status, days[status], can_sync, can_view_rejected))


def find_stopped_sync(enabled: Sequence[Condition]) -> list[Alert]:
    """Return the alert that no worker or no schedule runs, where days or sources are overdue and nothing is synced."""
    now = timezone.now()
    expected = [
        condition.source
        for condition in enabled
        if not condition.source.halted_at and not condition.source.is_paused(now)
    ]
    if not expected:
        return []
    overdue = now - OVERDUE
    is_waiting = Q(state=DayState.DUE, due_at__lt=overdue) | Q(state=DayState.LOADING, lease_expires_at__lt=overdue)
    counts = SourceDay.objects.filter(source__in=expected).aggregate(
        waiting=Count("pk", filter=is_waiting),
        leased=Count("pk", filter=Q(state=DayState.LOADING, lease_expires_at__gte=overdue)),
    )
    missed_sources = [source.slug for source in expected if source.next_sync_at and source.next_sync_at < overdue]
    latest = [condition.coverage.latest_read for condition in enabled]
    if counts["leased"] or any(read and read > overdue for read in latest) or not (counts["waiting"] or missed_sources):
        return []
    message = "is overdue: no source is being synced."
    if waiting := counts["waiting"]:
        days = format_count(waiting, "day")
        message = f"is overdue: {days} {pluralize(waiting, 'has', 'have')} waited for more than 10 minutes."
    return [
        Alert(
            condition=ConditionKind.SYNC_STOPPED,
            key="sync",
            tone="bad",
            state="Stopped",
            subject="Sync",
            message=message,
            detail="Either no worker is running, or the schedule (Celery beat) is not. Start them again; nothing is "
            "lost meanwhile.",
        )
    ]


def find_blocked_sync(condition: Condition, has_perm: HasPerm, *, is_alone: bool) -> Alert | None:
    """Return why a source is not synced as planned; None where it is, or is catching up."""
    source = condition.source
    sync_now = [build_button("sync-now", source.pk, "Sync now")] if has_perm("usage.change_sourceday") else []
    match condition.health:
        case Health.HALTED:
            resume = [build_button("resume", source.pk, "Resume")] if has_perm("usage.change_source") else []
            halted_at = format_instant(source.halted_at) if source.halted_at else ""
            message, detail = (
                f"is not synced since {halted_at}.",
                f"{source.halt_reason} Resolve this, then resume the source.",
            )
            kind = get_halt_condition(source)
            return build_source_alert(kind, source, "bad", "Halted", message, detail, buttons=resume)
        case Health.PAUSED:
            until = format_instant(source.paused_until) if source.paused_until else ""
            message = f"is paused until {until}, because several syncs in a row failed."
            detail, kind = "It resumes automatically.", ConditionKind.SOURCE_FAILING
            return build_source_alert(kind, source, "warn", "Paused", message, detail, buttons=sync_now)
    state, message = describe_lateness(condition) if is_alone else ("", "")
    if not message:
        return None
    return build_source_alert(ConditionKind.SOURCE_LATE, source, "warn", state, message, buttons=sync_now)


def get_halt_condition(source: Source) -> ConditionKind:
    """Return what a halted source is halted for: a credential that cannot be read, or any other reason."""
    is_unreadable = source.halt_code in UNREADABLE
    return ConditionKind.CREDENTIAL_UNREADABLE if is_unreadable else ConditionKind.SOURCE_HALTED


def describe_lateness(condition: Condition) -> tuple[str, str]:
    """Return the state and the message of a source that is late; ("", "") for a source that is not."""
    source, coverage = condition.source, condition.coverage
    if condition.health == Health.NEVER_READ and is_overdue(condition):
        return "Never synced", "has not been synced yet."
    if condition.health == Health.BEHIND and has_missed_syncs(condition):
        interval = format_count(source.interval_minutes, "minute")
        return "Behind", f"was last synced {format_age(coverage.latest_read)}. Its interval is {interval}."
    if condition.health == Health.BEHIND and is_late(condition):
        through = coverage.accounted_through
        since = f"after {format_date(through)}" if through else f"since {format_date(source.backfill_from)}"
        return "Late", f"has no complete day {since}, though it is synced."
    return "", ""


def is_overdue(condition: Condition) -> bool:
    """Return whether a source that was never synced should have been, and has no alert about a day."""
    return condition.source.created_at < condition.now - OVERDUE and not condition.coverage.troubled


def has_missed_syncs(condition: Condition) -> bool:
    """Return whether syncs were missed; missing days alone are on their way or have their own alert."""
    max_gap = timedelta(minutes=condition.source.interval_minutes) * MISSED_READS
    latest = condition.coverage.latest_read
    return not condition.coverage.loading and (latest is None or condition.now - latest > max_gap)


def is_late(condition: Condition) -> bool:
    """Return whether no day became complete for PORTAL_LATE_HOURS longer than is usual; days on their way are not."""
    max_gap = timedelta(minutes=condition.source.interval_minutes) * MISSED_READS
    usual = LONGEST_DAY + max_gap + timedelta(hours=settings.PORTAL_LATE_HOURS)
    coverage = condition.coverage
    on_its_way = coverage.waiting or coverage.queued or coverage.loading
    return not on_its_way and condition.measure_lag(coverage.accounted_through) > usual
