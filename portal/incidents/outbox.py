"""The outbox: which message is to be sent through which channel, and when. `delivery` sends what is due.

Messages are added in the transaction of what they report, under a unique key: one for each channel and incident that
is opened, and one where it is resolved; one for each report and date that it is scheduled on.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.db.models.lookups import IsNull
from django.utils import timezone

from portal.incidents.models import OPEN, UNSENT, Channel, Event, Incident, Message, Severity
from usage.models.source import UTC, get_zone

Channels = Sequence[Channel]
# Longer than an attempt may take: a process that has not finished by then was killed.
CLAIM: Final = timedelta(minutes=2)
FIRST_BACK_OFF: Final = timedelta(minutes=1)
LONGEST_BACK_OFF: Final = timedelta(minutes=30)
ABANDON_AFTER: Final = timedelta(days=3)


def list_channels() -> Channels:
    """Return the enabled channels, with their sources."""
    return list(Channel.objects.filter(enabled=True).prefetch_related("sources"))


def matches_rules(channel: Channel, incident: Incident) -> bool:
    """Return whether an incident matches the rules of a channel."""
    if channel.severity == Severity.CRITICAL != incident.severity:
        return False
    if channel.conditions and incident.condition not in channel.conditions:
        return False
    return covers_source(channel, incident)


def covers_source(channel: Channel, incident: Incident) -> bool:
    """Return whether a channel may report the source of an incident."""
    return not channel.limited or incident.source_id in {source.pk for source in channel.sources.all()}


def add_opened(incident: Incident, channels: Channels, now: datetime) -> None:
    """Add the message that an incident was opened, for each channel that it is for and that has none yet."""
    add_messages(
        build_message(Event.OPENED, channel, incident, now + timedelta(minutes=channel.delay_minutes))
        for channel in channels
        if matches_rules(channel, incident)
    )


def hasten_messages(incident: Incident) -> None:
    """Let what waits for the end of quiet hours go at once where it is critical by now."""
    for message in Message.objects.filter(UNSENT, incident=incident, attempts=0).select_related("channel", "incident"):
        if (due_at := get_first_due(message)) < message.due_at:
            Message.objects.filter(UNSENT, pk=message.pk, attempts=0).update(due_at=due_at)


def get_first_due(message: Message) -> datetime:
    """Return when a message is due for the first time, by what its channel and incident are now."""
    if message.channel is None or message.incident is None:
        return message.wait_until or message.created_at
    delay = message.channel.delay_minutes if message.event == Event.OPENED else 0
    return defer_quiet(message.channel, message.created_at + timedelta(minutes=delay), message.incident.severity)


def add_resolved(incident: Incident, channels: Channels, now: datetime) -> None:
    """Add the message that an incident was resolved, for each channel that reported it or is about to.

    A channel whose delay or quiet hours have not passed reports nothing at all.
    """
    messages = Message.objects.filter(UNSENT, incident=incident)
    messages.filter(attempts=0).filter(Q(due_at__gt=now) | Q(event=Event.REMINDER)).delete()
    opened_messages = Message.objects.filter(incident=incident, event=Event.OPENED, abandoned_at=None)
    channel_ids = set(opened_messages.values_list("channel_id", flat=True))
    add_messages(
        build_message(Event.RESOLVED, channel, incident, now)
        for channel in channels
        if channel.pk in channel_ids and channel.tells_recovery
    )


def add_reminders(channels: Channels, now: datetime) -> None:
    """Add the reminders of unacknowledged open incidents, so many hours after the last message was sent."""
    for channel in channels:
        if channel.reminder_hours is None:
            continue
        before = now - timedelta(hours=channel.reminder_hours)
        later = Message.objects.filter(Q(sent_at__gt=before) | UNSENT, channel=channel, incident=OuterRef("pk"))
        sent = Message.objects.filter(channel=channel, incident=OuterRef("pk"), sent_at__isnull=False)
        incidents = Incident.objects.filter(OPEN, Exists(sent), ~Exists(later), acknowledged_at=None)
        message_count = Count("messages", filter=Q(messages__channel=channel))
        # The number in the key: two processes that add a reminder at once add the same message.
        add_messages(
            build_message(Event.REMINDER, channel, incident, now, str(incident.message_count))
            for incident in incidents.annotate(message_count=message_count)
            if matches_rules(channel, incident)  # its rules may have changed since
        )


def build_message(event: Event, channel: Channel, incident: Incident, at: datetime, suffix: str = "") -> Message:
    """Return the message of an event, due `at` or at the end of the channel's quiet hours."""
    key = ":".join(filter(None, (event, str(incident.pk), str(channel.pk), suffix)))
    due_at = defer_quiet(channel, at, incident.severity)
    return Message(key=key, channel=channel, incident=incident, event=event, due_at=due_at)


