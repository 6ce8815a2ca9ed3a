"""`manage.py sync`: read sources now, in the foreground, with a progress bar."""

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from time import sleep
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sync.engine.claim import get_database_time, is_paused
from sync.engine.clamp import clamp_waits
from sync.engine.connect import find_misconfiguration
from sync.engine.failures import halt_source
from sync.engine.load import load_next
from sync.engine.names import read_names, request_names
from sync.engine.plan import check_range, plan_now, request_sync, resume
from sync.errors import SyncError
from sync.models import SyncRun, SyncRunDay, Trigger
from usage.days import get_today
from usage.formatting import format_count
from usage.management.arguments import build_number_type, parse_date
from usage.models import DayState, Source, SourceDay

POLL_SECONDS = 0.5
MAX_WORKERS = 100


@contextmanager
def show_only_warnings() -> Iterator[None]:
    """Log no lines about days and runs for the time of the block: the bar and the table replace them."""
    logger = logging.getLogger("sync")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


class Command(BaseCommand):
    help = "Read sources now, in the foreground. Exit status 1 if a day failed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SLUG", help="Sources to read; default: all enabled sources.")
        parser.add_argument("--from", dest="from_day", type=parse_date, help="First day, e.g. 2026-11-01.")
        parser.add_argument(
            "--to",
            dest="to_day",
            type=parse_date,
            help="The day after the last (default: tomorrow).",
        )
        parser.add_argument(
            "--names", action="store_true", help="Read the names of the sources' ids in place of usage."
        )
        parser.add_argument(
            "--workers",
            type=build_number_type(1, MAX_WORKERS),
            help="Readers of each source at once (default: what the source allows).",
        )

    @show_only_warnings()
    def handle(self, *args: Any, **options: Any) -> None:
        clamp_waits()
        sources = select_sources(options["slugs"])
        if options["names"]:
            self.read_all_names(sources, options)
            return
        runs, refusals = self.start_all(sources, options)
        console = Console(width=None if sys.stdout.isatty() else 140)
        with build_progress_bar(console) as bar, ThreadPoolExecutor(max(len(runs), 1)) as pool:
            list(pool.map(lambda run: read_run(run, bar, options["workers"]), runs))
        for run in runs:
            run.refresh_from_db()
        if runs:
            console.print(build_summary(runs))
        unfinished = [run for run in runs if run.days_failed or run.days_done < run.days_total]
        refusals += [f"{run.source.slug}: {describe_failure(run)}" for run in unfinished]
        if refusals:
            raise CommandError("\n".join(refusals))

    def read_all_names(self, sources: list[Source], options: dict[str, Any]) -> None:
        """Read the names of every source; raises CommandError where any cannot be read."""
        if options["from_day"] is not None or options["to_day"] is not None:
            raise CommandError("--names reads the names of today: leave --from and --to out.")
        refusals = []
        for source in sources:
            try:
                request_names(source, Trigger.COMMAND)
                run = read_names(source.pk)
            except SyncError as error:
                refusals.append(f"{source.slug}: {error.reason}")
                continue
            if run is None or run.finished_at is None:
                refusals.append(f"{source.slug}: another worker reads its names, or the source is paused.")
            elif run.error:
                refusals.append(f"{source.slug}: {run.error}")
            else:
                changes = f"{run.inserted:,} new, {run.changed:,} changed, {run.withdrawn:,} gone"
                self.stdout.write(f"{source.slug}: {format_count(run.fetched, 'name')}: {changes}.")
        if refusals:
            raise CommandError("\n".join(refusals))

    def start_all(self, sources: list[Source], options: dict[str, Any]) -> tuple[list[SyncRun], list[str]]:
        """Start a run of every source; returns the runs, and why other sources cannot be read."""
        runs, refusals = [], []
        for source in sources:
            try:
                run = self.start(source, options)
            except SyncError as error:
                refusals.append(f"{source.slug}: {error.reason}")
                continue
            if run is not None:
                runs.append(run)
        return runs, refusals

    def start(self, source: Source, options: dict[str, Any]) -> SyncRun | None:
        """Start a run of one source; a halted source is resumed, since a person requests it. Raises SyncError."""
        if error := find_misconfiguration(source):
            halt_source(source, error)
            raise error
        days = get_days(source, options["from_day"], options["to_day"])
        if days is not None:
            check_range(source, *days)  # before the source is resumed
        if source.halted_at is not None:
            resume(source)
            source.refresh_from_db()
        return plan_now(source, Trigger.COMMAND) if days is None else request_sync(source, *days, Trigger.COMMAND)


