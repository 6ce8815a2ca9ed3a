"""`manage.py new_key`: generate the two keys of a portal, in the format of `.env`."""

import secrets
from typing import Any

from cryptography.fernet import Fernet
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = (
        "Print a new SECRET_KEY and a new key for PORTAL_ENCRYPTION_KEYS. To change the encryption key, put the new "
        "one before the old: the first encrypts, all decrypt."
    )
    # The settings are not complete yet.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"SECRET_KEY={secrets.token_urlsafe(64)}")
        self.stdout.write(f"PORTAL_ENCRYPTION_KEYS={Fernet.generate_key().decode()}")
