"""The Celery task of reports, which each tick sends."""

from celery import shared_task
from django.utils import timezone

from portal.incidents.tasks import deliver
from portal.reports.schedule import plan_reports
from sync.tasks import is_stale, send


@shared_task
def plan(sent_at: str = "") -> None:
    """Add what is due to the outbox, and have it sent."""
    if not is_stale(sent_at) and plan_reports(timezone.now()):
        send(deliver)
