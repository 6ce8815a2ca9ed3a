"""The schedule: which report is due when, its message in the outbox, and its end.

A report has one message for each date that it is scheduled on, by the message's unique key.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from portal.incidents.models import UNSENT, Event, Message
from portal.reports.models import Report, Wait
from usage.models.source import UTC, get_zone

logger = structlog.get_logger(__name__)
ONE_DAY: Final = timedelta(days=1)
# What was missed while no schedule ran is sent later, as far back as this.
LONGEST_DELAY: Final = timedelta(days=7)


def get_next(report: Report, after: datetime) -> datetime:
    """Return the first instant after `after` at which a report is scheduled."""
    zone = get_zone(report.time_zone) or UTC
    day = after.astimezone(zone).date()
    while True:
        at = datetime.combine(day, report.time, zone).astimezone(UTC)
        if report.is_due_on(day) and at > after:
            return at
        day += ONE_DAY


def plan_reports(now: datetime) -> int:
    """Add the message of each report that is due, and set when it is due next; returns how many are due."""
    with transaction.atomic():
        due = list(Report.objects.filter(next_at__lte=now).select_for_update(skip_locked=True))
        for report in due:
            plan_report(report, now)
    return len(due)


def plan_report(report: Report, now: datetime) -> None:
    """Add the messages of a report that are due by now; of those that were missed for too long, none."""
    assert report.next_at is not None  # noqa: S101
    messages = []
    while report.next_at <= now:
        if report.next_at > now - LONGEST_DELAY:
            messages.append(build_message(report, report.next_at))
        report.next_at = get_next(report, report.next_at)
    # The unique key decides where a person has sent the report of that date already.
    Message.objects.bulk_create(messages, ignore_conflicts=True)
    report.save(update_fields=["next_at"])


def build_message(report: Report, at: datetime) -> Message:
    """Return the message of a report for the date of an instant."""
    wait_until = None if report.wait == Wait.NOTHING else at + timedelta(days=report.wait_days)
    return Message(
        key=f"report:{report.pk}:{report.get_date(at)}",
        report=report,
        event=Event.REPORT,
        due_at=at,
        scheduled_at=at,
        wait_until=wait_until,
    )


def request_now(report: Report) -> bool:
    """Have what waits sent now, else the report of today; False where that was sent already."""
    now = timezone.now()
    message = build_message(report, now)
    message.wait_until = now
    with transaction.atomic():
        if Message.objects.filter(UNSENT, report=report, event=Event.REPORT).update(wait_until=now, due_at=now):
            return True
        Message.objects.bulk_create([message], ignore_conflicts=True)
        stored_message = Message.objects.select_for_update().get(key=message.key)
        if stored_message.sent_at is not None:
            return False
        # A message that is being sent right now keeps its claim.
        Message.objects.filter(pk=stored_message.pk).update(wait_until=now, due_at=now, abandoned_at=None)
    return True


def stop_report(report: Report, reason: str) -> bool:
    """Stop a report, and have all recipients notified of the reason; False where it is stopped already."""
    now = timezone.now()
    with transaction.atomic():
        running = Report.objects.filter(pk=report.pk, stopped_at=None)
        if not running.update(stopped_at=now, next_at=None, stop_reason=reason):
            return False
        key = f"stopped:{report.pk}:{uuid4()}"
        Message.objects.create(key=key, report=report, event=Event.STOPPED, due_at=now, scheduled_at=now)
        Message.objects.filter(UNSENT, report=report, event=Event.REPORT, claimed_until=None).update(
            abandoned_at=now, error=reason
        )
    logger.warning("report_stopped", report=report.pk, reason=reason)
    return True


def resume_report(report: Report) -> None:
    """Have a stopped report sent again, from its next date on."""
    Report.objects.filter(pk=report.pk).update(
        stopped_at=None, stop_reason="", next_at=get_next(report, timezone.now())
    )


def select_old_messages(before: datetime) -> QuerySet[Message]:
    """Return the messages of reports of before an instant."""
    return Message.objects.filter(report__isnull=False, created_at__lt=before).exclude(UNSENT)
