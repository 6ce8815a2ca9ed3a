"""The watch: keeps an open incident for each true condition. The tick runs it, and the web processes their part.

One watch runs at a time, by a lock of its transaction: an older run never undoes what a later run found.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from portal.accounts.models import ApiToken
from portal.incidents import outbox
from portal.incidents.alerts import Alert
from portal.incidents.conditions import (
    DAY_CONDITIONS,
    HOST_CONDITIONS,
    PROCESS_CONDITIONS,
    SOURCE_CONDITIONS,
    ConditionKind,
)
from portal.incidents.models import OPEN, Incident, Severity
from portal.incidents.source_alerts import build_source_alerts, fetch_conditions
from portal.incidents.system_alerts import (
    Silence,
    build_host_alerts,
    build_lake_alerts,
    build_process_alerts,
    build_redis_alert,
    get_host_key,
)
from portal.incidents.token_alerts import build_token_alert, filter_expiring
from sync.engine.recording import log_safely, try_step
from sync.errors import SyncError
from sync.http.bounds import Bounds
from sync.http.outgoing import parse_target, send_request
from usage.models import DayState, Source, SourceDay, Verification

logger = structlog.get_logger(__name__)

# Keys of advisory locks; any two numbers that nothing else uses.
WATCH_LOCK: Final = 7_010_001
PROCESS_LOCK: Final = 7_010_002
MAX_TOKENS: Final = 500
# Another machine reports its own disk; a machine that is gone reports nothing any more.
HOST_GONE: Final = timedelta(days=1)
PING_BOUNDS: Final = Bounds(timeout=5.0, attempts=1, exchange_seconds=8.0, error_bytes=1024)
# The watch sees everything and presses nothing.
PERMISSIONS: Final = frozenset(
    {"usage.view_sourceday", "usage.view_rejectedrecord", "usage.view_restatement", "accounts.view_apitoken"}
)
Incidents = dict[tuple[str, str], Incident]


def watch() -> None:
    """Open, update and resolve the incidents of all conditions but those of PROCESS_CONDITIONS."""
    with transaction.atomic():
        if not take_lock(WATCH_LOCK):
            return
        alerts, conditions = collect_alerts()
        record_incidents(alerts, conditions, unsettled=list_unsettled_sources())


def watch_processes(silence: Silence | None) -> None:
    """Do the same for PROCESS_CONDITIONS, by what `find_silence` found.

    While Redis does not answer, nothing is known of worker and beat: their incidents stay as they are.
    """
    with transaction.atomic():
        if not take_lock(PROCESS_LOCK):
            return
        if silence is None:
            record_incidents([build_redis_alert()], {ConditionKind.REDIS_TROUBLE})
        else:
            record_incidents(build_process_alerts(silence), PROCESS_CONDITIONS)


def take_lock(key: int) -> bool:
    """Take an advisory lock until the end of the transaction; False where another transaction has it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [key])
        return bool(cursor.fetchone() == (True,))


def collect_alerts() -> tuple[list[Alert], set[ConditionKind]]:
    """Return what is wrong now, and the conditions that could be checked: those of a failed collector are left out."""
    alerts: list[Alert] = []
    conditions: set[ConditionKind] = set()
    for kinds, collect in COLLECTORS:
        step_alerts = try_step(f"watch {min(kinds)}", collect)
        if step_alerts is not None:
            alerts += step_alerts
            conditions |= kinds
    return alerts, conditions


def collect_source_alerts() -> list[Alert]:
    """Return the alerts of every source."""
    sources = list(Source.objects.filter(enabled=True).defer("credential"))
    return build_source_alerts(fetch_conditions(sources), PERMISSIONS.__contains__)


def collect_token_alerts() -> list[Alert]:
    """Return the alerts of every token."""
    has_perm = PERMISSIONS.__contains__
    return [build_token_alert(token, has_perm) for token in filter_expiring(ApiToken.objects.all())[:MAX_TOKENS]]


COLLECTORS: Final[Sequence[tuple[frozenset[ConditionKind], Callable[[], list[Alert]]]]] = (
    (SOURCE_CONDITIONS, collect_source_alerts),
    (frozenset({ConditionKind.TOKEN_EXPIRES}), collect_token_alerts),
    (HOST_CONDITIONS, build_host_alerts),
    (frozenset({ConditionKind.LAKE_FAILING}), build_lake_alerts),
)


def list_unsettled_sources() -> frozenset[int]:
    """Return the sources that sync a day again which had findings: they last until the sync has ended.

    Without this a failed day would be resolved by each of its retries, and opened again by each that fails.
    """
    queued = Q(state__in=[DayState.DUE, DayState.LOADING], due_at__lte=timezone.now())
    had_findings = (
        Q(failures__gt=0)
        | Q(rejected__gt=0)
        | Q(suspicion__isnull=False)
        | Q(verification=Verification.UNVERIFIED, accepted_at=None)
    )
    days = SourceDay.objects.filter(queued, had_findings, source__in=Source.objects.running())
    return frozenset(days.values_list("source_id", flat=True).distinct())


