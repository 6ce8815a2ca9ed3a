"""Coverage: the status of each day of each source, who may see it, and its number of queries."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from sync.admin.coverage.messages import MESSAGES
from sync.admin.coverage.status import (
    APPEARANCES,
    LEGEND,
    CalendarDay,
    build_calendar_day,
    describe_days,
    fetch_calendars,
    find_gaps,
)
from sync.admin.coverage.year_chart import SHAPES, YearChart
from tests.support.factories import SourceFactory
from tests.support.filled_portal import CREDENTIAL, Filled, fill
from tests.support.source_days import copy_days
from tests.support.users import client_of
from usage.days import Day
from usage.models import DayState, DayStatus, Source, SourceDay, Verification

pytestmark = pytest.mark.django_db
COVERAGE = "/admin/coverage/"
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
EARLY = datetime(2026, 3, 4, tzinfo=UTC)  # after the end of 2 March, and inside its look-back
LOADED = {"state": DayState.LOADED, "complete": True, "final": True, "records": 5}
UNVERIFIED = {"final": False, "verification": Verification.UNVERIFIED}
ACCEPTED = {"accepted_at": NOW, "accepted_by": "alex", "accepted_reason": "Known.", "findings": "f" * 32}


def hold(source: Source, on: date, **values: Any) -> SourceDay:
    """Hold a day of a source, read now unless said otherwise."""
    span = Day.of(on, source.zone)
    told = {"loaded_at": timezone.now(), "covered_until": span.end, **values}
    made: SourceDay = SourceDay.objects.create(source=source, day=on, starts_at=span.start, ends_at=span.end, **told)
    return made


def fetch_days(source: Source, first: str, last: str) -> list[CalendarDay]:
    return fetch_calendars([source], date.fromisoformat(first), date.fromisoformat(last))[source.pk]


def list_statuses(source: Source, first: str, last: str) -> list[str]:
    return [day.status.value for day in fetch_days(source, first, last)]


def build_days(first: date, statuses: list[tuple[DayStatus, int]]) -> list[CalendarDay]:
    """Return days from `first` on, so many of each status."""
    each = [status for status, number in statuses for _ in range(number)]
    return [CalendarDay(first + timedelta(days=number), status) for number, status in enumerate(each)]


@pytest.fixture
def filled() -> Filled:
    return fill()


@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize(
    ("values", "status"),
    [
        (LOADED | {"verification": Verification.VERIFIED}, DayStatus.FINAL),
        (LOADED, DayStatus.FINAL),
        (LOADED | {"records": 0}, DayStatus.EMPTY),
        (LOADED | {"records": 0, "verification": Verification.VERIFIED}, DayStatus.EMPTY),
        (LOADED | {"final": False, "loaded_at": EARLY}, DayStatus.PROVISIONAL),
        (LOADED | {"final": False, "loaded_at": EARLY, "verification": Verification.VERIFIED}, DayStatus.PROVISIONAL),
        # Read after the look-back, and its month has not closed.
        (LOADED | {"final": False, "loaded_at": NOW}, DayStatus.AWAITS_CLOSE),
        (LOADED | {"final": False, "loaded_at": NOW, "verification": Verification.VERIFIED}, DayStatus.AWAITS_CLOSE),
        (LOADED | {"final": False, "loaded_at": NOW, "records": 0}, DayStatus.EMPTY),
        (LOADED | UNVERIFIED, DayStatus.UNVERIFIED),
        (LOADED | UNVERIFIED | ACCEPTED, DayStatus.UNVERIFIED_ACCEPTED),
        ({"state": DayState.PARTIAL, "rejected": 1} | ACCEPTED, DayStatus.PARTIAL_ACCEPTED),
        (LOADED | {"final": False, "mismatch": [{"code": "records"}]}, DayStatus.MISMATCHED),
        ({"state": DayState.DUE, "mismatch": [{"code": "records"}]}, DayStatus.MISMATCHED),
        # Due again, and what made it suspect has not been settled.
        (LOADED | {"state": DayState.DUE, "final": False, "suspicion": {"held": 5}}, DayStatus.SUSPECT),
        (LOADED | {"restated_at": NOW}, DayStatus.FINAL),
        # Complete, and read once more: what is held still counts.
        (LOADED | {"state": DayState.DUE}, DayStatus.FINAL),
        (LOADED | {"state": DayState.LOADING, "lease_expires_at": NOW}, DayStatus.FINAL),
        ({"state": DayState.DUE}, DayStatus.INCOMPLETE),
        # Its last read was not merged, because it lacked values.
        ({"state": DayState.DUE} | UNVERIFIED, DayStatus.UNVERIFIED),
        ({"state": DayState.DUE, "loaded_at": None, "covered_until": None}, DayStatus.WAITING),
        ({"state": DayState.LOADING, "lease_expires_at": NOW}, DayStatus.LOADING),
        ({"state": DayState.PARTIAL, "rejected": 1}, DayStatus.PARTIAL),
        (LOADED | {"state": DayState.SUSPECT}, DayStatus.SUSPECT),
        ({"state": DayState.FAILED, "loaded_at": None, "covered_until": None}, DayStatus.FAILED),
        # An attempt that failed is told of, whatever an earlier one has left.
        (LOADED | {"state": DayState.FAILED}, DayStatus.FAILED),
    ],
)
def test_every_state_of_a_day_has_a_status(values: dict[str, Any], status: DayStatus) -> None:
    source = SourceFactory.create(backfill_from=date(2026, 3, 1))
    hold(source, date(2026, 3, 2), **values)

    (day,) = fetch_days(source, "2026-03-02", "2026-03-02")

    assert day.status == status
    assert day.verified == (values.get("verification") == Verification.VERIFIED)
    assert day.restated == ("restated_at" in values)
    row = SourceDay.objects.with_status().get()
    assert build_calendar_day(source, row.day, row) == day


@time_machine.travel(NOW, tick=False)
def test_days_without_a_row_are_missing_before_the_first_day_pending_or_in_the_future() -> None:
    source = SourceFactory.create(backfill_from=date(2026, 3, 4))
    hold(source, date(2026, 3, 2), **LOADED)
    hold(source, date(2026, 3, 5), **LOADED)

    assert list_statuses(source, "2026-03-01", "2026-03-13") == [
        "before_backfill", "final", "before_backfill", "missing", "final", "missing", "missing", "missing", "missing",
        "pending", "future", "future", "future",
    ]  # fmt: skip


@time_machine.travel("2026-03-10T23:30:00Z", tick=False)
def test_today_is_the_sources_own() -> None:
    utc = SourceFactory.create(backfill_from=date(2026, 3, 9))
    east = SourceFactory.create(backfill_from=date(2026, 3, 9), time_zone="Asia/Tokyo")
    west = SourceFactory.create(backfill_from=date(2026, 3, 9), time_zone="Pacific/Honolulu")

    def find_today(source: Source) -> int:
        return 9 + list_statuses(source, "2026-03-09", "2026-03-12").index("pending")

    assert [find_today(source) for source in (utc, east, west)] == [10, 11, 10]
    with time_machine.travel("2026-03-11T05:00:00Z", tick=False):
        assert [find_today(source) for source in (utc, west)] == [11, 10]


@time_machine.travel("2026-03-10T23:30:00Z", tick=False)
def test_a_planned_day_is_pending_until_it_ends_and_in_the_future_until_it_starts() -> None:
    unsynced = {"state": DayState.DUE, "loaded_at": None, "covered_until": None}
    east = SourceFactory.create(backfill_from=date(2026, 3, 9), time_zone="Asia/Tokyo")
    for day in (10, 11, 12):
        hold(east, date(2026, 3, day), **unsynced)

    assert list_statuses(east, "2026-03-10", "2026-03-12") == ["waiting", "pending", "future"]


def test_every_status_has_an_appearance_a_message_a_shape_and_a_line_in_the_legend() -> None:
    assert APPEARANCES.keys() == MESSAGES.keys() == set(DayStatus)
    assert {appearance.kind for appearance in APPEARANCES.values()} == LEGEND.keys()
    assert LEGEND.keys() - SHAPES.keys() == {"complete", "empty", "missing", "ahead", "before"}
    shapes = [shape for kind, shape in SHAPES.items() if kind not in {"open", "loading"}]
    assert len(set(shapes)) == len(shapes)


def test_gaps_are_runs_of_days_the_latest_first() -> None:
    statuses = [
        (DayStatus.FINAL, 2), (DayStatus.MISSING, 4), (DayStatus.FINAL, 1), (DayStatus.FAILED, 1),
        (DayStatus.FINAL, 1), (DayStatus.MISSING, 1), (DayStatus.FINAL, 1), (DayStatus.SUSPECT, 2),
    ]  # fmt: skip
    days = build_days(date(2025, 12, 29), statuses)
    days[10] = days[10]._replace(restated=True)

    assert [(gap.status, gap.dates) for gap in find_gaps(days)] == [
        ("suspect", "9–10 Jan 2026 (2 days)"),
        ("missing", "7 Jan 2026"),
        ("failed", "5 Jan 2026"),
        ("missing", "31 Dec 2025 – 3 Jan 2026 (4 days)"),
    ]
    assert describe_days(days) == "5 of 13 days complete; 2 suspect; 1 failed; 5 missing; 1 restated."


@pytest.mark.parametrize(
    ("year", "days", "columns"), [(2025, 365, 53), (2024, 366, 53), (2028, 366, 53), (2012, 366, 54), (2000, 366, 53)]
)
def test_every_day_of_a_year_has_a_place_leap_years_included(year: int, days: int, columns: int) -> None:
    chart = YearChart(year, build_days(date(year, 1, 1), [(DayStatus.FAILED, days)]), date(year, 12, 31))

    places = re.findall(r"M(\d+) (\d+)", chart.paths[0].d)
    assert len(set(places)) == days
    assert max(int(x) for x, _ in places) == (columns - 1) * 12
    assert [month.name for month in chart.months][::11] == ["Jan", "Dec"]


def test_a_whole_year_is_drawn_in_less_than_a_kilobyte() -> None:
    chart = YearChart(2025, build_days(date(2025, 1, 1), [(DayStatus.FINAL, 365)]), date(2025, 12, 31))

    assert sum(len(path.d) for path in chart.paths) < 1000
    assert chart.descriptions == "365 complete, final"


def test_the_years_of_every_source_are_shown_with_their_gaps_in_words(filled: Filled) -> None:
    page = client_of("viewer").get(COVERAGE).content.decode()

    for slug in ("ona-main", "gcore-main", "workato-emea"):
        assert f"?source={slug}" in page
    assert "14 Nov 2026" in page
    assert "Complete through 11 Nov 2026." in page
    assert "days of Europe/Berlin" in page
    assert CREDENTIAL not in page
    assert " style=" not in page


def test_only_sources_with_gaps_are_shown_where_that_is_asked(filled: Filled) -> None:
    sound = SourceFactory.create(slug="sound", backfill_from=timezone.now().date())
    hold(sound, timezone.now().date(), state=DayState.DUE)

    assert 'id="source-' + str(sound.pk) in client_of("viewer").get(COVERAGE).content.decode()
    assert 'id="source-' + str(sound.pk) not in client_of("viewer").get(f"{COVERAGE}?gaps=only").content.decode()


def test_a_day_is_called_by_its_words(filled: Filled) -> None:
    day = SourceDay.objects.get(source=filled.resources, day="2026-10-21")
    SourceDay.objects.filter(pk=day.pk).update(records=1204, withdrawn=2)

    page = client_of("viewer").get(f"{COVERAGE}?source=gcore-main&year=2026").content.decode()

    assert 'aria-label="21 October 2026: complete, final, verified, 1,204 records, 2 withdrawn"' in page
    assert 'aria-label="14 November 2026: failed, 3 records"' in page
    assert "api.gcore.com cannot answer now (HTTP 503)" in page


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("failed", ["The last sync failed", "HTTP 503", "3 records"]),
        ("suspect", ["Suspect", "Stored and counted", "Would be withdrawn", "<dd>3</dd>", "<dd>2</dd>"]),
        ("partial", ["1 record was rejected", "billing_value: a number is expected"]),
    ],
)
def test_a_day_says_what_it_is_worth_and_why(filled: Filled, state: str, said: list[str]) -> None:
    day = SourceDay.objects.get(state=state)
    viewer = client_of("viewer")

    panel = viewer.get(f"{COVERAGE}?source=gcore-main&day={day.day}", headers={"HX-Request": "true"})
    whole = viewer.get(f"/admin/usage/sourceday/{day.pk}/change/")

    assert "<html" not in panel.content.decode()
    assert "HX-Request" in panel["Vary"]
    for answer in (panel, whole):
        for words in said:
            assert words in answer.content.decode()
        assert "What to do:" in answer.content.decode()


def test_a_day_names_the_last_run_that_it_was_asked_for_by(filled: Filled) -> None:
    operator = client_of("operator")
    asked = {"first": "2026-11-14", "last": "2026-11-14"}
    operator.post(f"{COVERAGE}gcore-main/read/", asked)

    page = operator.get(f"{COVERAGE}?source=gcore-main&day=2026-11-14").content.decode()

    assert "(operator)" in page
    assert "(alex)" not in page


def test_a_partial_day_says_how_many_records_count(filled: Filled) -> None:
    SourceDay.objects.filter(state="partial").update(records=534, rejected=4, error="4 of 534 records were rejected.")
    day = SourceDay.objects.get(state="partial")

    page = client_of("viewer").get(f"{COVERAGE}?source=gcore-main&day={day.day}").content.decode()

    assert "4 records were rejected" in page
    assert "534 records of this day are stored and counted." in page
    assert "The other" not in page


def test_what_differs_from_the_vendors_sums_is_shown_with_its_sign(filled: Filled) -> None:
    day = SourceDay.objects.filter(source=filled.resources).first()
    assert day is not None
    found = {"what": "total", "type": "instance", "region_id": 7, "vendor": "1440.5", "portal": "1400.25"}
    SourceDay.objects.filter(pk=day.pk).update(**UNVERIFIED, differences=[found])

    page = client_of("viewer").get(f"{COVERAGE}?source=gcore-main&day={day.day}").content.decode()

    assert "differs from the vendor&#x27;s totals" in page
    for words in ("type instance, region id 7", "1,440.5", "1,400.25", "−40.25"):
        assert words in page


def test_a_day_that_was_never_planned_says_why_its_source_is_not_read(filled: Filled) -> None:
    Source.objects.filter(pk=filled.resources.pk).update(halted_at=timezone.now(), halt_reason="The key was refused.")

    page = client_of("viewer").get(f"{COVERAGE}?source=gcore-main&day=2026-11-19").content.decode()

    assert "Never synced" in page
    assert "Halted: The key was refused." in page


def test_a_day_of_another_zone_says_when_it_begins_and_how_long_it_is(filled: Filled) -> None:
    viewer = client_of("viewer")

    long_one = viewer.get(f"{COVERAGE}?source=workato-emea&day=2026-10-25").content.decode()
    usual = viewer.get(f"{COVERAGE}?source=workato-emea&day=2026-10-26").content.decode()

    assert "from 2026-10-24 22:00 to 2026-10-25 23:00 UTC. It has 25 hours, because the clocks change." in long_one
    assert "from 2026-10-25 23:00 to 2026-10-26 23:00 UTC.<" in usual


def test_a_day_leads_to_its_own_records_and_no_others(filled: Filled) -> None:
    viewer = client_of("viewer")
    page = viewer.get(f"{COVERAGE}?source=workato-emea&day=2026-11-17").content.decode()

    found = re.search(r'href="(/admin/usage/recipeusage/[^"]+)"', page)
    assert found is not None
    address = found.group(1).replace("&amp;", "&")
    assert address.endswith("?source=workato-emea&from=2026-11-17&to=2026-11-18&tz=Europe%2FBerlin")
    listed = viewer.get(address).context["cl"].queryset
    assert listed.count() == 24
    assert {record.starts_at.astimezone(filled.recipes.zone).date() for record in listed} == {date(2026, 11, 17)}


@pytest.mark.parametrize(
    ("asked", "queries"),
    [
        # The person and their permissions (4), their scope (1), the sources, their days, how far they are complete.
        ("", 8),
        # The same without how far they are complete.
        ("?source=gcore-main", 7),
        # The day too: its row, attempts, restatements, rejected records, its run.
        ("?source=gcore-main&day=2026-11-14", 12),
    ],
)
def test_a_page_costs_the_same_few_queries(filled: Filled, asked: str, queries: int, django_assert_num_queries) -> None:
    viewer = client_of("viewer")
    for number in range(8):
        SourceFactory.create(slug=f"more-{number}", backfill_from=date(2024, 5, 1))

    with django_assert_num_queries(queries):
        answer = viewer.get(f"{COVERAGE}{asked}")

    assert answer.status_code == 200


@time_machine.travel(NOW, tick=False)
def test_fifty_sources_of_three_years_make_a_small_page_from_one_query_of_days(django_assert_max_num_queries) -> None:
    first = date(2024, 1, 1)
    sources = [SourceFactory.create(slug=f"source-{number}", backfill_from=first) for number in range(50)]
    spans = [Day.of(first + timedelta(days=number), "UTC") for number in range((NOW.date() - first).days + 1)]
    SourceDay.objects.bulk_create(
        SourceDay(
            source=sources[0], day=span.date, starts_at=span.start, ends_at=span.end, loaded_at=NOW,
            **LOADED | ({"verification": "verified"} if number % 100 else UNVERIFIED),
        )
        for number, span in enumerate(spans)
    )  # fmt: skip
    copy_days(sources[0], sources[1:])
    viewer = client_of("viewer")

    with django_assert_max_num_queries(8):
        page = viewer.get(COVERAGE).content

    assert page.count(b"<svg") > 150
    assert len(page) < 150 * 2_200
    one = viewer.get(f"{COVERAGE}?source=source-7&year=2025").content
    assert len(one) < 90_000


def test_someone_limited_to_a_source_learns_of_no_other(filled: Filled) -> None:
    someone = client_of("operator", sources=[filled.environments])
    other = SourceDay.objects.get(state="failed")

    for asked in ("", "?year=2026", "?gaps=only", "?source=ona-main", "?source=ona-main&day=2026-11-01"):
        page = someone.get(f"{COVERAGE}{asked}").content.decode()
        assert "gcore" not in page, asked
        assert "workato" not in page, asked
    unknown = someone.get(f"{COVERAGE}?source=no-such-source")
    hidden = someone.get(f"{COVERAGE}?source=gcore-main")
    assert (unknown.status_code, hidden.status_code) == (404, 404)
    days = {"first": "2026-11-01", "last": "2026-11-02"}
    for answer in (
        someone.get(f"{COVERAGE}gcore-main/read/", days),
        someone.post(f"{COVERAGE}gcore-main/read/", days),
        someone.post(f"/admin/usage/sourceday/{other.pk}/do/read-again/"),
    ):
        assert answer.status_code == 404
    other.refresh_from_db()
    assert other.state == "failed"


def test_who_may_not_see_days_may_not_see_their_calendar(filled: Filled) -> None:
    from django.contrib.auth.models import Permission, User

    stranger = Client()
    assert stranger.get(COVERAGE).status_code == 302
    sam = User.objects.create_user("sam", is_staff=True)
    sam.user_permissions.set(Permission.objects.filter(codename="view_source"))
    stranger.force_login(sam)
    assert stranger.get(COVERAGE).status_code == 403
    sam.user_permissions.set(Permission.objects.filter(codename="view_sourceday"))
    page = stranger.get(f"{COVERAGE}?source=gcore-main&day=2026-11-12").content.decode()
    assert "Partial" in page
    # What belongs to other rights stays out.
    for title in ("Rejected records</h3>", "Restatements</h3>", "Attempts</h3>", "billing_value", ">Records</a>"):
        assert title not in page


@pytest.mark.parametrize("asked", ["year=abc", "year=12", "day=2026-02-30", "day=tomorrow", "gaps=some", "source=a b"])
def test_what_is_not_understood_is_told_and_the_calendar_shown(filled: Filled, asked: str) -> None:
    answer = client_of("viewer").get(f"{COVERAGE}?{asked}", follow=True)

    assert answer.redirect_chain == [(COVERAGE, 302)]
    assert "not valid" in str(next(iter(answer.context["messages"])))


@pytest.mark.parametrize("asked", ["?year=1999", "?source=gcore-main&year=1999", "?source=gcore-main&day=1999-12-31"])
def test_a_year_without_days_says_so(filled: Filled, asked: str) -> None:
    assert client_of("viewer").get(f"{COVERAGE}{asked}").status_code == 200


@pytest.mark.parametrize("asked", ["year=9990", "year=1900", "day=0001-01-01", "day=9999-12-31"])
def test_a_year_that_nobody_offers_is_not_there(filled: Filled, asked: str) -> None:
    client = client_of("viewer")

    assert client.get(f"{COVERAGE}?source=gcore-main&{asked}").status_code == 404
    assert client.get(f"{COVERAGE}?source=gcore-main&{asked}", headers={"HX-Request": "true"}).status_code == 404
    assert client.get(f"{COVERAGE}?{asked}").status_code == (404 if "year" in asked else 200)


def test_without_a_source_the_page_says_how_to_begin() -> None:
    assert "No source yet" in client_of("viewer").get(COVERAGE).content.decode()
