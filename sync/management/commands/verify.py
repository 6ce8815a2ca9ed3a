"""`manage.py verify`: check every stored day, and read days that differ again."""

from collections.abc import Iterator
from datetime import date
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import QuerySet

from sync.engine.load import load_next
from sync.engine.plan import reread
from sync.engine.scrub import record_check
from sync.errors import SyncError
from sync.management.commands.sync import select_sources
from sync.models import SyncRun, Trigger
from usage.formatting import format_count
from usage.integrity import Mismatch, check_day
from usage.models import Source, SourceDay


class Command(BaseCommand):
    help = "Compare the records of every day with its digest, sums and roll-ups. Exit status 1 if a day differs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SOURCE", help="Sources to check; default: all of them.")
        parser.add_argument("--from", dest="from_day", type=date.fromisoformat, help="First day, e.g. 2026-11-01.")
        parser.add_argument("--to", dest="to_day", type=date.fromisoformat, help="The day after the last one.")
        parser.add_argument("--repair", action="store_true", help="Read days that differ again, and check them anew.")

    def handle(self, *args: Any, **options: Any) -> None:
        sources = select_sources(options["slugs"]) if options["slugs"] else list(Source.objects.all())
        days = select_days(sources, options["from_day"], options["to_day"])
        self.report_pruned(days)
        checked, wrong = 0, []
        for day, mismatches in check_days(list(days.filter(pruned_at=None))):
            checked += 1
            if mismatches:
                wrong.append((day, mismatches))
                self.stdout.write(f"{day}: {'; '.join(map(str, mismatches))}")
        if wrong and options["repair"]:
            wrong = self.repair(wrong)
        if wrong:
            raise CommandError(f"{len(wrong):,} of {checked:,} days differ from what was read.", returncode=1)
        self.stdout.write(f"{checked:,} days checked: every one is stored as it was read.")

    def report_pruned(self, days: QuerySet[SourceDay]) -> None:
        """Print of how many days there is nothing to check."""
        if pruned := days.filter(pruned_at__isnull=False).count():
            self.stdout.write(f"{format_count(pruned, 'day')} skipped: the records were pruned.")

    def repair(self, wrong: list[tuple[SourceDay, list[Mismatch]]]) -> list[tuple[SourceDay, list[Mismatch]]]:
        """Read the days again, here and now; returns those that still differ."""
        for day, mismatches in wrong:
            record_check(day, mismatches)
        by_source = groupby((day for day, _ in wrong), key=attrgetter("source"))
        for source, days in by_source:
            try:
                runs = reread(days, Trigger.CHECK)
            except SyncError as error:  # the other sources are still repaired
                self.stdout.write(f"{source}: {error.reason}")
                continue
            for run in runs:
                self.read_run(run)
        left = [(day, mismatches) for day, mismatches in check_days([day for day, _ in wrong]) if mismatches]
        for day, mismatches in left:
            self.stdout.write(f"{day} still differs: {'; '.join(map(str, mismatches))}")
        return left

    def read_run(self, run: SyncRun) -> None:
        """Read the days of a run, and print how each ended."""
        while (attempt := load_next(run.source_id, run=run)) is not None:
            outcome = attempt.get_outcome_display().lower()
            self.stdout.write(f"{attempt.source_day}: {outcome}. {attempt.error}".strip())


def select_days(sources: list[Source], first: date | None, end: date | None) -> QuerySet[SourceDay]:
    """Return the stored days of `[first, end)`, source by source."""
    days = SourceDay.objects.filter(source__in=sources, loaded_at__isnull=False).select_related("source")
    if first is not None:
        days = days.filter(day__gte=first)
    if end is not None:
        days = days.filter(day__lt=end)
    return days.order_by("source__slug", "day")


def check_days(days: list[SourceDay]) -> Iterator[tuple[SourceDay, list[Mismatch]]]:
    """Yield each day with its mismatches; days of a vendor that is no longer known are left out."""
    for day in days:
        mismatches = check_day(day.pk)
        if mismatches is not None:
            yield day, mismatches
