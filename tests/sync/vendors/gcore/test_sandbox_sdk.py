"""The Gcore stand-in satisfies the vendor's own SDK, unmodified, over real HTTP."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import gcore
import pytest

from sync.sandbox.world import World
from tests.support.gcore_contract import TABLE, Row, index_totals, sum_resources
from tests.support.sandbox_server import SandboxServer

NOW = datetime(2026, 11, 23, 15, 3, tzinfo=UTC)
DAY = date(2026, 11, 17)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(World(now=lambda: NOW)) as running:
        yield running


@pytest.fixture
def client(server: SandboxServer) -> Iterator[gcore.Gcore]:
    with gcore.Gcore(api_key="sandbox-key", base_url=f"{server.url}/gcore", max_retries=0) as sdk:
        yield sdk


def test_the_vendors_sdk_reads_every_type_as_its_own_class(client: gcore.Gcore) -> None:
    report = client.cloud.usage_reports.get(
        time_from=datetime(2026, 11, 17, tzinfo=UTC), time_to=datetime(2026, 11, 18, tzinfo=UTC), limit=5000
    )
    assert report.count == len(report.resources)
    assert {row.type for row in report.resources} >= TABLE.keys()
    for row in report.resources:
        if row.type in TABLE:
            assert type(row).model_validate(row.to_dict()).type == row.type
            assert set(row.model_extra or {}) == set()
    for total in report.totals:
        if total.type in TABLE:
            assert type(total).model_validate(total.to_dict()).type == total.type
            assert set(total.model_extra or {}) == set()


def test_the_vendors_sdk_filters_sorts_and_pages(client: gcore.Gcore) -> None:
    period: dict[str, Any] = {"time_from": f"{DAY}T00:00:00Z", "time_to": f"{DAY}T00:00:00Z", "enable_last_day": True}
    get: Callable[..., Any] = client.cloud.usage_reports.get
    volumes = get(**period, types=["volume"], regions=[76, 84], projects=[5003], order_by=["billing_value.desc"])
    assert len(volumes.resources) == 10 < volumes.count
    values = [row.billing_value for row in volumes.resources]
    assert values == sorted(values, reverse=True)
    schema_filter = {"type": "volume", "field": "volume_type", "values": ["ultra"]}
    assert {row.volume_type for row in get(**period, schema_filter=schema_filter).resources} == {"ultra"}
    tags = {"conditions": [{"key": "team", "value": "ML", "strict": False}], "condition_type": "AND"}
    tagged_report = get(**period, tags=tags, sorting=[{"project": "desc"}], limit=1000)
    assert tagged_report.count == len(tagged_report.resources) > 0
    assert all({"team": "ml"} in row.tags for row in tagged_report.resources)
    paged_rows = [
        row.to_dict() for offset in range(0, 700, 70) for row in get(**period, limit=70, offset=offset).resources
    ]
    assert paged_rows == [row.to_dict() for row in get(**period, limit=1000).resources]


def test_totals_over_http_are_the_exact_sums_of_all_pages(client: gcore.Gcore) -> None:
    rows: list[Row] = []
    while True:
        raw = client.cloud.usage_reports.with_raw_response.get(
            time_from=f"{DAY}T00:00:00Z", time_to=f"{DAY + timedelta(days=1)}T00:00:00Z", limit=100, offset=len(rows)
        )
        report = raw.http_response.json(parse_float=Decimal)
        rows += report["resources"]
        if len(rows) >= report["count"]:
            break
    assert index_totals(report) == sum_resources(rows)


def test_the_vendors_sdk_raises_its_own_errors(client: gcore.Gcore, server: SandboxServer) -> None:
    with pytest.raises(gcore.BadRequestError) as error:
        client.cloud.usage_reports.get(time_from="2026-11-17", time_to="2026-11-18")
    body: Any = error.value.body
    assert "time_from" in body["invalid_fields"]
    stranger = gcore.Gcore(api_key="1234$other", base_url=f"{server.url}/gcore", max_retries=0)
    with stranger, pytest.raises(gcore.AuthenticationError):
        stranger.cloud.usage_reports.get(time_from="2026-11-17T00:00:00Z", time_to="2026-11-18T00:00:00Z")


def test_the_vendors_sdk_lists_projects_and_regions(client: gcore.Gcore) -> None:
    projects = list(client.cloud.projects.list(include_deleted=True, limit=2))
    assert [project.id for project in projects] == sorted(project.id for project in projects)
    assert [project.id for project in projects if project.deleted_at] == [51208]
    assert {project.id for project in client.cloud.projects.list()} == {project.id for project in projects} - {51208}
    regions = list(client.cloud.regions.list(limit=2))
    assert {region.id: region.display_name for region in regions}[76] == "Luxembourg-2"
    report = client.cloud.usage_reports.get(
        time_from=f"{DAY}T00:00:00Z", time_to=f"{DAY + timedelta(days=1)}T00:00:00Z"
    )
    assert {row.project_id for row in report.resources} <= {project.id for project in projects}
    assert {row.region_id for row in report.resources} <= {region.id for region in regions}
