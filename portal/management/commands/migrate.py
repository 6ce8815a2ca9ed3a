"""`manage.py migrate`: Django's command, as the owner of the audit log, while workers wait and requests continue.

In the end it makes the views for reports.
"""

import time
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as DjangoCommand
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from psycopg.errors import LockNotAvailable

from portal.accounts.audit.owner import assign_tables, connect_as_owner
from usage.reporting.schema import SchemaRefused, take_views, write_views
from usage.schema_state import change_schema, compare_schema

# A change of a table waits so long for the users of the table, and all later users wait behind it. Where an export
# locks the table for longer, the change is tried again after a pause, in which they continue.
LOCK_SECONDS = 2
PAUSE_SECONDS = 2
TRIES = 60


class Command(DjangoCommand):
    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate; then set the owner of every table and view."""
        application = connection.settings_dict["USER"]
        with connect_as_owner() as has_owner, change_schema(self.stdout.write):
            self.migrate(*args, **options)
            if has_owner:
                assign_tables(application)
                take_views()

    def migrate(self, *args: Any, **options: Any) -> None:
        """Apply the migrations, again where a migration did not get a table; what was applied before stays."""
        tries_left = TRIES
        while True:
            try:
                with connection.execute_wrapper(limit_lock_wait):
                    super().handle(*args, **options)
                    if not options["plan"]:
                        self.write_views()
                return
            except OperationalError as error:
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
                tries_left -= 1
                if not tries_left:
                    raise CommandError("A table is in use for too long, such as by an export: run it again.") from error
            self.stdout.write("A table is in use; trying again …")
            time.sleep(PAUSE_SECONDS)

    def write_views(self) -> None:
        """Make the views for reports, unless the schema is not that of the code: `migrate` may have a target."""
        if compare_schema(frozenset(MigrationRecorder(connection).applied_migrations())):
            return
        try:
            if write_views():
                self.stdout.write("The views for reports were made.")
        except SchemaRefused as error:
            self.stderr.write(str(error))


def limit_lock_wait(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Bound how long a statement of a transaction waits for a lock."""
    # Before it is rolled back to a savepoint, a transaction that failed takes no other statement.
    if context["connection"].in_atomic_block and not sql.startswith("ROLLBACK"):
        context["cursor"].cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS * 1000:.0f}ms'")
    return execute(sql, params, many, context)
