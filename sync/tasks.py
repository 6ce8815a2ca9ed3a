"""The Celery tasks: a tick every minute, and one day read per task; a lost message costs at most a tick.

Messages carry the database's time instead of Celery's `expires`, which compares the clocks of two machines. A worker
drops a message that is older than a tick by the database's clock. So no backlog runs after an outage, and the next tick
sends messages for what is still due.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from celery import shared_task
from celery.app.task import Task
from django.conf import settings
from kombu.exceptions import OperationalError

from sync.engine import names
from sync.engine.claim import count_free_slots, get_database_time
from sync.engine.load import load_next
from sync.engine.plan import plan_due
from sync.engine.recording import log_safely, try_step
from sync.engine.scrub import scrub
from sync.heartbeats import Heartbeat, record_heartbeat
from usage import rollups
from usage.models import Source, SourceDay

# Sent at the end of each tick: apps that build on this app add theirs.
AFTER_TICK: list[Task[Any, Any]] = []

logger = structlog.get_logger(__name__)


@shared_task
def tick(sent_at: str = "") -> None:
    """Plan what is due, and send a load message for each day that a worker may take now."""
    if is_stale(sent_at):
        return
    record_heartbeat(Heartbeat.TICK)
    plan_due()
    for source in Source.objects.running():
        try_step(f"send loads of {source.slug}", partial(send_loads, source))
        try_step(f"send names of {source.slug}", partial(send_names, source))
    if not rollups.is_rolled_up():
        send(roll_up)
    send(check_stored_days)
    for task in AFTER_TICK:
        send(task)


@shared_task
def load(source_id: int, sent_at: str = "") -> None:
    """Read one due day of a source, and send the message for the next day."""
    if not is_stale(sent_at) and load_next(source_id) is not None:
        send(load, source_id)


@shared_task
def read_names(source_id: int, sent_at: str = "") -> None:
    """Read the names of a source, if a run waits for them."""
    if not is_stale(sent_at):
        names.read_names(source_id)


@shared_task
def roll_up(sent_at: str = "") -> None:
    """Write missing roll-ups for a quarter of the tick; the next tick goes on."""
    if not is_stale(sent_at):
        rollups.roll_up_days(settings.PORTAL_TICK_SECONDS / 4)


@shared_task
def check_stored_days(sent_at: str = "") -> None:
    """Check a few stored days; those that differ are read again."""
    if not is_stale(sent_at):
        scrub(settings.PORTAL_TICK_SECONDS / 4)


def send_loads(source: Source) -> None:
    """Send a message for each day of a source that a worker may take now."""
    claimable = SourceDay.objects.claimable().filter(source=source)[: max(count_free_slots(source), 0)].count()
    for _ in range(claimable):
        send(load, source.pk)


def send_names(source: Source) -> None:
    """Send a message where the names of a source are to be read."""
    if names.plan_names(source) is not None:
        send(read_names, source.pk)


def is_stale(sent_at: str) -> bool:
    """Return whether a message is older than a tick by the database's clock; a message without a time is not."""
    age = get_database_time() - datetime.fromisoformat(sent_at) if sent_at else timedelta(0)
    return age > timedelta(seconds=settings.PORTAL_TICK_SECONDS)


def send(task: Task[Any, Any], *args: object) -> None:
    """Send a message with the database's time; without a message queue the next tick sends it."""
    try:
        task.apply_async((*args, get_database_time().isoformat()))
    except OperationalError as error:
        log_safely(logger.warning, "the message queue does not answer", error=type(error).__name__, task=task.name)
