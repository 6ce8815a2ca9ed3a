"""`manage.py roll_up`: write the roll-ups of days that lack them now, or compare all of them with the records."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from usage.models import SourceDay
from usage.rollups import NOT_ROLLED_UP, check_rollups, list_orphans, roll_up_next_day


class Command(BaseCommand):
    help = "Write the rollups of days stored before there were any, one short transaction each; may be stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="Write nothing; compare every rollup with the records and end with status 1 where one differs.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self.check_all()
            return
        day_count = 0
        while (day := roll_up_next_day()) is not None:
            day_count += 1
            if options["verbosity"] > 1:
                self.stdout.write(str(day))
        self.stdout.write(f"Rolled up {day_count:,} days; {count_waiting():,} left.")

    def check_all(self) -> None:
        """Compare day by day, each locked for the moment; raises CommandError with the number of days that differ."""
        differing = list(describe_differing_days())
        for line in differing:
            self.stdout.write(line)
        if waiting := count_waiting():
            self.stdout.write(f"{waiting:,} days are not rolled up yet; they are summarised from the records.")
        if differing:
            raise CommandError(f"{len(differing):,} days differ from their records.", returncode=1)
        if pruned := SourceDay.objects.filter(pruned_at__isnull=False).count():
            self.stdout.write(f"{pruned:,} days have no records to compare with: they were pruned.")
        self.stdout.write("Every rollup equals its records.")


def describe_differing_days() -> Iterator[str]:
    """Yield one line for each day whose roll-ups differ from its records, and for roll-ups of no day."""
    days = SourceDay.objects.order_by("source__slug", "day").select_related("source")
    for day in days.only("day", "source__slug").iterator():
        if differences := check_rollups(day.pk):
            rows = ", ".join(f"{count:,} rows of {name}" for name, count in differences.items())
            yield f"{day}: {rows} differ"
    for slug, on, name in list_orphans():
        yield f"{slug} {on}: rows of {name} belong to no day"


def count_waiting() -> int:
    """Return how many days are not rolled up yet."""
    return SourceDay.objects.filter(NOT_ROLLED_UP).count()
