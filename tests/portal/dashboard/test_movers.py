"""What stands out on the overview: complete days alone, each unit for itself, names, and what a person may see."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.dashboard.movers import build_comparison, find_movers
from tests.support.dashboard_data import create_rollups, create_synced_source, get_today, set_day
from tests.support.users import sign_in_as
from usage.data_quality import VENDOR_KINDS
from usage.directory.access import NO_PEOPLE
from usage.models import Directory, DirectoryEntry, NameKind, Source

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    """It is Tuesday, the 24th of November."""
    with time_machine.travel(NOON, tick=False):
        yield


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine take its time: what takes too long is not shown."""
    monkeypatch.setattr("portal.dashboard.movers.SECONDS", 60)


def find(*sources: Source) -> Any:
    """Return the movers of sources."""
    kinds = {source: VENDOR_KINDS[source.vendor] for source in sources}
    return find_movers(kinds, {source.pk: get_today(source) for source in sources}, NO_PEOPLE)


def call(source: Source, vendor_id: str, name: str) -> None:
    """Give a project a name."""
    Directory.objects.get_or_create(source=source)
    DirectoryEntry.objects.create(source=source, kind=NameKind.PROJECT, vendor_id=vendor_id, name=name)


def test_the_latest_complete_day_is_compared_with_the_same_weekday() -> None:
    source = create_synced_source("ona-main", "ona")
    create_rollups(source, "p-steady", range(1, 60), "36000")
    create_rollups(source, "p-new", range(1, 3), "3600")
    create_rollups(source, "p-gone", range(5, 60), "7200")

    week = find(source).week

    assert {(mover.key, mover.now, mover.before) for mover in week} == {("p-new", 3600, 0), ("p-gone", 0, 7200)}
    assert week[0].key == "p-gone"  # it moved more of the total
    assert week[0].share == pytest.approx(Decimal(7200) / Decimal(43200))


def test_a_month_is_compared_day_by_day_and_only_where_both_days_are_complete() -> None:
    source = create_synced_source("ona-main", "ona")
    create_rollups(source, "p-1", range(1, 24), "3600")  # 1 to 23 November
    create_rollups(source, "p-2", range(1, 60), "3600")
    set_day(source, 3, complete=False)  # 21 November

    movers = find(source)

    assert [(mover.key, mover.now) for mover in movers.month] == [("p-1", 3600 * 22)]
    (comparison,) = movers.comparisons
    assert (len(comparison.month.pairs), comparison.month.expected) == (22, 23)
    page = sign_in_as("viewer").get("/admin/").content.decode()
    assert "ona-main: 22 of 23 days are complete on both sides and compared." in page


def test_a_day_that_is_not_complete_is_not_the_latest() -> None:
    source = create_synced_source("ona-main", "ona")
    set_day(source, 1, complete=False)
    create_rollups(source, "p-1", range(1, 30), "3600")

    assert find(source).comparisons[0].week.pairs == [(date(2026, 11, 22), date(2026, 11, 15))]


def test_on_the_first_of_a_month_the_month_that_ended_is_compared() -> None:
    source = Source(slug="one", vendor="ona")
    days = {date(2026, month, day) for month in (9, 10) for day in range(1, 31)} | {date(2026, 10, 31)}

    comparison = build_comparison(source, dict.fromkeys(days), date(2026, 11, 1))

    assert comparison is not None
    assert comparison.month.pairs[0] == (date(2026, 10, 1), date(2026, 9, 1))
    assert comparison.month.pairs[-1] == (date(2026, 10, 30), date(2026, 9, 30))  # September has no 31st


def test_a_source_without_a_complete_day_of_late_is_not_compared() -> None:
    assert build_comparison(Source(slug="one"), {date(2026, 10, 1): ()}, date(2026, 11, 1)) is None


def test_a_source_with_one_complete_day_is_named_as_not_compared() -> None:
    source = create_synced_source("ona-main", "ona", days=2)
    create_rollups(source, "p-1", range(1, 2), "3600")

    movers = find(source)

    assert (movers.week, movers.month) == ([], [])
    page = sign_in_as("viewer").get("/admin/").content.decode()
    assert "ona-main: not compared, because the days before are not complete." in page


def test_units_are_never_mixed_and_none_takes_all_the_lines() -> None:
    source = create_synced_source("gcore-main", "gcore")
    for number in range(4):
        create_rollups(
            source, str(number), range(1, 3), "1000000", consumed_unit="bytes", billing_metric="egress_traffic"
        )
    create_rollups(source, "1", range(5, 9), "60")

    week = find(source).week

    assert [(mover.unit, mover.now) for mover in week].count(("bytes", 1_000_000)) == 2
    assert {mover.unit for mover in week} == {"bytes", "minutes"}


def test_the_card_names_projects_and_links_to_their_chart() -> None:
    source = create_synced_source("gcore-main", "gcore")
    call(source, "77", "Billing")
    create_rollups(source, "77", range(1, 3), "90")
    create_rollups(source, "78", range(1, 60), "600")
    client = sign_in_as("viewer")

    page = client.get("/admin/").content.decode()

    assert "Mon 23 Nov against Mon 16 Nov" in page
    card = page[page.index("What stands out") :]
    assert "Billing" in card[: card.index("</section>")]
    address = re.search(r'href="(/admin/explore/[^"]*project_id=77[^"]*)"', card)
    assert address is not None
    assert client.get(address[1].replace("&amp;", "&")).status_code == 200


def test_someone_limited_to_a_source_sees_its_movers_alone() -> None:
    source, other_source = create_synced_source("ona-main", "ona"), create_synced_source("ona-other", "ona")
    for each_source in (source, other_source):
        call(each_source, f"p-{each_source.slug}", f"Project of {each_source.slug}")
        create_rollups(each_source, f"p-{each_source.slug}", range(1, 3), "3600")

    page = sign_in_as("viewer", sources=[source]).get("/admin/").content.decode()

    assert "Project of ona-main" in page
    assert "ona-other" not in page


def test_the_number_of_queries_does_not_depend_on_sources() -> None:
    def count_queries(sources: list[Source]) -> int:
        with CaptureQueriesContext(connection) as captured:
            find(*sources)
        return len(captured)

    sources = [create_synced_source(f"ona-{number}", "ona", days=40) for number in range(4)]
    for source in sources:
        create_rollups(source, "p-1", range(1, 3), "3600")

    assert count_queries(sources[:1]) == count_queries(sources)


def test_the_overview_says_whether_yesterday_is_complete() -> None:
    first, second = create_synced_source("ona-main", "ona"), create_synced_source("gcore-main", "gcore")
    client = sign_in_as("viewer")
    assert "Yesterday (Mon 23 Nov) is complete for all 2 sources." in client.get("/admin/").content.decode()

    set_day(second, 1, complete=False)

    page = client.get("/admin/").content.decode()
    assert "Yesterday (Mon 23 Nov) is complete for 1 of 2 sources; not yet for" in page
    assert f"/admin/coverage/?source={second.slug}&amp;day=2026-11-23" in page
    assert first.slug in page


def test_sums_are_kept_until_a_day_is_read_anew() -> None:
    source = create_synced_source("ona-main", "ona")
    create_rollups(source, "p-1", range(1, 3), "3600")

    def count_queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert [mover.key for mover in find(source).week] == ["p-1"]
        return len(captured)

    first = count_queries()
    assert count_queries() == first - 1

    set_day(source, 1, attempt=2)

    assert count_queries() == first