def add_messages(messages: Iterator[Message]) -> None:
    """Add the messages whose keys there are not yet."""
    Message.objects.bulk_create(messages, ignore_conflicts=True)


def defer_quiet(channel: Channel, at: datetime, severity: str) -> datetime:
    """Return the end of the quiet hours that `at` is in; `at` itself outside of quiet hours."""
    start, end = channel.quiet_from, channel.quiet_until
    if start is None or end is None or (severity == Severity.CRITICAL and not channel.quiet_critical):
        return at
    local = at.astimezone(get_zone(channel.time_zone) or UTC)
    time = local.time()
    if not (start <= time < end if start < end else time >= start or time < end):
        return at
    day = local.date() + timedelta(days=1 if start > end and time >= start else 0)
    return datetime.combine(day, end, local.tzinfo).astimezone(UTC)


def claim_message(now: datetime, overdue: timedelta = timedelta(0)) -> Message | None:
    """Claim the next message that has been due for `overdue`; None where there is none. Called in its own transaction.

    A channel sends the messages of an incident in their order, the opening first. Reports take longer, so they wait for
    the messages of incidents.
    """
    earlier = Message.objects.filter(
        UNSENT, channel=OuterRef("channel"), incident=OuterRef("incident"), pk__lt=OuterRef("pk")
    )
    free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    due = Message.objects.filter(UNSENT, free, ~Exists(earlier), due_at__lte=now - overdue)
    ordered = due.order_by(IsNull(F("report"), False), "due_at", "id")
    message = ordered.select_for_update(of=("self",), skip_locked=True).select_related("channel", "incident").first()
    if message is not None:
        take_message(message, now)
    return message


def take_message(message: Message, now: datetime) -> None:
    """Write that an attempt to send a message begins."""
    message.attempts += 1
    message.claimed_until = now + CLAIM
    message.save(update_fields=["attempts", "claimed_until"])


def renew_claim(message: Message) -> bool:
    """Claim a message that took long to write for as long again; False where another has claimed or ended it since."""
    claimed_until = timezone.now() + CLAIM
    claim = Message.objects.filter(UNSENT, pk=message.pk, claimed_until=message.claimed_until)
    message.claimed_until = claimed_until
    return bool(claim.update(claimed_until=claimed_until))


def record_sent(message: Message) -> None:
    """Write that a message was sent."""
    sent = Message.objects.filter(UNSENT, pk=message.pk)
    sent.update(sent_at=timezone.now(), claimed_until=None, error="", outcome=message.outcome)


def record_wait(message: Message, until: datetime, reason: str) -> None:
    """Write that a message is not to be sent before an instant; it counts as no attempt."""
    claim = Message.objects.filter(UNSENT, pk=message.pk, claimed_until=message.claimed_until)
    claim.update(claimed_until=None, due_at=until, attempts=0, error=reason)


def record_failure(message: Message, reason: str, *, is_final: bool = False) -> None:
    """Write why a message was not sent; it is tried again after a growing wait, for ABANDON_AFTER at most."""
    now = timezone.now()
    wait = min(FIRST_BACK_OFF * 2 ** min(message.attempts - 1, 20), LONGEST_BACK_OFF)
    is_abandoned = is_final or now - get_first_due(message) > ABANDON_AFTER
    columns = {"abandoned_at": now} if is_abandoned else {"due_at": now + wait}
    claim = Message.objects.filter(UNSENT, pk=message.pk, claimed_until=message.claimed_until)
    claim.update(claimed_until=None, error=reason, **columns)


def select_old_incidents(before: datetime) -> QuerySet[Incident]:
    """Return the incidents that were resolved before an instant; their messages go with them."""
    return Incident.objects.filter(resolved_at__lt=before)


def select_old_tests(before: datetime) -> QuerySet[Message]:
    """Return the messages of before an instant that tested a channel."""
    return Message.objects.filter(incident=None, report=None, created_at__lt=before)
