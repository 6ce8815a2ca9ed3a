"""Conditional requests: unchanged responses are not sent again, and no shared cache stores one."""

import gzip

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from tests.support.api_clients import API
from tests.support.api_clients import client as client
from tests.support.factories import EnvironmentUsageFactory

pytestmark = pytest.mark.django_db


def test_an_answer_that_did_not_change_is_not_sent_again(client: Client) -> None:
    record = EnvironmentUsageFactory()
    for address in ("environment-usage/", f"environment-usage/{record.pk}/", "sources/"):
        with time_machine.travel(timezone.now(), tick=False):  # a source's lag_seconds grows
            first = client.get(f"{API}/{address}")
            second = client.get(f"{API}/{address}", headers={"If-None-Match": first["ETag"]})
        assert (second.status_code, second.content) == (304, b""), address
        assert second["ETag"] == first["ETag"]
    EnvironmentUsageFactory()
    tag = client.get(f"{API}/environment-usage/{record.pk}/")["ETag"]
    response = client.get(f"{API}/environment-usage/", headers={"If-None-Match": tag})
    assert response.status_code == 200


def test_an_answer_is_private_and_differs_by_who_asks(client: Client) -> None:
    response = client.get(f"{API}/environment-usage/")
    assert set(response["Cache-Control"].split(", ")) == {"private", "no-cache"}
    assert {"Accept", "Authorization", "Cookie"} <= set(response["Vary"].split(", "))


def test_a_packed_answer_has_the_tag_of_the_plain_one(client: Client) -> None:
    EnvironmentUsageFactory.create_batch(20)
    response = client.get(f"{API}/environment-usage/")
    gzip_response = client.get(f"{API}/environment-usage/", headers={"Accept-Encoding": "gzip"})
    assert gzip_response["Content-Encoding"] == "gzip"
    assert gzip.decompress(gzip_response.content) == response.content
    assert gzip_response["ETag"].removeprefix("W/") == response["ETag"].removeprefix("W/")
    second_response = client.get(
        f"{API}/environment-usage/", headers={"Accept-Encoding": "gzip", "If-None-Match": gzip_response["ETag"]}
    )
    assert second_response.status_code == 304


def test_an_export_has_no_tag(client: Client) -> None:
    export = client.get(f"{API}/environment-usage/", {"format": "csv"})
    assert not export.has_header("ETag")
    assert "no-store" in export["Cache-Control"]
    assert b"".join(export)
