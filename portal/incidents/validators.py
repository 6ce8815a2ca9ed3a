"""What a channel may be called, whom it may mail, and where it may post."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from sync.errors import SyncError
from sync.http.outgoing import parse_target
from usage.fields import LockedText
from usage.models.source import get_zone

MAX_RECIPIENTS = 50


def validate_name(name: str) -> None:
    """Refuse a name that could begin another line of a mail's header."""
    if not name.isprintable():
        raise ValidationError("Letters, digits, punctuation and spaces are allowed, on one line.")


def list_recipients(recipients: str) -> list[str]:
    """Return the addresses of a text with one address a line."""
    return [line.strip() for line in recipients.splitlines() if line.strip()]


def validate_recipients(recipients: str) -> None:
    """Refuse what is no address, and more of them than a channel may have."""
    addresses = list_recipients(recipients)
    if len(addresses) > MAX_RECIPIENTS:
        raise ValidationError(f"{MAX_RECIPIENTS} addresses are allowed; these are {len(addresses)}.")
    for address in addresses:
        try:
            validate_email(address)
        except ValidationError:
            raise ValidationError(f"{address!r} is not an e-mail address; one a line is allowed.") from None


def validate_target(url: str | LockedText) -> None:
    """Refuse an address that no webhook may post to, as far as the address itself shows."""
    if isinstance(url, LockedText):
        return
    try:
        parse_target(url, settings.PORTAL_ALLOWED_WEBHOOK_HOSTS)
    except SyncError as error:
        raise ValidationError(error.reason) from None


def validate_time_zone(name: str) -> None:
    """Refuse a name that the zone database does not have."""
    if get_zone(name) is None:
        raise ValidationError(f"{name!r} is no time zone; give an IANA name such as Europe/Berlin.")
