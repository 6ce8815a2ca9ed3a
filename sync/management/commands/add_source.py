"""`add_source`: set up an account at a vendor from the command line."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError

from sync.errors import SyncError
from sync.sources import build_source, parse_options
from sync.vendors import readers
from usage.management.arguments import parse_date


class Command(BaseCommand):
    help = "Add a source: one account at one vendor. What is left out comes from the vendor."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="its name in addresses and commands, e.g. main-account")
        parser.add_argument("vendor", choices=sorted(readers()))
        parser.add_argument("--credential-env", required=True, metavar="VAR", help="variable that holds the credential")
        parser.add_argument("--base-url", default="", metavar="URL", help="where the vendor's API begins")
        parser.add_argument("--time-zone", default="", metavar="ZONE", help="zone of the source's days")
        parser.add_argument(
            "--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the vendor"
        )
        parser.add_argument("--backfill-from", type=parse_date, metavar="DAY", help="first day; 90 days ago")
        parser.add_argument("--look-back-days", type=int, metavar="N", help="days that stay provisional")
        parser.add_argument("--max-concurrency", type=int, metavar="N", help="workers that may read it at once")
        parser.add_argument("--requests-per-minute", type=int, metavar="N", help="over all workers")

    def handle(self, *args: Any, **options: Any) -> None:
        fields = ("slug", "vendor", "credential_env", "base_url", "time_zone", "backfill_from")
        values = {name: options[name] for name in fields}
        for name in ("look_back_days", "max_concurrency", "requests_per_minute"):
            if options[name] is not None:
                values[name] = options[name]
        try:
            values["options"] = parse_options(readers()[options["vendor"]], options["option"])
            source = build_source(**values)
        except ValidationError as error:
            raise CommandError(format_errors(error)) from None
        except SyncError as error:
            raise CommandError(error.reason) from None
        source.save()
        self.stdout.write(f"{source.slug} is added; it is read from {source.backfill_from} on, with the next tick.")


def format_errors(error: ValidationError) -> str:
    """Return the messages of an error, each behind the option it is about."""
    return "\n".join(
        f"--{field.replace('_', '-')}: {message}"
        for field, messages in error.message_dict.items()
        for message in messages
    )
