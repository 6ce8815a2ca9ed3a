"""Start-up checks of the settings of incidents."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from portal.incidents.restatement_alerts import parse_amounts
from sync.errors import SyncError
from sync.http.outgoing import parse_target


@register(Tags.security)
def check_dead_man_url(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_DEAD_MAN_URL may be requested."""
    if not settings.PORTAL_DEAD_MAN_URL:
        return
    try:
        parse_target(settings.PORTAL_DEAD_MAN_URL, settings.PORTAL_ALLOWED_WEBHOOK_HOSTS)
    except SyncError as error:
        yield Error(
            f"PORTAL_DEAD_MAN_URL cannot be requested. {error.reason}",
            hint="Set it to an https address, or add its host and port to PORTAL_ALLOWED_WEBHOOK_HOSTS.",
            id="portal.E031",
        )


@register()
def check_portal_url(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_URL is an address of this portal, without a path."""
    url = settings.PORTAL_URL
    if url and not (url.startswith(("https://", "http://")) and url.isprintable() and url.rstrip("/").count("/") == 2):
        yield Error(
            "PORTAL_URL is not the address of a site.",
            hint="Set it like https://usage.example.com, without a path: messages link to it.",
            id="portal.E032",
        )


@register()
def check_restated_amounts(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_RESTATED_AMOUNTS lists an amount for each unit."""
    try:
        parse_amounts(settings.PORTAL_RESTATED_AMOUNTS)
    except ValueError as error:
        yield Error(
            f"PORTAL_RESTATED_AMOUNTS contains {str(error)!r}, which is not a unit and its amount.",
            hint="List units with the smallest change that counts, with commas between them: minutes=600,tasks=100.",
            id="portal.E033",
        )
