"""`manage.py remove_reporting_role`: remove a role of the database that reads the views for reports."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.accounts.audit.owner import connect_as_owner
from usage.models import ReportingRole
from usage.reporting.roles import RoleRefused, remove_role


class Command(BaseCommand):
    help = "Remove a role that create_reporting_role made. Its sessions see nothing any more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="The role's name.")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect_as_owner():
            role = ReportingRole.objects.filter(name=options["name"]).first()
            if role is None:
                raise CommandError(f"There is no reporting role {options['name']}.")
            try:
                remove_role(role)
            except RoleRefused as error:
                raise CommandError(str(error)) from None
        self.stdout.write(f"Removed {options['name']}.")
