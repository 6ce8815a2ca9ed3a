"""Django's mail backend, which reports recipients that a mail server refuses among others."""

import smtplib
from typing import Any

from django.core.mail.backends.smtp import EmailBackend


class SomeRefused(smtplib.SMTPException):
    """A mail was accepted, but not for these `recipients`."""

    def __init__(self, recipients: list[str]) -> None:
        super().__init__(", ".join(recipients))
        self.recipients = recipients


class RaiseRefused(smtplib.SMTP):
    """Raises what `sendmail` only returns, and Django ignores."""

    def sendmail(self, *args: Any, **options: Any) -> dict[str, tuple[int, bytes]]:
        """Send a mail; raises SomeRefused after it was accepted for some recipients and not for others."""
        if refused_recipients := super().sendmail(*args, **options):
            raise SomeRefused(sorted(refused_recipients))
        return {}


class RaiseRefusedTls(RaiseRefused, smtplib.SMTP_SSL):
    """The same, encrypted from the start."""


class MailBackend(EmailBackend):
    """Raises SomeRefused where Django silently drops recipients."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return RaiseRefusedTls if self.use_ssl else RaiseRefused