def get_days(source: Source, first: date | None, end: date | None) -> tuple[date, date] | None:
    """Return the days `[first, end)` of a source, an open side closed; None where both are open."""
    if first is None and end is None:
        return None
    return first or source.backfill_from, end or get_today(source.zone, get_database_time()) + timedelta(days=1)


def select_sources(slugs: list[str]) -> list[Source]:
    """Return the sources with these slugs, or all enabled sources; raises CommandError for an unknown slug."""
    if not slugs:
        return list(Source.objects.filter(enabled=True))
    by_slug = {source.slug: source for source in Source.objects.filter(slug__in=slugs)}
    unknown = [slug for slug in slugs if slug not in by_slug]
    if unknown:
        existing = ", ".join(Source.objects.values_list("slug", flat=True)) or "none yet"
        raise CommandError(f"No source is named {', '.join(unknown)}; there are: {existing}.")
    return [by_slug[slug] for slug in dict.fromkeys(slugs)]


def build_progress_bar(console: Console) -> Progress:
    """Return the bar: a line per source with days, records, records a second and the time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} days"),
        TextColumn("{task.fields[records]:,} records"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def read_run(run: SyncRun, bar: Progress, workers: int | None) -> None:
    """Read the run's days with as many threads as the source allows, until none waits."""
    task = bar.add_task(run.source.slug, total=run.days_total, records=0, rate=0)
    records_read = 0

    def count(records: int) -> None:
        nonlocal records_read
        records_read += records
        elapsed = bar.tasks[task].elapsed or 0
        bar.update(task, records=records_read, rate=records_read / elapsed if elapsed else 0)

    def work(_: int) -> None:
        try:
            read_waiting(run, bar, task, count)
        finally:
            connection.close()

    threads = workers or run.source.max_concurrency
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    # The worker threads closed their own connections; this is that of the calling thread.
    connection.close()


def read_waiting(run: SyncRun, bar: Progress, task: Any, count: Any) -> None:
    """Load days of the run one after the other; wait for days that other workers are reading."""
    while True:
        if load_next(run.source_id, run=run, progress=count) is None:
            if not has_days_to_come(run):
                return
            sleep(POLL_SECONDS)
        done = SyncRun.objects.values_list("days_done", "days_failed").get(pk=run.pk)
        bar.update(task, completed=sum(done))


def has_days_to_come(run: SyncRun) -> bool:
    """Return whether days of the run are still read: some wait, and their source is neither halted nor paused."""
    waiting_run_days = SyncRunDay.objects.filter(run=run, outcome=SyncRunDay.Outcome.WAITING)
    source = Source.objects.get(pk=run.source_id)
    if source.halted_at is not None or not source.enabled:
        return False
    is_loading = SourceDay.objects.filter(run_days__in=waiting_run_days, state=DayState.LOADING).exists()
    return is_loading or (waiting_run_days.exists() and not is_paused(source))


def describe_failure(run: SyncRun) -> str:
    """Return why a run did not read all its days, in one sentence."""
    if run.cancelled_at is not None:
        return run.error
    failed_days = SyncRunDay.objects.filter(run=run, outcome=SyncRunDay.Outcome.FAILED).select_related("source_day")
    first = failed_days.order_by("source_day__day").first()
    if first is None:
        return f"{run.days_total - run.days_done} days wait: the vendor keeps failing and is left alone for a while."
    reason = first.source_day.error or run.error
    return f"{run.days_failed} of {run.days_total} days failed; {first.source_day.day}: {reason}"


def build_summary(runs: list[SyncRun]) -> Table:
    """Return the table that the command ends with."""
    table = Table(title="Synced")
    for heading in (
        "source",
        "days",
        "failed",
        "fetched",
        "inserted",
        "changed",
        "unchanged",
        "withdrawn",
        "rejected",
    ):
        table.add_column(heading, justify="left" if heading == "source" else "right")
    for heading in ("requests", "retries", "seconds"):
        table.add_column(heading, justify="right")
    for run in runs:
        counts = (
            run.fetched,
            run.inserted,
            run.changed + run.returned,
            run.unchanged,
            run.withdrawn,
            run.rejected,
            run.requests,
            run.retries,
        )
        wall = ((run.finished_at or timezone.now()) - run.created_at).total_seconds()
        table.add_row(
            run.source.slug,
            f"{run.days_done}/{run.days_total}",
            str(run.days_failed),
            *(f"{count:,}" for count in counts),
            f"{wall:.1f}",
        )
    return table
