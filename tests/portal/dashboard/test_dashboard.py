"""The overview's numbers: this month against last per unit, equal to the records."""

from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db.models import Sum

from portal.dashboard.sparkline import build_bars, draw_chart
from portal.dashboard.tables import format_change
from portal.dashboard.usage_stats import (
    ComparedMonths,
    DayUsage,
    UsageCalendar,
    build_stats,
    combine_calendars,
    fetch_calendars,
)
from tests.support.dashboard_data import UNITS, create_synced_source, get_day_ago, set_day
from tests.support.overview import NOON, find_card, open_overview
from tests.support.overview import noon as noon
from tests.support.scripted_vendor import Listing, build_run, make_source, read_day
from tests.support.users import sign_in_as
from usage.formatting import scale_amount
from usage.models import EnvironmentUsage, ResourceRow, ResourceUsage, Source, SourceDay

pytestmark = pytest.mark.django_db
TODAY = NOON.date()


def resource(number: int, unit: str, quantity: str) -> ResourceRow:
    """Return what one resource consumed of a unit."""
    key = UUID(int=number)
    return ResourceRow(key, "instance", "metric", Decimal(quantity), unit, 1, 1, str(key), f"web-{number}", None, None)


def read_resources(listing: Listing, days: int) -> Source:
    """Read days up to today whose records are of several units, not all of them on every day."""
    listing.kind = ResourceUsage
    source = make_source("resources", vendor="gcore", backfill_from=TODAY - timedelta(days=days - 1))
    for ago in range(days):
        day = TODAY - timedelta(days=ago)
        units = ("minutes", "gbminutes", "bytes")[: 1 + ago % 3]
        listing.records[day] = [
            resource(10 * ago + n, unit, f"{(ago * 37 + n) % 101}.{ago:03d}125") for n, unit in enumerate(units)
        ]
        read_day(source, day)
    return source


def test_every_units_sums_equal_those_of_the_records(listing: Listing, noon: None) -> None:
    source = read_resources(listing, 60)
    changed_day = date(2026, 11, 5)
    listing.records[changed_day] = listing.records[changed_day][:1]  # the vendor takes some back
    read_day(source, changed_day)

    stats = build_stats(fetch_calendars([source], {source.pk: TODAY}, 30)[source.pk], ResourceUsage)

    spans = {
        "so_far": (date(2026, 11, 1), date(2026, 11, 23)),
        "same_days": (date(2026, 10, 1), date(2026, 10, 23)),
        "last": (date(2026, 10, 1), date(2026, 11, 1)),
    }
    assert {line.measure.key for line in stats.rows} == {"minutes", "gbminutes", "bytes"}
    for name, (first, end) in spans.items():
        records = ResourceUsage.objects.current().filter(day__gte=first, day__lt=end).order_by()
        by_unit = dict(records.values_list("consumed_unit").annotate(Sum("consumed_quantity")))
        assert {line.measure.key: getattr(line, name) for line in stats.rows} == by_unit
    assert stats.so_far.is_stored
    assert stats.same_days.is_stored


def test_runtime_is_of_the_days_that_runs_stopped_on(listing: Listing, noon: None) -> None:
    source = make_source("runs", vendor="ona", time_zone="Europe/Berlin", backfill_from=date(2026, 10, 1))
    for day in (date(2026, 10, 7), date(2026, 11, 2), date(2026, 11, 22)):
        listing.records[day] = [build_run(n + day.day * 100, on=day, minutes=n * 7 + day.day) for n in range(5)]
        read_day(source, day)

    line = build_stats(fetch_calendars([source], {source.pk: TODAY}, 30)[source.pk], EnvironmentUsage).rows[0]

    runs = EnvironmentUsage.objects.order_by()
    assert line.so_far == runs.filter(day__gte="2026-11-01").aggregate(s=Sum("runtime_seconds"))["s"]
    assert line.last == runs.filter(day__lt="2026-11-01").aggregate(s=Sum("runtime_seconds"))["s"]
    assert (line.measure.label, line.measure.unit) == ("Runtime", "seconds")
    assert line.change is None  # days are lacking


@pytest.mark.parametrize(
    ("today", "so_far", "same_days", "last"),
    [
        (date(2026, 11, 23), "1–22 Nov", "1–22 Oct", "1–31 Oct"),
        (date(2026, 11, 1), "no complete day yet", "no complete day yet", "1–31 Oct"),
        (date(2026, 11, 2), "1 Nov", "1 Oct", "1–31 Oct"),
        (date(2026, 3, 31), "1–30 Mar", "1–28 Feb", "1–28 Feb"),
        (date(2026, 1, 15), "1–14 Jan", "1–14 Dec", "1–31 Dec"),
    ],
)
def test_whole_days_are_compared_with_the_same_days_of_last_month(
    today: date, so_far: str, same_days: str, last: str
) -> None:
    months = ComparedMonths.build(today)
    assert (months.so_far.text, months.same_days.text, months.last.text) == (so_far, same_days, last)


