"""Archiving: a month leaves PostgreSQL only once the lake has all of it, whatever happens on the way."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client

from tests.support.api_clients import create_api_client, get
from tests.support.archivable_days import make_source, store_days
from tests.support.archived_month import FIRST, MONTH, NEXT_MONTH, SECOND, find_file, read_everything
from tests.support.exports import download
from tests.support.lake import read_all_days, read_usage
from tests.support.scripted_vendor import Listing, build_run, read_day
from usage import pruning
from usage.lake import LakeUnavailable, archive_tables
from usage.lake import archive as archiving
from usage.lake.archive import ArchivingRefused, archive_month
from usage.lake.archive_tables import open_archive
from usage.lake.publish import hold_lock, publish
from usage.models import EnvironmentUsage, RecordRevision, ResourceUsage, Source, SourceDay
from usage.partitions import list_partitions
from usage.pruning import DaysChanged, PruningRefused, list_months

pytestmark = pytest.mark.django_db(transaction=True)
JUNE = {"from_": "2025-06-28", "to": "2025-07-01"}


def is_stored() -> bool:
    """Return whether the month is in PostgreSQL as a whole."""
    return list_months(NEXT_MONTH) == [MONTH] and not SourceDay.objects.filter(pruned_at__isnull=False).exists()


def test_an_archived_month_is_in_the_lake_alone_and_its_sums_are_answered_as_before(month: Source) -> None:
    client = create_api_client()
    summaries = [
        ("environment-usage", {"group_by": "day,project_id"}),
        ("resource-usage", {"group_by": "day,resource_type"}),
        ("recipe-usage", {"group_by": "day"}),
    ]
    before = [get(client, f"{kind}/summary/", **JUNE, **params)["results"] for kind, params in summaries]
    counts = {kind: kind.objects.current().count() for kind in (EnvironmentUsage, ResourceUsage)}

    assert archive_month(MONTH) == 9

    assert not EnvironmentUsage.objects.exists()
    assert not RecordRevision.objects.exists()
    assert list_partitions(EnvironmentUsage).keys().isdisjoint([MONTH])
    assert SourceDay.objects.filter(archived_at__isnull=False, pruned_at__isnull=False).count() == 9
    assert [get(client, f"{kind}/summary/", **JUNE, **params)["results"] for kind, params in summaries] == before
    assert all(before)
    with open_archive() as archive:
        assert {kind: len(read_usage(archive.lake, kind)) for kind in counts} == counts
        assert len(read_all_days(archive.lake)) == 9
        snapshots = [table.current_snapshot() for table in (*archive.lake.tables, *archive.own_tables)]
    published = publish()
    assert published is not None
    assert published.days == 0
    with open_archive() as archive:
        tables = (*archive.lake.tables, *archive.own_tables)
        assert [table.current_snapshot() for table in tables] == snapshots, "archived days are left alone"


@pytest.mark.usefixtures("runs")
def test_the_lake_is_on_its_disk_before_a_month_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    monkeypatch.setattr("os.sync", lambda: states.append(is_stored()))

    archive_month(MONTH)

    assert states == [True]


def test_a_month_is_refused_that_may_still_change_or_is_not_of_its_days_or_has_no_lake(
    month: Source, settings: Any
) -> None:
    SourceDay.objects.filter(source=month, day=SECOND).update(final=False)
    with pytest.raises(PruningRefused) as error:
        archive_month(MONTH)
    assert [str(obstacle) for obstacle in error.value.obstacles] == ["environments 2025-06-29 (not final)"]
    SourceDay.objects.update(final=True)
    execute("UPDATE usage_recordrevision SET source_id = 999 WHERE day = '2025-06-28'")
    with pytest.raises(ArchivingRefused, match="5 records or revisions of 2025-06 belong to none of its days"):
        archive_month(MONTH)
    settings.PORTAL_LAKE_URL = "file:///proc/no-lake"
    execute("DROP TABLE iceberg_tables, iceberg_namespace_properties")
    with pytest.raises(LakeUnavailable, match="The lake cannot be written"):
        archive_month(MONTH)
    settings.PORTAL_LAKE_URL = ""
    with pytest.raises(LakeUnavailable, match="PORTAL_LAKE_URL is not set"):
        archive_month(MONTH)
    assert is_stored()


def execute(sql: str) -> None:
    """Run one statement."""
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.usefixtures("runs")
def test_what_is_missing_or_different_in_the_lake_keeps_the_month(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("withdrawn_environment_usage", "revisions"):
        paths: list[Path] = []
        with run_beside(monkeypatch, "publish_archive_tables", partial(move_file, table, paths)):
            assert f"usage.{table} cannot be read" in get_refusal()
        paths[1].rename(paths[0])
    # A change in the database that no merge made, after all was published, stands for one in the lake.
    with open_archive() as archive:
        archive_tables.publish_archive_tables(archive, MONTH, {(day.source.slug, day.day) for day in list_days()})
    monkeypatch.setattr(archiving, "publish_archive_tables", lambda *_: None)
    publish()
    revisions, first = "UPDATE usage_recordrevision SET revision =", "day = '2025-06-28'"
    runs = "UPDATE usage_environmentusage SET"
    for change, undo in (
        (f"{runs} user_id = 'x' WHERE record_id = 'run-3'", f"{runs} user_id = 'user' WHERE record_id = 'run-3'"),
        (f"{runs} user_id = 'x' WHERE record_id = 'run-2'", f"{runs} user_id = 'user' WHERE record_id = 'run-2'"),
        (f"{revisions} revision + 9 WHERE {first}", f"{revisions} revision - 9 WHERE {first}"),
    ):
        with run_beside(monkeypatch, "read_contents", partial(execute, change), first=True):
            assert "columns of its records, withdrawn records or revisions differ" in get_refusal()
        execute(undo)
    # What is stored as it was read is published once more.
    with run_beside(monkeypatch, "publish_archive_tables", partial(move_file, "environment_usage", [])):
        assert archive_month(MONTH) == 3


def move_file(table: str, paths: list[Path]) -> None:
    """Move the file of a day; adds its old and its new path to `paths`."""
    path = find_file(table, "environments", FIRST)
    paths += [path, path.rename(path.with_suffix(".lost"))]


def list_days() -> Any:
    """Return all days."""
    return SourceDay.objects.select_related("source")


def get_refusal() -> str:
    """Return why archiving the month is refused, and check that its records are still stored."""
    with pytest.raises(ArchivingRefused) as error:
        archive_month(MONTH)
    assert is_stored()
    assert str(error.value.obstacles[0]).startswith("environments 2025-06-28")
    return str(error.value.obstacles[0])


@contextmanager
def run_beside(
    monkeypatch: pytest.MonkeyPatch, step: str, action: Callable[[], object], *, first: bool = False
) -> Iterator[None]:
    """Run `action` after each call of a step of archiving, or before it, for the time of the block."""
    original = getattr(archiving, step)

    def run_both(*args: Any) -> Any:
        if first:
            action()
        result = original(*args)
        if not first:
            action()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(archiving, step, run_both)
        yield


def test_a_day_that_is_read_between_proof_and_drop_keeps_the_month(
    runs: Source, listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing.records = {SECOND: [build_run(number, on=SECOND, minutes=90) for number in (7, *range(20, 24))]}
    with run_beside(monkeypatch, "prove_month", lambda: read_day(runs, SECOND)), pytest.raises(DaysChanged):
        archive_month(MONTH)
    assert is_stored()
    assert archive_month(MONTH) == 3


@pytest.mark.usefixtures("runs")
def test_a_kill_at_any_step_leaves_a_month_that_the_next_run_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_everything()
    for step in ("publish_all", "publish_archive_tables", "stage_day", "store_digests"):
        with run_beside(monkeypatch, step, end), pytest.raises(KeyboardInterrupt):
            archive_month(MONTH)
        assert is_stored()
        assert read_everything() == before
    with monkeypatch.context() as patch:
        patch.setattr(pruning, "drop_partitions", end)
        with pytest.raises(KeyboardInterrupt):
            archive_month(MONTH)
    assert is_stored()
    with run_beside(monkeypatch, "drop_month", end), pytest.raises(KeyboardInterrupt):
        archive_month(MONTH)
    assert SourceDay.objects.filter(archived_at__isnull=False).count() == 3


def end(*_: object) -> None:
    """End the process."""
    raise KeyboardInterrupt


@pytest.mark.usefixtures("runs")
def test_of_two_that_archive_one_is_refused() -> None:
    def archive_elsewhere() -> int | str:
        try:
            return archive_month(MONTH)
        except LakeUnavailable as error:
            return str(error)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool, hold_lock():
        assert "Another process is publishing" in str(pool.submit(archive_elsewhere).result())
    assert is_stored()
    with ThreadPoolExecutor(2) as pool:
        results = [future.result() for future in [pool.submit(archive_elsewhere) for _ in range(2)]]
    assert 3 in results
    assert SourceDay.objects.filter(archived_at__isnull=False).count() == 3


@pytest.mark.usefixtures("archived_month")
def test_a_source_that_was_not_archived_with_the_others_stands_among_them_in_an_export() -> None:
    client = create_api_client()
    rows_before = read_export(client)
    late = make_source(EnvironmentUsage, "late")
    store_days(late)

    rows = read_export(client)

    assert len(rows_before) > 5
    assert len(rows) == len(rows_before) + 6 * 7
    assert [row for row in rows if row["source"] != "late"] == rows_before
    assert [(row["stopped_at"], row["id"]) for row in rows] == sorted(
        ((row["stopped_at"], row["id"]) for row in rows), reverse=True
    )
    assert archive_month(MONTH) == 3
    assert read_export(client) == rows


def read_export(client: Client) -> list[dict[str, Any]]:
    """Return the rows of an export of all runs."""
    return [json.loads(line) for line in download(client, "environment-usage", format="ndjson").splitlines()]
