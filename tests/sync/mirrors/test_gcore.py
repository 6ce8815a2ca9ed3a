"""Gcore's mirror returns for the same request the same resources as the vendor, to the last digit."""

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
from sync.vendors.gcore.sandbox.kinds import PROJECTS, REGIONS, RESOURCE_KINDS, STAGES, TEAMS
from sync.vendors.gcore.schema import USAGE_REPORT
from tests.support.gcore_contract import TABLE
from tests.support.mirrored_portal import CREDENTIAL, FIRST, Pair, create_mirror_key, format_instant, read_once
from tests.support.mirrored_portal import frozen_sandbox as frozen_sandbox
from usage.models import ResourceUsage

pytestmark = pytest.mark.django_db(transaction=True)
DAYS = 4
END = FIRST + timedelta(days=DAYS)
by_hypothesis = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def pair(frozen_sandbox: Any, transactional_db: None) -> Pair:
    return Pair(frozen_sandbox, read_once(frozen_sandbox, "gcore", end=END))


def parse_report(response: Any) -> dict[str, Any]:
    """Return an answer's JSON with every number exact, in a form that can be compared."""
    assert response.status == 200, response.body
    body: dict[str, Any] = json.loads(response.body, parse_float=Decimal)
    return body


def normalize_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in one form: instants are parsed and tags sorted, as both may be written in several ways."""
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


def sum_totals(body: dict[str, Any]) -> dict[tuple[Any, ...], Decimal]:
    """Return the totals by their fields; those of types without a published shape are summed over `model`."""
    sums: dict[tuple[Any, ...], Decimal] = {}
    for total in body["totals"]:
        is_documented = total["type"] in TABLE
        group = tuple(
            sorted((n, str(v)) for n, v in total.items() if n != "billing_value" and (is_documented or n != "model"))
        )
        sums[group] = sums.get(group, Decimal(0)) + total["billing_value"]
    return sums


def periods() -> st.SearchStrategy[dict[str, Any]]:
    """Periods within the synced days, written as instants."""

    def period(first: int, length: int, hour: int, last: bool) -> dict[str, Any]:
        end = min(first + length, DAYS - last)
        return {
            "time_from": format_instant(FIRST, 24 * min(first, end) + hour),
            "time_to": format_instant(FIRST, 24 * end),
            "enable_last_day": last,
        }

    return st.builds(period, st.integers(0, DAYS - 1), st.integers(0, DAYS), st.integers(0, 23), st.booleans())


def schema_filters() -> st.SearchStrategy[dict[str, Any]]:
    """Filters on every field that any type may be filtered by, with values that some resource has, and others."""
    fields = st.sampled_from([(name, field) for name, fields in FILTERS.items() for field in fields])

    def build_filter(type_and_field: tuple[str, str], take: int) -> dict[str, Any]:
        name, field = type_and_field
        column = {"uuid": "resource_id", "last_name": "resource_name", "type": "resource_type"}.get(field)
        rows = ResourceUsage.objects.filter(resource_type=name).order_by("id")[:50]
        values = [getattr(row, column) if column else row.details.get(field) for row in rows]
        known_values = sorted({str(value) for value in values if value not in (None, "")})
        return {"type": name, "field": field, "values": [*known_values[:: take + 1], "none-such"]}

    return st.builds(build_filter, fields, st.integers(0, 3))


def conditions() -> st.SearchStrategy[dict[str, Any]]:
    values = st.sampled_from([*TEAMS, *STAGES, "PRO", "a", "04", "büro", ""])
    return st.fixed_dictionaries(
        {},
        optional={"key": st.sampled_from(["team", "env", "os_version", "x"]), "value": values, "strict": st.booleans()},
    )


def request_bodies() -> st.SearchStrategy[dict[str, Any]]:
    tags = st.fixed_dictionaries(
        {"conditions": st.lists(conditions(), max_size=3)}, optional={"condition_type": st.sampled_from(["AND", "OR"])}
    )
    optional: dict[str, st.SearchStrategy[Any]] = {
        "projects": st.none() | st.lists(st.sampled_from([*PROJECTS, 1]), max_size=3),
        "regions": st.lists(st.sampled_from([*REGIONS, 1]), max_size=3),
        "types": st.lists(st.sampled_from(sorted(kind.type for kind in RESOURCE_KINDS)), max_size=5),
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
    @given(request_bodies())
    def compare(body: dict[str, Any]) -> None:
        mirror, vendor = (parse_report(send(USAGE_REPORT, body)) for send in (pair.mirror, pair.vendor))
        assert mirror["count"] == vendor["count"]
        assert sum_totals(mirror) == sum_totals(vendor)
        assert normalize_rows(mirror["resources"]) == normalize_rows(vendor["resources"])

    compare()


def test_every_type_can_be_filtered_by_every_field_of_the_table(pair: Pair) -> None:
    assert {name: list(fields) for name, fields in FILTERS.items() if name in TABLE} == {
        name: kind.filters for name, kind in TABLE.items()
    }
    params = {"time_from": format_instant(FIRST), "time_to": format_instant(END), "limit": 1000}
    rows = parse_report(pair.vendor(USAGE_REPORT, params))["resources"]
    for name, field in ((name, field) for name, kind in TABLE.items() for field in kind.filters):
        values = sorted({str(row[field]) for row in rows if row["type"] == name and row[field] is not None})[::2]
        body = params | {"schema_filter": {"type": name, "field": field, "values": values}}
        mirror, vendor = (parse_report(send(USAGE_REPORT, body)) for send in (pair.mirror, pair.vendor))
        assert normalize_rows(mirror["resources"]) == normalize_rows(vendor["resources"])
        assert (mirror["count"], sum_totals(mirror)) == (vendor["count"], sum_totals(vendor))
        assert (vendor["count"] > 0) == bool(values)


def test_numbers_keep_every_digit(pair: Pair) -> None:
    row = ResourceUsage.objects.filter(day=FIRST).order_by("id").first()
    exact = Decimal("12345678901234567890.123456789012345678901234567890")
    ResourceUsage.objects.filter(pk=row.pk).update(consumed_quantity=exact)
    body = {
        "time_from": format_instant(FIRST),
        "time_to": format_instant(FIRST, 24),
        "limit": 1000,
        "types": [row.resource_type],
    }
    report = parse_report(pair.mirror(USAGE_REPORT, body))
    assert [resource["billing_value"] for resource in report["resources"]].count(exact) == 1


def test_a_type_that_nobody_documented_is_given_as_it_came(pair: Pair) -> None:
    body = {
        "time_from": format_instant(FIRST),
        "time_to": format_instant(FIRST, 24),
        "limit": 1000,
        "types": ["inference_public_models"],
    }
    mirror, vendor = (parse_report(send(USAGE_REPORT, body)) for send in (pair.mirror, pair.vendor))
    assert normalize_rows(mirror["resources"]) == normalize_rows(vendor["resources"])
    assert len(vendor["resources"]) > 0


def test_the_vendors_sdk_gets_the_same_objects(pair: Pair, live_server: Any) -> None:
    params: dict[str, Any] = {"time_from": format_instant(FIRST), "time_to": format_instant(END), "limit": 1000}
    vendor_url, mirror_url = f"{pair.server.url}/gcore", f"{live_server.url}/mirror/gcore-main"
    with (
        gcore.Gcore(api_key=CREDENTIAL, base_url=vendor_url, max_retries=0) as vendor,
        gcore.Gcore(api_key=create_mirror_key(pair.source), base_url=mirror_url, max_retries=0) as mirror,
    ):
        get: Callable[..., Any] = mirror.cloud.usage_reports.get
        vendor_report, mirror_report = vendor.cloud.usage_reports.get(**params), get(**params)
        assert mirror_report.count == vendor_report.count == len(vendor_report.resources)
        assert [normalize_rows([resource.to_dict()]) for resource in mirror_report.resources] == [
            normalize_rows([resource.to_dict()]) for resource in vendor_report.resources
        ]
        assert [type(resource) for resource in mirror_report.resources] == [
            type(resource) for resource in vendor_report.resources
        ]
        with pytest.raises(gcore.BadRequestError) as exc_info:
            get(time_from="2026-11-17", time_to="2026-11-18")
        assert "time_from" in exc_info.value.body["invalid_fields"]
    with gcore.Gcore(api_key="1234$unknown", base_url=mirror_url, max_retries=0) as stranger:
        with pytest.raises(gcore.AuthenticationError):
            stranger.cloud.usage_reports.get(**params)


def test_the_vendors_sdk_gets_the_same_objects_whatever_it_asks(pair: Pair, live_server: Any) -> None:
    with (
        gcore.Gcore(api_key=CREDENTIAL, base_url=f"{pair.server.url}/gcore", max_retries=0) as vendor,
        gcore.Gcore(
            api_key=create_mirror_key(pair.source), base_url=f"{live_server.url}/mirror/gcore-main", max_retries=0
        ) as mirror,
    ):
        sdk_params = inspect.signature(vendor.cloud.usage_reports.get).parameters.keys()

        @by_hypothesis
        @given(request_bodies())
        def compare(body: dict[str, Any]) -> None:
            params = {name: value for name, value in body.items() if name in sdk_params}
            extra_body = {name: value for name, value in body.items() if name not in sdk_params}
            reports = []
            for client in (vendor, mirror):
                get: Callable[..., Any] = client.cloud.usage_reports.get
                reports.append(get(**params, extra_body=extra_body or None))
            vendor_report, mirror_report = reports
            assert mirror_report.count == vendor_report.count
            assert [type(resource) for resource in mirror_report.resources] == [
                type(resource) for resource in vendor_report.resources
            ]
            assert normalize_rows([resource.to_dict() for resource in mirror_report.resources]) == normalize_rows(
                [resource.to_dict() for resource in vendor_report.resources]
            )

        compare()


@pytest.mark.parametrize(
    "overrides",
    [
        {"limit": 0},
        {"offset": -1},
        {"types": ["spaceship"]},
        {"order_by": ["price.asc"]},
        {"schema_filter": {"type": "instance", "field": "ip_address", "values": []}},
        {"time_to": format_instant(FIRST, -24)},
        {"tags": {"conditions": [], "condition_type": "XOR"}},
        {"tags": {"conditions": [{}] * 101}},
        {"time_to": "9999-12-31T00:00:00Z", "enable_last_day": True},
    ],
)
def test_wrong_input_gets_the_vendors_kind_of_400(pair: Pair, overrides: dict[str, Any]) -> None:
    body = {"time_from": format_instant(FIRST), "time_to": format_instant(END), **overrides}
    mirror, vendor = pair.mirror(USAGE_REPORT, body), pair.vendor(USAGE_REPORT, body)
    mirror_error, vendor_error = json.loads(mirror.body), json.loads(vendor.body)
    assert (mirror.status, mirror_error["invalid_fields"].keys()) == (400, vendor_error["invalid_fields"].keys())
    assert mirror_error["exception_class"] == vendor_error["exception_class"] == "ValidationError"


def test_what_was_withdrawn_is_not_reported(pair: Pair) -> None:
    body = {"time_from": format_instant(FIRST), "time_to": format_instant(FIRST, 24), "limit": 1}
    before = parse_report(pair.mirror(USAGE_REPORT, body))["count"]
    withdrawn = ResourceUsage.objects.filter(day=FIRST).values_list("pk", flat=True)[:3]
    ResourceUsage.objects.filter(pk__in=list(withdrawn)).update(withdrawn_at=datetime.now(UTC))
    assert parse_report(pair.mirror(USAGE_REPORT, body))["count"] == before - 3
