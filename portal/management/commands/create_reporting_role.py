"""`manage.py create_reporting_role`: make or change a role of the database that reads the views for reports."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from portal.accounts.audit.owner import connect_as_owner
from portal.management.commands.create_token import get_sources
from usage.management.arguments import build_number_type
from usage.models import PersonNames, ReportingRole
from usage.reporting.roles import RoleLimits, RoleRefused, change_role, create_role
from usage.reporting.schema import SchemaRefused, write_views

# Of PostgreSQL; 0 seconds would be no limit.
MAX_SECONDS = 2_147_483
MAX_CONNECTIONS = 262_143


class Command(BaseCommand):
    help = (
        "Make a role of the database that may read the views of the schema reporting, and nothing else. Its password "
        "is printed once, alone on standard output. Of a role that there is, change the sources or names as given."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="The role's name: small letters, digits and _.")
        sources = parser.add_mutually_exclusive_group()
        sources.add_argument(
            "--source", action="append", metavar="SLUG", help="Limit it to sources; repeat for several."
        )
        sources.add_argument("--all-sources", action="store_true", help="Show it all sources. Default of a new role.")
        parser.add_argument(
            "--names",
            choices=PersonNames.values,
            help="What stands for people: at most what PORTAL_PERSON_NAMES says. Default of a new role: none.",
        )
        limits = RoleLimits()
        parser.add_argument(
            "--seconds",
            type=build_number_type(1, MAX_SECONDS),
            default=limits.seconds,
            help=f"How long a statement of a new role may take. Default: {limits.seconds}.",
        )
        parser.add_argument(
            "--connections",
            type=build_number_type(1, MAX_CONNECTIONS),
            default=limits.connections,
            help=f"How many connections a new role may have. Default: {limits.connections}.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with connect_as_owner():
            try:
                write_views()
                self.save_role(**options)
            except ValidationError as error:
                raise CommandError(" ".join(error.messages)) from None
            except (RoleRefused, SchemaRefused) as error:
                raise CommandError(str(error)) from None

    def save_role(self, *, name: str, source: list[str] | None, names: str | None, **options: Any) -> None:
        sources = get_sources(source) if source else None
        role = ReportingRole.objects.filter(name=name).first()
        if role is not None:
            limited = sources is not None or (role.limited and not options["all_sources"])
            change_role(role, sources=sources, limited=limited, names=names or role.person_names)
            self.stderr.write(f"Changed {name}. Its password and limits are as they were.", self.style.SUCCESS)
            return
        limits = RoleLimits(options["seconds"], options["connections"])
        password = create_role(name, sources, names or PersonNames.NONE, limits)
        if not password:
            self.stderr.write(f"{name} may read the views. Its password and limits are as they were.")
            return
        self.stderr.write(f"Made {name}. Its password is shown this once:", self.style.SUCCESS)
        self.stdout.write(password)
