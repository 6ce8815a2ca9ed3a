"""`manage.py archive`: show which months would go to the lake alone, and with `--yes` archive them."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sync.management.commands.prune import (
    add_month_arguments,
    describe_obstacles,
    describe_partitions,
    name_obstacles,
    parse_month,
)
from sync.pruning import PruningPreview, preview
from usage.formatting import format_count
from usage.lake import LakeUnavailable, require_lake
from usage.partitions import Month
from usage.pruning import DaysChanged, PruningRefused, TablesBusy


class Command(BaseCommand):
    help = (
        "Show which months of usage would be kept in the lake alone, and with --yes archive them: publish each, read "
        "it back, compare it with the database, and only then drop it here. Exit status 1 if a day is not final or not "
        "in the lake as it is stored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_month_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        before = parse_month(options["before"])
        try:
            require_lake()
        except LakeUnavailable as error:
            raise CommandError(str(error)) from None
        pruning = preview(before)
        for line in describe_preview(pruning, before):
            self.stdout.write(line)
        if pruning.obstacles:
            raise CommandError(describe_obstacles(pruning.obstacles))
        if not options["yes"]:
            self.stdout.write(
                "Nothing was changed. Add --yes to archive this; manage.py restore_archive brings a month back."
            )
            return
        for month in sorted({partition.month for partition in pruning.partitions}):
            self.archive(month)

    def archive(self, month: Month) -> None:
        """Archive one month, and print it."""
        from usage.lake.archive import ArchivingRefused, archive_month

        try:
            days = archive_month(month)
        except PruningRefused as error:
            raise CommandError(describe_obstacles(error.obstacles)) from None
        except ArchivingRefused as error:
            text = f"Refused: {error} Nothing of this month was dropped.\n{name_obstacles(error.obstacles)}"
            raise CommandError(text.strip()) from None
        except (DaysChanged, LakeUnavailable, TablesBusy) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{month:%Y-%m} archived: {format_count(days, 'day')} found whole in the lake and dropped.")


def describe_preview(pruning: PruningPreview, before: Month) -> Iterator[str]:
    """Yield a line for each table."""
    yield f"Records and revisions of the months before {before:%Y-%m} (their days, digests and roll-ups stay here):"
    yield from describe_partitions(pruning)
