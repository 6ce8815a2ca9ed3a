"""Start-up checks of the settings of reports."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from portal.checks import DOMAINS_HINT, is_address


@register(Tags.security)
def check_report_domains(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_REPORT_DOMAINS lists domains of e-mail addresses."""
    for domain in settings.PORTAL_REPORT_DOMAINS:
        if not is_address(f"report@{domain}"):
            yield Error(
                f"PORTAL_REPORT_DOMAINS contains {domain!r}, which is not a domain.",
                hint=DOMAINS_HINT,
                id="portal.E034",
            )


@register()
def check_report_file_size(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_REPORT_FILE_MB is a size that a mail may have."""
    if not 0 <= settings.PORTAL_REPORT_FILE_MB <= 50:
        yield Error(
            f"PORTAL_REPORT_FILE_MB is {settings.PORTAL_REPORT_FILE_MB}.",
            hint="Set it to 0 to 50: the largest file that a report attaches, in megabytes.",
            id="portal.E035",
        )
