"""Gcore's mirror: the same question gets from it, resource for resource and digit for digit, what the vendor says."""

import inspect
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import gcore
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.vendors.gcore.mirror import FILTERS
from sync.vendors.gcore.request import SORTABLE
from sync.vendors.gcore.sandbox.kinds import KINDS, PROJECTS, REGIONS, STAGES, TEAMS
from sync.vendors.gcore.schema import USAGE_REPORT
from tests.support.gcore_contract import TABLE
from tests.support.mirrored_portal import CREDENTIAL, FIRST, Pair, instant, key, read_once
from tests.support.mirrored_portal import still as still
from usage.models import ResourceUsage

pytestmark = pytest.mark.django_db(transaction=True)
DAYS = 4
END = FIRST + timedelta(days=DAYS)
by_hypothesis = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def pair(still: Any, transactional_db: None) -> Pair:
    return Pair(still, read_once(still, "gcore", end=END))


def report(answer: Any) -> dict[str, Any]:
    """Return an answer's JSON with every number exact, in a form that can be compared."""
    assert answer.status == 200, answer.body
    found: dict[str, Any] = json.loads(answer.body, parse_float=Decimal)
    return found


def normalize(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with what says the same in several ways said in one: instants, and the order of tags."""
    return [
        {
            name: datetime.fromisoformat(value)
            if name in ("first_seen", "last_seen") and isinstance(value, str)
            else sorted(value, key=str)
            if name == "tags"
            else value
            for name, value in row.items()
        }
        for row in rows
    ]


def totals(found: dict[str, Any]) -> dict[tuple[Any, ...], Decimal]:
    """Return the totals by what they are of; of types without a published shape, whatever they are split by."""
    sums: dict[tuple[Any, ...], Decimal] = {}
    for total in found["totals"]:
        known = total["type"] in TABLE
        of = tuple(sorted((n, str(v)) for n, v in total.items() if n != "billing_value" and (known or n != "model")))
        sums[of] = sums.get(of, Decimal(0)) + total["billing_value"]
    return sums


def periods() -> st.SearchStrategy[dict[str, Any]]:
    """Days of those that were read, written as instants within them."""

    def period(first: int, length: int, hour: int, last: bool) -> dict[str, Any]:
        end = min(first + length, DAYS - last)
        return {
            "time_from": instant(FIRST, 24 * min(first, end) + hour),
            "time_to": instant(FIRST, 24 * end),
            "enable_last_day": last,
        }

    return st.builds(period, st.integers(0, DAYS - 1), st.integers(0, DAYS), st.integers(0, 23), st.booleans())


def schema_filters() -> st.SearchStrategy[dict[str, Any]]:
    """Filters on every field that any type may be filtered by, with values that some resource has, and others."""
    fields = st.sampled_from([(name, field) for name, fields in FILTERS.items() for field in fields])

    def wanted(of: tuple[str, str], take: int) -> dict[str, Any]:
        name, field = of
        column = {"uuid": "resource_id", "last_name": "resource_name", "type": "resource_type"}.get(field)
        rows = ResourceUsage.objects.filter(resource_type=name).order_by("id")[:50]
        said = [getattr(row, column) if column else row.details.get(field) for row in rows]
        known = sorted({str(value) for value in said if value not in (None, "")})
        return {"type": name, "field": field, "values": [*known[:: take + 1], "none-such"]}

    return st.builds(wanted, fields, st.integers(0, 3))


def conditions() -> st.SearchStrategy[dict[str, Any]]:
    values = st.sampled_from([*TEAMS, *STAGES, "PRO", "a", "04", "büro", ""])
    return st.fixed_dictionaries(
        {},
        optional={"key": st.sampled_from(["team", "env", "os_version", "x"]), "value": values, "strict": st.booleans()},
    )


def questions() -> st.SearchStrategy[dict[str, Any]]:
    tags = st.fixed_dictionaries(
        {"conditions": st.lists(conditions(), max_size=3)}, optional={"condition_type": st.sampled_from(["AND", "OR"])}
    )
    optional: dict[str, st.SearchStrategy[Any]] = {
        "projects": st.none() | st.lists(st.sampled_from([*PROJECTS, 1]), max_size=3),
        "regions": st.lists(st.sampled_from([*REGIONS, 1]), max_size=3),
        "types": st.lists(st.sampled_from(sorted(kind.type for kind in KINDS)), max_size=5),
        "schema_filter": st.none() | schema_filters(),
        "tags": tags,
        "order_by": st.lists(st.sampled_from([f"{f}.{w}" for f in SORTABLE for w in ("asc", "desc")]), max_size=3),
        "sorting": st.lists(st.sampled_from([{"project": "desc"}, {"billing_value": "asc"}]), max_size=2),
        "limit": st.integers(1, 300),
        "offset": st.integers(0, 100),
    }
    return st.builds(lambda period, more: period | more, periods(), st.fixed_dictionaries({}, optional=optional))


def test_every_question_gets_the_vendors_answer(pair: Pair) -> None:
    @by_hypothesis
    @given(questions())
    def same(question: dict[str, Any]) -> None:
        mirror, vendor = (report(ask(USAGE_REPORT, question)) for ask in (pair.mirror, pair.vendor))
        assert mirror["count"] == vendor["count"]
        assert totals(mirror) == totals(vendor)
        assert normalize(mirror["resources"]) == normalize(vendor["resources"])

    same()


def test_every_type_can_be_filtered_by_every_field_of_the_table(pair: Pair) -> None:
    assert {name: list(fields) for name, fields in FILTERS.items() if name in TABLE} == {
        name: kind.filters for name, kind in TABLE.items()
    }
    asked = {"time_from": instant(FIRST), "time_to": instant(END), "limit": 1000}
    rows = report(pair.vendor(USAGE_REPORT, asked))["resources"]
    for name, field in ((name, field) for name, kind in TABLE.items() for field in kind.filters):
        values = sorted({str(row[field]) for row in rows if row["type"] == name and row[field] is not None})[::2]
        question = asked | {"schema_filter": {"type": name, "field": field, "values": values}}
        mirror, vendor = (report(ask(USAGE_REPORT, question)) for ask in (pair.mirror, pair.vendor))
        assert normalize(mirror["resources"]) == normalize(vendor["resources"])
        assert (mirror["count"], totals(mirror)) == (vendor["count"], totals(vendor))
        assert (vendor["count"] > 0) == bool(values)


def test_numbers_keep_every_digit(pair: Pair) -> None:
    row = ResourceUsage.objects.filter(day=FIRST).order_by("id").first()
    exact = Decimal("12345678901234567890.123456789012345678901234567890")
    ResourceUsage.objects.filter(pk=row.pk).update(consumed_quantity=exact)
    asked = {"time_from": instant(FIRST), "time_to": instant(FIRST, 24), "limit": 1000, "types": [row.resource_type]}
    found = report(pair.mirror(USAGE_REPORT, asked))
    assert [one["billing_value"] for one in found["resources"]].count(exact) == 1


def test_a_type_that_nobody_documented_is_given_as_it_came(pair: Pair) -> None:
    asked = {
        "time_from": instant(FIRST),
        "time_to": instant(FIRST, 24),
        "limit": 1000,
        "types": ["inference_public_models"],
    }
    mirror, vendor = (report(ask(USAGE_REPORT, asked)) for ask in (pair.mirror, pair.vendor))
    assert normalize(mirror["resources"]) == normalize(vendor["resources"])
    assert len(vendor["resources"]) > 0


def test_the_vendors_sdk_gets_the_same_objects(pair: Pair, live_server: Any) -> None:
    asked: dict[str, Any] = {"time_from": instant(FIRST), "time_to": instant(END), "limit": 1000}
    vendor_url, mirror_url = f"{pair.server.url}/gcore", f"{live_server.url}/mirror/gcore-main"
    with (
        gcore.Gcore(api_key=CREDENTIAL, base_url=vendor_url, max_retries=0) as vendor,
        gcore.Gcore(api_key=key(pair.source), base_url=mirror_url, max_retries=0) as mirror,
    ):
        get: Callable[..., Any] = mirror.cloud.usage_reports.get
        given, mirrored = vendor.cloud.usage_reports.get(**asked), get(**asked)
        assert mirrored.count == given.count == len(given.resources)
        assert [normalize([one.to_dict()]) for one in mirrored.resources] == [
            normalize([one.to_dict()]) for one in given.resources
        ]
        assert [type(one) for one in mirrored.resources] == [type(one) for one in given.resources]
        with pytest.raises(gcore.BadRequestError) as refused:
            get(time_from="2026-11-17", time_to="2026-11-18")
        assert "time_from" in refused.value.body["invalid_fields"]
    with gcore.Gcore(api_key="1234$unknown", base_url=mirror_url, max_retries=0) as stranger:
        with pytest.raises(gcore.AuthenticationError):
            stranger.cloud.usage_reports.get(**asked)


def test_the_vendors_sdk_gets_the_same_objects_whatever_it_asks(pair: Pair, live_server: Any) -> None:
    with (
        gcore.Gcore(api_key=CREDENTIAL, base_url=f"{pair.server.url}/gcore", max_retries=0) as vendor,
        gcore.Gcore(api_key=key(pair.source), base_url=f"{live_server.url}/mirror/gcore-main", max_retries=0) as mirror,
    ):
        named = inspect.signature(vendor.cloud.usage_reports.get).parameters.keys()

        @by_hypothesis
        @given(questions())
        def same(question: dict[str, Any]) -> None:
            asked = {name: value for name, value in question.items() if name in named}
            besides = {name: value for name, value in question.items() if name not in named}
            found = []
            for client in (vendor, mirror):
                get: Callable[..., Any] = client.cloud.usage_reports.get
                found.append(get(**asked, extra_body=besides or None))
            given, mirrored = found
            assert mirrored.count == given.count
            assert [type(one) for one in mirrored.resources] == [type(one) for one in given.resources]
            assert normalize([one.to_dict() for one in mirrored.resources]) == normalize(
                [one.to_dict() for one in given.resources]
            )

        same()


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"offset": -1},
        {"types": ["spaceship"]},
        {"order_by": ["price.asc"]},
        {"schema_filter": {"type": "instance", "field": "ip_address", "values": []}},
        {"time_to": instant(FIRST, -24)},
        {"tags": {"conditions": [], "condition_type": "XOR"}},
        {"tags": {"conditions": [{}] * 101}},
        {"time_to": "9999-12-31T00:00:00Z", "enable_last_day": True},
    ],
)
def test_wrong_input_gets_the_vendors_kind_of_400(pair: Pair, wrong: dict[str, Any]) -> None:
    asked = {"time_from": instant(FIRST), "time_to": instant(END), **wrong}
    mirror, vendor = pair.mirror(USAGE_REPORT, asked), pair.vendor(USAGE_REPORT, asked)
    said, expected = json.loads(mirror.body), json.loads(vendor.body)
    assert (mirror.status, said["invalid_fields"].keys()) == (400, expected["invalid_fields"].keys())
    assert said["exception_class"] == expected["exception_class"] == "ValidationError"


def test_what_was_withdrawn_is_not_reported(pair: Pair) -> None:
    asked = {"time_from": instant(FIRST), "time_to": instant(FIRST, 24), "limit": 1}
    before = report(pair.mirror(USAGE_REPORT, asked))["count"]
    gone = ResourceUsage.objects.filter(day=FIRST).values_list("pk", flat=True)[:3]
    ResourceUsage.objects.filter(pk__in=list(gone)).update(withdrawn_at=datetime.now(UTC))
    assert report(pair.mirror(USAGE_REPORT, asked))["count"] == before - 3
