"""Delivery: sends the messages that are due, each to the end before the next is claimed."""

from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Final

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
OTHER_SOURCES = "The channel no longer reports this source."


class MessageDropped(Exception):
    """A message that is never to be sent; the text explains why."""


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
    """Send a claimed message, and record the outcome; returns whether it was sent."""
    is_final = message.event == Event.TEST  # A person who tests sees the error at once, and tries again.
    try:
        if not SENDERS["report" if message.report_id else "channel"](message):
            return False
    except MessageDropped as dropped:
        reason, is_final = str(dropped), True
    except DeliveryError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  # no message stops the others
        log_safely(logger.exception, "message_failed", message=str(message.uid))
        reason = f"Sending failed ({type(error).__name__}); the log has more."
    else:
        outbox.record_sent(message)
        logger.info("message_sent", message=str(message.uid), key=message.key)
        return True
    log_safely(logger.warning, "message_not_sent", message=str(message.uid), key=message.key, reason=reason)
    outbox.record_failure(message, reason, is_final=is_final)
    return False


def send_to_channel(message: Message) -> bool:
    """Send a message through its channel; raises MessageDropped where the channel no longer reports it."""
    channel = message.channel
    assert channel is not None  # noqa: S101
    if not channel.enabled and message.event != Event.TEST:
        raise MessageDropped(SWITCHED_OFF)
    if message.incident is not None and not outbox.covers_source(channel, message.incident):
        raise MessageDropped(OTHER_SOURCES)
    message.outcome = TRANSPORTS[channel.kind](channel, build_content(message), message.uid)
    return True


# By the subject of a message: other apps add theirs. They return False for a message that they have deferred.
SENDERS: Final[dict[str, Callable[[Message], bool]]] = {"channel": send_to_channel}


def send_test(channel: Channel) -> str:
    """Send a test message through a channel, as every other is sent; returns as `send_at_once` does."""
    return send_at_once(Message(channel=channel, event=Event.TEST))


def send_at_once(message: Message) -> str:
    """Send a new message that tests; returns why it was not sent, or not to all, "" where it was."""
    message.key = f"test:{message.uid}"
    message.created_at = message.due_at = timezone.now()
    message.attempts, message.claimed_until = 1, timezone.now() + outbox.CLAIM
    message.save(force_insert=True)
    if deliver_message(message):
        return message.outcome if message.channel_id else ""
    message.refresh_from_db(fields=["error"])
    return message.error
