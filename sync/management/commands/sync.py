"""`manage.py sync`: read sources now, in the foreground, with a progress bar."""

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from time import sleep
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sync.engine.load import load_next
from sync.engine.plan import plan_now, request_sync, resume, today
from sync.errors import SyncError
from sync.models import SyncRun, SyncRunDay, Trigger
from usage.models import DayState, Source, SourceDay

POLL_SECONDS = 0.5


class Command(BaseCommand):
    help = "Read sources now, in the foreground. Exit status 1 if a day failed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SLUG", help="Sources to read; default: all enabled ones.")
        parser.add_argument("--from", dest="from_day", type=date.fromisoformat, help="First day, e.g. 2026-11-01.")
        parser.add_argument(
            "--to",
            dest="to_day",
            type=date.fromisoformat,
            help="The day after the last one (default: tomorrow).",
        )
        parser.add_argument(
            "--workers", type=int, default=0, help="Readers at once (default: what each source allows)."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        # The bar and the table tell what the log lines would; warnings still show.
        logging.getLogger("sync").setLevel(logging.WARNING)
        sources = chosen_sources(options["slugs"])
        runs = [run for source in sources if (run := self.start(source, options)) is not None]
        console = Console(width=None if sys.stdout.isatty() else 140)
        with progress_bar(console) as bar, ThreadPoolExecutor(max(len(runs), 1)) as pool:
            list(pool.map(lambda run: follow(run, bar, options["workers"]), runs))
        for run in runs:
            run.refresh_from_db()
        console.print(summary(runs))
        unfinished = [run for run in runs if run.days_failed or run.days_done < run.days_total]
        if unfinished:
            reasons = "\n".join(f"{run.source.slug}: {reason(run)}" for run in unfinished)
            raise CommandError(reasons, returncode=1)

    def start(self, source: Source, options: dict[str, Any]) -> SyncRun | None:
        """Ask for the days; a halted source gets another chance, since a person asked for it."""
        if source.halted_at is not None:
            resume(source)
            source.refresh_from_db()
        try:
            if options["from_day"] is None and options["to_day"] is None:
                return plan_now(source, Trigger.COMMAND)
            first = options["from_day"] or source.backfill_from
            end = options["to_day"] or date.fromordinal(today(source).toordinal() + 1)
            return request_sync(source, first, end, Trigger.COMMAND)
        except SyncError as error:
            raise CommandError(error.reason) from None


def chosen_sources(slugs: list[str]) -> list[Source]:
    """Return the sources named, or all enabled ones; raises CommandError for a name that does not exist."""
    if not slugs:
        return list(Source.objects.filter(enabled=True))
    found = {source.slug: source for source in Source.objects.filter(slug__in=slugs)}
    unknown = [slug for slug in slugs if slug not in found]
    if unknown:
        known = ", ".join(Source.objects.values_list("slug", flat=True)) or "none yet"
        raise CommandError(f"No source is named {', '.join(unknown)}; there are: {known}.")
    return [found[slug] for slug in slugs]


def progress_bar(console: Console) -> Progress:
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


def follow(run: SyncRun, bar: Progress, workers: int) -> None:
    """Read the run's days with as many threads as the source allows, until none waits."""
    task = bar.add_task(run.source.slug, total=run.days_total, records=0, rate=0)
    counted = 0

    def count(records: int) -> None:
        nonlocal counted
        counted += records
        elapsed = bar.tasks[task].elapsed or 0
        bar.update(task, records=counted, rate=counted / elapsed if elapsed else 0)

    def work(_: int) -> None:
        try:
            read_waiting(run, bar, task, count)
        finally:
            connection.close()

    threads = workers or run.source.max_concurrency
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    # In the worker threads' end their database connections were closed; this one is the caller's thread.
    connection.close()


def read_waiting(run: SyncRun, bar: Progress, task: Any, count: Any) -> None:
    """Load days of the run one after the other; wait for those that other workers hold."""
    while True:
        if load_next(run.source_id, run=run, progress=count) is None:
            if not worth_waiting(run):
                return
            sleep(POLL_SECONDS)
        done = SyncRun.objects.values_list("days_done", "days_failed").get(pk=run.pk)
        bar.update(task, completed=sum(done))


def worth_waiting(run: SyncRun) -> bool:
    """Tell whether days of the run still wait, and their source is neither halted nor paused."""
    waiting = SyncRunDay.objects.filter(run=run, outcome=SyncRunDay.Outcome.WAITING)
    source = Source.objects.get(pk=run.source_id)
    paused = source.paused_until is not None and source.paused_until > timezone.now()
    if source.halted_at is not None or not source.enabled:
        return False
    loading = SourceDay.objects.filter(run_days__in=waiting, state=DayState.LOADING).exists()
    return loading or (waiting.exists() and not paused)


def reason(run: SyncRun) -> str:
    """Return one sentence on why a run did not read all its days."""
    if run.cancelled_at is not None:
        return run.error
    failed = SyncRunDay.objects.filter(run=run, outcome=SyncRunDay.Outcome.FAILED).select_related("source_day")
    first = failed.order_by("source_day__day").first()
    if first is None:
        return f"{run.days_total - run.days_done} days wait: the vendor keeps failing and is left alone for a while."
    why = first.source_day.error or run.error
    return f"{run.days_failed} of {run.days_total} days failed; {first.source_day.day}: {why}"


def summary(runs: list[SyncRun]) -> Table:
    """Return the table that ends the command."""
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
