"""Filters of the API: half-open ranges in any zone, comma-separated ids, and an error for everything else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.support.api_clients import API, get, get_problem_details
from tests.support.api_clients import client as client
from tests.support.factories import (
    EnvironmentUsageFactory,
    RecipeUsageFactory,
    ResourceUsageFactory,
    SourceDayFactory,
    SourceFactory,
)
from tests.support.source_days import create_source_days
from usage.datetimes import parse_moment, parse_zone, to_instant
from usage.models import EnvironmentUsage


def create_runs(*instants: str) -> None:
    for instant in instants:
        EnvironmentUsageFactory(record_id=instant, stopped_at=datetime.fromisoformat(instant))


def list_record_ids(client: Client, **query: Any) -> list[str]:
    results = get(client, "environment-usage/", ordering="stopped_at", **query)["results"]
    return [record["record_id"] for record in results]


def test_a_range_takes_its_start_in_and_leaves_its_end_out(client: Client) -> None:
    instants = ["2026-01-01T23:59:59.999999Z", "2026-01-02T00:00:00Z", "2026-01-02T12:00:00Z", "2026-01-03T00:00:00Z"]
    create_runs(*instants)
    assert list_record_ids(client, from_="2026-01-02", to="2026-01-03") == instants[1:3]
    assert list_record_ids(client, from_="2026-01-02T00:00:00.000001Z", to="2026-01-02T12:00:00Z") == []
    assert list_record_ids(client, from_="2026-01-02T12:00:00Z") == instants[2:]
    assert list_record_ids(client, to="2026-01-02") == instants[:1]
    assert list_record_ids(client, from_="2026-01-02", to="2026-01-02") == []


def test_a_date_means_the_start_of_that_day_in_the_zone_that_is_asked_for(client: Client) -> None:
    instants = ["2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"]
    create_runs(*instants)
    day_of_23_hours = {"from_": "2026-03-29", "to": "2026-03-30", "tz": "Europe/Berlin"}
    assert list_record_ids(client, **day_of_23_hours) == instants[:2]


def test_an_instant_with_an_offset_is_the_same_written_with_a_plus_a_percent_or_a_z(client: Client) -> None:
    create_runs("2026-01-02T00:00:00Z")
    for text in ("2026-01-02T02:00:00%2B02:00", "2026-01-02T02:00:00+02:00", "2026-01-02T00:00:00.000000000Z"):
        response = client.get(f"{API}/environment-usage/?from={text}&to=2026-01-02T00:00:01Z")
        assert len(response.json()["results"]) == 1, text


def test_ids_are_comma_separated_and_one_of_each_column_is_enough(client: Client) -> None:
    for number in range(4):
        EnvironmentUsageFactory(record_id=f"r{number}", project_id=f"p{number % 2}", user_id=f"u{number}")
    assert len(list_record_ids(client, project_id="p0")) == 2
    assert len(list_record_ids(client, project_id="p0, p1")) == 4
    assert list_record_ids(client, project_id="p0,p1", user_id="u3,u9") == ["r3"]
    assert list_record_ids(client, record_id="r1") == ["r1"]


def test_values_may_repeat_hold_commas_and_be_none(client: Client) -> None:
    for record_id, project in (("a", "x,y"), ("b", "x"), ("c", ""), ("d", "~none"), ("e", " x "), ("f", "x\\")):
        EnvironmentUsageFactory(record_id=record_id, project_id=project)
    for query, expected in (
        (r"project_id=x\,y", "a"),
        ("project_id=x,y", "b"),
        (r"project_id=x&project_id=x\,y", "ab"),
        ("project_id=~none", "c"),
        ("project_id=~none,x", "bc"),
        (r"project_id=\~none", "d"),
        (r"project_id=\%20x\%20", "e"),
        (r"project_id=x\\&project_id=x", "bf"),
        ("record_id=~none", ""),
    ):
        body = client.get(f"{API}/environment-usage/?ordering=stopped_at&{query}").json()
        assert "".join(row["record_id"] for row in body["results"]) == expected, query


def test_numbers_may_repeat_and_be_none(client: Client) -> None:
    for day, region in enumerate((None, 7, 8, 9), start=1):
        ResourceUsageFactory(region_id=region, day=datetime(2026, 1, day, tzinfo=UTC).date())
    RecipeUsageFactory(recipe_id=None)
    for query, expected in (("region_id=7&region_id=8,9", [7, 8, 9]), ("region_id=~none,7", [None, 7])):
        rows = client.get(f"{API}/resource-usage/?ordering=day&{query}").json()["results"]
        assert [row["region_id"] for row in rows] == expected
    assert len(get(client, "recipe-usage/", recipe_id="~none")["results"]) == 1
    assert "There is no “~none”" in get_problem_details(client.get(f"{API}/recipe-usage/?source=~none"))["source"][0]


def test_the_summary_and_the_columns_take_repeated_parameters_too(client: Client) -> None:
    for slug, project in (("a", "x,y"), ("b", ""), ("c", "z")):
        EnvironmentUsageFactory(source=SourceFactory(slug=slug, vendor="ona"), project_id=project)
    create_source_days(rolled=True)
    query = r"group_by=source&group_by=project_id&measures=records&project_id=x\,y&project_id=~none"
    rows = client.get(f"{API}/environment-usage/summary/?{query}").json()["results"]
    assert sorted((row["source"], row["project_id"]) for row in rows) == [("a", "x,y"), ("b", "")]
    everything = client.get(f"{API}/usage/summary/?source=a&source=c").json()["results"]
    assert {row["source"] for row in everything} == {"a", "c"}
    listed = client.get(f"{API}/environment-usage/?fields=id&fields=source,day").json()["results"]
    assert list(listed[0]) == ["id", "source", "day"]


def test_numbers_are_compared_as_numbers(client: Client) -> None:
    for region in (7, 8, 9):
        ResourceUsageFactory(region_id=region, project_id=None)
    regions = [row["region_id"] for row in get(client, "resource-usage/", region_id="7, 09")["results"]]
    assert sorted(regions) == [7, 9]
    assert get(client, "resource-usage/", project_id="7")["results"] == []


def test_resource_usage_is_asked_by_whole_utc_days(client: Client) -> None:
    for day in (1, 2, 3):
        ResourceUsageFactory(day=datetime(2026, 1, day, tzinfo=UTC).date())
    days = [row["day"] for row in get(client, "resource-usage/", from_="2026-01-02", to="2026-01-03")["results"]]
    assert days == ["2026-01-02"]
    page = get(client, "resource-usage/", from_="2026-01-02T01:00:00+01:00", to="2026-01-03T00:00:00Z")
    assert [row["day"] for row in page["results"]] == ["2026-01-02"]
    errors = get_problem_details(client.get(f"{API}/resource-usage/", {"from": "2026-01-02", "tz": "Europe/Berlin"}))
    assert "not the start of a UTC day" in errors["from"][0]


def test_deleted_recipes_can_be_left_out_or_singled_out(client: Client) -> None:
    RecipeUsageFactory(recipe_id=None)
    RecipeUsageFactory(recipe_id=5)

    def list_recipe_ids(**query: str) -> list[int | None]:
        return [row["recipe_id"] for row in get(client, "recipe-usage/", ordering="starts_at", **query)["results"]]

    assert list_recipe_ids() == list_recipe_ids(deleted_recipes="include") == [None, 5]
    assert list_recipe_ids(deleted_recipes="exclude") == [5]
    assert list_recipe_ids(deleted_recipes="only") == [None]


def test_sources_and_vendors_are_asked_for_by_name(client: Client) -> None:
    for slug, vendor in (("a", "acme"), ("b", "acme"), ("c", "other")):
        EnvironmentUsageFactory(record_id=slug, source=SourceFactory(slug=slug, vendor=vendor))
    assert list_record_ids(client, source="a,c") == ["a", "c"]
    assert list_record_ids(client, vendor="acme") == ["a", "b"]
    assert list_record_ids(client, vendor="acme", source="b,c") == ["b"]
    errors = get_problem_details(client.get(f"{API}/environment-usage/", {"source": "a,d", "vendor": "none"}))
    assert errors["source"] == ["There is no “d”; there are: a, b, c."]
    assert errors["vendor"] == ["There is no “none”; there are: acme, other."]


def test_a_warehouse_follows_every_change_in_the_order_it_happened(client: Client) -> None:
    start = datetime(2026, 2, 1, tzinfo=UTC)
    for minute, name in ((3, "third"), (1, "first"), (2, "second"), (-1, "before")):
        EnvironmentUsageFactory(record_id=name)
        EnvironmentUsage.objects.filter(record_id=name).update(changed_at=start + timedelta(minutes=minute))
    EnvironmentUsage.objects.filter(record_id="second").update(withdrawn_at=start)
    params = {"updated_since": "2026-02-01", "ordering": "changed_at"}
    changes = get(client, "environment-usage/", **params, include_withdrawn="true")["results"]
    assert [change["record_id"] for change in changes] == ["first", "second", "third"]
    current = get(client, "environment-usage/", **params)["results"]
    assert [change["record_id"] for change in current] == ["first", "third"]


def test_days_of_a_source_are_asked_by_date_state_and_completeness(client: Client) -> None:
    source = SourceFactory(slug="a")
    for day in (1, 2, 3):
        SourceDayFactory(
            source=source, day=datetime(2026, 1, day, tzinfo=UTC).date(), state="failed" if day == 2 else "due"
        )
    SourceDayFactory()

    def list_days(**query: str) -> list[str]:
        return [day["day"][-2:] for day in get(client, "sources/a/days/", **query)["results"]]

    assert list_days() == ["03", "02", "01"]
    assert list_days(from_="2026-01-02", to="2026-01-03") == ["02"]
    assert list_days(state="failed") == ["02"]
    assert list_days(state="failed, due", verification="none") == ["03", "02", "01"]
    errors = get_problem_details(client.get(f"{API}/sources/a/days/", {"state": "failed,lost", "verification": "x"}))
    assert errors["state"] == ["“lost”: Not one of: due, loading, loaded, partial, suspect, failed."]
    assert errors["verification"] == ["“x”: Not one of: none, verified, unverified."]
    assert list_days(complete="true") == []
    assert list_days(complete="false", ordering="day") == ["01", "02", "03"]


@pytest.mark.parametrize(
    ("query", "parameter", "message"),
    [
        ("form=2026-01-01", "form", "Unknown parameter; allowed are: bom, count, created_at__gte"),
        ("tz=UTC&tz=Asia/Tokyo", "tz", "Given more than once; it takes one value."),
        ("project_id=", "project_id", "Empty"),
        ("from=2026-02-30", "from", "“2026-02-30” is not a date"),
        ("from=20260101", "from", "is not a date"),
        ("from=2026-01-01T00:00:00", "from", "with its offset"),
        ("from=0001-01-01&tz=Asia/Tokyo", "from", "beyond the calendar"),
        ("to=9999-12-31T23:59:59-12:00", "to", "is not a date"),
        ("to=yesterday", "to", "is not a date"),
        ("from=2026-01-02&to=2026-01-01", "from", "runs backwards"),
        ("tz=Mars/Olympus", "tz", "is not an IANA time zone"),
        ("tz=../../etc/passwd", "tz", "is not an IANA time zone"),
        ("updated_since=1", "updated_since", "is not a date"),
        ("include_withdrawn=maybe", "include_withdrawn", "“maybe” is not one of: true, false."),
        ("source=nowhere", "source", "There is no “nowhere”; there are: none."),
        ("record_id=a%00b", "record_id", "Null characters are not allowed."),
        ("ordering=colour", "ordering", "“colour” is not one of: stopped_at, -stopped_at"),
        ("ordering=runtime_seconds", "ordering", "is not one of"),
        ("page_size=0", "page_size", "from 1 to 1000"),
        ("page_size=1001", "page_size", "from 1 to 1000"),
        ("page_size=000000100000", "page_size", "from 1 to 1000"),
        ("page_size=ten", "page_size", "from 1 to 1000"),
        ("count=yes", "count", "count=exact"),
        ("cursor=abc", "cursor", "begin again without it"),
        ("format=csv&page_size=5", "page_size", "Unknown parameter"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused_by_name(
    client: Client, query: str, parameter: str, message: str
) -> None:
    errors = get_problem_details(client.get(f"{API}/environment-usage/?{query}"))
    assert set(errors) == {"", parameter}
    assert message in errors[parameter][0]
    assert parameter in errors[""][0]


def test_an_unknown_format_is_not_found(client: Client) -> None:
    assert get_problem_details(client.get(f"{API}/environment-usage/", {"format": "xml"}), 404)
    assert get_problem_details(client.get(f"{API}/sources/", {"format": "csv"}), 404)


@pytest.mark.parametrize("number", ["x", "1.5", "1_000", "9223372036854775808", "٣", "1,,2"])
def test_a_number_that_is_none_is_refused_with_what_is_allowed(client: Client, number: str) -> None:
    errors = get_problem_details(client.get(f"{API}/recipe-usage/", {"recipe_id": number}))
    assert "whole number" in errors["recipe_id"][0] or "required" in errors["recipe_id"][0]


def test_everything_that_is_wrong_is_named_at_once(client: Client) -> None:
    query = {"bogus": "1", "from": "x", "tz": "y", "page_size": "0", "ordering": "z", "source": "w", "count": "v"}
    assert set(get_problem_details(client.get(f"{API}/environment-usage/", query))) == {"", *query}


def test_parameters_of_a_single_record_are_refused_too(client: Client) -> None:
    record = EnvironmentUsageFactory()
    errors = get_problem_details(client.get(f"{API}/environment-usage/{record.pk}/?project_id=p"))
    assert errors["project_id"] == ["Unknown parameter; allowed are: fields, format."]


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.timezones()))  # noqa: DTZ001
def test_an_instant_means_the_same_however_its_offset_is_written(moment: datetime) -> None:
    offset = moment.utcoffset()
    assert offset is not None
    if offset % timedelta(minutes=1):  # RFC 3339 has no seconds in an offset
        return
    assert parse_moment(moment.isoformat()) == moment.astimezone(UTC)


@given(st.text(max_size=30))
def test_any_other_text_is_refused_and_never_fails(text: str) -> None:
    for parse in (parse_moment, parse_zone):
        try:
            parse(text)
        except ValueError as error:
            assert str(error).startswith(f"“{text}” is not")  # noqa: PT017


@given(st.dates(min_value=datetime(1900, 1, 1).date()), st.timezone_keys())  # noqa: DTZ001
def test_a_date_begins_at_its_first_instant_in_every_zone(on: Any, zone: str) -> None:
    start = to_instant(on, parse_zone(zone))
    assert start.astimezone(parse_zone(zone)).date() >= on  # a zone may have skipped the date itself
    assert (start - timedelta(microseconds=1)).astimezone(parse_zone(zone)).date() < on
