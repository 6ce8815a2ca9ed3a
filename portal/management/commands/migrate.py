"""`manage.py migrate`: Django's command, as the owner of the audit log where that is another role."""

from typing import Any

from django.core.management.commands.migrate import Command as DjangoCommand
from django.db import connection

from portal.accounts.audit.owner import assign_tables, connect_as_owner


class Command(DjangoCommand):
    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate; then give every table to its role."""
        application = connection.settings_dict["USER"]
        with connect_as_owner() as has_owner:
            super().handle(*args, **options)
            if has_owner:
                assign_tables(application)
