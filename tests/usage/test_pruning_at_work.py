"""Pruning a month while other connections read: it waits for none for long, and responses are of one state."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.test import Client

from tests.support.api_clients import API, get
from tests.support.api_clients import client as client
from tests.usage.test_pruning import KEPT, MONTH, RANGE, list_month_tables, store_month
from usage.models import EnvironmentUsage, Source
from usage.pruning import TablesBusy, drop_month
from usage.snapshot import consistent_snapshot

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def source() -> Source:
    """A source with a final month, of which every day has a run, and a day of the month after."""
    return store_month()


def test_no_answer_from_records_is_complete_over_a_pruned_day(source: Source, client: Client) -> None:
    drop_month(MONTH)

    manifest = get(client, "environment-usage/export-manifest/", **RANGE)
    assert (manifest["rows"], manifest["meta"]["complete"], manifest["meta"]["complete_through"]) == (0, False, None)
    assert manifest["meta"]["pruned_days"]["total"] == 30
    assert manifest["meta"]["pruned_days"]["days"][0] == {"source": "main", "day": "2025-06-01"}
    assert manifest["meta"]["missing_days"]["total"] == 0
    export = client.get(f"{API}/environment-usage/", {"from": "2025-06-01", "to": "2025-07-02", "format": "csv"})
    assert (export["Portal-Complete"], export["Portal-Pruned-Days"]) == ("false", "30")
    by_environment = get(client, "environment-usage/summary/", **RANGE, group_by="environment_id")
    assert (by_environment["results"], by_environment["meta"]["complete"]) == ([], False)
    assert not by_environment["meta"]["pruned_days"]["rolled_up"]


def test_no_month_is_dropped_while_an_answer_reads_one_state(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usage.pruning.TRIES", 1)
    with ThreadPoolExecutor(1) as pool, consistent_snapshot():
        # The answer has not read anything yet: a month dropped now would be missing from it.
        with pytest.raises(TablesBusy):
            pool.submit(drop_elsewhere).result()
        assert EnvironmentUsage.objects.filter(day__lt=KEPT).count() == 30


def drop_elsewhere() -> None:
    """Drop the month over a connection of this thread."""
    try:
        drop_month(MONTH)
    finally:
        connection.close()


def test_tables_in_use_end_with_a_message_and_nothing_is_dropped(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("usage.pruning.TRIES", 2)
    other_connection = connection.copy()
    other_connection.connect()
    try:
        with other_connection.connection.transaction():
            other_connection.connection.execute("SELECT count(*) FROM usage_environmentusage")
            with pytest.raises(TablesBusy, match="2025-06"):
                drop_month(MONTH)
        assert EnvironmentUsage.objects.filter(day__lt=KEPT).count() == 30
        drop_month(MONTH)
    finally:
        other_connection.close()
    assert list_month_tables() == {}