def test_the_page_shows_amounts_their_change_and_all_their_digits(noon: None) -> None:
    source = create_synced_source("ona-main", "ona", scale=Decimal(40))
    sums = dict(SourceDay.objects.filter(source=source).values_list("day", "sums__runtime_seconds"))
    this_month, same_days = (
        sum((Decimal(number) for day, number in sums.items() if day.month == month and day.day < 23), Decimal(0))
        for month in (11, 10)
    )

    page = sign_in_as("viewer").get("/admin/").content.decode()

    assert scale_amount(this_month, "seconds").number in page
    assert f"{this_month:,f}".rstrip("0").rstrip(".") + " s" in page
    assert format_change((this_month - same_days) / same_days * 100) in page
    assert "1–22 Nov" in page


def test_nothing_is_compared_where_days_are_lacking(noon: None) -> None:
    source = create_synced_source("gcore-main", "gcore")
    set_day(source, 12, loaded_at=None, complete=False, final=False, sums={}, records=0, state="due")

    context = open_overview(sign_in_as("viewer"))

    usage = find_card(context, "gcore-main").usage
    assert usage.columns[0].missing == "1 day not synced"
    assert usage.columns[0].open == "2 days may still change"
    assert [column.missing for column in usage.columns[1:]] == ["", ""]
    assert {row.change for row in usage.rows} == {"–"}


def test_what_only_waits_for_the_close_of_its_month_is_no_warning(noon: None) -> None:
    SourceDay.objects.filter(source=create_synced_source("gcore-main", "gcore"), day__gte="2026-11-01").update(
        final=False
    )

    context = open_overview(sign_in_as("viewer"))

    card = find_card(context, "gcore-main")
    assert card.usage.columns[0].open == "3 days may still change"
    assert "4 days provisional; 19 days waiting for their month's close." in card.coverage
    assert context["alerts"] == []


def test_a_source_kept_for_less_than_two_months_is_not_compared_and_says_so(noon: None) -> None:
    create_synced_source("gcore-main", "gcore", days=30)

    usage = find_card(open_overview(sign_in_as("viewer")), "gcore-main").usage

    assert [column.missing for column in usage.columns] == ["", "", ""]
    assert [column.early for column in usage.columns] == ["", *["not yet stored before 25 Oct"] * 2]
    assert {row.change for row in usage.rows} == {"–"}
    assert {row.amounts[1][0].number for row in usage.rows} == {"–"}


def test_several_sources_of_a_vendor_are_added_up_unit_by_unit(noon: None) -> None:
    parts = [create_synced_source("gcore-a", "gcore"), create_synced_source("gcore-b", "gcore", scale=Decimal("2.5"))]
    create_synced_source("ona-main", "ona")

    context = open_overview(sign_in_as("viewer"))

    vendors = {vendor.title: vendor for vendor in context["vendors"]}
    assert vendors["Ona"].together is None
    calendars = fetch_calendars(parts, {part.pk: TODAY for part in parts}, 30)
    lines = build_stats(combine_calendars(calendars.values()), ResourceUsage).rows
    for line in lines:
        single_lines = [single for part in parts for single in build_stats(calendars[part.pk], ResourceUsage).rows]
        alone = [
            single.so_far for single in single_lines if single.measure == line.measure and single.so_far is not None
        ]
        assert len(alone) == 2
        assert line.so_far == sum(alone)
        assert line.change is not None
    assert len(vendors["Gcore"].together.rows) == len(lines) == len(UNITS["gcore"])


def test_a_day_that_one_source_lacks_is_a_gap_of_the_vendor() -> None:
    full = UsageCalendar(
        TODAY, date(2026, 1, 1), {TODAY: DayUsage({"minutes": Decimal(5)}, stored=True, complete=True)}
    )
    incomplete = UsageCalendar(TODAY, date(2026, 1, 1), {})

    combined = combine_calendars([full, incomplete])

    assert not combined.get(TODAY).stored
    assert combined.get(TODAY).sums == {"minutes": Decimal(5)}


def test_a_source_that_was_switched_off_leaves_no_gap_in_its_vendor() -> None:
    full = UsageCalendar(
        TODAY, date(2026, 1, 1), {TODAY: DayUsage({"minutes": Decimal(5)}, stored=True, complete=True)}
    )
    yesterday = TODAY - timedelta(days=1)
    off = UsageCalendar(TODAY, TODAY, {yesterday: DayUsage({"minutes": Decimal(2)}, stored=True)}, active=False)

    combined = combine_calendars([full, off])

    assert combined.get(TODAY).stored
    assert combined.first == date(2026, 1, 1)
    assert (combined.get(yesterday).stored, combined.get(yesterday).sums) == (False, {"minutes": Decimal(2)})


