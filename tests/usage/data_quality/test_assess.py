"""Data quality: a response is judged by the days of its range, and by no others."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.factories import SourceDayFactory, SourceFactory
from tests.usage.data_quality.conftest import NOW, assess_range, at, create_days
from usage import standby
from usage.data_quality import MAX_LISTED_DAYS, VENDOR_KINDS
from usage.data_quality.messages import (
    COMPLETE,
    describe_completeness,
    describe_provisional,
    describe_quality,
    get_tone,
)
from usage.days import Day, find_skipped_dates
from usage.exports.about import ExportRequest, describe_request
from usage.models import ResourceUsage, Source

pytestmark = pytest.mark.django_db


def test_an_answer_of_a_standby_is_as_old_as_what_that_has_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "replica_lag_seconds" not in assess_range().meta()
    replayed_at = NOW - timedelta(seconds=3)
    monkeypatch.setattr(standby._use, "state", standby.StandbyState(replayed_at, replayed_at, 3.04))
    meta = assess_range().meta()
    assert (meta["as_of"], meta["replica_lag_seconds"]) == ("2026-01-11T09:59:57Z", 3.0)
    lines = dict(describe_request(ExportRequest(), meta["as_of"], meta["replica_lag_seconds"], []))
    assert lines["Read from a standby"] == "3 s behind"


def test_a_range_of_complete_final_days_is_complete_to_its_last_day() -> None:
    create_days(SourceFactory(), *range(1, 11))
    quality = assess_range(at(2), at(6))
    assert quality.meta() == {
        "from": "2026-01-02T00:00:00Z",
        "to": "2026-01-06T00:00:00Z",
        "tz": "UTC",
        "complete": True,
        "complete_through": "2026-01-05",
        "missing_days": {"total": 0, "days": []},
        "partial_days": {"total": 0, "days": []},
        "open_days": {"total": 0, "days": []},
        "suspect_days": {"total": 0, "days": []},
        "unverified_days": {"total": 0, "days": []},
        "mismatched_days": {"total": 0, "days": []},
        "pruned_days": {"total": 0, "days": [], "rolled_up": False},
        "archived_days": {"total": 0, "days": [], "answered_from": None},
        "later_sources": [],
        "source_zones": {},
        "provisional_from": None,
        "unsettled_from": None,
        "restated_since": None,
        "as_of": "2026-01-11T10:00:00Z",
    }


def test_a_day_never_read_is_missing_and_ends_what_is_complete() -> None:
    source = SourceFactory(slug="a")
    create_days(source, 1, 2, 4, 5)
    create_days(source, 3, complete=False, final=False, loaded_at=None, state="due")
    quality = assess_range(at(1), at(8))
    assert not quality.complete
    assert quality.complete_through == date(2026, 1, 2)
    assert [day["day"] for day in quality.lists["missing_days"]["days"]] == ["2026-01-03", "2026-01-06", "2026-01-07"]
    assert quality.provisional_from == date(2026, 1, 3)


def test_a_day_read_in_part_is_partial_and_not_missing() -> None:
    source = SourceFactory(slug="a")
    create_days(source, 1, 3)
    create_days(source, 2, complete=False, final=False, state="partial")
    quality = assess_range(at(1), at(4))
    assert quality.lists["partial_days"]["days"] == [{"source": "a", "day": "2026-01-02", "accepted": None}]
    assert (quality.lists["missing_days"]["total"], quality.complete) == (0, False)
    assert quality.complete_through == date(2026, 1, 1)


def test_no_day_both_waits_for_its_months_close_and_may_still_change() -> None:
    meta = {"provisional_from": "2026-11-01", "unsettled_from": "2026-11-28"}

    assert list(describe_provisional(meta)) == [
        "Days from 1 Nov 2026 through 27 Nov 2026 are waiting for their month's close.",
        "From 28 Nov 2026 on, numbers may still change.",
    ]


def test_today_is_not_complete_and_days_to_come_are_not_missing() -> None:
    source = SourceFactory(slug="a")
    create_days(source, *range(1, 11))
    create_days(source, 11, complete=False, final=False)
    quality = assess_range(at(1), at(1, month=2))
    assert quality.lists["missing_days"]["total"] == 0
    assert quality.lists["partial_days"]["total"] == 0
    assert quality.lists["open_days"]["days"] == [{"source": "a", "day": "2026-01-11"}]
    assert list(describe_quality(quality.meta())) == [
        "Complete through 10 Jan 2026; today still open.",
        "From 11 Jan 2026 on, numbers may still change.",
    ]
    assert get_tone(quality.meta()) == "plain"
    assert (quality.complete, quality.complete_through) == (False, date(2026, 1, 10))


def test_a_question_without_bounds_is_about_all_that_is_held() -> None:
    create_days(SourceFactory(), *range(1, 11))
    create_days(SourceFactory(backfill_from=date(2026, 1, 9)), 9, 10)
    quality = assess_range()
    assert (quality.meta()["from"], quality.meta()["to"]) == (None, None)
    assert (quality.lists["missing_days"]["total"], quality.lists["open_days"]["total"]) == (0, 2)  # today, of both
    assert quality.complete_through == date(2026, 1, 10)


def test_a_range_that_begins_before_a_source_is_held_is_not_complete() -> None:
    create_days(SourceFactory(backfill_from=date(2026, 1, 3)), 3, 4, 5)
    assert assess_range(at(3), at(5)).complete
    quality = assess_range(at(1), at(5))
    assert (quality.complete, quality.complete_through, quality.lists["missing_days"]["total"]) == (False, None, 0)
    quality_before = assess_range(at(1), at(3))
    assert (quality_before.complete, quality_before.complete_through) == (False, None)
    for end in (at(3), datetime(1, 1, 1, tzinfo=UTC)):
        empty_quality = assess_range(None, end)
        assert (
            empty_quality.complete,
            empty_quality.complete_through,
            empty_quality.lists["missing_days"]["total"],
        ) == (
            False,
            None,
            0,
        )
    assert assess_range(None, at(5)).complete


def test_a_source_that_begins_later_is_named_and_does_not_spoil_the_others() -> None:
    create_days(SourceFactory(slug="old"), *range(1, 11))
    create_days(SourceFactory(slug="new", backfill_from=date(2026, 1, 9)), 9, 10)
    quality = assess_range(at(2), at(6))
    assert (quality.complete, quality.complete_through) == (True, date(2026, 1, 5))
    assert quality.later_sources == [{"source": "new", "first_day": "2026-01-09"}]
    assert list(describe_quality(quality.meta())) == [
        COMPLETE,
        "Not yet stored at the start of the range: new from 9 Jan 2026 on.",
    ]
    new_quality = assess_range(at(8), at(11), source_ids=[Source.objects.get(slug="new").pk])
    assert (new_quality.complete, get_tone(new_quality.meta())) == (False, "plain")
    assert list(describe_quality(new_quality.meta())) == [
        "Not yet stored at the start of the range: new from 9 Jan 2026 on."
    ]


def test_a_day_of_another_zone_than_the_questions_is_named_with_it() -> None:
    berlin = SourceFactory(slug="berlin", time_zone="Europe/Berlin")
    create_days(berlin, *range(1, 11))
    utc_quality = assess_range(at(1), at(11))  # its last hour is that of 11 January in Berlin
    assert (utc_quality.complete_through, utc_quality.source_zones) == (date(2026, 1, 9), {"berlin": "Europe/Berlin"})
    assert list(describe_completeness(utc_quality.meta())) == [
        "Complete through 9 Jan 2026 (UTC); today still open (berlin 11 Jan 2026 in Europe/Berlin)."
    ]
    zone = berlin.zone
    own_quality = assess_range(datetime(2026, 1, 1, tzinfo=zone), datetime(2026, 1, 12, tzinfo=zone), zone=zone)
    assert list(describe_completeness(own_quality.meta())) == ["Complete through 10 Jan 2026; today still open."]


def test_a_missing_day_is_named_and_counts_as_a_warning() -> None:
    create_days(SourceFactory(slug="a"), 1, 2, 4)
    meta = assess_range(at(1), at(5)).meta()
    assert list(describe_completeness(meta)) == [
        "Not complete: 1 day never read (a 3 Jan 2026).",
        "Complete through 2 Jan 2026.",
    ]
    assert get_tone(meta) == "warn"


def test_days_that_follow_each_other_are_named_as_one_and_further_ones_counted() -> None:
    create_days(SourceFactory(slug="a"), 1, 5, 7, 9, 10)
    create_days(SourceFactory(slug="b"), *range(1, 8))
    (gaps, _) = describe_completeness(assess_range(at(1), at(11)).meta())
    days_text = "a 2 Jan 2026 – 4 Jan 2026, a 6 Jan 2026, a 8 Jan 2026, b 8 Jan 2026 – 10 Jan 2026"
    assert gaps == f"Not complete: 8 days never read ({days_text})."
    create_days(SourceFactory(slug="c"), *range(1, 11, 2))
    (gaps, _) = describe_completeness(assess_range(at(1), at(11)).meta())
    assert gaps.startswith(
        "Not complete: 13 days never read (a 2 Jan 2026 – 4 Jan 2026, c 2 Jan 2026, c 4 Jan 2026, a 6"
    )
    assert gaps.endswith("c 6 Jan 2026 and 6 more).")


def test_only_sources_that_report_the_kind_and_are_asked_for_and_may_be_seen_count() -> None:
    ona, gcore = SourceFactory(vendor="ona"), SourceFactory(vendor="gcore")
    unknown = SourceFactory(vendor="acme")
    create_days(ona, *range(1, 11))
    assert VENDOR_KINDS["gcore"] is ResourceUsage
    assert {day["source"] for day in assess_range(at(1), at(3)).lists["missing_days"]["days"]} == {unknown.slug}
    resources = assess_range(at(1), at(3), kind=ResourceUsage)
    assert {day["source"] for day in resources.lists["missing_days"]["days"]} == {unknown.slug, gcore.slug}
    assert assess_range(at(1), at(3), source_ids=[ona.pk]).complete
    assert assess_range(at(1), at(3), row_scope=frozenset({ona.pk})).complete
    assert (
        assess_range(at(1), at(3), source_ids=[unknown.pk], row_scope=frozenset({ona.pk})).lists["missing_days"]["days"]
        == []
    )


def test_days_are_those_of_the_source_and_dates_those_of_the_question() -> None:
    tokyo = SourceFactory(time_zone="Asia/Tokyo")
    create_days(tokyo, 1, 2, 3)
    quality = assess_range(at(1), at(4))  # to 2026-01-04 09:00 in Tokyo
    assert [day["day"] for day in quality.lists["missing_days"]["days"]] == ["2026-01-04"]
    assert quality.complete_through == date(2026, 1, 2)
    zone = ZoneInfo("Asia/Tokyo")
    own_quality = assess_range(datetime(2026, 1, 1, tzinfo=zone), datetime(2026, 1, 4, tzinfo=zone), zone=zone)
    assert (own_quality.complete, own_quality.complete_through) == (True, date(2026, 1, 3))


def test_the_last_restatement_and_the_first_provisional_day_are_told() -> None:
    source = SourceFactory()
    create_days(source, 1, 2, restated_at=at(5))
    create_days(source, 3, restated_at=at(6))
    create_days(source, 4, 5, final=False)
    quality = assess_range(at(1), at(6))
    assert (quality.restated_since, quality.provisional_from) == (at(6), date(2026, 1, 4))
    assert assess_range(at(1), at(3)).restated_since == at(5)
    assert quality.complete


def test_accrued_runtime_depends_on_every_day_up_to_yesterday() -> None:
    source = SourceFactory()
    create_days(source, *range(1, 6))
    create_days(source, 6, 7, 8, 9, final=False)
    assert assess_range(at(1), at(3)).complete
    quality = assess_range(at(1), at(3), accrued=True)
    assert (quality.complete, quality.lists["missing_days"]["days"]) == (
        False,
        [{"source": source.slug, "day": "2026-01-10"}],
    )
    assert quality.provisional_from == date(2026, 1, 1)
    create_days(source, 10)
    assert assess_range(at(1), at(3), accrued=True).complete


def test_a_long_list_of_missing_days_is_cut_and_its_length_told() -> None:
    SourceFactory(backfill_from=date(2025, 1, 1))
    quality = assess_range(None, at(1))
    assert (len(quality.lists["missing_days"]["days"]), quality.lists["missing_days"]["total"]) == (
        MAX_LISTED_DAYS,
        365,
    )


def test_an_empty_range_touches_nothing(django_assert_num_queries: Any) -> None:
    SourceFactory()
    with django_assert_num_queries(2):
        quality = assess_range(at(2), at(2))
    assert (quality.lists["missing_days"]["total"], quality.complete_through) == (0, None)
    assert assess_range(NOW + timedelta(days=2), NOW + timedelta(days=3)).complete is False


def test_days_that_only_wait_for_their_months_closing_read_are_told_from_those_that_still_change() -> None:
    source = SourceFactory()
    create_days(source, 1)
    create_days(source, *range(2, 8), final=False)  # read more than three days after their end
    create_days(source, 8, 9, 10, final=False)
    quality = assess_range(at(1), at(11))
    assert (quality.provisional_from, quality.unsettled_from) == (date(2026, 1, 2), date(2026, 1, 8))
    assert assess_range(at(1), at(7)).unsettled_from is None


def test_a_date_that_a_zone_skipped_is_no_missing_day() -> None:
    apia = SourceFactory(slug="apia", time_zone="Pacific/Apia", backfill_from=date(2011, 12, 28))
    for day in (28, 29, 31):
        span = Day.of(date(2011, 12, day), apia.zone)
        values = {"complete": True, "final": True, "loaded_at": NOW, "state": "loaded"}
        SourceDayFactory(source=apia, day=span.date, starts_at=span.start, ends_at=span.end, **values)
    start, end = Day.of(date(2011, 12, 28), apia.zone).start, Day.of(date(2012, 1, 1), apia.zone).start
    quality = assess_range(start, end, zone=apia.zone)
    assert (quality.lists["missing_days"]["total"], quality.complete) == (0, True)
    assert (quality.complete_through, quality.provisional_from) == (date(2011, 12, 31), None)


def test_only_the_dates_that_a_zone_never_showed_are_skipped() -> None:
    first, end = date(1990, 1, 1), date(2030, 1, 1)
    skipped: dict[str, tuple[date, ...]] = {
        "Pacific/Apia": (date(2011, 12, 30),),
        "Pacific/Kwajalein": (date(1993, 8, 21),),
        "Pacific/Kiritimati": (date(1994, 12, 31),),
        "America/Sao_Paulo": (),
    }

    assert {zone: find_skipped_dates(first, end, ZoneInfo(zone)) for zone in skipped} == skipped
