"""Delivery: sends the messages that are due, each to the end before the next is claimed."""

from datetime import timedelta
from time import monotonic

import structlog
from django.db import transaction
from django.utils import timezone

from portal.incidents import outbox
from portal.incidents.content import build_content
from portal.incidents.models import Channel, Event, Message
from portal.incidents.transports import TRANSPORTS, DeliveryError
from sync.engine.recording import log_safely, revive_connection

logger = structlog.get_logger(__name__)
SWITCHED_OFF = "The channel is switched off."
OTHER_SOURCES = "The channel no longer tells of this source."


def deliver_due(seconds: float, overdue: timedelta = timedelta(0)) -> int:
    """Send what has been due for `overdue` until none is left or so many seconds have passed; returns how many."""
    ends, sent = monotonic() + seconds, 0
    while monotonic() < ends:
        revive_connection()
        with transaction.atomic():
            message = outbox.claim_message(timezone.now(), overdue)
        if message is None:
            break
        sent += deliver_message(message)
    return sent


def deliver_message(message: Message) -> bool:
    """Send one message that was claimed, and note the outcome; returns whether it was sent."""
    if not message.channel.enabled and message.event != Event.TEST:
        outbox.record_failure(message, SWITCHED_OFF, is_final=True)
        return False
    if message.incident is not None and not outbox.covers_source(message.channel, message.incident):
        outbox.record_failure(message, OTHER_SOURCES, is_final=True)
        return False
    try:
        TRANSPORTS[message.channel.kind](message.channel, build_content(message), message.uid)
    except DeliveryError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  # one message never stops the others
        log_safely(logger.exception, "message_failed", message=str(message.uid))
        reason = f"Sending failed ({type(error).__name__}); the log has more."
    else:
        outbox.record_sent(message)
        logger.info("message_sent", message=str(message.uid), key=message.key, channel=message.channel.name)
        return True
    log_safely(logger.warning, "message_not_sent", message=str(message.uid), key=message.key, reason=reason)
    # A person who tests a channel is told at once, and tries again.
    outbox.record_failure(message, reason, is_final=message.event == Event.TEST)
    return False


def send_test(channel: Channel) -> str:
    """Send a test message through a channel, as every other is sent; returns why it was not sent, "" where it was."""
    message = Message(channel=channel, event=Event.TEST)
    message.key = f"test:{message.uid}"
    message.created_at = message.due_at = timezone.now()
    message.attempts, message.claimed_until = 1, timezone.now() + outbox.CLAIM
    message.save(force_insert=True)
    if deliver_message(message):
        return ""
    message.refresh_from_db(fields=["error"])
    return message.error
