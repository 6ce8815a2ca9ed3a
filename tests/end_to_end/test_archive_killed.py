"""A process that archives or restores a month may be killed at any step: nothing is lost, and the next run finishes."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from tests.support.api_clients import create_api_client, get
from tests.support.archived_month import month, read_everything  # noqa: F401
from tests.support.exports import download
from tests.support.forks import CommandForks, command_forks
from tests.support.lake import lake_folder  # noqa: F401
from tests.support.processes import wait_for
from usage.integrity import check_day
from usage.lake.archive_tables import open_archive
from usage.lake.check import check_archived_day
from usage.models import KINDS, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
ARCHIVE = ("archive", "--before", "2025-07", "--yes")
RESTORE = ("restore_archive", "2025-06")
# Steps after which PostgreSQL has the month, or still the lake alone; then the end of each command.
ARCHIVING = (
    "usage.lake.archive_tables:replace_rows",
    "usage.lake.archive:prove_month",
    "usage.lake.archive:store_digests",
    "usage.pruning:drop_partitions",
)
RESTORING = ("usage.lake.restore:restore_day", "usage.lake.restore:prove_days")
ARCHIVED = "sync.management.commands.archive:format_count"
RESTORED = "sync.management.commands.restore_archive:format_count"
GROUPS = {"environment-usage": "day,project_id", "resource-usage": "day,resource_type", "recipe-usage": "day"}


@pytest.fixture
def forks(lake_folder: Path) -> Iterator[CommandForks]:  # noqa: F811
    """Processes that publish to the lake."""
    modules = ("tests.support.lake_vendors", "usage.lake.archive", "usage.lake.restore")
    with command_forks(*modules, PORTAL_LAKE_URL=f"file://{lake_folder}") as forks:
        yield forks


def read_responses(client: Client) -> dict[str, Any]:
    """Return sums and exports of all kinds."""
    span = {"from": "2025-06-28", "to": "2025-07-01"}
    sums = {kind: get(client, f"{kind}/summary/", group_by=GROUPS[kind], **span)["results"] for kind in KINDS}
    return sums | {f"{kind}.csv": download(client, kind, format="csv", **span) for kind in KINDS}


def count_archived() -> int:
    """Return how many days are archived, each with the digest that all checks agree with."""
    is_archived_by_day = {
        pk: archived_at is not None for pk, archived_at in SourceDay.objects.values_list("pk", "archived_at")
    }
    assert len(is_archived_by_day) == 9
    with open_archive() as archive:
        for pk, is_archived in is_archived_by_day.items():
            assert (check_archived_day(archive, pk) if is_archived else check_day(pk)) == []
    return sum(is_archived_by_day.values())


def has_locks() -> bool:
    """Return whether another connection to the database holds a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE pid <> pg_backend_pid() "
            "AND datname = current_database() AND backend_type = 'client backend'"
        )
        return bool(cursor.fetchone()[0])


def kill(forks: CommandForks, command: tuple[str, ...], step: str) -> None:
    """Kill a command after a step, which leaves no lock."""
    with forks.run(*command, kill_after=step) as process:
        assert process.wait() == -signal.SIGKILL, step
    wait_for(lambda: not has_locks(), "PostgreSQL to notice that the process is gone")


@pytest.mark.slow
@pytest.mark.usefixtures("month")
def test_archive_and_restore_killed_at_any_step_lose_nothing_and_the_next_run_goes_on(forks: CommandForks) -> None:
    client, stored = create_api_client(), read_everything()
    responses = read_responses(client)
    assert all(responses.values())
    for step in ARCHIVING:
        kill(forks, ARCHIVE, step)
        assert (count_archived(), read_everything(), read_responses(client)) == (0, stored, responses), step
    kill(forks, ARCHIVE, ARCHIVED)
    for step in RESTORING:
        assert (count_archived(), read_responses(client)) == (9, responses), step
        kill(forks, RESTORE, step)
    assert (count_archived(), read_responses(client)) == (9, responses)
    kill(forks, RESTORE, RESTORED)
    assert (count_archived(), read_everything(), read_responses(client)) == (0, stored, responses)
