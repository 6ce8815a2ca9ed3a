"""The manifest: what an export holds in numbers, so that its reader can tell that it has all of it."""

import csv
import hashlib
import io
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.api_clients import client as client
from tests.support.exports import download, parse_csv, stream
from tests.support.factories import (
    FIRST,
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
)
from tests.support.source_days import create_source_days
from usage.exports.csv_injection import SIGNS, SKIPPED
from usage.exports.manifest import merge_groups
from usage.models import EnvironmentUsage, ResourceUsage, SourceDay

# An export has a connection of its own, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


def compute_digest(rows: list[dict[str, str]]) -> str:
    """Compute the digest as the documentation defines it."""
    hashes = (hashlib.md5(f"{row['id']}:{row['revision']}".encode()).hexdigest()[:16] for row in rows)
    return f"{sum(int(hash_text, 16) for hash_text in hashes) % 2**64:016x}"


def get_manifest(client: Client, address: str) -> Any:
    """Return a manifest, which is the same from records and from roll-ups."""
    manifests = []
    for rolled in (False, True):
        create_source_days(rolled=False)
        SourceDay.objects.update(rolled_up=False)
        create_source_days(rolled=rolled)
        manifests.append(get(client, address))
        manifests[-1].pop("meta")
    assert manifests[0] == manifests[1]
    return manifests[0]


@pytest.mark.parametrize("kind", ["environment-usage", "resource-usage", "recipe-usage"])
def test_the_manifest_agrees_with_the_export_it_is_linked_from(client: Client, kind: str) -> None:
    EnvironmentUsageFactory.create_batch(5)
    ResourceUsageFactory.create_batch(5)
    RecipeUsageFactory.create_batch(5)
    response = client.get(f"{API}/{kind}/", {"format": "csv", "from": "2026-01-01"})
    rows = parse_csv(b"".join(response.streaming_content))  # type: ignore[attr-defined]
    address = response["Link"].split(">")[0].removeprefix("<http://testserver/api/v1/")
    assert 'rel="describedby"' in response["Link"]
    manifest = get_manifest(client, address)
    assert manifest["rows"] == len(rows) == 5
    assert manifest["digest"] == compute_digest(rows)
    for line in manifest["sums"]:
        assert Decimal(line["sum"]) == sum(Decimal(row[line["measure"]]) for row in rows)
        assert (line["rows"], line["without"]) == (5, 0)
    assert manifest["filters"] == {"from": "2026-01-01" if kind == "resource-usage" else "2026-01-01T00:00:00Z"}
    assert max(row["changed_at"] for row in rows) <= response["Portal-As-Of"]
    assert manifest["last_changed_at"] <= response["Portal-As-Of"]


def test_quantities_of_different_units_are_summed_apart(client: Client) -> None:
    source = SourceFactory()
    for quantity, unit in (("1.5", "minutes"), ("2", "bytes"), ("0.25", "minutes")):
        ResourceUsageFactory(source=source, consumed_quantity=Decimal(quantity), consumed_unit=unit)
    assert get_manifest(client, "resource-usage/export-manifest/")["sums"] == [
        {"measure": "consumed_quantity", "unit": "bytes", "rows": 1, "without": 0, "beyond_decimal": 0, "sum": "2"},
        {
            "measure": "consumed_quantity",
            "unit": "minutes",
            "rows": 2,
            "without": 0,
            "beyond_decimal": 0,
            "sum": "1.75",
        },
    ]


def test_what_the_vendor_did_not_say_is_counted_and_not_taken_for_zero(client: Client) -> None:
    RecipeUsageFactory(task_count=None)
    tasks, *_ = get_manifest(client, "recipe-usage/export-manifest/")["sums"]
    assert tasks == {
        "measure": "task_count",
        "unit": "tasks",
        "rows": 1,
        "without": 1,
        "beyond_decimal": 0,
        "sum": None,
    }


def test_groups_of_a_unit_are_added_and_the_sum_of_no_values_stays_unknown() -> None:
    stored = ("GB", 2, FIRST, 5, None, Decimal("0.1"), None)
    archived = ("GB", 3, FIRST + timedelta(days=1), 1, Decimal("1e-30"), None, None)

    assert merge_groups([stored, ("bytes", 1, FIRST, 1), archived]) == [
        ("GB", 5, FIRST + timedelta(days=1), 6, Decimal("1e-30"), Decimal("0.1"), None),
        ("bytes", 1, FIRST, 1),
    ]


