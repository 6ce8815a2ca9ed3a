"""Days on which clocks change at midnight or by half an hour: sandbox, mirror and portal name the same hours."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest

from sync.engine.load import load_next
from sync.engine.plan import ensure_days
from sync.sandbox.world import World
from sync.vendors.workato.schema import USAGE
from tests.support import mirrored_portal
from tests.support.mirrored_portal import Pair, create_mirror_key, read_all
from tests.support.sandbox_server import SandboxServer
from tests.sync.mirrors.test_workato import list_values, parse_data
from usage.days import Day
from usage.models import RecipeUsage, Source, SourceDay

pytestmark = pytest.mark.django_db(transaction=True)
# Zone, date, and the bounds of some hours of it as the vendor writes them.
CHANGES = [
    (
        "America/Havana",
        date(2026, 11, 1),
        [
            ("2026-11-01T00:00:00.000-04:00", "2026-11-01T00:00:00.000-05:00"),
            ("2026-11-01T00:00:00.000-05:00", "2026-11-01T01:00:00.000-05:00"),
        ],
    ),
    (
        "America/Havana",
        date(2026, 3, 8),
        [("2026-03-08T01:00:00.000-04:00", "2026-03-08T02:00:00.000-04:00")],
    ),
    (
        "Australia/Lord_Howe",
        date(2026, 4, 5),
        [
            ("2026-04-05T01:00:00.000+11:00", "2026-04-05T01:30:00.000+10:30"),
            ("2026-04-05T01:30:00.000+10:30", "2026-04-05T02:00:00.000+10:30"),
        ],
    ),
    (
        "Australia/Lord_Howe",
        date(2026, 10, 4),
        [
            ("2026-10-04T01:00:00.000+10:30", "2026-10-04T02:30:00.000+11:00"),
            ("2026-10-04T02:30:00.000+11:00", "2026-10-04T03:00:00.000+11:00"),
        ],
    ),
]
CHANGED = pytest.mark.parametrize(("zone", "on", "hours"), CHANGES)


@pytest.fixture
def pair(zone: str, on: date, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A portal that has synced the day, and the days around it, from a stand-in in that zone."""
    now = datetime(on.year, on.month, on.day, 15, tzinfo=UTC) + timedelta(days=9)
    monkeypatch.setitem(mirrored_portal.ZONES, "workato", zone)
    with SandboxServer(World(days=30, now=lambda: now, zone=zone)) as server:
        yield Pair(server, read_all(server, "workato", on - timedelta(days=1), on + timedelta(days=2)))


def build_body(zone: str, on: date, **more: Any) -> dict[str, Any]:
    """Return the body of a request for a day and the days around it."""
    start, end = (Day.of(on + timedelta(days=offset), zone).start for offset in (-1, 2))
    bounds = {"from": start.isoformat(timespec="milliseconds"), "to": end.isoformat(timespec="milliseconds")}
    return {**bounds, "workspace_ids": list_values("workspace_id"), **more}


@CHANGED
def test_the_mirror_and_a_portal_that_reads_it_name_the_hours_and_the_days_that_the_vendor_names(
    pair: Pair, zone: str, on: date, hours: list[tuple[str, str]], live_server: Any, settings: Any
) -> None:
    compare_intervals(pair, zone, on, hours)

    settings.PORTAL_ALLOWED_VENDOR_HOSTS = [urlsplit(live_server.url).netloc]
    second = Source.objects.create(
        slug="second",
        vendor="workato",
        base_url=f"{live_server.url}/mirror/{pair.source.slug}",
        credential=create_mirror_key(pair.source),
        time_zone=zone,
        backfill_from=on,
    )
    ensure_days(second, on - timedelta(days=1), on + timedelta(days=2))
    for _ in range(3):
        assert load_next(second.pk) is not None
    assert list_rows(second) == list_rows(pair.source)
    assert set(SourceDay.objects.values_list("state", "complete")) == {("loaded", True)}
    stored = RecipeUsage.objects.filter(source=second, day=on)
    bounds = {tuple(map(datetime.fromisoformat, hour)) for hour in hours}
    assert bounds <= set(stored.values_list("starts_at", "ends_at"))


def compare_intervals(pair: Pair, zone: str, on: date, hours: list[tuple[str, str]]) -> None:
    """Expect mirror and vendor to respond alike for every interval, with these hours and with days without a gap."""
    for interval in ("none", "hour", "day", "week", "month", "year"):
        body = build_body(zone, on, interval=interval, group_by="recipe")
        mirror, vendor = parse_data(pair.mirror(USAGE, body)), parse_data(pair.vendor(USAGE, body))
        assert mirror == vendor
        assert mirror
        if interval == "hour":
            assert set(hours) <= {(row["from"], row["to"]) for row in mirror}
        if interval == "day":
            days = {row["from"]: row["to"] for row in mirror}
            assert len(days) == 3
            assert all(
                days[start] == following for start, following in pairwise(sorted(days, key=datetime.fromisoformat))
            )


def list_rows(source: Source) -> list[Any]:
    """Return all stored rows of a source in a fixed order."""
    columns = [name for name in RecipeUsage.row._fields if name != "id"]
    return list(
        RecipeUsage.objects.filter(source=source, withdrawn_at=None)
        .order_by("day", *RecipeUsage.key)
        .values_list("day", *columns)
    )
