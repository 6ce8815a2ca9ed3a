"""Ona's mirror: both generations of the vendor's SDK get from it, record for record, what the vendor gives."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import gitpod
import msgspec
import pytest
from django.test import override_settings
from gitpod import Gitpod
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.engine.load import load_next
from sync.engine.plan import request_sync
from sync.models import Trigger
from sync.sandbox.world import Edit
from sync.vendors.ona.connect import LIST
from tests.support import ona_sdk_1x
from tests.support.mirrored_portal import CREDENTIAL, END, FIRST, Pair, key, read_once
from tests.support.mirrored_portal import still as still
from usage.models import EnvironmentUsage

pytestmark = pytest.mark.django_db(transaction=True)
PATH = f"/api{LIST}"
START = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
FIELDS = (
    "id",
    "created_at",
    "environment_class_id",
    "environment_id",
    "project_id",
    "runner_id",
    "stopped_at",
    "user_id",
)
LENGTH = (END - FIRST).days * 24 * 3600 * 10**6  # microseconds
by_hypothesis = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def pair(still: Any, transactional_db: None) -> Pair:
    return Pair(still, read_once(still, "ona"))


def body(start: datetime, end: datetime, size: int = 100, token: str = "", project: str = "") -> dict[str, Any]:
    dates = {"startTime": start.isoformat(), "endTime": end.isoformat()}
    return {"filter": {"dateRange": dates, "projectId": project}, "pagination": {"pageSize": size, "token": token}}


def open_old_sdk(base_url: str, secret: str) -> Gitpod:
    return Gitpod(bearer_token=secret, base_url=base_url, max_retries=0)


def list_by_old_sdk(client: Gitpod, wanted: dict[str, Any], size: int) -> list[str]:
    listing = client.usage.list_environment_runtime_records(filter=wanted, pagination={"page_size": size})  # type: ignore[arg-type]
    return [repr([getattr(record, name) for name in FIELDS]) for record in listing]


def ranges() -> st.SearchStrategy[tuple[datetime, datetime]]:
    """Ranges in the days that were read, to the microsecond."""
    places = st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH)).map(sorted)
    return places.map(lambda ends: (START + timedelta(microseconds=ends[0]), START + timedelta(microseconds=ends[1])))


def test_the_old_sdk_gets_record_for_record_what_the_vendor_gives(pair: Pair, live_server: Any) -> None:
    projects = ["", *EnvironmentUsage.objects.values_list("project_id", flat=True).distinct()[:4]]

    @by_hypothesis
    @given(ranges(), st.integers(1, 100), st.sampled_from(projects))
    def same(ends: tuple[datetime, datetime], size: int, project: str) -> None:
        wanted: dict[str, Any] = {"date_range": {"start_time": ends[0], "end_time": ends[1]}}
        if project:
            wanted["project_id"] = project
        found = [Counter(list_by_old_sdk(client, wanted, max(size, 20))) for client in (vendor, mirror)]
        assert found[0] == found[1]

    with (
        open_old_sdk(f"{pair.server.url}/ona/api", CREDENTIAL) as vendor,
        open_old_sdk(f"{live_server.url}/mirror/ona-main/api", key(pair.source)) as mirror,
    ):
        same()


def test_the_modern_sdk_gets_every_record_to_the_nanosecond(pair: Pair, live_server: Any) -> None:
    end = START + timedelta(days=2)
    vendor = ona_sdk_1x.listed(f"{pair.server.url}/ona/api", CREDENTIAL, START, end, 60)
    mirror = ona_sdk_1x.listed(f"{live_server.url}/mirror/ona-main/api", key(), START, end, 60)

    assert mirror["error"] is None
    said = [Counter(msgspec.json.encode(one) for page in found["pages"] for one in page) for found in (vendor, mirror)]
    assert said[0] == said[1]
    assert said[1].total() > 200
    assert [len(page) for page in mirror["pages"][:-1]] == [60] * (len(mirror["pages"]) - 1)


def test_the_modern_sdk_gets_the_same_whatever_it_asks(pair: Pair, live_server: Any) -> None:
    secret = key(pair.source)
    projects = ["", *EnvironmentUsage.objects.values_list("project_id", flat=True).distinct()[:4]]

    # Few, as each takes two processes of the SDK's own environment.
    @settings(by_hypothesis, max_examples=5)
    @given(ranges(), st.integers(20, 100), st.sampled_from(projects))
    def same(ends: tuple[datetime, datetime], size: int, project: str) -> None:
        vendor = ona_sdk_1x.listed(f"{pair.server.url}/ona/api", CREDENTIAL, *ends, size, project)
        mirror = ona_sdk_1x.listed(f"{live_server.url}/mirror/ona-main/api", secret, *ends, size, project)
        assert (vendor["error"], mirror["error"]) == (None, None)
        said = [
            Counter(msgspec.json.encode(one) for page in found["pages"] for one in page) for found in (vendor, mirror)
        ]
        assert said[0] == said[1]

    same()


def test_a_last_page_that_is_full_has_pagination_without_a_token(pair: Pair) -> None:
    end = START + timedelta(hours=10)
    number = EnvironmentUsage.objects.current().filter(stopped_at__gte=START, stopped_at__lt=end).count()
    for size in (number, number + 1):
        answer = msgspec.json.decode(pair.mirror(PATH, body(START, end, size=size)).body)
        assert len(answer["records"]) == number <= 99
        assert answer["pagination"] == {}


def test_the_query_wins_over_the_body(pair: Pair) -> None:
    asked = body(START, START + timedelta(days=1), size=5)
    first = msgspec.json.decode(pair.mirror(PATH, asked, pageSize=["7"]).body)
    token = first["pagination"]["nextToken"]
    second = msgspec.json.decode(pair.mirror(PATH, asked, pageSize=["7"], token=[token]).body)

    assert (len(first["records"]), len(second["records"])) == (7, 7)
    assert not {record["id"] for record in first["records"]} & {record["id"] for record in second["records"]}


def test_a_token_stays_good_while_days_are_read_again(pair: Pair) -> None:
    dates = {"startTime": START.isoformat(), "endTime": (START + timedelta(days=1)).isoformat()}

    def page(size: int, token: str = "") -> tuple[list[str], str]:
        asked = {"filter": {"dateRange": dates}, "pagination": {"pageSize": size, "token": token}}
        found = msgspec.json.decode(pair.mirror(PATH, asked).body)
        said = [f"{one['id']} {one['stoppedAt']}" for one in found["records"]]
        return said, found["pagination"].get("nextToken", "")

    def stopped(one: str) -> datetime:
        return datetime.fromisoformat(one.split()[1])

    def whole() -> list[str]:
        found, token = page(100)
        while token:
            more, token = page(100, token)
            found += more
        return found

    before = whole()
    listed, token = page(40)
    pair.server.world.edits["ona", FIRST] = Edit(restated=0.2, vanished=0.2, late=0.2)
    try:
        request_sync(pair.source, FIRST, FIRST + timedelta(days=1), Trigger.COMMAND)
        with override_settings(PORTAL_ALLOWED_VENDOR_HOSTS=["127.0.0.1:*"]):
            load_next(pair.source.pk)
    finally:
        del pair.server.world.edits["ona", FIRST]
    while token:
        more, token = page(40, token)
        listed += more
    after = whole()

    assert len(set(before) - set(after)) > 10
    assert len(set(after) - set(before)) > 10
    assert len(listed) == len(set(listed))
    assert set(before) & set(after) <= set(listed)
    assert listed[:40] == before[:40]
    assert listed[40:] == [one for one in after if stopped(one) > stopped(before[39])]


def test_records_without_an_id_or_with_more_digits_are_given_as_they_came(pair: Pair) -> None:
    wanted = START + timedelta(hours=12, microseconds=1)
    EnvironmentUsage.objects.update(withdrawn_at=wanted)
    EnvironmentUsage.objects.create(
        source=pair.source,
        day=FIRST,
        record_id="~0f",
        stopped_at=wanted,
        extra={"stoppedAt": "2026-11-09T12:00:00.000001789Z", "x": 1},
    )

    def found(start: str, end: str) -> Any:
        dates = {"startTime": start, "endTime": end}
        return msgspec.json.decode(pair.mirror(PATH, {"filter": {"dateRange": dates}}).body)["records"]

    record = {"stoppedAt": "2026-11-09T12:00:00.000001789Z", "x": 1}
    assert found("2026-11-09T12:00:00.000001789Z", "2026-11-09T12:00:00.000001790Z") == [record]
    assert found("2026-11-09T12:00:00.000001790Z", "2026-11-09T13:00:00Z") == []
    assert found("2026-11-09T12:00:00Z", "2026-11-09T12:00:00.000001789Z") == []


@pytest.mark.parametrize("wrong", [{"size": 101}, {"size": -1}, {"token": "made-up"}])
def test_what_the_vendor_refuses_is_refused_in_its_words(pair: Pair, wrong: dict[str, Any]) -> None:
    asked = body(START, START + timedelta(days=1), **wrong)
    mirror, vendor = pair.mirror(PATH, asked), pair.vendor(PATH, asked)
    assert (mirror.status, mirror.body) == (vendor.status, vendor.body)
    assert mirror.status == 400


def test_both_sdks_understand_a_refused_token(pair: Pair, live_server: Any) -> None:
    base_url = f"{live_server.url}/mirror/ona-main/api"
    wanted = {"date_range": {"start_time": START, "end_time": START + timedelta(days=1)}}
    with open_old_sdk(base_url, "up_unknown") as client, pytest.raises(gitpod.AuthenticationError):
        list_by_old_sdk(client, wanted, 10)
    assert ona_sdk_1x.listed(base_url, "up_unknown", START, START)["error"][0] == "unauthenticated"
