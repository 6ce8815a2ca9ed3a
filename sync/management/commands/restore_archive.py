"""`manage.py restore_archive`: bring an archived month back from the lake."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.management.commands.prune import parse_month
from usage.formatting import format_count
from usage.lake import LakeUnavailable, require_lake


class Command(BaseCommand):
    help = "Bring the records and revisions of an archived month back from the lake, as they were; then it can be read."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("month", metavar="MONTH", help="The month, e.g. 2025-01.")

    def handle(self, *args: Any, **options: Any) -> None:
        month = parse_month(options["month"], name="MONTH")
        try:
            require_lake()
            # The libraries that read the lake are an extra.
            from usage.lake.restore import RestoringRefused, restore_month
        except LakeUnavailable as error:
            raise CommandError(str(error)) from None
        try:
            days = restore_month(month)
        except (LakeUnavailable, RestoringRefused) as error:
            raise CommandError(f"{error} Nothing was brought back.") from None
        self.stdout.write(f"{month:%Y-%m} restored: {format_count(days, 'day')}.")
