"""Whom a report may be sent to."""

from django.conf import settings
from django.core.exceptions import ValidationError

from portal.incidents.validators import list_recipients, validate_recipients


def validate_addresses(addresses: str) -> None:
    """Refuse what is no address, and addresses of domains that are not allowed."""
    validate_recipients(addresses)
    for address in list_recipients(addresses):
        if not is_allowed(address):
            domains = ", ".join(settings.PORTAL_REPORT_DOMAINS) or "none; PORTAL_REPORT_DOMAINS lists them"
            raise ValidationError(f"{address} is of a domain that is not allowed. Allowed: {domains}.")


def is_allowed(address: str) -> bool:
    """Return whether reports may be sent to an address outside of the portal's own people."""
    domain = address.rpartition("@")[2].lower()
    return domain in {allowed.lower() for allowed in settings.PORTAL_REPORT_DOMAINS}
