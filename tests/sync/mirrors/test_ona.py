"""Ona's mirror returns the vendor's records, one by one, to both generations of the vendor's SDK."""

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
from tests.support.mirrored_portal import CREDENTIAL, END, FIRST, Pair, create_mirror_key, read_once
from tests.support.mirrored_portal import frozen_sandbox as frozen_sandbox
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
def pair(frozen_sandbox: Any, transactional_db: None) -> Pair:
    return Pair(frozen_sandbox, read_once(frozen_sandbox, "ona"))


def build_body(start: datetime, end: datetime, size: int = 100, token: str = "", project: str = "") -> dict[str, Any]:
    dates = {"startTime": start.isoformat(), "endTime": end.isoformat()}
    return {"filter": {"dateRange": dates, "projectId": project}, "pagination": {"pageSize": size, "token": token}}


def open_old_sdk(base_url: str, secret: str) -> Gitpod:
    return Gitpod(bearer_token=secret, base_url=base_url, max_retries=0)


def list_by_old_sdk(client: Gitpod, filters: dict[str, Any], size: int) -> list[str]:
    listing = client.usage.list_environment_runtime_records(filter=filters, pagination={"page_size": size})  # type: ignore[arg-type]
    return [repr([getattr(record, name) for name in FIELDS]) for record in listing]


def ranges() -> st.SearchStrategy[tuple[datetime, datetime]]:
    """Ranges within the synced days, to the microsecond."""
    offsets = st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH)).map(sorted)
    return offsets.map(lambda ends: (START + timedelta(microseconds=ends[0]), START + timedelta(microseconds=ends[1])))


def test_the_old_sdk_gets_record_for_record_what_the_vendor_gives(pair: Pair, live_server: Any) -> None:
    projects = ["", *EnvironmentUsage.objects.values_list("project_id", flat=True).distinct()[:4]]

    @by_hypothesis
    @given(ranges(), st.integers(1, 100), st.sampled_from(projects))
    def compare(ends: tuple[datetime, datetime], size: int, project: str) -> None:
        filters: dict[str, Any] = {"date_range": {"start_time": ends[0], "end_time": ends[1]}}
        if project:
            filters["project_id"] = project
        counts = [Counter(list_by_old_sdk(client, filters, max(size, 20))) for client in (vendor, mirror)]
        assert counts[0] == counts[1]

    with (
        open_old_sdk(f"{pair.server.url}/ona/api", CREDENTIAL) as vendor,
        open_old_sdk(f"{live_server.url}/mirror/ona-main/api", create_mirror_key(pair.source)) as mirror,
    ):
        compare()


def test_the_modern_sdk_gets_every_record_to_the_nanosecond(pair: Pair, live_server: Any) -> None:
    end = START + timedelta(days=2)
    vendor = ona_sdk_1x.list_records(f"{pair.server.url}/ona/api", CREDENTIAL, START, end, 60)
    mirror = ona_sdk_1x.list_records(f"{live_server.url}/mirror/ona-main/api", create_mirror_key(), START, end, 60)

    assert mirror["error"] is None
    counts = [
        Counter(msgspec.json.encode(record) for page in listing["pages"] for record in page)
        for listing in (vendor, mirror)
    ]
    assert counts[0] == counts[1]
    assert counts[1].total() > 200
    assert [len(page) for page in mirror["pages"][:-1]] == [60] * (len(mirror["pages"]) - 1)


def test_the_modern_sdk_gets_the_same_whatever_it_asks(pair: Pair, live_server: Any) -> None:
    secret = create_mirror_key(pair.source)
    projects = ["", *EnvironmentUsage.objects.values_list("project_id", flat=True).distinct()[:4]]

    # Few, as each takes two processes of the SDK's own environment.
    @settings(by_hypothesis, max_examples=5)
    @given(ranges(), st.integers(20, 100), st.sampled_from(projects))
    def compare(ends: tuple[datetime, datetime], size: int, project: str) -> None:
        vendor = ona_sdk_1x.list_records(f"{pair.server.url}/ona/api", CREDENTIAL, *ends, size, project)
        mirror = ona_sdk_1x.list_records(f"{live_server.url}/mirror/ona-main/api", secret, *ends, size, project)
        assert (vendor["error"], mirror["error"]) == (None, None)
        counts = [
            Counter(msgspec.json.encode(record) for page in listing["pages"] for record in page)
            for listing in (vendor, mirror)
        ]
        assert counts[0] == counts[1]

    compare()


def test_a_last_page_that_is_full_has_pagination_without_a_token(pair: Pair) -> None:
    end = START + timedelta(hours=10)
    number = EnvironmentUsage.objects.current().filter(stopped_at__gte=START, stopped_at__lt=end).count()
    for size in (number, number + 1):
        response = msgspec.json.decode(pair.mirror(PATH, build_body(START, end, size=size)).body)
        assert len(response["records"]) == number <= 99
        assert response["pagination"] == {}


