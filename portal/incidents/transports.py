"""Transports: send the content of a message by mail or to a webhook."""

import base64
import binascii
import hashlib
import hmac
import re
import smtplib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.mime.base import MIMEBase
from html import escape
from typing import Any, Final
from uuid import UUID

import msgspec
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.utils import timezone

from portal.incidents.content import PREFIX, Content
from portal.incidents.models import BodyFormat, Channel, ChannelKind
from portal.incidents.validators import list_recipients
from portal.mail import SomeRefused
from sync.errors import SyncError
from sync.http.outgoing import parse_target, send_request
from usage.fields import LockedText

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (how Standard Webhooks mark a secret)
MARKDOWN: Final = re.compile(r"([\\`*_\[\]()~#>|!])")


class DeliveryError(Exception):
    """A message that was not sent; the text explains why, without a secret."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail: what stands behind the portal's name in its subject, its text, and the same as HTML where it has that.

    `files`: as Django attaches them, each a name, the content and its type, or a part that is built.
    """

    subject: str
    text: str
    html: str = ""
    files: Sequence[tuple[str, bytes, str] | MIMEBase] = ()


def mail_content(channel: Channel, content: Content, uid: UUID) -> str:
    """Send a message by mail; returns as `send_mail` does."""
    text = "\n\n".join([*content.lines, *([content.url] if content.url else [])])
    return send_mail(list_recipients(channel.recipients), Mail(content.title, text), uid)


def send_mail(recipients: Sequence[str], mail: Mail, uid: UUID) -> str:
    """Send a mail; returns which recipients were refused, as text. Its Message-ID is the same at each attempt."""
    if not settings.PORTAL_EMAIL_URL:
        raise DeliveryError("There is no mail server: set PORTAL_EMAIL_URL.")
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip(" >") or "localhost"
    built = EmailMultiAlternatives(
        subject=f"{PREFIX}: {mail.subject}",
        body=mail.text,
        to=recipients,
        attachments=mail.files,
        alternatives=[(mail.html, "text/html")] if mail.html else [],
        headers={"Message-ID": f"<{uid}@{domain}>", "Auto-Submitted": "auto-generated"},
    )
    try:
        built.send()
    except SomeRefused as error:
        # Not tried again: the others would get it twice.
        return f"The mail server refused {', '.join(error.recipients)}; the others have it."
    except smtplib.SMTPRecipientsRefused as error:
        raise DeliveryError(f"The mail server refused {', '.join(error.recipients)}.") from None
    except smtplib.SMTPResponseException as error:
        raise DeliveryError(f"The mail server answered {error.smtp_code}.") from None
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryError(f"The mail server did not take it ({type(error).__name__}).") from None
    return ""


def post_webhook(channel: Channel, content: Content, uid: UUID) -> str:
    """Post a message to a webhook, signed by Standard Webhooks where the channel has a secret; returns ""."""
    if isinstance(channel.url, LockedText) or isinstance(channel.secret, LockedText):
        raise DeliveryError("No key of PORTAL_ENCRYPTION_KEYS opens its address or secret: enter them again.")
    sent_at = timezone.now()
    body = msgspec.json.encode(BODIES[channel.body_format](content, {"id": str(uid), "sent_at": sent_at}))
    timestamp = str(int(sent_at.timestamp()))
    headers = {"Content-Type": "application/json", "Webhook-Id": str(uid), "Webhook-Timestamp": timestamp}
    if channel.secret:
        headers["Webhook-Signature"] = sign(channel.secret, str(uid), timestamp, body)
    try:
        send_request("POST", parse_target(channel.url, settings.PORTAL_ALLOWED_WEBHOOK_HOSTS), body, headers)
    except SyncError as error:
        raise DeliveryError(error.reason) from None
    return ""


def sign(secret: str, uid: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a request: HMAC-SHA256 of `uid.timestamp.body`, as Standard Webhooks define it.

    A secret that begins with whsec_ is base64 after that; any other is its own text.
    """
    key = secret.encode()
    if secret.startswith(SECRET_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            raise DeliveryError("The secret begins with whsec_, and what follows is not base64.") from None
    signed = f"{uid}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def build_portal_body(content: Content, envelope: dict[str, Any]) -> dict[str, Any]:
    """Return the portal's own body."""
    return {**envelope, **content.facts}


def build_slack_body(content: Content, envelope: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Return the body of a webhook of Slack; text of vendors and people mentions no user and links nowhere."""
    title, *lines = [escape(line, quote=False) for line in (content.title, *content.lines)]
    link = [f"<{content.url}|Show it in the portal>"] if content.url else []
    return {"text": "\n".join([f"*{title}*", *lines, *link])}


def build_teams_body(content: Content, envelope: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """Return the body of a workflow of Microsoft Teams: an adaptive card."""
    title, *lines = [MARKDOWN.sub(r"\\\1", line) for line in (content.title, *content.lines)]
    blocks: list[dict[str, Any]] = [{"type": "TextBlock", "text": title, "weight": "Bolder", "wrap": True}]
    blocks += [{"type": "TextBlock", "text": line, "wrap": True} for line in lines]
    actions = [{"type": "Action.OpenUrl", "title": "Show it in the portal", "url": content.url}] if content.url else []
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
        "actions": actions,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


BODIES: Final[dict[str, Callable[[Content, dict[str, Any]], dict[str, Any]]]] = {
    BodyFormat.PORTAL: build_portal_body,
    BodyFormat.SLACK: build_slack_body,
    BodyFormat.TEAMS: build_teams_body,
}
TRANSPORTS: Final[dict[str, Callable[[Channel, Content, UUID], str]]] = {
    ChannelKind.EMAIL: mail_content,
    ChannelKind.WEBHOOK: post_webhook,
}
