"""A manifest from roll-ups equals one from records, and reads no record where the filter allows it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api_clients import API, create_api_client, get, get_problem_details
from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.source_days import create_source_days
from usage.models import KINDS, Rollup, Source, SourceDay

pytestmark = pytest.mark.django_db
EXAMPLES = settings(max_examples=12, suppress_health_check=list(HealthCheck))
FIRST = date(2026, 3, 28)  # clocks in Berlin change on the day after
DAYS = 4
texts = st.sampled_from(["", "a", "b"])
numbers = st.one_of(st.none(), st.integers(1, 2))
hours = st.integers(0, 24 * DAYS - 1)
counts = st.one_of(st.none(), st.integers(0, 2**62))
common = {
    "source": st.integers(0, 1),
    "revision": st.integers(1, 3),
    "withdrawn": st.integers(0, 9).map(lambda n: n == 0),
}
records = {
    "environment-usage": st.fixed_dictionaries(
        {**common, "hour": hours, "project_id": texts, "user_id": texts, "minutes": st.one_of(st.none(), st.integers(0, 5000))}
    ),
    "resource-usage": st.fixed_dictionaries(
        {**common, "hour": hours, "resource_type": st.sampled_from(["vm", "disk"]), "billing_metric": texts,
         "consumed_unit": st.sampled_from(["GB", "minutes"]), "project_id": numbers,
         "consumed_quantity": st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**18, places=9)}
    ),
    "recipe-usage": st.fixed_dictionaries(
        {**common, "hour": hours, "workspace_id": st.integers(1, 2), "external_id": texts, "recipe_id": numbers,
         "task_count": counts, "job_succeeded_count": counts, "job_failed_count": counts}
    ),
}  # fmt: skip
filters: dict[str, dict[str, tuple[str, ...]]] = {
    "environment-usage": {"project_id": ("a", "a,b"), "user_id": ("a",)},
    "resource-usage": {"project_id": ("1", "1,2"), "resource_type": ("vm",), "consumed_unit": ("GB",)},
    "recipe-usage": {"workspace_id": ("1",), "external_id": ("a",), "recipe_id": ("1",), "deleted_recipes": ("only",)},
}
bounds = st.one_of(
    st.none(),
    st.integers(-1, DAYS).map(lambda n: (FIRST + timedelta(days=n)).isoformat()),
    hours.map(
        lambda n: f"{datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(hours=n):%Y-%m-%dT%H:%M:%SZ}"
    ),
)


def store(kind: str, sources: list[Source], number: int, record: dict[str, Any]) -> None:
    """Store a record that the strategies describe."""
    values = {name: value for name, value in record.items() if name not in {"hour", "minutes", "withdrawn"}}
    instant = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(hours=record["hour"], minutes=number)
    source = values["source"] = sources[record["source"]]
    values["withdrawn_at"] = instant if record["withdrawn"] else None
    day = instant.astimezone(source.zone).date()
    if kind == "environment-usage":
        minutes = record["minutes"]
        created = None if minutes is None else instant - timedelta(minutes=minutes, microseconds=number)
        EnvironmentUsageFactory(day=day, stopped_at=instant, created_at=created, record_id=str(number), **values)
    elif kind == "resource-usage":
        ResourceUsageFactory(day=instant.date(), resource_key=UUID(int=number), **values)
    else:
        starts_at = instant.replace(minute=0)
        recipe = None if values["recipe_id"] is None else 100 * number + values["recipe_id"]
        values["recipe_id"] = values["recipe_id"] if number == 0 else recipe
        values["workspace_id"] += 0 if recipe else 100 * number
        RecipeUsageFactory(day=day, starts_at=starts_at, ends_at=starts_at + timedelta(hours=1), **values)


@EXAMPLES
@given(st.data())
@pytest.mark.parametrize("kind", list(KINDS))
def test_any_filter_gives_the_same_from_rollups_and_from_records(kind: str, data: st.DataObject) -> None:
    models: tuple[Any, ...] = (*Rollup.__subclasses__(), *KINDS.values(), SourceDay, Source)
    for model in models:
        model.objects.all().delete()
    zones = (
        ("UTC", "UTC") if kind == "resource-usage" else ("UTC", data.draw(st.sampled_from(["UTC", "Europe/Berlin"])))
    )
    sources: list[Any] = [SourceFactory(slug=f"s{number}", time_zone=zone) for number, zone in enumerate(zones)]
    for number, record in enumerate(data.draw(st.lists(records[kind], max_size=12))):
        store(kind, sources, number, record)
    query = {
        "tz": data.draw(st.sampled_from(["UTC", "Europe/Berlin"])),
        "source": data.draw(st.sampled_from([None, "s0", "s1", "s0,s1"])),
        "from": data.draw(bounds),
        "to": data.draw(bounds),
        "include_withdrawn": data.draw(st.sampled_from([None, None, "true", "false"])),
        **{name: data.draw(st.sampled_from([None, None, *values])) for name, values in filters[kind].items()},
    }
    params = {name: value for name, value in query.items() if value is not None}
    client = create_api_client()

    create_source_days(rolled=False)
    records_response = client.get(f"{API}/{kind}/export-manifest/", params)
    create_source_days(rolled=True)
    rollups_response = client.get(f"{API}/{kind}/export-manifest/", params)

    assert records_response.status_code == rollups_response.status_code
    if records_response.status_code == 200:
        records_manifest, rollups_manifest = records_response.json(), rollups_response.json()
        records_manifest.pop("meta"), rollups_manifest.pop("meta")
        assert records_manifest == rollups_manifest


QUERIES = {
    "environment-usage": {"project_id": "project-1", "from": "2026-01-01", "to": "2026-02-01"},
    "resource-usage": {"resource_type": "instance", "from": "2026-01-01", "to": "2026-02-01"},
    "recipe-usage": {"workspace_id": "501", "source": "main"},
}


@pytest.fixture
def client() -> Client:
    """A program that may read everything, and a record of each kind that is rolled up."""
    source = SourceFactory(slug="main")
    EnvironmentUsageFactory(source=source, project_id="project-1")
    ResourceUsageFactory(source=source, consumed_quantity=Decimal("1.50"))
    RecipeUsageFactory(source=source, task_count=None)
    create_source_days(rolled=True)
    return create_api_client()


@pytest.mark.parametrize("kind", list(KINDS))
def test_whole_days_and_columns_of_rollups_read_no_record(client: Client, kind: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert get(client, f"{kind}/export-manifest/", **QUERIES[kind])["rows"] == 1
    table = KINDS[kind]._meta.db_table
    assert not [query["sql"] for query in queries if f'"{table}"' in query["sql"]]


def test_changes_since_an_instant_are_read_from_the_records(client: Client) -> None:
    assert get(client, "environment-usage/export-manifest/", updated_since="2100-01-01")["rows"] == 0
    assert get(client, "environment-usage/export-manifest/", environment_id="nothing")["rows"] == 0


def test_a_manifest_that_takes_too_long_is_stopped(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(*_: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(20)")

    monkeypatch.setattr("usage.api.views.compute_manifest", sleep)
    with override_settings(PORTAL_EXPORT_SECONDS=0.05):
        response = client.get(f"{API}/environment-usage/export-manifest/")
    assert "longer than the portal allows" in get_problem_details(response, 503)[""][0]