def test_the_chart_tells_days_apart_by_how_far_they_can_be_trusted(noon: None) -> None:
    source = create_synced_source("gcore-main", "gcore", days=20)
    set_day(source, 5, loaded_at=None, complete=False, final=False, sums={}, records=0, state="due")
    set_day(source, 8, complete=False, final=False, state="partial")
    set_day(source, 9, final=False)  # it waits for its month's closing read alone
    set_day(source, 10, verification="unverified")
    calendar = fetch_calendars([source], {source.pk: TODAY}, 30)[source.pk]
    measure = build_stats(calendar, ResourceUsage).rows[-1].measure

    bars = {(TODAY - bar.day).days: bar for bar in build_bars(calendar, measure, 30)}

    assert [bars[ago].state for ago in (0, 1, 3, 5, 8, 9, 10, 25)] == [
        "open",
        "open",
        "whole",
        "missing",
        "partial",
        "whole",
        "open",
        "before",
    ]
    assert bars[10].label.endswith("(unverified)")
    amount = scale_amount(Decimal(get_day_ago(source, 3).sums[measure.key]), measure.unit)
    assert bars[3].label == f"20 Nov: {amount}"
    assert bars[1].label.endswith("(may still change)")
    assert bars[0].label.endswith("(today still open)")
    assert bars[5].label == "18 Nov: not synced yet"
    svg = draw_chart(calendar, measure, 30)
    assert bars[8].label.endswith("(incomplete)")
    assert svg.count("<rect") == 31  # the part of a day that is held stands before the hatching
    assert "1 day not synced. 1 day incomplete." in svg
    assert 'style="' not in svg


def test_the_chart_of_days_without_usage_says_so(noon: None) -> None:
    calendar = UsageCalendar(
        TODAY, TODAY, {TODAY: DayUsage({"minutes": Decimal(0)}, stored=True, complete=True, settled=True)}
    )
    measure = build_stats(calendar, ResourceUsage).rows[0].measure

    svg = draw_chart(calendar, measure, 30)

    assert "No usage." in svg
    assert "Highest on" not in svg
    assert 'class="bar-none"' in svg


def test_a_month_adds_up_to_the_last_digit(noon: None) -> None:
    source = create_synced_source("gcore-main", "gcore", days=20)
    SourceDay.objects.filter(source=source).update(sums={"GBS": "0.0000000000000000000000001"})
    set_day(source, 3, sums={"GBS": "123456789.5"})

    lines = sign_in_as("viewer").get("/admin/").context["vendors"][0].cards[0].usage.rows

    assert lines[0].amounts[0][0].exact == "123,456,789.5000000000000000000000018 GBS"


def test_a_unit_is_escaped_wherever_it_is_scale_amount(noon: None) -> None:
    set_day(create_synced_source("gcore-main", "gcore"), 3, sums={"<b>tokens</b>": "7", "minutes": "1"})

    page = sign_in_as("viewer").get("/admin/").content.decode()

    assert "<b>tokens" not in page
    assert "&lt;b&gt;tokens" in page


@pytest.mark.parametrize(
    ("value", "unit", "expected", "exact"),
    [
        (None, "minutes", "–", ""),
        (Decimal(0), "tasks", "0 tasks", ""),
        (Decimal("1234567.5"), "minutes", "20,576.1 h", "1,234,567.5 minutes"),
        (Decimal("0.123456"), "GB", "123 MB", "0.123456 GB"),
        (Decimal("0.0000714"), "MLS", "0.0000714 MLS", ""),
        (Decimal("1.005e30"), "tokens", "1,005,000,000,000,000,000,000,000,000,000 tokens", ""),
        (Decimal(f"{10**30}.125"), "GB", f"{10**21:,} EB", f"{10**30:,}.125 GB"),
        (Decimal(59), "seconds", "0.016 h", "59 s"),
        (Decimal(5400), "seconds", "1.5 h", "5,400 s"),
        (Decimal(999), "bytes", "999 bytes", ""),
        (Decimal(98_304_111_872), "bytes", "98.3 GB", "98,304,111,872 bytes"),
        (Decimal(10) ** 24, "bytes", "1,000,000 EB", "1,000,000,000,000,000,000,000,000 bytes"),
    ],
)
def test_amounts_read_well_and_keep_their_digits(value: Decimal | None, unit: str, expected: str, exact: str) -> None:
    amount = scale_amount(value, unit)
    assert (str(amount), amount.exact) == (expected, exact)


@pytest.mark.parametrize(
    ("change", "expected"),
    [(None, "–"), ("12.34", "+12.3 %"), ("-4", "−4 %"), ("0.01", "±0 %"), ("2400", "24 times more")],
)
def test_a_change_reads_well(change: str | None, expected: str) -> None:
    assert format_change(None if change is None else Decimal(change)) == expected
