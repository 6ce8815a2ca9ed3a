"""`manage.py prune`: show what is older than a month and would go, and with `--yes` drop and delete it."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from sync.pruning import PruningPreview, preview, prune
from usage.formatting import format_count, format_size
from usage.partitions import Month
from usage.pruning import Obstacle, PruningRefused, TablesBusy, get_latest_month

MAX_NAMED_DAYS: Final = 20
MONTH: Final = re.compile(r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])")


class Command(BaseCommand):
    help = (
        "Show which months of usage, attempts, runs, rejected records, incidents and expired sessions would go, and "
        "with --yes drop and delete them. Days, digests and roll-ups stay. Exit status 1 if a day is not final."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_month_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        before = parse_month(options["before"])
        pruning = preview(before)
        for line in describe_preview(pruning, before):
            self.stdout.write(line)
        if pruning.obstacles:
            raise CommandError(describe_obstacles(pruning.obstacles))
        if not options["yes"]:
            self.stdout.write("Nothing was changed. Add --yes to drop and delete this; it cannot be undone.")
            return
        try:
            deleted = prune(before)
        except PruningRefused as error:
            raise CommandError(describe_obstacles(error.obstacles)) from None
        except TablesBusy as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"Dropped {format_count(len(pruning.partitions), 'table')}; deleted {describe_rows(deleted)}."
        )


def add_month_arguments(parser: CommandParser) -> None:
    """Add the arguments of a command that removes old months."""
    parser.add_argument("--before", required=True, metavar="MONTH", help="The first month to keep, e.g. 2025-01.")
    parser.add_argument("--yes", action="store_true", help="Do it; without, nothing is changed.")


def parse_month(text: str, name: str = "--before") -> Month:
    """Return the first day of a month; raises CommandError for another text, and for a month that is not over.

    `name`: the argument.
    """
    match = MONTH.fullmatch(text)
    if match is None or match["year"] == "0000":
        raise CommandError(f"{name}: “{text}” is not a month; give a year and a month, e.g. 2025-01.")
    month, latest = date(int(match["year"]), int(match["month"]), 1), get_latest_month(timezone.now())
    if month > latest:
        raise CommandError(f"{name}: {text} is too late; {latest:%Y-%m} is the latest, as earlier months are over.")
    return month


def describe_preview(pruning: PruningPreview, before: Month) -> Iterator[str]:
    """Yield a line for each table, then the counts of other rows."""
    yield f"Records and revisions of the months before {before:%Y-%m} (their days, digests and roll-ups stay):"
    yield from describe_partitions(pruning)
    yield f"Older rows: {describe_rows(pruning.rows)}."


def describe_partitions(pruning: PruningPreview) -> Iterator[str]:
    """Yield a line for each table, and their total."""
    for partition in pruning.partitions:
        size = format_size(partition.bytes)
        rows = "" if partition.rows is None else f"about {format_count(partition.rows, 'row')}, "
        yield f"  {partition.month:%Y-%m}  {partition.table}: {rows}{size}"
    size = format_size(sum(partition.bytes for partition in pruning.partitions))
    tables = ", ".join(filter(None, (format_count(len(pruning.partitions), "table"), size)))
    days = ", ".join(f"{source} {number:,}" for source, number in pruning.days.items())
    yield f"  {tables}; days by source: {days or 'none'}"


def describe_rows(rows: dict[str, int]) -> str:
    """Return e.g. `12 attempts, 3 runs`."""
    return ", ".join(f"{number:,} {name}" for name, number in rows.items())


def describe_obstacles(obstacles: list[Obstacle]) -> str:
    """Return which days prevent it, the earliest by name, and what to do."""
    return (
        f"Refused: {format_count(len(obstacles), 'day')} of these months may still change.\n"
        f"{name_obstacles(obstacles)}\n"
        "Sync them until they are final, or accept their findings; `manage.py roll_up` writes missing roll-ups."
    )


def name_obstacles(obstacles: list[Obstacle]) -> str:
    """Return a line for each of the earliest days, and how many more there are."""
    more = len(obstacles) - MAX_NAMED_DAYS
    lines = [f"  {obstacle}" for obstacle in obstacles[:MAX_NAMED_DAYS]] + [f"  and {more:,} more"] * (more > 0)
    return "\n".join(lines)
