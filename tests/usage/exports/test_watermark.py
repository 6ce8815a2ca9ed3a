"""The watermark of exports: header and manifest have the same instant, and no earlier change is missing."""

from typing import Any

import pytest
from django.test import Client
from django.utils.dateparse import parse_datetime

from tests.support.api_clients import API, get
from tests.support.api_clients import client as client
from tests.support.exports import parse_csv
from tests.support.factories import EnvironmentUsageFactory, SourceFactory
from tests.usage.test_watermark import START, OtherWorker, other_worker  # noqa: F401

pytestmark = pytest.mark.django_db(transaction=True)
LIST = f"{API}/environment-usage/"


def fetch_export(client: Client, **query: str) -> tuple[list[dict[str, str]], Any]:
    """Return the rows of an export and its response."""
    response = client.get(LIST, {"format": "csv", **query})
    return parse_csv(b"".join(response.streaming_content)), response  # type: ignore[attr-defined]


def test_an_export_of_changes_says_up_to_when_it_has_them_all(client: Client) -> None:
    EnvironmentUsageFactory.create_batch(3)

    rows, response = fetch_export(client, updated_since=START)
    manifest = get(client, "environment-usage/export-manifest/", updated_since=START)

    mark = parse_datetime(response["Portal-Settled-Until"])
    assert mark is not None
    assert max(row["changed_at"] for row in rows) < response["Portal-Settled-Until"]
    assert response["Portal-Settled-Until"] <= response["Portal-As-Of"]
    assert manifest["rows"] == len(rows) == 3
    assert manifest["settled_until"] > response["Portal-Settled-Until"]  # nothing is under way, so it is now
    assert fetch_export(client, updated_since=response["Portal-Settled-Until"])[0] == []


def test_what_a_merge_under_way_may_yet_add_to_is_in_neither(client: Client, other_worker: OtherWorker) -> None:  # noqa: F811
    source = SourceFactory()
    EnvironmentUsageFactory(source=source, record_id="before")
    other_worker.begin()
    EnvironmentUsageFactory(source=source, record_id="behind the mark")

    rows, response = fetch_export(client, updated_since=START)
    manifest = get(client, "environment-usage/export-manifest/", updated_since=START)
    other_worker.load(source, "late")
    other_worker.commit()
    later, _ = fetch_export(client, updated_since=response["Portal-Settled-Until"])

    assert manifest["settled_until"] == response["Portal-Settled-Until"]
    assert manifest["rows"] == len(rows)
    assert "behind the mark" not in {row["record_id"] for row in rows}
    assert {"late", "behind the mark"} <= {row["record_id"] for row in later}


def test_without_following_changes_nothing_is_said_of_a_mark(client: Client) -> None:
    EnvironmentUsageFactory()

    assert "Portal-Settled-Until" not in fetch_export(client)[1]
    assert "settled_until" not in get(client, "environment-usage/export-manifest/")
