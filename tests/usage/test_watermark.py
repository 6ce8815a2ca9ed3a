"""The watermark: a client that follows changes misses none, also of a merge that commits late."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils.dateparse import parse_datetime

from tests.support.api_clients import client as client
from tests.support.api_clients import get
from tests.support.factories import FIRST, EnvironmentUsageFactory, SourceDayFactory, SourceFactory
from usage import standby
from usage.models import EnvironmentUsage, Restatement, Source
from usage.snapshot import open_snapshot
from usage.watermark import get_watermark, hold_watermark

pytestmark = pytest.mark.django_db(transaction=True)
START = "2026-01-01"


class OtherWorker:
    """Another worker's connection, in the middle of a merge."""

    def __init__(self) -> None:
        self.connection = connection.copy()

    def begin(self) -> None:
        """Begin as a merge does."""
        self.connection.set_autocommit(False)
        with use_connection(self.connection):
            hold_watermark()

    def load(self, source: Source, name: str) -> None:
        """Insert a record, or write it again, with the stamp of the statement."""
        sql = """INSERT INTO usage_environmentusage (source_id, day, record_id, stopped_at, first_seen_at, changed_at)
                 VALUES (%s, '2026-01-01', %s, %s, statement_timestamp(), statement_timestamp())
                 ON CONFLICT (source_id, record_id, day) DO UPDATE
                 SET changed_at = statement_timestamp(), revision = usage_environmentusage.revision + 1"""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, [source.pk, name, FIRST])

    def commit(self) -> None:
        self.connection.commit()

    def close(self) -> None:
        self.connection.close()


@contextmanager
def use_connection(other_connection: Any) -> Iterator[None]:
    """Have `usage.watermark` use another connection."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("usage.watermark.connection", other_connection)
        yield


@pytest.fixture
def other_worker() -> Iterator[OtherWorker]:
    """A second worker."""
    worker = OtherWorker()
    yield worker
    worker.close()


class Follower:
    """A warehouse: it stores the records of each response by key, and queries again from the last `settled_until`."""

    def __init__(self, client: Client, **query: str) -> None:
        self.client, self.query = client, query
        self.since = START
        self.records: dict[int, Any] = {}

    def follow(self) -> None:
        """Fetch all pages of what changed since the last time."""
        settled, cursor = "", None
        while True:
            cursor_params = {"cursor": cursor} if cursor else {}
            query = {"updated_since": self.since, "include_withdrawn": "true", "page_size": "3", **self.query}
            page = get(self.client, "environment-usage/", **query, **cursor_params)
            assert settled in {"", page["settled_until"]}, "the mark is one for the whole walk"
            settled, cursor = page["settled_until"], page["next_cursor"]
            self.records.update({row["id"]: (row["record_id"], row["revision"]) for row in page["results"]})
            if not cursor:
                self.since = settled
                return

    def list_names(self) -> set[str]:
        """Return the names of the stored records."""
        return {name for name, _ in self.records.values()}


@pytest.mark.parametrize("ordering", ["changed_at", "-stopped_at"])
def test_a_merge_that_commits_late_is_never_missed(client: Client, other_worker: OtherWorker, ordering: str) -> None:
    source = SourceFactory()
    follower = Follower(client, ordering=ordering)
    other_worker.begin()
    other_worker.load(source, "late")
    EnvironmentUsageFactory(source=source, record_id="after")
    follower.follow()
    assert "late" not in follower.list_names()
    other_worker.commit()
    follower.follow()
    assert follower.list_names() == {"late", "after"}


def test_following_loads_that_go_on_meanwhile_ends_with_what_the_table_holds(
    client: Client, other_worker: OtherWorker
) -> None:
    source = SourceFactory()
    follower = Follower(client)
    for round_number in range(8):
        other_worker.begin()
        for number in range(5):
            other_worker.load(source, f"r{round_number * 3 + number}")
        EnvironmentUsageFactory.create_batch(2, source=source)
        follower.follow()
        other_worker.commit()
        if round_number % 2:
            follower.follow()
    follower.follow()
    assert follower.records == {
        pk: (name, revision)
        for pk, name, revision in EnvironmentUsage.objects.values_list("pk", "record_id", "revision")
    }


def test_the_mark_stands_still_while_a_merge_is_under_way_and_goes_on_after_it(other_worker: OtherWorker) -> None:
    before = get_watermark()
    other_worker.begin()
    watermark = get_watermark()
    assert before.replace(microsecond=0) <= watermark
    assert get_watermark() == watermark
    other_worker.commit()
    assert get_watermark() > watermark


def test_the_mark_is_held_until_the_end_of_the_transaction_that_holds_it() -> None:
    with transaction.atomic():
        hold_watermark()
        watermark = get_watermark()
        assert get_watermark() == watermark
    assert get_watermark() > watermark


def test_a_read_of_a_standby_knows_what_that_has_replayed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    settled_until, as_of = FIRST, FIRST + timedelta(seconds=5)
    monkeypatch.setattr(standby._use, "state", standby.StandbyState(as_of, settled_until, 2.0))

    assert get_watermark() == settled_until
    with open_snapshot() as snapshot:
        assert snapshot.as_of == as_of


def test_a_restatement_that_is_committed_late_is_never_missed(client: Client, other_worker: OtherWorker) -> None:
    day, since = SourceDayFactory(), START
    other_worker.begin()
    with use_connection(other_worker.connection), other_worker.connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO usage_restatement (source_day_id, attempt, records_before, records_after, inserted, changed,
                                              withdrawn, returned, moved, sums_before, sums_after)
               VALUES (%s, 2, 3, 4, 1, 0, 0, 0, 0, '{}', '{}')""",
            [day.pk],
        )
    Restatement.objects.create(source_day=day, attempt=3, records_before=4, records_after=5)
    record_counts: list[int] = []
    for _ in range(2):
        page = get(client, "restatements/", updated_since=since, ordering="at")
        record_counts += [row["records_after"] for row in page["results"]]
        since = page["settled_until"]
        other_worker.commit()
    assert sorted(record_counts) == [4, 5]


def test_only_who_follows_changes_is_told_the_mark(client: Client) -> None:
    EnvironmentUsageFactory()
    assert "settled_until" not in get(client, "environment-usage/")
    settled_until = get(client, "environment-usage/", updated_since=START)["settled_until"]
    assert settled_until.endswith("Z")
    assert parse_datetime(settled_until)
