"""Start-up checks of the settings of reports."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.exceptions import ValidationError
from django.core.validators import validate_email


@register(Tags.security)
def check_report_domains(**_: Any) -> Iterator[CheckMessage]:
    """PORTAL_REPORT_DOMAINS lists domains of e-mail addresses."""
    for domain in settings.PORTAL_REPORT_DOMAINS:
        try:
            validate_email(f"report@{domain}")
        except ValidationError:
            yield Error(
                f"PORTAL_REPORT_DOMAINS contains {domain!r}, which is not a domain.",
                hint="List what stands behind the @ of e-mail addresses, with commas between: example.com,example.org.",
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
