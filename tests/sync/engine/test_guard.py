"""A read that takes something away is not believed at once, and a vendor's forgetting never is."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from sync.engine.acceptance import accept_findings, withdraw_acceptance
from sync.engine.guard import Loss
from sync.engine.plan import accept_shrink, plan_due
from sync.models import LoadAttempt
from tests.support.scripted_vendor import DAY, Listing, build_run, get_revisions, make_source, read_day
from usage.models import (
    DayState,
    EnvironmentUsage,
    RecipeRow,
    RecipeUsage,
    Restatement,
    Source,
    SourceDay,
    Verification,
)

pytestmark = pytest.mark.django_db
Outcome = LoadAttempt.Outcome
CLOSED = date(2025, 11, 3)


def get_day(on: date = DAY) -> SourceDay:
    return SourceDay.objects.select_related("source").get(day=on)


@pytest.fixture
def final_day(listing: Listing) -> Source:
    """A source whose one day holds 1,200 records and is final."""
    source = make_source("closed", backfill_from=CLOSED, look_back_days=1)
    listing.records[CLOSED] = [build_run(n, on=CLOSED) for n in range(1200)]
    read_day(source, CLOSED)
    assert get_day(CLOSED).final
    return source


@pytest.mark.parametrize(
    ("suspicion", "is_within"),
    [
        (None, True),
        ({"would_withdraw": 90, "blanked": {"user_id": 7}}, True),
        ({"would_withdraw": 89, "blanked": {"user_id": 7}}, False),
        ({"would_withdraw": 90, "blanked": {"user_id": 6}}, False),
        ({"would_withdraw": 90}, False),
    ],
)
def test_a_person_accepted_no_more_than_the_read_that_they_saw_takes_away(
    suspicion: dict[str, Any] | None, is_within: bool
) -> None:
    assert Loss(stored=100, reported=10, vanishing=90, blanked={"user_id": 7}).is_within(suspicion) is is_within


def test_a_final_day_loses_a_few_records_as_a_restatement(final_day: Source, listing: Listing) -> None:
    del listing.records[CLOSED][:10]

    assert read_day(final_day, CLOSED).outcome == Outcome.LOADED
    assert (get_day(CLOSED).records, get_day(CLOSED).final) == (1190, True)
    assert Restatement.objects.get().withdrawn == 10


def test_a_final_day_that_the_vendor_forgets_waits_for_a_person_however_often_it_is_repeated(
    final_day: Source, listing: Listing
) -> None:
    del listing.records[CLOSED][:11]

    for _ in range(3):
        attempt = read_day(final_day, CLOSED)
        day = get_day(CLOSED)
        assert (attempt.outcome, day.state, day.final, day.records) == (
            Outcome.SUSPECT,
            DayState.SUSPECT,
            False,
            1200,
        )
        assert "now reports 1189 records; 11 of the 1200 stored would be withdrawn, and the day was final" in day.error
    assert day.due_at > datetime.now(UTC) + timedelta(hours=20), "it is not asked every quarter of an hour for ever"
    assert not Restatement.objects.exists()

    SourceDay.objects.update(shrink_accepted=True)
    assert read_day(final_day, CLOSED).outcome == Outcome.LOADED
    assert (get_day(CLOSED).records, get_day(CLOSED).final) == (1189, True)


@pytest.fixture
def forgotten_day(final_day: Source, listing: Listing) -> Source:
    """The source of a final day of which the vendor forgot eleven records; a person decides to keep them."""
    del listing.records[CLOSED][:11]
    read_day(final_day, CLOSED)
    accept_findings(get_day(CLOSED), "sam", "The vendor lost them.")
    return final_day


def test_a_person_can_keep_the_records_of_a_final_day_that_the_vendor_forgot(forgotten_day: Source) -> None:
    day = get_day(CLOSED)

    assert (day.state, day.final, day.records, day.suspicion, day.error) == (DayState.LOADED, True, 1200, None, "")
    assert (day.accepted_by, day.accepted_reason) == ("sam", "The vendor lost them.")
    assert day.differences == [{"what": "records", "vendor": "1189", "portal": "1200", "code": "forgotten"}]

    plan_due()
    assert get_day(CLOSED).state == DayState.LOADED


def test_the_same_read_changes_nothing_of_a_day_that_a_person_keeps(forgotten_day: Source) -> None:
    assert read_day(forgotten_day, CLOSED).outcome == Outcome.UNCHANGED

    day = get_day(CLOSED)
    assert (day.state, day.final, day.records) == (DayState.LOADED, True, 1200)
    assert day.accepted_reason == "The vendor lost them."


def test_another_read_ends_the_decision_to_keep_a_day(forgotten_day: Source, listing: Listing) -> None:
    del listing.records[CLOSED][0]

    assert read_day(forgotten_day, CLOSED).outcome == Outcome.SUSPECT

    day = get_day(CLOSED)
    assert (day.state, day.final, day.accepted_at, day.records) == (DayState.SUSPECT, False, None, 1200)


def test_records_that_the_vendor_remembers_end_the_decision_to_keep_a_day(
    forgotten_day: Source, listing: Listing
) -> None:
    listing.records[CLOSED] = [build_run(n, on=CLOSED) for n in range(1200)]

    read_day(forgotten_day, CLOSED)

    day = get_day(CLOSED)
    assert (day.state, day.final, day.accepted_at, day.differences) == (DayState.LOADED, True, None, [])


def test_a_day_whose_decision_is_withdrawn_is_read_again_and_suspect(forgotten_day: Source) -> None:
    withdraw_acceptance(get_day(CLOSED))
    assert not get_day(CLOSED).final

    plan_due()

    assert get_day(CLOSED).state == DayState.DUE
    assert read_day(forgotten_day, CLOSED).outcome == Outcome.SUSPECT
    assert get_day(CLOSED).findings


def test_a_day_that_a_person_keeps_may_still_take_what_is_new(final_day: Source, listing: Listing) -> None:
    del listing.records[CLOSED][:11]
    listing.records[CLOSED].append(build_run(5000, on=CLOSED))
    read_day(final_day, CLOSED)
    assert get_day(CLOSED).records == 1201
    accept_findings(get_day(CLOSED), "sam", "The vendor lost them.")

    assert read_day(final_day, CLOSED).outcome == Outcome.UNCHANGED
    assert (get_day(CLOSED).final, get_day(CLOSED).records) == (True, 1201)


def test_more_than_a_hundredth_of_a_small_final_day_waits_for_a_person_too(listing: Listing) -> None:
    source = make_source("small", backfill_from=CLOSED, look_back_days=1)
    listing.records[CLOSED] = [build_run(n, on=CLOSED) for n in range(50)]
    read_day(source, CLOSED)
    del listing.records[CLOSED][0]

    assert read_day(source, CLOSED).outcome == Outcome.SUSPECT


def test_what_a_final_day_gains_is_merged_while_its_losses_wait(final_day: Source, listing: Listing) -> None:
    del listing.records[CLOSED][:100]
    listing.records[CLOSED][0] = build_run(100, on=CLOSED, minutes=45)
    listing.records[CLOSED] += [build_run(n, on=CLOSED) for n in (2000, 2001)]

    attempt = read_day(final_day, CLOSED)

    assert (attempt.outcome, attempt.inserted, attempt.changed, attempt.withdrawn) == (Outcome.SUSPECT, 2, 1, 0)
    assert get_day(CLOSED).records == len(get_revisions(final_day, CLOSED)) == 1202
    assert Restatement.objects.get().inserted == 2
    assert read_day(final_day, CLOSED).outcome == Outcome.SUSPECT
    assert Restatement.objects.count() == 1


def test_records_that_come_back_under_other_ids_are_not_counted_twice_while_a_person_decides(
    final_day: Source, listing: Listing
) -> None:
    listing.records[CLOSED] = [build_run(n, on=CLOSED, record_id=f"new-{n}") for n in range(1200)]

    assert read_day(final_day, CLOSED).outcome == Outcome.SUSPECT
    assert get_day(CLOSED).records == len(get_revisions(final_day, CLOSED)) == 1200


@pytest.mark.parametrize(("column", "empty"), [("project_id", ""), ("user_id", ""), ("created_at", None)])
def test_a_read_that_takes_values_away_is_suspect_until_a_second_agrees(
    source: Source, listing: Listing, column: str, empty: Any
) -> None:
    listing.records[DAY] = [build_run(n) for n in range(20)]
    read_day(source)
    listing.records[DAY] = [build_run(n)._replace(**({column: empty} if n < 11 else {})) for n in range(20)]

    assert read_day(source).outcome == Outcome.SUSPECT
    day = get_day()
    assert day.suspicion["blanked"] == {column: 11}
    assert f"values that are stored: {column} of 11" in day.error
    assert not EnvironmentUsage.objects.filter(**{column: empty}).exists()

    assert read_day(source).outcome == Outcome.LOADED
    assert EnvironmentUsage.objects.filter(**{column: empty}).count() == 11


def test_a_few_records_may_lose_values_and_names_and_extra_never_count(source: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_run(n, extra='{"name": "x"}') for n in range(20)]
    read_day(source)
    listing.records[DAY] = [build_run(n, project_id="" if n < 10 else "project", runner_id="") for n in range(20)]

    assert read_day(source).outcome == Outcome.LOADED


def build_recipe(number: int, *, tasks: int | None = 47, succeeded: int | None = 2) -> RecipeRow:
    start = datetime(DAY.year, DAY.month, DAY.day, number, tzinfo=UTC)
    return RecipeRow(1, "", "", number, "", None, "", start, start + timedelta(hours=1), tasks, succeeded, 0, 1)


@pytest.fixture
def recipes(source: Source, listing: Listing) -> Source:
    listing.kind = RecipeUsage
    listing.records[DAY] = [build_recipe(n) for n in range(10)]
    read_day(source)
    return source


def test_a_metric_that_vanishes_keeps_its_stored_values_and_makes_the_day_unverified(
    recipes: Source, listing: Listing
) -> None:
    listing.records[DAY] = [build_recipe(n, tasks=None) for n in range(10)]

    for reads in (1, 2):
        attempt = read_day(recipes)
        day = get_day()
        assert (attempt.outcome, day.state, day.verification) == (
            Outcome.UNVERIFIED,
            DayState.LOADED,
            Verification.UNVERIFIED,
        )
        assert day.differences == [
            {"what": "records with task_count", "vendor": "0", "portal": "10", "code": "missing_measure"}
        ]
        assert day.unverified_reads == reads
        assert "lacks task_count" in day.error
        assert set(RecipeUsage.objects.values_list("task_count", flat=True)) == {47}

    listing.records[DAY] = [build_recipe(n, tasks=50) for n in range(10)]
    assert read_day(recipes).outcome == Outcome.LOADED
    assert get_day().verification == Verification.NONE
    assert set(RecipeUsage.objects.values_list("task_count", flat=True)) == {50}


def test_a_read_that_is_held_back_is_an_answer_and_ends_the_row_of_failures(recipes: Source, listing: Listing) -> None:
    reads_by_outcome = {Outcome.UNVERIFIED: [build_recipe(n, tasks=None) for n in range(10)], Outcome.SUSPECT: []}
    listing.records[DAY] = [build_recipe(n) for n in range(20)]
    read_day(recipes)
    for outcome, rows in reads_by_outcome.items():
        Source.objects.update(failures=2)
        SourceDay.objects.update(failures=2)
        listing.records[DAY] = rows

        assert read_day(recipes).outcome == outcome
        assert (Source.objects.get().failures, get_day().failures) == (0, 0)


def test_one_stored_count_that_would_be_lost_is_enough(recipes: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_recipe(n, succeeded=None if n == 3 else 2) for n in range(10)]

    assert read_day(recipes).outcome == Outcome.UNVERIFIED
    assert RecipeUsage.objects.get(recipe_id=3).job_succeeded_count == 2


def test_a_vendor_may_leave_out_counts_of_records_that_never_had_them(recipes: Source, listing: Listing) -> None:
    listing.records[DAY].append(build_recipe(11, succeeded=None))

    assert read_day(recipes).outcome == Outcome.LOADED
    assert RecipeUsage.objects.count() == 11


def test_an_accepted_day_that_lacks_a_metric_gets_all_else_and_keeps_its_values(
    recipes: Source, listing: Listing
) -> None:
    listing.records[DAY] = [build_recipe(n, tasks=None, succeeded=3) for n in range(12)]
    assert read_day(recipes).outcome == Outcome.UNVERIFIED
    before = get_day()
    accept_findings(before, "sam", "The vendor dropped the metric.")

    for outcome in (Outcome.LOADED, Outcome.LOADED):
        assert read_day(recipes).outcome == outcome
        day = get_day()
        assert (day.state, day.complete, day.records, day.verification) == (
            DayState.LOADED,
            True,
            12,
            Verification.UNVERIFIED,
        )
        assert day.accepted_reason == "The vendor dropped the metric."
        assert day.loaded_at > before.loaded_at
    assert day.sums["task_count"] == "470"
    assert day.sums["job_succeeded_count"] == "36"

    listing.records[DAY] = [build_recipe(n, tasks=None, succeeded=None) for n in range(12)]
    assert read_day(recipes).outcome == Outcome.UNVERIFIED
    assert get_day().accepted_at is None


def test_a_person_can_accept_a_metric_that_is_gone(recipes: Source, listing: Listing) -> None:
    listing.records[DAY] = [build_recipe(n, tasks=None) for n in range(10)]
    read_day(recipes)
    SourceDay.objects.update(shrink_accepted=True)

    assert read_day(recipes).outcome == Outcome.LOADED
    assert set(RecipeUsage.objects.values_list("task_count", flat=True)) == {None}


def test_values_of_a_final_day_are_kept_too_while_a_person_decides_on_its_records(
    final_day: Source, listing: Listing
) -> None:
    listing.records[CLOSED] = [record._replace(created_at=None) for record in listing.records[CLOSED][20:]]

    assert read_day(final_day, CLOSED).outcome == Outcome.SUSPECT
    assert not EnvironmentUsage.objects.filter(created_at=None).exists()


def test_records_without_an_id_are_not_counted_beside_those_that_a_final_day_would_lose(
    final_day: Source, listing: Listing
) -> None:
    nameless = [build_run(n, on=CLOSED, record_id=f"~{n}", minutes=31) for n in range(5)]
    listing.records[CLOSED] = listing.records[CLOSED][20:] + nameless

    assert read_day(final_day, CLOSED).outcome == Outcome.SUSPECT
    assert get_day(CLOSED).records == len(get_revisions(final_day, CLOSED)) == 1200


@pytest.mark.parametrize("stored_count", [0, 300])
def test_what_the_database_lost_of_a_final_day_does_not_hide_that_the_vendor_forgot_it(
    final_day: Source, listing: Listing, stored_count: int
) -> None:
    record_ids = [f"run-{n}" for n in range(stored_count)]
    EnvironmentUsage.objects.exclude(record_id__in=record_ids)._raw_delete("default")
    listing.records[CLOSED] = listing.records[CLOSED][:300]

    for _ in range(2):
        assert read_day(final_day, CLOSED).outcome == Outcome.SUSPECT
        day = get_day(CLOSED)
        assert (day.records, day.suspicion["held"], day.suspicion["would_withdraw"]) == (1200, 1200, 900)

    accept_shrink(day)
    assert read_day(final_day, CLOSED).outcome == Outcome.LOADED
    assert get_day(CLOSED).records == 300


def test_what_a_person_accepts_is_what_they_saw_and_not_a_larger_loss(final_day: Source, listing: Listing) -> None:
    everything = listing.records[CLOSED]
    listing.records[CLOSED] = everything[20:]
    read_day(final_day, CLOSED)
    accept_shrink(get_day(CLOSED))

    listing.records[CLOSED] = []
    for _ in range(2):
        assert read_day(final_day, CLOSED).outcome == Outcome.SUSPECT
        assert not get_day(CLOSED).shrink_accepted
    assert get_day(CLOSED).records == 1200

    listing.records[CLOSED] = everything[20:]
    read_day(final_day, CLOSED)
    accept_shrink(get_day(CLOSED))
    listing.records[CLOSED] = everything[19:]
    assert read_day(final_day, CLOSED).outcome == Outcome.LOADED
    assert get_day(CLOSED).records == 1181


def test_a_final_day_does_not_lose_its_records_to_another_day_without_a_person(
    final_day: Source, listing: Listing
) -> None:
    following = CLOSED + timedelta(days=1)
    one_day = timedelta(days=1)
    moved_records = [
        record._replace(stopped_at=record.stopped_at + one_day) for record in listing.records[CLOSED][:600]
    ]
    listing.records[following] = moved_records[:10]
    assert read_day(final_day, following).outcome == Outcome.LOADED

    listing.records[following] = moved_records
    for _ in range(2):
        assert read_day(final_day, following).outcome == Outcome.SUSPECT
        assert "stored on another day that was final" in get_day(following).error
        assert (get_day(CLOSED).records, get_day(following).records) == (1190, 10)

    accept_shrink(get_day(following))
    assert read_day(final_day, following).outcome == Outcome.LOADED
    assert (get_day(CLOSED).records, get_day(following).records) == (600, 600)
