"""`manage.py list_reporting_roles`: list the roles of the database that read the views for reports."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from usage.models import ReportingRole
from usage.reporting.roles import describe_role


class Command(BaseCommand):
    help = (
        "List the roles that may read the views of the schema reporting: sources, names, and what is wrong with them."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with connection.cursor() as cursor:
            for role in ReportingRole.objects.prefetch_related("sources"):
                self.stdout.write(describe_role(cursor, role))