def record_incidents(
    alerts: Iterable[Alert], conditions: Collection[ConditionKind], unsettled: Collection[int] = ()
) -> None:
    """Make the open incidents of `conditions` those of `alerts`, with the messages about what begins and ends."""
    now = timezone.now()
    groups: dict[tuple[str, str], list[Alert]] = {}
    for alert in alerts:
        groups.setdefault((alert.condition, alert.key), []).append(alert)
    incidents: Incidents = {
        (incident.condition, incident.key): incident
        for incident in Incident.objects.filter(OPEN, condition__in=conditions).select_for_update()
    }
    channels = outbox.list_channels()
    for name, group in groups.items():
        if name in incidents:
            update_incident(incidents[name], group, channels, now)
        else:
            open_incident(group, channels, now)
    ongoing_ids = [incident.pk for name, incident in incidents.items() if name in groups]
    Incident.objects.filter(pk__in=ongoing_ids).update(updated_at=now)
    for name, incident in incidents.items():
        if name not in groups and not stays_open(incident, unsettled, now):
            resolve_incident(incident, channels, now)
    outbox.add_reminders(channels, now)


def stays_open(incident: Incident, unsettled: Collection[int], now: datetime) -> bool:
    """Return whether an incident stays without its condition: the outcome is yet to come, or elsewhere."""
    if incident.condition == ConditionKind.DISK_LOW and incident.key != get_host_key():
        return incident.updated_at > now - HOST_GONE
    return incident.condition in DAY_CONDITIONS and incident.source_id in unsettled


def describe(alerts: Sequence[Alert]) -> dict[str, Any]:
    """Return the columns of an incident from its alerts."""
    is_critical = any(alert.tone == "bad" for alert in alerts)
    return {
        "subject": alerts[0].subject[:300],
        "severity": Severity.CRITICAL if is_critical else Severity.WARNING,
        "state": alerts[0].state[:20],
        "message": "\n".join(alert.message for alert in alerts),
        "detail": alerts[0].detail,
        "days": sum(alert.days for alert in alerts),
    }


def open_incident(alerts: Sequence[Alert], channels: outbox.Channels, now: datetime) -> None:
    """Open an incident, and have the channels report it; does nothing where another process has just opened it."""
    first = alerts[0]
    incident = Incident(condition=first.condition, key=first.key, source_id=first.source_id, **describe(alerts))
    incident.opened_at = incident.updated_at = now
    # The unique constraint decides between two schedulers.
    Incident.objects.bulk_create([incident], ignore_conflicts=True)
    created = Incident.objects.filter(OPEN, condition=first.condition, key=first.key, opened_at=now).first()
    if created is not None:
        outbox.add_opened(created, channels, now)
        logger.warning("incident_opened", incident=created.pk, condition=created.condition, subject=created.subject)


def update_incident(incident: Incident, alerts: Sequence[Alert], channels: outbox.Channels, now: datetime) -> None:
    """Write what is known of an open incident now; more days or a higher severity end its acknowledgement."""
    columns = describe(alerts)
    if all(getattr(incident, name) == value for name, value in columns.items()):
        return
    is_raised = columns["severity"] == Severity.CRITICAL != incident.severity
    if is_raised or columns["days"] > incident.days:
        columns |= {"acknowledged_at": None, "acknowledged_by": ""}
    for name, value in columns.items():
        setattr(incident, name, value)
    incident.save(update_fields=list(columns))
    if is_raised:
        outbox.hasten_messages(incident)
        outbox.add_opened(incident, channels, now)


def resolve_incident(incident: Incident, channels: outbox.Channels, now: datetime) -> None:
    """End an incident, and have the channels that reported it report the end."""
    incident.resolved_at = incident.updated_at = now
    incident.save(update_fields=["resolved_at", "updated_at"])
    outbox.add_resolved(incident, channels, now)
    logger.info("incident_resolved", incident=incident.pk, condition=incident.condition, subject=incident.subject)


def ping_dead_man() -> None:
    """Request PORTAL_DEAD_MAN_URL: its silence shows the receiver that the portal does not tick."""
    if not settings.PORTAL_DEAD_MAN_URL:
        return
    try:
        target = parse_target(settings.PORTAL_DEAD_MAN_URL, settings.PORTAL_ALLOWED_WEBHOOK_HOSTS)
        send_request("GET", target, b"", {}, PING_BOUNDS)
    except SyncError as error:
        log_safely(logger.warning, "dead_man_ping_failed", reason=error.reason)
