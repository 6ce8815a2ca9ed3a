"""Alerts about the portal's own machines: worker, beat, Redis, the database and disks, and about the lake."""

import shutil
import socket
import tempfile
import time
from collections.abc import Mapping
from math import inf
from typing import Final

from django.conf import settings
from django.db import connection
from django.urls import reverse
from redis.exceptions import RedisError

from portal.incidents.alerts import Alert, AlertLink, HasPerm
from portal.incidents.conditions import SYSTEM_CONDITIONS, ConditionKind
from portal.incidents.models import OPEN, Incident, Severity
from portal.lake import find_trouble
from sync.heartbeats import Heartbeat, get_ages, is_silent
from usage.formatting import format_size

Silence = Mapping[Heartbeat, bool]

MEGABYTE: Final = 1_000_000
MOST_CONNECTIONS: Final = 0.9  # of those that PostgreSQL allows
# PostgreSQL stops writing at 2.1 billion; it begins to freeze old rows at a tenth of that.
OLDEST_TRANSACTION: Final = 1_000_000_000
DATABASE_STATE: Final = """
    SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
           current_setting('max_connections')::int,
           (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database())
"""
SILENT: Final = {
    Heartbeat.WORKER: (
        ConditionKind.WORKER_SILENT,
        "Worker",
        "does not answer: no day is synced.",
        "Start the worker again; nothing is lost meanwhile.",
    ),
    Heartbeat.BEAT: (
        ConditionKind.BEAT_SILENT,
        "Schedule (Celery beat)",
        "is silent: no tick is sent, so nothing is planned.",
        "Start it again; nothing is lost meanwhile.",
    ),
}


def find_silence(started: float) -> Silence | None:
    """Return which heartbeats are silent; None where Redis, which has them, does not answer.

    `started`: the time from which on the caller could have seen a heartbeat, so that nothing is silent while all start.
    """
    uptime = time.time() - started
    try:
        ages = get_ages()
    except RedisError:
        return None
    return {heartbeat: is_silent(min(inf if age is None else age, uptime)) for heartbeat, age in ages.items()}


def build_process_alerts(silence: Silence) -> list[Alert]:
    """Return an alert for each process that is silent."""
    return [
        build_alert(condition, heartbeat, subject, message, detail)
        for heartbeat, (condition, subject, message, detail) in SILENT.items()
        if silence[heartbeat]
    ]


def build_redis_alert() -> Alert:
    """Return the alert that Redis does not answer."""
    detail = "The task queue, rate limits and the heartbeats of worker and schedule are stored in it. Start it again."
    return build_alert(ConditionKind.REDIS_TROUBLE, "redis", "Redis", "does not answer: nothing is synced.", detail)


def build_host_alerts() -> list[Alert]:
    """Return the alerts about this machine's disk and about the database."""
    return [*find_low_disk(), *find_database_trouble()]


def build_lake_alerts() -> list[Alert]:
    """Return the alert that nothing is published to the lake."""
    if not (error := find_trouble()):
        return []
    detail = "Records are safe in PostgreSQL; what is missing in the lake follows once it can be written again."
    return [build_alert(ConditionKind.LAKE_FAILING, "lake", "Lake", f"was not published to: {error}", detail)]


def find_low_disk() -> list[Alert]:
    """Return the alert that the disk of the files of this machine's syncs is nearly full."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free >= settings.PORTAL_DISK_FREE_MB * MEGABYTE:
        return []
    message = f"is nearly full: {format_size(free) or f'{free} bytes'} are free where syncs keep their files."
    detail = "Free some space: a sync that cannot write its file fails."
    return [build_alert(ConditionKind.DISK_LOW, get_host_key(), f"Disk of {socket.gethostname()}", message, detail)]


def get_host_key() -> str:
    """Return the key of this machine as the subject of alerts."""
    return f"host:{socket.gethostname()}"[:200]


def find_database_trouble() -> list[Alert]:
    """Return the alert that PostgreSQL runs out of connections or of transaction numbers."""
    with connection.cursor() as cursor:
        cursor.execute(DATABASE_STATE)
        used, allowed, age = cursor.fetchone()
    if used >= MOST_CONNECTIONS * allowed:
        message, detail = f"has {used} of {allowed} connections in use.", "Allow more, or put a pooler in front of it."
    elif age >= OLDEST_TRANSACTION:
        message = f"has not frozen rows for {age:,} transactions; at 2.1 billion it stops."
        detail = "See why autovacuum does not end, such as a transaction that was left open."
    else:
        return []
    return [build_alert(ConditionKind.DATABASE_TROUBLE, "database", "Database", message, detail)]


def build_alert(condition: ConditionKind, key: str, subject: str, message: str, detail: str) -> Alert:
    """Return an alert about the portal itself."""
    return Alert(condition, key, "bad", str(condition.label.split()[-1]).capitalize(), subject, message, detail)


def list_open_alerts(has_perm: HasPerm) -> list[Alert]:
    """Return the alerts of open incidents that no page can detect itself."""
    if not has_perm("incidents.view_incident"):
        return []
    incidents = Incident.objects.filter(OPEN, condition__in=SYSTEM_CONDITIONS).order_by("opened_at", "id")
    return [build_incident_alert(incident) for incident in incidents]


def build_incident_alert(incident: Incident) -> Alert:
    """Return the alert that an incident was opened for."""
    page = reverse("admin:incidents_incident_change", args=[incident.pk])
    return Alert(
        condition=ConditionKind(incident.condition),
        key=incident.key,
        tone="bad" if incident.severity == Severity.CRITICAL else "warn",
        state=incident.state,
        subject=incident.subject,
        message=incident.message,
        detail=incident.detail,
        links=[AlertLink("Show the incident", page)],
    )
