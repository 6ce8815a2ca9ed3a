"""Metrics of the work: what is due, messages to workers and to people, open incidents, and signs of life."""

from collections import Counter
from collections.abc import Iterable
from itertools import product
from math import inf
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, Q
from django.db.models.functions import Greatest, Now
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from portal.cache import get_redis
from portal.incidents.access import filter_visible
from portal.incidents.conditions import ConditionKind
from portal.incidents.models import OPEN, UNSENT, Incident, Message, Severity
from sync.engine.claim import get_database_time
from sync.heartbeats import get_ages
from usage.models import Source, SourceDay


def collect_queue(source_ids: frozenset[int] | None) -> Iterable[Metric]:
    """Yield how many days of these sources (None: all) may be read now, and for how long the oldest was due."""
    visible = Q() if source_ids is None else Q(source__in=source_ids)
    due = SourceDay.objects.claimable(Now()).filter(visible, source__in=Source.objects.running())
    found = due.aggregate(days=Count("pk"), since=Min("due_at"))
    waited = (get_database_time() - found["since"]).total_seconds() if found["since"] else 0
    yield GaugeMetricFamily("portal_queue_days", "Source days that may be read now.", found["days"])
    yield GaugeMetricFamily("portal_queue_oldest_seconds", "How long the oldest of these has been due.", waited)


def collect_incidents(source_ids: frozenset[int] | None) -> Iterable[Metric]:
    """Yield how many incidents of these sources (None: all) are open, and what waits to be sent to people."""
    incidents = GaugeMetricFamily("portal_incidents_open", "Incidents that are open.", labels=["condition", "severity"])
    visible = filter_visible(Incident.objects.filter(OPEN), source_ids, can_view_tokens=False)
    found = Counter(visible.order_by().values_list("condition", "severity"))
    for labels in product(ConditionKind.values, Severity.values):
        incidents.add_metric(labels, found[labels])
    yield incidents
    # A report that waits for its range is looked at now and then, which is no delay.
    since = Min(Greatest("created_at", "wait_until"))
    waiting = Message.objects.filter(UNSENT, due_at__lte=Now()).aggregate(messages=Count("pk"), since=since)
    waited = (get_database_time() - waiting["since"]).total_seconds() if waiting["since"] else 0
    yield GaugeMetricFamily(
        "portal_outbox_messages", "Messages of incidents and reports that are due.", waiting["messages"]
    )
    yield GaugeMetricFamily("portal_outbox_oldest_seconds", "How long the oldest of these waits.", max(waited, 0))


def collect_messages() -> Iterable[Metric]:
    """Yield the length of the message queue and the ages of the heartbeats; raises RedisError."""
    waiting: Any = get_redis(settings.REDIS_URL).client.llen(settings.CELERY_TASK_DEFAULT_QUEUE)
    yield GaugeMetricFamily("portal_queue_messages", "Messages that wait for a worker.", waiting)
    ages = GaugeMetricFamily(
        "portal_heartbeat_age_seconds", "Time since beat, a worker or a tick was seen.", labels=["program"]
    )
    for heartbeat, age in get_ages().items():
        ages.add_metric([heartbeat.value], inf if age is None else age)
    yield ages