def test_the_query_wins_over_the_body(pair: Pair) -> None:
    body = build_body(START, START + timedelta(days=1), size=5)
    first = msgspec.json.decode(pair.mirror(PATH, body, pageSize=["7"]).body)
    token = first["pagination"]["nextToken"]
    second = msgspec.json.decode(pair.mirror(PATH, body, pageSize=["7"], token=[token]).body)

    assert (len(first["records"]), len(second["records"])) == (7, 7)
    assert not {record["id"] for record in first["records"]} & {record["id"] for record in second["records"]}


def test_a_token_stays_good_while_days_are_read_again(pair: Pair) -> None:
    dates = {"startTime": START.isoformat(), "endTime": (START + timedelta(days=1)).isoformat()}

    def fetch_page(size: int, token: str = "") -> tuple[list[str], str]:
        body = {"filter": {"dateRange": dates}, "pagination": {"pageSize": size, "token": token}}
        response = msgspec.json.decode(pair.mirror(PATH, body).body)
        records = [f"{record['id']} {record['stoppedAt']}" for record in response["records"]]
        return records, response["pagination"].get("nextToken", "")

    def get_stopped_at(record: str) -> datetime:
        return datetime.fromisoformat(record.split()[1])

    def list_all() -> list[str]:
        records, token = fetch_page(100)
        while token:
            more, token = fetch_page(100, token)
            records += more
        return records

    before = list_all()
    all_records, token = fetch_page(40)
    pair.server.world.edits["ona", FIRST] = Edit(restated=0.2, vanished=0.2, late=0.2)
    try:
        request_sync(pair.source, FIRST, FIRST + timedelta(days=1), Trigger.COMMAND)
        with override_settings(PORTAL_ALLOWED_VENDOR_HOSTS=["127.0.0.1:*"]):
            load_next(pair.source.pk)
    finally:
        del pair.server.world.edits["ona", FIRST]
    while token:
        more, token = fetch_page(40, token)
        all_records += more
    after = list_all()

    assert len(set(before) - set(after)) > 10
    assert len(set(after) - set(before)) > 10
    assert len(all_records) == len(set(all_records))
    assert set(before) & set(after) <= set(all_records)
    assert all_records[:40] == before[:40]
    assert all_records[40:] == [record for record in after if get_stopped_at(record) > get_stopped_at(before[39])]


def test_records_without_an_id_or_with_more_digits_are_given_as_they_came(pair: Pair) -> None:
    stopped_at = START + timedelta(hours=12, microseconds=1)
    EnvironmentUsage.objects.update(withdrawn_at=stopped_at)
    EnvironmentUsage.objects.create(
        source=pair.source,
        day=FIRST,
        record_id="~0f",
        stopped_at=stopped_at,
        extra={"stoppedAt": "2026-11-09T12:00:00.000001789Z", "x": 1},
    )

    def list_records(start: str, end: str) -> Any:
        dates = {"startTime": start, "endTime": end}
        return msgspec.json.decode(pair.mirror(PATH, {"filter": {"dateRange": dates}}).body)["records"]

    record = {"stoppedAt": "2026-11-09T12:00:00.000001789Z", "x": 1}
    assert list_records("2026-11-09T12:00:00.000001789Z", "2026-11-09T12:00:00.000001790Z") == [record]
    assert list_records("2026-11-09T12:00:00.000001790Z", "2026-11-09T13:00:00Z") == []
    assert list_records("2026-11-09T12:00:00Z", "2026-11-09T12:00:00.000001789Z") == []


@pytest.mark.parametrize("overrides", [{"size": 101}, {"size": -1}, {"token": "made-up"}])
def test_what_the_vendor_refuses_is_refused_in_its_words(pair: Pair, overrides: dict[str, Any]) -> None:
    body = build_body(START, START + timedelta(days=1), **overrides)
    mirror, vendor = pair.mirror(PATH, body), pair.vendor(PATH, body)
    assert (mirror.status, mirror.body) == (vendor.status, vendor.body)
    assert mirror.status == 400


def test_both_sdks_understand_a_refused_token(pair: Pair, live_server: Any) -> None:
    base_url = f"{live_server.url}/mirror/ona-main/api"
    filters = {"date_range": {"start_time": START, "end_time": START + timedelta(days=1)}}
    with open_old_sdk(base_url, "up_unknown") as client, pytest.raises(gitpod.AuthenticationError):
        list_by_old_sdk(client, filters, 10)
    assert ona_sdk_1x.list_records(base_url, "up_unknown", START, START)["error"][0] == "unauthenticated"