def test_a_manifest_of_nothing_is_a_manifest(client: Client) -> None:
    manifest = get_manifest(client, "resource-usage/export-manifest/")
    assert (manifest["rows"], manifest["sums"], manifest["digest"], manifest["last_changed_at"]) == (
        0,
        [],
        "0" * 16,
        None,
    )


def test_any_change_of_a_record_changes_the_digest(client: Client) -> None:
    record = EnvironmentUsageFactory()
    before = get_manifest(client, "environment-usage/export-manifest/")["digest"]
    EnvironmentUsage.objects.filter(pk=record.pk).update(revision=2)
    assert get_manifest(client, "environment-usage/export-manifest/")["digest"] != before


def test_manifest_and_export_say_how_far_the_set_can_be_trusted(client: Client) -> None:
    source = SourceFactory()
    SourceDayFactory(source=source, day=FIRST.date(), complete=True, loaded_at=FIRST, final=True, state="loaded")
    query = {"from": "2026-01-01", "to": "2026-01-02"}
    meta = client.get(f"{API}/environment-usage/export-manifest/", query).json()["meta"]
    assert (meta["complete"], meta["complete_through"], meta["tz"]) == (True, "2026-01-01", "UTC")
    complete = client.get(f"{API}/environment-usage/", {"format": "csv", **query})
    complete.close()
    assert (complete["Portal-Complete"], complete["Portal-Complete-Through"]) == ("true", "2026-01-01")
    open_ended = client.get(f"{API}/environment-usage/", {"format": "csv", **query, "to": "2026-01-03"})
    open_ended.close()
    assert open_ended["Portal-Complete"] == "false"


def test_a_limited_token_s_manifest_knows_of_its_sources_only() -> None:
    hidden_record, visible_record = EnvironmentUsageFactory(), EnvironmentUsageFactory()
    limited_client = create_api_client(sources=[visible_record.source])
    manifest = get_manifest(limited_client, "environment-usage/export-manifest/")
    assert manifest["rows"] == 1
    assert hidden_record.source.slug not in str(manifest)
    assert get_problem_details(
        limited_client.get(f"{API}/environment-usage/export-manifest/", {"source": hidden_record.source.slug})
    )


def test_a_manifest_refuses_what_is_no_filter(client: Client) -> None:
    errors = get_problem_details(
        client.get(f"{API}/environment-usage/export-manifest/", {"cursor": "x", "colour": "red"})
    )
    assert {"cursor", "colour"} <= set(errors)


def test_fields_choose_the_columns_of_an_export(client: Client) -> None:
    EnvironmentUsageFactory(record_id="one")
    body = download(client, "environment-usage", format="csv", fields="record_id,revision")
    assert body == b"record_id,revision\r\none,1\r\n"


def neutralize_cell(text: str) -> str:
    """Return the text of the neutralised cell."""
    return f"'{text}" if text[:1] in {"\t", "\r"} or text.lstrip(SKIPPED)[:1] in set(SIGNS) else text


TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12)
ROWS = st.lists(
    st.tuples(
        st.one_of(
            TEXTS, st.sampled_from(["=1", "+a", "-2", "@x", "\tt", "\rr", '"', ",", "\r\n", "＝1", " \n=", "\ufeff@"])
        ),
        st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30),
    ),
    max_size=8,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_any_text_and_number_come_through_python_s_csv_reader(rows: list[tuple[str, Decimal]]) -> None:
    ResourceUsage.objects.all().delete()
    source = SourceFactory()
    for text, number in rows:
        ResourceUsageFactory(source=source, resource_name=text, consumed_quantity=number)
    parsed: list[dict[str, Any]] = list(
        csv.DictReader(
            io.StringIO(b"".join(stream(ResourceUsage.objects.order_by("id"), "csv")).decode(), newline=""), strict=True
        )
    )
    assert [row["resource_name"] for row in parsed] == [neutralize_cell(text) for text, _ in rows]
    assert [Decimal(row["consumed_quantity"]) for row in parsed] == [number for _, number in rows]
