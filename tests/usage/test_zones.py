"""Zones are those of Python: one that PostgreSQL does not know changes no response, and skipped dates are no gaps."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import TZPATH, ZoneInfo, reset_tzpath

import pytest
import time_machine
from django.db import DataError, connection, transaction
from django.test import Client
from django.urls import reverse

from portal.accounts.models import Scope
from tests.support.api_clients import API, create_api_client
from tests.support.factories import EnvironmentUsageFactory, RecipeUsageFactory, ResourceUsageFactory, SourceFactory
from tests.support.source_days import create_source_days
from tests.support.users import sign_in_as
from usage.data_quality.coverage import get_coverage
from usage.days import Day, iterate_days
from usage.models import DayState, EnvironmentAccrual, Source, SourceDay

pytestmark = pytest.mark.django_db
NOWHERE = "Test/Nowhere"
SKIPPED = [("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Kwajalein", date(1993, 8, 21))]
INTERVALS = ("hour", "day", "week", "month", "quarter", "year")
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
RANGE = {"from": "2026-10-24", "to": "2026-10-27", "tz": NOWHERE}


@pytest.fixture
def nowhere(tmp_path: Path) -> Iterator[str]:
    """A zone that Python knows and PostgreSQL does not, whose clocks are those of Berlin."""
    berlin = next(Path(folder) / "Europe/Berlin" for folder in TZPATH if (Path(folder) / "Europe/Berlin").exists())
    zone_file = tmp_path / NOWHERE
    zone_file.parent.mkdir()
    zone_file.write_bytes(berlin.read_bytes())
    reset_tzpath([str(tmp_path), *TZPATH])
    yield NOWHERE
    reset_tzpath()
    ZoneInfo.clear_cache(only_keys=[NOWHERE])


@pytest.fixture
def sources_by_vendor(nowhere: str) -> dict[str, Source]:
    """A source of each vendor in that zone, with records around its day of 25 hours; Gcore's days are UTC's."""
    zones = {"ona": nowhere, "gcore": "UTC", "workato": nowhere}
    sources: dict[str, Source] = {
        vendor: SourceFactory(slug=f"{vendor}-main", vendor=vendor, time_zone=zone, backfill_from=date(2026, 10, 20))
        for vendor, zone in zones.items()
    }
    midnight = datetime(2026, 10, 24, 22, tzinfo=UTC)
    for hour in range(0, 40, 3):
        starts_at = midnight + timedelta(hours=hour)
        on = starts_at.astimezone(ZoneInfo(nowhere)).date()
        RecipeUsageFactory(source=sources["workato"], starts_at=starts_at, day=on)
        EnvironmentUsageFactory(
            source=sources["ona"], stopped_at=starts_at, created_at=starts_at - timedelta(hours=30), day=on
        )
    ResourceUsageFactory(source=sources["gcore"], day=date(2026, 10, 25))
    create_source_days(rolled=True)
    SourceDay.objects.update(state=DayState.LOADED, loaded_at=datetime(2026, 11, 10, tzinfo=UTC), complete=True)
    return sources


def read_content(response: Any) -> bytes:
    """Return the whole body of a response."""
    return b"".join(response.streaming_content) if response.streaming else response.content


def fetch_text(client: Client, address: str, zone: str) -> tuple[int, str]:
    """Return the status and the text of a response in a zone, without the name of the zone and the response's time.

    Which sources have days of a zone of another name is left out, too: only one of both is that of the sources.
    """
    response = client.get(f"{address}&{urlencode({**RANGE, 'tz': zone})}")
    text = read_content(response).decode(errors="replace")
    for name in (NOWHERE, "Europe/Berlin"):
        text = text.replace(name, "the zone").replace(name.replace("/", "%2F"), "the zone")
    return response.status_code, re.sub(r"cursor=[^\"&]+|\"source_zones\": \{[^}]*\}", "", text)


def test_postgresql_does_not_know_the_zone(nowhere: str) -> None:
    assert ZoneInfo(nowhere).utcoffset(datetime(2026, 7, 1)) == timedelta(hours=2)  # noqa: DTZ001
    with pytest.raises(DataError, match="not recognized"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT now() AT TIME ZONE %s", [nowhere])


PATHS = [
    f"{kind}-usage/summary/?group_by=source,{interval}{more}"
    for kind in ("environment", "recipe")
    for interval in INTERVALS
    for more in ("", "&fill=zero", "&compare=previous", *(("&basis=accrued",) if kind == "environment" else ()))
]
PATHS += [f"usage/summary/?interval={interval}&vendor=ona,workato" for interval in INTERVALS]
PATHS += [f"{kind}-usage/?count=exact" for kind in ("environment", "recipe")]
PATHS += [f"environment-usage/?format={ending}" for ending in ("csv", "ndjson")]


@time_machine.travel(NOW, tick=False)
def test_every_question_gets_the_same_answer_in_a_zone_that_postgresql_does_not_know(
    sources_by_vendor: dict[str, Source],
) -> None:
    client = create_api_client(Scope.USAGE_READ, Scope.SYNC_READ)
    for path in PATHS:
        address = f"{API}/{path}"
        status, text = fetch_text(client, address, NOWHERE)
        assert (status, text) == fetch_text(client, address, "Europe/Berlin"), path
        assert status == 200, path
    assert "2026-10-25T02:00:00+01:00" in fetch_text(client, f"{API}/{PATHS[1]}", NOWHERE)[1]


@time_machine.travel(NOW, tick=False)
def test_no_address_of_the_api_breaks_for_a_source_of_a_zone_that_postgresql_does_not_know(
    sources_by_vendor: dict[str, Source],
) -> None:
    client = create_api_client(Scope.USAGE_READ, Scope.SYNC_READ)
    fixed_paths = ("sources/", "sync-runs/", "restatements/", "rejected-records/", "schema/", "usage/summary/")
    source_paths = [
        f"sources/{source.slug}/{suffix}"
        for source in sources_by_vendor.values()
        for suffix in ("", "days/", "days/2026-10-25/")
    ]
    range_paths = [
        f"{kind}-usage/{suffix}" for kind in ("environment", "resource", "recipe") for suffix in ("", "summary/")
    ]
    for address in (*fixed_paths, *source_paths, *range_paths):
        assert client.get(f"{API}/{address}").status_code == 200, address
    for interval in INTERVALS:
        query = {"group_by": interval, "tz": NOWHERE}
        assert client.get(f"{API}/resource-usage/summary/", query).status_code == 400, interval


PAGES = [
    "admin:index",
    "admin:coverage",
    *(f"admin:usage_{name}_changelist" for name in ("environmentusage", "resourceusage", "recipeusage", "sourceday")),
    *(f"admin:usage_{name}_changelist" for name in ("source", "restatement", "rejectedrecord")),
]


@time_machine.travel(NOW, tick=False)
def test_no_page_breaks_for_a_source_of_a_zone_that_postgresql_does_not_know(
    sources_by_vendor: dict[str, Source],
) -> None:
    client = sign_in_as("admin")
    addresses = [reverse(name) for name in PAGES]
    addresses += [
        f"{reverse('admin:coverage')}?source={source.slug}&day=2026-10-25" for source in sources_by_vendor.values()
    ]
    addresses += [reverse("admin:usage_source_change", args=[source.pk]) for source in sources_by_vendor.values()]
    addresses += [
        reverse("admin:usage_sourceday_change", args=[source_day.pk]) for source_day in SourceDay.objects.all()[:4]
    ]
    in_zone = f"?from=2026-10-24&to=2026-10-27&tz={NOWHERE}"
    addresses += [f"{reverse(f'admin:usage_{name}usage_changelist')}{in_zone}" for name in ("environment", "recipe")]
    for address in addresses:
        assert client.get(address, follow=True).status_code == 200, address


@pytest.mark.parametrize("interval", ["hour", "day", "month"])
@pytest.mark.parametrize("kind", ["environment-usage", "recipe-usage", "usage"])
@time_machine.travel(NOW, tick=False)
def test_explore_draws_a_source_of_a_zone_that_postgresql_does_not_know(
    sources_by_vendor: dict[str, Source], kind: str, interval: str
) -> None:
    params = {"interval": interval, "vendor": "ona,workato"} if kind == "usage" else {"group_by": interval}
    page = sign_in_as("admin").get(reverse("admin:explore"), {**RANGE, **params, "kind": kind})
    assert page.status_code == 200
    assert b"explore-table" in page.content


@pytest.mark.parametrize("interval", ["none", "hour", "day", "week", "month", "year"])
def test_a_mirror_answers_in_a_zone_that_postgresql_does_not_know(
    sources_by_vendor: dict[str, Source], interval: str
) -> None:
    body = {
        "from": "2026-10-24T22:00:00.000Z", "to": "2026-10-25T23:00:00.000Z", "interval": interval,
        "workspace_ids": [501], "group_by": "recipe",
    }  # fmt: skip
    client = create_api_client(Scope.MIRROR_READ)
    address = "/mirror/workato-main/api/v2/managed_users/statistics/usage"
    response = client.post(address, json.dumps(body), content_type="application/json")
    assert response.status_code == 200
    rows = response.json()["data"]
    assert rows[0]["from"] == "2026-10-25T00:00:00.000+02:00"
    assert sum(row["task_count"] for row in rows) == 9 * 12


@pytest.mark.parametrize(("zone", "on"), SKIPPED)
def test_a_source_is_complete_through_a_date_that_its_zone_skips(zone: str, on: date) -> None:
    source = SourceFactory(time_zone=zone, backfill_from=on - timedelta(days=2))
    days = list(iterate_days(on - timedelta(days=3), on + timedelta(days=3), source.zone))
    SourceDay.objects.bulk_create(
        SourceDay(
            source=source, day=day.date, starts_at=day.start, ends_at=day.end, state=DayState.LOADED,
            complete=True, loaded_at=day.end, covered_until=day.end,
        )
        for day in days
    )  # fmt: skip
    assert get_coverage([source])[source.pk].complete_through == on + timedelta(days=2)

    SourceDay.objects.filter(day=on + timedelta(days=1)).update(complete=False)
    assert get_coverage([source])[source.pk].complete_through == on - timedelta(days=1)

    SourceDay.objects.filter(day=on + timedelta(days=1)).delete()
    assert get_coverage([source])[source.pk].complete_through == on - timedelta(days=1)


@pytest.mark.parametrize("rolled", [False, True])
@pytest.mark.parametrize(("zone", "on"), SKIPPED)
def test_gaps_are_filled_with_no_row_for_a_date_that_the_zone_skips(zone: str, on: date, rolled: bool) -> None:
    first, end = on - timedelta(days=2), on + timedelta(days=3)
    source = SourceFactory(time_zone=zone, backfill_from=first)
    EnvironmentUsageFactory(source=source, stopped_at=get_noon(on, zone), day=on + timedelta(days=1))
    create_source_days(rolled=rolled)
    query = {"from": str(first), "to": str(end), "tz": zone, "group_by": "day", "fill": "zero"}
    rows = create_api_client().get(f"{API}/environment-usage/summary/", query).json()["results"]
    assert [row["day"] for row in rows] == [str(first + timedelta(days=number)) for number in (0, 1, 3, 4)]
    assert [row["records"] for row in rows] == [0, 0, 1, 0]


@pytest.mark.parametrize(("zone", "on"), SKIPPED)
def test_runtime_accrues_on_no_date_that_the_zone_skips(zone: str, on: date) -> None:
    source = SourceFactory(time_zone=zone, backfill_from=on - timedelta(days=2))
    stopped_at = get_noon(on, zone)
    EnvironmentUsageFactory(
        source=source, created_at=stopped_at - timedelta(days=2), stopped_at=stopped_at, day=on + timedelta(days=1)
    )
    create_source_days(rolled=True)
    accrued = EnvironmentAccrual.objects.order_by("accrued_on").values_list("accrued_on", flat=True)
    assert list(accrued) == [on - timedelta(days=2), on - timedelta(days=1), on + timedelta(days=1)]


def get_noon(on: date, zone: str) -> datetime:
    """Return noon of the day after a skipped date."""
    return Day.of(on, zone).start + timedelta(hours=12)


def test_hours_that_begin_at_half_past_are_whole_hours_of_recipes() -> None:
    """On Lord Howe the clocks go from 2:00 to 2:30 in October and from 2:00 back to 1:30 in April."""
    zone = ZoneInfo("Australia/Lord_Howe")
    source = SourceFactory(slug="island", vendor="workato", time_zone=zone.key, backfill_from=date(2026, 4, 1))
    client = create_api_client()
    for on, hours, half in ((date(2026, 10, 4), 24, "02:30:00+11:00"), (date(2026, 4, 5), 24, "01:00:00+11:00")):
        starts_at = datetime.fromisoformat(f"{on}T{half}").astimezone(UTC)
        RecipeUsageFactory(source=source, starts_at=starts_at, day=on)
        query = {"from": str(on), "to": str(on + timedelta(days=1)), "tz": zone.key, "group_by": "hour", "fill": "zero"}
        rows = client.get(f"{API}/recipe-usage/summary/", query).json()["results"]
        assert len({row["hour"] for row in rows}) == len(rows) == hours
        assert {row["hour"]: row["task_count"] for row in rows if row["task_count"]} == {f"{on}T{half}": 12}
