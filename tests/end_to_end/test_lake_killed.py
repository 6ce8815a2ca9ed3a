"""A publisher that is killed leaves a readable lake, and the next one catches up."""

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.factories import EnvironmentUsageFactory, SourceDayFactory, SourceFactory
from tests.support.forks import CommandForks, command_forks
from tests.support.lake import assert_lake_matches, export_rows, lake_folder, read_usage  # noqa: F401
from tests.support.processes import wait_for
from usage.lake.catalog import open_lake
from usage.lake.publish import publish
from usage.models import EnvironmentUsage, Source

pytestmark = pytest.mark.django_db(transaction=True)
DAYS = 20
# A file that is there from then on, and never before: data, the commit of usage, the commit of `days`.
MOMENTS = ("environment_usage/data/**/*.parquet", "environment_usage/metadata/snap-*.avro", "days/data/**/*.parquet")


def hold_days(source: Source) -> None:
    for number in range(DAYS):
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)
        EnvironmentUsageFactory(source=source, stopped_at=start + timedelta(hours=1))
        about = {"complete": True, "loaded_at": start + timedelta(days=2), "state": "loaded", "records": 1}
        SourceDayFactory(source=source, day=start.date(), starts_at=start, **about)


def kill_publisher(forks: CommandForks, folder: Path, moment: str) -> None:
    """Start a publisher and kill it once a new file of this pattern is there."""
    before = set((folder / "usage").glob(moment))
    with forks.run("publish") as publisher:
        wait_for(lambda: set((folder / "usage").glob(moment)) - before or publisher.poll() is not None)
        publisher.kill_all()
        assert publisher.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_publisher_leaves_a_readable_lake_and_the_next_catches_up(lake_folder: Path) -> None:  # noqa: F811
    hold_days(SourceFactory(vendor="ona"))
    with command_forks("usage.lake.publish", PORTAL_LAKE_URL=f"file://{lake_folder}") as forks:
        for moment in MOMENTS:
            kill_publisher(forks, lake_folder, moment)
            with open_lake() as lake:
                assert read_usage(lake, EnvironmentUsage) in ([], export_rows(EnvironmentUsage))
    publish()
    assert_lake_matches()
