"""`manage.py verify`: check every stored day, archived days in the lake, and read days that differ again."""

from collections.abc import Iterator
from datetime import date
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count, Q, QuerySet

from sync.engine.load import load_next
from sync.engine.plan import reread
from sync.engine.scrub import record_check
from sync.errors import SyncError
from sync.management.commands.sync import select_sources
from sync.models import SyncRun, Trigger
from usage.data_quality import VENDOR_KINDS
from usage.formatting import format_count
from usage.integrity import Mismatch, check_day
from usage.lake import LakeUnavailable, require_lake
from usage.management.arguments import parse_date
from usage.models import Source, SourceDay


class Command(BaseCommand):
    help = (
        "Compare the records of every day with its digest, sums and roll-ups, those of archived days in the lake. "
        "Exit status 1 if a day differs or cannot be checked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SOURCE", help="Sources to check; default: all of them.")
        parser.add_argument("--from", dest="from_day", type=parse_date, help="First day, e.g. 2026-11-01.")
        parser.add_argument("--to", dest="to_day", type=parse_date, help="The day after the last.")
        parser.add_argument("--repair", action="store_true", help="Read days that differ again, and check them anew.")

    def handle(self, *args: Any, **options: Any) -> None:
        first, end = options["from_day"], options["to_day"]
        if first and end and first >= end:
            raise CommandError(f"--to: {end} must lie after --from {first}: it is the day after the last.")
        sources = select_sources(options["slugs"]) if options["slugs"] else list(Source.objects.all())
        days = select_days(sources, first, end)
        self.report_pruned(days)
        checked_count, mismatched_days = 0, []
        unchecked = list_unknown_vendors(days)
        days = days.filter(source__vendor__in=list(VENDOR_KINDS))
        stored_days, archived_days = days.filter(pruned_at=None), days.filter(archived_at__isnull=False)
        try:
            for day, mismatches in chain(check_days(list(stored_days)), check_archived_days(list(archived_days))):
                checked_count += 1
                if mismatches:
                    mismatched_days.append((day, mismatches))
                    self.stdout.write(f"{day}: {'; '.join(map(str, mismatches))}")
        except LakeUnavailable as error:
            unchecked.append(f"Archived days could not be checked. {error}")
        if mismatched_days and options["repair"]:
            mismatched_days = self.repair(mismatched_days)
        if mismatched_days:
            unchecked.insert(0, f"{len(mismatched_days):,} of {checked_count:,} days differ from what was read.")
        if unchecked:
            raise CommandError(" ".join(unchecked))
        self.stdout.write(f"{checked_count:,} days checked: every one is stored as it was read.")

    def report_pruned(self, days: QuerySet[SourceDay]) -> None:
        """Print how many days have no records to check."""
        if pruned := days.filter(pruned_at__isnull=False, archived_at=None).count():
            self.stdout.write(f"{format_count(pruned, 'day')} skipped: the records were pruned.")

    def repair(self, wrong: list[tuple[SourceDay, list[Mismatch]]]) -> list[tuple[SourceDay, list[Mismatch]]]:
        """Read the days again, here and now; returns those that still differ. No read repairs what the lake has."""
        for day, mismatches in wrong:
            record_check(day, mismatches)
        stored = [day for day, _ in wrong if day.archived_at is None]
        by_source = groupby(stored, key=attrgetter("source"))
        for source, days in by_source:
            try:
                runs = reread(days, Trigger.CHECK)
            except SyncError as error:  # the other sources are still repaired
                self.stdout.write(f"{source}: {error.reason}")
                continue
            for run in runs:
                self.read_run(run)
        still_mismatched = [(day, mismatches) for day, mismatches in check_days(stored) if mismatches]
        for day, mismatches in still_mismatched:
            self.stdout.write(f"{day} still differs: {'; '.join(map(str, mismatches))}")
        return still_mismatched + [(day, mismatches) for day, mismatches in wrong if day.archived_at is not None]

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


def list_unknown_vendors(days: QuerySet[SourceDay]) -> list[str]:
    """Return a sentence for each source whose days nothing can check: its vendor's folder was removed."""
    unknown_days = days.filter(Q(pruned_at=None) | Q(archived_at__isnull=False)).exclude(
        source__vendor__in=list(VENDOR_KINDS)
    )
    counts = unknown_days.order_by("source__slug").values_list("source__slug", "source__vendor").annotate(Count("pk"))
    return [
        f"{format_count(count, 'day')} of {slug} could not be checked: the vendor {vendor} is not known here."
        for slug, vendor, count in counts
    ]


def check_days(days: list[SourceDay]) -> Iterator[tuple[SourceDay, list[Mismatch]]]:
    """Yield each day with its mismatches; a day that was pruned meanwhile is left out."""
    for day in days:
        mismatches = check_day(day.pk)
        if mismatches is not None:
            yield day, mismatches


def check_archived_days(days: list[SourceDay]) -> Iterator[tuple[SourceDay, list[Mismatch]]]:
    """Yield each archived day with its mismatches; raises LakeUnavailable where the lake cannot be read."""
    if not days:
        return
    require_lake()
    # The libraries that read the lake are an extra.
    from usage.lake.archive_tables import open_archive
    from usage.lake.check import check_archived_day

    with open_archive() as archive:
        for day in days:
            mismatches = check_archived_day(archive, day.pk)
            if mismatches is not None:
                yield day, mismatches
