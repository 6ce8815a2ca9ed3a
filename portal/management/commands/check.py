"""`manage.py check`: Django's command, with the database checks if the database answers."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.commands.check import Command as DjangoCommand
from django.db import DatabaseError, connection


class Command(DjangoCommand):
    def check(self, *args: Any, **options: Any) -> None:
        """Run the checks, including those of stored data, such as credentials that no key decrypts."""
        super().check(*args, **options | {"databases": options.get("databases") or list_answering_databases()})


def list_answering_databases() -> list[str]:
    """Return the alias of the database if it answers; if not, that is no error of the settings."""
    try:
        connection.ensure_connection()
    except (DatabaseError, ImproperlyConfigured):
        return []
    return [connection.alias]
