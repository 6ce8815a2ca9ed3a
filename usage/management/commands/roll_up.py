"""`manage.py roll_up`: write the rollups of days that lack them now, or compare all of them with the records."""

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from usage.models import SourceDay
from usage.rollups import check_day, ownerless, roll_up_next, to_roll_up


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
        done = 0
        while (day := roll_up_next()) is not None:
            done += 1
            if options["verbosity"] > 1:
                self.stdout.write(str(day))
        self.stdout.write(f"Rolled up {done:,} days; {lacking():,} left.")

    def check_all(self) -> None:
        """Compare day by day, each held still for the moment; raises CommandError naming the days that differ."""
        wrong = list(differing_days())
        for line in wrong:
            self.stdout.write(line)
        if left := lacking():
            self.stdout.write(f"{left:,} days are not rolled up yet; they are asked from the records.")
        if wrong:
            raise CommandError(f"{len(wrong):,} days differ from their records.", returncode=1)
        self.stdout.write("Every rollup equals its records.")


def differing_days() -> Iterator[str]:
    """Yield one line per day whose rollups are not what its records add up to."""
    days = SourceDay.objects.order_by("source__slug", "day").select_related("source")
    for day in days.only("day", "source__slug").iterator():
        if found := check_day(day.pk):
            rows = ", ".join(f"{count:,} rows of {name}" for name, count in found.items())
            yield f"{day}: {rows} differ"
    for slug, on, name in ownerless():
        yield f"{slug} {on}: rows of {name} belong to no day"


def lacking() -> int:
    """Return how many days no rollup holds yet."""
    return SourceDay.objects.filter(to_roll_up()).count()
