"""The Celery tasks of incidents: the watch, which each tick sends, and the delivery of messages."""

from celery import shared_task
from django.conf import settings

from portal.incidents import watch as watching
from portal.incidents.delivery import deliver_due
from sync.tasks import is_stale, send


@shared_task
def watch(sent_at: str = "") -> None:
    """Find what is wrong, send the messages about it, and report the tick to PORTAL_DEAD_MAN_URL."""
    if is_stale(sent_at):
        return
    watching.watch()
    send(deliver)
    watching.ping_dead_man()


@shared_task
def deliver(sent_at: str = "") -> None:
    """Send what is due for half of a tick; the next tick continues."""
    if not is_stale(sent_at):
        deliver_due(settings.PORTAL_TICK_SECONDS / 2)
